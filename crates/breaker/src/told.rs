//! A breaker that is told of: what its calls came to since somebody last asked, for an engine that shares it with other callers.

use crate::breaker::{Breaker, Transition};
use crate::machine::{Event, Mode, Phase, State, Status};
use crate::permit::{Fault, Outcome, Permit, Rejected};
use crate::settings::Policy;
use crate::window::Counts;
use quorate_core::Mono;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// A breaker that rejects all calls tells at most this often that it is still asked.
const ASKED_EVERY: Duration = Duration::from_secs(60);

/// A [`Breaker`] beside counters that [`take`](Self::take) empties. Counting takes no lock; beside a plain breaker a call that is counted costs one
/// addition more, and a rejected one a look at a flag.
pub struct ToldBreaker {
    breaker: Breaker,
    served: AtomicU32,
    answered: AtomicU32,
    silent: AtomicU32,
    slow: AtomicU32,
    in_row: AtomicU32,
    /// 0: none; 1: it failed; 2: it was served.
    trial: AtomicU8,
    state: AtomicU8,
    urgent: AtomicBool,
    /// Has a call been rejected since something was last told?
    asked: AtomicBool,
    /// When something was last told.
    told_at: AtomicU64,
}

/// What a breaker has to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Calls that ended since it was last asked; neutral ones are left out.
    pub counts: Counts,
    /// Failures since the last success.
    pub failures_in_row: u32,
    /// Its state now.
    pub state: State,
    /// What a lent trial came to, if one ended: within its window or later, as long as no other was lent since.
    pub trial: Option<bool>,
}

const UNTOLD: u8 = u8::MAX;

impl ToldBreaker {
    /// A closed breaker of which nothing has been told yet. See [`Breaker::new`].
    #[must_use]
    pub fn new(policy: Arc<Policy>, seed: u64) -> Self {
        let zero = || AtomicU32::new(0);
        Self {
            breaker: Breaker::new(policy, seed),
            served: zero(),
            answered: zero(),
            silent: zero(),
            slow: zero(),
            in_row: zero(),
            trial: AtomicU8::new(0),
            state: AtomicU8::new(UNTOLD),
            urgent: AtomicBool::new(true),
            asked: AtomicBool::new(false),
            told_at: AtomicU64::new(0),
        }
    }

    /// The breaker itself, to look at.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Asks to make a call at `now`.
    ///
    /// # Errors
    /// When the call should not be made.
    pub fn admit(&self, now: Mono) -> Result<Permit, Rejected> {
        let answer = self.breaker.admit(now);
        if answer.is_err() && !self.asked.load(Ordering::Relaxed) {
            self.asked.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// Hands back a permit with what the call came to; `took` feeds the slow-call rate. False when that no longer says anything: then it is not
    /// told of either, but for a lent trial whose place was withdrawn meanwhile. The mesh may still be waiting for that.
    pub fn record(&self, permit: Permit, outcome: Outcome, took: Option<Duration>, now: Mono) -> bool {
        let (trial, generation) = (permit.is_trial(), permit.generation());
        let slow = took.is_some_and(|took| took > self.breaker.policy().settings().slow_after);
        let counted = self.breaker.record_timed(permit, outcome, took.unwrap_or_default(), now);
        if counted {
            self.count(outcome, trial, slow);
        } else if trial && outcome != Outcome::Neutral && self.only_withdrawn_since(generation) {
            self.tell_trial(outcome);
        }
        counted
    }

    /// Has nothing happened since a trial was admitted but that its place was withdrawn?
    fn only_withdrawn_since(&self, generation: u32) -> bool {
        let status = self.breaker.status();
        let next = (generation + 1) & ((1 << Status::GENERATION_BITS) - 1);
        status.generation == next && status.phase == Phase::Open && status.is_shared()
    }

    fn tell_trial(&self, outcome: Outcome) {
        self.trial.store(1 + u8::from(outcome == Outcome::Success), Ordering::Relaxed);
        self.urgent.store(true, Ordering::Release);
    }

    fn count(&self, outcome: Outcome, trial: bool, slow: bool) {
        let more = |counter: &AtomicU32| {
            // Far beyond what is ever told at once; it only must not wrap.
            _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_add(1));
        };
        if slow {
            more(&self.slow);
        }
        match outcome {
            Outcome::Neutral => return,
            Outcome::Success => {
                more(&self.served);
                self.in_row.store(0, Ordering::Relaxed);
            }
            Outcome::Failure(fault) => {
                more(if fault == Fault::Answer { &self.answered } else { &self.silent });
                more(&self.in_row);
                self.urgent.store(true, Ordering::Release);
            }
        }
        if trial {
            self.tell_trial(outcome);
        }
    }

    /// Does what `event` means here. `None` when that changes nothing.
    pub fn apply(&self, event: Event, now: Mono) -> Option<Transition> {
        self.breaker.apply(event, now)
    }

    /// Should it be asked at once: has a call failed, or a trial ended, since it last was?
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Acquire)
    }

    /// May it be forgotten at `now`: is it closed, has nobody forced it so, and has there been nothing to tell for `idle_after`?
    #[must_use]
    pub fn is_idle(&self, now: Mono, idle_after: Duration) -> bool {
        let status = self.breaker.status();
        let quiet = now.since(Mono(self.told_at.load(Ordering::Relaxed))) >= idle_after;
        let told = self.state.load(Ordering::Relaxed) != UNTOLD && !self.is_urgent();
        quiet && told && status.phase == Phase::Closed && status.mode == Mode::Automatic
    }

    /// What it has to tell at `now`; `None` when nothing has happened since it was last asked. Calls that are rejected are told of once in a
    /// while, by a word that has nothing else to say: somebody still uses it.
    pub fn take(&self, now: Mono) -> Option<Told> {
        self.urgent.store(false, Ordering::Release);
        let emptied = |counter: &AtomicU32| counter.swap(0, Ordering::Relaxed);
        let (served, answered, silent) = (emptied(&self.served), emptied(&self.answered), emptied(&self.silent));
        let calls = served.saturating_add(answered).saturating_add(silent);
        let counts = Counts { calls, answered, silent, slow: emptied(&self.slow).min(calls) };
        let trial = match self.trial.swap(0, Ordering::Relaxed) {
            0 => None,
            ended => Some(ended == 2),
        };
        let state = self.breaker.state(now);
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        let news = calls > 0 || trial.is_some() || before != state as u8;
        let failures_in_row = self.in_row.load(Ordering::Relaxed);
        let quiet = now.since(Mono(self.told_at.load(Ordering::Relaxed)));
        let news = news || (quiet >= ASKED_EVERY && self.asked.load(Ordering::Relaxed));
        if news {
            self.told_at.store(now.0, Ordering::Relaxed);
            self.asked.store(false, Ordering::Relaxed);
        }
        news.then_some(Told { counts, failures_in_row, state, trial })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    const AT: Mono = Mono(1_000_000_000);

    fn breaker() -> ToldBreaker {
        ToldBreaker::new(Arc::new(Settings::default().resolve().unwrap()), 1)
    }

    fn call(breaker: &ToldBreaker, outcome: Outcome) -> bool {
        breaker.record(breaker.admit(AT).unwrap(), outcome, None, AT)
    }

    #[test]
    fn what_is_closed_and_has_nothing_to_tell_may_be_forgotten() {
        let idle_after = Duration::from_secs(600);
        let idle = |breaker: &ToldBreaker, secs: u64| breaker.is_idle(AT + Duration::from_secs(secs), idle_after);
        let breaker = breaker();
        assert!(!idle(&breaker, 600), "that it exists has not been told");
        breaker.take(AT);
        assert!(!idle(&breaker, 599) && idle(&breaker, 600));
        call(&breaker, Outcome::Failure(Fault::Silence));
        assert!(!idle(&breaker, 600), "a failure is still to be told");
        breaker.take(AT + Duration::from_secs(1));
        assert!(!idle(&breaker, 600) && idle(&breaker, 601));
        breaker.apply(Event::PeersOpened, AT);
        assert!(!idle(&breaker, 9999), "open");
    }

    #[test]
    fn each_call_is_told_once() {
        let breaker = breaker();
        assert!(breaker.is_urgent(), "that it exists is news");
        assert_eq!(breaker.take(AT).unwrap().state, State::Closed);
        assert_eq!(breaker.take(AT), None);
        call(&breaker, Outcome::Success);
        assert!(!breaker.is_urgent());
        call(&breaker, Outcome::Failure(Fault::Silence));
        assert!(breaker.is_urgent());
        let told = breaker.take(AT).unwrap();
        assert_eq!((told.counts.calls, told.counts.silent, told.failures_in_row), (2, 1, 1));
        assert!(!call(&breaker, Outcome::Neutral) && breaker.take(AT).is_none());
    }

    #[test]
    fn what_comes_late_is_not_told() {
        let breaker = breaker();
        let late = breaker.admit(AT).unwrap();
        breaker.apply(Event::PeersOpened, AT).unwrap();
        assert_eq!(breaker.take(AT).unwrap().state, State::Open);
        assert!(!breaker.record(late, Outcome::Failure(Fault::Answer), None, AT));
        assert_eq!(breaker.take(AT), None);
    }

    #[test]
    fn a_lent_trial_is_told_as_one() {
        let breaker = breaker();
        breaker.apply(Event::PeersOpened, AT).unwrap();
        breaker.apply(Event::TrialGranted, AT).unwrap();
        breaker.take(AT);
        assert!(call(&breaker, Outcome::Success) && breaker.is_urgent());
        let told = breaker.take(AT).unwrap();
        assert_eq!((told.trial, told.state), (Some(true), State::Open), "the mesh weighs it with others");
    }

    #[test]
    fn a_lent_trial_that_ends_after_its_window_is_told_until_another_is_lent() {
        let late = |between: &[Event]| {
            let breaker = breaker();
            breaker.apply(Event::PeersOpened, AT).unwrap();
            breaker.apply(Event::TrialGranted, AT).unwrap();
            let permit = breaker.admit(AT).unwrap();
            for event in between {
                breaker.apply(*event, AT);
            }
            breaker.take(AT);
            let counted = breaker.record(permit, Outcome::Success, None, AT);
            (counted, breaker.take(AT).and_then(|told| told.trial))
        };
        assert_eq!(late(&[Event::TrialWithdrawn]), (false, Some(true)), "it moves nothing here");
        assert_eq!(late(&[Event::TrialWithdrawn, Event::TrialGranted]), (false, None));
        assert_eq!(late(&[Event::PeersRecovered]), (false, None));
        assert_eq!(late(&[Event::TrialGranted]), (true, Some(true)), "whoever keeps its place is not disturbed");
    }

    #[test]
    fn that_calls_are_rejected_is_told_now_and_then() {
        let breaker = breaker();
        breaker.apply(Event::PeersOpened, AT).unwrap();
        breaker.take(AT);
        assert!(breaker.admit(AT).is_err());
        assert_eq!(breaker.take(AT), None);
        let later = AT + ASKED_EVERY;
        let told = breaker.take(later).unwrap();
        assert_eq!((told.counts.calls, told.trial, told.state), (0, None, State::Open));
        assert_eq!(breaker.take(later + ASKED_EVERY), None, "nobody has asked since");
    }
}

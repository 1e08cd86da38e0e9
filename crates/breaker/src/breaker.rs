//! One breaker, shared by any number of threads without a lock.

use crate::machine::{Event, Mode, Moment, Phase, State, Status, step};
use crate::permit::{Answer, Kind, Outcome, Permit, Refusal, Rejected};
use crate::settings::Policy;
use crate::streak::Streak;
use crate::sync::{AtomicU64, Ordering};
use crate::trials::Trials;
use crate::window::{Counts, Tally, Window};
use crate::word::{Word, is_before};
use quorate_core::{Mono, hash};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One change of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: Status,
    /// After.
    pub to: Status,
    /// Why.
    pub reason: Event,
    /// When.
    pub at: Mono,
}

/// Is told of every transition, on the thread that made it.
pub trait Listener: Send + Sync {
    /// A breaker has changed. Called after the change is visible; of two threads' changes the later may be told first.
    fn changed(&self, transition: &Transition);
}

/// A breaker as it stands, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The whole status.
    pub status: Status,
    /// What callers see now: an open breaker whose time has come is half-open, whether or not anyone has called since.
    pub state: State,
    /// Why it last changed, and when (to a millisecond). `None` when it never has, or is changing.
    pub changed: Option<(Event, Mono)>,
    /// What the window holds.
    pub counts: Counts,
    /// Failures in a row while closed.
    pub consecutive_failures: u32,
    /// Trials that succeeded while half-open.
    pub consecutive_successes: u32,
    /// Trial permits that are out.
    pub trials: u32,
}

/// A circuit breaker. Time is an argument: nanoseconds of whatever monotonic clock the caller has, never going back by more than a window.
///
/// - **Asking:** [`admit`](Self::admit) for a permit; [`record`](Self::record) or [`record_timed`](Self::record_timed) what came of it.
/// - **Telling:** [`apply`](Self::apply) what comes from elsewhere: a verdict, peers, a person.
/// - **Looking:** [`state`](Self::state), [`snapshot`](Self::snapshot), [`counts`](Self::counts). [`advance`](Self::advance) does what the
///   clock has made due, which the next call would otherwise do.
///
/// No method locks, waits or allocates. While closed, admitting and recording write one word, which few other threads or none write;
/// rejecting is one load.
///
/// ```
/// use quorate_breaker::{Breaker, Fault, Outcome, Settings, State};
/// use quorate_core::Mono;
/// use std::sync::Arc;
///
/// let policy = Arc::new(Settings::orchestry().resolve()?);
/// let breaker = Breaker::new(policy, 7);
/// let second = |s: u64| Mono(s * 1_000_000_000);
///
/// for _ in 0..5 {
///     let permit = breaker.admit(second(1)).expect("closed");
///     breaker.record(permit, Outcome::Failure(Fault::Answer), second(1));
/// }
/// assert_eq!(breaker.state(second(2)), State::Open);
/// assert!(breaker.admit(second(2)).is_err());
/// assert_eq!(breaker.state(second(62)), State::HalfOpen);
/// # Ok::<(), quorate_breaker::SettingsError>(())
/// ```
#[repr(C, align(64))]
pub struct Breaker {
    // Read by every call.
    word: AtomicU64,
    policy: Arc<Policy>,
    seed: u64,
    listener: Option<Arc<dyn Listener>>,
    changed: Changed,
    // Written while something is wrong.
    trials: Trials,
    streak: Streak,
    ramp: AtomicU64,
    window: Window,
}

impl Breaker {
    /// A closed breaker. Waits are drawn from `seed`: give every breaker of every process its own.
    #[must_use]
    pub fn new(policy: Arc<Policy>, seed: u64) -> Self {
        Self {
            word: AtomicU64::new(0),
            policy,
            seed,
            listener: None,
            changed: Changed::new(),
            trials: Trials::new(),
            streak: Streak::new(),
            ramp: AtomicU64::new(hash::spread(seed)),
            window: Window::new(),
        }
    }

    /// The same breaker with someone to be told of its transitions.
    #[must_use]
    pub fn with_listener(self, listener: Arc<dyn Listener>) -> Self {
        Self { listener: Some(listener), ..self }
    }

    /// The settings in use.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Asks to make a call at `now`.
    ///
    /// # Errors
    /// When the call should not be made; it says until when, if that is known.
    #[inline]
    pub fn admit(&self, now: Mono) -> Result<Permit, Rejected> {
        let word = Word(self.word.load(Ordering::Acquire));
        if word.is_plainly_closed() {
            Ok(Permit::counted(word.generation()))
        } else if word.is_plainly_open(now) {
            Err(Rejected::open(word.moment()))
        } else {
            self.admit_with_care(now).unpack()
        }
    }

    /// Hands back a permit with what the call came to. False when that no longer says anything: the breaker has moved on, the trial's lease
    /// had ended, or nothing is counted.
    #[inline]
    pub fn record(&self, permit: Permit, outcome: Outcome, now: Mono) -> bool {
        self.settle(permit, outcome, false, now)
    }

    /// As [`record`](Self::record), with the time the call took, for the slow-call rate.
    #[inline]
    pub fn record_timed(&self, permit: Permit, outcome: Outcome, took: Duration, now: Mono) -> bool {
        self.settle(permit, outcome, self.policy.is_slow(took), now)
    }

    /// Does what `event` means here. `None` when that changes nothing.
    pub fn apply(&self, event: Event, now: Mono) -> Option<Transition> {
        self.turn(event, now, |_| true)
    }

    /// Does what the clock has made due: trials after a wait, full traffic after a ramp. Callers do so by themselves; this is for those
    /// who watch a breaker that nobody calls.
    pub fn advance(&self, now: Mono) -> Option<Transition> {
        match self.status().phase {
            Phase::Open => self.apply(Event::WaitOver, now),
            Phase::Ramping => self.apply(Event::RampOver, now),
            Phase::Closed | Phase::HalfOpen => None,
        }
    }

    /// The status as it stands, time not considered.
    #[must_use]
    pub fn status(&self) -> Status {
        Word(self.word.load(Ordering::Acquire)).unpack()
    }

    /// The state at `now`: an open breaker whose time has come counts as half-open, whether or not anyone has called since.
    #[must_use]
    pub fn state(&self, now: Mono) -> State {
        state_at(self.status(), now)
    }

    /// What the window holds at `now`.
    #[must_use]
    pub fn counts(&self, now: Mono) -> Counts {
        self.window.counts(&self.policy, self.status().generation, now)
    }

    /// Everything at `now`.
    #[must_use]
    pub fn snapshot(&self, now: Mono) -> Snapshot {
        let status = self.status();
        let generation = status.generation;
        let streak = |counts: bool| if counts { self.streak.count(generation) } else { 0 };
        Snapshot {
            status,
            state: state_at(status, now),
            changed: self.changed.of(generation),
            counts: self.window.counts(&self.policy, generation, now),
            consecutive_failures: streak(status.phase.state() == State::Closed),
            consecutive_successes: streak(status.phase == Phase::HalfOpen),
            trials: self.trials.out(generation, now),
        }
    }

    #[cold]
    #[inline(never)]
    fn admit_with_care(&self, now: Mono) -> Answer {
        // Whoever finds something due does it and looks again. Two dues cannot follow each other at one time, so this ends.
        for _ in 0..LOOKS_MAX {
            let word = Word(self.word.load(Ordering::Acquire));
            let status = word.unpack();
            let due = match status.phase {
                Phase::Open => Event::WaitOver,
                Phase::Ramping => Event::RampOver,
                Phase::Closed | Phase::HalfOpen => return Answer::pack(self.admit_in(status, now)),
            };
            if !status.mode.moves() || !status.at.reached(now) {
                return Answer::pack(self.admit_in(status, now));
            }
            self.turn(due, now, |found| found == word);
        }
        Answer::pack(Err(Rejected::open(Moment::NEVER)))
    }

    fn admit_in(&self, status: Status, now: Mono) -> Result<Permit, Rejected> {
        let counted = Permit::counted(status.generation);
        let answer = match (status.mode, status.phase) {
            (Mode::Disabled, _) => Ok(Permit::void(status.generation)),
            (_, Phase::Closed) => Ok(counted),
            (_, Phase::Open) => Err(Rejected::open(status.at)),
            (_, Phase::Ramping) if self.is_let_through(status, now) => Ok(counted),
            (_, Phase::Ramping) => Err(Rejected::ramping(status.at)),
            (_, Phase::HalfOpen) => {
                let settings = self.policy.settings();
                let places = if status.is_shared() { 1 } else { settings.max_trials };
                let lease = self.trials.lend(status.generation, places, settings.trial_lease, now);
                lease
                    .map(|lease| Permit::trial(status.generation, lease))
                    .ok_or(Rejected::without_time(Refusal::TrialsOut))
            }
        };
        match (status.mode, answer) {
            (Mode::ObserveOnly, Err(_)) => Ok(Permit::void(status.generation)),
            (_, answer) => answer,
        }
    }

    /// Lets an even share of the calls through: each adds the share to a sum, and passes when that overflows.
    fn is_let_through(&self, status: Status, now: Mono) -> bool {
        let share = ramp_share(status.at, self.policy.settings().ramp, now) << 48;
        let before = self.ramp.fetch_add(share, Ordering::Relaxed);
        before.checked_add(share).is_none()
    }

    #[inline]
    fn settle(&self, permit: Permit, outcome: Outcome, slow: bool, now: Mono) -> bool {
        let word = Word(self.word.load(Ordering::Acquire));
        if permit.is_counted() {
            return word.generation() == permit.generation() && self.count(word, outcome, slow, now);
        }
        self.settle_trial(permit, word, outcome, now)
    }

    #[cold]
    #[inline(never)]
    fn settle_trial(&self, permit: Permit, word: Word, outcome: Outcome, now: Mono) -> bool {
        let Kind::Trial(lease) = permit.kind() else { return false };
        let good = self.trials.take_back(lease, now);
        good && word.generation() == permit.generation() && self.judge_trial(word, outcome, now)
    }

    #[inline(always)]
    fn count(&self, word: Word, outcome: Outcome, slow: bool, now: Mono) -> bool {
        let generation = word.generation();
        let Some(tally) = tally(outcome) else { return false };
        self.window.add(&self.policy, generation, now, tally.slow(slow));
        if outcome == Outcome::Success {
            self.streak.end(generation);
            if !slow {
                return true;
            }
        }
        self.trip_if_due(word, outcome, now);
        true
    }

    /// Only a call that failed or was slow can open a breaker.
    #[cold]
    #[inline(never)]
    fn trip_if_due(&self, word: Word, outcome: Outcome, now: Mono) {
        let generation = word.generation();
        let settings = self.policy.settings();
        let failures = if outcome == Outcome::Success { 0 } else { self.streak.extend(generation) };
        if !word.unpack().mode.moves() {
            return;
        }
        let counts = self.window.counts(&self.policy, generation, now);
        let enough = counts.calls >= settings.minimum_volume;
        let over = |rate: Option<u8>, part: u32| enough && rate.is_some_and(|percent| counts.reaches(part, percent));
        let event = if settings.failure_threshold.is_some_and(|threshold| failures >= threshold) {
            Event::ConsecutiveFailures
        } else if outcome != Outcome::Success && over(settings.failure_rate, counts.failed()) {
            Event::FailureRate
        } else if over(settings.slow_rate, counts.slow) {
            Event::SlowRate
        } else {
            return;
        };
        self.turn(event, now, |found| found == word);
    }

    fn judge_trial(&self, word: Word, outcome: Outcome, now: Mono) -> bool {
        let event = match outcome {
            Outcome::Neutral => return false,
            Outcome::Failure(_) => Event::TrialFailed,
            Outcome::Success => {
                let successes = self.streak.extend(word.generation());
                // One trial was lent; what it comes to is weighed elsewhere.
                if !word.unpack().is_shared() && successes < self.policy.settings().success_threshold {
                    return true;
                }
                Event::TrialsSucceeded
            }
        };
        self.turn(event, now, |found| found == word);
        true
    }

    /// Makes the transition that `event` means, as long as the word found there is `wanted`.
    #[cold]
    fn turn(&self, event: Event, now: Mono, wanted: impl Fn(Word) -> bool) -> Option<Transition> {
        let mut found = self.word.load(Ordering::Acquire);
        loop {
            if !wanted(Word(found)) {
                return None;
            }
            let from = Word(found).unpack();
            let draw = hash::mix(&[self.seed, u64::from(from.generation)]);
            let to = step(from, event, &self.policy, now, draw)?;
            let next = Word::pack(to).0;
            match self.word.compare_exchange(found, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    let transition = Transition { from, to, reason: event, at: now };
                    self.changed.set(&transition);
                    if let Some(listener) = &self.listener {
                        listener.changed(&transition);
                    }
                    return Some(transition);
                }
                Err(other) => found = other,
            }
        }
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// How often an admission looks again when others change the breaker meanwhile.
const LOOKS_MAX: usize = 8;

/// The share of the calls that is admitted during a ramp that ends at `end`, in 2^-16: 10 % in its first half, 30 % in its second.
fn ramp_share(end: Moment, ramp: Duration, now: Mono) -> u64 {
    let left = end.time().map_or(Duration::ZERO, |end| end.since(now));
    if left > ramp / 2 { 6_554 } else { 19_661 }
}

fn state_at(status: Status, now: Mono) -> State {
    match status.phase {
        Phase::Open if status.at.reached(now) => State::HalfOpen,
        phase => phase.state(),
    }
}

#[inline]
fn tally(outcome: Outcome) -> Option<Tally> {
    use crate::permit::Fault;
    match outcome {
        Outcome::Success => Some(Tally::SUCCESS),
        Outcome::Failure(Fault::Answer) => Some(Tally::ANSWERED),
        Outcome::Failure(Fault::Silence) => Some(Tally::SILENT),
        Outcome::Neutral => None,
    }
}

/// The last transition, for people: 39 bits of when, 5 of why, 17 of the generation it began.
struct Changed(AtomicU64);

impl Changed {
    const EVENT_AT: u32 = Moment::BITS;
    const GENERATION_AT: u32 = Self::EVENT_AT + 5;

    fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn set(&self, transition: &Transition) {
        let event = Event::ALL.iter().position(|event| *event == transition.reason).unwrap_or_default() as u64;
        let generation = u64::from(transition.to.generation) << Self::GENERATION_AT;
        let next = generation | event << Self::EVENT_AT | Moment::after(transition.at, Duration::ZERO).0;
        let mut seen = self.0.load(Ordering::Relaxed);
        // A later transition may already have been noted.
        while !is_before(transition.to.generation, (seen >> Self::GENERATION_AT) as u32) {
            match self.0.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }

    fn of(&self, generation: u32) -> Option<(Event, Mono)> {
        let seen = self.0.load(Ordering::Relaxed);
        let event = Event::ALL.get((seen >> Self::EVENT_AT & 0x1f) as usize)?;
        let noted = seen != 0 && (seen >> Self::GENERATION_AT) as u32 == generation;
        noted.then_some((*event, Moment(seen & Moment::NEVER.0).time()?))
    }
}

#[cfg(not(loom))]
#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;

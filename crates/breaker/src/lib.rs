//! Circuit breaker: may a caller send traffic to an instance?
//!
//! A pure state machine with time as an argument (Nygard, *Release It!*, 2007). Closed, it counts consecutive failures; open, it rejects
//! until a deadline; half-open, it lends a few trial permits, closes after enough successes and opens again at the first failure.
//!
//! Two rules that common breakers miss hold here: a permit carries the *generation* in which it was given, so that a late outcome never
//! moves a newer state; and a trial permit is a *lease*, so that a caller that never reports cannot keep the breaker half-open for ever.

use quorate_core::Mono;
use std::time::Duration;

/// Thresholds of a breaker. The defaults are the monitoring guide's: five failures, three successes, a minute, three trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Consecutive failures that open it.
    pub failure_threshold: u32,
    /// Consecutive successes that close it again.
    pub success_threshold: u32,
    /// How long it stays open.
    pub recovery: Duration,
    /// Trial permits lent at once while half-open.
    pub max_trials: u32,
    /// How long a trial permit may stay out before another takes its place.
    pub trial_lease: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            failure_threshold: 5,
            success_threshold: 3,
            recovery: Duration::from_secs(60),
            max_trials: 3,
            trial_lease: Duration::from_secs(30),
        }
    }
}

/// The three states. The numbers are those of the gauge `circuit_breaker_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// Traffic flows.
    Closed = 0,
    /// A few trial calls are allowed.
    HalfOpen = 1,
    /// Nothing is allowed.
    Open = 2,
}

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The instance served it.
    Success,
    /// The instance failed it.
    Failure,
    /// Neither: cancelled, or the caller's own fault. It returns its permit and proves nothing.
    Neutral,
}

/// The right to make one call. Hand it back with [`Breaker::record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a permit that is not handed back holds a trial place until its lease ends"]
pub struct Permit {
    generation: u64,
}

/// One breaker.
#[derive(Debug, Clone)]
pub struct Breaker {
    settings: Settings,
    state: State,
    generation: u64,
    failures: u32,
    successes: u32,
    opened: Mono,
    /// When each trial permit that is out was lent.
    trials: Vec<Mono>,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Closed,
            generation: 0,
            failures: 0,
            successes: 0,
            opened: Mono(0),
            trials: Vec::new(),
        }
    }

    /// The state at `now`: an open breaker whose time is up counts as half-open, whether or not anyone has called since.
    #[must_use]
    pub fn state(&self, now: Mono) -> State {
        match self.state {
            State::Open if now >= self.opened + self.settings.recovery => State::HalfOpen,
            state => state,
        }
    }

    /// Asks to make a call at `now`; `None` means no.
    pub fn permit(&mut self, now: Mono) -> Option<Permit> {
        if self.state == State::Open && self.state(now) == State::HalfOpen {
            self.turn(State::HalfOpen, now);
        }
        match self.state {
            State::Closed => {}
            State::Open => return None,
            State::HalfOpen => {
                let lease = self.settings.trial_lease;
                self.trials.retain(|lent| now < *lent + lease);
                if self.trials.len() >= self.settings.max_trials as usize {
                    return None;
                }
                self.trials.push(now);
            }
        }
        Some(Permit { generation: self.generation })
    }

    /// Hands back a permit with what the call came to. An outcome of an earlier generation changes nothing.
    pub fn record(&mut self, permit: Permit, outcome: Outcome, now: Mono) {
        if permit.generation != self.generation {
            return;
        }
        if self.state == State::HalfOpen {
            self.trials.pop();
        }
        match (self.state, outcome) {
            (_, Outcome::Neutral) | (State::Open, _) => {}
            (State::Closed, Outcome::Success) => self.failures = 0,
            (State::Closed, Outcome::Failure) => {
                self.failures += 1;
                if self.failures >= self.settings.failure_threshold {
                    self.turn(State::Open, now);
                }
            }
            (State::HalfOpen, Outcome::Failure) => self.turn(State::Open, now),
            (State::HalfOpen, Outcome::Success) => {
                self.successes += 1;
                if self.successes >= self.settings.success_threshold {
                    self.turn(State::Closed, now);
                }
            }
        }
    }

    fn turn(&mut self, to: State, now: Mono) {
        self.state = to;
        self.generation += 1;
        self.failures = 0;
        self.successes = 0;
        self.trials.clear();
        if to == State::Open {
            self.opened = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> Mono {
        Mono(seconds * SECOND)
    }

    fn call(breaker: &mut Breaker, outcome: Outcome, now: Mono) -> bool {
        let permit = breaker.permit(now);
        if let Some(permit) = permit {
            breaker.record(permit, outcome, now);
        }
        permit.is_some()
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(Settings::default());
        (0..5).for_each(|_| assert!(call(&mut breaker, Outcome::Failure, at(0))));
        breaker
    }

    #[test]
    fn five_failures_open_it_and_a_success_between_them_does_not() {
        let mut breaker = Breaker::new(Settings::default());
        for outcome in [Outcome::Failure, Outcome::Success].into_iter().cycle().take(20) {
            call(&mut breaker, outcome, at(0));
        }
        assert_eq!(breaker.state(at(0)), State::Closed);
        assert_eq!(opened().state(at(0)), State::Open);
        assert!(opened().permit(at(59)).is_none());
    }

    #[test]
    fn half_open_lends_three_trials_and_closes_after_three_successes() {
        let mut breaker = opened();
        assert_eq!(breaker.state(at(60)), State::HalfOpen);
        let permits: Vec<_> = (0..4).filter_map(|_| breaker.permit(at(60))).collect();
        assert_eq!(permits.len(), 3);
        permits.into_iter().for_each(|permit| breaker.record(permit, Outcome::Success, at(61)));
        assert_eq!(breaker.state(at(61)), State::Closed);
    }

    #[test]
    fn one_failure_in_half_open_opens_it_again() {
        let mut breaker = opened();
        call(&mut breaker, Outcome::Failure, at(60));
        assert_eq!(breaker.state(at(119)), State::Open);
        assert_eq!(breaker.state(at(120)), State::HalfOpen);
    }

    #[test]
    fn a_trial_that_never_reports_returns_its_place() {
        let mut breaker = opened();
        let lost: Vec<_> = (0..3).filter_map(|_| breaker.permit(at(60))).collect();
        assert_eq!(lost.len(), 3);
        assert!(breaker.permit(at(89)).is_none());
        assert!(breaker.permit(at(90)).is_some());
    }

    #[test]
    fn a_late_outcome_changes_nothing() {
        let mut breaker = Breaker::new(Settings::default());
        let late: Vec<_> = (0..10).filter_map(|_| breaker.permit(at(0))).collect();
        (0..5).for_each(|_| assert!(call(&mut breaker, Outcome::Failure, at(1))));
        late.into_iter().for_each(|permit| breaker.record(permit, Outcome::Failure, at(50)));
        assert_eq!(breaker.state(at(61)), State::HalfOpen, "late failures do not prolong the outage");
        assert!(!call(&mut opened(), Outcome::Success, at(1)));
    }

    #[test]
    fn a_neutral_outcome_returns_the_permit_and_proves_nothing() {
        let mut breaker = opened();
        for _ in 0..10 {
            assert!(call(&mut breaker, Outcome::Neutral, at(60)));
        }
        assert_eq!(breaker.state(at(60)), State::HalfOpen);
    }

    proptest! {
        #[test]
        fn never_more_trials_than_allowed(steps in proptest::collection::vec((0u64..20, 0u8..4), 1..200)) {
            let mut breaker = opened();
            let (mut now, mut out) = (60, Vec::new());
            for (wait, step) in steps {
                now += wait;
                match (step, out.pop()) {
                    (0, _) | (_, None) => out.extend(breaker.permit(at(now)).map(|permit| (permit, now))),
                    (1, Some((permit, _))) => breaker.record(permit, Outcome::Success, at(now)),
                    (2, Some((permit, _))) => breaker.record(permit, Outcome::Failure, at(now)),
                    (_, Some((permit, _))) => breaker.record(permit, Outcome::Neutral, at(now)),
                }
                if breaker.state == State::HalfOpen {
                    prop_assert!(breaker.trials.len() <= 3);
                }
            }
        }
    }
}

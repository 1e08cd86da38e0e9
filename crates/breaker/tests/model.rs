//! The breaker against a naive model: every call of the window in a list, every trial in another, nothing packed, nothing shared.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use quorate_breaker::{Breaker, Event, Fault, Mode, Moment, Outcome, Permit, Phase, Policy, Settings, Status, step};
use quorate_core::{Mono, hash};
use std::sync::Arc;
use std::time::Duration;

const SEED: u64 = 11;

/// A call that was admitted by the model.
#[derive(Clone, Copy)]
enum Given {
    Counted,
    Trial { ends: Moment },
    Void,
}

struct Model {
    policy: Policy,
    status: Status,
    /// Bucket, outcome, slow: since the last transition.
    calls: Vec<(u64, Outcome, bool)>,
    streak: u32,
    /// Number and end of each trial that is out.
    trials: Vec<(u64, Moment)>,
    /// The sum that decides which calls a ramp lets through: in 2^-64, beginning anywhere.
    ramp: u64,
}

impl Model {
    fn turn(&mut self, event: Event, now: Mono) -> bool {
        let draw = hash::mix(&[SEED, u64::from(self.status.generation)]);
        let Some(next) = step(self.status, event, &self.policy, now, draw) else { return false };
        self.status = next;
        self.calls.clear();
        self.trials.clear();
        self.streak = 0;
        true
    }

    fn bucket(&self, now: Mono) -> u64 {
        now.0 / (self.policy.settings().window.as_nanos() as u64 / 10)
    }

    fn admit(&mut self, number: u64, now: Mono) -> Option<Given> {
        let moves = self.status.mode.moves();
        match self.status.phase {
            Phase::Open if moves => _ = self.turn(Event::WaitOver, now),
            Phase::Ramping if moves => _ = self.turn(Event::RampOver, now),
            Phase::Open | Phase::Ramping | Phase::Closed | Phase::HalfOpen => {}
        }
        let settings = *self.policy.settings();
        let given = match (self.status.mode, self.status.phase) {
            (Mode::Disabled, _) => Some(Given::Void),
            (_, Phase::Closed) => Some(Given::Counted),
            (_, Phase::Open) => None,
            (_, Phase::Ramping) => self.is_let_through(now).then_some(Given::Counted),
            (_, Phase::HalfOpen) => {
                self.trials.retain(|(_, ends)| !ends.reached(now));
                let ends = Moment::after(now, settings.trial_lease);
                let places = if self.status.is_shared() { 1 } else { settings.max_trials as usize };
                let free = self.trials.len() < places;
                free.then(|| self.trials.push((number, ends)));
                free.then_some(Given::Trial { ends })
            }
        };
        let observed = self.status.mode == Mode::ObserveOnly && given.is_none();
        if observed { Some(Given::Void) } else { given }
    }

    fn is_let_through(&mut self, now: Mono) -> bool {
        let first_half = self.status.at.time().unwrap().since(now) > self.policy.settings().ramp / 2;
        let share: u64 = if first_half { 6_554 } else { 19_661 };
        let sum = u128::from(self.ramp) + (u128::from(share) << 48);
        self.ramp = sum as u64;
        sum > u128::from(u64::MAX)
    }

    fn record(&mut self, number: u64, given: Given, generation: u32, outcome: Outcome, slow: bool, now: Mono) -> bool {
        let current = generation == self.status.generation;
        match given {
            Given::Trial { ends } => {
                let good = self.trials.iter().any(|(other, _)| *other == number) && !ends.reached(now);
                self.trials.retain(|(other, _)| *other != number);
                good && current && self.judge(outcome, now)
            }
            Given::Counted if current && outcome != Outcome::Neutral => {
                self.count(outcome, slow, now);
                true
            }
            Given::Counted | Given::Void => false,
        }
    }

    fn judge(&mut self, outcome: Outcome, now: Mono) -> bool {
        match outcome {
            Outcome::Neutral => return false,
            Outcome::Failure(_) => _ = self.turn(Event::TrialFailed, now),
            Outcome::Success => {
                self.streak += 1;
                if self.status.is_shared() || self.streak >= self.policy.settings().success_threshold {
                    self.turn(Event::TrialsSucceeded, now);
                }
            }
        }
        true
    }

    fn count(&mut self, outcome: Outcome, slow: bool, now: Mono) {
        let last = self.bucket(now);
        self.calls.push((last, outcome, slow));
        self.calls.retain(|(bucket, _, _)| bucket + 10 > last);
        let failed = outcome != Outcome::Success;
        self.streak = if failed { self.streak + 1 } else { 0 };
        if (!failed && !slow) || !self.status.mode.moves() {
            return;
        }
        let settings = *self.policy.settings();
        let all = self.calls.len();
        let share = |part: usize, rate: Option<u8>| {
            all >= settings.minimum_volume as usize && rate.is_some_and(|rate| part * 100 >= all * usize::from(rate))
        };
        let failures = self.calls.iter().filter(|(_, outcome, _)| *outcome != Outcome::Success).count();
        let slows = self.calls.iter().filter(|(_, _, slow)| *slow).count();
        if failed && settings.failure_threshold.is_some_and(|threshold| self.streak >= threshold) {
            self.turn(Event::ConsecutiveFailures, now);
        } else if failed && share(failures, settings.failure_rate) {
            self.turn(Event::FailureRate, now);
        } else if share(slows, settings.slow_rate) {
            self.turn(Event::SlowRate, now);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Wait(Duration),
    Admit,
    /// Which of the permits out, what came of it, how long it took in milliseconds.
    Record(prop::sample::Index, Outcome, u64),
    Apply(Event),
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Success),
        2 => Just(Outcome::Failure(Fault::Answer)),
        2 => Just(Outcome::Failure(Fault::Silence)),
        1 => Just(Outcome::Neutral),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0u64..1_500).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
        8 => Just(Step::Admit),
        8 => (any::<prop::sample::Index>(), outcomes(), 0u64..200).prop_map(|(which, outcome, ms)| Step::Record(which, outcome, ms)),
        1 => prop::sample::select(Event::ALL.to_vec()).prop_map(Step::Apply),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let triggers = (1u32..12, prop::option::of(1u8..=100), prop::option::of(1u8..=100), prop::option::of(1u32..8));
    let recovery = (1u64..3_000, 1u32..=8, 1u64..2_000, 1u32..5, prop_oneof![Just(0u64), 1u64..2_000]);
    (triggers, recovery).prop_map(|((volume, failure, slow, threshold), (recovery, trials, lease, successes, ramp))| {
        let ms = Duration::from_millis;
        Settings {
            window: ms(2_000),
            minimum_volume: volume,
            failure_rate: failure,
            slow_rate: slow,
            slow_after: ms(100),
            failure_threshold: threshold,
            recovery: ms(recovery),
            max_recovery: ms(recovery * 4),
            max_trials: trials,
            trial_lease: ms(lease),
            success_threshold: successes,
            ramp: ms(ramp),
        }
    })
}

/// Runs both; whatever they disagree about is the answer.
fn compare(settings: Settings, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let policy = settings.resolve().unwrap();
    let breaker = Breaker::new(Arc::new(policy.clone()), SEED);
    let status = breaker.status();
    let ramp = hash::spread(SEED);
    let mut model = Model { policy, status, calls: Vec::new(), streak: 0, trials: Vec::new(), ramp };
    // Half a bucket in, so that the breaker's multiplication and the model's division cannot differ by a nanosecond at a bound.
    let mut now = Mono(100_000_500);
    let mut out: Vec<(u64, Given, Permit)> = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Wait(span) => now = now + span,
            Step::Apply(event) => {
                prop_assert_eq!(breaker.apply(event, now).is_some(), model.turn(event, now));
            }
            Step::Admit => {
                let permit = breaker.admit(now);
                match (model.admit(number as u64, now), permit) {
                    (Some(given), Ok(permit)) => {
                        prop_assert_eq!(permit.is_trial(), matches!(given, Given::Trial { .. }));
                        out.push((number as u64, given, permit));
                    }
                    (None, Err(_)) => {}
                    (given, permit) => prop_assert!(false, "{:?}, but the model admits: {}", permit, given.is_some()),
                }
            }
            Step::Record(which, outcome, ms) => {
                if !out.is_empty() {
                    let (number, given, permit) = out.remove(which.index(out.len()));
                    let slow = settings.slow_rate.is_some() && ms > 100;
                    let expected = model.record(number, given, permit.generation(), outcome, slow, now);
                    prop_assert_eq!(breaker.record_timed(permit, outcome, Duration::from_millis(ms), now), expected);
                }
            }
        }
        let (is, should) = (breaker.snapshot(now), &model);
        prop_assert_eq!(is.status, should.status);
        let last = should.bucket(now);
        let calls = should.calls.iter().filter(|(bucket, _, _)| bucket + 10 > last);
        prop_assert_eq!(is.counts.calls as usize, calls.clone().count());
        prop_assert_eq!(is.counts.slow as usize, calls.filter(|(_, _, slow)| *slow).count());
        prop_assert!(is.trials <= settings.max_trials);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn the_breaker_does_what_the_model_does(settings in settings(), steps in prop::collection::vec(steps(), 1..150)) {
        compare(settings, steps)?;
    }
}

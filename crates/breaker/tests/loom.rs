//! Every interleaving of two threads on one breaker, within loom's bound of preemptions.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p quorate-breaker --test loom`
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "a test")]

use loom::sync::Arc;
use loom::thread;
use quorate_breaker::{Breaker, Event, Fault, Mode, Outcome, Phase, Policy, Settings, State};
use quorate_core::Mono;
use std::time::Duration;

const FAILURE: Outcome = Outcome::Failure(Fault::Answer);
const NOW: Mono = Mono(1_000_000_000);

fn policy(settings: Settings) -> std::sync::Arc<Policy> {
    std::sync::Arc::new(settings.resolve().unwrap())
}

/// Opens after two failures in a row; two trial places; two successes close it, without a ramp.
fn settings() -> Settings {
    Settings {
        failure_rate: None,
        failure_threshold: Some(2),
        max_trials: 2,
        success_threshold: 2,
        ramp: Duration::ZERO,
        ..Settings::default()
    }
}

fn explore(check: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(check);
}

fn fail(breaker: &Breaker) {
    if let Ok(permit) = breaker.admit(NOW) {
        breaker.record(permit, FAILURE, NOW);
    }
}

fn half_open(settings: Settings) -> Arc<Breaker> {
    let breaker = Arc::new(Breaker::new(policy(settings), 1));
    breaker.apply(Event::Tripped, NOW).unwrap();
    breaker.apply(Event::VerdictUp, NOW).unwrap();
    breaker
}

#[test]
fn two_failures_open_it_once_whoever_comes_first() {
    explore(|| {
        let breaker = Arc::new(Breaker::new(policy(settings()), 1));
        let other = Arc::clone(&breaker);
        let thread = thread::spawn(move || fail(&other));
        fail(&breaker);
        thread.join().unwrap();
        let status = breaker.status();
        assert_eq!((status.phase, status.generation), (Phase::Open, 1));
    });
}

#[test]
fn no_count_is_lost() {
    explore(|| {
        let counting = Settings { failure_threshold: None, ..settings() };
        let breaker = Arc::new(Breaker::new(policy(counting), 1));
        let other = Arc::clone(&breaker);
        let thread = thread::spawn(move || fail(&other));
        fail(&breaker);
        thread.join().unwrap();
        assert_eq!(breaker.counts(NOW).failed(), 2);
        assert_eq!(breaker.snapshot(NOW).consecutive_failures, 2);
    });
}

#[test]
fn never_more_trials_than_places() {
    explore(|| {
        let one_place = Settings { max_trials: 1, ..settings() };
        let breaker = half_open(one_place);
        let other = Arc::clone(&breaker);
        let thread = thread::spawn(move || other.admit(NOW).is_ok());
        let here = breaker.admit(NOW).is_ok();
        let there = thread.join().unwrap();
        assert!(here ^ there, "one place, one permit");
    });
}

#[test]
fn of_a_failed_and_a_last_successful_trial_one_decides() {
    explore(|| {
        let one_success = Settings { success_threshold: 1, ..settings() };
        let breaker = half_open(one_success);
        let (good, bad) = (breaker.admit(NOW).unwrap(), breaker.admit(NOW).unwrap());
        let other = Arc::clone(&breaker);
        let thread = thread::spawn(move || other.record(good, Outcome::Success, NOW));
        breaker.record(bad, FAILURE, NOW);
        thread.join().unwrap();
        let status = breaker.status();
        assert_eq!(status.generation, 3, "opened, half-open, and one transition more");
        assert_ne!(status.state(), State::HalfOpen);
    });
}

#[test]
fn a_late_outcome_never_moves_a_newer_state() {
    explore(|| {
        let one_failure = Settings { failure_threshold: Some(1), ..settings() };
        let breaker = Arc::new(Breaker::new(policy(one_failure), 1));
        let late = breaker.admit(NOW).unwrap();
        let other = Arc::clone(&breaker);
        let thread = thread::spawn(move || other.record(late, FAILURE, NOW));
        breaker.apply(Event::Reset, NOW).unwrap();
        let reset = breaker.status().generation;
        thread.join().unwrap();
        let status = breaker.status();
        // Either the failure came first and the reset closed what it had opened, or it came late.
        assert_eq!((status.phase, status.generation), (Phase::Closed, reset));
        assert_eq!(breaker.snapshot(NOW).consecutive_failures, 0);
        assert_eq!(breaker.counts(NOW).calls, 0, "nothing of the old generation is read in the new one");
    });
}

#[test]
fn a_person_wins_against_a_call() {
    explore(|| {
        let breaker = Arc::new(Breaker::new(policy(Settings { failure_threshold: Some(1), ..settings() }), 1));
        let other = Arc::clone(&breaker);
        let thread = thread::spawn(move || fail(&other));
        breaker.apply(Event::Mode(Mode::ForcedClosed), NOW).unwrap();
        thread.join().unwrap();
        assert_eq!((breaker.status().mode, breaker.state(NOW)), (Mode::ForcedClosed, State::Closed));
    });
}

#[test]
fn one_of_two_callers_makes_it_half_open_and_both_get_a_trial() {
    explore(|| {
        let breaker = Arc::new(Breaker::new(policy(settings()), 1));
        breaker.apply(Event::Tripped, NOW).unwrap();
        let later = NOW + Duration::from_secs(31);
        let other = Arc::clone(&breaker);
        let thread = thread::spawn(move || other.admit(later).is_ok());
        assert!(breaker.admit(later).is_ok());
        assert!(thread.join().unwrap());
        assert_eq!((breaker.status().phase, breaker.status().generation), (Phase::HalfOpen, 2));
    });
}

//! A breaker's behaviour, rule by rule.

use super::*;
use crate::{Fault, Refusal, Settings};

const FAILURE: Outcome = Outcome::Failure(Fault::Answer);

fn at(seconds: u64) -> Mono {
    Mono(seconds * 1_000_000_000)
}

/// Time is kept in steps of about a millisecond, so a wait may end that much later.
fn just_after(seconds: u64) -> Mono {
    at(seconds) + Duration::from_millis(2)
}

fn breaker(settings: Settings) -> Breaker {
    Breaker::new(Arc::new(settings.resolve().unwrap()), 1)
}

fn plain() -> Settings {
    Settings { ramp: Duration::ZERO, ..Settings::orchestry() }
}

fn call(breaker: &Breaker, outcome: Outcome, now: Mono) -> bool {
    breaker.admit(now).is_ok_and(|permit| {
        breaker.record(permit, outcome, now);
        true
    })
}

fn opened(settings: Settings) -> Breaker {
    let breaker = breaker(settings);
    (0..5).for_each(|_| assert!(call(&breaker, FAILURE, at(0))));
    assert_eq!(breaker.state(at(0)), State::Open);
    breaker
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
    let breaker = breaker(plain());
    for outcome in [FAILURE, FAILURE, FAILURE, FAILURE, Outcome::Success].into_iter().cycle().take(50) {
        assert!(call(&breaker, outcome, at(0)));
    }
    assert_eq!(breaker.state(at(0)), State::Closed);
    let open = opened(plain());
    assert_eq!(open.snapshot(at(1)).changed.map(|(event, _)| event), Some(Event::ConsecutiveFailures));
    let refused = open.admit(at(59)).unwrap_err();
    assert_eq!(refused.why, Refusal::Open);
    assert_eq!(refused.until().unwrap().since(at(60)), Duration::from_nanos((1 << 20) - 60_000_000_000 % (1 << 20)));
}

#[test]
fn half_of_five_calls_failing_opens_the_rate_preset() {
    let breaker = breaker(Settings::opossum());
    for outcome in [FAILURE, FAILURE, Outcome::Success, Outcome::Success] {
        assert!(call(&breaker, outcome, at(1)));
    }
    assert_eq!(breaker.state(at(1)), State::Closed, "four calls are too few");
    assert!(call(&breaker, FAILURE, at(2)));
    assert_eq!(breaker.snapshot(at(2)).changed.unwrap().0, Event::FailureRate);
    assert!(!call(&breaker, FAILURE, at(31)));
    assert!(call(&breaker, Outcome::Success, just_after(32)), "after 30 s one trial");
    assert_eq!(breaker.status().phase, Phase::Ramping, "and its success is enough");
}

#[test]
fn old_failures_leave_the_window() {
    let breaker = breaker(Settings::opossum());
    (0..4).for_each(|_| assert!(call(&breaker, FAILURE, at(1))));
    assert!(call(&breaker, FAILURE, at(20)));
    assert_eq!((breaker.state(at(20)), breaker.counts(at(20)).calls), (State::Closed, 1));
}

#[test]
fn slow_calls_open_it_though_they_succeed() {
    let slow = Settings { slow_rate: Some(80), slow_after: Duration::from_millis(100), ..plain() };
    let breaker = breaker(slow);
    for took in [50, 150, 150, 150, 150, 150, 150, 150, 150, 50] {
        let permit = breaker.admit(at(1)).unwrap();
        assert!(breaker.record_timed(permit, Outcome::Success, Duration::from_millis(took), at(1)));
    }
    assert_eq!(breaker.state(at(1)), State::Closed, "only a slow call opens it, and the tenth was fast");
    let permit = breaker.admit(at(1)).unwrap();
    assert!(breaker.record_timed(permit, Outcome::Success, Duration::from_millis(101), at(1)));
    assert_eq!(breaker.snapshot(at(1)).changed.unwrap().0, Event::SlowRate);
}

#[test]
fn half_open_lends_three_trials_and_closes_after_three_successes() {
    let breaker = opened(plain());
    let now = just_after(60);
    assert_eq!(breaker.state(now), State::HalfOpen);
    let permits: Vec<_> = (0..5).filter_map(|_| breaker.admit(now).ok()).collect();
    assert_eq!((permits.len(), breaker.snapshot(now).trials), (3, 3));
    assert_eq!(breaker.admit(now).unwrap_err().why, Refusal::TrialsOut);
    assert!(permits.iter().all(Permit::is_trial));
    permits.into_iter().for_each(|permit| assert!(breaker.record(permit, Outcome::Success, at(61))));
    assert_eq!(breaker.state(at(61)), State::Closed);
}

#[test]
fn each_failed_trial_makes_the_wait_longer_up_to_its_limit() {
    let breaker = opened(Settings { max_recovery: Duration::from_secs(500), ..plain() });
    let (mut now, mut waits) = (at(0), Vec::new());
    for _ in 0..6 {
        let until = breaker.status().at.time().unwrap();
        waits.push(until.since(now).as_secs());
        now = until;
        assert!(call(&breaker, FAILURE, now));
    }
    let ceilings = [60, 120, 240, 480, 500, 500];
    assert!(waits.iter().zip(ceilings).all(|(wait, ceiling)| (60..=ceiling).contains(wait)), "{waits:?}");
    assert_eq!(waits[0], 60);
    assert!(waits[2..].windows(2).any(|pair| pair[0] != pair[1]), "drawn, not fixed: {waits:?}");
}

#[test]
fn two_seeds_wait_differently_and_one_seed_the_same() {
    let wait = |seed| {
        let breaker = Breaker::new(Arc::new(plain().resolve().unwrap()), seed);
        (0..5).for_each(|_| assert!(call(&breaker, FAILURE, at(0))));
        assert!(call(&breaker, FAILURE, just_after(60)));
        breaker.status().at
    };
    assert_eq!(wait(5), wait(5));
    assert_ne!(wait(5), wait(6));
}

#[test]
fn a_trial_that_never_reports_returns_its_place_and_its_late_word_is_void() {
    let breaker = opened(plain());
    let mut lost: Vec<_> = (0..3).filter_map(|_| breaker.admit(at(61)).ok()).collect();
    assert!(breaker.admit(at(120)).is_err());
    let fresh = breaker.admit(just_after(121)).expect("the leases have ended");
    assert!(!breaker.record(lost.remove(0), FAILURE, at(122)), "its place is another's by now");
    assert!(!breaker.record(lost.remove(0), FAILURE, at(122)), "its lease has ended");
    assert_eq!((breaker.state(at(122)), breaker.snapshot(at(122)).trials), (State::HalfOpen, 1));
    assert!(breaker.record(fresh, FAILURE, at(122)));
    assert_eq!(breaker.state(at(122)), State::Open);
}

#[test]
fn late_outcomes_change_nothing() {
    let breaker = breaker(plain());
    let late: Vec<_> = (0..10).map(|_| breaker.admit(at(0)).unwrap()).collect();
    (0..5).for_each(|_| assert!(call(&breaker, FAILURE, at(1))));
    let until = breaker.status().at;
    let (while_open, while_half_open) =
        late.into_iter().partition::<Vec<_>, _>(|_| breaker.state(at(2)) == State::Open);
    while_open.into_iter().for_each(|permit| assert!(!breaker.record(permit, FAILURE, at(50))));
    assert_eq!(breaker.status().at, until, "late failures do not prolong the outage");
    while_half_open.into_iter().for_each(|permit| assert!(!breaker.record(permit, Outcome::Success, at(62))));
    assert_eq!(breaker.counts(at(50)), Counts::default());
}

#[test]
fn a_late_success_closes_no_half_open_breaker() {
    let breaker = breaker(plain());
    let late: Vec<_> = (0..5).map(|_| breaker.admit(at(0)).unwrap()).collect();
    (0..5).for_each(|_| assert!(call(&breaker, FAILURE, at(1))));
    let trial = breaker.admit(just_after(61)).unwrap();
    late.into_iter().for_each(|permit| assert!(!breaker.record(permit, Outcome::Success, at(62))));
    assert_eq!(breaker.state(at(62)), State::HalfOpen);
    assert!(breaker.record(trial, Outcome::Success, at(62)));
}

#[test]
fn a_neutral_outcome_returns_the_permit_and_proves_nothing() {
    let breaker = opened(plain());
    (0..10).for_each(|_| assert!(call(&breaker, Outcome::Neutral, at(61))));
    assert_eq!((breaker.state(at(61)), breaker.snapshot(at(61)).trials), (State::HalfOpen, 0));
    let closed = super::tests::breaker(plain());
    (0..100).for_each(|_| assert!(call(&closed, Outcome::Neutral, at(0))));
    assert_eq!(closed.counts(at(0)), Counts::default());
}

#[test]
fn traffic_ramps_up_after_closing() {
    let breaker = opened(Settings::orchestry());
    (0..3).for_each(|_| assert!(call(&breaker, Outcome::Success, at(61))));
    assert_eq!((breaker.status().phase, breaker.state(at(61))), (Phase::Ramping, State::Closed));
    let admitted = |now| (0..1_000).filter(|_| call(&breaker, Outcome::Success, now)).count();
    assert!((99..=101).contains(&admitted(at(62))), "a tenth at first");
    assert!((299..=301).contains(&admitted(at(68))), "then three tenths");
    let refused = (0..9).find_map(|_| breaker.admit(at(68)).err()).unwrap();
    assert_eq!(refused.why, Refusal::Ramping);
    assert_eq!(admitted(just_after(71)), 1_000);
    assert_eq!(breaker.status().phase, Phase::Closed);
}

#[test]
fn opening_during_the_ramp_waits_longer_and_a_finished_ramp_forgets() {
    let breaker = opened(Settings::orchestry());
    (0..3).for_each(|_| assert!(call(&breaker, Outcome::Success, at(61))));
    while breaker.state(at(62)) == State::Closed {
        call(&breaker, FAILURE, at(62));
    }
    assert_eq!(breaker.status().attempt, 1);
    breaker.apply(Event::Reset, at(63)).unwrap();
    assert_eq!((breaker.status().attempt, breaker.state(at(63))), (0, State::Closed));
}

#[test]
fn a_verdict_opens_it_at_once_and_holds_it_until_the_verdict_changes() {
    let breaker = breaker(plain());
    let held = breaker.apply(Event::VerdictDown, at(1)).unwrap();
    assert_eq!((held.reason, breaker.state(at(10_000))), (Event::VerdictDown, State::Open));
    assert_eq!(breaker.admit(at(10_000)).unwrap_err().until(), None);
    assert!(breaker.apply(Event::VerdictDown, at(2)).is_none());
    assert!(breaker.apply(Event::TrialGranted, at(2)).is_none(), "no trials against a verdict");
    breaker.apply(Event::VerdictUp, at(3)).unwrap();
    assert!(breaker.admit(at(3)).unwrap().is_trial());
    breaker.apply(Event::VerdictDown, at(4)).unwrap();
    breaker.apply(Event::VerdictUnknown, at(5)).unwrap();
    assert_eq!((breaker.state(at(64)), breaker.state(just_after(65))), (State::Open, State::HalfOpen));
}

#[test]
fn forced_modes_admit_or_reject_everything_and_late_words_from_before_are_void() {
    let breaker = breaker(plain());
    let before = breaker.admit(at(0)).unwrap();
    let mode = |mode| breaker.apply(Event::Mode(mode), at(0)).unwrap();
    mode(Mode::ForcedOpen);
    assert!(breaker.admit(at(1_000_000)).is_err());
    assert!(!breaker.record(before, FAILURE, at(1)));
    mode(Mode::ForcedClosed);
    (0..100).for_each(|_| assert!(call(&breaker, FAILURE, at(1))));
    assert_eq!((breaker.state(at(1)), breaker.counts(at(1)).failed()), (State::Closed, 100));
    mode(Mode::Disabled);
    (0..100).for_each(|_| assert!(call(&breaker, FAILURE, at(1))));
    assert_eq!(breaker.counts(at(1)), Counts::default());
    mode(Mode::Automatic);
    assert_eq!(breaker.state(at(1)), State::Closed);
    mode(Mode::ForcedOpen);
    mode(Mode::Automatic);
    assert_eq!(breaker.state(at(1)), State::HalfOpen, "what was forced open is tried first");
}

#[test]
fn observe_only_tells_what_it_would_do_and_does_nothing() {
    let breaker = breaker(plain());
    breaker.apply(Event::Mode(Mode::ObserveOnly), at(0)).unwrap();
    (0..50).for_each(|_| assert!(call(&breaker, FAILURE, at(1))));
    assert_eq!(
        (breaker.state(at(1)), breaker.snapshot(at(1)).changed.unwrap().0),
        (State::Open, Event::ConsecutiveFailures)
    );
    let trials = (0..10).map(|_| breaker.admit(just_after(61)).unwrap()).filter(Permit::is_trial).count();
    assert_eq!(trials, 3, "the rest is let through without a word in it");
}

#[test]
fn nobody_has_to_call_for_it_to_move() {
    let breaker = opened(Settings::orchestry());
    assert!(breaker.advance(at(59)).is_none());
    assert_eq!(breaker.advance(just_after(60)).unwrap().reason, Event::WaitOver);
    assert!(breaker.advance(at(1_000)).is_none());
    breaker.apply(Event::PeersRecovered, at(1_000)).unwrap();
    assert_eq!(breaker.advance(just_after(1_010)).unwrap().reason, Event::RampOver);
}

#[test]
fn listeners_hear_every_transition_once() {
    struct Heard(std::sync::Mutex<Vec<Event>>);
    impl Listener for Heard {
        fn changed(&self, transition: &Transition) {
            self.0.lock().unwrap().push(transition.reason);
        }
    }
    let heard = Arc::new(Heard(Default::default()));
    let breaker = breaker(plain()).with_listener(Arc::clone(&heard) as Arc<dyn Listener>);
    let admitted = (0..9).filter(|_| call(&breaker, FAILURE, at(0))).count();
    assert_eq!(admitted, 5);
    assert!(call(&breaker, FAILURE, at(61)));
    assert_eq!(*heard.0.lock().unwrap(), [Event::ConsecutiveFailures, Event::WaitOver, Event::TrialFailed]);
}

#[test]
fn permits_travel_as_numbers_and_invented_ones_do_little() {
    let breaker = opened(plain());
    let parts = breaker.admit(at(61)).unwrap().into_parts();
    assert!(breaker.record(Permit::from_parts(parts), Outcome::Success, at(62)));
    assert!(!breaker.record(Permit::from_parts(parts), Outcome::Success, at(62)), "a trial reports once");
    for place in 0..=255 {
        breaker.record(Permit::from_parts((breaker.status().generation, place, u64::MAX)), FAILURE, at(62));
    }
    assert_eq!(breaker.state(at(62)), State::HalfOpen);
}

#[test]
fn a_breaker_is_small() {
    assert_eq!(size_of::<Breaker>(), 1_152, "docs/breaker.md tells it; at most 1,200");
}

#[test]
fn what_the_mesh_opened_waits_for_the_mesh() {
    let breaker = breaker(Settings::default());
    breaker.apply(Event::PeersOpened, at(1)).unwrap();
    assert_eq!(breaker.admit(at(80_000)).unwrap_err().until(), None, "no clock ends it");
    assert_eq!(breaker.state(at(80_000)), State::Open);
    breaker.apply(Event::TrialGranted, at(2)).unwrap();
    let trial = breaker.admit(at(2)).unwrap();
    assert!(trial.is_trial() && breaker.admit(at(2)).is_err(), "one trial is lent");
    assert!(breaker.record(trial, Outcome::Success, at(2)));
    assert_eq!(breaker.state(at(2)), State::Open, "one success is one voice");
    breaker.apply(Event::TrialGranted, at(3)).unwrap();
    breaker.apply(Event::TrialWithdrawn, at(4)).unwrap();
    assert!(breaker.admit(at(4)).is_err());
    breaker.apply(Event::PeersRecovered, at(5)).unwrap();
    assert_eq!(breaker.status().phase, Phase::Ramping);
}

#[test]
fn a_breaker_whose_mesh_is_gone_returns_to_its_clock() {
    let breaker = breaker(Settings::default());
    breaker.apply(Event::PeersOpened, at(1)).unwrap();
    breaker.apply(Event::VerdictUnknown, at(2)).unwrap();
    assert_eq!((breaker.state(at(31)), breaker.state(at(33))), (State::Open, State::HalfOpen));
    breaker.apply(Event::PeersOpened, at(34)).unwrap();
    assert_eq!(breaker.state(at(90)), State::Open, "the mesh may take over again");
}

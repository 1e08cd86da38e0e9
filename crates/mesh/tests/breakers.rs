//! Breakers that callers share, among a few engines: what opens for whom, how it recovers, and what people may do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[allow(dead_code, reason = "each test file uses its part")]
mod callers;
#[allow(dead_code, reason = "each test file uses its part")]
mod world;

use callers::{Callers, REFUSED, SERVED, SILENT, all_served, key, none_served};
use quorate_breaker::pooled::Budget;
use quorate_breaker::{Event, Settings, ToldBreaker};
use quorate_core::{InstanceId, Verdict, Zone, hash};
use quorate_mesh::{BreakerCause, BreakerReport, BreakerState, CallCounts, Input, OverrideMode};
use std::sync::Arc;
use world::Target;

#[test]
fn a_dead_instance_opens_for_all_after_a_handful_of_calls_and_recovers_by_a_few_trials() {
    let mut callers = Callers::new(6, 200, "api@1");
    callers.run(4_000, &all_served);
    callers.run(1_500, &none_served);
    assert_eq!(callers.states(), "oooooo");
    assert!(callers.all_failed() <= 16, "{:?}", callers.failed);
    let view = callers.view(3).unwrap();
    assert_eq!((view.state, view.cause), (BreakerState::Open, Some(BreakerCause::CallersAnswered)));
    assert!(view.first.is_some() && view.evidence.failed() >= 5 && view.zone.is_none());

    callers.run(20_000, &none_served);
    assert!(callers.trials.len() >= 2 && callers.peak() <= 2 * Budget::default().trials, "{:?}", callers.trials);
    assert_eq!(callers.states().matches('c').count(), 0);
    let made = callers.trials.len();
    callers.run(32_000, &all_served);
    assert_eq!(callers.states(), "cccccc");
    assert!(callers.trials.len() - made <= 2 * Budget::default().trials, "{:?}", callers.trials);
    for agent in 1..=6 {
        assert_eq!(callers.view(agent).unwrap().outage, 0, "it is over");
    }
}

#[test]
fn one_broken_caller_opens_it_for_nobody_else() {
    let mut callers = Callers::new(6, 200, "api@1");
    callers.run(2_000, &all_served);
    callers.run(20_000, &|agent, _| if agent == 3 { SILENT } else { SERVED });
    assert_eq!(callers.states().chars().filter(|state| *state == 'c').count(), 5);
    for agent in [1, 2, 4, 5, 6] {
        assert_eq!(callers.view(agent).unwrap().state, BreakerState::Closed);
        assert_eq!(callers.failed.get(&agent), None);
    }
    assert_eq!(callers.view(3).unwrap().cause, Some(BreakerCause::OwnCalls));
}

#[test]
fn one_liar_opens_it_for_nobody_else() {
    let mut callers = Callers::new(5, 1_000, "api@1");
    callers.run(2_000, &all_served);
    for _ in 0..20 {
        let counts = CallCounts { calls: CallCounts::MAX, answered: CallCounts::MAX, silent: 0, slow: 0 };
        let report = BreakerReport {
            key: callers.key.clone(),
            counts,
            failures_in_row: u32::MAX,
            state: BreakerState::Open,
            trial: Some(false),
        };
        callers.world.input(5, Input::Breakers(vec![report]));
        callers.run(500, &all_served);
    }
    assert_eq!(&callers.states()[..4], "cccc");
}

#[test]
fn a_third_of_calls_failing_opens_it_for_nobody() {
    let mut callers = Callers::new(9, 1_000, "api@1");
    callers.run(60_000, &|agent, number| {
        if hash::mix(&[agent, u64::from(number)]) % 10 < 3 { REFUSED } else { SERVED }
    });
    for agent in 1..=9 {
        assert_eq!(callers.view(agent).unwrap().outage, 0);
    }
}

#[test]
fn one_zones_path_opens_it_in_that_zone() {
    let mut callers = Callers::new(8, 200, "api@1");
    callers.run(2_000, &all_served);
    callers.run(3_000, &|agent, _| if agent % 2 == 0 { SILENT } else { SERVED });
    assert_eq!(callers.states(), "cocococo");
    let view = callers.view(4).unwrap();
    assert_eq!(view.zone, Zone::new("b").ok());
    let mut saw = |agent: u64| callers.view(agent).unwrap().cause == Some(BreakerCause::CallersSilent);
    assert!([2, 4, 6, 8].into_iter().filter(|agent| saw(*agent)).count() >= 3, "others follow three of these");
    assert_eq!(callers.view(3).unwrap().state, BreakerState::Closed);
}

#[test]
fn a_verdict_opens_it_without_a_call_and_begins_trials_when_it_is_up_again() {
    let mut callers = Callers::new(5, 10_000, "web@2");
    callers.run(200, &all_served);
    let id = InstanceId::new("web@2").unwrap();
    callers.world.targets.insert(id.clone(), (2, Target::Refused));
    callers.run(8_000, &none_served);
    assert!(callers.world.all(&[1, 2, 3, 4, 5], "web@2", Verdict::Down));
    assert_eq!(callers.states(), "ooooo");
    assert_eq!(callers.view(4).unwrap().cause, Some(BreakerCause::Verdict));
    assert!(callers.trials.is_empty(), "none while it is down");
    callers.world.targets.insert(id, (2, Target::Up));
    callers.period_ms = 500;
    callers.run(25_000, &all_served);
    assert_eq!(callers.states(), "ccccc");
    assert!(callers.peak() <= 2 * Budget::default().trials, "{:?}", callers.trials);
}

#[test]
fn one_that_began_open_for_what_is_over_is_let_go() {
    let mut callers = Callers::new(3, 10_000, "web@2");
    callers.breakers[&1].apply(Event::PeersOpened, callers.now());
    assert_eq!(callers.states(), "occ");
    callers.run(100, &all_served);
    assert_eq!(callers.states(), "ccc");
}

#[test]
fn breakers_never_make_an_instance_down() {
    let mut callers = Callers::new(5, 200, "web@2");
    callers.run(20_000, &none_served);
    assert_eq!(callers.states().matches('c').count(), 0);
    assert!(callers.world.all(&[1, 2, 3, 4, 5], "web@2", Verdict::Up), "its own probes are served");
}

#[test]
fn a_word_holds_everywhere_until_a_later_one_and_survives_restarts() {
    let mut callers = Callers::new(4, 500, "api@1");
    callers.run(1_000, &all_served);
    callers.wish(2, OverrideMode::ForcedOpen, 3_600);
    callers.run(2_000, &all_served);
    assert_eq!(callers.states(), "oooo");
    assert_eq!(callers.modes(), [Some(OverrideMode::ForcedOpen); 4]);
    for agent in [2, 3] {
        callers.world.crash(agent);
        callers.world.run(3_000);
        callers.world.boot(agent);
        callers.world.run(8_000);
        assert_eq!(callers.modes(), [Some(OverrideMode::ForcedOpen); 4], "after a restart of {agent}");
    }
    // Its giver loses its disk; the others go on, and tell it and a newcomer.
    callers.world.crash(2);
    callers.world.hosts.get_mut(&2).unwrap().disk = None;
    callers.world.boot(2);
    callers.world.contact(2, 1);
    callers.world.join(5, 1);
    callers.world.run(20_000);
    assert_eq!(callers.modes(), [Some(OverrideMode::ForcedOpen); 5], "after the loss of a disk");
    callers.wish(3, OverrideMode::ForcedClosed, 20);
    callers.run(2_000, &none_served);
    assert_eq!(callers.modes(), [Some(OverrideMode::ForcedClosed); 5], "the later word");
    callers.world.run(20_000);
    assert_eq!(callers.modes(), [None; 5], "it has ended");
}

#[test]
fn lifting_a_word_lets_a_few_try_before_all() {
    let mut callers = Callers::new(6, 200, "api@1");
    callers.run(1_000, &all_served);
    callers.wish(2, OverrideMode::ForcedOpen, 3_600);
    callers.run(2_000, &all_served);
    callers.wish(5, OverrideMode::Automatic, 0);
    callers.run(20_000, &all_served);
    assert_eq!(callers.states(), "cccccc");
    assert!((2..=6).contains(&callers.trials.len()), "{:?}", callers.trials);
}

#[test]
fn two_words_given_at_once_end_as_one() {
    let mut callers = Callers::new(4, 500, "api@1");
    callers.run(1_000, &all_served);
    callers.world.split(&[&[1, 2], &[3, 4]]);
    callers.wish(1, OverrideMode::ForcedOpen, 3_600);
    callers.wish(4, OverrideMode::Disabled, 3_600);
    callers.run(3_000, &all_served);
    callers.world.heal();
    callers.world.run(30_000);
    assert_eq!(callers.modes(), [Some(OverrideMode::Disabled); 4], "the higher owner of one epoch");
}

#[test]
fn of_a_services_instances_some_stay() {
    let mut callers = Callers::new(4, 200, "web@1");
    callers.run(1_000, &all_served);
    callers.run(2_000, &none_served);
    assert_eq!(callers.states(), "oooo");
    for instance in ["web@2", "web@3"] {
        callers.key = key(instance);
        let policy = Arc::new(
            Settings { failure_rate: None, failure_threshold: None, ..Settings::default() }.resolve().unwrap(),
        );
        callers.breakers = (1..=4).map(|agent| (agent, ToldBreaker::new(Arc::clone(&policy), agent))).collect();
        callers.run(2_500, &none_served);
        assert_eq!(callers.states(), "cccc", "one of four is what 30 % come to");
        assert!(callers.view(1).unwrap().spared);
    }
}

//! Outages that callers share: who decides when few try, what one agent cannot do, and when they are forgotten.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[allow(dead_code, reason = "each test file uses its part")]
mod callers;
#[allow(dead_code, reason = "each test file uses its part")]
mod world;

use callers::{Callers, REFUSED, SERVED, all_served, none_served};
use quorate_breaker::pooled::Budget;
use quorate_core::{AgentId, InstanceId, UnixMs, Verdict};
use quorate_mesh::{BreakerState, CallCounts, Input, Keys};
use quorate_wire::{Batch, BreakerDigest, OutageStanding, OwnerDelta, Packet, Record, Shared};
use std::sync::Arc;
use world::{HashKeys, Target};

/// Callers of `web@2` on these agents alone, and its verdict goes down, and up again.
fn down_and_up(users: &[u64]) -> Callers {
    let mut callers = Callers::new(5, 500, "web@2");
    callers.breakers.retain(|agent, _| users.contains(agent));
    callers.run(200, &all_served);
    let id = InstanceId::new("web@2").unwrap();
    callers.world.targets.insert(id.clone(), (2, Target::Refused));
    callers.run(8_000, &none_served);
    assert!(callers.world.all(&[1, 2, 3, 4, 5], "web@2", Verdict::Down));
    callers.world.targets.insert(id, (2, Target::Up));
    callers.world.until(15_000, |world| world.all(&[1, 2, 3, 4, 5], "web@2", Verdict::Up));
    callers
}

/// Agent 4 says to agent 1 where it stands in the outage of `callers`, whatever is true. False if it was refused.
fn claim(callers: &mut Callers, nth: u32, outage: u64, step: OutageStanding) -> bool {
    claim_by(callers, 4, nth, outage, step)
}

fn claim_by(callers: &mut Callers, agent: u64, nth: u32, outage: u64, step: OutageStanding) -> bool {
    let (zone, first, since) = (None, AgentId(agent), UnixMs(0));
    let shared = Some(Shared { outage, step, zone, first, since, trial: None });
    let (key, counts) = (callers.key.clone(), CallCounts::default());
    let digest = BreakerDigest { key, counts, answers: false, state: BreakerState::Open, shared };
    let (owner, seq) = (AgentId(agent), 900 + nth);
    let records = vec![Record::Breaker(Arc::new(digest))];
    let mut batch = Batch { owner, epoch: 1, seq, live: vec![seq], records, signature: vec![] };
    batch.signature = HashKeys(owner).sign(&batch.signing_bytes());
    let owners = vec![OwnerDelta { owner, credential: None, batches: vec![Arc::new(batch)] }];
    let refused = callers.world.view(1).stats.batches_refused;
    let bytes = quorate_wire::encode(&Packet::push(&owners, &[]));
    callers.world.input(1, Input::Message { from: owner, bytes });
    callers.world.view(1).stats.batches_refused == refused
}

#[test]
fn whoever_is_left_of_the_callers_recovers_by_its_own_trials() {
    let mut callers = Callers::new(6, 500, "api@1");
    callers.run(1_000, &all_served);
    callers.run(3_000, &none_served);
    assert_eq!(callers.states(), "oooooo");
    callers.breakers.retain(|agent, _| *agent == 4);
    callers.run(60_000, &all_served);
    assert_eq!(callers.states(), "c", "the other five are known as callers, and call no more");
    assert!(callers.peak() <= 2 * Budget::default().trials, "{:?}", callers.trials);
}

#[test]
fn of_two_callers_the_one_that_is_served_recovers() {
    let mut callers = down_and_up(&[1, 3]);
    callers.run(40_000, &|agent, _| if agent == 3 { REFUSED } else { SERVED });
    assert_eq!(callers.states().chars().next(), Some('c'));
    assert_eq!(callers.view(1).unwrap().outage, 0, "it is over there");
    assert_eq!(callers.view(3).unwrap().state, BreakerState::Open, "that one goes by its own trials");
    callers.run(60_000, &all_served);
    assert_eq!(callers.states(), "cc");
}

#[test]
fn a_trial_may_take_longer_than_its_window() {
    let mut callers = Callers::new(6, 500, "api@1");
    callers.run(1_000, &all_served);
    callers.run(3_000, &none_served);
    assert_eq!(callers.states(), "oooooo");
    callers.takes_ms = 7_000;
    callers.run(20_000, &none_served);
    assert!(callers.view(1).unwrap().attempts >= 1, "failed ones count, too");
    callers.run(75_000, &all_served);
    assert_eq!(callers.states(), "cccccc", "{:?}", callers.trials);
    assert!(callers.peak() <= 2 * Budget::default().trials, "{:?}", callers.trials);
}

#[test]
fn one_other_teller_is_not_believed_alone() {
    let mut callers = down_and_up(&[1]);
    let view = callers.view(1).unwrap();
    assert_eq!((view.state, view.attempts), (BreakerState::HalfOpen, 0));
    let far = OutageStanding { attempt: 700, recovered: false };
    assert!(claim(&mut callers, 1, view.outage, far));
    assert_eq!(callers.view(1).unwrap().attempts, 0);
    assert!(claim(&mut callers, 2, view.outage + 9, far));
    assert_eq!(callers.view(1).unwrap().outage, view.outage);
    assert!(claim(&mut callers, 3, view.outage, OutageStanding { attempt: 0, recovered: true }));
    assert_eq!(callers.view(1).unwrap().state, BreakerState::HalfOpen);
    // Nor does it put off what agent 1 sees for itself.
    assert!(claim(&mut callers, 4, view.outage, far));
    callers.run(35_000, &all_served);
    assert_eq!(callers.states(), "c");
}

#[test]
fn numbers_beyond_all_reason_are_refused() {
    let mut callers = down_and_up(&[1]);
    let step = |attempt| OutageStanding { attempt, recovered: false };
    assert!(!claim(&mut callers, 1, u64::MAX, step(0)));
    assert!(!claim(&mut callers, 2, 1, step(u32::MAX)));
    assert!(claim(&mut callers, 3, 1, step(1_000_000)));
}

#[test]
fn attempts_end_at_the_highest_that_two_claim_and_recovery_does_not() {
    let mut callers = down_and_up(&[1]);
    let outage = callers.view(1).unwrap().outage;
    let highest = OutageStanding { attempt: 1 << 30, recovered: false };
    for agent in [4, 5] {
        assert!(claim_by(&mut callers, agent, 1, outage, highest));
    }
    callers.run(60_000, &none_served);
    assert_eq!(callers.view(1).unwrap().attempts, 1 << 30);
    callers.run(45_000, &all_served);
    assert_eq!(callers.states(), "c");
}

#[test]
fn an_outage_does_not_outlive_its_callers_and_neither_does_what_is_known_of_them() {
    let mut callers = Callers::new(4, 500, "api@1");
    callers.run(1_000, &all_served);
    callers.run(3_000, &none_served);
    assert_eq!(callers.states(), "oooo");
    let breakers = std::mem::take(&mut callers.breakers);
    callers.world.run(500_000);
    assert!(callers.view(1).unwrap().outage > 0);
    callers.world.run(200_000);
    assert_eq!(callers.view(1).unwrap().outage, 0);
    // They tell what they were told to be, and then no more.
    callers.breakers = breakers;
    callers.period_ms = 10_000_000;
    callers.run(20_000, &all_served);
    assert_eq!(callers.states(), "cccc");
    callers.world.run(1_300_000);
    assert!(callers.view(1).is_none(), "forgotten");
    callers.period_ms = 500;
    callers.run(1_000, &all_served);
    assert!(callers.view(1).unwrap().used_here, "until they call again");
}

#[test]
fn callers_that_are_only_rejected_go_on_telling() {
    let mut callers = Callers::new(4, 500, "web@2");
    callers.run(200, &all_served);
    let id = InstanceId::new("web@2").unwrap();
    callers.world.targets.insert(id.clone(), (2, Target::Refused));
    callers.run(700_000, &none_served);
    assert_eq!((callers.states(), callers.trials.len()), ("oooo".into(), 0));
    assert_eq!(callers.view(1).unwrap().callers, 4);
    callers.world.targets.insert(id, (2, Target::Up));
    callers.run(25_000, &all_served);
    assert_eq!(callers.states(), "cccc");
    assert!((2..=6).contains(&callers.trials.len()), "a few try for all: {:?}", callers.trials);
}

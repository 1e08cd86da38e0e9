//! People's words on breakers: later ones hold, lifted and ended ones stay away.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[allow(dead_code, reason = "each test file uses its part")]
mod callers;
#[allow(dead_code, reason = "each test file uses its part")]
mod world;

use callers::{Callers, all_served};
use quorate_breaker::{Event, Mode};
use quorate_core::{AgentId, UnixMs};
use quorate_mesh::{BreakerOverride, Command, Input, Keys, OverrideMode};
use quorate_wire::{Batch, OwnerDelta, Packet, Record};
use std::sync::Arc;
use world::{HashKeys, MS};

#[test]
fn a_lifted_word_stays_lifted_when_whoever_lifted_it_leaves() {
    let mut callers = Callers::new(5, 500, "api@1");
    callers.run(1_000, &all_served);
    callers.wish(2, OverrideMode::ForcedOpen, 3_600);
    callers.run(2_000, &all_served);
    callers.wish(3, OverrideMode::Automatic, 0);
    callers.run(5_000, &all_served);
    callers.world.input(3, Input::Command(Command::Leave));
    callers.world.run(10_000);
    callers.world.crash(3);
    callers.world.crash(2);
    callers.world.run(5_000);
    callers.world.boot(2);
    callers.world.run(10_000);
    callers.world.join(6, 1);
    callers.world.run(20_000);
    assert_eq!(callers.modes(), [None; 5]);
    // Nor is it because nobody tells of anything.
    callers.wish(5, OverrideMode::Disabled, 3_600);
    callers.world.run(3_000);
    assert_eq!(callers.modes(), [Some(OverrideMode::Disabled); 5]);
}

#[test]
fn a_later_word_is_told_on_beside_an_earlier_one_of_another() {
    let mut callers = Callers::new(4, 500, "api@1");
    callers.run(1_000, &all_served);
    callers.wish(2, OverrideMode::ForcedOpen, 3_600);
    callers.run(2_000, &all_served);
    // The giver of the earlier word is away while a later one is given, and its giver lost.
    callers.world.crash(2);
    callers.wish(3, OverrideMode::ForcedClosed, 3_600);
    callers.world.run(3_000);
    callers.world.crash(3);
    callers.world.hosts.get_mut(&3).unwrap().disk = None;
    callers.world.boot(3);
    callers.world.contact(3, 1);
    callers.world.run(10_000);
    assert_eq!(callers.modes(), [Some(OverrideMode::ForcedClosed); 3]);
    callers.world.boot(2);
    callers.world.join(5, 1);
    callers.world.run(20_000);
    assert_eq!(callers.modes(), [Some(OverrideMode::ForcedClosed); 5]);
}

#[test]
fn a_words_number_is_not_used_again_after_its_end() {
    let mut callers = Callers::new(3, 500, "api@1");
    let mut numbers = Vec::new();
    for _ in 0..3 {
        callers.wish(1, OverrideMode::ForcedClosed, 2);
        callers.run(1_000, &all_served);
        numbers.push(callers.view(2).unwrap().overridden.unwrap().epoch);
        callers.run(3_000, &all_served);
        assert_eq!(callers.modes(), [None; 3]);
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

#[test]
fn an_ended_word_does_not_come_back_with_its_owner() {
    let ended = || {
        let mut callers = Callers::new(1, 500, "api@1");
        callers.world.run(100_000);
        callers.wish(1, OverrideMode::ForcedOpen, 30);
        callers.run(1_000, &all_served);
        assert_eq!(callers.modes(), [Some(OverrideMode::ForcedOpen)]);
        callers.world.crash(1);
        callers.world.run(40_000);
        callers
    };
    let mut callers = ended();
    callers.world.boot(1);
    callers.world.run(3_000);
    assert_eq!(callers.modes(), [None]);
    callers.world.crash(1);
    // Its clock is set back to before the end: what had ended is not stored any more.
    callers.world.now -= 20_000 * MS;
    callers.world.boot(1);
    assert_eq!(callers.modes(), [None]);

    let mut callers = ended();
    // To before it was given.
    callers.world.now -= 60_000 * MS;
    callers.world.boot(1);
    assert_eq!(callers.modes(), [None]);
}

#[test]
fn a_breaker_that_began_forced_by_a_word_that_is_over_is_let_go() {
    let mut callers = Callers::new(3, 10_000, "api@1");
    callers.breakers[&1].apply(Event::Mode(Mode::ForcedOpen), callers.now());
    assert_eq!(callers.states(), "occ");
    callers.run(100, &all_served);
    assert_eq!(callers.states(), "ccc");
}

/// Gives words in the name of agent 3, whatever that does itself.
fn give(callers: &mut Callers, words: Vec<BreakerOverride>) {
    let records = words.into_iter().map(|word| Record::Override(Arc::new(word))).collect();
    let mut batch = Batch { owner: AgentId(3), epoch: 1, seq: 100, live: vec![100], records, signature: vec![] };
    batch.signature = HashKeys(AgentId(3)).sign(&batch.signing_bytes());
    let owners = [OwnerDelta { owner: AgentId(3), credential: None, batches: vec![Arc::new(batch)] }];
    let bytes = quorate_wire::encode(&Packet::push(&owners, &[]));
    callers.world.input(1, Input::Message { from: AgentId(3), bytes });
}

fn forced(callers: &Callers, instance: &str, epoch: u64) -> BreakerOverride {
    let lives_ms = 3_600_000;
    BreakerOverride {
        key: callers::key(instance),
        mode: OverrideMode::ForcedOpen,
        owner: AgentId(3),
        reason: "made up".into(),
        epoch,
        until: UnixMs(callers.world.clock().wall.0 + lives_ms),
        lives_ms,
    }
}

#[test]
fn a_word_of_the_highest_number_can_be_lifted() {
    let mut callers = Callers::new(3, 500, "api@1");
    let word = forced(&callers, "api@1", BreakerOverride::MAX_EPOCH);
    give(&mut callers, vec![word]);
    callers.run(2_000, &all_served);
    assert_eq!(callers.modes()[..2], [Some(OverrideMode::ForcedOpen); 2]);
    callers.wish(2, OverrideMode::Automatic, 0);
    callers.run(2_000, &all_served);
    assert_eq!(callers.modes()[..2], [None; 2]);
}

#[test]
fn one_agent_does_not_fill_the_room_for_everyones_words() {
    let mut callers = Callers::new(3, 500, "api@1");
    let words = (0..300).map(|n| forced(&callers, &format!("made-up@{n}"), 7)).collect();
    give(&mut callers, words);
    callers.run(1_000, &all_served);
    let view = callers.world.view(1);
    let held = view.breakers.iter().filter(|breaker| breaker.overridden.is_some()).count();
    assert_eq!((held, view.stats.limits_hit), (0, 300));
}

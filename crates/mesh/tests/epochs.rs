//! The roster's epochs: who comes to count, who ceases to, and that a mesh never splits over it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[allow(dead_code, reason = "each test file uses its part")]
mod world;

use quorate_core::{AgentId, InstanceId, Verdict};
use quorate_mesh::{Command, EventKind, Input, Timing};
use std::collections::BTreeMap;
use std::time::Duration;
use world::World;

fn epochs_told(world: &World) -> BTreeMap<u64, Vec<usize>> {
    let mut told: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for event in world.hosts.values().flat_map(|host| &host.events) {
        if let EventKind::Roster { epoch, roster, .. } = &event.kind {
            told.entry(*epoch).or_default().push(*roster);
        }
    }
    told
}

/// Every agent that told of an epoch came to the same size by it.
fn decided_once(world: &World) {
    for (epoch, told) in epochs_told(world) {
        assert!(told.iter().all(|roster| *roster == told[0]), "epoch {epoch}: {told:?}");
    }
}

#[test]
fn whoever_joins_is_admitted_by_those_who_count() {
    let mut world = World::formed(3);
    world.join(4, 2);
    world.until(3_000, |w| (1..=4).all(|a| w.view(a).roster == 4 && w.view(a).alive == 4 && w.view(a).quorate));
    let epoch = world.view(1).epoch;
    assert!((2..=4).all(|agent| world.view(agent).epoch == epoch));
    assert!(world.view(2).members[&AgentId(4)].in_roster);
    decided_once(&world);
}

#[test]
fn a_minority_admits_nobody_and_a_majority_goes_on() {
    let mut world = World::formed(5);
    world.split(&[&[4, 5, 6], &[1, 2, 3, 7]]);
    world.run(20_000);
    world.join(6, 4);
    world.join(7, 1);
    world.run(20_000);
    assert_eq!((world.view(4).roster, world.view(4).quorate), (5, false));
    assert!(!world.view(6).quorate && !world.view(6).members[&AgentId(6)].in_roster);
    assert_eq!((world.view(1).roster, world.view(1).quorate, world.view(7).quorate), (6, true, true));
    world.heal();
    world.until(15_000, |w| (1..=7).all(|a| w.view(a).roster == 7 && w.view(a).quorate));
    decided_once(&world);
}

#[test]
fn newcomers_do_not_turn_a_minority_into_a_majority() {
    let mut world = World::formed(3);
    // Two of three are cut off while five others are let in by whoever may.
    world.split(&[&[1, 4, 5, 6, 7, 8], &[2, 3]]);
    for agent in 4..=8 {
        world.join(agent, 1);
    }
    for _ in 0..60 {
        world.run(500);
        let greater = [2, 3].iter().any(|a| world.view(*a).quorate);
        let smaller = [1, 4, 5, 6, 7, 8].iter().any(|a| world.view(*a).quorate);
        assert!(!(greater && smaller) || world.now < 25_000 * world::MS, "{}", world.picture());
    }
    assert_eq!(world.view(1).roster, 3);
    world.heal();
    world.until(20_000, |w| (1..=8).all(|a| w.view(a).roster == 8 && w.view(a).quorate));
    decided_once(&world);
}

#[test]
fn an_attempt_whose_author_dies_is_brought_to_its_end() {
    for delay in 0..8 {
        let mut world = World::formed(5);
        let before: Vec<u64> = (1..=5).map(|agent| world.attempts(agent)).collect();
        world.join(6, 1);
        let begun = |w: &mut World| (1..=5u64).find(|a| w.attempts(*a) > before[*a as usize - 1]);
        world.until(3_000, |w| begun(w).is_some());
        let author = begun(&mut world).unwrap();
        // Whoever has just begun dies a moment later, wherever the agreement then stands.
        world.run(delay);
        world.crash(author);
        let rest: Vec<u64> = (1..=6).filter(|agent| *agent != author).collect();
        world.until(30_000, |w| rest.iter().all(|a| w.view(*a).roster == 6 && w.view(*a).quorate));
        decided_once(&world);
    }
}

#[test]
fn a_host_that_vanished_is_forgotten_and_let_in_again() {
    let timing = Timing { forget_after: Duration::from_secs(20), ..Timing::default() };
    let mut world = World::formed_with(5, timing);
    world.crash(5);
    world.until(60_000, |w| (1..=4).all(|a| w.view(a).roster == 4));
    assert!(!world.view(1).members.contains_key(&AgentId(5)));
    assert!(world.view(1).instances.values().all(|instance| instance.home != AgentId(5)));
    world.boot(5);
    world.until(20_000, |w| (1..=5).all(|a| w.view(a).roster == 5 && w.view(a).alive == 5));
    decided_once(&world);
}

#[test]
fn who_was_forgotten_returns_with_other_copies() {
    let timing = Timing { forget_after: Duration::from_secs(5), ..Timing::default() };
    let mut world = World::formed_with(5, timing);
    let web: InstanceId = InstanceId::new("web@5").unwrap();
    let before = world.view(1).instances[&web].incarnation;
    world.split(&[&[5], &[1, 2, 3, 4]]);
    world.until(60_000, |w| (1..=4).all(|a| w.view(a).roster == 4));
    assert_eq!(world.view(5).instances[&web].incarnation, before);
    world.heal();
    world.until(20_000, |w| (1..=5).all(|a| w.view(a).roster == 5) && w.all(&[1, 2, 3, 4, 5], "web@5", Verdict::Up));
    for agent in 1..=5 {
        assert!(world.view(agent).instances[&web].incarnation > before, "agent {agent}");
    }
}

#[test]
fn who_is_given_up_is_forgotten_at_once_and_nobody_else() {
    let mut world = World::formed(5);
    world.input(1, Input::Command(Command::Forget(AgentId(4))));
    world.run(5_000);
    assert_eq!(world.view(1).roster, 5, "whoever answers stays: {}", world.picture());
    world.crash(5);
    world.run(500);
    // Given up before it is known to be down: it is forgotten once it is.
    world.input(2, Input::Command(Command::Forget(AgentId(5))));
    world.until(30_000, |w| (1..=4).all(|a| w.view(a).roster == 4));
    world.boot(5);
    world.until(20_000, |w| (1..=5).all(|a| w.view(a).roster == 5 && w.view(a).alive == 5));
    world.crash(5);
    world.run(60_000);
    assert_eq!(world.view(1).roster, 5, "it had come back, and is waited for like any other");
    decided_once(&world);
}

#[test]
fn agents_replaced_one_by_one_without_a_word_keep_the_mesh_quorate() {
    let timing = Timing { forget_after: Duration::from_secs(30), ..Timing::default() };
    let mut world = World::formed_with(8, timing);
    for (gone, fresh) in (1..=6).zip(9..) {
        world.crash(gone);
        world.join(fresh, gone + 1);
        world.run(15_000);
        let live = (gone + 1)..=fresh;
        assert!(live.clone().all(|a| world.view(a).quorate), "{}", world.picture());
    }
    world.until(120_000, |w| (7..=14).all(|a| w.view(a).roster == 8 && w.view(a).alive == 8));
    decided_once(&world);
}

#[test]
fn all_but_one_may_leave_at_once() {
    let mut world = World::formed(5);
    for agent in 2..=5 {
        world.input(agent, Input::Command(Command::Leave));
    }
    world.until(6_000, |w| (2..=5).all(|a| w.left.contains(&a)));
    (2..=5).for_each(|agent| world.crash(agent));
    world.until(6_000, |w| w.view(1).roster == 1 && w.view(1).quorate);
    decided_once(&world);
}

/// Its owner told it at its join whom to call: they have left since, and it knows so.
#[test]
fn the_last_one_left_is_its_whole_mesh_after_a_restart_whoever_founded_it() {
    let mut world = World::formed(3);
    for agent in [1, 2] {
        world.input(agent, Input::Command(Command::Leave));
    }
    world.until(6_000, |w| [1, 2].iter().all(|a| w.left.contains(a)));
    [1, 2].into_iter().for_each(|agent| world.crash(agent));
    world.until(6_000, |w| w.view(3).roster == 1 && w.view(3).quorate);
    world.crash(3);
    world.run(500);
    world.boot(3);
    world.contact(3, 1);
    world.until(15_000, |w| w.view(3).quorate && w.all(&[3], "web@3", Verdict::Up));
    decided_once(&world);
}

//! Who has a name that several register, that its home gives up, or that is registered anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[allow(dead_code, reason = "each test file uses its part")]
mod world;

use quorate_core::{Check, InstanceId, Registration, ServiceName};
use quorate_mesh::{Command, Input, ObserverView, Timing};
use std::time::Duration;
use world::{Target, World, registration};

const ALL: [u64; 5] = [1, 2, 3, 4, 5];

fn id(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

fn at(address: &str, name: &str) -> Registration {
    Registration { address: address.into(), ..registration(name) }
}

/// Who is home to an instance, as each agent has it.
fn homes(world: &mut World, instance: &str) -> Vec<Option<u64>> {
    world.live().into_iter().map(|agent| Some(world.view(agent).instances.get(&id(instance))?.home.0)).collect()
}

#[test]
fn who_gives_up_a_name_takes_the_others_claim_as_everybody_does() {
    let mut world = World::formed(5);
    world.register(4, &[registration("web@4"), registration("web@1")]);
    world.run(3_000);
    world.register(1, &[]);
    world.run(10_000);
    assert_eq!(homes(&mut world, "web@1"), [Some(4); 5]);
}

/// Even one that was not signed yet when the name became free.
#[test]
fn a_claim_of_this_moment_counts() {
    let mut world = World::formed(5);
    world.register(4, &[registration("web@4"), registration("api@1")]);
    world.register(4, &[registration("web@4"), registration("api@1"), registration("web@1")]);
    world.register(1, &[]);
    world.run(20_000);
    assert_eq!(homes(&mut world, "web@1"), [Some(4); 5]);
}

#[test]
fn a_claim_can_be_withdrawn_while_another_has_the_name() {
    let mut world = World::formed(5);
    world.register(4, &[registration("web@4"), registration("web@1")]);
    world.run(3_000);
    world.register(4, &[registration("web@4")]);
    world.run(3_000);
    world.register(1, &[]);
    world.run(10_000);
    assert_eq!(homes(&mut world, "web@1"), [None; 5]);
}

#[test]
fn the_names_of_the_forgotten_go_to_who_else_claims_them() {
    let timing = Timing { forget_after: Duration::from_secs(20), ..Timing::default() };
    let mut world = World::formed_with(5, timing);
    world.crash(1);
    world.register(4, &[registration("web@4"), registration("web@1")]);
    world.run(60_000);
    assert_eq!(world.view(2).roster, 4);
    assert_eq!(homes(&mut world, "web@1"), [Some(4); 4]);
}

/// Even of what it registered a moment before.
#[test]
fn nothing_stays_of_who_leaves() {
    let mut world = World::formed(5);
    world.register(5, &[registration("web@5"), registration("api@1")]);
    world.register(5, &[registration("web@5"), registration("api@1"), registration("api@2")]);
    world.input(5, Input::Command(Command::Leave));
    world.until(6_000, |w| w.left.contains(&5));
    world.crash(5);
    world.run(30_000);
    for name in ["web@5", "api@1", "api@2"] {
        assert_eq!(homes(&mut world, name), [None; 4], "{name}");
    }
}

#[test]
fn who_is_leaving_registers_nothing() {
    let mut world = World::formed(5);
    world.input(5, Input::Command(Command::Leave));
    world.run(100);
    world.register(5, &[registration("web@5"), registration("api@1")]);
    world.until(6_000, |w| w.left.contains(&5));
    world.crash(5);
    world.run(30_000);
    for name in ["web@5", "api@1"] {
        assert_eq!(homes(&mut world, name), [None; 4], "{name}");
    }
}

/// Agent 1 has been started once, and takes the name over from one that has been started four times; agent 3 misses that it gives it up in between.
#[test]
fn the_latest_registration_counts_whatever_its_incarnation() {
    let mut world = World::formed(5);
    for _ in 0..3 {
        world.crash(5);
        world.run(1_000);
        world.boot(5);
        world.run(8_000);
    }
    world.register(5, &[at("10.0.0.5:80", "web@5")]);
    world.run(3_000);
    world.register(1, &[registration("web@1"), registration("web@5")]);
    world.run(3_000);
    world.register(5, &[]);
    world.run(3_000);
    world.cut(&[3], &[1, 2, 4, 5]);
    world.run(3_000);
    world.register(1, &[registration("web@1")]);
    world.run(3_000);
    world.register(1, &[registration("web@1"), at("10.0.0.9:80", "web@5")]);
    world.run(3_000);
    world.heal();
    world.run(40_000);
    for agent in ALL {
        assert_eq!(world.view(agent).instances[&id("web@5")].address, "10.0.0.9:80", "{agent}");
    }
}

/// Nor does a look that was under way.
#[test]
fn what_is_switched_off_while_it_is_looked_at_has_nothing_said_of_it() {
    for target in [Target::Up, Target::Refused, Target::Hung] {
        let mut world = World::formed(5);
        let frail = registration("frail@1");
        let register = |w: &mut World, frail: Registration| w.register(1, &[registration("web@1"), frail]);
        register(&mut world, frail.clone());
        world.run(5_000);
        world.targets.insert(id("frail@1"), (1, target));
        let probed = world.looks(1, &id("frail@1"));
        world.until(3_000, |w| w.looks(1, &id("frail@1")) > probed);
        for _ in 0..1_000 {
            if world.looks(1, &id("frail@1")) > probed + 1 {
                break;
            }
            world.run(1);
        }
        let check = Check { enabled: false, ..(*frail.check).clone() };
        register(&mut world, Registration { check: check.into(), ..frail });
        world.run(20_000);
        for agent in ALL {
            let seen = &world.view(agent).instances[&id("frail@1")];
            let silent = |observer: &ObserverView| observer.observation.as_ref().unwrap().vote.abstains();
            assert!(seen.observers.iter().all(silent), "{target:?} on {agent}: {:?}", seen.observers);
        }
    }
}

#[test]
fn an_instance_moves_to_another_service() {
    let mut world = World::formed(5);
    let other = Registration { service: ServiceName::new("shop").unwrap(), ..registration("web@1") };
    world.register(1, &[other]);
    world.run(5_000);
    for agent in ALL {
        assert_eq!(world.view(agent).instances[&id("web@1")].service.as_str(), "shop");
    }
}

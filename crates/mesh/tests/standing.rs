//! What an agent makes of its own standing: whether it was cut off, what it may count, whom it may believe after a start.

#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "a test")]

mod world;

use quorate_core::verdict::{Certificate, Decision, Endorsement};
use quorate_core::{AgentId, Class, InstanceId, UnixMs, Verdict, Vote};
use quorate_core::{Cause, Phase};
use quorate_mesh::{Command, EventKind, Input, Keys, MemberState, Output, Ticket};
use quorate_wire::{Packet, signing_bytes};
use std::sync::Arc;
use world::{HashKeys, Target, World};

const FAIL: Vote = Vote::Fail { phase: Phase::FirstByte, cause: Cause::Timeout };

fn inject(world: &mut World, from: u64, to: u64, packet: &Packet) {
    world.input(to, Input::Message { from: AgentId(from), bytes: quorate_wire::encode(packet) });
}

/// A certificate by which a host is down.
fn host_down(host: u64, observers: u32, signers: &[u64]) -> Packet {
    let instance = InstanceId::host(AgentId(host));
    let decision = Decision { instance, incarnation: 1, term: 1, verdict: Verdict::Down, observers };
    let endorse = |agent: &u64| {
        let bytes = signing_bytes("quorate endorsement 1", &(&decision, FAIL, UnixMs(1)));
        let signature = HashKeys(AgentId(*agent)).sign(&bytes);
        Endorsement { agent: AgentId(*agent), vote: FAIL, signed_at: UnixMs(1), signature }
    };
    let endorsements = signers.iter().map(endorse).collect();
    let certificate = Certificate { decision, class: Class::HostDown, decided_at: UnixMs(1), endorsements };
    Packet::push(&[], &[Arc::new(certificate)])
}

/// Hosts that an agent has voted against.
fn accused(world: &World, agent: u64) -> Vec<InstanceId> {
    let vote = |kind: &EventKind| match kind {
        EventKind::Vote { instance, observation } if observation.vote.fails() && instance.host_of().is_some() => {
            Some(instance.clone())
        }
        _ => None,
    };
    world.hosts[&agent].events.iter().filter_map(|event| vote(&event.kind)).collect()
}

/// A cut so short that the last roll call succeeds again must not turn pings that went unanswered during it into a vote.
#[test]
fn what_was_not_answered_during_a_short_cut_accuses_no_host() {
    for cut_ms in (1_200..=2_400).step_by(30) {
        let mut world = World::formed(5);
        world.cut(&[1], &[2, 3, 4, 5]);
        world.cut(&[2], &[3, 4, 5]);
        world.run(cut_ms);
        world.heal();
        world.run(3_000);
        for agent in [1, 2] {
            let accused = accused(&world, agent);
            assert!(accused.is_empty(), "{agent} accuses {accused:?}, cut off for {cut_ms} ms");
        }
    }
}

/// Who accused a host that others have found well since, and has just come back from a cut, must not stand by the accusation because of what another, short
/// cut has lost.
#[test]
fn an_accusation_of_former_times_is_not_renewed_by_a_short_cut() {
    for (after_ms, cut_ms) in (1_200..=2_400).step_by(75).flat_map(|after| [480, 720, 960].map(|cut| (after, cut))) {
        let mut world = World::formed(7);
        world.crash(7);
        world.until(8_000, |w| w.all(&[1, 2, 3, 4, 5, 6], &World::host(7), Verdict::Down));
        world.cut(&[4, 5, 6], &[1, 2, 3, 7]);
        world.boot(7);
        world.until(30_000, |w| w.all(&[1, 2, 3, 7], &World::host(7), Verdict::Up));
        world.heal();
        world.run(after_ms);
        world.cut(&[4, 5, 6], &[1, 2, 3, 7]);
        world.run(cut_ms);
        world.heal();
        world.run(3_000);
        let downs = world.downs(1).iter().filter(|host| **host == World::host(7)).count();
        assert_eq!(downs, 1, "cut off for {cut_ms} ms, {after_ms} ms after the heal");
    }
}

/// Where every roll call must ask twice, silence of the moment of its first question may be the asker's own fault: one such look is set aside, and the next
/// counts. So it is for a look that ends while the roll call holds, and for one after whose end the roll must be called again.
#[test]
fn one_look_is_set_aside_and_not_the_one_after_it() {
    for (name, look_ms) in [("web@2", 500), ("patient@2", 2_000)] {
        let took_ms = [None, Some(1)].map(|in_vain| {
            let mut world = World::new();
            for agent in 1..=5 {
                world.start(agent, if agent == 2 { &["web@2", "patient@2"] } else { &[] });
                if agent > 1 {
                    world.contact(agent, 1);
                }
            }
            world.until(20_000, |w| w.all(&[1, 2, 3, 4, 5], name, Verdict::Up));
            let instance = InstanceId::new(name).unwrap();
            world.asks_in_vain = in_vain;
            world.targets.insert(instance.clone(), (2, Target::Hung));
            let hung = world.now;
            world.until(20_000, |w| {
                let seen = &w.view(1).instances[&instance];
                let own = seen.observers.iter().find(|observer| observer.agent == AgentId(1)).unwrap();
                own.observation.as_ref().is_some_and(|observation| observation.vote.fails())
            });
            (world.now - hung) / world::MS
        });
        let later_ms = took_ms[1] - took_ms[0];
        assert!((look_ms..2 * look_ms).contains(&later_ms), "{name} {took_ms:?}");
    }
}

/// Whoever is asked twice may answer both ways, as one that is between two epochs does. It is one agent all the same.
#[test]
fn an_answer_given_both_ways_counts_once() {
    let mut world = World::formed(4);
    let asked = world.outputs(1, Input::Command(Command::CallRoll(Ticket(1))));
    let nonce = asked.iter().find_map(|output| match output {
        Output::Datagram { bytes, .. } => match quorate_wire::decode(bytes) {
            Ok(Packet::RollCall { nonce }) => Some(nonce),
            _ => None,
        },
        _ => None,
    });
    let nonce = nonce.unwrap();
    // What 2 really answers, and then what it would answer between two epochs.
    let answer =
        world.outputs(2, Input::Message { from: AgentId(1), bytes: quorate_wire::encode(&Packet::RollCall { nonce }) });
    let present = answer.iter().find_map(|output| match output {
        Output::Datagram { bytes, .. } => match quorate_wire::decode(bytes) {
            Ok(Packet::Present { nonce, epoch, roster, open }) => Some((nonce, epoch, roster, open)),
            _ => None,
        },
        _ => None,
    });
    let (nonce, epoch, roster, open) = present.unwrap();
    assert!(open);
    world.cut(&[1], &[2, 3, 4]);
    inject(&mut world, 2, 1, &Packet::Present { nonce, epoch, roster, open: true });
    inject(&mut world, 2, 1, &Packet::Present { nonce, epoch, roster, open: false });
    world.run(700);
    assert_eq!(world.rolls, [(1, false)], "two of four are no majority, and the answer is not put off");
}

/// The first table of members that a fresh process is told says who lived elsewhere, not who can be reached from here.
#[test]
fn an_agent_without_a_disk_is_not_quorate_by_hearsay() {
    let mut world = World::formed(5);
    world.crash(5);
    world.hosts.get_mut(&5).unwrap().disk = None;
    // 4 reaches the others, 5 only 4.
    world.cut(&[5], &[1, 2, 3]);
    world.boot(5);
    world.contact(5, 4);
    world.run(15_000);
    let told = |event: &quorate_mesh::Event| matches!(event.kind, EventKind::Quorate { quorate: true, .. });
    assert_eq!(world.view(5).roster, 5, "it has learnt the roster");
    assert!(!world.hosts[&5].events.iter().any(told), "it never was quorate");
    world.heal();
    world.until(10_000, |w| w.view(5).quorate);
}

/// A certificate that was too thin, since one of its signers was unknown, is believed once that one is.
#[test]
fn a_certificate_of_a_stranger_is_believed_once_the_stranger_is_known() {
    let mut world = World::formed(5);
    let packet = host_down(2, 5, &[1, 3, 6]);
    world.crash(2);
    inject(&mut world, 3, 4, &packet);
    assert_ne!(world.verdict(4, &World::host(2)), Verdict::Down, "6 is unknown");
    // Cut off, so that the others decide nothing meanwhile.
    world.split(&[&[1], &[3], &[4, 6], &[5]]);
    world.join(6, 4);
    world.until(5_000, |w| w.view(4).members.contains_key(&AgentId(6)));
    inject(&mut world, 3, 4, &packet);
    assert_eq!(world.verdict(4, &World::host(2)), Verdict::Down, "{}", world.picture());
}

/// An agent that left while its host was down may come back with a certificate that everyone else has forgotten.
#[test]
fn who_is_down_in_its_own_eyes_alone_has_it_decided_anew() {
    let mut world = World::formed(9);
    inject(&mut world, 3, 5, &host_down(5, 5, &[1, 2, 3, 4, 6, 7, 8, 9]));
    assert_eq!(world.verdict(5, &World::host(5)), Verdict::Down);
    assert_eq!(world.verdict(1, &World::host(5)), Verdict::Up);
    world.until(20_000, |w| w.verdict(5, &World::host(5)) == Verdict::Up);
    assert!(world.all(&[1, 2, 3, 4, 5, 6, 7, 8, 9], &World::host(5), Verdict::Up));
}

/// Membership finds out later than a quorum: until then it would count the votes of the lost as if they were of this moment.
#[test]
fn an_observer_whose_host_is_down_is_not_heard() {
    let mut world = World::formed(9);
    let id = InstanceId::new("web@1").unwrap();
    let observers: Vec<_> = world.view(1).instances[&id].observers.iter().map(|observer| observer.agent.0).collect();
    let lost: Vec<_> = observers.into_iter().filter(|agent| *agent != 1).take(3).collect();
    let signers: Vec<_> = (1..=9).filter(|agent| !lost.contains(agent)).collect();
    for host in &lost {
        assert_eq!(world.view(1).instances[&id].stale_since, None, "a quorum is still heard");
        inject(&mut world, signers[1], 1, &host_down(*host, 5, &signers));
    }
    let view = world.view(1);
    assert!(view.instances[&id].stale_since.is_some(), "{}", world.picture());
    assert!(lost.iter().all(|agent| view.members[&AgentId(*agent)].state == MemberState::Alive));
}

/// An agent on an old disk starts as often as it had before, and numbers its records as it did then: the others know those numbers with
/// another content.
#[test]
fn an_agent_that_reuses_its_numbers_is_heard() {
    let mut world = World::formed(3);
    let old = world.hosts[&2].disk.clone();
    world.crash(2);
    world.run(1_000);
    world.boot(2);
    world.run(4_000);
    world.targets.insert(InstanceId::new("web@2").unwrap(), (2, Target::Refused));
    world.until(10_000, |w| w.all(&[1, 2, 3], "web@2", Verdict::Down));
    world.crash(2);
    world.hosts.get_mut(&2).unwrap().disk = old;
    world.start(2, &["api@2", "web@2"]);
    world.until(20_000, |w| w.all(&[1, 2, 3], "api@2", Verdict::Up));
}

//! What one faulty member can tell others, with its own key and any packet: it keeps nobody out, brings nobody back, and hides no fault.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[allow(dead_code, reason = "each test file uses its part")]
mod world;

use quorate_core::evidence::{Cause, Phase};
use quorate_core::roster::{Acceptor, Ballot, Change};
use quorate_core::verdict::{Certificate, Decision, Endorsement};
use quorate_core::{AgentId, Class, InstanceId, UnixMs, Verdict, Vote};
use quorate_mesh::{Input, Keys, Timing};
use quorate_wire::{Batch, EpochTalk, OwnerDelta, Packet, Profile, Record, signing_bytes};
use std::sync::Arc;
use std::time::Duration;
use world::{HashKeys, World};

const LIAR: u64 = 5;

fn inject(world: &mut World, to: u64, packet: &Packet) {
    world.input(to, Input::Message { from: AgentId(LIAR), bytes: quorate_wire::encode(packet) });
}

fn batch(owner: u64, key: u64, epoch: u32, records: Vec<Record>) -> Arc<Batch> {
    let mut batch = Batch { owner: AgentId(owner), epoch, seq: 1, live: vec![1], records, signature: vec![] };
    batch.signature = HashKeys(AgentId(key)).sign(&batch.signing_bytes());
    Arc::new(batch)
}

fn push(owner: u64, batches: Vec<Arc<Batch>>) -> Packet {
    let credential = Some(owner.to_le_bytes().to_vec().into());
    Packet::push(&[OwnerDelta { owner: AgentId(owner), credential, batches }], &[])
}

/// Who restarts is told of a round that nobody can surpass and of a change that nobody has accepted: it counts again all the same.
#[test]
fn an_agent_that_restarts_is_not_kept_between_two_epochs() {
    for round in [7, u64::MAX] {
        let mut world = World::formed(5);
        world.crash(1);
        world.run(1_000);
        world.boot(1);
        let ballot = Ballot { round, proposer: AgentId(LIAR) };
        let change = Change { admit: vec![], remove: vec![AgentId(3)] };
        for _ in 0..300 {
            let epoch = world.view(2).epoch;
            let acceptor = Acceptor { promised: ballot, accepted: Some((ballot, change.clone())) };
            inject(&mut world, 1, &Packet::Epoch(EpochTalk::Tell { epoch, proofs: vec![], members: None, acceptor }));
            world.run(20);
        }
        world.until(10_000, |w| (1..=5).all(|agent| w.view(agent).quorate && w.view(agent).roster == 5));
    }
}

/// The same of a change that lets in somebody who does not exist. Of three, one other's word is enough to have been agreed.
#[test]
fn nobody_is_bound_by_what_would_let_in_one_that_does_not_exist() {
    let mut world = World::formed(3);
    world.crash(1);
    world.run(1_000);
    world.boot(1);
    let ballot = Ballot { round: 7, proposer: AgentId(3) };
    let change = Change { admit: vec![AgentId(99)], remove: vec![] };
    for _ in 0..300 {
        let epoch = world.view(2).epoch;
        let acceptor = Acceptor { promised: ballot, accepted: Some((ballot, change.clone())) };
        let tell = Packet::Epoch(EpochTalk::Tell { epoch, proofs: vec![], members: None, acceptor });
        world.input(1, Input::Message { from: AgentId(3), bytes: quorate_wire::encode(&tell) });
        world.run(20);
    }
    world.run(20_000);
    world.crash(3);
    world.run(10_000);
    assert!((1..=2).all(|agent| world.view(agent).quorate), "{}", world.picture());
}

/// Of whom a member makes up an epoch, nobody counts by it: not while the mesh is whole, and not while one is alone with the liar.
#[test]
fn nobody_counts_by_an_epoch_that_one_member_made_up() {
    for alone in [false, true] {
        let mut world = World::formed(5);
        if alone {
            world.cut(&[1, LIAR], &[2, 3, 4]);
        }
        for step in 0..300 {
            let members = match step % 3 {
                0 => vec![AgentId(LIAR)],
                1 => vec![AgentId(1), AgentId(LIAR)],
                _ => vec![AgentId(1), AgentId(99), AgentId(LIAR)],
            };
            let (epoch, acceptor) = ((1 << 40) + step, Acceptor::default());
            let tell = EpochTalk::Tell { epoch, proofs: vec![], members: Some(members), acceptor };
            inject(&mut world, 1, &Packet::Epoch(tell));
            world.run(100);
        }
        world.heal();
        world.until(10_000, |w| (1..=5).all(|agent| w.view(agent).quorate && w.view(agent).roster == 5));
    }
}

/// A newcomer that nobody else has told of the mesh yet is told of the last epoch that a number can name, after which none could follow.
#[test]
fn no_newcomer_begins_with_the_last_of_all_epochs() {
    let mut world = World::formed(5);
    world.start(6, &[]);
    let (members, acceptor) = (Some(vec![AgentId(LIAR), AgentId(6)]), Acceptor::default());
    let tell = EpochTalk::Tell { epoch: u64::MAX, proofs: vec![], members, acceptor };
    inject(&mut world, 6, &Packet::Epoch(tell));
    world.contact(6, 1);
    world.until(20_000, |w| (1..=6).all(|agent| w.view(agent).quorate && w.view(agent).roster == 6));
}

/// The host of an agent dies. Those who do not observe it have been shown a certificate of a term far ahead, of one signer: they believe the real one.
#[test]
fn a_far_term_of_one_signer_does_not_hide_a_hosts_end() {
    let mut world = World::formed(9);
    let id = InstanceId::host(AgentId(9));
    let vote = Vote::Fail { phase: Phase::Connect, cause: Cause::Refused };
    for to in 1..=8 {
        let decision =
            Decision { instance: id.clone(), incarnation: 1, term: 1 << 31, verdict: Verdict::Down, observers: 1 };
        let bytes = signing_bytes("quorate endorsement 1", &(&decision, vote, UnixMs(1)));
        let signature = HashKeys(AgentId(LIAR)).sign(&bytes);
        let endorsements = vec![Endorsement { agent: AgentId(LIAR), vote, signed_at: UnixMs(1), signature }];
        let certificate = Certificate { decision, class: Class::HostDown, decided_at: UnixMs(1), endorsements };
        if to % 2 == 0 {
            inject(&mut world, to, &Packet::push(&[], &[Arc::new(certificate)]));
        }
    }
    world.run(30_000);
    world.crash(9);
    world.until(20_000, |w| w.all(&[1, 2, 3, 4, 6, 7, 8], &World::host(9), Verdict::Down));
}

/// Who was forgotten is not brought back by its old records, nor by what somebody else has signed.
#[test]
fn the_forgotten_come_back_by_their_own_signature_alone() {
    let timing = Timing { forget_after: Duration::from_secs(20), ..Timing::default() };
    let mut world = World::formed_with(7, timing);
    world.crash(7);
    world.until(60_000, |w| (1..=6).all(|agent| w.view(agent).roster == 6));
    let profile = Profile {
        name: "a7".into(),
        zone: quorate_core::Zone::default(),
        address: ([127, 0, 0, 1], 7007).into(),
        api_address: String::new(),
        version: "test".into(),
        left: false,
    };
    let records = vec![Record::Profile(profile.into())];
    let (junk, old) = (batch(7, LIAR, u32::MAX, records.clone()), batch(7, 7, 1, records.clone()));
    for to in 1..=4 {
        inject(&mut world, to, &push(7, vec![Arc::clone(&junk)]));
        inject(&mut world, to, &push(7, vec![Arc::clone(&old)]));
        assert!(!world.view(to).members.contains_key(&AgentId(7)));
    }
    // Its own word of a later start is news, whoever passes it on.
    inject(&mut world, 1, &push(7, vec![batch(7, 7, 2, records)]));
    assert!(world.view(1).members.contains_key(&AgentId(7)));
}

/// At the first signature that does not hold the rest of a packet is not looked at.
#[test]
fn forged_batches_are_not_verified_to_the_last() {
    let mut world = World::formed(5);
    let before = world.view(1).stats.batches_refused;
    let forged = (0..100).map(|n| {
        let owner = 2 + n % 3;
        OwnerDelta { owner: AgentId(owner), credential: None, batches: vec![batch(owner, LIAR, 9, vec![])] }
    });
    inject(&mut world, 1, &Packet::push(&forged.collect::<Vec<_>>(), &[]));
    assert_eq!(world.view(1).stats.batches_refused, before + 1);
}

/// A member that begins start after start, and ends none, makes others hold no more than one agent's worth of instances; those it no longer has are gone.
#[test]
fn what_is_dropped_of_endless_starts_is_gone() {
    let mut world = World::formed(3);
    let before = world.view(1).instances.len();
    for epoch in 100..140 {
        let records = (0..2_000)
            .map(|n| {
                let registration = Arc::new(world::registration(&format!("web@{epoch}-{n}")));
                Record::Instance { registration, incarnation: 1 }
            })
            .collect();
        let mut batch = Batch { owner: AgentId(3), epoch, seq: 1, live: vec![1], records, signature: vec![] };
        batch.signature = HashKeys(AgentId(3)).sign(&batch.signing_bytes());
        let owners = vec![OwnerDelta { owner: AgentId(3), credential: None, batches: vec![Arc::new(batch)] }];
        world.input(1, Input::Message { from: AgentId(3), bytes: quorate_wire::encode(&Packet::push(&owners, &[])) });
    }
    let held = world.view(1).instances.len() - before;
    assert!((2_000..=60_000).contains(&held), "{held}");
}

/// Under the name of another's instance a member registers one with the highest number that is believed. At its next start its home numbers its own, and
/// would be refused altogether with a higher one.
#[test]
fn nobody_is_silenced_by_one_that_claims_the_name_of_its_instance() {
    let mut world = World::formed(5);
    let registration = Arc::new(world::registration("web@1"));
    let records = vec![Record::Instance { registration, incarnation: 1 << 60 }];
    let mut claim = Batch { owner: AgentId(LIAR), epoch: 1, seq: 100, live: vec![100], records, signature: vec![] };
    claim.signature = HashKeys(AgentId(LIAR)).sign(&claim.signing_bytes());
    // Of its own it says no more.
    world.crash(LIAR);
    world.crash(1);
    for agent in 2..=4 {
        inject(&mut world, agent, &push(LIAR, vec![Arc::new(claim.clone())]));
    }
    world.run(3_000);
    // Its disk holds the claim as well.
    world.boot(1);
    inject(&mut world, 1, &push(LIAR, vec![Arc::new(claim)]));
    world.run(3_000);
    world.crash(1);
    world.run(2_000);
    world.boot(1);
    world.until(20_000, |w| {
        (1..=4).all(|agent| w.view(agent).quorate) && w.all(&[2, 3, 4], &World::host(1), Verdict::Up)
    });
    let refused: u64 = (2..=4).map(|agent| world.view(agent).stats.batches_refused).sum();
    assert_eq!(refused, 0, "{}", world.picture());
}

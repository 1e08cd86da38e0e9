//! One packet of every kind and one record of every kind, with something in every list.
#![allow(dead_code, clippy::expect_used)] // shared by test programs of which each uses a part

use quorate_core::roster::{Acceptor, Ballot, Change};
use quorate_core::signing::Refusal;
use quorate_core::verdict::{Certificate, Decision, Endorsement};
use quorate_core::{AbstainReason, AgentId, Cause, Check, Class, InstanceId, Observation, Phase, Registration};
use quorate_core::{ServiceName, UnixMs, Verdict, Vote, Zone};
use quorate_wire::{Answer, Batch, CertificateMark, Delta, Digest, MemberMark, OwnerDelta, OwnerMark, Packet};
use quorate_wire::{
    BreakerDigest, BreakerKey, BreakerOverride, BreakerState, CallCounts, OutageStanding, OverrideMode, Shared,
};
use quorate_wire::{EpochTalk, Profile, Record, Reply, Roots, RosterProof, Summary, Suspicion};
use std::sync::Arc;

const AGENT: AgentId = AgentId(0x0123_4567_89ab_cdef);

fn instance() -> InstanceId {
    InstanceId::new("web@[::1]:8080").expect("a name")
}

fn fail() -> Vote {
    Vote::Fail { phase: Phase::Connect, cause: Cause::Refused }
}

fn decision() -> Decision {
    Decision { instance: instance(), incarnation: 1, term: 7, verdict: Verdict::Down, observers: 5 }
}

fn endorsement() -> Endorsement {
    Endorsement { agent: AGENT, vote: fail(), signed_at: UnixMs(1_700_000_000_000), signature: vec![9; 64] }
}

fn certificate() -> Arc<Certificate> {
    let (class, decided_at) = (Class::InstanceFault, UnixMs(1_700_000_000_000));
    Arc::new(Certificate { decision: decision(), class, decided_at, endorsements: vec![endorsement(); 3] })
}

fn breaker() -> BreakerKey {
    BreakerKey { service: ServiceName::new("web").expect("a name"), instance: instance() }
}

fn digest() -> BreakerDigest {
    let shared = Shared {
        outage: 1 << 32,
        step: OutageStanding { attempt: 3, recovered: false },
        zone: Some(Zone::default()),
        first: AGENT,
        since: UnixMs(1_700_000_000_000),
        trial: Some(false),
    };
    let counts = CallCounts { calls: 9, answered: 4, silent: 5, slow: 1 };
    BreakerDigest { key: breaker(), counts, answers: true, state: BreakerState::Open, shared: Some(shared) }
}

fn word() -> BreakerOverride {
    let (mode, reason, until) = (OverrideMode::Disabled, "an upgrade".to_owned(), UnixMs(1_700_000_000_000));
    BreakerOverride { key: breaker(), mode, owner: AGENT, reason, epoch: 7, lives_ms: 60_000, until }
}

/// One record of every kind.
pub fn records() -> Vec<Record> {
    let registration = Registration {
        instance: instance(),
        service: ServiceName::new("web").expect("a name"),
        address: "[::1]:8080".to_owned(),
        check: Check::default().into(),
        observers: 5,
        placement: Default::default(),
    };
    let profile = Profile {
        name: "host-a".to_owned(),
        zone: Zone::default(),
        address: ([10, 0, 0, 1], 7700).into(),
        api_address: "127.0.0.1:7701".to_owned(),
        version: "0.1.0".to_owned(),
        left: false,
    };
    let observation =
        |vote| Observation { vote, detail: "Connection error: refused".to_owned(), since: UnixMs(1_700_000_000_000) };
    vec![
        Record::Profile(profile.into()),
        Record::Instance { registration: registration.into(), incarnation: 1 },
        Record::Observed { instance: instance(), incarnation: 1, observation: observation(fail()) },
        Record::Observed {
            instance: instance(),
            incarnation: 1,
            observation: observation(Vote::Abstain(AbstainReason::Isolated)),
        },
        Record::InstanceGone(instance()),
        Record::ObservedGone(instance()),
        Record::Breaker(digest().into()),
        Record::BreakerGone(breaker()),
        Record::Override(word().into()),
        Record::OverrideGone(breaker()),
        Record::Extension { kind: 1, about: b"what".to_vec(), body: vec![9; 40] },
    ]
}

pub fn batch() -> Batch {
    let (live, records, signature) = (vec![2, 3, 4], records(), vec![7; 64]);
    Batch { owner: AGENT, epoch: 3, seq: 4, live, records, signature }
}

fn owner() -> OwnerDelta {
    OwnerDelta { owner: AGENT, credential: Some(vec![1; 300].into()), batches: vec![Arc::new(batch())] }
}

/// One packet of every kind, with something in every list.
pub fn samples() -> Vec<Packet> {
    let mark = OwnerMark { owner: AGENT, epoch: 3, head: 4, missing: vec![1] };
    let member = MemberMark { agent: AGENT, counter: 1, incarnation: 2, state: 1 };
    let rank = CertificateMark { instance: instance(), rank: (1, 2, 3, 4) };
    let replies = [
        Reply::Signed(endorsement()),
        Reply::Disagrees(Vote::Pass),
        Reply::NotNow,
        Reply::Promised(Refusal::Taken { term: 9 }),
        Reply::Certified(certificate()),
        Reply::Unknown,
    ];
    let answers = replies.map(|reply| Answer { instance: instance(), term: 7, reply }).to_vec();
    let used_up = Answer { instance: instance(), term: 7, reply: Reply::UsedUp(certificate()) };
    let ballot = Ballot { round: 5, proposer: AGENT };
    let change = Change { admit: vec![AgentId(8)], remove: vec![AgentId(9)] };
    vec![
        Packet::Swim(vec![0x5a; 120]),
        Packet::Suspicions(vec![Suspicion { by: AGENT, of: AgentId(2), counter: 3, incarnation: 4 }; 3]),
        Packet::HeldFailed { counter: 3 },
        Packet::push(&[owner()], &[certificate()]),
        Packet::Roots(Roots { epoch: 9, owners: 1, certificates: 2, members: 3 }),
        Packet::Digest(Digest { epoch: 9, owners: vec![u64::MAX; 32], certificates: vec![1; 64], members: 3 }),
        Packet::Summary(Summary {
            caught_up: true,
            owner_buckets: vec![0, 31],
            owners: vec![mark.clone()],
            certificate_buckets: vec![63],
            certificates: vec![rank],
            members: Some(vec![member]),
        }),
        Packet::Delta(Delta {
            caught_up: true,
            owners: vec![owner()],
            certificates: vec![certificate()],
            members: Some(vec![member]),
            want_owners: vec![mark],
            want_certificates: vec![instance()],
            last: true,
        }),
        Packet::RollCall { nonce: 1 },
        Packet::Present { nonce: 1, epoch: 3, roster: 2, open: true },
        Packet::Epoch(EpochTalk::Prepare { epoch: 4, ballot, wanted: change.clone() }),
        Packet::Epoch(EpochTalk::Promise { epoch: 4, ballot, accepted: Some((ballot, change.clone())) }),
        Packet::Epoch(EpochTalk::Accept { epoch: 4, ballot, change: change.clone() }),
        Packet::Epoch(EpochTalk::Accepted { epoch: 4, ballot, signature: vec![3; 64] }),
        Packet::Epoch(EpochTalk::Refused { epoch: 4, promised: ballot }),
        Packet::Epoch(EpochTalk::Ask { epoch: 4 }),
        Packet::Epoch(EpochTalk::Tell {
            epoch: 4,
            proofs: vec![Arc::new(RosterProof {
                epoch: 4,
                before: 7,
                ballot,
                change: change.clone(),
                signatures: vec![(AgentId(1), vec![7; 64])],
            })],
            members: Some(vec![AgentId(1), AgentId(2)]),
            acceptor: Acceptor { promised: ballot, accepted: Some((ballot, change)) },
        }),
        Packet::Ping { nonce: 1 },
        Packet::Pong { nonce: 1 },
        Packet::Propose { nonce: 1, decisions: vec![decision(); 2] },
        Packet::Answers { nonce: 1, answers },
        Packet::LookNow { instances: vec![instance()] },
        Packet::UsedUp { certificates: vec![certificate()] },
        Packet::Answers { nonce: 2, answers: vec![used_up] },
    ]
}

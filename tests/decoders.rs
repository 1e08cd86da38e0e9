//! What a member may send us: valid packets of every kind, cut short, spliced and repeated at random. The decoder refuses or reads them; it
//! neither panics nor changes its mind when it reads what it has read again. Plain arbitrary bytes are tried beside the decoder itself.

use proptest::prelude::*;
use proptest::sample::Index;
use quorate_core::roster::{Acceptor, Ballot, Change};
use quorate_core::signing::Refusal;
use quorate_core::verdict::{Certificate, Decision, Endorsement};
use quorate_core::{AbstainReason, AgentId, Cause, Check, Class, InstanceId, Observation, Phase, Registration};
use quorate_core::{ServiceName, UnixMs, Verdict, Vote, Zone};
use quorate_wire::{Answer, Batch, CertificateMark, Delta, Digest, MemberMark, OwnerDelta, OwnerMark, Packet};
use quorate_wire::{
    BreakerDigest, BreakerKey, BreakerOverride, BreakerState, CallCounts, OutageStanding, OverrideMode, Shared,
};
use quorate_wire::{EpochTalk, Profile, Record, Reply, Roots, RosterProof, Summary, Suspicion, decode, encode};
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

fn owner() -> OwnerDelta {
    let registration = Registration {
        instance: instance(),
        service: ServiceName::new("web").expect("a name"),
        address: "[::1]:8080".to_owned(),
        check: Check::default(),
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
    let records = vec![
        Record::Profile(profile.into()),
        Record::Instance { registration, incarnation: 1 },
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
    ];
    let batch = Batch { owner: AGENT, epoch: 3, seq: 4, live: vec![2, 3, 4], records, signature: vec![7; 64] };
    OwnerDelta { owner: AGENT, credential: Some(vec![1; 300].into()), batches: vec![Arc::new(batch)] }
}

/// One packet of every kind, with something in every list.
fn samples() -> Vec<Packet> {
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
    ]
}

/// One thing that happens to a packet on its way.
#[derive(Debug, Clone)]
enum Damage {
    Overwrite(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    CutShort(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Overwrite(at, byte)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<Index>(), 1..9_usize).prop_map(|(at, count)| Damage::Remove(at, count)),
        (any::<Index>(), 1..65_usize).prop_map(|(at, count)| Damage::Repeat(at, count)),
        any::<Index>().prop_map(Damage::CutShort),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    let span = |at: &Index, count: usize| at.index(bytes.len())..(at.index(bytes.len()) + count).min(bytes.len());
    match damage {
        Damage::Overwrite(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Damage::Insert(at, more) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, more.iter().copied());
        }
        Damage::Remove(at, count) => {
            let span = span(at, *count);
            bytes.drain(span);
        }
        Damage::Repeat(at, count) => {
            let span = span(at, *count);
            let again = bytes[span.clone()].to_vec();
            bytes.splice(span.end..span.end, again);
        }
        Damage::CutShort(at) => bytes.truncate(at.index(bytes.len())),
    }
}

#[test]
fn every_kind_survives_the_journey() {
    for packet in samples() {
        assert_eq!(decode(&encode(&packet)), Ok(packet));
    }
}

#[test]
fn no_beginning_of_a_packet_is_a_packet() {
    for packet in samples() {
        let bytes = encode(&packet);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} of {} bytes of {packet:?}", bytes.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_packets_are_refused_or_read(which in any::<Index>(), damages in prop::collection::vec(damage(), 1..5)) {
        let samples = samples();
        let mut bytes = encode(&samples[which.index(samples.len())]);
        for damage in &damages {
            apply(&mut bytes, damage);
        }
        if let Ok(packet) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&packet)), Ok(packet));
        }
    }

    #[test]
    fn a_joined_packet_is_not_two(first in any::<Index>(), second in any::<Index>()) {
        let samples = samples();
        let joined = [&samples[first.index(samples.len())], &samples[second.index(samples.len())]].map(encode).concat();
        prop_assert!(decode(&joined).is_err());
    }
}

//! Nothing forged: an agent can speak only for itself, no member can vote for another, and no stranger at all.

#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "a test")]

mod world;

use quorate_core::evidence::{Cause, Phase};
use quorate_core::roster::{Ballot, Change};
use quorate_core::verdict::{Certificate, Decision, Endorsement};
use quorate_core::{AgentId, Class, InstanceId, Mono, Now, UnixMs, Verdict, Vote};
use quorate_mesh::{Input, Keys, Output};
use quorate_wire::{
    Answer, Batch, Delta, EpochTalk, OwnerDelta, OwnerMark, Packet, Record, Reply, Summary, signing_bytes,
};
use std::sync::Arc;
use world::{HashKeys, Target, World};

const FAIL: Vote = Vote::Fail { phase: Phase::Connect, cause: Cause::Refused };

fn web(n: u64) -> InstanceId {
    InstanceId::new(format!("web@{n}")).unwrap()
}

fn inject(world: &mut World, from: u64, to: u64, packet: &Packet) {
    world.input(to, Input::Message { from: AgentId(from), bytes: quorate_wire::encode(packet) });
}

/// A certificate against `web@2`; `signers` says who signs it, and by whose key.
fn certificate(world: &mut World, observers: u32, verdict: Verdict, signers: &[(u64, u64, Vote)]) -> Packet {
    certificate_ahead(world, 1, observers, verdict, signers)
}

/// The same, so many terms ahead of the one that is held.
fn certificate_ahead(
    world: &mut World,
    terms: u64,
    observers: u32,
    verdict: Verdict,
    signers: &[(u64, u64, Vote)],
) -> Packet {
    let view = world.view(1);
    let held = view.instances[&web(2)].certificate.clone().unwrap();
    let decision = Decision { term: held.decision.term + terms, verdict, observers, ..held.decision.clone() };
    let endorse = |(agent, key, vote): &(u64, u64, Vote)| {
        let signed_at = UnixMs(1);
        let bytes = signing_bytes("quorate endorsement 1", &(&decision, *vote, signed_at));
        Endorsement { agent: AgentId(*agent), vote: *vote, signed_at, signature: HashKeys(AgentId(*key)).sign(&bytes) }
    };
    let endorsements = signers.iter().map(endorse).collect();
    let certificate = Certificate { decision, class: Class::InstanceFault, decided_at: UnixMs(1), endorsements };
    Packet::push(&[], &[Arc::new(certificate)])
}

#[test]
fn only_a_genuine_quorum_of_failing_votes_is_believed() {
    type Case = (&'static str, u32, Verdict, &'static [(u64, u64, Vote)], Verdict);
    let cases: [Case; 8] = [
        ("genuine", 5, Verdict::Down, &[(1, 1, FAIL), (3, 3, FAIL), (4, 4, FAIL)], Verdict::Down),
        ("forged by one member", 5, Verdict::Down, &[(5, 5, FAIL), (3, 5, FAIL), (4, 5, FAIL)], Verdict::Up),
        ("too few", 5, Verdict::Down, &[(3, 3, FAIL), (4, 4, FAIL)], Verdict::Up),
        ("a lie about how many observe", 1, Verdict::Down, &[(5, 5, FAIL)], Verdict::Up),
        ("one signer twice", 5, Verdict::Down, &[(3, 3, FAIL), (3, 3, FAIL), (4, 4, FAIL)], Verdict::Up),
        ("a signer that saw it up", 5, Verdict::Down, &[(1, 1, Vote::Pass), (3, 3, FAIL), (4, 4, FAIL)], Verdict::Up),
        ("a stranger signs", 5, Verdict::Down, &[(99, 99, FAIL), (3, 3, FAIL), (4, 4, FAIL)], Verdict::Up),
        ("not a verdict", 5, Verdict::Maintenance, &[(1, 1, FAIL), (3, 3, FAIL), (4, 4, FAIL)], Verdict::Up),
    ];
    for (name, observers, verdict, signers, expected) in cases {
        let mut world = World::formed(5);
        let packet = certificate(&mut world, observers, verdict, signers);
        inject(&mut world, 5, 1, &packet);
        assert_eq!(world.verdict(1, "web@2"), expected, "{name}");
        let refused = u64::from(expected != Verdict::Down);
        assert_eq!(world.view(1).stats.certificates_refused, refused, "{name}");
    }
}

#[test]
fn a_certificate_of_one_member_stops_no_verdict() {
    for (terms, told) in [(1_000, vec![1, 2]), (1 << 31, vec![1, 3]), ((1 << 60) - 1, vec![1, 2, 3, 4])] {
        let mut world = World::formed(5);
        let packet = certificate_ahead(&mut world, terms, 1, Verdict::Down, &[(5, 5, FAIL)]);
        for to in told {
            inject(&mut world, 5, to, &packet);
        }
        world.targets.insert(web(2), (2, Target::Refused));
        world.until(15_000, |w| w.all(&[1, 2, 3, 4], "web@2", Verdict::Down));
        world.targets.insert(web(2), (2, Target::Up));
        world.until(15_000, |w| w.all(&[1, 2, 3, 4], "web@2", Verdict::Up));
    }
}

/// Its quorum stands without it; but nobody is told that an agent signed that does not exist.
#[test]
fn an_invented_signer_is_not_shown() {
    let mut world = World::formed(5);
    let signers = [(1, 1, FAIL), (3, 3, FAIL), (4, 4, FAIL), (99, 99, FAIL)];
    let packet = certificate(&mut world, 5, Verdict::Down, &signers);
    inject(&mut world, 5, 1, &packet);
    let held = world.view(1).instances[&web(2)].clone();
    assert_eq!(held.decided, Verdict::Down);
    let shown: Vec<u64> = held.certificate.as_ref().unwrap().endorsements.iter().map(|e| e.agent.0).collect();
    assert_eq!(shown, [1, 3, 4]);
}

#[test]
fn no_member_writes_anothers_records() {
    let mut world = World::formed(3);
    let before = world.view(1).instances.len();
    let records = vec![Record::InstanceGone(web(2))];
    let mut batch = Batch { owner: AgentId(2), epoch: 1, seq: 900, live: vec![900], records, signature: vec![] };
    batch.signature = HashKeys(AgentId(3)).sign(&batch.signing_bytes());
    let owners = vec![OwnerDelta { owner: AgentId(2), credential: None, batches: vec![Arc::new(batch)] }];
    inject(&mut world, 3, 1, &Packet::push(&owners, &[]));
    let view = world.view(1);
    assert_eq!((view.instances.len(), view.stats.batches_refused), (before, 1));
}

#[test]
fn an_answer_in_anothers_name_does_not_count() {
    let mut world = World::formed(3);
    let before = world.view(1).stats.packets_refused;
    let endorsement = Endorsement { agent: AgentId(2), vote: FAIL, signed_at: UnixMs(1), signature: vec![0; 8] };
    let answers = vec![Answer { instance: web(2), term: 2, reply: Reply::Signed(endorsement) }];
    inject(&mut world, 3, 1, &Packet::Answers { nonce: 1, answers });
    assert_eq!(world.verdict(1, "web@2"), Verdict::Up);
    assert_eq!(world.view(1).stats.packets_refused, before, "there was no such round");
}

/// Who does not exist must not count: enough of such, and nobody has a majority any more.
#[test]
fn nobody_is_let_in_of_whom_the_voters_have_not_heard() {
    let mut world = World::formed(5);
    let epoch = world.view(5).epoch + 1;
    let ballot = Ballot { round: 7, proposer: AgentId(5) };
    let ghosts = Change { admit: (90..99).map(AgentId).collect(), remove: vec![] };
    for voter in 1..=4 {
        let talks = [
            EpochTalk::Prepare { epoch, ballot, wanted: ghosts.clone() },
            EpochTalk::Accept { epoch, ballot, change: ghosts.clone() },
        ];
        for talk in talks {
            let bytes = quorate_wire::encode(&Packet::Epoch(talk));
            let answers = world.outputs(voter, Input::Message { from: AgentId(5), bytes });
            let agreed = answers.iter().any(|output| match output {
                Output::Datagram { bytes, .. } | Output::Message { bytes, .. } => matches!(
                    quorate_wire::decode(bytes),
                    Ok(Packet::Epoch(EpochTalk::Promise { .. } | EpochTalk::Accepted { .. }))
                ),
                _ => false,
            });
            assert!(!agreed, "{voter}");
        }
    }
    world.join(6, 1);
    world.until(10_000, |w| (1..=6).all(|a| w.view(a).roster == 6 && w.view(a).quorate));
}

#[test]
fn a_stranger_is_not_heard() {
    let mut world = World::formed(3);
    inject(&mut world, 77, 1, &Packet::RollCall { nonce: 1 });
    inject(&mut world, 77, 1, &Packet::Propose { nonce: 1, decisions: vec![] });
    assert_eq!(world.view(1).stats.packets_refused, 2);
    world.input(1, Input::Datagram { from: AgentId(2), bytes: vec![0xff; 200] });
    world.input(1, Input::Message { from: AgentId(2), bytes: vec![] });
    assert_eq!(world.view(1).stats.packets_malformed, 2);
}

#[test]
fn a_replayed_old_certificate_changes_nothing() {
    let mut world = World::formed(5);
    let old = world.view(1).instances[&web(2)].certificate.clone().unwrap();
    world.targets.insert(web(2), (2, world::Target::Refused));
    world.until(6_000, |w| w.all(&[1, 2, 3, 4, 5], "web@2", Verdict::Down));
    inject(&mut world, 3, 1, &Packet::push(&[], &[old]));
    assert_eq!(world.verdict(1, "web@2"), Verdict::Down);
}

/// Nobody can make an agent believe that another process runs as it, or spend its boot counter, by merely saying so.
#[test]
fn a_claim_about_our_own_records_needs_our_own_signature() {
    let mut world = World::formed(3);
    for _ in 0..5 {
        let mark = OwnerMark { owner: AgentId(1), epoch: 4_000_000_000, head: 9, missing: vec![] };
        let summary = Summary { owner_buckets: (0..32).collect(), owners: vec![mark], ..Summary::default() };
        inject(&mut world, 3, 1, &Packet::Summary(summary));
        let records = vec![Record::InstanceGone(web(1))];
        let mut batch = Batch { owner: AgentId(1), epoch: 900, seq: 1, live: vec![1], records, signature: vec![] };
        batch.signature = HashKeys(AgentId(3)).sign(&batch.signing_bytes());
        let owners = vec![OwnerDelta { owner: AgentId(1), credential: None, batches: vec![Arc::new(batch)] }];
        inject(&mut world, 3, 1, &Packet::push(&owners, &[]));
    }
    assert_eq!(world.hosts[&1].engine.as_ref().unwrap().boot(), 1);
    assert_eq!(world.verdict(2, "web@1"), Verdict::Up);
}

/// A delta carries the records of the one agent it names.
#[test]
fn records_do_not_hide_in_anothers_delta() {
    let mut world = World::formed(3);
    let before = world.view(1).stats.records;
    let batches = (100..200).map(|owner| {
        Arc::new(Batch { owner: AgentId(owner), epoch: 1, seq: 1, live: vec![1], records: vec![], signature: vec![] })
    });
    let owners = vec![OwnerDelta { owner: AgentId(3), credential: None, batches: batches.collect() }];
    inject(&mut world, 3, 1, &Packet::Delta(Delta { owners, ..Delta::default() }));
    let view = world.view(1);
    assert_eq!((view.stats.records, view.stats.batches_refused), (before, 1));
}

/// A false "that term is taken" cannot carry a proposal out of everybody's reach.
#[test]
fn a_lying_refusal_cannot_block_a_verdict() {
    let mut world = World::formed(5);
    world.targets.insert(web(2), (2, world::Target::Refused));
    for _ in 0..400 {
        world.run(10);
        for term in 1..6 {
            let refusal = quorate_core::signing::Refusal::Taken { term: u64::MAX - 1 };
            let answers = vec![Answer { instance: web(2), term, reply: Reply::Promised(refusal) }];
            inject(&mut world, 5, 1, &Packet::Answers { nonce: 1, answers });
        }
    }
    world.until(20_000, |w| w.all(&[1, 2, 3, 4, 5], "web@2", Verdict::Down));
}

/// Who does not observe an instance cannot collect signatures for it: its own lie and the one failure that somebody saw would outvote all
/// those who were not asked.
#[test]
fn nobody_signs_for_one_who_does_not_observe() {
    let mut world = World::formed(8);
    let instance = world.view(1).instances[&web(2)].clone();
    let observers: Vec<u64> = instance.observers.iter().map(|observer| observer.agent.0).collect();
    let stranger = (1..=8).find(|agent| !observers.contains(agent)).unwrap();
    let (fellow, asked) = (observers[0], observers[1]);
    let held = instance.certificate.clone().unwrap();
    let decision = Decision { term: held.decision.term + 1, verdict: Verdict::Partial, ..held.decision.clone() };
    let mut reply_to = |from: u64| {
        let bytes = quorate_wire::encode(&Packet::Propose { nonce: 1, decisions: vec![decision.clone()] });
        let now = Now { mono: Mono(world.now), wall: UnixMs(world.now / world::MS) };
        let engine = world.hosts.get_mut(&asked).unwrap().engine.as_mut().unwrap();
        engine.handle(now, Input::Message { from: AgentId(from), bytes });
        let outputs = std::iter::from_fn(|| engine.poll_output());
        let answers = outputs.filter_map(|output| match output {
            Output::Datagram { bytes, .. } | Output::Message { bytes, .. } => quorate_wire::decode(&bytes).ok(),
            _ => None,
        });
        let mut replies = answers.filter_map(|packet| match packet {
            Packet::Answers { answers, .. } => Some(answers.into_iter().map(|answer| answer.reply).collect::<Vec<_>>()),
            _ => None,
        });
        replies.next().unwrap()
    };
    assert_eq!(reply_to(stranger), [Reply::Unknown]);
    assert_eq!(reply_to(fellow), [Reply::Disagrees(Vote::Pass)], "it is asked, and sees otherwise");
}

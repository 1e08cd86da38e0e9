//! A member that exaggerates: enormous counters, incarnations, epochs, sequences and terms, of itself and of others.

use super::Mischief;
use super::craft::{FAIL, Hand};
use quorate_core::roster::{Acceptor, Ballot, Change};
use quorate_core::signing::Refusal;
use quorate_core::{AgentId, Verdict};
use quorate_mesh::{Input, InstanceView, MeshView};
use quorate_wire::{
    Answer, CertificateMark, Delta, EpochTalk, MemberMark, OwnerMark, Packet, Reply, Summary, Suspicion, encode_value,
};
use serde::Serialize;

/// Exaggerations at a time.
const CLAIMS: usize = 3;

/// A membership packet as the SWIM library lays it out: source, its incarnation, destination, message; then the updates.
#[derive(Serialize)]
struct Header {
    src: (u64, u32, u32),
    src_incarnation: u16,
    dst: (u64, u32, u32),
    message: Message,
}

/// The messages of the library, in its order, up to the one that carries nothing but updates.
#[derive(Serialize)]
#[allow(dead_code, reason = "only their places matter")]
enum Message {
    Ping(u8),
    Ack(u8),
    PingReq,
    IndirectPing,
    IndirectAck,
    ForwardedAck,
    Announce,
    Feed,
    Gossip,
}

/// The states of a member, in the library's order.
#[derive(Serialize, Clone, Copy)]
enum State {
    Alive,
    Suspect,
    Down,
}

/// The inflater.
pub struct Inflater;

impl Mischief for Inflater {
    fn hear(&mut self, _hand: &mut Hand, input: Input) -> Option<Input> {
        Some(input)
    }

    fn act(&mut self, hand: &mut Hand, view: &MeshView) {
        let others = hand.others(view);
        let instances: Vec<_> = view.instances.values().collect();
        for _ in 0..CLAIMS {
            let (Some(to), Some(victim), Some(instance)) =
                (hand.pick(&others), hand.pick(&others), hand.pick(&instances))
            else {
                return;
            };
            let packet = match hand.below(8) {
                0 | 1 => rumour(hand, view, to, victim),
                2 => table(hand, victim),
                3 => summary(victim, instance),
                4 => Packet::HeldFailed { counter: u64::MAX },
                5 => suspicion(hand, victim),
                6 => epoch(hand, to, victim),
                _ => claims(hand, instance),
            };
            hand.send(to, &packet);
        }
    }
}

/// A counter far beyond the victim's: of its next boots, of its renewals, of both.
fn counter(hand: &mut Hand) -> u64 {
    let largest = u64::from(u32::MAX);
    hand.pick(&[u64::MAX, (1 << 32) | largest, 2 << 32, (1 << 32) | 1000, largest << 32]).unwrap_or(u64::MAX)
}

/// Gossip of the membership library about the victim.
fn rumour(hand: &mut Hand, view: &MeshView, to: AgentId, victim: AgentId) -> Packet {
    let boot = |agent: AgentId| view.members.get(&agent).map_or(1, |member| member.boot);
    let (src, dst) = ((hand.me.0, boot(hand.me), 0), (to.0, boot(to), 0));
    let mut bytes = encode_value(&Header { src, src_incarnation: 0, dst, message: Message::Gossip });
    bytes.extend(1u16.to_be_bytes());
    let claimed = counter(hand);
    let renewals = u32::try_from(claimed & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    let id = (victim.0, u32::try_from(claimed >> 32).unwrap_or(u32::MAX), renewals);
    let incarnation = hand.pick(&[0, 7, u16::MAX]).unwrap_or(0);
    let state = hand.pick(&[State::Alive, State::Suspect, State::Down]).unwrap_or(State::Down);
    bytes.extend(encode_value(&(id, incarnation, state)));
    Packet::Swim(bytes)
}

/// A membership table about the victim.
fn table(hand: &mut Hand, agent: AgentId) -> Packet {
    let state = u8::try_from(hand.below(4)).unwrap_or(0);
    let members = Some(vec![MemberMark { agent, counter: counter(hand), incarnation: u16::MAX, state }]);
    Packet::Delta(Delta { members, last: true, caught_up: true, ..Delta::default() })
}

/// It has more of the victim's records, and a later certificate, than anyone.
fn summary(owner: AgentId, instance: &InstanceView) -> Packet {
    let mark = OwnerMark { owner, epoch: u32::MAX, head: u32::MAX, missing: vec![1, u32::MAX] };
    let certificate =
        CertificateMark { instance: instance.instance.clone(), rank: (u64::MAX, u64::MAX, u8::MAX, u64::MAX) };
    Packet::Summary(Summary {
        owner_buckets: (0..=u8::MAX).collect(),
        owners: vec![mark],
        certificate_buckets: (0..=u8::MAX).collect(),
        certificates: vec![certificate],
        members: None,
        caught_up: true,
    })
}

fn suspicion(hand: &mut Hand, of: AgentId) -> Packet {
    let counter = counter(hand);
    Packet::Suspicions(vec![Suspicion { by: hand.me, of, counter, incarnation: u16::MAX }])
}

/// An epoch that nobody has reached, of a few or of a stranger, or a round of agreement on the next that nobody can surpass.
fn epoch(hand: &mut Hand, to: AgentId, victim: AgentId) -> Packet {
    let epoch = hand.pick(&[2, 100, 1 << 40, u64::MAX]).unwrap_or(2);
    let round = hand.pick(&[1, 1 << 20, u64::MAX]).unwrap_or(1);
    let promised = Ballot { round, proposer: hand.me };
    let few = [vec![hand.me], vec![hand.me, to], vec![hand.me, to, victim], vec![hand.me, AgentId(hand.bits())]];
    let members = hand.pick(&few);
    Packet::Epoch(match hand.below(4) {
        0 => EpochTalk::Refused { epoch, promised },
        1 => EpochTalk::Prepare { epoch, ballot: promised, wanted: Change::default() },
        _ => EpochTalk::Tell { epoch, proofs: Vec::new(), members, acceptor: Acceptor { promised, accepted: None } },
    })
}

/// A proposal, a refusal and a certificate, all of terms that nobody has reached.
fn claims(hand: &mut Hand, instance: &InstanceView) -> Packet {
    let ahead = hand.pick(&[1, 16, 17, 1 << 31, 1 << 59, u64::MAX]).unwrap_or(16);
    let Some(mut decision) = hand.decision(instance, Verdict::Down, ahead) else {
        return Packet::HeldFailed { counter: 1 << 32 };
    };
    match hand.below(3) {
        0 => Packet::Propose { nonce: hand.bits(), decisions: vec![decision] },
        1 => {
            let reply = Reply::Promised(Refusal::Taken { term: decision.term });
            let answers = vec![Answer { instance: decision.instance, term: instance.term + 1, reply }];
            Packet::Answers { nonce: hand.bits(), answers }
        }
        _ => {
            // As many as sign; or what is too few at once.
            if hand.below(2) == 0 {
                decision.observers = 1;
            }
            let endorsements = vec![hand.endorse(&decision, FAIL)];
            Packet::push(&[], &[hand.certificate(decision, endorsements)])
        }
    }
}

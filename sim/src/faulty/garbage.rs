//! A member whose packets are rubbish: random, damaged, cut off, or far too long.

use super::Mischief;
use super::craft::Hand;
use quorate_core::{AgentId, InstanceId};
use quorate_mesh::{Input, MeshView, Output};
use quorate_wire::{
    CertificateMark, Delta, MAX_DATAGRAM_BYTES, MemberMark, OwnerMark, Packet, Summary, Suspicion, VERSION,
};

/// Of so many packets of the engine one is damaged.
const DAMAGED_OF: usize = 4;
/// Pieces of rubbish at a time.
const PIECES: usize = 3;
/// Lines of a list that is far too long, yet fits into a message.
const OVERLONG: u64 = 10_000;

/// The sender of rubbish.
pub struct Garbage;

impl Mischief for Garbage {
    fn hear(&mut self, _hand: &mut Hand, input: Input) -> Option<Input> {
        Some(input)
    }

    fn say(&mut self, hand: &mut Hand, output: Output) -> Option<Output> {
        Some(match output {
            Output::Datagram { to, bytes } => Output::Datagram { to, bytes: perhaps_damaged(hand, bytes) },
            Output::Message { to, bytes } => Output::Message { to, bytes: perhaps_damaged(hand, bytes) },
            other => other,
        })
    }

    fn act(&mut self, hand: &mut Hand, view: &MeshView) {
        let others = hand.others(view);
        for _ in 0..PIECES {
            let Some(to) = hand.pick(&others) else { return };
            let stream = hand.below(2) == 0;
            let len = hand.below(MAX_DATAGRAM_BYTES);
            let mut bytes = hand.bytes(len);
            if hand.below(2) == 0 {
                bytes.splice(..0, [VERSION]);
                bytes.truncate(MAX_DATAGRAM_BYTES);
            }
            hand.send_bytes(to, bytes, stream);
        }
        if let Some(to) = hand.pick(&others).filter(|_| hand.below(8) == 0) {
            let packet = overlong(hand, &others);
            hand.send(to, &packet);
        }
    }
}

fn perhaps_damaged(hand: &mut Hand, mut bytes: Vec<u8>) -> Vec<u8> {
    if hand.below(DAMAGED_OF) > 0 || bytes.is_empty() {
        return bytes;
    }
    let at = hand.below(bytes.len());
    match hand.below(3) {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= 1 << hand.below(8),
        _ => bytes[at] = hand.bits().to_le_bytes()[0],
    }
    bytes
}

/// A packet in which some list has more lines than anyone could need.
fn overlong(hand: &mut Hand, others: &[AgentId]) -> Packet {
    let known = |n: u64| others[usize::try_from(n).unwrap_or(0) % others.len()];
    match hand.below(5) {
        0 => {
            let line = |n| Suspicion { by: AgentId(n), of: known(n), counter: n << 32, incarnation: 0 };
            Packet::Suspicions((0..OVERLONG).map(line).collect())
        }
        1 => {
            let line = |n| MemberMark { agent: AgentId(n), counter: n, incarnation: 0, state: 2 };
            let members = Some((0..OVERLONG).map(line).collect());
            Packet::Delta(Delta { members, last: true, ..Delta::default() })
        }
        2 => {
            let line = |n: u64| OwnerMark { owner: AgentId(n), epoch: 1, head: 1, missing: Vec::new() };
            let owners = (0..OVERLONG).map(line).collect();
            Packet::Summary(Summary { owners, owner_buckets: (0..32).collect(), ..Summary::default() })
        }
        3 => {
            let missing = (0..u32::try_from(OVERLONG).unwrap_or(0)).collect();
            let want_owners = vec![OwnerMark { owner: known(0), epoch: 1, head: u32::MAX, missing }];
            Packet::Delta(Delta { want_owners, last: true, ..Delta::default() })
        }
        _ => {
            let line =
                |n| Some(CertificateMark { instance: InstanceId::new(format!("x{n}")).ok()?, rank: (1, n, 3, n) });
            let certificates = (0..OVERLONG).filter_map(line).collect();
            Packet::Summary(Summary { certificates, certificate_buckets: (0..64).collect(), ..Summary::default() })
        }
    }
}

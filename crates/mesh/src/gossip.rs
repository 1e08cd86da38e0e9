//! News on its way: what was learnt a moment ago and is passed on to a few members at every tick.

use quorate_core::verdict::Certificate;
use quorate_core::{AgentId, InstanceId};
use quorate_wire::{Batch, Packet, Suspicion, encode_value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// News kept at most; the most often told goes first.
const MAX_ITEMS: usize = 20_000;
/// Bytes of news in one packet: what fits into a datagram beside its frame.
const DATAGRAM_BYTES: usize = 1000;
/// Bytes of news in one packet while there is more of it than a few datagrams hold; these go by stream.
const STREAM_BYTES: usize = 32 * 1024;

/// What an item is about; newer news of the same replaces older.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    Suspicion(AgentId, AgentId),
    Certificate(InstanceId),
    Batch(AgentId, u32, u32),
}

#[derive(Debug, Clone)]
pub(crate) enum News {
    Suspicion(Suspicion),
    Certificate(Arc<Certificate>),
    /// A batch, and its owner's credential if it introduces itself.
    Batch(Arc<Batch>, Option<Vec<u8>>),
}

#[derive(Debug)]
struct Item {
    news: News,
    bytes: usize,
    left: u32,
}

/// News with the number of times each is still to be told.
#[derive(Debug, Default)]
pub(crate) struct GossipQueue {
    items: BTreeMap<Topic, Item>,
    bytes: usize,
}

/// One packet's worth.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    pub suspicions: Vec<Suspicion>,
    pub owners: Vec<quorate_wire::OwnerDelta>,
    pub certificates: Vec<Arc<Certificate>>,
}

impl Parcel {
    /// The packets that carry it.
    pub fn packets(self) -> Vec<Packet> {
        let mut packets = Vec::new();
        if !self.suspicions.is_empty() {
            packets.push(Packet::Suspicions(self.suspicions));
        }
        if !(self.owners.is_empty() && self.certificates.is_empty()) {
            packets.push(Packet::Push { owners: self.owners, certificates: self.certificates });
        }
        packets
    }
}

impl GossipQueue {
    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes news to be told `times` times. False when there was no room.
    pub fn push(&mut self, news: News, times: u32) -> bool {
        let (topic, bytes) = match &news {
            News::Suspicion(s) => (Topic::Suspicion(s.of, s.by), 32),
            News::Certificate(c) => (Topic::Certificate(c.decision.instance.clone()), encode_value(c).len()),
            News::Batch(b, credential) => (
                Topic::Batch(b.owner, b.epoch, b.seq),
                encode_value(b).len() + credential.as_ref().map_or(0, Vec::len) + 12,
            ),
        };
        if self.items.len() >= MAX_ITEMS && !self.items.contains_key(&topic) {
            return false;
        }
        let replaced = self.items.insert(topic, Item { news, bytes, left: times.max(1) });
        self.bytes = self.bytes + bytes - replaced.map_or(0, |item| item.bytes);
        true
    }

    /// The news for one member at one tick: the least told first, as much as fits into a packet, or one large piece alone.
    pub fn parcel(&mut self) -> Parcel {
        let mut order: Vec<_> =
            self.items.iter().map(|(topic, item)| (std::cmp::Reverse(item.left), item.bytes, topic.clone())).collect();
        order.sort_unstable();
        let mut parcel = Parcel::default();
        let mut room = if self.bytes > 4 * DATAGRAM_BYTES { STREAM_BYTES } else { DATAGRAM_BYTES };
        for (index, (_, bytes, topic)) in order.into_iter().enumerate() {
            if bytes > room && index > 0 {
                continue;
            }
            room = room.saturating_sub(bytes);
            let Some(item) = self.items.get_mut(&topic) else { continue };
            item.left -= 1;
            match &item.news {
                News::Suspicion(suspicion) => parcel.suspicions.push(*suspicion),
                News::Certificate(certificate) => parcel.certificates.push(Arc::clone(certificate)),
                News::Batch(batch, credential) => parcel.owners.push(quorate_wire::OwnerDelta {
                    owner: batch.owner,
                    credential: credential.clone(),
                    batches: vec![Arc::clone(batch)],
                }),
            }
            if item.left == 0 {
                self.items.remove(&topic);
                self.bytes -= bytes;
            }
            if room == 0 {
                break;
            }
        }
        parcel
    }
}

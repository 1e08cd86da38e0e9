//! News on its way: what was learnt a moment ago and is passed on to a few members at every tick.

use quorate_core::verdict::Certificate;
use quorate_core::{AgentId, InstanceId};
use quorate_wire::{Batch, BatchNews, Packet, Sealed, Suspicion};
use std::collections::BTreeMap;
use std::sync::Arc;

/// News kept at most; the most often told goes first.
const MAX_ITEMS: usize = 20_000;
/// Bytes of news in one packet: what fits into a datagram beside its frame.
const DATAGRAM_BYTES: usize = 1000;
/// Bytes of news in one packet while there is more of it than a few datagrams hold; these go by stream.
const STREAM_BYTES: usize = 32 * 1024;

/// News considered for one packet: as many of the smallest as it holds.
const MAX_CONSIDERED: usize = STREAM_BYTES / SUSPICION_BYTES;
/// What a suspicion takes at most, and how many are in a packet at most.
const SUSPICION_BYTES: usize = 32;
pub(crate) const MAX_SUSPICIONS: usize = MAX_CONSIDERED;

/// With more suspicions than this to tell, as when half of a large mesh is gone, those that no longer hold are dropped first.
const MAX_UNREVIEWED: usize = 64;

/// With more bytes than this to tell, as when a large mesh starts at once, records are told only so often; the rest is for the repair, which
/// brings many at a time.
const FLOOD_BYTES: usize = 64 * 1024;
const FLOOD_TIMES: u32 = 4;

/// What an item is about; newer news of the same replaces older. Suspicions come first.
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
    Batch(Arc<Batch>, Option<Arc<[u8]>>),
}

/// The same, ready to be sent.
#[derive(Debug)]
enum Ready {
    Suspicion(Suspicion),
    Certificate(Sealed<Certificate>),
    Batch(BatchNews),
}

impl Ready {
    fn bytes(&self) -> usize {
        match self {
            Self::Suspicion(_) => SUSPICION_BYTES,
            Self::Certificate(certificate) => certificate.bytes() + 2,
            Self::Batch(news) => {
                news.batch.bytes() + news.credential.as_ref().map_or(0, |credential| credential.len()) + 5
            }
        }
    }
}

#[derive(Debug)]
struct Item {
    news: Ready,
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
    pub batches: Vec<BatchNews>,
    pub certificates: Vec<Sealed<Certificate>>,
}

impl Parcel {
    fn add(&mut self, news: &Ready) {
        match news {
            Ready::Suspicion(suspicion) => self.suspicions.push(*suspicion),
            Ready::Certificate(certificate) => self.certificates.push(certificate.clone()),
            Ready::Batch(batch) => self.batches.push(batch.clone()),
        }
    }

    /// The packets that carry it.
    pub fn packets(self) -> Vec<Packet> {
        let mut packets = Vec::new();
        if !self.suspicions.is_empty() {
            packets.push(Packet::Suspicions(self.suspicions));
        }
        if !(self.batches.is_empty() && self.certificates.is_empty()) {
            packets.push(Packet::Push { batches: self.batches, certificates: self.certificates });
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

    /// Takes news to be told `times` times, records less often in a flood. False when there was no room.
    pub fn push(&mut self, news: News, times: u32) -> bool {
        let flood = self.bytes > FLOOD_BYTES && matches!(news, News::Batch(..));
        let times = if flood { times.min(FLOOD_TIMES) } else { times };
        let (topic, news) = match news {
            News::Suspicion(suspicion) => (Topic::Suspicion(suspicion.of, suspicion.by), Ready::Suspicion(suspicion)),
            News::Certificate(certificate) => (
                Topic::Certificate(certificate.decision.instance.clone()),
                Ready::Certificate(Sealed::new(&certificate)),
            ),
            News::Batch(batch, credential) => {
                self.drop_superseded(&batch);
                let news = BatchNews { credential, batch: Sealed::new(&*batch) };
                (Topic::Batch(batch.owner, batch.epoch, batch.seq), Ready::Batch(news))
            }
        };
        let bytes = news.bytes();
        if self.items.len() >= MAX_ITEMS && !self.items.contains_key(&topic) {
            return false;
        }
        let replaced = self.items.insert(topic, Item { news, bytes, left: times.max(1) });
        self.bytes = self.bytes + bytes - replaced.map_or(0, |item| item.bytes);
        true
    }

    /// Forgets suspicions that no longer hold, if there are many. `outdated` makes what tells them, from as much as that takes.
    pub fn drop_outdated<F: Fn(&Suspicion) -> bool>(&mut self, outdated: impl FnOnce() -> F) {
        let suspicions = self.items.values().take_while(|item| matches!(item.news, Ready::Suspicion(_)));
        if suspicions.take(MAX_UNREVIEWED + 1).count() <= MAX_UNREVIEWED {
            return;
        }
        let outdated = outdated();
        let goes =
            |_: &Topic, item: &mut Item| matches!(&item.news, Ready::Suspicion(suspicion) if outdated(suspicion));
        let dropped = self.items.extract_if(.., goes);
        self.bytes -= dropped.map(|(_, item)| item.bytes).sum::<usize>();
    }

    /// Forgets what the owner no longer lists: a batch that holds nothing any more is not worth a word.
    fn drop_superseded(&mut self, newer: &Batch) {
        let all = Topic::Batch(newer.owner, 0, 0)..Topic::Batch(newer.owner, newer.epoch, newer.seq);
        let superseded = |topic: &Topic| match topic {
            Topic::Batch(_, epoch, seq) => *epoch < newer.epoch || newer.live.binary_search(seq).is_err(),
            _ => false,
        };
        let dropped = self.items.extract_if(all, |topic, _| superseded(topic));
        self.bytes -= dropped.map(|(_, item)| item.bytes).sum::<usize>();
    }

    /// The news for one member at one tick: the least told first, as much as fits into a packet, or one large piece alone.
    pub fn parcel(&mut self) -> Parcel {
        let mut parcel = Parcel::default();
        let mut room = if self.bytes > 4 * DATAGRAM_BYTES { STREAM_BYTES } else { DATAGRAM_BYTES };
        // When all of it fits, the order does not matter.
        if self.bytes <= room {
            let told = |_: &Topic, item: &mut Item| {
                parcel.add(&item.news);
                item.left -= 1;
                item.left == 0
            };
            let done = self.items.extract_if(.., told);
            self.bytes -= done.map(|(_, item)| item.bytes).sum::<usize>();
            return parcel;
        }
        let items = self.items.iter();
        let mut order: Vec<_> = items.map(|(topic, item)| (std::cmp::Reverse(item.left), item.bytes, topic)).collect();
        if order.len() > MAX_CONSIDERED {
            order.select_nth_unstable(MAX_CONSIDERED);
            order.truncate(MAX_CONSIDERED);
        }
        order.sort_unstable();
        let order: Vec<_> = order.into_iter().map(|(left, bytes, topic)| (left, bytes, topic.clone())).collect();
        for (index, (_, bytes, topic)) in order.into_iter().enumerate() {
            if bytes > room && index > 0 {
                continue;
            }
            room = room.saturating_sub(bytes);
            let Some(item) = self.items.get_mut(&topic) else { continue };
            item.left -= 1;
            parcel.add(&item.news);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(owner: u64, epoch: u32, live: &[u32]) -> News {
        let (seq, live) = (*live.last().unwrap(), live.to_vec());
        let batch = Batch { owner: AgentId(owner), epoch, seq, live, records: Vec::new(), signature: Vec::new() };
        News::Batch(Arc::new(batch), None)
    }

    fn told(queue: &GossipQueue) -> Vec<(u64, u32, u32)> {
        let batch = |topic: &Topic| match topic {
            Topic::Batch(owner, epoch, seq) => (owner.0, *epoch, *seq),
            other => panic!("{other:?}"),
        };
        queue.items.keys().map(batch).collect()
    }

    #[test]
    fn outdated_suspicions_are_dropped_when_there_are_many() {
        let about = |of| News::Suspicion(Suspicion { by: AgentId(1), of: AgentId(of), counter: 1, incarnation: 0 });
        let odd = || |suspicion: &Suspicion| suspicion.of.0 % 2 == 1;
        let mut queue = GossipQueue::default();
        queue.push(batch(1, 1, &[1]), 1);
        for of in 0..MAX_UNREVIEWED as u64 {
            queue.push(about(of), 1);
        }
        queue.drop_outdated(odd);
        assert_eq!(queue.len(), MAX_UNREVIEWED + 1, "few are told as they are");
        queue.push(about(MAX_UNREVIEWED as u64), 1);
        queue.drop_outdated(odd);
        assert_eq!(queue.len(), MAX_UNREVIEWED / 2 + 2);
        let suspicions = queue.parcel().suspicions;
        assert!(!suspicions.is_empty() && suspicions.iter().all(|suspicion| suspicion.of.0 % 2 == 0));
        while !queue.is_empty() {
            queue.parcel();
        }
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn batches_that_hold_nothing_any_more_are_not_told() {
        let mut queue = GossipQueue::default();
        for news in [batch(1, 1, &[1]), batch(2, 1, &[1]), batch(1, 1, &[1, 2]), batch(1, 1, &[1, 2, 3])] {
            assert!(queue.push(news, 4));
        }
        assert_eq!(told(&queue), [(1, 1, 1), (1, 1, 2), (1, 1, 3), (2, 1, 1)]);
        queue.push(batch(1, 1, &[2, 4]), 4);
        assert_eq!(told(&queue), [(1, 1, 2), (1, 1, 4), (2, 1, 1)]);
        queue.push(batch(1, 2, &[1]), 4);
        assert_eq!(told(&queue), [(1, 2, 1), (2, 1, 1)]);
        // What comes late and is still listed by the newest does not push that out.
        queue.push(batch(2, 1, &[1, 9]), 4);
        queue.push(batch(2, 1, &[1, 5]), 4);
        assert_eq!(told(&queue), [(1, 2, 1), (2, 1, 1), (2, 1, 5), (2, 1, 9)]);
        for _ in 0..4 {
            queue.parcel();
        }
        assert_eq!((queue.len(), queue.bytes), (0, 0));
    }
}

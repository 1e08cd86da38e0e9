//! What is to happen, in order of time.
//!
//! Events of one moment are ordered by what they are and whom they concern, never by when they were inserted: a global insertion counter
//! would let a change in one corner of a run reorder another.

use crate::time::SimTime;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The order of events at one moment, by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The plan's own actions.
    Action,
    /// Steps of a link.
    Link,
    /// Something reaches an agent.
    Arrival,
    /// A probe ends.
    Probe,
    /// An agent's deadline.
    Wake,
    /// The world looks around.
    Survey,
}

/// The place of an event in the order of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// When.
    pub at: SimTime,
    /// What.
    pub rank: Rank,
    /// Whom it concerns.
    pub dst: u32,
    /// Where it comes from.
    pub src: u32,
    /// Which of these, counted per pair.
    pub seq: u32,
}

/// A [`Key`] in three words, which are compared faster: the moment; what and whom; which of these, and the place of the event.
type Packed = (u64, u64, u64);

/// Processes are numbered by so many bits.
const NUMBER_BITS: u32 = 30;

fn pack(key: Key, slot: u32) -> Packed {
    let who = (key.rank as u64) << (2 * NUMBER_BITS) | u64::from(key.dst) << NUMBER_BITS | u64::from(key.src);
    (key.at.0, who, u64::from(key.seq) << 32 | u64::from(slot))
}

/// The queue.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<Packed>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
}

impl<E> Queue<E> {
    /// An empty queue.
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new() }
    }

    /// Adds an event.
    pub fn push(&mut self, key: Key, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(event);
                slot
            }
            None => {
                self.slots.push(Some(event));
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.heap.push(Reverse(pack(key, slot)));
    }

    /// Takes the next event, with its moment.
    #[allow(clippy::cast_possible_truncation, reason = "the lower half")]
    pub fn pop(&mut self) -> Option<(SimTime, E)> {
        let Reverse((at, _, place)) = self.heap.pop()?;
        let slot = place as u32;
        self.free.push(slot);
        Some((SimTime(at), self.slots[slot as usize].take()?))
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Option<SimTime> {
        self.heap.peek().map(|Reverse((at, ..))| SimTime(*at))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(ms: u64, rank: Rank, dst: u32, seq: u32) -> Key {
        Key { at: SimTime::from_ms(ms), rank, dst, src: 0, seq }
    }

    #[test]
    fn the_order_of_insertion_does_not_matter() {
        let keys = [
            key(1, Rank::Action, 0, 0),
            key(1, Rank::Arrival, 0, 1),
            key(1, Rank::Arrival, 0, 2),
            key(1, Rank::Arrival, 1, 0),
            key(1, Rank::Wake, 0, 0),
            key(2, Rank::Action, 0, 0),
        ];
        for rotation in 0..keys.len() {
            let mut queue = Queue::new();
            for step in 0..keys.len() {
                let index = (step * 5 + rotation) % keys.len();
                queue.push(keys[index], index);
            }
            let order: Vec<usize> = std::iter::from_fn(|| queue.pop().map(|(_, event)| event)).collect();
            assert_eq!(order, [0, 1, 2, 3, 4, 5]);
            assert_eq!(queue.len(), 0);
        }
    }
}

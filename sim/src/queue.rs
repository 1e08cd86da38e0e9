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
    pub seq: u64,
}

/// The queue.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<(Key, u32)>>,
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
        self.heap.push(Reverse((key, slot)));
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(Key, E)> {
        let Reverse((key, slot)) = self.heap.pop()?;
        self.free.push(slot);
        Some((key, self.slots[slot as usize].take()?))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(ms: u64, rank: Rank, dst: u32, seq: u64) -> Key {
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

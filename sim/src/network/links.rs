//! The links of a run, found by their pairs of processes.
//!
//! A table of places for each lower-numbered process, so that a packet costs no search: a mesh of a thousand has half a million pairs, and
//! most of them talk sooner or later.

use super::Packet;
use crate::time::SimTime;
use std::collections::VecDeque;

/// Two processes, the lower number first.
pub type Pair = (usize, usize);

/// The pair of two processes, and which end of its link is that of `from`.
pub fn place(from: usize, to: usize) -> (Pair, usize) {
    if from < to { ((from, to), 0) } else { ((to, from), 1) }
}

/// One end of a link.
#[derive(Debug, Default)]
pub struct End {
    pub up: bool,
    /// When this end, as the accepting one, has all it needs.
    pub ready: SimTime,
    pub dial: Option<u64>,
    pub dials: u64,
    pub sent: u64,
    /// Since when nothing from this end reaches the other.
    pub silent_since: Option<SimTime>,
    /// When the last message from this end arrives, if messages keep their order.
    pub last_message: SimTime,
    kept: Option<Box<Kept>>,
}

/// Packets that are not on their way yet.
#[derive(Debug, Default)]
pub struct Kept {
    /// Until there is a link.
    pub waiting: VecDeque<Packet>,
    /// Messages that the path does not let through for now.
    pub held: Vec<Packet>,
}

impl End {
    /// What it keeps, made if there is nothing.
    pub fn kept(&mut self) -> &mut Kept {
        self.kept.get_or_insert_default()
    }

    /// Takes what waits for the link.
    pub fn take_waiting(&mut self) -> VecDeque<Packet> {
        self.kept.as_mut().map(|kept| std::mem::take(&mut kept.waiting)).unwrap_or_default()
    }

    /// Takes the messages that were held.
    pub fn take_held(&mut self) -> Vec<Packet> {
        self.kept.as_mut().map(|kept| std::mem::take(&mut kept.held)).unwrap_or_default()
    }
}

/// A link, up or not.
#[derive(Debug, Default)]
pub struct Link {
    pub generation: u64,
    /// The lower-numbered agent's end, and the other's.
    pub ends: [End; 2],
}

/// All links that there ever were.
#[derive(Debug)]
pub struct Links {
    /// By lower number, then by the distance to the higher one: one more than the link's place, or zero.
    rows: Vec<Vec<u32>>,
    links: Vec<Link>,
}

impl Links {
    /// None yet, of so many processes.
    pub fn new(processes: usize) -> Self {
        Self { rows: vec![Vec::new(); processes], links: Vec::new() }
    }

    fn index(&self, (low, high): Pair) -> Option<usize> {
        let place = *self.rows[low].get(high - low)?;
        place.checked_sub(1).map(|place| place as usize)
    }

    /// The link of a pair, if there ever was one.
    pub fn get(&self, pair: Pair) -> Option<&Link> {
        self.index(pair).map(|index| &self.links[index])
    }

    /// The same.
    pub fn get_mut(&mut self, pair: Pair) -> Option<&mut Link> {
        self.index(pair).map(|index| &mut self.links[index])
    }

    /// The link of a pair, made if there was none.
    pub fn of(&mut self, pair: Pair) -> &mut Link {
        let index = self.index(pair).unwrap_or_else(|| self.add(pair));
        &mut self.links[index]
    }

    fn add(&mut self, (low, high): Pair) -> usize {
        let processes = self.rows.len();
        let row = &mut self.rows[low];
        if row.is_empty() {
            row.resize(processes - low, 0);
        }
        self.links.push(Link::default());
        row[high - low] = u32::try_from(self.links.len()).unwrap_or(u32::MAX);
        self.links.len() - 1
    }

    /// All pairs, ascending.
    pub fn pairs(&self) -> Vec<Pair> {
        let of_row = |(low, row): (usize, &Vec<u32>)| {
            let there = row.iter().enumerate().filter(|(_, place)| **place > 0);
            there.map(|(distance, _)| (low, low + distance)).collect::<Vec<_>>()
        };
        self.rows.iter().enumerate().flat_map(of_row).collect()
    }

    /// The pairs with `process`, ascending.
    pub fn pairs_of(&self, process: usize) -> Vec<Pair> {
        let others = (0..self.rows.len()).filter(|other| *other != process);
        others.map(|other| place(process, other).0).filter(|pair| self.index(*pair).is_some()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_by_their_pairs_in_order() {
        let mut links = Links::new(4);
        for (a, b) in [(3, 1), (0, 2), (1, 3), (2, 1)] {
            links.of(place(a, b).0).generation += 1;
        }
        assert_eq!(links.pairs(), [(0, 2), (1, 2), (1, 3)]);
        assert_eq!(links.pairs_of(1), [(1, 2), (1, 3)]);
        assert_eq!(links.get((1, 3)).map(|link| link.generation), Some(2));
        assert!(links.get((0, 1)).is_none() && links.get_mut((2, 3)).is_none());
    }
}

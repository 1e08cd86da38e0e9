//! What was seen within a window of time, within a bound.

use super::rules::Rules;
use crate::evidence::FailureType;
use crate::time::{Mono, UnixMs};
use std::collections::VecDeque;
use std::time::Duration;

/// Outcomes remembered; of faster probes the window is shorter.
const MAX_SEEN: usize = 1024;
/// Sizes of memory remembered within the window of a leak.
const MEMORY_SAMPLES: u32 = 32;

/// One outcome as it is counted.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Mono,
    wall: UnixMs,
    failure: Option<FailureType>,
    /// What else was told of it, be it healthy: a bit for each type.
    beside: u32,
}

/// The outcomes of the window, and the last results, however long ago; oldest first.
#[derive(Debug, Default)]
pub(super) struct Window {
    seen: VecDeque<Seen>,
    /// Which of the last [`Rules::FLAP_RESULTS`] failed.
    failed: VecDeque<bool>,
}

impl Window {
    pub fn push(&mut self, at: Mono, wall: UnixMs, failure: Option<FailureType>, span: Duration) {
        while self.seen.front().is_some_and(|seen| at.since(seen.at) > span) || self.seen.len() >= MAX_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen { at, wall, failure, beside: 0 });
        while self.failed.len() >= Rules::FLAP_RESULTS {
            self.failed.pop_front();
        }
        self.failed.push_back(failure.is_some());
    }

    /// Notes that this type is told of the last outcome, too.
    pub fn beside(&mut self, kind: FailureType) {
        if let Some(last) = self.seen.back_mut() {
            last.beside |= bit(kind);
        }
    }

    /// How many of this type, and when the first of them was.
    pub fn of(&self, kind: FailureType) -> (u32, Option<UnixMs>) {
        let mut all = self.seen.iter().filter(|seen| seen.failure == Some(kind) || seen.beside & bit(kind) != 0);
        let first = all.next().map(|seen| seen.wall);
        (count(all.count() + usize::from(first.is_some())), first)
    }

    /// Failures, and all.
    pub fn failed_of(&self) -> (u32, u32) {
        (count(self.seen.iter().filter(|seen| seen.failure.is_some()).count()), count(self.seen.len()))
    }

    /// How many of the last results there are, and between how many neighbours of them success and failure changed.
    pub fn changes(&self) -> (usize, usize) {
        let neighbours = self.failed.iter().zip(self.failed.iter().skip(1));
        (self.failed.len(), neighbours.filter(|(one, next)| one != next).count())
    }
}

fn bit(kind: FailureType) -> u32 {
    FailureType::ALL.iter().position(|of| *of == kind).map_or(0, |place| 1 << place)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Sizes of memory over time, as long as they only grow.
#[derive(Debug, Default)]
pub(super) struct Growth {
    samples: VecDeque<(Mono, u64)>,
    told: bool,
}

impl Growth {
    /// Notes a size. Is it, now and not before, larger by a tenth than a window ago, having only grown since?
    pub fn leaks(&mut self, at: Mono, bytes: u64, window: Duration) -> bool {
        if self.samples.back().is_some_and(|(_, last)| bytes < *last) {
            *self = Self::default();
        }
        // One sample for each part of the window is enough.
        let part = window / MEMORY_SAMPLES;
        if self.samples.back().is_none_or(|(last, _)| at.since(*last) >= part) {
            self.samples.push_back((at, bytes));
        }
        while self.samples.get(1).is_some_and(|(second, _)| at.since(*second) >= window) {
            self.samples.pop_front();
        }
        let Some((first_at, first)) = self.samples.front().copied() else { return false };
        let grown = at.since(first_at) >= window && bytes > first.saturating_add(first / 10);
        grown && !std::mem::replace(&mut self.told, true)
    }
}

//! Outcomes in a row: failures while closed, successes of trials while half-open. One word: the generation above, the count below.

use crate::sync::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Streak(AtomicU64);

const COUNT: u64 = u32::MAX as u64;

impl Streak {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// One more in `generation`; returns how many there are now. What was counted in another generation is forgotten.
    pub(crate) fn extend(&self, generation: u32) -> u32 {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let before = if (seen >> 32) as u32 == generation { seen & COUNT } else { 0 };
            let count = (before + 1).min(COUNT);
            let next = u64::from(generation) << 32 | count;
            match self.0.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return count as u32,
                Err(now) => seen = now,
            }
        }
    }

    /// Ends the streak of `generation`. Usually there is none, and then this only reads. A failure that comes at this very moment counts as
    /// coming after.
    #[inline]
    pub(crate) fn end(&self, generation: u32) {
        let none = u64::from(generation) << 32;
        let seen = self.0.load(Ordering::Relaxed);
        if seen > none && seen - none <= COUNT {
            let _ = self.0.compare_exchange(seen, none, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    pub(crate) fn count(&self, generation: u32) -> u32 {
        let seen = self.0.load(Ordering::Relaxed);
        if (seen >> 32) as u32 == generation { (seen & COUNT) as u32 } else { 0 }
    }
}

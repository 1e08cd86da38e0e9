//! The window: how many calls of the last seconds failed, were slow, or met silence.
//!
//! A ring of buckets per shard, a bucket being one word: four counts of ten bits and a tag that says to which turn of the ring and to which
//! generation they belong. Whoever finds another tag begins the bucket anew, so that nothing has to be swept and nothing counted in an
//! earlier generation can be read in a later one. Threads count in different shards ([`crate::seat`]); reading adds them up.
//!
//! A count that would overflow halves the bucket's counts, which keeps their ratio: above some hundred calls per bucket and shard the rates
//! are right and the volume is a lower bound.

use crate::seat::{Seat, seat};
use crate::settings::Policy;
use crate::sync::{AtomicU64, COVERED, Ordering, RING, SHARDS, fence};
use quorate_core::Mono;

/// What a window holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Calls that succeeded or failed.
    pub calls: u32,
    /// Failures in which the far end, or its host, spoke.
    pub answered: u32,
    /// Failures in which nothing was heard.
    pub silent: u32,
    /// Calls that took longer than `slow_after`, however they ended.
    pub slow: u32,
}

impl Counts {
    /// All failures.
    #[must_use]
    pub fn failed(&self) -> u32 {
        self.answered + self.silent
    }

    /// Are at least `percent` of the calls among `part`?
    pub(crate) fn reaches(&self, part: u32, percent: u8) -> bool {
        u64::from(part) * 100 >= u64::from(self.calls) * u64::from(percent)
    }
}

/// One call, as it is added to a bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tally(u64);

const FIELD_BITS: u32 = 10;
const FIELD: u64 = (1 << FIELD_BITS) - 1;
const ANSWERED_AT: u32 = FIELD_BITS;
const SILENT_AT: u32 = 2 * FIELD_BITS;
const SLOW_AT: u32 = 3 * FIELD_BITS;
const TAG_AT: u32 = 4 * FIELD_BITS;
const RING_BITS: u32 = RING.trailing_zeros();
/// The upper half of each count: what is left of it when it is halved.
const HALVES: u64 = (FIELD >> 1) | (FIELD >> 1) << ANSWERED_AT | (FIELD >> 1) << SILENT_AT | (FIELD >> 1) << SLOW_AT;

impl Tally {
    pub(crate) const SUCCESS: Self = Self(1);
    pub(crate) const ANSWERED: Self = Self(1 | 1 << ANSWERED_AT);
    pub(crate) const SILENT: Self = Self(1 | 1 << SILENT_AT);

    #[inline]
    pub(crate) fn slow(self, slow: bool) -> Self {
        Self(self.0 | u64::from(slow) << SLOW_AT)
    }
}

/// A shard fills two cache lines.
#[derive(Debug)]
#[repr(align(64))]
struct Shard {
    ring: [AtomicU64; RING],
}

#[derive(Debug)]
pub(crate) struct Window {
    shards: [Shard; SHARDS],
}

impl Window {
    pub(crate) fn new() -> Self {
        let shard = |_| Shard { ring: std::array::from_fn(|_| AtomicU64::new(0)) };
        Self { shards: std::array::from_fn(shard) }
    }

    /// Counts one call.
    #[inline]
    pub(crate) fn add(&self, policy: &Policy, generation: u32, now: Mono, tally: Tally) {
        let bucket = policy.bucket(now.0);
        let tag = tag(bucket, generation);
        let Seat { shard, own } = seat();
        let cell = &self.shards[shard].ring[place(bucket)];
        let mut seen = cell.load(Ordering::Relaxed);
        if own {
            return cell.store(with(seen, tag, tally), Ordering::Relaxed);
        }
        while let Err(other) =
            cell.compare_exchange_weak(seen, with(seen, tag, tally), Ordering::Relaxed, Ordering::Relaxed)
        {
            seen = other;
        }
    }

    /// What was counted in `generation` within the window that ends at `now`.
    pub(crate) fn counts(&self, policy: &Policy, generation: u32, now: Mono) -> Counts {
        // Of two threads that each counted before they came here, at least one sees both counts.
        fence(Ordering::SeqCst);
        let last = policy.bucket(now.0);
        let mut sum = Counts::default();
        for bucket in last.saturating_sub(COVERED - 1)..=last {
            let (place, tag) = (place(bucket), tag(bucket, generation));
            for shard in &self.shards {
                let seen = shard.ring[place].load(Ordering::Relaxed);
                if seen >> TAG_AT == tag {
                    // Each field is ten bits.
                    let field = |at: u32| ((seen >> at) & FIELD) as u32;
                    sum.calls += field(0);
                    sum.answered += field(ANSWERED_AT);
                    sum.silent += field(SILENT_AT);
                    sum.slow += field(SLOW_AT);
                }
            }
        }
        sum
    }
}

/// The bucket `seen` with one call more, begun anew when it belongs to another turn or generation.
#[inline]
fn with(seen: u64, tag: u64, tally: Tally) -> u64 {
    if seen >> TAG_AT != tag {
        tag << TAG_AT | tally.0
    } else if seen & FIELD == FIELD {
        (seen >> TAG_AT << TAG_AT | (seen >> 1) & HALVES) + tally.0
    } else {
        seen + tally.0
    }
}

#[inline]
fn place(bucket: u64) -> usize {
    (bucket & (RING as u64 - 1)) as usize
}

/// Sixteen bits of the ring's turn, eight of the generation. A bucket left alone for exactly 65,536 turns (12 days at a window of ten seconds)
/// would be read again, with counts that did not open the breaker when they were new.
#[inline]
fn tag(bucket: u64, generation: u32) -> u64 {
    ((bucket >> RING_BITS) & 0xffff) << 8 | u64::from(generation & 0xff)
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    fn at(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    #[test]
    fn counts_leave_after_ten_buckets() {
        let (policy, window) = (Settings::default().resolve().unwrap(), Window::new());
        window.add(&policy, 0, at(500), Tally::SILENT);
        window.add(&policy, 0, at(1_500), Tally::ANSWERED.slow(true));
        window.add(&policy, 0, at(2_500), Tally::SUCCESS);
        let counts = |ms| window.counts(&policy, 0, at(ms));
        assert_eq!(counts(9_900), Counts { calls: 3, answered: 1, silent: 1, slow: 1 });
        assert_eq!(counts(10_100), Counts { calls: 2, answered: 1, silent: 0, slow: 1 });
        assert_eq!(counts(12_100), Counts::default());
        window.add(&policy, 0, at(16_500), Tally::SUCCESS);
        assert_eq!(
            counts(16_600),
            Counts { calls: 1, ..Counts::default() },
            "the same place of the ring, a turn later"
        );
    }

    #[test]
    fn another_generation_reads_nothing() {
        let (policy, window) = (Settings::default().resolve().unwrap(), Window::new());
        window.add(&policy, 0, at(1), Tally::ANSWERED);
        assert_eq!(window.counts(&policy, 1, at(1)), Counts::default());
        window.add(&policy, 1, at(1), Tally::SUCCESS);
        assert_eq!(window.counts(&policy, 1, at(1)), Counts { calls: 1, ..Counts::default() });
        assert_eq!(window.counts(&policy, 0, at(1)), Counts::default());
    }

    #[test]
    fn a_full_bucket_keeps_its_ratio() {
        let (policy, window) = (Settings::default().resolve().unwrap(), Window::new());
        for call in 0..100_000 {
            let tally = [Tally::ANSWERED, Tally::SUCCESS, Tally::SILENT.slow(true), Tally::SUCCESS][call % 4];
            window.add(&policy, 0, at(1), tally);
        }
        let counts = window.counts(&policy, 0, at(1));
        assert!((512..=1_023).contains(&counts.calls), "{counts:?}");
        for part in [counts.answered, counts.silent, counts.slow] {
            let off = i64::from(part) * 4 - i64::from(counts.calls);
            assert!(off.abs() <= 8, "{counts:?}");
        }
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let (policy, window) = (Settings::default().resolve().unwrap(), Window::new());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..100).for_each(|_| window.add(&policy, 3, at(1), Tally::ANSWERED)));
            }
        });
        assert_eq!(window.counts(&policy, 3, at(1)), Counts { calls: 800, answered: 800, silent: 0, slow: 0 });
    }
}

//! Trial places, lent as leases: a caller that never reports cannot keep a breaker half-open for ever.
//!
//! A place is one word: 39 bits of the moment at which the lease ends (zero: returned), 8 of a number that makes each lease different from
//! the one before, 17 of the generation.

use crate::machine::{Moment, Status};
use crate::sync::{AtomicU64, Ordering};
use crate::word::is_before;
use quorate_core::Mono;
use std::time::Duration;

pub(crate) const PLACES: usize = crate::settings::TRIALS_MAX as usize;
const NUMBER_AT: u32 = Moment::BITS;
const NUMBER: u64 = 0xff;
const GENERATION_AT: u32 = u64::BITS - Status::GENERATION_BITS;

/// A place that was lent: where, and the word that stands there while the lease is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) place: u8,
    pub(crate) word: u64,
}

#[derive(Debug)]
pub(crate) struct Trials([AtomicU64; PLACES]);

fn end(word: u64) -> Moment {
    Moment(word & Moment::NEVER.0)
}

fn generation(word: u64) -> u32 {
    (word >> GENERATION_AT) as u32
}

fn is_out(word: u64, own: u32, now: Mono) -> bool {
    generation(word) == own && end(word) != Moment(0) && !end(word).reached(now)
}

impl Trials {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    /// Lends one of the first `places` for `lease`; `None` when all are out, or a later generation has begun.
    pub(crate) fn lend(&self, own: u32, places: u32, lease: Duration, now: Mono) -> Option<Lease> {
        for (place, cell) in self.0.iter().take(places as usize).enumerate() {
            let seen = cell.load(Ordering::Relaxed);
            if is_out(seen, own, now) {
                continue;
            }
            // Who is asked for a permit of a generation that has passed lends none in the present one.
            if is_before(own, generation(seen)) && end(seen) != Moment(0) {
                return None;
            }
            let number = (seen >> NUMBER_AT).wrapping_add(1) & NUMBER;
            let word = Moment::after(now, lease).0 | number << NUMBER_AT | u64::from(own) << GENERATION_AT;
            if cell.compare_exchange(seen, word, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Some(Lease { place: place as u8, word });
            }
        }
        None
    }

    /// Takes a place back. False when the lease had ended: then its outcome says nothing.
    pub(crate) fn take_back(&self, lease: Lease, now: Mono) -> bool {
        let Some(cell) = self.0.get(usize::from(lease.place)) else { return false };
        let returned = lease.word & !Moment::NEVER.0;
        let was_out = cell.compare_exchange(lease.word, returned, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        was_out && !end(lease.word).reached(now)
    }

    /// How many are out.
    pub(crate) fn out(&self, own: u32, now: Mono) -> u32 {
        self.0.iter().filter(|cell| is_out(cell.load(Ordering::Relaxed), own, now)).count() as u32
    }
}

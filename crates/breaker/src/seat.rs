//! Where a thread counts: in a shard of its own while there are some, then in one of those that are shared.
//!
//! An atomic read-modify-write is most of the price of a call (8 to 15 ns on a common server). A thread that is the only one to write a shard
//! needs none: it reads and writes. So the first threads that come take a seat each, the same in every breaker, and give it back when they end.

#[cfg(not(loom))]
use crate::sync::{AtomicU64, OWNED, Ordering, SHARDS};
#[cfg(not(loom))]
use std::cell::Cell;

/// A shard, and whether this thread alone writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) shard: usize,
    pub(crate) own: bool,
}

/// One bit for each owned shard that has an owner.
#[cfg(not(loom))]
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// Spreads the other threads over the shared shards.
#[cfg(not(loom))]
static NEXT: AtomicU64 = AtomicU64::new(0);

#[cfg(not(loom))]
const NONE: usize = usize::MAX;

#[cfg(not(loom))]
thread_local! {
    /// Without a destructor, so that it can be read to the very end of the thread.
    static SHARD: Cell<usize> = const { Cell::new(NONE) };
    static OWNERSHIP: Ownership = const { Ownership(Cell::new(NONE)) };
}

/// Gives the shard back when the thread ends.
#[cfg(not(loom))]
struct Ownership(Cell<usize>);

#[cfg(not(loom))]
impl Drop for Ownership {
    fn drop(&mut self) {
        let shard = self.0.get();
        if shard != NONE {
            SHARD.set(share());
            // Whoever takes the seat next sees all that was written from it.
            TAKEN.fetch_and(!(1 << shard), Ordering::Release);
        }
    }
}

/// The calling thread's seat.
#[cfg(not(loom))]
#[inline]
pub(crate) fn seat() -> Seat {
    let shard = SHARD.get();
    let shard = if shard == NONE { sit_down() } else { shard };
    Seat { shard, own: shard < OWNED }
}

#[cfg(loom)]
pub(crate) fn seat() -> Seat {
    Seat { shard: 0, own: false }
}

#[cfg(not(loom))]
#[cold]
fn sit_down() -> usize {
    let shard = OWNERSHIP.try_with(|ownership| {
        let free = (0..OWNED).find(|shard| TAKEN.fetch_or(1 << shard, Ordering::Acquire) & (1 << shard) == 0)?;
        ownership.0.set(free);
        Some(free)
    });
    let shard = shard.ok().flatten().unwrap_or_else(share);
    SHARD.set(shard);
    shard
}

#[cfg(not(loom))]
fn share() -> usize {
    OWNED + NEXT.fetch_add(1, Ordering::Relaxed) as usize % (SHARDS - OWNED)
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    #[test]
    fn an_owned_shard_has_one_owner_and_is_given_back() {
        for _ in 0..20 {
            let all_seated = Barrier::new(12);
            let seats: Vec<Seat> = std::thread::scope(|scope| {
                let sit = || {
                    let seat = seat();
                    all_seated.wait();
                    seat
                };
                let threads: Vec<_> = (0..12).map(|_| scope.spawn(sit)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let owned: Vec<_> = seats.iter().filter(|seat| seat.own).map(|seat| seat.shard).collect();
            assert_eq!(owned.iter().collect::<BTreeSet<_>>().len(), owned.len(), "{seats:?}");
            assert!(seats.iter().all(|seat| seat.shard < SHARDS && seat.own == (seat.shard < OWNED)));
        }
        // Hundreds of threads have come and gone by now; a seat is free unless the other tests hold all.
        assert!(TAKEN.load(Ordering::Relaxed) < 1 << OWNED);
    }
}

//! The atomics: those of the standard library, or loom's where `--cfg loom` explores every interleaving of them.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// Shards of a window. Loom's state space grows with every atomic, so it sees one.
#[cfg(not(loom))]
pub(crate) const SHARDS: usize = 8;
#[cfg(loom)]
pub(crate) const SHARDS: usize = 1;

/// Shards that one thread at a time has for itself; the others are shared. See [`crate::seat`].
#[cfg(not(loom))]
pub(crate) const OWNED: usize = 4;

/// Buckets in a shard's ring: a power of two, and more than a window covers.
#[cfg(not(loom))]
pub(crate) const RING: usize = 16;
#[cfg(loom)]
pub(crate) const RING: usize = 2;

/// Buckets that a window covers, the current one included.
#[cfg(not(loom))]
pub(crate) const COVERED: u64 = 10;
#[cfg(loom)]
pub(crate) const COVERED: u64 = 1;

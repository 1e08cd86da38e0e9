//! How the agent asks the system for memory: from few arenas.
//!
//! glibc gives each thread that allocates an arena of its own, up to eight for each processor, and what one of them has freed no other uses. An agent has
//! many threads that take turns (its workers, the readers', those of the store), and each turn leaves its peak behind: with 4,096 checks a third of
//! what the agent held was such leavings. Two arenas, one for the engine's threads and one for whoever comes beside them, are enough, as most
//! allocations are served from what each thread keeps for itself anyway.

/// How many.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: i32 = 2;

/// Bounds the arenas of this process, unless its environment says how many it wants (`MALLOC_ARENA_MAX`). To be called before there are other threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the system's allocator has no other door")]
pub fn share_arenas() {
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        // SAFETY: two integers are handed over, no memory; the allocator takes its own lock. One that refuses goes on as before.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
    }
}

/// Other allocators keep house themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn share_arenas() {}

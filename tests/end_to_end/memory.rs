//! What an agent asks of its host's memory. Only glibc has arenas.
#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]

use quorate_tests::{Agent, AgentSetup, Host, folder};

/// Arenas of glibc's allocator beside the first, by their mark in a process's map: 64 MiB from an address that is a multiple of them, of which a
/// first part is in use and the rest kept back.
fn arenas(map: &str) -> usize {
    const HEAP_BYTES: u64 = 64 << 20;
    let regions: Vec<(u64, u64, &str)> = map
        .lines()
        .filter_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (from, to) = range.split_once('-')?;
            let hex = |digits| u64::from_str_radix(digits, 16).ok();
            Some((hex(from)?, hex(to)?, rest.get(..4)?))
        })
        .collect();
    let heap = |two: &[(u64, u64, &str)]| {
        let [(from, to, used), (next, end, kept)] = two else { return false };
        from % HEAP_BYTES == 0 && to == next && end - from == HEAP_BYTES && (*used, *kept) == ("rw-p", "---p")
    };
    regions.windows(2).filter(|two| heap(two)).count()
}

#[test]
fn threads_share_their_arenas() {
    let folder = folder();
    let mut agent = Agent::new(&AgentSetup::new("agent-0", Host::loopback()), folder.path());
    agent.init();
    agent.start();
    agent.await_ready();
    let map = std::fs::read_to_string(format!("/proc/{}/maps", agent.process().id())).expect("its map");
    assert!(arenas(&map) <= 1, "{} arenas beside the first: {map}", arenas(&map));
}

//! No allocation on the path of a call: not while closed, not while rejected, not even while the breaker changes.
#![cfg(not(loom))]

use quorate_breaker::{Breaker, Fault, Outcome, Settings, State};
use quorate_core::Mono;
use std::sync::Arc;
use std::time::Duration;

fn at(ms: u64) -> Mono {
    Mono(ms * 1_000_000)
}

#[test]
fn nothing_is_allocated_by_calls() {
    let breaker = Breaker::new(Arc::new(Settings::default().resolve().unwrap()), 1);
    let mut states = [0u32; 3];
    let counted = allocation_counter::measure(|| {
        for ms in 0..200_000u64 {
            let now = at(ms);
            if let Ok(permit) = breaker.admit(now) {
                let failed = ms % 40_000 < 500;
                let outcome = if failed { Outcome::Failure(Fault::Silence) } else { Outcome::Success };
                breaker.record_timed(permit, outcome, Duration::from_millis(3), now);
            }
            states[breaker.state(now) as usize] += 1;
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    let [closed, half_open, open] = states;
    assert!(closed > 1_000 && half_open > 0 && open > 1_000, "all states were seen: {states:?}");
    assert_ne!(breaker.state(at(0)), State::HalfOpen);
    let counts = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(counts.count_total, 1, "the counter counts");
}

//! Waiting for a condition, and checking that one holds: never for luck.

use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Measures how long something took.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Looks until `condition` is `Ok`, and returns its value.
///
/// # Panics
/// When it is still `Err` after `limit`, with what it said last.
pub fn eventually<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match condition() {
            Ok(value) => return value,
            Err(state) if start.elapsed() > limit => {
                panic!("not within {:.1} s: {what}\n  last seen: {state}", limit.as_secs_f64())
            }
            Err(_) => sleep(LOOK_INTERVAL),
        }
    }
}

/// Looks for as long as `duration` whether `condition` stays `Ok`; returns how often it was looked at.
///
/// # Panics
/// As soon as it is `Err`.
pub fn holds_for(what: &str, duration: Duration, mut condition: impl FnMut() -> Result<(), String>) -> u32 {
    let start = Instant::now();
    let mut looks = 0;
    while start.elapsed() < duration {
        if let Err(state) = condition() {
            panic!("broken after {:.1} s: {what}\n  seen: {state}", start.elapsed().as_secs_f64());
        }
        looks += 1;
        sleep(LOOK_INTERVAL);
    }
    looks
}

/// What [`measured`] begins its lines with.
pub const MEASURED: &str = "measured: ";

/// Prints a figure past the test runner, which hides what tests print when they pass.
pub fn measured(figure: &str) {
    tell(&format!("{MEASURED}{figure}"));
}

/// Prints a line past the test runner.
pub fn tell(line: &str) {
    // Whether anyone can read it does not decide whether a test passes.
    let _unread = writeln!(std::io::stderr().lock(), "{line}");
}

//! The two clocks of the process.

use quorate_core::{Mono, Now, UnixMs};
use std::time::{Duration, Instant, SystemTime};

/// Monotonic time since the process began, and the wall's.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        Now { mono: self.mono(), wall: wall() }
    }

    /// The monotonic one.
    pub fn mono(&self) -> Mono {
        Mono(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The moment as the runtime's timers take it.
    pub fn instant(&self, at: Mono) -> Instant {
        self.start.checked_add(Duration::from_nanos(at.0)).unwrap_or_else(|| self.start + FAR)
    }
}

/// Beyond any run of the process.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The wall clock.
pub fn wall() -> UnixMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

//! The SWIM library's settings, by the size of the mesh.

use crate::config::Timing;
use foca::Config;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

/// Largest membership packet. A constant of the wire: the library also refuses to receive more.
pub(super) const MAX_SWIM_BYTES: usize = 1100;

/// The library's settings for a mesh of `size`, in integers: its own presets use floating-point logarithms, which differ by platform.
pub(super) fn config(size: usize, timing: &Timing) -> Config {
    let log_thousandths = log10_thousandths(size as u64 + 1);
    let transmissions = (4 * log_thousandths / 1000).clamp(2, 255);
    let suspicion_ms = timing.swim_period.as_millis() as u64 * 4 * log10_thousandths(size as u64).max(1000) / 1000;
    Config {
        probe_period: timing.swim_period,
        probe_rtt: timing.swim_rtt,
        num_indirect_probes: NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN),
        max_transmissions: NonZeroU8::new(transmissions as u8).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: Duration::from_millis(suspicion_ms),
        remove_down_after: None,
        max_packet_size: NonZeroUsize::new(MAX_SWIM_BYTES).unwrap_or(NonZeroUsize::MIN),
        notify_down_members: true,
        periodic_announce: None,
        periodic_announce_to_down_members: None,
        periodic_gossip: None,
    }
}

/// A thousand times the decimal logarithm, by linear interpolation between powers of two: at most 3 % off, the same everywhere.
pub(crate) fn log10_thousandths(n: u64) -> u64 {
    let Some(power) = n.checked_ilog2() else { return 0 };
    let floor = 1u64 << power;
    let fraction = (n - floor) * 1000 / floor;
    (u64::from(power) * 1000 + fraction) * 301 / 1000
}

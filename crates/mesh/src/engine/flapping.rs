//! What changes again and again is held down for longer and longer before it is up again.

use super::Engine;
use super::instance::Instance;
use crate::sabotage::Defect;
use quorate_core::{Mono, Verdict};
use std::time::Duration;

/// A flapping instance must first have been well for so long, with each further change for twice as long.
const FLAP_HOLD: Duration = Duration::from_secs(30);

impl Engine {
    /// Is `verdict` a return for which an instance that flaps must first be well for longer, without a break, in the eyes of who proposes it?
    pub(super) fn comes_too_soon(&self, instance: &Instance, verdict: Verdict) -> bool {
        // Whatever comes and goes faster than that stays down.
        let well_since = instance.watch.as_ref().and_then(|watch| watch.well_since);
        returns(instance, verdict)
            && self.hold_down(instance).is_some_and(|(last, hold)| {
                well_since.is_none_or(|since| self.lease_clock().since(since.max(last)) < hold)
            })
    }

    /// The same for who is to sign it: whoever has forgotten how often it changed would propose it at once. What a signer sees of it need not have been
    /// without a break.
    pub(super) fn returns_too_soon(&self, instance: &Instance, verdict: Verdict) -> bool {
        let held = |(last, hold)| self.lease_clock().since(last) < hold;
        returns(instance, verdict) && self.hold_down(instance).is_some_and(held)
    }

    /// When a flapping instance last changed, and how long it must be well after that, or since it is. No verdict that has grown too thin holds anything
    /// down: whoever comes anew does not believe it, and the two would show different ones all the while.
    fn hold_down(&self, instance: &Instance) -> Option<(Mono, Duration)> {
        if self.defective(Defect::NoHoldDown) {
            return None;
        }
        let timing = &self.config.timing;
        let changes = instance.recent_changes(self.lease_clock(), timing.flap_window);
        let excess = changes.checked_sub(self.flap_threshold(instance))?;
        if instance.certificate.as_ref().is_some_and(|certificate| self.is_thin(instance, certificate)) {
            return None;
        }
        let hold = FLAP_HOLD.saturating_mul(1 << excess.min(16)).min(timing.max_hold_down);
        Some((*instance.changes.back()?, hold))
    }

    pub(super) fn is_flapping(&self, instance: &Instance) -> bool {
        let changes = instance.recent_changes(self.lease_clock(), self.config.timing.flap_window);
        changes >= self.flap_threshold(instance)
    }

    /// Changes from which it is flapping. For a host half as many, its first `down` included: all instances on it hang on its verdict, and
    /// membership tells at once when its agent answers again.
    fn flap_threshold(&self, instance: &Instance) -> u32 {
        let threshold = self.config.timing.flap_threshold;
        if instance.is_host() { threshold.div_ceil(2) } else { threshold }
    }
}

/// Observers of whom none hears the others would else declare it down and partial in turn. What nothing stands of any more does not return: a host
/// whose certificate has grown too thin is held alive, and nobody watches it for long enough to see that it is well.
fn returns(instance: &Instance, verdict: Verdict) -> bool {
    let decided = instance.decided();
    let up = verdict == Verdict::Up && decided != Verdict::Starting;
    up || verdict != Verdict::Down && decided == Verdict::Down
}

//! What changes again and again is held down for longer and longer before it is up again.

use super::Engine;
use super::instance::Instance;
use crate::sabotage::Defect;
use quorate_core::Verdict;
use std::time::Duration;

/// A flapping instance must first have been well for so long, with each further change for twice as long.
const FLAP_HOLD: Duration = Duration::from_secs(30);

impl Engine {
    /// Is `verdict` a return for which an instance that flaps must first be well for longer? Who has forgotten how often it changed would propose it,
    /// so that nobody signs it, either.
    pub(super) fn comes_too_soon(&self, instance: &Instance, verdict: Verdict) -> bool {
        // Observers of whom none hears the others would else declare it down and partial in turn.
        let returns = verdict == Verdict::Up || verdict != Verdict::Down && instance.decided() == Verdict::Down;
        returns && self.held_down(instance)
    }

    /// A flapping instance must have been well without a break, for longer and longer before it is up again.
    pub(super) fn held_down(&self, instance: &Instance) -> bool {
        if self.defective(Defect::NoHoldDown) {
            return false;
        }
        let timing = &self.config.timing;
        let now = self.lease_clock();
        let changes = instance.recent_changes(now, timing.flap_window);
        let (Some(last), Some(excess)) = (instance.changes.back(), changes.checked_sub(self.flap_threshold(instance)))
        else {
            return false;
        };
        let hold = FLAP_HOLD.saturating_mul(1 << excess.min(16)).min(timing.max_hold_down);
        // Whatever comes and goes faster than that stays down.
        let well_since = instance.watch.as_ref().and_then(|watch| watch.well_since);
        well_since.is_none_or(|since| now.since(since.max(*last)) < hold)
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

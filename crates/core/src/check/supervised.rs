//! Checks that ask whoever runs the instance on its host: a container engine, or systemd. Only the home agent can make them.

use super::{Errors, Level, clip, limits};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How much of its host an instance may use, and how often it may be restarted, before its check says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageLimits {
    /// More processor time than this, in percent of what it may use, is worth a warning.
    pub max_cpu_percent: Option<Level>,
    /// More memory than this, in percent of its limit, is.
    pub max_memory_percent: Option<Level>,
    /// More restarts than this within the window fail the probe.
    pub max_restart_count: u32,
    /// The window in which restarts are counted.
    pub restart_window: Duration,
}

impl Default for UsageLimits {
    /// The limits of the health-monitoring guide.
    fn default() -> Self {
        Self {
            max_cpu_percent: Level::new(90.0),
            max_memory_percent: Level::new(90.0),
            max_restart_count: 5,
            restart_window: Duration::from_secs(600),
        }
    }
}

impl UsageLimits {
    fn validate(&self, errors: &mut Errors) {
        for (key, level) in [("max_cpu_percent", self.max_cpu_percent), ("max_memory_percent", self.max_memory_percent)]
        {
            errors.rule(key, level.is_none_or(|level| level.value() > 0.0 && level.value() <= 100.0), || {
                "is not a share in percent: more than 0, at most 100".to_owned()
            });
        }
        errors.rule("max_restart_count", self.max_restart_count <= limits::MAX_RESTARTS, || {
            format!("{} is not allowed; use 0 to {}", self.max_restart_count, limits::MAX_RESTARTS)
        });
        let span = Duration::from_secs(1)..=limits::MAX_DURATION;
        errors.rule("restart_window", span.contains(&self.restart_window), || {
            format!("{:?} is not allowed; use 1s to 24h", self.restart_window)
        });
    }
}

/// Settings of a check of a container, through the API of Docker's engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerCheck {
    /// Its name or id.
    pub container: String,
    /// What it may use.
    pub limits: UsageLimits,
}

impl ContainerCheck {
    pub(super) fn validate(&self, errors: &mut Errors) {
        // As Docker names containers.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        let fine = (1..=limits::MAX_NAME_BYTES).contains(&self.container.len()) && self.container.bytes().all(plain);
        errors.rule("container", fine, || {
            format!("{:?} is not a container's name or id: letters, digits, `_`, `.` and `-`", clip(&self.container))
        });
        self.limits.validate(errors);
    }
}

/// Settings of a check of a systemd unit, over D-Bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemdCheck {
    /// Its whole name, such as `nginx.service`.
    pub unit: String,
    /// What it may use; systemd counts restarts, processor time and memory of services alone.
    pub limits: UsageLimits,
}

impl SystemdCheck {
    /// The types of units (systemd.unit(5)): what follows the last dot of a unit's name.
    pub const TYPES: &'static [&'static str] =
        &["service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope"];

    /// Is it a service? Of other units only the state is known.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.unit.ends_with(".service")
    }

    pub(super) fn validate(&self, errors: &mut Errors) {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
        let named = self.unit.rsplit_once('.').filter(|(name, kind)| !name.is_empty() && Self::TYPES.contains(kind));
        let fine = self.unit.len() <= limits::MAX_NAME_BYTES && self.unit.bytes().all(plain);
        // A template is no unit before it has an instance.
        let whole = named.is_some_and(|(name, _)| !name.ends_with('@') && !name.starts_with('@'));
        errors.rule("unit", fine && whole, || {
            format!("{:?} is not a unit's name, such as nginx.service or worker@1.service", clip(&self.unit))
        });
        self.limits.validate(errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_a_name_and_a_type() {
        let faults = |unit: &str| {
            let mut errors = Errors(Vec::new());
            SystemdCheck { unit: unit.to_owned(), limits: UsageLimits::default() }.validate(&mut errors);
            errors.0.len()
        };
        for good in ["nginx.service", "worker@1.service", "dev-sda1.swap", "a\\x2db.mount", "backup.timer"] {
            assert_eq!(faults(good), 0, "{good}");
        }
        for bad in
            ["", "nginx", ".service", "nginx.conf", "worker@.service", "@1.service", "a b.service", "a/b.service"]
        {
            assert_eq!(faults(bad), 1, "{bad}");
        }
        assert_eq!(faults(&format!("{}.service", "x".repeat(248))), 1, "255 bytes at most");
    }
}

//! The thresholds of detection, one set per service.

use super::event::Severity;
use crate::check::Level;
use crate::evidence::FailureType;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When outcomes become failure events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// What is counted, and for how long.
    pub window: Duration,
    /// More failed probes than this, in percent of those in the window, are a high error rate.
    pub max_error_rate_percent: Level,
    /// Fewer probes than this in the window have no rate.
    pub min_volume: u32,
    /// So many failures of one type in a row make it a step graver.
    pub consecutive_failure_limit: u32,
    /// So many probes in a row that were connected and not answered are a deadlock, unless the processor is busy; none: not looked for.
    pub deadlock_rounds: Option<u32>,
    /// Memory that has only grown for so long, by a tenth at least, is a leak; none: not looked for.
    pub memory_leak_window: Option<Duration>,
    /// So many changes between success and failure, in percent of those possible among the last [`Rules::FLAP_RESULTS`] results, are flapping; it ends
    /// below half of that.
    pub flap_percent: u32,
    /// Severities that differ from [`Severity::of`].
    pub severities: Vec<(FailureType, Severity)>,
}

impl Default for Rules {
    /// Those of the monitoring guide; deadlock and leak are guesses, and therefore off.
    fn default() -> Self {
        Self {
            window: Duration::from_secs(600),
            max_error_rate_percent: Level::new(5.0).unwrap_or_default(),
            min_volume: 5,
            consecutive_failure_limit: 3,
            deadlock_rounds: None,
            memory_leak_window: None,
            flap_percent: 50,
            severities: Vec::new(),
        }
    }
}

impl Rules {
    /// Results among which changes are counted.
    pub const FLAP_RESULTS: usize = 21;
    /// Longest window.
    pub const MAX_WINDOW: Duration = Duration::from_secs(24 * 3600);

    /// Each rule that is broken, by its key, with what would be right.
    #[must_use]
    pub fn validate(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        let mut rule = |key, holds: bool, message: String| {
            if !holds {
                errors.push((key, message));
            }
        };
        let spans = Duration::from_secs(1)..=Self::MAX_WINDOW;
        rule("window", spans.contains(&self.window), format!("{:?} is not allowed; use 1s to 24h", self.window));
        let leak = self.memory_leak_window;
        let leak_fits = leak.is_none_or(|leak| (Duration::from_secs(60)..=Self::MAX_WINDOW).contains(&leak));
        rule(
            "memory_leak_window",
            leak_fits,
            format!("{:?} is not allowed; use 1min to 24h", leak.unwrap_or_default()),
        );
        let rate = self.max_error_rate_percent.value();
        rule("max_error_rate_percent", (0.0..=100.0).contains(&rate), format!("{rate} is not a share; use 0 to 100"));
        let count = |n: u32| (1..=1000).contains(&n);
        for (key, n) in [("min_volume", self.min_volume), ("consecutive_failure_limit", self.consecutive_failure_limit)]
        {
            rule(key, count(n), format!("{n} is not allowed; use 1 to 1000"));
        }
        let rounds = self.deadlock_rounds.unwrap_or(1);
        rule("deadlock_rounds", count(rounds), format!("{rounds} is not allowed; use 1 to 1000"));
        let flap = (1..=100).contains(&self.flap_percent);
        rule("flap_percent", flap, format!("{} is not a share; use 1 to 100", self.flap_percent));
        rule("severities", self.severities.len() <= FailureType::ALL.len(), "names a type twice".to_owned());
        errors
    }

    /// How grave a failure of this type is by itself.
    #[must_use]
    pub fn severity(&self, failure: FailureType) -> Severity {
        let named = self.severities.iter().find(|(of, _)| *of == failure);
        named.map_or_else(|| Severity::of(failure), |(_, severity)| *severity)
    }
}

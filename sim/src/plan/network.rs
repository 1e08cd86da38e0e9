//! What packets go through when nothing is wrong.

use super::check::{MAX_TRAVEL_US, loss_fits};
use super::is_default;
use crate::time::Span;
use anyhow::bail;
use serde::{Deserialize, Serialize};

/// What packets go through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkPlan {
    /// Shortest and longest one-way travel, in microseconds; median and 99th percentile when lognormal.
    pub latency_us: [u64; 2],
    /// How travels are spread.
    #[serde(skip_serializing_if = "is_default")]
    pub distribution: Distribution,
    /// Microseconds added from each zone (row) to each (column); none when empty.
    #[serde(skip_serializing_if = "is_default")]
    pub between_zones_us: Vec<Vec<u64>>,
    /// Packets lost, of a thousand.
    pub loss_per_mille: u32,
    /// A dial gives up after this long.
    pub dial_timeout: Span,
    /// A link that hears nothing for this long is closed.
    pub idle_timeout: Span,
    /// What a handshake takes beside its travels.
    #[serde(skip_serializing_if = "is_default")]
    pub setup: Span,
    /// Do the messages of a link arrive in the order in which they were sent?
    #[serde(skip_serializing_if = "is_default")]
    pub ordered: bool,
}

/// How travels are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Evenly between the shortest and the longest.
    #[default]
    Uniform,
    /// As in real networks: most close to the median, and a long tail.
    Lognormal,
}

impl Default for NetworkPlan {
    fn default() -> Self {
        Self {
            latency_us: [250, 750],
            distribution: Distribution::default(),
            between_zones_us: Vec::new(),
            loss_per_mille: 0,
            dial_timeout: Span::secs(2),
            idle_timeout: Span::secs(10),
            setup: Span::default(),
            ordered: false,
        }
    }
}

impl NetworkPlan {
    pub(super) fn check(&self, zones: usize) -> anyhow::Result<()> {
        let matrix = &self.between_zones_us;
        if !matrix.is_empty() && (matrix.len() != zones || matrix.iter().any(|row| row.len() != zones)) {
            bail!("network.between_zones_us: must have {zones} rows of {zones} numbers, as many as mesh.zones");
        }
        if matrix.iter().flatten().any(|us| *us > MAX_TRAVEL_US) {
            bail!("network.between_zones_us: at most {MAX_TRAVEL_US}");
        }

        let [low, high] = self.latency_us;
        if low == 0 || low > high || high > MAX_TRAVEL_US {
            bail!("network.latency_us: [{low}, {high}] is not [SHORTEST, LONGEST] within 1 to {MAX_TRAVEL_US}");
        }
        for (key, timeout) in [("dial_timeout", self.dial_timeout), ("idle_timeout", self.idle_timeout)] {
            if timeout.0.is_zero() {
                bail!("network.{key}: must be longer than nothing");
            }
        }
        loss_fits("network.loss_per_mille", self.loss_per_mille)
    }
}

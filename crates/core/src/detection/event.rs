//! A failure event and its severity.

use crate::evidence::{FailureType, words};
use crate::id::{InstanceId, ServiceName};
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

words!(
    /// How grave a failure is.
    Severity {
        /// Worth noting.
        Low = "low",
        /// Worth a look today.
        Medium = "medium",
        /// Worth a look now.
        High = "high",
        /// Something is down.
        Critical = "critical",
    }
);

impl Severity {
    /// That of a failure type by itself: stopped and killed for memory are critical, what fails again and again is high, what is slow is medium.
    #[must_use]
    pub fn of(failure: FailureType) -> Self {
        match failure {
            FailureType::ContainerStopped | FailureType::ContainerOomKilled => Self::Critical,
            FailureType::ApplicationStartupFailed | FailureType::ContainerRestartLoop => Self::High,
            FailureType::HealthCheckTimeout
            | FailureType::HighResponseTime
            | FailureType::HighErrorRate
            | FailureType::HighResourceUsage
            | FailureType::ApplicationDeadlock
            | FailureType::ApplicationMemoryLeak => Self::Medium,
            FailureType::HealthCheckFailed
            | FailureType::HealthCheckError
            | FailureType::NetworkUnreachable
            | FailureType::PortNotListening
            | FailureType::DnsResolutionFailed => Self::Low,
        }
    }

    /// One step graver, at most high: critical is what a type is by itself.
    #[must_use]
    pub fn raised(self) -> Self {
        match self {
            Self::Low => Self::Medium,
            Self::Medium | Self::High => Self::High,
            Self::Critical => Self::Critical,
        }
    }
}

/// Something failed, in the eyes of one observer. The names are those of the monitoring guide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureEvent {
    /// What kind of failure.
    pub failure_type: FailureType,
    /// Of which instance.
    pub instance_id: InstanceId,
    /// Of which service.
    pub app_name: ServiceName,
    /// How grave.
    pub severity: Severity,
    /// For people.
    pub message: String,
    /// Numbers and words behind it, by name; all as text.
    pub details: BTreeMap<String, String>,
    /// When, by the observer's wall clock.
    pub timestamp: UnixMs,
    /// How many probes in a row ended with this type, this one included.
    pub consecutive_count: u32,
    /// How many within the window did.
    pub total_count: u32,
    /// When the first of those was.
    pub first_occurrence: UnixMs,
}

impl FailureEvent {
    /// From so many in a row on, any failure is critical.
    pub const CRITICAL_CONSECUTIVE: u32 = 5;

    /// Does it need someone at once?
    #[must_use]
    pub fn is_critical(&self) -> bool {
        let by_type = matches!(
            self.failure_type,
            FailureType::ContainerStopped | FailureType::ContainerOomKilled | FailureType::ApplicationStartupFailed
        );
        by_type || self.severity == Severity::Critical || self.consecutive_count >= Self::CRITICAL_CONSECUTIVE
    }
}

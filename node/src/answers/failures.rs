//! What an agent saw of an instance's failures. The names are those of the monitoring guide.

use super::schema;
use quorate_core::{FailureType, InstanceId, ServiceName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `/v1/instances/{instance}/failures`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailuresAnswer {
    /// Whose failures.
    #[schemars(with = "schema::InstanceId")]
    pub instance_id: InstanceId,
    /// Its service.
    #[schemars(with = "schema::ServiceName")]
    pub app_name: ServiceName,
    /// The agent that answers, and speaks for itself alone.
    pub observer: String,
    /// Has it probed the instance? If not, everything else is empty.
    pub observed: bool,
    /// Who has.
    pub observers: Vec<String>,
    /// Does it change often between success and failure?
    pub flapping: bool,
    /// Changes between the last results, in percent of what is possible.
    pub flap_percent: u32,
    /// In which counts are made.
    pub window_ms: u64,
    /// Probes within it.
    pub probes: u32,
    /// Failed ones among them.
    pub failed: u32,
    /// What failed without a break; none after a success.
    pub consecutive: Option<ConsecutiveAnswer>,
    /// The last failures, at most 50, newest first.
    pub failures: Vec<FailureAnswer>,
    /// The last results, at most 100, newest first.
    pub results: Vec<ResultAnswer>,
}

/// Failures of one type in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConsecutiveAnswer {
    /// The type.
    #[schemars(with = "schema::FailureType")]
    pub failure_type: FailureType,
    /// How many.
    pub count: u32,
}

/// One failure event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureAnswer {
    /// What kind of failure.
    #[schemars(with = "schema::FailureType")]
    pub failure_type: FailureType,
    /// `low`, `medium`, `high` or `critical`.
    pub severity: String,
    /// Does it need someone at once?
    pub is_critical: bool,
    /// For people.
    pub message: String,
    /// What stands behind it, by name.
    pub details: BTreeMap<String, String>,
    /// When.
    pub timestamp: String,
    /// How many of this type in a row, this one included.
    pub consecutive_count: u32,
    /// How many of this type within the window.
    pub total_count: u32,
    /// When the first of those was.
    pub first_occurrence: String,
}

/// A failure event with whom it is about: what `/v1/events` tells as `failure`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureEventAnswer {
    /// Of which instance.
    #[schemars(with = "schema::InstanceId")]
    pub instance_id: InstanceId,
    /// Of which service.
    #[schemars(with = "schema::ServiceName")]
    pub app_name: ServiceName,
    /// What failed.
    #[serde(flatten)]
    pub failure: FailureAnswer,
}

/// One probe in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResultAnswer {
    /// When it ended.
    pub timestamp: String,
    /// `pass`, `protected`, `warn` or `fail`.
    pub result: String,
    /// How long it took.
    pub response_time_ms: u64,
    /// What failed, or what was worth a warning.
    #[schemars(with = "Option<schema::FailureType>")]
    pub failure_type: Option<FailureType>,
}

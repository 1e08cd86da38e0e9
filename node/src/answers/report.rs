//! What has been, in numbers.

use super::{ViewAnswer, schema};
use quorate_core::{AgentId, InstanceId, ServiceName, Zone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /v1/reports/{service}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReportAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// The service.
    #[schemars(with = "schema::ServiceName")]
    pub app_name: ServiceName,
    /// The time reported on, in hours: a whole number of them unless `minutes` asked for something else.
    #[serde(serialize_with = "short")]
    pub report_period_hours: f64,
    /// The part of the time in which its instances were up, of the time in which they were up or down; null when nothing is known.
    pub uptime_percent: Option<f64>,
    /// Probes by the answering agent.
    pub total_health_checks: u64,
    /// Of these, passed.
    pub successful_checks: u64,
    /// Of these, failed.
    pub failed_checks: u64,
    /// The mean response time of those that passed; null without one.
    pub avg_response_time_ms: Option<f64>,
    /// The time that half of them did not exceed, as the upper bound of its range; null without one.
    pub p50_response_time_ms: Option<f64>,
    /// The same of 95 of 100.
    pub p95_response_time_ms: Option<f64>,
    /// The same of 99 of 100.
    pub p99_response_time_ms: Option<f64>,
    /// Failed probes by type.
    pub error_breakdown: BTreeMap<String, u64>,
    /// When this was made.
    pub generated_at: String,
    /// How many probes the response times are of.
    pub sample_count: u64,
    /// The uptime of the last hour, day, week, month and quarter, by `1h`, `24h`, `7d`, `30d`, `90d`; null where nothing is known.
    pub uptime_windows: BTreeMap<String, Option<f64>>,
    /// The part of each of these windows that its uptime is of, 0 to 1: less than 1 where the service is younger, or time does not count.
    pub window_coverage: BTreeMap<String, f64>,
    /// What the service is held to.
    pub slo: SloAnswer,
    /// Each instance.
    pub instances: Vec<InstanceReport>,
    /// Its probes over time, oldest first: buckets of five minutes, or of an hour when the time is longer than two days.
    pub samples: Vec<SampleAnswer>,
    /// Each agent that observes it now, as far as the answering agent has heard it.
    pub observers: Vec<ObserverReport>,
    /// The times in which an instance was down, the newest first, at most 1,000.
    pub incidents: Vec<IncidentAnswer>,
}

/// A whole number is written without a fraction.
#[allow(
    clippy::cast_possible_truncation,
    clippy::trivially_copy_pass_by_ref,
    reason = "hours are few; serde hands over a reference"
)]
fn short<S: serde::Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 && number.abs() < 1e9 {
        serializer.serialize_i64(*number as i64)
    } else {
        serializer.serialize_f64(*number)
    }
}

/// What a service is held to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SloAnswer {
    /// The part of the time in which it is to be up: 0.995 unless `service.slo.objective` says otherwise.
    pub objective: f64,
    /// The part of the error budget of the last 30 days that is left, less than zero when it is overspent; null when nothing is known.
    pub error_budget_remaining: Option<f64>,
    /// The time of these 30 days that the budget's uptime is of, of each instance on average; the rest is not known, or does not count.
    pub known_ms: u64,
    /// The same as a part of the 30 days, 0 to 1.
    pub coverage: f64,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceReport {
    /// Which.
    #[schemars(with = "schema::InstanceId")]
    pub instance: InstanceId,
    /// As for the service.
    pub uptime_percent: Option<f64>,
    /// Time it was up.
    pub up_ms: u64,
    /// Time it was down.
    pub down_ms: u64,
    /// Probes by the answering agent.
    pub total_health_checks: u64,
    /// Of these, passed.
    pub successful_checks: u64,
    /// As for the service.
    pub avg_response_time_ms: Option<f64>,
    /// As for the service.
    pub p50_response_time_ms: Option<f64>,
    /// As for the service.
    pub p95_response_time_ms: Option<f64>,
    /// As for the service.
    pub p99_response_time_ms: Option<f64>,
}

/// One observer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObserverReport {
    /// Who.
    #[schemars(with = "schema::AgentId")]
    pub agent: AgentId,
    /// Its name.
    pub name: String,
    /// Its failure domain.
    #[schemars(with = "schema::Zone")]
    pub zone: Zone,
    /// Instances that it observes.
    pub instances: usize,
    /// The part of the time in which it voted `pass` or `warn`, of the time in which it voted these or `fail`; null when it has not.
    pub pass_percent: Option<f64>,
    /// Time in which it voted `pass` or `warn`, of all its instances together.
    pub pass_ms: u64,
    /// Time in which it voted `fail`.
    pub fail_ms: u64,
    /// Its probes; null for others than the answering agent, whose own reports tell them.
    pub total_health_checks: Option<u64>,
    /// Of these, passed.
    pub successful_checks: Option<u64>,
}

/// Probes by the answering agent within a bucket of time, of all instances together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SampleAnswer {
    /// When the bucket begins.
    pub from: String,
    /// How long it is.
    pub span_ms: u64,
    /// Probes.
    pub total_health_checks: u64,
    /// Of these, passed.
    pub successful_checks: u64,
    /// As for the service.
    pub avg_response_time_ms: Option<f64>,
    /// As for the service.
    pub p50_response_time_ms: Option<f64>,
    /// As for the service.
    pub p95_response_time_ms: Option<f64>,
    /// As for the service.
    pub p99_response_time_ms: Option<f64>,
}

/// A time in which an instance was down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentAnswer {
    /// Which.
    #[schemars(with = "schema::InstanceId")]
    pub instance: InstanceId,
    /// What was broken.
    pub class: Option<String>,
    /// Since when.
    pub from: String,
    /// Until when; null while it lasts.
    pub to: Option<String>,
    /// How long, until now while it lasts.
    pub duration_ms: u64,
}

/// `GET /v1/reports/{service}/metrics`: what the answering agent measured, as records under the guide's names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MeasurementsAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// The service.
    #[schemars(with = "schema::ServiceName")]
    pub app_name: ServiceName,
    /// How far back.
    pub window_minutes: u64,
    /// The records: by instance, and of each the oldest first.
    pub metrics: Vec<MeasurementAnswer>,
    /// What to give as `after` for the next page; null on the last.
    pub next: Option<String>,
}

/// One record: what came of the probes of one instance within a bucket of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MeasurementAnswer {
    /// The service.
    #[schemars(with = "schema::ServiceName")]
    pub app_name: ServiceName,
    /// What was measured.
    pub metric_type: MetricType,
    /// The mean response time, the part of the probes that passed (1 when all did), or how many failed so.
    #[serde(serialize_with = "short")]
    pub value: f64,
    /// `ms`, `status` or `count`.
    pub unit: MetricUnit,
    /// `instance_id`, and by what is measured `check_type`, `success`, `error_type` and `status_code`, which is `none` where no status came.
    pub labels: BTreeMap<String, String>,
    /// When the bucket begins.
    pub timestamp: String,
    /// How long it is.
    pub span_ms: u64,
    /// How many probes the value is of.
    pub sample_count: u64,
}

/// What is measured of probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum MetricType {
    /// How many failed, by type and status.
    #[serde(rename = "health_check_errors")]
    Errors,
    /// How long they took.
    #[serde(rename = "health_check_response_time")]
    ResponseTime,
    /// Whether they passed.
    #[serde(rename = "health_check_status")]
    Status,
}

impl MetricType {
    /// All of them, in the order of their words.
    pub const ALL: [Self; 3] = [Self::Errors, Self::ResponseTime, Self::Status];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "health_check_errors",
            Self::ResponseTime => "health_check_response_time",
            Self::Status => "health_check_status",
        }
    }

    /// In what it is told.
    pub fn unit(self) -> MetricUnit {
        match self {
            Self::Errors => MetricUnit::Count,
            Self::ResponseTime => MetricUnit::Ms,
            Self::Status => MetricUnit::Status,
        }
    }
}

/// In what a measurement is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricUnit {
    /// Milliseconds.
    Ms,
    /// 1 is well, 0 is not.
    Status,
    /// A number of failures.
    Count,
}

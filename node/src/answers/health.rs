//! Answers about this agent's own health, in the forms that others expect.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /health`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentHealthAnswer {
    /// `ok` when all checks are.
    pub status: AgentHealthStatus,
    /// Each check.
    pub checks: BTreeMap<String, AgentHealthStatus>,
}

/// How an agent, or one of its checks, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentHealthStatus {
    /// Well.
    Ok,
    /// Not well.
    Degraded,
}

/// `GET /ready`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReadyAnswer {
    /// `healthy` when all checks are.
    pub status: ReadyStatus,
    /// Each check.
    pub checks: BTreeMap<String, ReadyCheck>,
}

/// May others rely on it?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadyStatus {
    /// They may.
    Healthy,
    /// They may not.
    Unhealthy,
}

/// One check of readiness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReadyCheck {
    /// How it is.
    pub status: ReadyStatus,
    /// How long it took; left out where there is nothing to measure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// `GET /health` as `application/health+json`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthJsonAnswer {
    /// The worst of the checks.
    pub status: HealthJsonStatus,
    /// The version of the API.
    pub version: String,
    /// The version of the agent.
    pub release_id: String,
    /// The agent.
    pub service_id: String,
    /// What this is.
    pub description: String,
    /// What is wrong; empty when nothing is.
    pub output: String,
    /// By component and measurement.
    pub checks: BTreeMap<String, Vec<HealthJsonCheck>>,
}

/// How something is, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthJsonStatus {
    /// Well.
    Pass,
    /// Works, with concerns.
    Warn,
    /// Does not work.
    Fail,
}

/// One check in `application/health+json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthJsonCheck {
    /// Always `component`.
    pub component_type: String,
    /// How it is.
    pub status: HealthJsonStatus,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_value: Option<f64>,
    /// In which unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_unit: Option<String>,
    /// When.
    pub time: String,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// `GET /ops/status`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpsStatusAnswer {
    /// When.
    pub timestamp: String,
    /// By name.
    pub services: BTreeMap<String, OpsStatus>,
}

/// How a service is, to those who only want to know whether it can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpsStatus {
    /// It answers.
    Up,
    /// It answers, and asks who is there.
    Protected,
    /// It does not, or nobody can say.
    Down,
}

/// `GET /health/queues`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueuesAnswer {
    /// When.
    pub timestamp: String,
    /// By name.
    #[serde(flatten)]
    pub queues: BTreeMap<String, QueueAnswer>,
}

/// `GET /health/queues/{queue}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueueAnswer {
    /// `degraded` while work waits.
    pub health: QueueHealth,
    /// Since the start of the agent.
    pub metrics: QueueMetrics,
}

/// How a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueueHealth {
    /// Nothing waits.
    Healthy,
    /// Something does.
    Degraded,
}

/// A queue in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueMetrics {
    /// Begun or waiting.
    pub total_requests: u64,
    /// Ended well.
    pub completed_requests: u64,
    /// Ended otherwise.
    pub failed_requests: u64,
    /// Waiting now.
    pub queue_size: u64,
    /// Running now.
    pub pending_requests: u64,
    /// Milliseconds; null before anything waited.
    pub average_wait_time: Option<f64>,
    /// Milliseconds; null before anything ended.
    pub average_execution_time: Option<f64>,
}

/// `GET /health/cache`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CachesAnswer {
    /// When.
    pub timestamp: String,
    /// Names of hosts and their addresses.
    pub dns: CacheAnswer,
    /// Answers of the API to whoever asks the same of the same picture.
    pub answers: CacheAnswer,
}

/// A cache in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheAnswer {
    /// Found.
    pub hits: u64,
    /// Not found.
    pub misses: u64,
    /// The share of hits, 0 to 1; null before anything was looked up.
    pub hit_rate: Option<f64>,
}

/// One group of `GET /v1/sd/prometheus`, as Prometheus' HTTP service discovery takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetGroup {
    /// `HOST:PORT`.
    pub targets: Vec<String>,
    /// For relabelling.
    pub labels: BTreeMap<String, String>,
}

/// `GET /health/integrations`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IntegrationsAnswer {
    /// `degraded` while one of them is.
    pub status: AgentHealthStatus,
    /// When.
    pub timestamp: String,
    /// By name: `containers` (the container engine), `history` (the store), `load_balancers` (agent-checks), `names` (the name server).
    pub integrations: BTreeMap<String, IntegrationAnswer>,
}

/// Something that the agent works with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IntegrationAnswer {
    /// How it is.
    pub status: IntegrationStatus,
    /// How long it took to answer; null when it was not asked.
    pub latency_ms: Option<f64>,
    /// What is wrong, or where it listens.
    pub detail: Option<String>,
}

/// How an integration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntegrationStatus {
    /// It works.
    Ok,
    /// It does not.
    Degraded,
    /// It is not configured.
    Off,
}

/// `GET /api/metrics/pools`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PoolsAnswer {
    /// When.
    pub timestamp: String,
    /// By name: `probes`, `api_connections`, `event_streams`, `waiting_requests`, `store`.
    pub pools: BTreeMap<String, PoolAnswer>,
}

/// A pool in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PoolAnswer {
    /// Its places.
    pub size: u64,
    /// Of these, taken now.
    pub checkouts: u64,
    /// Waiting for one.
    pub overflow: u64,
    /// The share that is taken, 0 to 1.
    pub usage_ratio: f64,
}

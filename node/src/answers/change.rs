//! What changes ask for and answer.

use super::schema;
use quorate_core::{AgentId, InstanceId, IntentKind, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The body of `PUT /v1/instances/{instance}`: a registration, in the words of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RegisterRequest {
    /// Its service.
    #[schemars(with = "schema::ServiceName")]
    pub service: String,
    /// `HOST:PORT` or `HOST`; the agent's own address and the check's port when absent.
    pub address: Option<String>,
    /// Where it is; in its home agent's zone when absent.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,58}$"))]
    pub zone: Option<String>,
    /// How it is probed, with the keys of `[service.check]`.
    #[serde(default)]
    pub check: Map<String, Value>,
    /// What its service is held to, with the keys of `[service.slo]`.
    #[serde(default)]
    pub slo: Map<String, Value>,
    /// How many agents probe it.
    pub observers: Option<u32>,
    /// Its share of the traffic, 0 to 1000; 100 when absent.
    #[schemars(range(min = 0, max = 1000))]
    pub weight: Option<u32>,
    /// Words by which it is found.
    #[serde(default)]
    #[schemars(length(max = 16), inner(regex(pattern = r"^[A-Za-z0-9_.:=/-]{1,64}$")))]
    pub tags: Vec<String>,
    /// It is withdrawn unless it is registered again within this duration, such as `30s`.
    pub ttl: Option<String>,
}

/// An instance was changed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ChangedAnswer {
    /// Which.
    #[schemars(with = "schema::InstanceId")]
    pub instance: InstanceId,
}

/// What can be wanted of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// No new traffic.
    Draining,
    /// It is worked on.
    Maintenance,
}

impl From<Wish> for IntentKind {
    fn from(wish: Wish) -> Self {
        match wish {
            Wish::Draining => Self::Draining,
            Wish::Maintenance => Self::Maintenance,
        }
    }
}

impl From<IntentKind> for Wish {
    fn from(kind: IntentKind) -> Self {
        match kind {
            IntentKind::Draining => Self::Draining,
            IntentKind::Maintenance => Self::Maintenance,
        }
    }
}

/// The body of `PUT /v1/instances/{instance}/intent`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntentRequest {
    /// What is wanted.
    pub kind: Wish,
    /// Who wants it; the token's name when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// For how long, such as `2h`; until it is taken back when absent.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
}

/// What an operator wants of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IntentAnswer {
    /// What.
    pub kind: Wish,
    /// Who.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: String,
    /// Until when; null: until it is taken back.
    pub until: Option<String>,
}

/// `DELETE /v1/members/{member}`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ForgetAnswer {
    /// Whom.
    #[schemars(with = "schema::AgentId")]
    pub agent: AgentId,
    /// The mesh's verdict on its host.
    #[schemars(with = "schema::Verdict")]
    pub host: Verdict,
    /// It is forgotten only once a quorum has found its host down.
    pub waits: bool,
}

/// `POST /v1/agent/leave`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LeaveAnswer {
    /// Who has left.
    #[schemars(with = "schema::AgentId")]
    pub agent: AgentId,
    /// Its name.
    pub name: String,
    /// More than half of the mesh has agreed that it no longer counts. If not, whoever has not heard of it takes it for failed.
    pub agreed: bool,
    /// It is noted in its data directory, so that its next start does not bring it back.
    pub noted: bool,
}

//! Every answer of the HTTP API as a type, for the agent that writes it and for the commands that read it.
//!
//! Times are RFC 3339 in UTC; durations are integers with the unit in the name. `docs/http-api.md` shows each answer.

mod event;
mod instance;

pub use event::{ChangeAnswer, EventAnswer, EventWhat, EventsAnswer};
pub use instance::{
    CertificateAnswer, CheckAnswer, EndorsementAnswer, InstanceAnswer, InstanceSummary, InstancesAnswer, LocalProbe,
    ObserverAnswer, PhaseTimings, VoteCounts,
};

use quorate_core::{AgentId, Class, InstanceId, ServiceName, Verdict, Zone};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who answers, and how far its word goes. Part of every `/v1` answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewAnswer {
    /// The answering agent.
    pub agent: AgentId,
    /// Its name.
    pub name: String,
    /// The mesh, by the hash of its root key.
    pub mesh: String,
    /// When the picture last changed.
    pub at: String,
    /// How long ago the agent last made sure that the picture is still what it knows.
    pub age_ms: u64,
    /// Grows whenever the picture changes.
    pub index: u64,
    /// Does the agent reach more than half of the roster?
    pub quorate: bool,
    /// Since when that is so, or not so.
    pub quorate_since: String,
    /// Agents it holds alive, itself included.
    pub alive: usize,
    /// Agents that have joined and neither left nor been forgotten.
    pub roster: usize,
    /// Has it caught up with the mesh since its start?
    pub settled: bool,
    /// Instances whose verdict is stale here.
    pub stale_instances: usize,
}

/// The health of a service or of the whole mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All is well.
    Up,
    /// Nothing decided yet.
    Starting,
    /// Something is wrong, and something serves.
    Degraded,
    /// Nobody is in a position to say.
    Unknown,
    /// Something is down, and nothing is known to serve.
    Down,
}

/// How many instances have each verdict; every verdict is present.
pub type VerdictCounts = BTreeMap<Verdict, usize>;

/// `GET /v1/health`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// The worst of the services; at least `degraded` when a host is down.
    pub status: Status,
    /// Instances of services by verdict, hosts left out.
    pub verdicts: VerdictCounts,
    /// Every service.
    pub services: Vec<ServiceSummary>,
    /// Every host that is not up.
    pub hosts: Vec<HostSummary>,
    /// How many members are in each state.
    pub members: MemberCounts,
}

/// A service in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// Its name.
    pub service: ServiceName,
    /// How it is.
    pub status: Status,
    /// How many instances.
    pub total: usize,
    /// By verdict.
    pub verdicts: VerdictCounts,
    /// Of those, how many fold under a host that is down.
    pub folded: usize,
    /// Of those, how many have a stale verdict.
    pub stale: usize,
    /// Of those, how many change too often.
    pub flapping: usize,
}

/// A host that is not up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSummary {
    /// The instance that stands for the host: `quorate-agent@<agent>`.
    pub instance: InstanceId,
    /// Its agent.
    pub agent: AgentId,
    /// That agent's name.
    pub name: String,
    /// Its failure domain.
    pub zone: Zone,
    /// The mesh's verdict on it.
    pub verdict: Verdict,
    /// What is broken.
    pub class: Class,
    /// Since when.
    pub since: String,
    /// How long ago that was.
    pub age_ms: u64,
    /// Instances that fold under it.
    pub folded_instances: usize,
}

/// How many members are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemberCounts {
    /// Answer.
    pub alive: usize,
    /// Did not answer; may yet refute.
    pub suspect: usize,
    /// Gone without leaving.
    pub failed: usize,
    /// Gone on purpose.
    pub left: usize,
}

/// `GET /v1/services`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicesAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// By name.
    pub services: Vec<ServiceSummary>,
}

/// `GET /v1/services/{service}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// The service.
    #[serde(flatten)]
    pub summary: ServiceSummary,
    /// Its instances by id.
    pub instances: Vec<InstanceSummary>,
}

/// SWIM's opinion of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// Answers.
    Alive,
    /// Did not answer; may yet refute.
    Suspect,
    /// Gone without leaving.
    Failed,
    /// Gone on purpose.
    Left,
}

/// `GET /v1/members`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// How many are in each state.
    pub counts: MemberCounts,
    /// By name, then by id.
    pub members: Vec<MemberAnswer>,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAnswer {
    /// Who.
    pub agent: AgentId,
    /// Its name.
    pub name: String,
    /// Is it the one that answers?
    pub this: bool,
    /// Its failure domain.
    pub zone: Zone,
    /// Where others dial it.
    pub address: String,
    /// Where its API is.
    pub api_address: String,
    /// Its software's version.
    pub version: String,
    /// How often it has been started.
    pub boot: u32,
    /// SWIM's opinion.
    pub state: Membership,
    /// Since when.
    pub since: String,
    /// How long ago that was.
    pub age_ms: u64,
    /// The mesh's verdict on its host.
    pub host: Verdict,
    /// Instances it is home to.
    pub instances: usize,
}

/// `GET /v1/agent`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// Its failure domain.
    pub zone: Zone,
    /// How often it has been started.
    pub boot: u32,
    /// Where others dial it.
    pub address: String,
    /// Where it listens for the mesh.
    pub listen: String,
    /// Where this API is.
    pub api: String,
    /// Where its state is kept.
    pub data_dir: String,
    /// The file it was configured from, if any.
    pub config_file: Option<String>,
    /// Its software's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it was started.
    pub started_at: String,
    /// How long ago that was.
    pub uptime_ms: u64,
    /// May it admit new members?
    pub issuer: bool,
    /// When its certificate expires.
    pub certificate_expires: String,
    /// Is it ready?
    pub ready: bool,
    /// Why not.
    pub not_ready: Vec<String>,
}

/// `GET /livez` and `GET /readyz`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// `ok` or `failed`.
    pub status: String,
    /// Why it failed.
    pub reasons: Vec<String>,
}

/// Any error of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorAnswer {
    /// A word for machines, such as `unknown_instance`.
    pub error: String,
    /// What is wrong.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
    /// Names that come near the one asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<String>,
}

//! Every answer of the HTTP API as a type, for the agent that writes it and for the commands that read it.
//!
//! Times are RFC 3339 in UTC; durations are integers with the unit in the name. `docs/http-api.md` shows each answer.

mod breaker;
mod change;
mod count;
mod event;
mod failures;
mod health;
mod instance;
mod report;
pub mod schema;

pub use breaker::{
    BreakerAnswer, BreakerCause, BreakerMode, BreakerState, BreakersAnswer, CallFault, CallOutcome, CallReportAnswer,
    CallsAnswer, OverrideAnswer, OverrideBody, PermitAnswer, PickAnswer, PickedAnswer, ReportBody, ReportedCall,
    WishAnswer,
};
pub use change::{ChangedAnswer, ForgetAnswer, IntentAnswer, IntentRequest, LeaveAnswer, RegisterRequest, Wish};
pub use count::{CountBody, CountedAnswer};
pub use event::{ChangeAnswer, EventAnswer, EventWhat, EventsAnswer};
pub use failures::{ConsecutiveAnswer, FailureAnswer, FailureEventAnswer, FailuresAnswer, ResultAnswer};
pub use health::{
    AgentHealthAnswer, AgentHealthStatus, CacheAnswer, CachesAnswer, HealthJsonAnswer, HealthJsonCheck,
    HealthJsonStatus, IntegrationAnswer, IntegrationStatus, IntegrationsAnswer, OpsStatus, OpsStatusAnswer, PoolAnswer,
    PoolsAnswer, QueueAnswer, QueueHealth, QueueMetrics, QueuesAnswer, ReadyAnswer, ReadyCheck, ReadyStatus,
    TargetGroup,
};
pub use instance::{
    CertificateAnswer, CheckAnswer, EndorsementAnswer, InstanceAnswer, InstanceSummary, InstancesAnswer, LocalProbe,
    ObserverAnswer, PhaseTimings, ProbedAnswer, TlsAnswer, UsageAnswer, VoteCounts,
};

pub use report::{
    IncidentAnswer, InstanceReport, MeasurementAnswer, MeasurementsAnswer, MetricType, ObserverReport, ReportAnswer,
    SampleAnswer, SloAnswer,
};

use quorate_core::{AgentId, Class, InstanceId, ServiceName, Verdict, Zone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who answers, and how far its word goes. Part of every `/v1` answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ViewAnswer {
    /// The answering agent.
    #[schemars(with = "schema::AgentId")]
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
    /// Agents that count: admitted, and neither left nor forgotten.
    pub roster: usize,
    /// The number of that roster; zero when the agent knows none yet.
    pub epoch: u64,
    /// Has it caught up with the mesh since its start?
    pub settled: bool,
    /// Instances whose verdict is stale here.
    pub stale_instances: usize,
}

/// The health of a service or of the whole mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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

impl Status {
    /// Every one, the best first.
    pub const ALL: [Self; 5] = [Self::Up, Self::Starting, Self::Degraded, Self::Unknown, Self::Down];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Starting => "starting",
            Self::Degraded => "degraded",
            Self::Unknown => "unknown",
            Self::Down => "down",
        }
    }
}

/// How many instances have each verdict; every verdict is present.
pub type VerdictCounts = BTreeMap<Verdict, usize>;

/// `GET /v1/health`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// The worst of the services; at least `degraded` when a host is down.
    pub status: Status,
    /// Instances of services by verdict, hosts left out.
    #[schemars(with = "schema::VerdictCounts")]
    pub verdicts: VerdictCounts,
    /// Every service.
    pub services: Vec<ServiceSummary>,
    /// Every host that is not up.
    pub hosts: Vec<HostSummary>,
    /// How many members are in each state.
    pub members: MemberCounts,
}

/// A service in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceSummary {
    /// Its name.
    #[schemars(with = "schema::ServiceName")]
    pub service: ServiceName,
    /// How it is.
    pub status: Status,
    /// How many instances.
    pub total: usize,
    /// By verdict.
    #[schemars(with = "schema::VerdictCounts")]
    pub verdicts: VerdictCounts,
    /// Of those, how many fold under a host that is down.
    pub folded: usize,
    /// Of those, how many have a stale verdict.
    pub stale: usize,
    /// Of those, how many change too often.
    pub flapping: usize,
}

/// A host that is not up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostSummary {
    /// The instance that stands for the host: `quorate-agent@<agent>`.
    #[schemars(with = "schema::InstanceId")]
    pub instance: InstanceId,
    /// Its agent.
    #[schemars(with = "schema::AgentId")]
    pub agent: AgentId,
    /// That agent's name.
    pub name: String,
    /// Its failure domain.
    #[schemars(with = "schema::Zone")]
    pub zone: Zone,
    /// The mesh's verdict on it.
    #[schemars(with = "schema::Verdict")]
    pub verdict: Verdict,
    /// What is broken.
    #[schemars(with = "schema::Class")]
    pub class: Class,
    /// Since when.
    pub since: String,
    /// How long ago that was.
    pub age_ms: u64,
    /// Instances that fold under it.
    pub folded_instances: usize,
}

/// How many members are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServicesAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// By name.
    pub services: Vec<ServiceSummary>,
    /// How many there are on all pages.
    pub total: usize,
    /// What to give as `after` for the next page; null on the last one.
    pub next: Option<String>,
}

/// `GET /v1/services/{service}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// The service.
    #[serde(flatten)]
    pub summary: ServiceSummary,
    /// Its instances by id.
    pub instances: Vec<InstanceSummary>,
}

/// `GET /v1/votes`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VotesAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// The agents that observe any of the instances, by name.
    pub observers: Vec<ObserverSummary>,
    /// By id.
    pub instances: Vec<InstanceVotes>,
    /// How many there are on all pages.
    pub total: usize,
    /// What to give as `after` for the next page; null on the last one.
    pub next: Option<String>,
}

/// An observer in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ObserverSummary {
    /// Its name.
    pub name: String,
    /// Who.
    #[schemars(with = "schema::AgentId")]
    pub agent: AgentId,
    /// Its failure domain.
    #[schemars(with = "schema::Zone")]
    pub zone: Zone,
}

/// What the observers of one instance say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceVotes {
    /// Which.
    #[schemars(with = "schema::InstanceId")]
    pub instance: InstanceId,
    /// Of which service.
    #[schemars(with = "schema::ServiceName")]
    pub service: ServiceName,
    /// What the mesh concludes.
    #[schemars(with = "schema::Verdict")]
    pub verdict: Verdict,
    /// By observer: `pass`, `warn`, `fail` or `abstain`; `silent` when it cannot be heard or has said nothing.
    pub votes: BTreeMap<String, String>,
}

/// SWIM's opinion of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MembersAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// How many are in each state.
    pub counts: MemberCounts,
    /// By name, then by id.
    pub members: Vec<MemberAnswer>,
    /// How many there are on all pages.
    pub total: usize,
    /// What to give as `after` for the next page; null on the last one.
    pub next: Option<String>,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberAnswer {
    /// Who.
    #[schemars(with = "schema::AgentId")]
    pub agent: AgentId,
    /// Its name.
    pub name: String,
    /// Is it the one that answers?
    pub this: bool,
    /// Its failure domain.
    #[schemars(with = "schema::Zone")]
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
    /// Does it count?
    pub in_roster: bool,
    /// Since when.
    pub since: String,
    /// How long ago that was.
    pub age_ms: u64,
    /// The mesh's verdict on its host.
    #[schemars(with = "schema::Verdict")]
    pub host: Verdict,
    /// Instances it is home to.
    pub instances: usize,
}

/// `GET /v1/agent`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// Its failure domain.
    #[schemars(with = "schema::Zone")]
    pub zone: Zone,
    /// What it is part of, such as `production`, if that is configured.
    #[serde(default)]
    pub environment: Option<String>,
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

/// `GET /livez`, `GET /readyz` and `GET /healthz`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeAnswer {
    /// `ok` or `failed`.
    pub status: String,
    /// Why it failed.
    pub reasons: Vec<String>,
}

/// `PUT /v1/push/{instance}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PushAnswer {
    /// Whose.
    #[schemars(with = "schema::InstanceId")]
    pub instance: InstanceId,
    /// `pass`, `warn` or `fail`.
    pub status: String,
}

/// `POST /-/reload`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ReloadAnswer {
    /// The keys of the configuration whose values were read anew.
    pub applied: Vec<String>,
    /// The keys that have other values now, which take a new start of the agent.
    #[serde(default)]
    pub restart: Vec<String>,
}

/// Any error of the API: problem details (RFC 9457), with members of our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorAnswer {
    /// Names the kind of error: `urn:quorate:problem:` and the word in `error`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// What is wrong in general.
    #[serde(default)]
    pub title: String,
    /// The status of the answer.
    #[serde(default)]
    pub status: u16,
    /// What is wrong here.
    pub detail: String,
    /// A word for machines, such as `unknown_instance`.
    pub error: String,
    /// What to do about it.
    pub remedy: String,
    /// The request, as in `X-Request-Id` and in the agent's log.
    #[serde(default)]
    pub request_id: String,
    /// Names that come near the one asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<String>,
}

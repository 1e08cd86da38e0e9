//! Every answer of the HTTP API as a type, for the agent that writes it and for the commands that read it.
//!
//! Times are RFC 3339 in UTC; durations are integers with the unit in the name. `docs/http-api.md` shows each answer.

use quorate_core::{
    AbstainReason, AgentId, Cause, Class, FailureType, InstanceId, Observation, Phase, ServiceName, Verdict, Zone,
};
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

/// `GET /v1/instances`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstancesAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// By id.
    pub instances: Vec<InstanceSummary>,
}

/// An instance in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSummary {
    /// Its name.
    pub instance: InstanceId,
    /// Its service.
    pub service: ServiceName,
    /// Its home agent.
    pub home: AgentId,
    /// That agent's name.
    pub home_name: String,
    /// Its failure domain.
    pub zone: Zone,
    /// `host:port`.
    pub address: String,
    /// `http`, `https`, `tcp`, or `mesh` for a host.
    pub check: String,
    /// Does the check run at all?
    pub enabled: bool,
    /// The verdict as this agent may state it.
    pub verdict: Verdict,
    /// The last verdict that was decided.
    pub decided: Verdict,
    /// The number of that verdict; zero when none was decided.
    pub term: u64,
    /// What is broken.
    pub class: Class,
    /// Since when that verdict holds.
    pub since: String,
    /// How long ago that was.
    pub age_ms: u64,
    /// Too few observers can be heard to confirm it.
    pub stale: bool,
    /// Since when.
    pub stale_since: Option<String>,
    /// It changes too often.
    pub flapping: bool,
    /// Changes of verdict within the flap window.
    pub changes: u32,
    /// The host whose fault explains this one.
    pub folded_under: Option<InstanceId>,
    /// How many observers are assigned.
    pub assigned: u32,
    /// How many of them must agree.
    pub quorum: u32,
    /// The votes of the observers that can be heard.
    pub votes: VoteCounts,
}

/// How the observers vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VoteCounts {
    /// `pass`.
    pub pass: u32,
    /// `warn`.
    pub warn: u32,
    /// `fail`.
    pub fail: u32,
    /// `abstain`.
    pub abstain: u32,
    /// Said nothing yet, or not heard.
    pub silent: u32,
}

/// `GET /v1/instances/{instance}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// The instance.
    #[serde(flatten)]
    pub summary: InstanceSummary,
    /// How it is checked; none for a host.
    pub settings: Option<CheckAnswer>,
    /// Who watches, with what result.
    pub observers: Vec<ObserverAnswer>,
    /// The proof of the decided verdict.
    pub certificate: Option<CertificateAnswer>,
    /// The answering agent's own last probe, if it observes the instance.
    pub local: Option<LocalProbe>,
}

/// How an instance is checked, without headers and bodies, which may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckAnswer {
    /// What is asked, such as `GET http://10.0.0.1:8080/health`.
    pub target: String,
    /// From the start of one probe to the start of the next.
    pub period_ms: u64,
    /// The longest a probe may take.
    pub timeout_ms: u64,
    /// Grace after the instance first appears.
    pub initial_delay_ms: u64,
    /// Consecutive failures before a `fail`.
    pub failure_threshold: u32,
    /// Consecutive successes before a `pass`.
    pub success_threshold: u32,
    /// Immediate repetitions inside one round.
    pub max_retries: u32,
    /// Observers asked for.
    pub observers: u32,
}

/// One observer of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObserverAnswer {
    /// Who.
    pub agent: AgentId,
    /// Its name.
    pub name: String,
    /// Its failure domain.
    pub zone: Zone,
    /// Is it the home agent?
    pub home: bool,
    /// Its membership, in the answering agent's eyes.
    pub state: Membership,
    /// Does its word still hold (alive, and heard)?
    pub heard: bool,
    /// `pass`, `warn`, `fail` or `abstain`; none when it has said nothing.
    pub vote: Option<String>,
    /// The failure type of a `fail`.
    pub failure_type: Option<FailureType>,
    /// How far the failed probe came.
    pub phase: Option<Phase>,
    /// What went wrong.
    pub cause: Option<Cause>,
    /// Why it abstains.
    pub reason: Option<AbstainReason>,
    /// In words.
    pub detail: String,
    /// Since when it has said so, by its own clock.
    pub since: Option<String>,
    /// How long ago that was.
    pub age_ms: Option<u64>,
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

/// The proof of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateAnswer {
    /// Which registration of the instance it is about.
    pub incarnation: u64,
    /// The number of the verdict.
    pub term: u64,
    /// The verdict.
    pub verdict: Verdict,
    /// What the votes said was broken.
    pub class: Class,
    /// When, by the proposer's clock.
    pub decided_at: String,
    /// How many observers were assigned.
    pub observers: u32,
    /// Who signed.
    pub endorsements: Vec<EndorsementAnswer>,
}

/// One signature under a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndorsementAnswer {
    /// Who.
    pub agent: AgentId,
    /// Its name, when the answering agent knows it.
    pub name: Option<String>,
    /// `pass`, `warn`, `fail` or `abstain`.
    pub vote: String,
    /// How far the failed probe came.
    pub phase: Option<Phase>,
    /// What went wrong.
    pub cause: Option<Cause>,
    /// When, by its own clock.
    pub signed_at: String,
    /// Ed25519, in hexadecimal digits.
    pub signature: String,
}

/// One probe of this agent's own. It never leaves the agent but by its API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LocalProbe {
    /// When it ended.
    pub timestamp: String,
    /// How long ago that was.
    pub age_ms: u64,
    /// `http`, `https` or `tcp`.
    pub check_type: String,
    /// Did it pass, be it with a warning?
    pub is_healthy: bool,
    /// All phases together.
    pub response_time_ms: f64,
    /// The HTTP status, if one came.
    pub status_code: Option<u16>,
    /// The beginning of the answer.
    pub response_body: String,
    /// The answer's headers.
    pub headers: Vec<(String, String)>,
    /// What went wrong, or the warning, in words.
    pub error: Option<String>,
    /// How far a failed probe came.
    pub phase: Option<Phase>,
    /// What went wrong.
    pub cause: Option<Cause>,
    /// How many times the target was asked.
    pub attempts: u32,
    /// The address that was asked, once known.
    pub peer: Option<String>,
    /// How long each phase took.
    pub timings: PhaseTimings,
}

/// Milliseconds per phase; none where a phase was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PhaseTimings {
    /// Name look-up.
    pub resolve_ms: Option<f64>,
    /// Connecting.
    pub connect_ms: Option<f64>,
    /// TLS handshake.
    pub tls_ms: Option<f64>,
    /// Waiting for the first byte.
    pub first_byte_ms: Option<f64>,
    /// Reading the answer.
    pub transfer_ms: Option<f64>,
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

/// `GET /v1/events?format=json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// The id of the newest event, to be given as `since` next time; `<boot>-0` when there is none.
    pub last: String,
    /// Older events were asked for than the agent still holds.
    pub reset: bool,
    /// Oldest first.
    pub events: Vec<EventAnswer>,
}

/// One event: the `data` of a server-sent event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventAnswer {
    /// `<boot>-<index>`, unique over restarts.
    pub id: String,
    /// Grows by one within one run of the agent.
    pub index: u64,
    /// When, by the agent's clock.
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub what: EventWhat,
}

/// What happened; `type` says which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventWhat {
    /// Events were missed: read the state anew, then go on from here.
    Reset {
        /// In words.
        detail: String,
    },
    /// Verdicts changed.
    Verdicts {
        /// The cut's number on this agent.
        cut: u64,
        /// The changes.
        changes: Vec<ChangeAnswer>,
    },
    /// A member's state changed.
    Member {
        /// Who.
        agent: AgentId,
        /// Its name.
        name: String,
        /// Before; none when it is new.
        from: Option<Membership>,
        /// After.
        to: Membership,
    },
    /// An instance was registered.
    Registered {
        /// Which.
        instance: InstanceId,
        /// Of which service.
        service: ServiceName,
        /// By whom.
        home: AgentId,
    },
    /// An instance was withdrawn.
    Withdrawn {
        /// Which.
        instance: InstanceId,
    },
    /// This agent's own vote changed.
    Vote {
        /// On which instance.
        instance: InstanceId,
        /// To what.
        observation: Observation,
    },
    /// This agent came to reach more than half of the roster, or ceased to.
    Quorate {
        /// Does it now?
        quorate: bool,
        /// Agents it holds alive, itself included.
        alive: usize,
        /// Agents in the roster.
        roster: usize,
    },
    /// This agent was held up.
    Stalled {
        /// How late its timers were.
        late_ms: u64,
    },
    /// Another process runs with this agent's identity.
    IdentityConflict {
        /// In words.
        detail: String,
    },
}

impl EventWhat {
    /// The `type`, which is also the name of the server-sent event.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Reset { .. } => "reset",
            Self::Verdicts { .. } => "verdicts",
            Self::Member { .. } => "member",
            Self::Registered { .. } => "registered",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Vote { .. } => "vote",
            Self::Quorate { .. } => "quorate",
            Self::Stalled { .. } => "stalled",
            Self::IdentityConflict { .. } => "identity_conflict",
        }
    }
}

/// One change of one verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeAnswer {
    /// Of which instance.
    pub instance: InstanceId,
    /// Of which service.
    pub service: ServiceName,
    /// Its term.
    pub term: u64,
    /// Before.
    pub from: Verdict,
    /// After.
    pub to: Verdict,
    /// What is broken.
    pub class: Class,
    /// The host whose fault explains this one.
    pub folded_under: Option<InstanceId>,
    /// Who signed.
    pub signers: Vec<AgentId>,
    /// When it was decided, by the proposer's clock.
    pub decided_at: String,
}

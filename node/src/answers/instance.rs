//! Answers about instances: verdicts, votes, certificates, and the agent's own last probe.

use super::{BreakerAnswer, IntentAnswer, Membership, ViewAnswer, schema};
use quorate_core::{
    AbstainReason, AgentId, Cause, Class, FailureType, InstanceId, Judgement, Phase, ServiceName, Verdict, Zone,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /v1/instances`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstancesAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// By id.
    pub instances: Vec<InstanceSummary>,
    /// How many there are on all pages.
    pub total: usize,
    /// What to give as `after` for the next page; null on the last one.
    pub next: Option<String>,
}

/// An instance in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceSummary {
    /// Its name.
    #[schemars(with = "schema::InstanceId")]
    pub instance: InstanceId,
    /// Its service.
    #[schemars(with = "schema::ServiceName")]
    pub service: ServiceName,
    /// Its home agent.
    #[schemars(with = "schema::AgentId")]
    pub home: AgentId,
    /// That agent's name.
    pub home_name: String,
    /// Its failure domain.
    #[schemars(with = "schema::Zone")]
    pub zone: Zone,
    /// `host:port`.
    pub address: String,
    /// `http`, `https`, `tcp`, or `mesh` for a host.
    pub check: String,
    /// Does the check run at all?
    pub enabled: bool,
    /// Its share of the traffic beside others of the service; 100 is usual.
    #[serde(default)]
    pub weight: u32,
    /// Words by which it is found.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What its operator wants of it, if anything.
    #[serde(default)]
    pub intent: Option<IntentAnswer>,
    /// The verdict as this agent may state it.
    #[schemars(with = "schema::Verdict")]
    pub verdict: Verdict,
    /// The last verdict that was decided.
    #[schemars(with = "schema::Verdict")]
    pub decided: Verdict,
    /// The number of that verdict; zero when none was decided.
    pub term: u64,
    /// What is broken.
    #[schemars(with = "schema::Class")]
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
    #[schemars(with = "Option<schema::InstanceId>")]
    pub folded_under: Option<InstanceId>,
    /// How many observers are assigned.
    pub assigned: u32,
    /// How many of them must agree.
    pub quorum: u32,
    /// The votes of the observers that can be heard.
    pub votes: VoteCounts,
    /// Why nothing is decided about it although it is registered, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How the observers vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// The breaker before it, if one is used here, open for many, or overridden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerAnswer>,
}

/// How an instance is checked, without headers and bodies, which may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Can only the home agent make it? Then that agent is its only observer.
    #[serde(default)]
    pub home_only: bool,
}

/// One observer of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObserverAnswer {
    /// Who.
    #[schemars(with = "schema::AgentId")]
    pub agent: AgentId,
    /// Its name.
    pub name: String,
    /// Its failure domain.
    #[schemars(with = "schema::Zone")]
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
    #[schemars(with = "Option<schema::FailureType>")]
    pub failure_type: Option<FailureType>,
    /// How far the failed probe came.
    #[schemars(with = "Option<schema::Phase>")]
    pub phase: Option<Phase>,
    /// What went wrong.
    #[schemars(with = "Option<schema::Cause>")]
    pub cause: Option<Cause>,
    /// Why it abstains.
    #[schemars(with = "Option<schema::AbstainReason>")]
    pub reason: Option<AbstainReason>,
    /// In words.
    pub detail: String,
    /// Since when it has said so, by its own clock.
    pub since: Option<String>,
    /// How long ago that was.
    pub age_ms: Option<u64>,
}

/// The proof of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateAnswer {
    /// Which registration of the instance it is about.
    pub incarnation: u64,
    /// The number of the verdict.
    pub term: u64,
    /// The verdict.
    #[schemars(with = "schema::Verdict")]
    pub verdict: Verdict,
    /// What the votes said was broken.
    #[schemars(with = "schema::Class")]
    pub class: Class,
    /// When, by the proposer's clock.
    pub decided_at: String,
    /// How many observers were assigned.
    pub observers: u32,
    /// Who signed.
    pub endorsements: Vec<EndorsementAnswer>,
}

/// One signature under a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndorsementAnswer {
    /// Who.
    #[schemars(with = "schema::AgentId")]
    pub agent: AgentId,
    /// Its name, when the answering agent knows it.
    pub name: Option<String>,
    /// `pass`, `warn`, `fail` or `abstain`.
    pub vote: String,
    /// How far the failed probe came.
    #[schemars(with = "Option<schema::Phase>")]
    pub phase: Option<Phase>,
    /// What went wrong.
    #[schemars(with = "Option<schema::Cause>")]
    pub cause: Option<Cause>,
    /// When, by its own clock.
    pub signed_at: String,
    /// Ed25519, in hexadecimal digits.
    pub signature: String,
}

/// One probe of this agent's own. It never leaves the agent but by its API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LocalProbe {
    /// When it ended.
    pub timestamp: String,
    /// How long ago that was.
    pub age_ms: u64,
    /// `http`, `https`, `tcp` and so on.
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
    #[schemars(with = "Option<schema::Phase>")]
    pub phase: Option<Phase>,
    /// What went wrong, or what the warning is about.
    #[schemars(with = "Option<schema::Cause>")]
    pub cause: Option<Cause>,
    /// The guide's name for that.
    #[schemars(with = "Option<schema::FailureType>")]
    pub failure_type: Option<FailureType>,
    /// Healthy, but it lets nobody in who does not identify himself.
    pub protected: bool,
    /// What the TLS handshake showed.
    pub tls: Option<TlsAnswer>,
    /// Each condition on the answer, and how it was met.
    #[schemars(with = "Vec<schema::Judgement>")]
    pub judgements: Vec<Judgement>,
    /// How many times the target was asked.
    pub attempts: u32,
    /// The address that was asked, once known.
    pub peer: Option<String>,
    /// How long each phase took.
    pub timings: PhaseTimings,
    /// What the instance uses of its host, where that can be told.
    #[serde(default)]
    pub usage: Option<UsageAnswer>,
}

/// What the instance uses of its host, as a container engine or systemd tells; the names are those of the monitoring guide.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UsageAnswer {
    /// Processor time since the probe before, in percent of what it may use.
    pub cpu_percent: Option<f64>,
    /// Memory, in percent of its limit.
    pub memory_percent: Option<f64>,
    /// Memory, in bytes.
    pub memory_usage_bytes: Option<u64>,
    /// How often it was restarted.
    pub restarts: u64,
}

/// `POST /v1/instances/{instance}/probe`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProbedAnswer {
    /// Which instance.
    #[schemars(with = "schema::InstanceId")]
    pub instance: InstanceId,
    /// Its service.
    #[schemars(with = "schema::ServiceName")]
    pub service: ServiceName,
    /// Who probed.
    #[schemars(with = "schema::AgentId")]
    pub agent: AgentId,
    /// That agent's name.
    pub name: String,
    /// What was asked, such as `GET http://10.0.0.1:8080/health`.
    pub target: String,
    /// What came of it.
    pub probe: LocalProbe,
}

/// Milliseconds per phase; none where a phase was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PhaseTimings {
    /// Name look-up.
    pub resolve_ms: Option<f64>,
    /// Connecting.
    pub connect_ms: Option<f64>,
    /// TLS handshake.
    pub tls_ms: Option<f64>,
    /// Sending.
    pub send_ms: Option<f64>,
    /// Waiting for the first byte.
    pub first_byte_ms: Option<f64>,
    /// Reading the answer.
    pub transfer_ms: Option<f64>,
    /// Judging the answer.
    pub assert_ms: Option<f64>,
}

/// What a TLS handshake showed; absent where it did not come that far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TlsAnswer {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: Option<String>,
    /// The cipher suite.
    pub cipher: Option<String>,
    /// The application protocol agreed on.
    pub alpn: Option<String>,
    /// Certificates sent.
    pub chain: u32,
    /// When the first of them expires.
    pub earliest_not_after: Option<String>,
    /// Whose certificate.
    pub subject: Option<String>,
    /// Who signed it.
    pub issuer: Option<String>,
    /// Names it is for.
    pub names: Vec<String>,
    /// Its number.
    pub serial: Option<String>,
    /// Its SHA-256.
    pub sha256: Option<String>,
    /// Valid from.
    pub not_before: Option<String>,
    /// Valid until.
    pub not_after: Option<String>,
}

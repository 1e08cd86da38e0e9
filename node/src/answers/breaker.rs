//! Answers about breakers.

use super::{ViewAnswer, schema};
use quorate_core::{AgentId, InstanceId, ServiceName, Verdict, Zone};
use quorate_mesh::OverrideMode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $type:ident of $source:ty { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $type { $($(#[$variant_doc])* $variant),* }

        impl $type {
            /// Its word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl From<$source> for $type {
            fn from(source: $source) -> Self {
                match source { $(<$source>::$variant => Self::$variant),* }
            }
        }
    };
}

words! {
    /// What callers see of a breaker.
    BreakerState of quorate_mesh::BreakerState {
        /// Traffic flows.
        Closed = "closed",
        /// A few trials are allowed.
        HalfOpen = "half_open",
        /// Nothing is allowed.
        Open = "open",
    }
}

words! {
    /// Why a breaker is not closed.
    BreakerCause of quorate_mesh::BreakerCause {
        /// Calls of this host failed; others need not have.
        OwnCalls = "own_calls",
        /// Calls of many callers failed, and the far end, or its host, spoke.
        CallersAnswered = "callers_answered",
        /// Calls of many callers met silence.
        CallersSilent = "callers_silent",
        /// Enough peers hold it open.
        Peers = "peers",
        /// The instance is down by verdict.
        Verdict = "verdict",
        /// A person held it open and let it go: it is tried before it is trusted.
        Released = "released",
        /// A person holds it.
        Override = "override",
    }
}

words! {
    /// Who decides about a breaker.
    BreakerMode of OverrideMode {
        /// The machine.
        Automatic = "automatic",
        /// The machine decides and tells, but every call is admitted.
        ObserveOnly = "observe_only",
        /// Nothing is admitted.
        ForcedOpen = "forced_open",
        /// Everything is admitted, and counted.
        ForcedClosed = "forced_closed",
        /// Everything is admitted, and nothing counted.
        Disabled = "disabled",
    }
}

/// `GET /v1/breakers` and `GET /v1/breakers/{service}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BreakersAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// By service and instance: those that callers on this host use, that are open for many, or on which a person gave a word.
    pub breakers: Vec<BreakerAnswer>,
}

/// One breaker, in the answering agent's eyes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BreakerAnswer {
    /// Of which service.
    #[schemars(with = "schema::ServiceName")]
    pub service: ServiceName,
    /// Before which instance.
    #[schemars(with = "schema::InstanceId")]
    pub instance: InstanceId,
    /// What callers on this host see of it.
    pub state: BreakerState,
    /// Why it is not closed.
    pub cause: Option<BreakerCause>,
    /// Whose word opened it first.
    #[schemars(with = "Option<schema::AgentId>")]
    pub first: Option<AgentId>,
    /// The same agent's name.
    pub first_name: Option<String>,
    /// Since when it has been open.
    pub since: Option<String>,
    /// The number of the outage that callers share; zero if there is none.
    pub outage: u64,
    /// Attempts to recover that failed in it.
    pub attempts: u32,
    /// It is open for callers of this zone only.
    #[schemars(with = "Option<schema::Zone>")]
    pub zone: Option<Zone>,
    /// It is left closed, because too many of the service would be taken out.
    pub spared: bool,
    /// Agents whose callers are known to use it.
    pub callers: usize,
    /// Who may try now.
    #[schemars(with = "Vec<schema::AgentId>")]
    pub trying: Vec<AgentId>,
    /// The calls that opened it, of all callers together.
    pub evidence: CallsAnswer,
    /// This host's own calls of the last two seconds.
    pub own: CallsAnswer,
    /// Do callers on this host use it?
    pub used_here: bool,
    /// A person's word on it, while it holds.
    #[serde(rename = "override")]
    pub overridden: Option<OverrideAnswer>,
}

/// How some calls went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallsAnswer {
    /// Calls that succeeded or failed.
    pub calls: u32,
    /// Failures in which the far end, or its host, spoke.
    pub answered: u32,
    /// Failures in which nothing was heard.
    pub silent: u32,
    /// Calls that took too long.
    pub slow: u32,
}

/// A person's word on a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OverrideAnswer {
    /// Who decides.
    pub mode: BreakerMode,
    /// The agent through which it was given.
    #[schemars(with = "schema::AgentId")]
    pub owner: AgentId,
    /// Why, in the person's words.
    pub reason: String,
    /// Its number; the highest known holds.
    pub epoch: u64,
    /// When it ends.
    pub ends: String,
}

/// `POST /v1/breakers/{service}/{instance}/permit`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PermitAnswer {
    /// May the call be made?
    pub admitted: bool,
    /// To be given back with the call's outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permit: Option<String>,
    /// Is it one of the few trials of a breaker that is not closed?
    pub trial: bool,
    /// Why not: `open`, `trials_out`, `ramping`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When asking again makes sense, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// The body of `POST /v1/breakers/{service}/{instance}/report`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportBody {
    /// Calls that have ended; at most 1,000.
    pub calls: Vec<ReportedCall>,
}

/// A call that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportedCall {
    /// The permit under which it was made. Without one it counts as an ordinary call, as far as these are admitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permit: Option<String>,
    /// What it came to.
    pub outcome: CallOutcome,
    /// How it failed; silence unless it says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<CallFault>,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// What was called, for metrics: 1 to 64 characters; `call` unless it says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// The instance served it.
    Success,
    /// The instance failed it.
    Failure,
    /// Neither: cancelled, or the caller's own fault.
    Neutral,
}

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallFault {
    /// The far end spoke: it refused, or answered badly.
    Answer,
    /// Nothing was heard: no connection, no answer in time.
    Silence,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallReportAnswer {
    /// Calls that counted.
    pub counted: usize,
    /// Calls that said nothing any more: the breaker has moved on, the trial's lease had ended, or they were neutral.
    pub void: usize,
}

/// The body of `PUT /v1/breakers/{service}/{instance}/override`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OverrideBody {
    /// Who decides from now on, on all hosts.
    pub mode: BreakerMode,
    /// Why; 1 to 256 bytes.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
    /// For how long: 1 to 2,592,000 (30 days).
    #[schemars(range(min = 1, max = 2_592_000))]
    pub seconds: u64,
}

/// A wish about a breaker has been passed on to the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WishAnswer {
    /// Of which service.
    #[schemars(with = "schema::ServiceName")]
    pub service: ServiceName,
    /// Before which instance.
    #[schemars(with = "schema::InstanceId")]
    pub instance: InstanceId,
    /// Who is to decide.
    pub mode: BreakerMode,
    /// Is the instance one that is registered for the service, or whose breaker is known for its calls? If not, the name may be mistyped.
    pub known: bool,
}

/// `GET /v1/services/{service}/pick`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PickAnswer {
    /// Who answers.
    pub view: ViewAnswer,
    /// One of those below, drawn by weight; none when there is none.
    #[schemars(with = "Option<schema::InstanceId>")]
    pub chosen: Option<InstanceId>,
    /// Instances that are healthy, and that breakers admit; the heaviest first.
    pub instances: Vec<PickedAnswer>,
}

/// An instance that may be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PickedAnswer {
    /// Which.
    #[schemars(with = "schema::InstanceId")]
    pub instance: InstanceId,
    /// Where it is.
    pub address: String,
    /// Its zone.
    #[schemars(with = "schema::Zone")]
    pub zone: Zone,
    /// The mesh's verdict.
    #[schemars(with = "schema::Verdict")]
    pub verdict: Verdict,
    /// Its share of the calls, against the others' weights: 1 to 100.
    pub weight: u32,
}

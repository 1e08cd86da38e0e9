//! Answers about events.

use super::{BreakerCause, BreakerMode, BreakerState, FailureEventAnswer, Membership, ViewAnswer, schema};
use quorate_core::{AgentId, Class, InstanceId, Observation, ServiceName, Verdict, Zone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /v1/events?format=json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
        #[schemars(with = "schema::AgentId")]
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
        #[schemars(with = "schema::InstanceId")]
        instance: InstanceId,
        /// Of which service.
        #[schemars(with = "schema::ServiceName")]
        service: ServiceName,
        /// By whom.
        #[schemars(with = "schema::AgentId")]
        home: AgentId,
    },
    /// An instance was withdrawn.
    Withdrawn {
        /// Which.
        #[schemars(with = "schema::InstanceId")]
        instance: InstanceId,
    },
    /// This agent's own vote changed.
    Vote {
        /// On which instance.
        #[schemars(with = "schema::InstanceId")]
        instance: InstanceId,
        /// To what.
        #[schemars(with = "schema::Observation")]
        observation: Observation,
    },
    /// This agent's own probe failed in a new way, or what failed has grown graver.
    Failure(FailureEventAnswer),
    /// This agent came to reach more than half of the roster, or ceased to.
    Quorate {
        /// Does it now?
        quorate: bool,
        /// Agents it holds alive, itself included.
        alive: usize,
        /// Agents in the roster.
        roster: usize,
    },
    /// Who counts has changed.
    Roster {
        /// The number of the new roster.
        epoch: u64,
        /// How many count now.
        roster: usize,
        /// Who begins to count.
        #[schemars(with = "Vec<schema::AgentId>")]
        admitted: Vec<AgentId>,
        /// Who no longer counts.
        #[schemars(with = "Vec<schema::AgentId>")]
        removed: Vec<AgentId>,
    },
    /// A breaker that callers share has turned, in this agent's eyes.
    Breaker {
        /// Of which service.
        #[schemars(with = "schema::ServiceName")]
        service: ServiceName,
        /// Before which instance.
        #[schemars(with = "schema::InstanceId")]
        instance: InstanceId,
        /// What it is now.
        state: BreakerState,
        /// Why it opened.
        cause: BreakerCause,
        /// Whose word opened it first.
        #[schemars(with = "schema::AgentId")]
        first: AgentId,
        /// For callers of this zone only, when others are served.
        #[schemars(with = "Option<schema::Zone>")]
        zone: Option<Zone>,
    },
    /// A person decides about a breaker, or no longer does.
    Override {
        /// Of which service.
        #[schemars(with = "schema::ServiceName")]
        service: ServiceName,
        /// Before which instance.
        #[schemars(with = "schema::InstanceId")]
        instance: InstanceId,
        /// Who decides now; `automatic` is the machine.
        mode: BreakerMode,
        /// The agent through which the word was given.
        #[schemars(with = "schema::AgentId")]
        owner: AgentId,
        /// Why, in the person's words.
        reason: String,
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
            Self::Failure(_) => "failure",
            Self::Quorate { .. } => "quorate",
            Self::Roster { .. } => "roster",
            Self::Breaker { .. } => "breaker",
            Self::Override { .. } => "override",
            Self::Stalled { .. } => "stalled",
            Self::IdentityConflict { .. } => "identity_conflict",
        }
    }
}

/// One change of one verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeAnswer {
    /// Of which instance.
    #[schemars(with = "schema::InstanceId")]
    pub instance: InstanceId,
    /// Of which service.
    #[schemars(with = "schema::ServiceName")]
    pub service: ServiceName,
    /// Its term.
    pub term: u64,
    /// Before.
    #[schemars(with = "schema::Verdict")]
    pub from: Verdict,
    /// After.
    #[schemars(with = "schema::Verdict")]
    pub to: Verdict,
    /// What is broken.
    #[schemars(with = "schema::Class")]
    pub class: Class,
    /// The host whose fault explains this one.
    #[schemars(with = "Option<schema::InstanceId>")]
    pub folded_under: Option<InstanceId>,
    /// Who signed.
    #[schemars(with = "Vec<schema::AgentId>")]
    pub signers: Vec<AgentId>,
    /// When it was decided, by the proposer's clock.
    pub decided_at: String,
}

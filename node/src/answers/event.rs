//! Answers about events.

use super::{Membership, ViewAnswer};
use quorate_core::{AgentId, Class, InstanceId, Observation, ServiceName, Verdict};
use serde::{Deserialize, Serialize};

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

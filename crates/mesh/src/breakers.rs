//! Breakers, as the engine takes them in and shows them.

use quorate_core::{AgentId, UnixMs, Zone};
pub use quorate_wire::{BreakerKey, BreakerOverride, BreakerState, CallCounts, OverrideMode};
use serde::{Deserialize, Serialize};

/// What a breaker of this host tells the engine: when it is made, when calls failed, when it moved, and otherwise a few times a second
/// while it is called. The engine asks for no message per call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerReport {
    /// Which breaker.
    pub key: BreakerKey,
    /// Calls that ended since the last report; neutral ones are left out.
    pub counts: CallCounts,
    /// Failures since the last success, up to now.
    pub failures_in_row: u32,
    /// Its state.
    pub state: BreakerState,
    /// What the call came to for which the mesh lent a place, if one ended since the last report.
    pub trial: Option<bool>,
}

/// A breaker in an agent's eyes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreakerView {
    /// Which breaker.
    #[serde(flatten)]
    pub key: BreakerKey,
    /// What callers on this host see of it.
    pub state: BreakerState,
    /// Why it is not closed.
    pub cause: Option<BreakerCause>,
    /// Whose word opened it first.
    pub first: Option<AgentId>,
    /// The same agent's name.
    pub first_name: Option<String>,
    /// Since when it has been open, by this agent's wall clock.
    pub since: Option<UnixMs>,
    /// The number of the outage that callers share; zero if there is none.
    pub outage: u64,
    /// Attempts to recover that failed in it.
    pub attempts: u32,
    /// The zone whose callers it is open for, when others are served.
    pub zone: Option<Zone>,
    /// Is it left closed because too many of the service would be taken out?
    pub spared: bool,
    /// Agents whose callers are known to use it, and who therefore may try.
    pub callers: usize,
    /// Who may try now.
    pub trying: Vec<AgentId>,
    /// The calls that opened it, of all callers together.
    pub evidence: CallCounts,
    /// This agent's own calls of the last seconds.
    pub own: CallCounts,
    /// Do callers on this host use it?
    pub used_here: bool,
    /// A person's word on it, while it holds.
    pub overridden: Option<OverrideView>,
}

/// A person's word on a breaker, while it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OverrideView {
    /// What the breaker is to do.
    pub mode: OverrideMode,
    /// The agent through which it was given.
    pub owner: AgentId,
    /// Why, in the person's words.
    pub reason: String,
    /// Its number; the highest known holds.
    pub epoch: u64,
    /// When it ends, by this agent's wall clock.
    pub ends: UnixMs,
}

/// Why a breaker is not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerCause {
    /// Calls of this host failed; others need not have.
    OwnCalls,
    /// Calls of many callers failed, and the far end, or its host, spoke.
    CallersAnswered,
    /// Calls of many callers met silence.
    CallersSilent,
    /// Enough peers hold it open.
    Peers,
    /// The instance is down by verdict.
    Verdict,
    /// A person held it open and let it go: it is tried before it is trusted.
    Released,
    /// A person holds it.
    Override,
}

impl BreakerCause {
    /// The word used in events, logs and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OwnCalls => "own_calls",
            Self::CallersAnswered => "callers_answered",
            Self::CallersSilent => "callers_silent",
            Self::Peers => "peers",
            Self::Verdict => "verdict",
            Self::Released => "released",
            Self::Override => "override",
        }
    }
}

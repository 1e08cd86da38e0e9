//! What is believed of the identity counters that members tell of each other. Membership gossip is not signed, so nothing in it may push an
//! agent out of its own mesh for good.
//!
//! - How often an agent was started is in its signed records: nobody, the agent included, may claim more than that.
//! - How often it renewed its identity since can only be told by word of mouth. So there is a limit, and whoever hears that it has come
//!   further than it knows outbids the claim, by a new start if there is no room left.

use super::SwimOutput;
use super::codec::SwimId;
use quorate_core::{AgentId, Mono};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Renewals of an identity between two starts of its agent at most: one a second for twelve days.
pub(crate) const MAX_RENEWALS: u32 = 1 << 20;
/// A claim about ourselves is outbid at most this often.
const OUTBID_SPACING: Duration = Duration::from_secs(1);

/// The members held alive, each with the counter of its identity.
pub(crate) type Active = BTreeMap<AgentId, u64>;

/// The roster with everyone's starts, and the highest claim about ourselves.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    boots: BTreeMap<AgentId, u32>,
    about_us: u64,
    outbid_at: Option<Mono>,
    /// Who sent the packet being read, and those held alive: all others of these it cannot declare failed.
    spared: Option<(AgentId, Arc<Active>)>,
}

impl Claims {
    /// `agent` belongs to the roster and has been started `boot` times.
    pub fn know(&mut self, agent: AgentId, boot: u32) {
        let known = self.boots.entry(agent).or_default();
        *known = boot.max(*known);
    }

    /// All of these belong to the roster, and nobody else.
    pub fn know_all(&mut self, boots: &BTreeMap<AgentId, u32>) {
        self.boots.clone_from(boots);
    }

    pub fn forget(&mut self, agent: AgentId) {
        self.boots.remove(&agent);
    }

    pub fn len(&self) -> usize {
        self.boots.len()
    }

    pub fn knows(&self, agent: AgentId) -> bool {
        self.boots.contains_key(&agent)
    }

    /// Is this an identity that a member can have by now?
    pub fn believable(&self, id: SwimId) -> bool {
        self.boots.get(&id.agent).is_some_and(|boot| id.boot() <= *boot && id.renewals() <= MAX_RENEWALS)
    }

    /// Until told otherwise, whoever is said to have failed and is one of these counts as suspect, but for the one who says it.
    pub fn spare(&mut self, spared: Option<(AgentId, Arc<Active>)>) {
        self.spared = spared;
    }

    /// Is this agent one of them?
    pub fn spares(&self, agent: AgentId) -> bool {
        self.spared.as_ref().is_some_and(|(from, active)| agent != *from && active.contains_key(&agent))
    }

    /// Somebody says that our counter is `counter`.
    pub fn hear_of_us(&mut self, counter: u64) {
        self.about_us = self.about_us.max(counter);
    }

    /// What to do about a believable claim that is ahead of us, if there is one.
    pub fn outbid(&mut self, now: Mono, me: SwimId) -> Option<Outbid> {
        let claim = SwimId { counter: std::mem::take(&mut self.about_us), ..me };
        let ahead = claim.counter > me.counter && claim.boot() == me.boot() && claim.renewals() <= MAX_RENEWALS;
        let lately = self.outbid_at.is_some_and(|at| now.since(at) < OUTBID_SPACING);
        if !ahead || lately {
            return None;
        }
        self.outbid_at = Some(now);
        let next = SwimId { counter: claim.counter + 1, ..me };
        Some(if next.renewals() > MAX_RENEWALS { Outbid::StartAnew } else { Outbid::Renew(next) })
    }
}

/// The answer to a claim about ourselves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outbid {
    /// Go on under this identity.
    Renew(SwimId),
    /// There is no further one before the next start.
    StartAnew,
}

impl Outbid {
    /// What is told of it.
    pub fn output(&self) -> SwimOutput {
        match self {
            Self::Renew(_) => SwimOutput::Renewed,
            Self::StartAnew => SwimOutput::Exhausted,
        }
    }
}

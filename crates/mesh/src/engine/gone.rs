//! Agents that have been forgotten: what is still known of them, and what is believed of what is told of them.

use super::{Engine, limits};
use crate::api::MemberState;
use quorate_core::AgentId;
use quorate_wire::{Batch, OwnerDelta, Record};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is kept of an agent that has been forgotten.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Gone {
    /// The boot counter it had.
    pub boot: u32,
    #[serde(with = "quorate_core::blob")]
    pub credential: Arc<[u8]>,
    /// The latest of its batches. Should it have lost its disk, it is shown it, and goes on beyond that; until this agent is started again itself.
    #[serde(skip)]
    pub latest: Option<Arc<Batch>>,
}

/// What is told of an agent that may have been forgotten.
#[derive(Debug)]
pub(super) enum Told {
    News,
    Old,
    Forged,
}

impl Engine {
    /// What is told of an agent that was forgotten: an old word, passed on by one that has not heard so, or a forged one? Its own word is news, but for one that
    /// it has forgotten to have come further; and so is what it has signed in a later start, and its farewell, told with all it has said: who heard that before
    /// the roster without it keeps its copy, and the copies would differ for ever.
    pub(super) fn told_of_gone(&mut self, from: AgentId, delta: &OwnerDelta) -> Told {
        let Some(Gone { boot, credential, latest }) = self.gone.get(&delta.owner) else { return Told::News };
        if from == delta.owner {
            let forgotten = latest.as_ref().filter(|latest| has_forgotten(delta, latest)).cloned();
            return match forgotten {
                Some(latest) => {
                    self.push_batches(from, &[latest]);
                    Told::Old
                }
                None => {
                    self.gone.remove(&from);
                    Told::News
                }
            };
        }
        let told = delta.credential.as_ref().filter(|told| self.keys.admit(told) == Some(delta.owner));
        let credential = told.unwrap_or(credential);
        let newest = delta.batches.iter().max_by_key(|batch| (batch.epoch, batch.seq));
        let newest = newest.filter(|batch| batch.epoch > *boot);
        let room = self.agents.len() < limits::MAX_AGENTS;
        let farewell = farewell(delta).filter(|batch| batch.epoch == *boot && told.is_some() && room);
        let Some(batch) = newest.or(farewell) else { return Told::Old };
        let signed = self.keys.verify(credential, &batch.signing_bytes(), &batch.signature);
        if !signed && !self.believes_bearer(from, batch) {
            self.stats.batches_refused += 1;
            return Told::Forged;
        }
        self.gone.remove(&delta.owner);
        Told::News
    }

    /// Is it known of `agent` that it has left, or was forgotten?
    pub(super) fn counts_no_longer(&self, agent: AgentId) -> bool {
        self.member_state(agent) == MemberState::Left || self.gone.contains_key(&agent)
    }

    /// An agent is let in again: what it has said since its last start counts. What it said before is as old as it was.
    pub(super) fn readmit(&mut self, agent: AgentId) {
        match self.gone.get_mut(&agent) {
            Some(Gone { boot, latest: Some(latest), .. }) => *boot = latest.epoch.saturating_sub(1),
            _ => _ = self.gone.remove(&agent),
        }
    }
}

/// The batch in which its owner says that it leaves, if that is its last word on itself.
fn farewell(told: &OwnerDelta) -> Option<&Arc<Batch>> {
    let profile = |batch: &Arc<Batch>| {
        batch
            .records
            .iter()
            .find_map(|record| if let Record::Profile(profile) = record { Some(profile.left) } else { None })
    };
    let profiles = told.batches.iter().filter_map(|batch| Some((batch, profile(batch)?)));
    profiles.max_by_key(|(batch, _)| (batch.epoch, batch.seq)).and_then(|(batch, left)| left.then_some(batch))
}

/// Has the owner of what is told forgotten that it wrote `latest`: does it come less far, or bear its number with another content?
fn has_forgotten(told: &OwnerDelta, latest: &Batch) -> bool {
    let number = |batch: &Batch| (batch.epoch, batch.seq);
    let before = !told.batches.is_empty() && told.batches.iter().all(|batch| number(batch) < number(latest));
    let reused = |batch: &Arc<Batch>| number(batch) == number(latest) && batch.signature != latest.signature;
    before || told.batches.iter().any(reused)
}

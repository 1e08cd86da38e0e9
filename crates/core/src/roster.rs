//! The roster: who counts. Every majority is a majority of it, so it changes only by agreement of more than half of those it names.
//!
//! A roster has a number, its epoch. The change that makes epoch `n + 1` out of epoch `n` is decided once, among the members of epoch `n`, by
//! single-decree Paxos (Lamport, "Paxos Made Simple", 2001), as Rapid does for its views (Suresh et al., USENIX ATC 2018). The rules of the
//! two phases are here, as pure state machines; sending, storing and signing are the engine's.

use crate::hash;
use crate::id::AgentId;
use crate::quorum;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The members that count, as of an epoch. Epoch zero is that of an agent that has not heard of any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    epoch: u64,
    members: BTreeSet<AgentId>,
    digest: u64,
}

/// What distinguishes one epoch from the one before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Change {
    /// Who begins to count, ascending.
    pub admit: Vec<AgentId>,
    /// Who no longer counts, ascending.
    pub remove: Vec<AgentId>,
}

impl Change {
    /// Most agents that one change admits and removes.
    pub const MAX_AGENTS: usize = 512;

    /// Does it change nothing?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.admit.is_empty() && self.remove.is_empty()
    }
}

impl Roster {
    /// The roster of `members` at `epoch`.
    #[must_use]
    pub fn new(epoch: u64, members: BTreeSet<AgentId>) -> Self {
        let digest = members.iter().fold(0, |digest, agent| digest ^ hash::spread(agent.0));
        Self { epoch, members, digest }
    }

    /// Its number.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A hash of the epoch and the members.
    #[must_use]
    pub fn digest(&self) -> u64 {
        hash::mix(&[self.epoch, self.digest])
    }

    /// Who counts, ascending.
    pub fn iter(&self) -> impl Iterator<Item = AgentId> + '_ {
        self.members.iter().copied()
    }

    /// Does `agent` count?
    #[must_use]
    pub fn contains(&self, agent: AgentId) -> bool {
        self.members.contains(&agent)
    }

    /// Those of `agents` that do not count, ascending.
    pub fn others<'a>(&'a self, agents: &'a BTreeSet<AgentId>) -> impl Iterator<Item = AgentId> + 'a {
        agents.difference(&self.members).copied()
    }

    /// How many count.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Does nobody count?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Are `reached` of its members more than half?
    #[must_use]
    pub fn majority(&self, reached: usize) -> bool {
        quorum::majority(reached, self.len())
    }

    /// The next epoch. `None` when the change does not fit: it admits a member, removes a stranger, is out of order, changes nothing or too
    /// much, or leaves nobody.
    #[must_use]
    pub fn after(&self, change: &Change) -> Option<Self> {
        let ascending = |list: &[AgentId]| list.windows(2).all(|pair| pair[0] < pair[1]);
        let fits = ascending(&change.admit)
            && ascending(&change.remove)
            && !change.is_empty()
            && change.admit.len() + change.remove.len() <= Change::MAX_AGENTS
            && change.admit.iter().all(|agent| !self.contains(*agent))
            && change.remove.iter().all(|agent| self.contains(*agent))
            && self.len() + change.admit.len() > change.remove.len();
        if !fits {
            return None;
        }
        let mut next = self.clone();
        for agent in &change.remove {
            next.members.remove(agent);
            next.digest ^= hash::spread(agent.0);
        }
        for agent in &change.admit {
            next.members.insert(*agent);
            next.digest ^= hash::spread(agent.0);
        }
        next.epoch += 1;
        Some(next)
    }
}

/// The number of an attempt to decide an epoch; no two attempts have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Ballot {
    /// Grows with each attempt.
    pub round: u64,
    /// Whose attempt it is.
    pub proposer: AgentId,
}

/// No member makes so many attempts of which none of those that recover it has heard.
const FORGOTTEN_ROUNDS: u64 = 1 << 12;

/// What a member has promised and accepted towards the next epoch. Must be stored before it is told to anybody.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Acceptor {
    /// The highest ballot it has promised to; it answers no lower one.
    pub promised: Ballot,
    /// What it has accepted last.
    pub accepted: Option<(Ballot, Change)>,
}

impl Acceptor {
    /// Promises to take part in no attempt below `ballot`, and tells what it has accepted so far.
    ///
    /// # Errors
    /// The higher ballot that stands against it.
    pub fn promise(&mut self, ballot: Ballot) -> Result<Option<(Ballot, Change)>, Ballot> {
        if ballot < self.promised {
            return Err(self.promised);
        }
        self.promised = ballot;
        Ok(self.accepted.clone())
    }

    /// Accepts `change`, unless a higher ballot was promised.
    ///
    /// # Errors
    /// The higher ballot that stands against it.
    pub fn accept(&mut self, ballot: Ballot, change: Change) -> Result<(), Ballot> {
        if ballot < self.promised {
            return Err(self.promised);
        }
        self.promised = ballot;
        self.accepted = Some((ballot, change));
        Ok(())
    }

    /// The ballot to which others must have promised before a member that has forgotten its own words takes part again. It is above all that it can
    /// have promised or accepted, given that it has learnt from enough others: attempts below it can then only be completed by what the others
    /// have accepted already, and tell. The step is for attempts of which none of those has heard.
    #[must_use]
    pub fn above_forgotten(&self, member: AgentId) -> Ballot {
        Ballot { round: self.promised.round.saturating_add(FORGOTTEN_ROUNDS), proposer: member }
    }

    /// What a member tells in place of what it has accepted while it may have forgotten that: no change at all, which nobody can accept.
    #[must_use]
    pub fn forgotten() -> (Ballot, Change) {
        (Ballot::default(), Change::default())
    }

    /// Takes over what another member has promised and accepted: what an agent does that may have forgotten its own.
    pub fn learn(&mut self, other: &Self) {
        self.promised = self.promised.max(other.promised);
        if other.accepted.as_ref().map(|(ballot, _)| *ballot) > self.accepted.as_ref().map(|(ballot, _)| *ballot) {
            self.accepted.clone_from(&other.accepted);
        }
    }
}

/// How many of the other members a member must hear before it may trust what it has learnt instead of what it may have forgotten: so many that
/// every majority it was part of has another member among them.
#[must_use]
pub const fn enough_to_recover(roster: usize) -> usize {
    // A majority holds `roster / 2` others; it is met by any `roster - 1 - roster / 2 + 1` of the others.
    if roster < 2 { 0 } else { roster - roster / 2 }
}

/// One attempt to decide the next epoch.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Its number.
    pub ballot: Ballot,
    wanted: Change,
    promises: BTreeMap<AgentId, Option<(Ballot, Change)>>,
    /// What is put to the vote, once a majority has promised.
    put: Option<Change>,
}

impl Attempt {
    /// An attempt to bring about `wanted`.
    #[must_use]
    pub fn new(ballot: Ballot, wanted: Change) -> Self {
        Self { ballot, wanted, promises: BTreeMap::new(), put: None }
    }

    /// What it is to bring about, unless something else turns out to have been accepted.
    #[must_use]
    pub fn wanted(&self) -> &Change {
        &self.wanted
    }

    /// What is put to the vote.
    #[must_use]
    pub fn put(&self) -> Option<&Change> {
        self.put.as_ref()
    }

    /// Takes a promise. Once they are a majority: the change to be put to the vote, which is the one accepted under the highest ballot, if
    /// any was, since that may have been decided already.
    pub fn promised(&mut self, roster: &Roster, from: AgentId, accepted: Option<(Ballot, Change)>) -> Option<&Change> {
        if self.put.is_some() || !roster.contains(from) {
            return None;
        }
        self.promises.insert(from, accepted);
        if !roster.majority(self.promises.len()) {
            return None;
        }
        let earlier = self.promises.values().flatten().max_by_key(|(ballot, _)| *ballot);
        self.put = Some(earlier.map_or_else(|| self.wanted.clone(), |(_, change)| change.clone()));
        self.put.as_ref()
    }
}

#[cfg(test)]
#[path = "roster_tests.rs"]
mod tests;

//! What an observer believes the verdict should be: a pure function of the votes it holds.
//!
//! The rules, first match wins, with k observers assigned and q = k/2 + 1:
//!
//! 1. `down`: at least q votes fail, and more fail than reach. When too large a share of the service is down already, one at most may reach it, who may be
//!    broken, and not its home.
//!    Votes that fail because the name was not found do not count here as long as anybody reaches the instance: its name exists, and who does not
//!    find it has a fault of its own. When nobody reaches it, they count: then it is the name that is broken.
//! 2. `partial`: a quorum has an opinion, some reach it and some do not, and the split follows places: the zones that fail are not the
//!    zones that reach (two failures at least, so that one broken observer changes nothing), or home reaches it and nobody else does.
//! 3. `up`: at least q votes pass.
//! 4. `degraded`: at least q votes reach it, with or without a warning.
//! 5. Otherwise the last verdict stands: a missing vote is not a failure, nor a success.

use crate::id::{AgentId, Zone};
use crate::observation::Vote;
use crate::quorum::{self, Tally};
use crate::verdict::Verdict;
use std::collections::BTreeSet;

/// One observer's vote and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// Who.
    pub agent: AgentId,
    /// Where.
    pub zone: Zone,
    /// Is it the instance's home agent?
    pub home: bool,
    /// What it says.
    pub vote: Vote,
}

/// The votes on one instance, as one observer holds them.
#[derive(Debug, Clone, Default)]
pub struct Ballot {
    /// How many observers are assigned: the denominator.
    pub observers: u32,
    /// The votes held. An observer that has said nothing is not in the list.
    pub voters: Vec<Voter>,
    /// Is a large share of the service down already, so that `down` needs all but one?
    pub strained: bool,
}

/// Do the votes that reach an instance, its home's among them or not, keep it from being `down`, against those that `condemn` it?
#[must_use]
pub const fn acquits(reach: u32, home_reaches: bool, condemn: u32, strained: bool) -> bool {
    reach >= condemn || strained && (reach > 1 || home_reaches)
}

/// The verdict these votes call for; `None`: keep the last one.
#[must_use]
pub fn opinion(ballot: &Ballot) -> Option<Verdict> {
    let tally = Tally::of(ballot.voters.iter().map(|voter| voter.vote));
    let q = quorum::of(ballot.observers);
    let unproven = ballot.voters.iter().filter(|voter| voter.vote.fails_unproven()).count() as u32;
    let condemn = if tally.reach() > 0 { tally.fail - unproven } else { tally.fail };
    let home_reaches = ballot.voters.iter().any(|voter| voter.home && voter.vote.reaches());
    if condemn >= q && !acquits(tally.reach(), home_reaches, condemn, ballot.strained) {
        return Some(Verdict::Down);
    }
    if tally.fail + tally.reach() >= q && tally.reach() > 0 && tally.fail > 0 && (by_zone(ballot) || by_home(ballot)) {
        return Some(Verdict::Partial);
    }
    if tally.pass >= q {
        return Some(Verdict::Up);
    }
    (tally.reach() >= q).then_some(Verdict::Degraded)
}

/// Do two or more fail, all of them in zones from which nobody reaches the instance?
fn by_zone(ballot: &Ballot) -> bool {
    let zones = |side: fn(Vote) -> bool| -> BTreeSet<&Zone> {
        ballot.voters.iter().filter(|voter| side(voter.vote)).map(|voter| &voter.zone).collect()
    };
    let fails = ballot.voters.iter().filter(|voter| voter.vote.fails()).count();
    fails >= 2 && zones(Vote::fails).is_disjoint(&zones(Vote::reaches))
}

/// Does home reach it while every other voter with an opinion fails?
fn by_home(ballot: &Ballot) -> bool {
    ballot.voters.iter().filter(|voter| !voter.vote.abstains()).all(|voter| voter.home == voter.vote.reaches())
}

#[cfg(test)]
#[path = "opinion_tests.rs"]
mod tests;

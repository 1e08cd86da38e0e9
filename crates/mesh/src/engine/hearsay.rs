//! Later epochs that are told without the changes that lead to them: what a member that has missed too much has to go by.
//!
//! A faulty member can tell of any epoch. So each teller backs one roster at a time, all that are told are asked about side by side, and none is
//! believed while more than half stand by this agent's own epoch: then no other has followed it.

use super::Engine;
use super::adoption::{ASK_AGAIN, FIRST_BACKING};
use super::vantage::Vantage;
use crate::api::MemberState;
use quorate_core::{AgentId, Mono, Roster};
use rand::seq::IndexedRandom;
use std::collections::BTreeSet;
use std::time::Duration;

/// Rosters told of that are remembered.
const MAX_CLAIMS: usize = 8;
/// Members that are asked whether it is so, at a time.
const ASK_AT_ONCE: usize = 64;
/// They are asked again after twice the wait each time, up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(16);

/// The later epochs that are told of.
#[derive(Debug, Default)]
pub(super) struct Claims {
    list: Vec<Claim>,
    ask_at: Mono,
    /// How long it was last waited before asking again.
    waited: Duration,
}

#[derive(Debug)]
struct Claim {
    roster: Roster,
    said_by: BTreeSet<AgentId>,
    since: Mono,
}

impl Claim {
    /// Do more than half of those say so of the `others` in this agent's roster that have not left? Without these nothing could have followed.
    fn is_backed_by(&self, others: &BTreeSet<AgentId>) -> bool {
        self.said_by.intersection(others).count() * 2 > others.len()
    }

    /// Do more than half of those say so whom it names, and more than two, who may lie? Of a few, `me` among them, all others.
    fn backs_itself(&self, me: AgentId) -> bool {
        let backing = self.said_by.iter().filter(|agent| self.roster.contains(**agent)).count();
        let needed = if self.roster.contains(me) { FIRST_BACKING.min(self.roster.len() - 1) } else { FIRST_BACKING };
        backing >= needed && self.roster.majority(backing)
    }
}

impl Claims {
    /// Notes what `from` tells, instead of what it told before. Of too many the one goes that the fewest tell.
    fn note(&mut self, from: AgentId, roster: Roster, now: Mono) {
        for claim in self.list.iter_mut().filter(|claim| claim.roster != roster) {
            claim.said_by.remove(&from);
        }
        self.list.retain(|claim| !claim.said_by.is_empty());
        if let Some(claim) = self.list.iter_mut().find(|claim| claim.roster == roster) {
            claim.said_by.insert(from);
            return;
        }
        if self.list.len() >= MAX_CLAIMS
            && let Some(least) = (0..self.list.len()).min_by_key(|at| self.list.get(*at).map(|c| c.said_by.len()))
        {
            self.list.remove(least);
        }
        self.list.push(Claim { roster, said_by: BTreeSet::from([from]), since: now });
    }

    /// The agent counts by `epoch` now.
    pub(super) fn turn(&mut self, epoch: u64) {
        self.list.retain(|claim| claim.roster.epoch() > epoch);
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        (!self.list.is_empty()).then_some(self.ask_at)
    }
}

impl Engine {
    /// A member tells of a later epoch, and not of the changes that lead to it.
    pub(super) fn hear_claim(&mut self, from: AgentId, roster: Roster) {
        let now = self.now.mono;
        self.adoption.claims.note(from, roster, now);
        self.run_claims();
    }

    pub(super) fn run_claims(&mut self) {
        if self.adoption.claims.list.is_empty() {
            return;
        }
        if self.vantage() == Vantage::Valid {
            self.adoption.claims.list.clear();
            self.adoption.claims.waited = Duration::ZERO;
            return;
        }
        let (me, now) = (self.me(), self.now.mono);
        let stays = |agent: &AgentId| *agent != me && self.member_state(*agent) != MemberState::Left;
        let others: BTreeSet<_> = self.roster.iter().filter(stays).collect();
        let claims = &self.adoption.claims.list;
        let alone = |claim: &Claim| self.roll.found_too_few_since(claim.since, &self.roster);
        let believed = |claim: &&Claim| claim.is_backed_by(&others) || claim.backs_itself(me) && alone(claim);
        if let Some(claim) = claims.iter().filter(believed).max_by_key(|claim| claim.roster.epoch()) {
            let roster = claim.roster.clone();
            self.take_roster(roster);
            return;
        }
        if self.adoption.claims.ask_at > now {
            return;
        }
        let called = claims.iter().all(alone);
        let waited = (self.adoption.claims.waited * 2).clamp(ASK_AGAIN, LONGEST_WAIT);
        (self.adoption.claims.ask_at, self.adoption.claims.waited) = (now + waited, waited);
        if !called {
            self.call_roll();
        }
        self.ask_about_claims();
    }

    fn ask_about_claims(&mut self) {
        let claims = &self.adoption.claims.list;
        let each = ASK_AT_ONCE / claims.len().max(1);
        let mut asked = BTreeSet::new();
        for claim in claims {
            let silent: Vec<_> = claim.roster.iter().filter(|agent| !claim.said_by.contains(agent)).collect();
            asked.extend(silent.sample(&mut self.rng, each).copied());
        }
        asked.into_iter().for_each(|agent| self.ask_epochs(agent));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(epoch: u64, members: &[u64]) -> Roster {
        Roster::new(epoch, members.iter().copied().map(AgentId).collect())
    }

    fn claims(told: &[(u64, &Roster)]) -> Claims {
        let mut claims = Claims::default();
        told.iter().for_each(|(by, roster)| claims.note(AgentId(*by), (*roster).clone(), Mono(0)));
        claims
    }

    #[test]
    fn who_tells_of_something_else_no_longer_backs_what_it_told_before() {
        let (first, second) = (roster(5, &[1, 2, 3]), roster(6, &[1, 2, 3]));
        let told = claims(&[(1, &first), (2, &first), (1, &second)]);
        let backing: Vec<_> = told.list.iter().map(|claim| (claim.roster.epoch(), claim.said_by.len())).collect();
        assert_eq!(backing, [(5, 1), (6, 1)]);
        assert_eq!(claims(&[(1, &first), (1, &second)]).list.len(), 1);
    }

    #[test]
    fn one_that_tells_of_many_epochs_drives_out_nobody_else() {
        let honest = roster(5, &[1, 2, 3]);
        let lies: Vec<_> = (0..100).map(|far| roster(1 << 40 | far, &[9])).collect();
        let mut told = vec![(1, &honest), (2, &honest)];
        told.extend(lies.iter().map(|lie| (9, lie)));
        let told = claims(&told);
        assert_eq!(told.list.len(), 2);
        assert_eq!(told.list.first().map(|claim| claim.said_by.len()), Some(2));
    }

    #[test]
    fn of_too_many_the_one_goes_that_the_fewest_tell() {
        let honest = roster(5, &[1, 2, 3]);
        let lies: Vec<_> = (20..20 + 2 * MAX_CLAIMS as u64).map(|by| (by, roster(by, &[by]))).collect();
        let mut told = vec![(1, &honest), (2, &honest)];
        told.extend(lies.iter().map(|(by, lie)| (*by, lie)));
        let told = claims(&told);
        assert_eq!(told.list.len(), MAX_CLAIMS);
        assert!(told.list.iter().any(|claim| claim.roster == honest));
    }

    fn others(agents: &[u64]) -> BTreeSet<AgentId> {
        agents.iter().copied().map(AgentId).collect()
    }

    fn backed(told: &[(u64, &Roster)], own_others: &[u64], me: u64) -> (bool, bool) {
        let claims = claims(told);
        let claim = claims.list.first().unwrap();
        (claim.is_backed_by(&others(own_others)), claim.backs_itself(AgentId(me)))
    }

    #[test]
    fn two_cannot_make_up_an_epoch_of_their_own() {
        let lie = roster(90, &[1, 2]);
        assert_eq!(backed(&[(1, &lie), (2, &lie)], &[1, 2, 3, 4], 5), (false, false));
        let true_one = roster(80, &[1, 2, 3, 7]);
        assert_eq!(backed(&[(1, &true_one), (2, &true_one), (3, &true_one)], &[1, 2, 3, 4], 5), (true, true));
        let successors = roster(80, &[6, 7, 8, 9, 10]);
        assert_eq!(backed(&[(6, &successors), (7, &successors), (8, &successors)], &[1, 2, 3, 4], 5), (false, true));
    }

    #[test]
    fn of_a_small_mesh_all_others_are_enough() {
        let later = roster(5, &[1, 2, 3]);
        assert_eq!(backed(&[(1, &later)], &[1, 4], 2), (false, false));
        assert_eq!(backed(&[(1, &later), (3, &later)], &[1, 4], 2), (false, true));
        let few = roster(5, &[1]);
        assert_eq!(backed(&[(1, &few)], &[1, 4], 2), (false, false), "of those who have put it out more than two");
        let pair = roster(5, &[1, 2]);
        assert_eq!(backed(&[(1, &pair)], &[1, 4], 2), (false, false));
        assert_eq!(backed(&[(1, &pair)], &[1], 2), (true, false), "all but one have left");
    }
}

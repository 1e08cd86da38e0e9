//! Later epochs that are told without the changes that lead to them: what a member that has missed too much has to go by.
//!
//! A faulty member can tell of any epoch. So each teller backs one roster at a time, all that are told are asked about side by side, and none is
//! believed while more than half stand by this agent's own epoch: then no other has followed it.

use super::Engine;
use super::adoption::{ASK_AGAIN, FIRST_BACKING};
use super::vantage::Vantage;
use quorate_core::{AgentId, Mono, Roster};
use rand::seq::IndexedRandom;
use std::collections::BTreeSet;

/// Rosters told of that are remembered.
const MAX_CLAIMS: usize = 8;
/// Members that are asked whether it is so, at a time.
const ASK_AT_ONCE: usize = 64;

/// The later epochs that are told of.
#[derive(Debug, Default)]
pub(super) struct Claims {
    list: Vec<Claim>,
    ask_at: Mono,
}

#[derive(Debug)]
struct Claim {
    roster: Roster,
    said_by: BTreeSet<AgentId>,
    since: Mono,
}

impl Claim {
    fn backing(&self, by: &Roster) -> usize {
        self.said_by.iter().filter(|agent| by.contains(**agent)).count()
    }

    /// Do more than half of those say so who count by `own`? Without these nothing could have followed.
    fn is_backed_by(&self, own: &Roster) -> bool {
        own.majority(self.backing(own))
    }

    /// Do more than half of those say so whom it names, and more than two, who may lie? Of a mesh as small as that to `me`, all others.
    fn backs_itself(&self, own: &Roster, me: AgentId) -> bool {
        let small = own.len() <= FIRST_BACKING && self.roster.contains(me);
        let needed = if small { FIRST_BACKING.min(self.roster.len() - 1) } else { FIRST_BACKING };
        let backing = self.backing(&self.roster);
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
            return;
        }
        let now = self.now.mono;
        let claims = &self.adoption.claims.list;
        let believed = |claim: &&Claim| {
            claim.is_backed_by(&self.roster)
                || claim.backs_itself(&self.roster, self.me()) && self.roll.found_too_few_since(claim.since)
        };
        if let Some(claim) = claims.iter().filter(believed).max_by_key(|claim| claim.roster.epoch()) {
            let roster = claim.roster.clone();
            self.take_roster(roster);
            return;
        }
        if self.adoption.claims.ask_at <= now {
            self.adoption.claims.ask_at = now + ASK_AGAIN;
            self.call_roll();
            self.ask_about_claims();
        }
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

    #[test]
    fn two_cannot_make_up_an_epoch_of_their_own() {
        let own = roster(4, &[1, 2, 3, 4, 5]);
        let lie = claims(&[(1, &roster(90, &[1, 2])), (2, &roster(90, &[1, 2]))]);
        let claim = lie.list.first().unwrap();
        assert!(!claim.is_backed_by(&own) && !claim.backs_itself(&own, AgentId(5)));
        let true_one = roster(80, &[1, 2, 3, 7]);
        let told = claims(&[(1, &true_one), (2, &true_one), (3, &true_one)]);
        assert!(told.list.first().unwrap().is_backed_by(&own));
        let successors = roster(80, &[6, 7, 8, 9, 10]);
        let told = claims(&[(6, &successors), (7, &successors), (8, &successors)]);
        let claim = told.list.first().unwrap();
        assert!(!claim.is_backed_by(&own) && claim.backs_itself(&own, AgentId(5)));
    }

    #[test]
    fn of_a_small_mesh_all_others_are_enough() {
        let (own, me) = (roster(4, &[1, 2]), AgentId(2));
        let later = roster(5, &[1, 2, 3]);
        let backed = |told: &[(u64, &Roster)]| claims(told).list.first().unwrap().backs_itself(&own, me);
        assert!(!backed(&[(1, &later)]) && backed(&[(1, &later), (3, &later)]));
        assert!(!backed(&[(1, &roster(5, &[1]))]), "of those who have put it out more than two must say so");
        assert!(!backed(&[(1, &roster(5, &[1, 2]))]));
    }
}

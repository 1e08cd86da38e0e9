//! How an agent learns which epoch it lives in: told by others, proved by signatures, or, when too much was missed, by the word of a majority;
//! and what it must ask after a restart before it takes part in the next agreement.

use super::Engine;
use super::certificates::Origin;
use super::epochs::MAX_PROOFS;
use super::hearsay::Claims;
use super::recovery::{PATIENCE_WITHOUT, Recovery};
use crate::api::{EventKind, MemberState};
use quorate_core::roster::Acceptor;
use quorate_core::{AgentId, InstanceId, Mono, Roster};
use quorate_wire::{EpochTalk, RosterProof};
use rand::seq::IndexedRandom;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Those who have not answered are asked again this often.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);
/// One agent is asked for a later epoch at most this often.
const ASK_SPACING: Duration = Duration::from_millis(200);
/// Agents whose last asking is remembered.
const MAX_ASKED: usize = 4096;
/// So many of the members that it names must tell the same roster to an agent that has none: two of them may lie.
pub(super) const FIRST_BACKING: usize = 3;
/// How long that is waited for, before the roster that most have told is believed: a newcomer may have met the only member that is left.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);
/// Tellers remembered meanwhile.
const MAX_TELLERS: usize = 16;
/// For so long a member that is not let in, and to which there is no link, is known. Admission takes a few seconds.
const STRAY_LIFE: Duration = Duration::from_secs(15);

/// What an agent is about to learn of epochs.
#[derive(Debug, Default)]
pub(super) struct Adoption {
    pub(super) recovery: Option<Recovery>,
    pub(super) claims: Claims,
    first: Option<First>,
    asked: BTreeMap<AgentId, Mono>,
    /// While this agent counts alone, or nowhere: who has said that it knows no later epoch.
    newcomers: BTreeSet<AgentId>,
}

/// Rosters that were told to an agent that has none, by teller.
#[derive(Debug)]
struct First {
    told: BTreeMap<AgentId, Roster>,
    until: Mono,
    ask_at: Mono,
}

impl First {
    /// The roster to begin with: the latest of those that enough members of it tell, or after `until` the one that most do. One of a few could be made up
    /// by those few: who is `expected` in it must be there. Of as many tellers those are believed who name only agents that are `known` by their own
    /// records, and then those who leave out the fewest.
    fn choice(
        &self,
        me: AgentId,
        known: impl Fn(AgentId) -> bool,
        expected: &BTreeSet<AgentId>,
        now: Mono,
    ) -> Option<Roster> {
        let backing = |roster: &&Roster| self.told.iter().filter(|(by, r)| r == roster && r.contains(**by)).count();
        let enough = |roster: &&Roster| {
            let others = roster.len() - usize::from(roster.contains(me));
            let whole = others >= FIRST_BACKING || expected.iter().all(|agent| roster.contains(*agent));
            whole && backing(roster) >= FIRST_BACKING.min(others).max(1)
        };
        let backed = self.told.values().filter(enough).max_by_key(|roster| roster.epoch());
        let invents = |roster: &Roster| roster.iter().any(|agent| agent != me && !known(agent));
        let credit = |roster: &&Roster| (backing(roster), !invents(roster), roster.len(), roster.epoch());
        let most = || self.told.values().max_by_key(credit);
        // Whoever does not count by what it tells is a newcomer itself.
        let due = |roster: &&Roster| now >= self.until + PATIENCE_WITHOUT * u32::from(backing(roster) == 0);
        backed.or_else(|| most().filter(due)).cloned()
    }
}

impl Engine {
    /// May this agent, which counts alone, let the other in? Not when that one comes from a mesh that went on while this agent's disk stood still.
    pub(super) fn is_newcomer(&self, agent: AgentId) -> bool {
        self.roster.len() > 1 || self.adoption.newcomers.contains(&agent)
    }

    pub(super) fn adoption_deadline(&self) -> Option<Mono> {
        let recovery = self.adoption.recovery.as_ref().map(Recovery::deadline);
        // A choice that could not be made when it was due is made by the last resort, or when more has been told.
        let choices = |first: &First| [first.until, first.until + PATIENCE_WITHOUT];
        let choice = self.adoption.first.as_ref().and_then(|f| choices(f).into_iter().find(|at| *at > self.now.mono));
        let first = self.adoption.first.as_ref().map(|first| first.ask_at);
        [recovery, self.adoption.claims.deadline(), choice, first].into_iter().flatten().min()
    }

    pub(super) fn run_adoption(&mut self) {
        self.run_recovery();
        self.run_claims();
        self.run_first();
    }

    /// Someone counts by `epoch`: whoever of us is behind is told.
    pub(super) fn meet_epoch(&mut self, from: AgentId, epoch: u64) {
        if self.roster.len() <= 1 {
            self.adoption.newcomers.remove(&from);
            if epoch <= self.roster.epoch() && self.adoption.newcomers.len() < MAX_ASKED {
                self.adoption.newcomers.insert(from);
                self.run_first();
            }
        }
        match epoch.cmp(&self.roster.epoch()) {
            std::cmp::Ordering::Less => self.tell_epochs(from, epoch),
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => self.ask_epochs(from),
        }
    }

    pub(super) fn ask_epochs(&mut self, agent: AgentId) {
        let now = self.now.mono;
        if self.adoption.asked.get(&agent).is_some_and(|at| now.since(*at) < ASK_SPACING) || agent == self.me() {
            return;
        }
        if self.adoption.asked.len() >= MAX_ASKED {
            self.adoption.asked.clear();
        }
        self.adoption.asked.insert(agent, now);
        let epoch = self.roster.epoch();
        self.reply_epoch(agent, EpochTalk::Ask { epoch });
    }

    pub(super) fn tell_epochs(&mut self, to: AgentId, since: u64) {
        let epoch = self.roster.epoch();
        let proofs: Vec<_> = self.epochs.proofs().filter(|proof| proof.epoch > since).cloned().collect();
        let whole = proofs.first().is_some_and(|proof| proof.epoch == since + 1);
        let proofs = if whole { proofs } else { Vec::new() };
        // Also beside the changes: who signed them may be unknown to whoever has missed them.
        let members = (since < epoch).then(|| self.roster.iter().collect());
        let mut acceptor = self.epochs.acceptor.clone();
        acceptor.accepted = self.or_forgotten(acceptor.accepted);
        self.reply_epoch(to, EpochTalk::Tell { epoch, proofs, members, acceptor });
    }

    pub(super) fn take_epochs(
        &mut self,
        from: AgentId,
        epoch: u64,
        proofs: Vec<Arc<RosterProof>>,
        members: Option<Vec<AgentId>>,
        acceptor: &Acceptor,
    ) {
        for proof in proofs.iter().take(MAX_PROOFS) {
            if proof.epoch == self.roster.epoch() + 1 && !self.adopt_proof(proof) {
                self.stats.packets_refused += 1;
                break;
            }
        }
        if let Some(members) = members
            && epoch > self.roster.epoch()
            && epoch <= super::limits::MAX_ROSTER_EPOCH
            && members.len() <= super::limits::MAX_AGENTS
        {
            let roster = Roster::new(epoch, members.into_iter().collect());
            if self.roster.epoch() == 0 {
                self.hear_first(from, roster);
            } else {
                self.hear_claim(from, roster);
            }
        }
        if epoch == self.roster.epoch() {
            self.roll.found(from, acceptor.accepted.is_some());
        }
        self.hear_acceptor(from, epoch, acceptor);
    }

    /// Whoever has no roster yet asks a few.
    fn hear_first(&mut self, from: AgentId, roster: Roster) {
        let now = self.now.mono;
        let fresh = || First { told: BTreeMap::new(), until: now + FIRST_PATIENCE, ask_at: now };
        let first = self.adoption.first.get_or_insert_with(fresh);
        if first.told.len() < MAX_TELLERS || first.told.contains_key(&from) {
            first.told.insert(from, roster);
        }
        self.run_first();
    }

    fn run_first(&mut self) {
        let (me, now) = (self.me(), self.now.mono);
        let Some(first) = &mut self.adoption.first else { return };
        let expected = self.members.iter().filter(|a| self.swim.is_active(**a) && !self.adoption.newcomers.contains(a));
        let expected = expected.copied().collect();
        if let Some(roster) = first.choice(me, |agent| self.agents.contains_key(&agent), &expected, now) {
            self.begin_with(roster);
        } else if first.ask_at <= now {
            first.ask_at = now + ASK_AGAIN;
            let named = first.told.values().flat_map(Roster::iter).chain(self.members.iter().copied());
            let named: BTreeSet<_> = named.filter(|agent| *agent != me).collect();
            let (near, far): (Vec<_>, Vec<_>) = named.into_iter().partition(|agent| self.links.contains(agent));
            let mut asked: Vec<_> = near.sample(&mut self.rng, FIRST_BACKING).copied().collect();
            asked.extend(far.sample(&mut self.rng, FIRST_BACKING));
            asked.into_iter().for_each(|agent| self.ask_epochs(agent));
        }
    }

    fn begin_with(&mut self, roster: Roster) {
        self.adoption.first = None;
        let restored = roster.contains(self.me());
        self.take_roster(roster);
        for orphan in std::mem::take(&mut self.orphans).into_values() {
            self.take_certificate(orphan, Origin::Repaired);
        }
        if restored {
            // It counts already: this is an agent that has lost its disk.
            self.begin_recovery(false);
        }
        self.sync_pending();
    }

    /// Takes the next epoch, if its proof holds.
    pub(super) fn adopt_proof(&mut self, proof: &Arc<RosterProof>) -> bool {
        let sound = proof.epoch == self.roster.epoch() + 1 && proof.before == self.roster.digest();
        let Some(next) = self.roster.after(&proof.change).filter(|_| sound) else { return false };
        let bytes = RosterProof::signing_bytes(proof.epoch, proof.before, proof.ballot, &proof.change);
        // One of each member is looked at, and no other is kept: what a proof is padded with would travel with it, and might be too much to be told.
        let signed: BTreeMap<_, _> =
            proof.signatures.iter().filter(|(agent, _)| self.roster.contains(*agent)).cloned().collect();
        let signatures: Vec<_> =
            signed.into_iter().filter(|(agent, signature)| self.signed_by(*agent, &bytes, signature)).collect();
        if !self.roster.majority(signatures.len()) {
            return false;
        }
        self.epochs.keep(Arc::new(RosterProof { signatures, ..RosterProof::clone(proof) }));
        self.take_roster(next);
        true
    }

    pub(super) fn signed_by(&self, agent: AgentId, bytes: &[u8], signature: &[u8]) -> bool {
        let credential = match self.agents.get(&agent) {
            Some(known) => Some(&known.credential),
            None => self.gone.get(&agent).map(|gone| &gone.credential),
        };
        credential.is_some_and(|credential| self.keys.verify(credential, bytes, signature))
    }

    /// Counts by `next` from now on.
    pub(super) fn take_roster(&mut self, next: Roster) {
        let before = std::mem::replace(&mut self.roster, next);
        let admitted: Vec<_> = self.roster.iter().filter(|agent| !before.contains(*agent)).collect();
        let removed: Vec<_> = before.iter().filter(|agent| !self.roster.contains(*agent)).collect();
        let follows = self.epochs.proofs().last().is_some_and(|last| last.epoch == self.roster.epoch());
        self.epochs.turn(follows);
        self.adoption.claims.turn(self.roster.epoch());
        self.begin_recovery_anew();
        admitted.iter().for_each(|agent| self.readmit(*agent));
        // From now on they can be decided about anew.
        for instance in self.instances.values_mut().filter(|instance| instance.refused_at.is_some()) {
            instance.refused_at = instance.refused_at.filter(|_| !admitted.contains(&instance.home));
        }
        let me = self.me();
        for agent in removed.iter().copied().filter(|agent| *agent != me) {
            match self.member_state(agent) {
                MemberState::Left => self.outlive(agent, self.ended_down(agent)),
                _ => self.forget_agent(agent),
            }
        }
        if self.roster.iter().eq([me]) {
            // Nobody is left to say that it lives, and one that has left may still say that it does not.
            self.give_up_host(&InstanceId::host(me));
            self.outlive(me, true);
        }
        let put_out = removed.contains(&me);
        if put_out {
            self.released();
        }
        // Of epochs that were missed without their proofs nobody knows whom they held.
        if put_out || !follows && before.contains(self.me()) {
            self.renew_copies();
        }
        self.roster_changed();
        let (epoch, roster) = (self.roster.epoch(), self.roster.len());
        self.event(EventKind::Roster { epoch, roster, admitted, removed });
        self.persist_now();
    }

    /// Forgets members that are not let in and cannot be reached: whoever returns may speak of some that are long gone. They are called until then: who
    /// answers has a link, and stays.
    pub(super) fn forget_strays(&mut self) {
        let now = self.now.mono;
        let counts = self.was_quorate && self.caught_up() && self.roster.contains(self.me());
        // Whoever is about to be let in must be known until it is.
        let accepted = self.epochs.acceptor.accepted.as_ref();
        let stray = |agent: &AgentId| {
            let unreached = match self.member_state(*agent) {
                MemberState::Left => false,
                MemberState::Failed => true,
                MemberState::Alive | MemberState::Suspect => !self.links.contains(agent),
            };
            counts && unreached && accepted.is_none_or(|(_, change)| !change.admit.contains(agent))
        };
        let since = |agent: AgentId| (agent, self.strays.get(&agent).copied().unwrap_or(now));
        let strays: BTreeMap<_, _> = self.roster.others(&self.members).filter(stray).map(since).collect();
        let called: Vec<_> = strays.keys().copied().filter(|agent| self.swim.is_active(*agent)).collect();
        called.into_iter().for_each(|agent| self.begin_sync(agent));
        self.strays = strays;
        let life = self.config.timing.forget_after.min(STRAY_LIFE);
        let long = |(agent, since): (&AgentId, &Mono)| (now.since(*since) >= life).then_some(*agent);
        let forgotten: Vec<_> = self.strays.iter().filter_map(long).collect();
        forgotten.into_iter().for_each(|agent| self.forget_agent(agent));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: AgentId = AgentId(9);
    const NOBODY: BTreeSet<AgentId> = BTreeSet::new();

    fn roster(epoch: u64, members: &[u64]) -> Roster {
        Roster::new(epoch, members.iter().copied().map(AgentId).collect())
    }

    fn first(told: &[(u64, &Roster)]) -> First {
        let told = told.iter().map(|(by, roster)| (AgentId(*by), (*roster).clone())).collect();
        First { told, until: Mono(3_000), ask_at: Mono(0) }
    }

    #[test]
    fn a_newcomer_begins_with_what_three_members_tell() {
        let (honest, lie) = (roster(4, &[1, 2, 3, 4, 5]), roster(40, &[1, 2, 3, 4, 6]));
        assert_eq!(first(&[(1, &honest), (2, &honest)]).choice(ME, |_| true, &NOBODY, Mono(0)), None);
        assert_eq!(
            first(&[(1, &lie), (6, &lie)]).choice(ME, |_| true, &NOBODY, Mono(0)),
            None,
            "of two liars' friends one does not exist"
        );
        let heard = first(&[(1, &lie), (2, &honest), (3, &honest), (4, &honest)]);
        assert_eq!(heard.choice(ME, |_| true, &NOBODY, Mono(0)), Some(honest));
    }

    #[test]
    fn who_does_not_count_in_a_roster_does_not_back_it() {
        let lie = roster(40, &[1, 2, 3]);
        assert_eq!(first(&[(1, &lie), (7, &lie), (8, &lie)]).choice(ME, |_| true, &NOBODY, Mono(0)), None);
    }

    #[test]
    fn a_newcomer_to_a_small_mesh_asks_all_and_one_that_meets_few_believes_most_in_the_end() {
        let (pair, many) = (roster(2, &[1, ME.0]), roster(3, &[1, 2, 3, 4, 5]));
        assert_eq!(first(&[(1, &pair)]).choice(ME, |_| true, &NOBODY, Mono(0)), Some(pair.clone()));
        let heard = first(&[(1, &roster(9, &[1, 6, 7, 8])), (2, &many), (3, &many)]);
        assert_eq!(heard.choice(ME, |_| true, &NOBODY, Mono(2_999)), None);
        assert_eq!(heard.choice(ME, |_| true, &NOBODY, Mono(3_000)), Some(many));
    }

    #[test]
    fn of_as_many_tellers_those_are_believed_who_invent_nobody() {
        let (lie, honest) = (roster(9, &[1, 6, 7, 8]), roster(3, &[1, 2, 3, 4, 5]));
        let heard = first(&[(1, &lie), (2, &honest)]);
        assert_eq!(heard.choice(ME, |agent| agent.0 <= 5, &NOBODY, Mono(3_000)), Some(honest.clone()));
        assert_eq!(heard.choice(ME, |_| true, &NOBODY, Mono(3_000)), Some(honest), "and then the larger one");
    }

    #[test]
    fn a_few_who_leave_out_others_are_not_believed_at_once() {
        let (lie, honest) = (roster(1 << 40, &[1, ME.0]), roster(3, &[2, 3]));
        let expected = [1, 2, 3].map(AgentId).into_iter().collect();
        let mut heard = first(&[(1, &lie)]);
        assert_eq!(heard.choice(ME, |_| true, &expected, Mono(0)), None);
        heard.told.extend([2, 3].map(|by| (AgentId(by), honest.clone())));
        assert_eq!(heard.choice(ME, |_| true, &expected, Mono(0)), None, "those leave out the first, too");
        assert_eq!(heard.choice(ME, |_| true, &expected, Mono(3_000)), Some(honest));
        let newcomer_beside = [1].map(AgentId).into_iter().collect();
        let heard = first(&[(1, &lie)]);
        assert_eq!(heard.choice(ME, |_| true, &newcomer_beside, Mono(0)), Some(lie));
    }
}

//! What an agent must ask after a restart before it takes part in the next agreement: it may have forgotten what it has promised and accepted.

use super::Engine;
use super::adoption::ASK_AGAIN;
use super::epochs::MAX_ROUND_STEP;
use quorate_core::roster::{Acceptor, Ballot, Change, enough_to_recover};
use quorate_core::{AgentId, Mono};
use quorate_wire::{EpochTalk, Packet};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a restarted agent asks what it may have forgotten before it trusts its disk, or, when it has lost that, its luck. Asking is what makes
/// it safe; the end of patience is for meshes so reduced that there are not enough others to ask.
const PATIENCE_WITH_DISK: Duration = Duration::from_secs(5);
pub(super) const PATIENCE_WITHOUT: Duration = Duration::from_secs(20);

/// After a restart: who has told what it has promised and accepted, and then, who has promised to take part in nothing earlier any more. Without
/// the second an attempt could still succeed by a word that this agent has forgotten.
#[derive(Debug)]
pub(super) struct Recovery {
    since: Mono,
    heard: BTreeSet<AgentId>,
    /// What they have told.
    told: BTreeMap<AgentId, Acceptor>,
    above: Option<Ballot>,
    promised: BTreeSet<AgentId>,
    /// Those of them who may have forgotten, too: they count only when all have been heard.
    unsure: BTreeSet<AgentId>,
    until: Mono,
    ask_at: Mono,
}

impl Recovery {
    pub(super) fn deadline(&self) -> Mono {
        self.ask_at.min(self.until)
    }

    /// How many have told of this change as accepted.
    fn tellers(&self, change: &Change) -> usize {
        let tells = |told: &&Acceptor| told.accepted.as_ref().is_some_and(|(_, accepted)| accepted == change);
        self.told.values().filter(tells).count()
    }

    /// Whose word stands: nobody's before it has promised to take part in nothing earlier any more.
    fn said(&self) -> &BTreeSet<AgentId> {
        if self.above.is_some() { &self.promised } else { &self.heard }
    }

    /// Have some told of a change that too few have, unless others of whom that is not known yet have as well?
    fn depends_on_unheard(&self, others: usize) -> bool {
        let told = self.told.values().filter_map(|told| told.accepted.as_ref());
        let mut tellers = told.map(|(_, change)| self.tellers(change));
        self.said().len() < others && tellers.any(|tellers| tellers < others.div_ceil(2))
    }

    /// What this agent may have forgotten. A round far beyond all others' is one member's invention, and so is a change that fewer have accepted than make a
    /// majority together with this agent, even with all who may still accept it: it was never agreed, and will not be.
    fn credible(&self, others: usize, own_round: u64) -> Acceptor {
        let mut rounds: Vec<_> = self.told.values().map(|told| told.promised.round).collect();
        rounds.sort_unstable_by(|a, b| b.cmp(a));
        let second = rounds.get(1).or(rounds.first()).copied().unwrap_or(0);
        let limit = second.max(own_round).saturating_add(MAX_ROUND_STEP);
        let unheard = others.saturating_sub(self.promised.difference(&self.unsure).count());
        let mut learnt = Acceptor::default();
        for told in self.told.values() {
            let agreed = |(ballot, change): &(Ballot, Change)| {
                ballot.round <= limit && self.tellers(change) + unheard >= others.div_ceil(2)
            };
            let accepted = told.accepted.clone().filter(agreed);
            let promised = if told.promised.round <= limit { told.promised } else { Ballot::default() };
            learnt.learn(&Acceptor { promised, accepted });
        }
        learnt
    }
}

impl Engine {
    /// After a start into an existing roster: others are asked first.
    pub(super) fn begin_recovery(&mut self, has_disk: bool) {
        if self.roster.len() < 2 || !self.roster.contains(self.me()) {
            return;
        }
        let patience = if has_disk { PATIENCE_WITH_DISK } else { PATIENCE_WITHOUT };
        let now = self.now.mono;
        self.adoption.recovery = Some(Recovery {
            since: now,
            heard: BTreeSet::new(),
            told: BTreeMap::new(),
            above: None,
            promised: BTreeSet::new(),
            unsure: BTreeSet::new(),
            until: now + patience,
            ask_at: now,
        });
    }

    /// May this agent have forgotten what it has promised?
    pub(super) fn is_recovering(&self) -> bool {
        self.adoption.recovery.is_some()
    }

    /// What this agent has accepted; that it may have forgotten what, if it has not learnt that yet.
    pub(super) fn or_forgotten(&self, accepted: Option<(Ballot, Change)>) -> Option<(Ballot, Change)> {
        accepted.or_else(|| self.is_recovering().then(Acceptor::forgotten))
    }

    pub(super) fn hear_acceptor(&mut self, from: AgentId, epoch: u64, acceptor: &Acceptor) {
        let ours = self.roster.epoch();
        let unheard_of = |(_, change): &(Ballot, Change)| !self.unknown_in(change).is_empty();
        if epoch == ours && self.is_recovering() && acceptor.accepted.as_ref().is_some_and(unheard_of) {
            // It is heard once those that it would let in are known here; one that has made them up is not.
            self.begin_sync(from);
            return;
        }
        let Some(recovery) = self.adoption.recovery.as_mut().filter(|_| epoch <= ours && self.roster.contains(from))
        else {
            return;
        };
        let mut acceptor = acceptor.clone();
        // Two that have both forgotten can tell each other nothing.
        let sure = acceptor.accepted != Some(Acceptor::forgotten());
        if !sure {
            acceptor.accepted = None;
        }
        if sure {
            recovery.unsure.remove(&from);
        } else if recovery.unsure.insert(from) {
            recovery.promised.remove(&from);
        }
        recovery.heard.insert(from);
        let sound = acceptor.accepted.as_ref().is_none_or(|(_, change)| self.roster.after(change).is_some());
        if epoch == ours && sound {
            recovery.told.entry(from).or_default().learn(&acceptor);
            if recovery.above.is_some_and(|above| acceptor.promised >= above) {
                recovery.promised.insert(from);
            }
        }
        self.advance_recovery();
    }

    fn advance_recovery(&mut self) {
        let Some(recovery) = &self.adoption.recovery else { return };
        let (enough, others) = (enough_to_recover(self.roster.len()), self.roster.len().saturating_sub(1));
        let unsure = &recovery.unsure;
        let suffice = |said: &BTreeSet<AgentId>| said.len() >= others || said.difference(unsure).count() >= enough;
        // What only a few have told waits for those who may answer yet.
        let late = self.now.mono.since(recovery.since) >= ASK_AGAIN;
        let clear = late || !recovery.depends_on_unheard(others);
        match recovery.above {
            None if suffice(&recovery.heard) && clear => self.rise_above_forgotten(),
            Some(_) if suffice(&recovery.promised) && clear => self.end_recovery(),
            _ => {}
        }
    }

    /// What others have told, as far as one of them alone cannot have made it up.
    fn learnt(&self) -> Acceptor {
        let (others, own_round) = (self.roster.len().saturating_sub(1), self.epochs.acceptor.promised.round);
        let recovery = self.adoption.recovery.as_ref();
        recovery.map_or_else(Acceptor::default, |recovery| recovery.credible(others, own_round))
    }

    fn rise_above_forgotten(&mut self) {
        // What they have accepted they may still tell of, or accept.
        let learnt = Acceptor { accepted: None, ..self.learnt() };
        self.epochs.acceptor.learn(&learnt);
        let above = self.epochs.acceptor.above_forgotten(self.me());
        if let Some(recovery) = &mut self.adoption.recovery {
            recovery.above = Some(above);
            recovery.since = self.now.mono;
            recovery.ask_at = self.now.mono + ASK_AGAIN;
        }
        // It is the highest that is known: the promise is given.
        let _ = self.epochs.acceptor.promise(above);
        let others: Vec<_> = self.roster.iter().filter(|agent| *agent != self.me()).collect();
        self.ask_promises(above, &others);
    }

    fn ask_promises(&mut self, ballot: Ballot, others: &[AgentId]) {
        let epoch = self.roster.epoch() + 1;
        let packet = Packet::Epoch(EpochTalk::Prepare { epoch, ballot, wanted: Change::default() });
        others.iter().for_each(|agent| self.send_stream(*agent, &packet));
    }

    /// Is this a promise that a recovering agent has asked for?
    pub(super) fn take_recovery_promise(
        &mut self,
        from: AgentId,
        epoch: u64,
        ballot: Ballot,
        accepted: &Option<(Ballot, Change)>,
    ) -> bool {
        let asked = self.adoption.recovery.as_ref().is_some_and(|recovery| recovery.above == Some(ballot));
        if asked && epoch == self.roster.epoch() + 1 {
            let acceptor = Acceptor { promised: ballot, accepted: accepted.clone() };
            self.hear_acceptor(from, self.roster.epoch(), &acceptor);
        }
        asked
    }

    /// Whoever has promised more than it was asked for is asked what it has accepted.
    pub(super) fn take_recovery_refusal(&mut self, from: AgentId, promised: Ballot) {
        let recovery = self.adoption.recovery.as_ref();
        if recovery.is_some_and(|recovery| recovery.above.is_some_and(|above| promised >= above)) {
            self.ask_epochs(from);
        }
    }

    fn end_recovery(&mut self) {
        let learnt = self.learnt();
        self.epochs.acceptor.learn(&learnt);
        self.adoption.recovery = None;
        self.epochs.dirty = true;
        self.persist_now();
    }

    pub(super) fn run_recovery(&mut self) {
        let now = self.now.mono;
        let Some(recovery) = &mut self.adoption.recovery else { return };
        if recovery.until <= now {
            self.end_recovery();
        } else if recovery.ask_at <= now {
            recovery.ask_at = now + ASK_AGAIN;
            let asking = recovery.above;
            self.advance_recovery();
            let Some(recovery) = self.adoption.recovery.as_ref().filter(|recovery| recovery.above == asking) else {
                return;
            };
            let said = recovery.said();
            let silent: Vec<_> = self
                .roster
                .iter()
                .filter(|a| *a != self.config.agent && (!said.contains(a) || recovery.unsure.contains(a)))
                .collect();
            match recovery.above {
                Some(above) => self.ask_promises(above, &silent),
                None => silent.into_iter().for_each(|agent| self.ask_epochs(agent)),
            }
        }
    }

    /// The roster has changed: what was told of the agreement on that is over.
    pub(super) fn begin_recovery_anew(&mut self) {
        if let Some(recovery) = &mut self.adoption.recovery {
            recovery.since = self.now.mono;
            recovery.heard.clear();
            recovery.told.clear();
            recovery.promised.clear();
            recovery.unsure.clear();
            recovery.above = None;
            recovery.ask_at = self.now.mono;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(agent: u64) -> Change {
        Change { admit: Vec::new(), remove: vec![AgentId(agent)] }
    }

    fn told(round: u64, accepted: Option<(u64, u64)>) -> Acceptor {
        let ballot = |round| Ballot { round, proposer: AgentId(9) };
        Acceptor { promised: ballot(round), accepted: accepted.map(|(round, agent)| (ballot(round), change(agent))) }
    }

    /// Who has told this, so many of whom have promised as well.
    fn recovery(told: &[Acceptor], promised: u64) -> Recovery {
        Recovery {
            since: Mono(0),
            heard: (1..=told.len() as u64).map(AgentId).collect(),
            told: (1..).map(AgentId).zip(told.iter().cloned()).collect(),
            above: (promised > 0).then(Ballot::default),
            promised: (1..=promised).map(AgentId).collect(),
            unsure: BTreeSet::new(),
            until: Mono(0),
            ask_at: Mono(0),
        }
    }

    #[test]
    fn a_round_far_beyond_the_others_is_not_learnt() {
        let heard = recovery(&[told(3, None), told(u64::MAX, Some((u64::MAX, 5))), told(2, None)], 3);
        assert_eq!(heard.credible(4, 0), told(3, None));
        let heard = recovery(&[told(3, None), told(MAX_ROUND_STEP, None)], 2);
        assert_eq!(heard.credible(2, 0).promised.round, MAX_ROUND_STEP, "within a step of the others");
        let alone = recovery(&[told(u64::MAX / 2, None)], 1);
        assert_eq!(alone.credible(1, 0).promised.round, u64::MAX / 2, "of two there is nobody else to ask");
    }

    #[test]
    fn what_can_have_been_agreed_is_learnt_and_what_cannot_is_not() {
        let (none, one) = (told(3, None), told(3, Some((3, 5))));
        // Of five, three agree: this agent and two others.
        let four = [one.clone(), none.clone(), none.clone(), none.clone()];
        assert_eq!(recovery(&four, 4).credible(4, 0), none);
        assert_eq!(recovery(&four, 3).credible(4, 0), one, "who has not promised may accept it yet");
        assert_eq!(recovery(&four, 0).credible(4, 0), one);
        assert_eq!(recovery(&[one.clone(), one.clone(), none.clone(), none.clone()], 4).credible(4, 0), one);
        // Of three, this agent and one other.
        assert_eq!(recovery(&[one.clone(), none.clone()], 2).credible(2, 0), one);
    }

    #[test]
    fn what_few_have_told_waits_for_those_who_may_answer_yet() {
        let (none, one) = (told(3, None), told(3, Some((3, 5))));
        for promised in [0, 3] {
            assert!(recovery(&[one.clone(), none.clone(), none.clone()], promised).depends_on_unheard(4));
            assert!(!recovery(&[one.clone(), one.clone(), none.clone()], promised).depends_on_unheard(4));
            assert!(!recovery(&[none.clone(), none.clone(), none.clone()], promised).depends_on_unheard(4));
        }
        let all = [one, none.clone(), none.clone(), none];
        assert!(recovery(&all, 3).depends_on_unheard(4));
        assert!(!recovery(&all, 4).depends_on_unheard(4) && !recovery(&all, 0).depends_on_unheard(4));
    }
}

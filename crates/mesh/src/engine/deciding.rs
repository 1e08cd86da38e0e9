//! How a verdict changes: an observer proposes, the others sign if they agree at that moment, and a quorum of signatures is the proof.

use super::certificates::Origin;
use super::instance::{Instance, Proposal};
use super::pacing::request_gap;
use super::signing::endorsement_bytes;
use super::{Engine, limits};
use crate::sabotage::Defect;
use quorate_core::opinion::{acquits, opinion};
use quorate_core::signing::{Refusal, SIGNATURE_LIFE, TERM_LEAD};
use quorate_core::verdict::{Certificate, Decision, Endorsement, supports};
use quorate_core::{AgentId, InstanceId, Mono, Verdict, Vote};
use quorate_wire::{Answer, Packet, Reply};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Rounds are remembered this long; answers that come later are ignored.
const ROUND_LIFE: Duration = Duration::from_secs(2);
/// Asked that often in vain, a proposer waits longer and longer, twice as long each time, until it asks again. Thousands of proposals that wait for the
/// same agent would otherwise keep it, and the proposer, too busy ever to answer within the life of a signature.
const ASKED_AT_FULL_PACE: u32 = 2;
/// So long, in multiples of the interval, it waits at most.
const MAX_PATIENCE: u32 = 16;
/// The wait before the second of a pair of askings: whoever had to call the roll first, and so could not sign, can by then. A roll call holds for less time
/// than the long wait takes, so it must not end before, either.
const SECOND_ASKING: u32 = 2;

/// In multiples of the interval: how long answers are waited for when it has been asked so often.
fn patience(asked: u32) -> u32 {
    match asked {
        0..=ASKED_AT_FULL_PACE => 1,
        _ if asked.is_multiple_of(2) => 1_u32.checked_shl(asked / 2).unwrap_or(MAX_PATIENCE).clamp(1, MAX_PATIENCE),
        _ => SECOND_ASKING,
    }
}

impl Engine {
    /// Forms an opinion anew of everything that has changed.
    pub(super) fn evaluate_dirty(&mut self) {
        if std::mem::take(&mut self.evaluate_all) {
            self.dirty.extend(self.instances.keys().cloned());
        }
        for id in std::mem::take(&mut self.dirty) {
            self.evaluate(&id);
        }
    }

    fn evaluate(&mut self, id: &InstanceId) {
        self.mark_staleness(id);
        let wanted = self.wanted(id);
        let Some(instance) = self.instances.get(id) else { return };
        let settled_term = instance.term().max(instance.signer.certified);
        match (&instance.proposal, wanted) {
            (None, None) => {}
            (Some(proposal), Some(verdict)) if proposal.verdict == verdict && proposal.term > settled_term => {}
            (_, None) => self.drop_proposal(id),
            (_, Some(verdict)) => {
                self.drop_proposal(id);
                self.begin_proposal(id, verdict);
            }
        }
    }

    /// The verdict this agent would have decided, if it is another than the one that holds.
    fn wanted(&self, id: &InstanceId) -> Option<Verdict> {
        let instance = self.instances.get(id)?;
        instance.watch.as_ref()?;
        if !self.settled() || !self.quorate() {
            return None;
        }
        let verdict = opinion(&self.ballot(instance)).or_else(|| self.lives_again(instance))?;
        let superseded = instance.is_superseded();
        if instance.is_host() && verdict == Verdict::Up && instance.certificate.is_none() && !superseded {
            return None;
        }
        let thin = instance.certificate.as_ref().is_some_and(|certificate| self.is_thin(instance, certificate));
        if instance.decided() == verdict && !thin && !superseded {
            return None;
        }
        (!self.comes_too_soon(instance, verdict)).then_some(verdict)
    }

    /// Of a host that is not up, all that are left of an even number of observers reach it, and with the agent there they are a quorum.
    fn lives_again(&self, host: &Instance) -> Option<Verdict> {
        if !host.condemned() || !host.answers_for_itself(Verdict::Up) || !self.heard(host.home) {
            return None;
        }
        let voters = self.ballot(host).voters;
        let all_pass = voters.iter().all(|voter| voter.vote == Vote::Pass);
        (all_pass && voters.len() + 1 >= host.quorum()).then_some(Verdict::Up)
    }

    /// The first observer proposes at once, each next one a little later, and those who see otherwise last.
    fn begin_proposal(&mut self, id: &InstanceId, verdict: Verdict) {
        let me = self.me();
        let Some(instance) = self.instances.get_mut(id) else { return };
        let rank = instance.observers.iter().position(|agent| *agent == me).unwrap_or(instance.observers.len());
        let agrees = instance.watch.as_ref().is_some_and(|watch| supports(watch.vote, verdict));
        let place = if agrees { rank } else { rank + instance.observers.len() };
        // Whoever saw it fail, or answer again, asks the others to look: what they find is waited for.
        let gap = instance.check.as_ref().map_or(Duration::ZERO, |check| request_gap(check));
        let partial = verdict == Verdict::Partial;
        let wait = if partial { self.config.timing.propose_interval + gap } else { Duration::ZERO };
        let due = self.now.mono + self.config.timing.rank_delay * place as u32 + wait;
        let term = instance.signer.certified.max(instance.term()).saturating_add(1);
        let (endorsements, dissent) = (BTreeMap::new(), BTreeMap::new());
        instance.proposal = Some(Box::new(Proposal { verdict, term, endorsements, dissent, due, asked: 0 }));
        self.proposals_due.insert((due, id.clone()));
    }

    pub(super) fn drop_proposal(&mut self, id: &InstanceId) {
        if let Some(proposal) = self.instances.get_mut(id).and_then(|instance| instance.proposal.take()) {
            self.proposals_due.remove(&(proposal.due, id.clone()));
        }
    }

    /// Asks, or asks again. What does not fit into a turn is due in the next one, after what has come meanwhile.
    pub(super) fn run_proposals(&mut self) {
        for _ in 0..limits::MAX_PROPOSALS_PER_TURN {
            let Some((due, id)) = self.proposals_due.first().cloned() else { return };
            if due > self.now.mono {
                return;
            }
            self.proposals_due.pop_first();
            if let Some(proposal) = self.instances.get_mut(&id).and_then(|instance| instance.proposal.as_mut()) {
                proposal.asked = proposal.asked.saturating_add(1);
                let (interval, half) = (self.config.timing.propose_interval, self.config.timing.roll_call_life / 2);
                let wait = match patience(proposal.asked) {
                    SECOND_ASKING => (interval * SECOND_ASKING).min(half).max(interval),
                    times => interval.saturating_mul(times),
                };
                proposal.due = self.now.mono + wait;
                self.proposals_due.insert((proposal.due, id.clone()));
                self.propose(&id);
            }
        }
    }

    fn propose(&mut self, id: &InstanceId) {
        // Opinions age: a roll call or a threshold may have changed it since.
        let wanted = self.wanted(id);
        let Some(instance) = self.instances.get_mut(id) else { return };
        let Some(proposal) = &mut instance.proposal else { return };
        if wanted != Some(proposal.verdict) {
            self.drop_proposal(id);
            return;
        }
        self.stats.proposals += 1;
        let decision = Decision {
            instance: id.clone(),
            incarnation: instance.incarnation,
            term: proposal.term,
            verdict: proposal.verdict,
            observers: instance.assigned,
        };
        let mut observers = instance.observers.clone();
        observers.extend(instance.answers_for_itself(decision.verdict).then_some(instance.home));
        let me = self.me();
        self.add_up(&decision);
        match self.consider(&decision, true) {
            Reply::Signed(endorsement) => self.note_endorsement(id, endorsement, self.lease_clock()),
            Reply::Promised(Refusal::Taken { term } | Refusal::Certified { term }) => {
                self.raise_term(id, term.saturating_add(1))
            }
            Reply::Disagrees(vote) => self.note_dissent(id, me, vote, self.lease_clock()),
            _ => {}
        }
        for observer in observers.into_iter().filter(|agent| *agent != me) {
            if self.swim.is_active(observer) || self.links.contains(&observer) {
                self.asked.entry(observer).or_default().push(decision.clone());
            }
        }
        self.try_decide(id);
    }

    /// Sends what was asked in this turn, a packet for each observer.
    pub(super) fn flush_decisions(&mut self) {
        if self.asked.is_empty() {
            return;
        }
        let nonce = self.fresh_nonce();
        let now = self.lease_clock();
        self.rounds.retain(|_, at| now.since(*at) < ROUND_LIFE);
        if self.rounds.len() >= limits::MAX_NONCES {
            self.stats.limits_hit += 1;
            self.asked.clear();
            return;
        }
        self.rounds.insert(nonce, now);
        for (to, decisions) in std::mem::take(&mut self.asked) {
            for chunk in decisions.chunks(limits::MAX_DECISIONS) {
                self.send(to, &Packet::Propose { nonce, decisions: chunk.to_vec() });
            }
        }
    }

    pub(super) fn receive_proposals(&mut self, from: AgentId, nonce: u64, decisions: Vec<Decision>) {
        let mut answers = Vec::new();
        for decision in decisions.into_iter().take(limits::MAX_DECISIONS) {
            let reply = self.reply_to(from, &decision);
            if reply == Reply::Unknown {
                self.begin_sync(from);
            }
            answers.push(Answer { instance: decision.instance, term: decision.term, reply });
        }
        self.send(from, &Packet::Answers { nonce, answers });
    }

    pub(super) fn receive_answers(&mut self, from: AgentId, nonce: u64, answers: Vec<Answer>) {
        let Some(asked) = self.rounds.get(&nonce).copied() else { return };
        for answer in answers.into_iter().take(limits::MAX_DECISIONS) {
            self.receive_answer(from, asked, answer);
        }
    }

    fn receive_answer(&mut self, from: AgentId, asked: Mono, answer: Answer) {
        let id = &answer.instance;
        match answer.reply {
            Reply::Certified(certificate) => return self.take_certificate(certificate, Origin::Repaired),
            Reply::UsedUp(proof) => return self.take_certificate(proof, Origin::UsedUp),
            _ => {}
        }
        let Some(instance) = self.instances.get_mut(id) else { return };
        if !instance.observers.contains(&from) && from != instance.home {
            return;
        }
        let may_sign = |verdict| instance.may_sign(from, verdict);
        let signs = instance.proposal.as_ref().is_some_and(|proposal| may_sign(proposal.verdict));
        let Some(proposal) = instance.proposal.as_mut().filter(|proposal| proposal.term == answer.term) else { return };
        match answer.reply {
            Reply::Signed(endorsement) => {
                if endorsement.agent == from && signs && self.endorsement_holds(id, &endorsement) {
                    self.note_endorsement(id, endorsement, asked);
                } else {
                    self.stats.packets_refused += 1;
                }
            }
            Reply::Disagrees(vote) => self.note_dissent(id, from, vote, asked),
            Reply::Promised(Refusal::Taken { term } | Refusal::Certified { term }) => {
                self.raise_term(id, term.saturating_add(1));
            }
            Reply::Unknown => self.begin_sync(from),
            Reply::NotNow => {
                proposal.endorsements.remove(&from);
            }
            Reply::Promised(Refusal::TooFarAhead { limit }) => {
                let used_up = instance.used_up.clone().filter(|proof| proof.decision.term > limit);
                if let Some(proof) = used_up {
                    self.send(from, &Packet::UsedUp { certificates: vec![proof] });
                }
            }
            Reply::Certified(_) | Reply::UsedUp(_) => {}
        }
        self.try_decide(&answer.instance);
    }

    /// Is the signature under our running proposal genuine, and does the signer's own vote support it?
    fn endorsement_holds(&self, id: &InstanceId, endorsement: &Endorsement) -> bool {
        let Some(instance) = self.instances.get(id) else { return false };
        let Some(proposal) = &instance.proposal else { return false };
        let decision = Decision {
            instance: id.clone(),
            incarnation: instance.incarnation,
            term: proposal.term,
            verdict: proposal.verdict,
            observers: instance.assigned,
        };
        supports(endorsement.vote, proposal.verdict) && self.signature_holds(&decision, endorsement)
    }

    pub(super) fn signature_holds(&self, decision: &Decision, endorsement: &Endorsement) -> bool {
        let bytes = endorsement_bytes(decision, endorsement.vote, endorsement.signed_at);
        self.trusts_blindly() || self.signed_by(endorsement.agent, &bytes, &endorsement.signature)
    }

    fn note_endorsement(&mut self, id: &InstanceId, endorsement: Endorsement, asked: Mono) {
        if let Some(proposal) = self.instances.get_mut(id).and_then(|instance| instance.proposal.as_mut()) {
            proposal.dissent.remove(&endorsement.agent);
            proposal.endorsements.insert(endorsement.agent, (endorsement, asked));
        }
    }

    fn note_dissent(&mut self, id: &InstanceId, from: AgentId, vote: Vote, asked: Mono) {
        if let Some(proposal) = self.instances.get_mut(id).and_then(|instance| instance.proposal.as_mut()) {
            proposal.endorsements.remove(&from);
            proposal.dissent.insert(from, (vote, asked));
        }
    }

    /// The term is promised to another verdict: take a higher one, and ask anew soon.
    fn raise_term(&mut self, id: &InstanceId, term: u64) {
        let now = self.now.mono;
        let Some(instance) = self.instances.get_mut(id) else { return };
        // No further than anyone would sign: a false refusal must not carry the proposal out of reach.
        let term = term.min(instance.signer.certified.max(instance.term()).saturating_add(TERM_LEAD));
        let Some(proposal) = &mut instance.proposal else { return };
        if proposal.term < term {
            proposal.term = term;
            proposal.endorsements.clear();
            self.proposals_due.remove(&(proposal.due, id.clone()));
            proposal.due = now;
            self.proposals_due.insert((now, id.clone()));
        }
    }

    /// Enough signatures of this moment? Then it is decided.
    fn try_decide(&mut self, id: &InstanceId) {
        let now = self.lease_clock();
        let Some(instance) = self.instances.get(id) else { return };
        let Some(proposal) = &instance.proposal else { return };
        let fresh = |asked: Mono| now.since(asked) < SIGNATURE_LIFE || self.defective(Defect::SignaturesKeep);
        let signed: Vec<_> =
            proposal.endorsements.values().filter(|(_, asked)| fresh(*asked)).map(|(e, _)| e.clone()).collect();
        let reaching = proposal.dissent.iter().filter(|(_, (vote, asked))| vote.reaches() && fresh(*asked));
        let reaching: Vec<_> = reaching.map(|(agent, _)| *agent).collect();
        let (against, home_reaches) = (reaching.len(), !instance.is_host() && reaching.contains(&instance.home));
        if signed.len() < instance.quorum() {
            return;
        }
        // Who did not find its name condemns nothing that somebody reaches: the rule of opinions, with the votes of this moment.
        let condemn = signed.iter().filter(|e| against == 0 || !e.vote.fails_unproven()).count();
        let strained = self.service_strained(instance);
        let blocked = acquits(against as u32, home_reaches, condemn as u32, strained) || condemn < instance.quorum();
        if proposal.verdict == Verdict::Down && blocked {
            return;
        }
        // Who no longer reaches it may not have failed often enough to say so: somebody must say now that it does.
        if proposal.verdict == Verdict::Partial && against == 0 && !signed.iter().any(|e| e.vote.reaches()) {
            return;
        }
        let decision = Decision {
            instance: id.clone(),
            incarnation: instance.incarnation,
            term: proposal.term,
            verdict: proposal.verdict,
            observers: instance.assigned,
        };
        let class = self.class_at_decision(instance, proposal.verdict);
        let certificate = Certificate { decision, class, decided_at: self.now.wall, endorsements: signed };
        self.stats.certificates_made += 1;
        self.take_certificate(Arc::new(certificate), Origin::Made);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_in_vain_becomes_patient() {
        let waits: Vec<_> = (1..=10).map(patience).collect();
        assert_eq!(waits, [1, 1, 2, 4, 2, 8, 2, 16, 2, 16]);
        assert_eq!((patience(u32::MAX), patience(u32::MAX - 1)), (2, 16));
    }
}

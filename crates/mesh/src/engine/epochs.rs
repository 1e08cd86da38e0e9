//! How the roster changes: the next epoch is agreed by more than half of the present one, each epoch once. See [`quorate_core::roster`] for
//! the rules; here they are driven, stored, signed, and told to those who missed one.
//!
//! An agent that has accepted a change stands by its epoch no more, and is not counted in it: else its present majority and that of the next
//! epoch could decide side by side. It takes one exchange of messages, or the next member's attempt, until it knows how the change went.

use super::instance::Instance;
use super::{Engine, limits};
use crate::api::MemberState;
use quorate_core::roster::{Acceptor, Attempt, Ballot, Change};
use quorate_core::{AgentId, InstanceId, Mono, Verdict, hash};
use quorate_wire::{EpochTalk, Packet, RosterProof, encode_value};
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How long changes are collected before they are proposed, beside [`COLLECT_EACH`] per member: those that join together are admitted together.
const COLLECT: Duration = Duration::from_millis(100);
const COLLECT_EACH: Duration = Duration::from_millis(1);
/// Each next member waits this much longer before it makes an attempt of its own, up to [`MAX_RANK`] times.
const RANK_DELAY: Duration = Duration::from_millis(300);
const MAX_RANK: u32 = 8;
/// An attempt is given up after this long, beside [`COLLECT_EACH`] per member.
const ATTEMPT_LIFE: Duration = Duration::from_secs(2);
/// The wait after an attempt that failed, doubled up to [`MAX_TRIES`] times.
const BACKOFF: Duration = Duration::from_millis(200);
const MAX_TRIES: u32 = 4;
/// A ballot further ahead than this is not answered: rounds that nobody can surpass would block all other attempts.
pub(super) const MAX_ROUND_STEP: u64 = 1 << 16;
/// Of those who are to be let in and are not known here, so many are asked at a time.
const MAX_ASKED_AT_ONCE: usize = 3;
/// Changes kept for those who missed them, in number and in bytes.
pub(super) const MAX_PROOFS: usize = 64;
const MAX_PROOF_BYTES: usize = 128 * 1024;
/// What an agent knows of the agreement on epochs.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    pub acceptor: Acceptor,
    running: Option<Running>,
    next_try: Option<Mono>,
    tries: u32,
    proofs: VecDeque<Arc<RosterProof>>,
    proof_bytes: usize,
    /// Is it to be considered anew whether the roster should change?
    pub dirty: bool,
    /// Whom the operator gave up: forgotten as soon as they are down by quorum.
    pub given_up: BTreeSet<AgentId>,
    unanswered: Option<Unanswered>,
}

/// Words of an attempt that would let in agents of which this agent has not heard itself. It answers once it has: a faulty member could have made
/// them up, and who never comes would count against every majority.
#[derive(Debug)]
struct Unanswered {
    from: AgentId,
    talk: EpochTalk,
    unknown: BTreeSet<AgentId>,
}

/// This agent's own attempt.
#[derive(Debug)]
struct Running {
    attempt: Attempt,
    signatures: BTreeMap<AgentId, Vec<u8>>,
    until: Mono,
    /// Has somebody promised far more than it asks for?
    outbid: bool,
}

impl Epochs {
    /// What was stored, to be trusted once others have been asked.
    pub fn restored(acceptor: Acceptor, proofs: Vec<Arc<RosterProof>>) -> Self {
        let mut epochs = Self { acceptor, ..Self::default() };
        proofs.into_iter().for_each(|proof| epochs.keep(proof));
        epochs
    }

    pub fn proofs(&self) -> impl Iterator<Item = &Arc<RosterProof>> {
        self.proofs.iter()
    }

    /// A new epoch: what was under way towards it is over. `follows`: the change that made it is the last one kept.
    pub fn turn(&mut self, follows: bool) {
        self.acceptor = Acceptor::default();
        self.running = None;
        self.unanswered = None;
        self.next_try = None;
        self.tries = 0;
        self.dirty = true;
        if !follows {
            self.proofs.clear();
            self.proof_bytes = 0;
        }
    }

    pub fn keep(&mut self, proof: Arc<RosterProof>) {
        self.proof_bytes += encode_value(&proof).len();
        self.proofs.push_back(proof);
        while self.proofs.len() > MAX_PROOFS || (self.proof_bytes > MAX_PROOF_BYTES && self.proofs.len() > 1) {
            if let Some(old) = self.proofs.pop_front() {
                self.proof_bytes -= encode_value(&old).len();
            }
        }
    }
}

impl Engine {
    /// Does this agent stand by its epoch: it counts in it, has not accepted a change of it, and has not forgotten one?
    pub(super) fn stands_by_epoch(&self) -> bool {
        self.roster.contains(self.me()) && self.epochs.acceptor.accepted.is_none() && !self.is_recovering()
    }

    pub(super) fn epochs_deadline(&self) -> Option<Mono> {
        let epochs = &self.epochs;
        let running = epochs.running.as_ref().map(|running| running.until);
        [running, epochs.next_try, self.adoption_deadline()].into_iter().flatten().min()
    }

    pub(super) fn run_epochs(&mut self) {
        let now = self.now.mono;
        if self.epochs.running.as_ref().is_some_and(|running| running.until <= now) {
            self.abandon_attempt();
        }
        self.run_adoption();
        if self.epochs.next_try.is_some_and(|at| at <= now) {
            self.epochs.next_try = None;
            self.try_epoch();
        }
    }

    /// Should the roster change, or a change begun by somebody be brought to its end? Then an attempt is planned.
    pub(super) fn consider_epoch(&mut self) {
        if !std::mem::take(&mut self.epochs.dirty) {
            return;
        }
        let unfinished = self.epochs.acceptor.accepted.is_some();
        let planned = self.epochs.running.is_some() || self.epochs.next_try.is_some();
        if !planned && self.may_attempt() && (unfinished || !self.wanted_change().is_empty()) {
            let collect = if unfinished { RANK_DELAY } else { COLLECT };
            let delay = collect + COLLECT_EACH * self.roster.len() as u32 + RANK_DELAY * self.epoch_rank();
            self.epochs.next_try = Some(self.now.mono + delay);
        }
    }

    fn may_attempt(&self) -> bool {
        self.roster.contains(self.me()) && self.caught_up() && !self.is_recovering() && !self.left
    }

    /// This agent's place among those that would propose: another order for each epoch, so that one slow member delays few.
    fn epoch_rank(&self) -> u32 {
        let place = |agent: AgentId| hash::mix(&[self.roster.epoch(), agent.0]);
        let mine = place(self.me());
        let before = self.roster.iter().filter(|agent| place(*agent) < mine && self.swim.is_active(*agent)).count();
        (before as u32).min(MAX_RANK)
    }

    /// What this agent would have changed: living agents that do not count yet, and those that count but have left or been gone for long.
    fn wanted_change(&self) -> Change {
        let all = self.roster.len();
        if self.reached == all && self.swim.active_count() + 1 == all && self.members.len() == all {
            // Everyone that counts is there, and nobody else.
            return Change::default();
        }
        let arrived = |agent: &AgentId| {
            (self.swim.is_active(*agent) || *agent == self.me())
                && self.agents.get(agent).is_some_and(|known| known.profile.is_some())
                && self.is_newcomer(*agent)
        };
        let left = self.agents.iter().filter(|(_, known)| known.state == MemberState::Left).map(|(agent, _)| *agent);
        let gone: BTreeSet<_> = left.chain(self.forgettable()).filter(|agent| self.roster.contains(*agent)).collect();
        let admit: Vec<_> = self.roster.others(&self.members).filter(arrived).take(Change::MAX_AGENTS / 2).collect();
        let remove: Vec<_> = gone.into_iter().take(Change::MAX_AGENTS / 2).collect();
        Change { admit, remove }
    }

    /// Agents whose hosts have been down, by quorum, for so long that they need not count any more.
    fn forgettable(&self) -> impl Iterator<Item = AgentId> + '_ {
        let (first, last) = (InstanceId::host(AgentId(0)), InstanceId::host(AgentId(u64::MAX)));
        let down = self.instances.range(first..=last).filter(|(_, host)| host.decided() == Verdict::Down);
        let long = |host: &Instance| self.now.mono.since(host.learnt) >= self.config.timing.forget_after;
        down.filter_map(move |(id, host)| Some((id.host_of()?, host)))
            .filter(move |(agent, host)| self.epochs.given_up.contains(agent) || long(host))
            .map(|(agent, _)| agent)
            .filter(|agent| *agent != self.me() && !self.swim.is_active(*agent))
    }

    /// The operator does not expect this agent back. Who answers, or is not down by quorum, stays all the same.
    pub(super) fn forget_early(&mut self, agent: AgentId) {
        if self.epochs.given_up.len() >= limits::MAX_CONTACTS {
            self.epochs.given_up.pop_first();
            self.stats.limits_hit += 1;
        }
        self.epochs.given_up.insert(agent);
        self.epochs.dirty = true;
    }

    /// A host was found to be down: it may be one that the operator gave up.
    pub(super) fn reconsider_given_up(&mut self) {
        self.epochs.dirty |= !self.epochs.given_up.is_empty();
    }

    /// Would this agent let the change happen? Nobody who answers is put out, and nobody without credentials or on its way out let in.
    fn agrees_with(&self, change: &Change) -> bool {
        let lets_in = |agent: &AgentId| {
            self.agents.get(agent).is_some_and(|known| known.state != MemberState::Left) || *agent == self.me()
        };
        let lets_go = |agent: &AgentId| {
            if *agent == self.me() { self.leaving.is_some() } else { !self.swim.is_active(*agent) }
        };
        change.admit.iter().all(lets_in) && change.remove.iter().all(lets_go)
    }

    fn try_epoch(&mut self) {
        if self.epochs.running.is_some() || !self.may_attempt() {
            return;
        }
        let accepted = self.epochs.acceptor.accepted.clone();
        let wanted = accepted.map_or_else(|| self.wanted_change(), |(_, change)| change);
        if self.roster.after(&wanted).is_none() || !self.roster.majority(self.within_reach()) {
            // Whoever cannot succeed does not begin; a change of membership makes it consider that anew.
            return;
        }
        self.stats.epoch_attempts += 1;
        let round = self.epochs.acceptor.promised.round.saturating_add(1);
        let ballot = Ballot { round, proposer: self.me() };
        let until = self.now.mono + ATTEMPT_LIFE + COLLECT_EACH * self.roster.len() as u32;
        let attempt = Attempt::new(ballot, wanted.clone());
        self.epochs.running = Some(Running { attempt, signatures: BTreeMap::new(), until, outbid: false });
        let epoch = self.roster.epoch() + 1;
        let promise = self.epochs.acceptor.promise(ballot);
        self.persist_now();
        self.tell_roster(&EpochTalk::Prepare { epoch, ballot, wanted });
        if let Ok(accepted) = promise {
            self.take_promise(self.me(), epoch, ballot, accepted);
        }
    }

    /// Members of the roster that may answer: those that are on their way out no longer show in membership, but their links do.
    fn within_reach(&self) -> usize {
        let answers = |a: &AgentId| *a == self.me() || self.swim.is_active(*a) || self.links.contains(a);
        self.roster.iter().filter(answers).count()
    }

    fn rise_to(&mut self, round: u64) {
        self.epochs.acceptor.promised = self.epochs.acceptor.promised.max(Ballot { round, proposer: AgentId(0) });
    }

    fn abandon_attempt(&mut self) {
        if self.epochs.running.take().is_some_and(|running| running.outbid) {
            self.rise_to(self.epochs.acceptor.promised.round.saturating_add(MAX_ROUND_STEP - 1));
        }
        self.epochs.tries = (self.epochs.tries + 1).min(MAX_TRIES);
        let wait = BACKOFF * (1 << self.epochs.tries) * self.rng.random_range(50..=150) / 100;
        self.epochs.next_try = Some(self.now.mono + wait);
    }

    fn tell_roster(&mut self, talk: &EpochTalk) {
        let packet = Packet::Epoch(talk.clone());
        let others: Vec<_> = self.roster.iter().filter(|agent| *agent != self.me()).collect();
        for agent in others {
            self.send_stream(agent, &packet);
        }
    }

    pub(super) fn reply_epoch(&mut self, to: AgentId, talk: EpochTalk) {
        self.send_stream(to, &Packet::Epoch(talk));
    }

    pub(super) fn receive_epoch(&mut self, from: AgentId, talk: EpochTalk) {
        match talk {
            // Whoever has forgotten its own words wants nothing changed, and may be answered by others that are still asking themselves.
            EpochTalk::Prepare { epoch, ballot, wanted } if self.may_answer(from, epoch, ballot, wanted.is_empty()) => {
                self.answer_prepare(from, epoch, ballot, &wanted);
            }
            EpochTalk::Accept { epoch, ballot, change } if self.may_answer(from, epoch, ballot, false) => {
                self.answer_accept(from, epoch, ballot, change);
            }
            EpochTalk::Promise { epoch, ballot, accepted } => self.take_promise(from, epoch, ballot, accepted),
            EpochTalk::Accepted { epoch, ballot, signature } => self.take_accepted(from, epoch, ballot, signature),
            EpochTalk::Refused { epoch, promised } => self.take_refusal(from, epoch, promised),
            EpochTalk::Ask { epoch } => self.tell_epochs(from, epoch),
            EpochTalk::Tell { epoch, proofs, members, acceptor } => {
                self.take_epochs(from, epoch, proofs, members, &acceptor);
            }
            EpochTalk::Prepare { .. } | EpochTalk::Accept { .. } => {}
        }
    }

    /// Is this the attempt of a member, towards the epoch after ours? Whoever is behind, or ahead, is brought to the same epoch first.
    fn may_answer(&mut self, from: AgentId, epoch: u64, ballot: Ballot, forgetful: bool) -> bool {
        self.meet_epoch(from, epoch.saturating_sub(1));
        self.forget_acceptor();
        let near = ballot.round <= self.epochs.acceptor.promised.round.saturating_add(MAX_ROUND_STEP);
        let fits = epoch == self.roster.epoch() + 1 && ballot.proposer == from && near;
        fits && self.roster.contains(from) && self.roster.contains(self.me()) && (forgetful || !self.is_recovering())
    }

    /// Those who would be let in and of whom this agent has not heard itself.
    pub(super) fn unknown_in(&self, change: &Change) -> BTreeSet<AgentId> {
        let known = |agent: &AgentId| self.agents.get(agent).is_some_and(|known| known.profile.is_some());
        change.admit.iter().copied().filter(|agent| !known(agent)).collect()
    }

    /// Are all who would be let in known here? If not, the answer waits until they are.
    fn knows_all(&mut self, from: AgentId, change: &Change, talk: impl FnOnce() -> EpochTalk) -> bool {
        let unknown = self.unknown_in(change);
        let all = unknown.is_empty();
        if !all {
            // Of one that was forgotten only its own word is believed.
            let near = unknown.iter().copied().filter(|agent| self.links.contains(agent)).take(MAX_ASKED_AT_ONCE);
            let asked: Vec<_> = [from].into_iter().chain(near).collect();
            self.epochs.unanswered = Some(Unanswered { from, talk: talk(), unknown });
            asked.into_iter().for_each(|agent| self.begin_sync(agent));
        }
        all
    }

    /// The credentials and the profile of an agent have come: whoever waits for an answer about it may get one.
    pub(super) fn now_known(&mut self, agent: AgentId) {
        let Some(waiting) = &mut self.epochs.unanswered else { return };
        if waiting.unknown.remove(&agent)
            && waiting.unknown.is_empty()
            && let Some(Unanswered { from, talk, .. }) = self.epochs.unanswered.take()
        {
            self.receive_epoch(from, talk);
        }
    }

    fn answer_prepare(&mut self, from: AgentId, epoch: u64, ballot: Ballot, wanted: &Change) {
        let sound = wanted.is_empty() || self.roster.after(wanted).is_some();
        let again = || EpochTalk::Prepare { epoch, ballot, wanted: wanted.clone() };
        let bound = self.epochs.acceptor.accepted.is_some();
        // Whoever has accepted a change can only bring that to its end, whether anybody still wants it or not.
        let free = !bound && !self.roll.found_between(from);
        if !sound || !bound && !self.knows_all(from, wanted, again) {
            return;
        }
        if free && !self.agrees_with(wanted) {
            // It may be bound to what nobody wants any more, and is not free until that is decided.
            self.ask_epochs(from);
            return;
        }
        let promised = self.epochs.acceptor.promised;
        match self.epochs.acceptor.promise(ballot) {
            Ok(accepted) => {
                if promised != ballot {
                    self.persist_now();
                }
                let accepted = self.or_forgotten(accepted);
                self.reply_epoch(from, EpochTalk::Promise { epoch, ballot, accepted });
            }
            Err(promised) => self.reply_epoch(from, EpochTalk::Refused { epoch, promised }),
        }
    }

    fn answer_accept(&mut self, from: AgentId, epoch: u64, ballot: Ballot, change: Change) {
        let again = || EpochTalk::Accept { epoch, ballot, change: change.clone() };
        if self.roster.after(&change).is_none() || !self.knows_all(from, &change, again) {
            return;
        }
        match self.accept_change(epoch, ballot, change) {
            Ok(signature) => self.reply_epoch(from, EpochTalk::Accepted { epoch, ballot, signature }),
            Err(promised) => self.reply_epoch(from, EpochTalk::Refused { epoch, promised }),
        }
    }

    fn accept_change(&mut self, epoch: u64, ballot: Ballot, change: Change) -> Result<Vec<u8>, Ballot> {
        let signature = self.keys.sign(&RosterProof::signing_bytes(epoch, self.roster.digest(), ballot, &change));
        let known = self.epochs.acceptor.clone();
        self.epochs.acceptor.accept(ballot, change)?;
        self.epochs.dirty = true;
        if self.epochs.acceptor != known {
            self.persist_now();
        }
        Ok(signature)
    }

    fn take_promise(&mut self, from: AgentId, epoch: u64, ballot: Ballot, accepted: Option<(Ballot, Change)>) {
        if self.take_recovery_promise(from, epoch, ballot, &accepted) {
            return;
        }
        // Nobody has accepted what is put to the vote later.
        let sound =
            accepted.as_ref().is_none_or(|(earlier, change)| *earlier <= ballot && self.roster.after(change).is_some());
        if accepted.as_ref().is_some_and(|(_, change)| !self.unknown_in(change).is_empty()) {
            // One member may have made it up, and put to the vote it would be accepted by nobody and bind whoever asks. Others' promises do as well.
            self.begin_sync(from);
            return;
        }
        let Some(running) = self.epochs.running.as_mut().filter(|running| running.attempt.ballot == ballot) else {
            return;
        };
        if epoch != self.roster.epoch() + 1 || !sound {
            return;
        }
        let Some(put) = running.attempt.promised(&self.roster, from, accepted).cloned() else { return };
        self.tell_roster(&EpochTalk::Accept { epoch, ballot, change: put.clone() });
        match self.accept_change(epoch, ballot, put) {
            Ok(signature) => self.take_accepted(self.me(), epoch, ballot, signature),
            Err(_) => self.abandon_attempt(),
        }
    }

    fn take_accepted(&mut self, from: AgentId, epoch: u64, ballot: Ballot, signature: Vec<u8>) {
        if epoch != self.roster.epoch() + 1 || !self.roster.contains(from) {
            return;
        }
        let Some(running) = self.epochs.running.as_ref().filter(|running| running.attempt.ballot == ballot) else {
            return;
        };
        let Some(change) = running.attempt.put().cloned() else { return };
        let bytes = RosterProof::signing_bytes(epoch, self.roster.digest(), ballot, &change);
        if !self.signed_by(from, &bytes, &signature) {
            self.stats.packets_refused += 1;
            return;
        }
        let Some(running) = &mut self.epochs.running else { return };
        running.signatures.insert(from, signature);
        if self.roster.majority(running.signatures.len()) {
            let signatures = std::mem::take(&mut running.signatures).into_iter().collect();
            let proof = Arc::new(RosterProof { epoch, before: self.roster.digest(), ballot, change, signatures });
            self.conclude_epoch(proof);
        }
    }

    /// This agent's attempt has succeeded: everyone concerned is told.
    fn conclude_epoch(&mut self, proof: Arc<RosterProof>) {
        let mut told: BTreeSet<_> = self.roster.iter().collect();
        told.extend(&proof.change.admit);
        told.remove(&self.me());
        self.adopt_proof(&proof);
        let (epoch, acceptor) = (self.roster.epoch(), self.epochs.acceptor.clone());
        let full = Some(self.roster.iter().collect::<Vec<_>>());
        for agent in told {
            // Those who have just been let in cannot check the change; they believe whom they have turned to.
            let members = full.clone().filter(|_| proof.change.admit.contains(&agent));
            let tell = EpochTalk::Tell { epoch, proofs: vec![Arc::clone(&proof)], members, acceptor: acceptor.clone() };
            self.reply_epoch(agent, tell);
        }
    }

    fn take_refusal(&mut self, from: AgentId, epoch: u64, promised: Ballot) {
        self.take_recovery_refusal(from, promised);
        let ours = self.epochs.running.as_ref().map(|running| running.attempt.ballot);
        if epoch == self.roster.epoch() + 1 && self.roster.contains(from) && ours.is_some_and(|ours| promised > ours) {
            let step = self.epochs.acceptor.promised.round.saturating_add(MAX_ROUND_STEP);
            if let Some(running) = self.epochs.running.as_mut().filter(|_| promised.round >= step) {
                // Some may have believed a round without reason; while more than half have not, the attempt goes on.
                running.outbid = true;
                return;
            }
            self.rise_to(promised.round);
            self.abandon_attempt();
        }
    }
}

//! What the engine does differently under a deliberate defect, where that is more than a condition left out.

use super::Engine;
use super::certificates::Origin;
use super::instance::Instance;
use crate::api::EventKind;
use crate::sabotage::Defect;
use quorate_core::evidence::{Cause, Phase};
use quorate_core::roster::Acceptor;
use quorate_core::verdict::{Certificate, Decision, Endorsement, Flaw, supports};
use quorate_core::{AgentId, InstanceId, Mono, UnixMs, Verdict, Vote};
use quorate_wire::{Batch, Record};
use std::sync::Arc;

const NS_PER_MS: u64 = 1_000_000;

/// What an observer claims to have seen that has seen nothing.
const INVENTED: Vote = Vote::Fail { phase: Phase::Connect, cause: Cause::Timeout };

impl Engine {
    /// Breaks this engine on purpose, from now on and until its process ends. For the simulator only.
    #[cfg(feature = "sabotage")]
    pub fn sabotage(&mut self, defect: Defect) {
        self.sabotage = crate::sabotage::Sabotage::under(defect);
        self.swim.sabotage = self.sabotage;
        for instance in self.instances.values_mut() {
            instance.sabotage = self.sabotage;
        }
    }

    pub(super) fn defective(&self, defect: Defect) -> bool {
        self.sabotage.is(defect)
    }

    /// Does the certificate prove nothing, as far as this engine cares?
    pub(super) fn flawed(&self, certificate: &Certificate) -> bool {
        match certificate.check() {
            Ok(()) => false,
            Err(Flaw::NoQuorum) => !(self.defective(Defect::QuorumOfOne) || self.defective(Defect::QuorumLessOne)),
            Err(_) => true,
        }
    }

    /// How many agents there seem to be to observe.
    pub(super) fn seeming_candidates(&self, candidates: usize) -> usize {
        let reachable = self.swim.active_count() + 1;
        if self.defective(Defect::ObserversReachable) { candidates.min(reachable) } else { candidates }
    }

    /// The vote an observer signs with under the proposal of `verdict`.
    pub(super) fn signed_vote(&self, vote: Vote, verdict: Verdict) -> Vote {
        let unseen = self.defective(Defect::SignsUnseen) && !supports(vote, verdict);
        match verdict {
            Verdict::Up if unseen => Vote::Pass,
            Verdict::Down if unseen => INVENTED,
            _ => self.heard_vote(Some(vote)).unwrap_or(vote),
        }
    }

    /// The vote that counts of an observer which says `vote`, or nothing.
    pub(super) fn heard_vote(&self, vote: Option<Vote>) -> Option<Vote> {
        let silent = vote.is_none_or(Vote::abstains);
        if silent && self.defective(Defect::SilenceFails) { Some(INVENTED) } else { vote }
    }

    /// Decides from the votes at hand, if it is broken that way.
    pub(super) fn add_up(&mut self, decision: &Decision) {
        if !self.defective(Defect::VotesAddedUp) {
            return;
        }
        let Some(instance) = self.instances.get(&decision.instance) else { return };
        let agents = instance.observers.iter();
        let endorsements: Vec<_> =
            agents.filter_map(|agent| self.taken_for_signed(instance, *agent, decision)).collect();
        if endorsements.len() >= instance.quorum() {
            let (decision, class) = (decision.clone(), self.class_at_decision(instance, decision.verdict));
            let certificate = Certificate { decision, class, decided_at: self.now.wall, endorsements };
            self.take_certificate(Arc::new(certificate), Origin::Made);
        }
    }

    fn taken_for_signed(&self, instance: &Instance, agent: AgentId, decision: &Decision) -> Option<Endorsement> {
        let vote = self.vote_of(instance, agent).filter(|vote| supports(*vote, decision.verdict))?;
        let own = || instance.watch.as_ref().map(|watch| watch.since);
        let told = || instance.votes.get(agent).map(|(_, observation)| observation.since);
        let signed_at = if agent == self.me() { own() } else { told() }?;
        Some(Endorsement { agent, vote, signed_at, signature: Vec::new() })
    }

    /// Is a signature believed without being looked at?
    pub(super) fn trusts_blindly(&self) -> bool {
        self.defective(Defect::SignaturesUnchecked) || self.defective(Defect::VotesAddedUp)
    }

    /// By which clock the life of votes, signatures, promises and hold-downs is measured.
    pub(super) fn lease_clock(&self) -> Mono {
        let wall = || Mono(self.now.wall.0.saturating_mul(NS_PER_MS));
        if self.defective(Defect::LeasesByWallClock) { wall() } else { self.now.mono }
    }

    /// Forgets what was promised and accepted, if it is broken that way.
    pub(super) fn forget_acceptor(&mut self) {
        if self.defective(Defect::AcceptorForgets) {
            self.epochs.acceptor = Acceptor::default();
        }
    }

    /// Another batch of the same number, if it is broken that way: the observations in it are said to be a millisecond younger.
    pub(super) fn twin_of(&mut self, batch: &Arc<Batch>) -> Option<Arc<Batch>> {
        if !self.defective(Defect::SignsTwice) {
            return None;
        }
        let mut twin = Batch::clone(batch);
        for record in &mut twin.records {
            if let Record::Observed { instance, observation, .. } = record {
                observation.since = UnixMs(observation.since.0 + 1);
                self.event(EventKind::Vote { instance: instance.clone(), observation: observation.clone() });
            }
        }
        twin.signature = self.keys.sign(&twin.signing_bytes());
        Some(Arc::new(twin))
    }

    /// Believes the observations in a batch that is no news, if it is broken that way.
    pub(super) fn take_older(&mut self, batch: &Batch) {
        let taken = self.defective(Defect::OlderRecordTaken);
        for record in batch.records.iter().filter(|_| taken) {
            if let Record::Observed { instance, .. } = record {
                self.apply_observation(batch.owner, instance, Some(record.clone()));
            }
        }
    }

    /// Is the batch signed by whoever passes it on, and is that enough?
    pub(super) fn believes_bearer(&self, from: AgentId, batch: &Batch) -> bool {
        self.defective(Defect::AuthorUnchecked) && self.signed_by(from, &batch.signing_bytes(), &batch.signature)
    }

    /// Is a lower term as good as a higher one?
    pub(super) fn takes_any_term(&self, id: &InstanceId, certificate: &Certificate) -> bool {
        let held = self.instances.get(id).and_then(|instance| instance.certificate.as_ref());
        self.defective(Defect::LowerTermTaken) && held.is_none_or(|held| held.rank() != certificate.rank())
    }
}

//! One instance as this agent knows it.

use super::assigning::Order;
use super::certificates::Origin;
use super::start::same_copy;
use super::{Engine, limits};
use crate::api::{EventKind, MemberState};
use crate::sabotage::{Defect, Sabotage};
use quorate_core::opinion::{Ballot, Voter};
use quorate_core::signing::Signer;
use quorate_core::verdict::{Certificate, Endorsement};
use quorate_core::{
    AbstainReason, AgentId, Check, InstanceId, Mono, Now, Observation, Registration, ServiceName, UnixMs, Verdict,
    Vote, quorum,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Instance {
    pub id: InstanceId,
    pub service: ServiceName,
    pub home: AgentId,
    pub incarnation: u64,
    /// How it is registered; none for a host.
    pub registration: Option<Arc<Registration>>,
    /// Its check, shared with the probes of it.
    pub check: Option<Arc<Check>>,
    pub appeared: Mono,
    pub appeared_wall: UnixMs,
    /// The first places of its rendezvous order; none until they are needed.
    pub order: Option<Order>,
    /// How many observers are assigned.
    pub assigned: u32,
    /// Who observes now: the assigned with the failed ones replaced, and, behind them, the home agent.
    pub observers: Vec<AgentId>,
    /// This agent's own observation, if it is one of them.
    pub watch: Option<Box<Watch>>,
    /// What the others say.
    pub votes: Votes,
    pub certificate: Option<Arc<Certificate>>,
    /// A hash of its encoding.
    pub certificate_digest: u64,
    /// Signers whom nobody here had met when it was taken: members forgotten long ago, or names added by whoever passed it on. Its quorum does not need
    /// them, and they are not shown; but it is kept whole, so that those who compare certificates have the same.
    pub unverified: Vec<AgentId>,
    /// When this agent learnt of the certificate.
    pub learnt: Mono,
    /// When it last learnt that those who accused it had been overruled. Who did must look again: the cut that kept the news away may have kept up the
    /// accusation, too.
    pub overruled: Mono,
    pub signer: Signer,
    /// The highest term of which a certificate was believed.
    pub believed: u64,
    /// The highest term that was decided before its home was forgotten: see [`Engine::is_overtaken`].
    pub outlived: u64,
    /// The certificate that is not believed but has used up terms beyond the one that is: shown to those who have not seen it.
    pub used_up: Option<Arc<Certificate>>,
    /// When what is overtaken was first refused.
    pub refused_at: Option<Mono>,
    pub proposal: Option<Box<Proposal>>,
    /// Until when the class is the one read at the decision: not every observer has probed since.
    pub ripe_at: Mono,
    /// When the verdict changed, as this agent learnt it.
    pub changes: VecDeque<Mono>,
    pub stale_since: Option<UnixMs>,
    /// Can nobody who would know be heard?
    pub unheard: bool,
    /// What is broken on purpose; nothing outside the simulator.
    pub sabotage: Sabotage,
}

/// What the others say, by agent: the incarnation it speaks of, and what it saw. A handful for each of many instances on every agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Votes(Vec<(AgentId, (u64, Observation))>);

impl Votes {
    fn find(&self, agent: AgentId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&agent, |(voter, _)| *voter)
    }

    pub fn get(&self, agent: AgentId) -> Option<&(u64, Observation)> {
        self.0.get(self.find(agent).ok()?).map(|(_, vote)| vote)
    }

    pub fn insert(&mut self, agent: AgentId, incarnation: u64, observation: Observation) {
        let vote = (agent, (incarnation, observation));
        match self.find(agent) {
            Ok(place) => self.0[place] = vote,
            Err(place) => {
                self.0.reserve_exact(1);
                self.0.insert(place, vote);
            }
        }
    }

    /// False when it had none.
    pub fn remove(&mut self, agent: AgentId) -> bool {
        let found = self.find(agent);
        found.is_ok_and(|place| {
            self.0.remove(place);
            true
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = (AgentId, &(u64, Observation))> {
        self.0.iter().map(|(agent, vote)| (*agent, vote))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Given in the order of the agents.
impl FromIterator<(AgentId, (u64, Observation))> for Votes {
    fn from_iter<I: IntoIterator<Item = (AgentId, (u64, Observation))>>(votes: I) -> Self {
        let mut votes: Vec<_> = votes.into_iter().collect();
        votes.shrink_to_fit();
        Self(votes)
    }
}

/// This agent's own observation of an instance.
#[derive(Debug)]
pub(crate) struct Watch {
    pub vote: Vote,
    pub detail: String,
    pub since: UnixMs,
    pub failures: u32,
    /// Looks begun since the last that succeeded.
    pub unanswered: u32,
    pub successes: u32,
    /// When the last conclusive outcome came, and whether it reached the instance.
    pub last: Option<(Mono, bool)>,
    /// When the look began that had it.
    pub looked: Mono,
    /// Since when every conclusive outcome reached the instance.
    pub well_since: Option<Mono>,
    /// When the next probe is due.
    pub due: Mono,
    /// The next place on its grid of periods.
    pub regular: Mono,
    /// When the last probe began.
    pub began: Option<Mono>,
    /// When a fellow observer last asked for a look.
    pub asked: Option<Mono>,
    /// Is the next look, or the one that runs, one that was asked for?
    pub requested: bool,
    pub running: bool,
    /// Was a look due while one was running? Then the next begins as soon as that has ended: a check may take its whole period to fail.
    pub overdue: bool,
    /// Waits for a roll call before it may say `fail`.
    pub pending_fail: Option<(Vote, String, Option<Mono>)>,
    /// Was an outcome set aside, as one of a moment at which this agent may have been cut off, and has none counted since?
    pub set_aside: bool,
    /// A host is pinged only until then.
    pub until: Option<Mono>,
}

impl Watch {
    pub fn new(wall: UnixMs, due: Mono) -> Self {
        Self {
            vote: Vote::Abstain(AbstainReason::Starting),
            detail: String::new(),
            since: wall,
            failures: 0,
            unanswered: 0,
            successes: 0,
            last: None,
            looked: Mono::default(),
            well_since: None,
            due,
            regular: due,
            began: None,
            asked: None,
            requested: false,
            running: false,
            overdue: false,
            pending_fail: None,
            set_aside: false,
            until: None,
        }
    }

    /// May an outcome be set aside now? One may, not one after the other: on a poor line every roll call may have to ask again.
    pub fn may_set_aside(&mut self) -> bool {
        !std::mem::replace(&mut self.set_aside, true)
    }
}

/// A change of verdict this agent asks the others to sign.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub verdict: Verdict,
    pub term: u64,
    /// Signatures for this term, with the moment each was asked for.
    pub endorsements: BTreeMap<AgentId, (Endorsement, Mono)>,
    /// Votes against it, with the moment each was asked for.
    pub dissent: BTreeMap<AgentId, (Vote, Mono)>,
    pub due: Mono,
    /// How often the others have been asked.
    pub asked: u32,
}

impl Instance {
    /// An instance of which nothing is known yet but that it is registered, or that it is a host.
    pub fn new(
        id: InstanceId,
        home: AgentId,
        incarnation: u64,
        registration: Option<Arc<Registration>>,
        now: Now,
    ) -> Self {
        Self {
            id,
            service: registration.as_ref().map_or_else(ServiceName::agents, |known| known.service.clone()),
            home,
            incarnation,
            check: registration.as_ref().map(|known| Arc::clone(&known.check)),
            registration,
            appeared: now.mono,
            appeared_wall: now.wall,
            order: None,
            assigned: 1,
            observers: Vec::new(),
            watch: None,
            votes: Votes::default(),
            certificate: None,
            certificate_digest: 0,
            unverified: Vec::new(),
            learnt: Mono(0),
            overruled: Mono(0),
            signer: Signer::default(),
            believed: 0,
            outlived: 0,
            used_up: None,
            refused_at: None,
            proposal: None,
            ripe_at: Mono(0),
            changes: VecDeque::new(),
            stale_since: None,
            unheard: true,
            sabotage: Sabotage::default(),
        }
    }

    pub fn decided(&self) -> Verdict {
        self.certificate.as_ref().map_or(Verdict::Starting, |certificate| certificate.decision.verdict)
    }

    /// The certificate without the signatures that could not be verified.
    pub fn shown_certificate(&self) -> Option<Arc<Certificate>> {
        let mut shown = self.certificate.clone()?;
        if !self.unverified.is_empty() {
            Arc::make_mut(&mut shown).endorsements.retain(|e| !self.unverified.contains(&e.agent));
        }
        Some(shown)
    }

    /// The rank of that.
    pub fn shown_rank(&self) -> Option<(u64, u64, u8, u64)> {
        Some(self.certificate.as_ref()?.rank_by(|agent| !self.unverified.contains(&agent)))
    }

    pub fn term(&self) -> u64 {
        self.certificate.as_ref().map_or(0, |certificate| certificate.decision.term)
    }

    /// Does somebody hold a verdict of a later term that this agent cannot believe? Only one of a still later term settles it.
    pub fn is_superseded(&self) -> bool {
        self.signer.certified > self.term()
    }

    pub fn is_host(&self) -> bool {
        self.registration.is_none()
    }

    /// Can only its own host check it?
    pub fn home_only(&self) -> bool {
        self.check.as_ref().is_some_and(|check| check.kind.home_only())
    }

    /// Is it decided that some or all do not reach it?
    pub fn condemned(&self) -> bool {
        matches!(self.decided(), Verdict::Down | Verdict::Partial)
    }

    /// Does the word of an observer count for `verdict`? The assigned ones' does. The home agent's beside them is heard, and speaks against; were it one
    /// more that signs, two quorums of an odd number could have nobody in common, and decide in turn where neither hears the other. Of a host the
    /// agent there itself says that it is up, where the others are even in number: together they are odd, and two of three or three of five that
    /// are left must be enough.
    pub fn may_sign(&self, agent: AgentId, verdict: Verdict) -> bool {
        self.observers.iter().take(self.assigned as usize).any(|assigned| *assigned == agent)
            || self.answers_for_itself(verdict) && agent == self.home
    }

    /// Is `verdict` one that the agent of this host may sign?
    pub fn answers_for_itself(&self, verdict: Verdict) -> bool {
        self.is_host() && verdict == Verdict::Up && self.assigned.is_multiple_of(2)
    }

    pub fn quorum(&self) -> usize {
        self.sabotage.quorum(quorum::of(self.assigned) as usize)
    }

    pub fn recent_changes(&self, now: Mono, window: Duration) -> u32 {
        self.changes.iter().filter(|at| now.since(**at) < window).count() as u32
    }
}

impl Engine {
    /// Makes the instance known, or renews it when its incarnation is another: which of its home's words is the latest, their numbers tell.
    pub(super) fn adopt(&mut self, registration: Arc<Registration>, home: AgentId, incarnation: u64) {
        let id = registration.instance.clone();
        match self.instances.get(&id) {
            // Two agents claim one name: the lower identity keeps it while it stays.
            Some(known) if known.home < home => return,
            Some(known) if known.home == home && known.incarnation == incarnation => {
                let same = known.registration.as_ref() == Some(&registration);
                if !same {
                    self.replace_registration(&id, registration);
                }
                return;
            }
            _ => {}
        }
        let service = registration.service.clone();
        let fresh = !self.instances.contains_key(&id);
        if fresh && self.instances.len() >= limits::MAX_INSTANCES {
            self.stats.limits_hit += 1;
            return;
        }
        // How often it has changed stays, when its home only returns.
        let same = |known: &Instance| known.registration.as_ref().is_some_and(|r| same_copy(r, &registration));
        let before = self.instances.get(&id).filter(|known| known.home == home && same(known));
        let changes = before.map(|known| known.changes.clone()).filter(|changes| !changes.is_empty());
        self.forget_instance(&id);
        self.insert_instance(Instance::new(id.clone(), home, incarnation, Some(registration), self.now));
        self.resume_terms(&id);
        if let (Some(changes), Some(instance)) = (changes, self.instances.get_mut(&id)) {
            instance.changes = changes;
        }
        self.gather_votes(&id);
        if fresh {
            self.event(EventKind::Registered { instance: id.clone(), service, home });
        }
        if let Some(orphan) = self.orphans.remove(&id) {
            self.take_certificate(orphan, Origin::Repaired);
        }
    }

    fn replace_registration(&mut self, id: &InstanceId, registration: Arc<Registration>) {
        self.change_service(id, &registration.service);
        if let Some(instance) = self.instances.get_mut(id) {
            let known = instance.registration.replace(Arc::clone(&registration));
            let observed_alike =
                |known: &Registration| known.check == registration.check && known.observers == registration.observers;
            if known.is_some_and(|known| observed_alike(&known)) {
                // Words about it alone: who observes it goes on.
                return self.touch(id);
            }
            instance.check = Some(Arc::clone(&registration.check));
            instance.order = None;
        }
        // Another period, or a check switched on or off: observation begins anew, and what comes back of the former says nothing.
        self.set_watching(id, false);
        self.probes.retain(|_, running| running.instance != *id);
        self.unassigned.insert(id.clone());
    }

    fn change_service(&mut self, id: &InstanceId, service: &ServiceName) {
        let Some(instance) = self.instances.get(id).filter(|instance| instance.service != *service) else { return };
        let down = instance.decided() == Verdict::Down;
        // Breakers of the former name are told, too.
        self.touch(id);
        let Some(instance) = self.instances.get_mut(id) else { return };
        let former = std::mem::replace(&mut instance.service, service.clone());
        self.count_out(&former, down);
        let count = self.services.entry(service.clone()).or_default();
        count.total += 1;
        count.down += usize::from(down);
        self.touch(id);
    }

    /// A service has one instance less.
    fn count_out(&mut self, service: &ServiceName, down: bool) {
        if let Some(count) = self.services.get_mut(service) {
            count.total -= 1;
            count.down -= usize::from(down);
            if count.total == 0 {
                self.services.remove(service);
            }
        }
    }

    pub(super) fn insert_instance(&mut self, mut instance: Instance) {
        instance.sabotage = self.sabotage;
        self.services.entry(instance.service.clone()).or_default().total += 1;
        let id = instance.id.clone();
        self.instances.insert(id.clone(), Box::new(instance));
        self.unassigned.insert(id.clone());
        self.touch(&id);
        self.members_dirty |= id.host_of().is_none();
    }

    /// The instance is withdrawn.
    pub(super) fn forget_instance(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.remove(id) else { return };
        self.exchange_certificates(instance.certificate.as_deref(), None);
        self.count_out(&instance.service, instance.decided() == Verdict::Down);
        if let Some(watch) = &instance.watch {
            self.schedule.remove(&(watch.due, id.clone()));
            self.log.write(quorate_wire::Record::ObservedGone(id.clone()));
        }
        self.ripening.remove(&(instance.ripe_at, id.clone()));
        if let Some(proposal) = &instance.proposal {
            self.proposals_due.remove(&(proposal.due, id.clone()));
        }
        self.touch(id);
        self.members_dirty |= !instance.is_host();
    }

    /// Marks an instance for a new opinion and a new picture.
    pub(super) fn touch(&mut self, id: &InstanceId) {
        self.breaker_verdict(id);
        self.dirty.insert(id.clone());
        self.views_dirty.insert(id.clone());
        self.view_dirty = true;
    }

    /// Collects what the other agents' records say of the instance.
    pub(super) fn gather_votes(&mut self, id: &InstanceId) {
        let key = quorate_wire::RecordKey::Observed(id.clone());
        let votes: Votes = self
            .namespaces
            .iter()
            .filter(|(_, namespace)| namespace.may_speak_of(id))
            .filter_map(|(owner, namespace)| match namespace.record(&key)? {
                quorate_wire::Record::Observed { incarnation, observation, .. } => {
                    Some((*owner, (*incarnation, observation.clone())))
                }
                _ => None,
            })
            .collect();
        if let Some(instance) = self.instances.get_mut(id) {
            instance.votes = votes;
        }
    }

    /// Does the agent's word hold now: alive, and not missing from a roll call of this moment?
    pub(super) fn heard(&self, agent: AgentId) -> bool {
        agent == self.me()
            || self.defective(Defect::LeaseIgnored)
            || (self.swim.is_active(agent) && !self.roll.missed(agent, self.now.mono))
    }

    /// The vote of one observer, if it has one and its word holds.
    pub(super) fn vote_of(&self, instance: &Instance, agent: AgentId) -> Option<Vote> {
        if agent == self.me() {
            return instance.watch.as_ref().map(|watch| watch.vote);
        }
        let (incarnation, observation) = instance.votes.get(agent)?;
        (*incarnation == instance.incarnation && self.heard(agent)).then_some(observation.vote)
    }

    /// The votes on an instance, as this agent holds them.
    pub(super) fn ballot(&self, instance: &Instance) -> Ballot {
        let voter = |agent: &AgentId| {
            let vote = self.heard_vote(self.vote_of(instance, *agent))?;
            let zone =
                self.agents.get(agent).and_then(|a| a.profile.as_ref()).map(|p| p.zone.clone()).unwrap_or_default();
            Some(Voter { agent: *agent, zone, home: *agent == instance.home && !instance.is_host(), vote })
        };
        Ballot {
            observers: instance.assigned,
            voters: instance.observers.iter().filter_map(voter).collect(),
            strained: self.service_strained(instance),
        }
    }

    /// Is so much of the service down that a further `down` needs all but one?
    pub(super) fn service_strained(&self, instance: &Instance) -> bool {
        let Some(count) = self.services.get(&instance.service) else { return false };
        if instance.decided() == Verdict::Down {
            return false;
        }
        // Hosts of which there is nothing to say are instances all the same.
        let total = if instance.is_host() { self.members.len() } else { count.total };
        count.down > 0 && count.down * 100 >= total * self.config.timing.max_down_percent as usize
    }

    pub(super) fn member_state(&self, agent: AgentId) -> MemberState {
        if agent == self.me() {
            return if self.left { MemberState::Left } else { MemberState::Alive };
        }
        self.agents.get(&agent).map_or(MemberState::Failed, |known| known.state)
    }
}

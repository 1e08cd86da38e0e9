//! One instance as this agent knows it, and who observes it.

use super::certificates::Origin;
use super::{Engine, limits};
use crate::api::{EventKind, MemberState};
use quorate_core::assignment::{self, Candidate};
use quorate_core::opinion::{Ballot, Voter};
use quorate_core::signing::Signer;
use quorate_core::verdict::{Certificate, Endorsement};
use quorate_core::{
    AbstainReason, AgentId, InstanceId, Mono, Observation, Registration, ServiceName, UnixMs, Verdict, Vote, quorum,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Places of the rendezvous order kept beyond the observers assigned, so that one failure needs no new order.
const SPARE_PLACES: usize = 8;

#[derive(Debug)]
pub(crate) struct Instance {
    pub id: InstanceId,
    pub service: ServiceName,
    pub home: AgentId,
    pub incarnation: u64,
    /// How it is registered; none for a host.
    pub registration: Option<Arc<Registration>>,
    pub appeared: Mono,
    pub appeared_wall: UnixMs,
    /// Rendezvous order; none until it is needed.
    order: Option<Vec<AgentId>>,
    /// How many observers are assigned.
    pub assigned: u32,
    /// Who observes now: the assigned with the failed ones replaced, and the home agent.
    pub observers: Vec<AgentId>,
    /// This agent's own observation, if it is one of them.
    pub watch: Option<Watch>,
    /// What the others say.
    pub votes: BTreeMap<AgentId, (u64, Observation)>,
    pub certificate: Option<Arc<Certificate>>,
    pub signer: Signer,
    pub proposal: Option<Proposal>,
    /// Until when the class is the one read at the decision: not every observer has probed since.
    pub ripe_at: Mono,
    /// When the verdict changed, as this agent learnt it.
    pub changes: VecDeque<Mono>,
    pub stale_since: Option<UnixMs>,
    /// Can nobody who would know be heard?
    pub unheard: bool,
}

/// This agent's own observation of an instance.
#[derive(Debug)]
pub(crate) struct Watch {
    pub vote: Vote,
    pub detail: String,
    pub since: UnixMs,
    pub failures: u32,
    pub successes: u32,
    /// When the last conclusive outcome came, and whether it reached the instance.
    pub last: Option<(Mono, bool)>,
    pub due: Mono,
    pub running: bool,
    /// Waits for a roll call before it may say `fail`.
    pub pending_fail: Option<(Vote, String)>,
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
            successes: 0,
            last: None,
            due,
            running: false,
            pending_fail: None,
            until: None,
        }
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
}

impl Instance {
    pub fn decided(&self) -> Verdict {
        self.certificate.as_ref().map_or(Verdict::Starting, |certificate| certificate.decision.verdict)
    }

    pub fn term(&self) -> u64 {
        self.certificate.as_ref().map_or(0, |certificate| certificate.decision.term)
    }

    pub fn is_host(&self) -> bool {
        self.registration.is_none()
    }

    pub fn quorum(&self) -> usize {
        quorum::of(self.assigned) as usize
    }

    pub fn recent_changes(&self, now: Mono, window: Duration) -> u32 {
        self.changes.iter().filter(|at| now.since(**at) < window).count() as u32
    }
}

impl Engine {
    /// Makes the instance known, or renews it when its incarnation grew.
    pub(super) fn adopt(&mut self, registration: Arc<Registration>, home: AgentId, incarnation: u64) {
        let id = registration.instance.clone();
        match self.instances.get(&id) {
            // Two agents claim one name: the lower identity keeps it while it stays.
            Some(known) if known.home < home => return,
            Some(known) if known.home == home && known.incarnation > incarnation => return,
            Some(known) if known.home == home && known.incarnation == incarnation => {
                let same = known.registration.as_ref() == Some(&registration);
                if !same {
                    self.replace_registration(&id, registration);
                }
                return;
            }
            _ => {}
        }
        if self.instances.len() >= limits::MAX_INSTANCES {
            self.stats.limits_hit += 1;
            return;
        }
        let service = registration.service.clone();
        let fresh = !self.instances.contains_key(&id);
        self.forget_instance(&id);
        self.insert_instance(id.clone(), service.clone(), home, incarnation, Some(registration));
        self.gather_votes(&id);
        if fresh {
            self.event(EventKind::Registered { instance: id.clone(), service, home });
        }
        if let Some(orphan) = self.orphans.remove(&id) {
            self.take_certificate(orphan, Origin::Repaired);
        }
    }

    fn replace_registration(&mut self, id: &InstanceId, registration: Arc<Registration>) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.registration = Some(registration);
            instance.order = None;
        }
        // Another period, or a check switched on or off: observation begins anew.
        self.set_watching(id, false);
        self.assign_one(id);
    }

    /// Makes an agent's host known as an instance.
    pub(super) fn adopt_host(&mut self, agent: AgentId) {
        let id = InstanceId::host(agent);
        if !self.instances.contains_key(&id) {
            self.insert_instance(id.clone(), ServiceName::agents(), agent, 1, None);
            let floor = self.floors.remove(&id).unwrap_or(0);
            if let Some(host) = self.instances.get_mut(&id) {
                host.signer.certify(floor);
            }
            if let Some(orphan) = self.orphans.remove(&id) {
                self.take_certificate(orphan, Origin::Repaired);
            }
        }
    }

    fn insert_instance(
        &mut self,
        id: InstanceId,
        service: ServiceName,
        home: AgentId,
        incarnation: u64,
        registration: Option<Arc<Registration>>,
    ) {
        self.services.entry(service.clone()).or_default().total += 1;
        let instance = Instance {
            id: id.clone(),
            service,
            home,
            incarnation,
            registration,
            appeared: self.now.mono,
            appeared_wall: self.now.wall,
            order: None,
            assigned: 1,
            observers: Vec::new(),
            watch: None,
            votes: BTreeMap::new(),
            certificate: None,
            signer: Signer::default(),
            proposal: None,
            ripe_at: Mono(0),
            changes: VecDeque::new(),
            stale_since: None,
            unheard: true,
        };
        self.instances.insert(id.clone(), instance);
        self.assign_one(&id);
        self.touch(&id);
        self.members_dirty = true;
    }

    /// The instance is withdrawn.
    pub(super) fn forget_instance(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.remove(id) else { return };
        if let Some(count) = self.services.get_mut(&instance.service) {
            count.total -= 1;
            count.down -= usize::from(instance.decided() == Verdict::Down);
            if count.total == 0 {
                self.services.remove(&instance.service);
            }
        }
        if let Some(watch) = &instance.watch {
            self.schedule.remove(&(watch.due, id.clone()));
            self.log.write(quorate_wire::Record::ObservedGone(id.clone()));
        }
        self.ripening.remove(&(instance.ripe_at, id.clone()));
        if let Some(proposal) = &instance.proposal {
            self.proposals_due.remove(&(proposal.due, id.clone()));
        }
        self.touch(id);
        self.members_dirty = true;
    }

    /// Marks an instance for a new opinion and a new picture.
    pub(super) fn touch(&mut self, id: &InstanceId) {
        self.dirty.insert(id.clone());
        self.views_dirty.insert(id.clone());
        self.view_dirty = true;
    }

    /// Assigns observers anew where the roster or the membership has changed.
    pub(super) fn assign(&mut self) {
        if std::mem::take(&mut self.assign_all) {
            let ids: Vec<_> = self.instances.keys().cloned().collect();
            for id in ids {
                self.assign_one(&id);
            }
        }
    }

    /// The roster has changed: every order is out of date.
    pub(super) fn forget_orders(&mut self) {
        for instance in self.instances.values_mut() {
            instance.order = None;
        }
        self.assign_all = true;
    }

    fn assign_one(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get(id) else { return };
        let wanted = instance.registration.as_ref().map_or(quorum::DEFAULT_OBSERVERS, |r| r.observers) as usize;
        let candidates = self.roster.len() - usize::from(instance.is_host() && self.roster.contains(&instance.home));
        let assigned = wanted.min(candidates).max(1);
        let observers = match self.observers_of(id, assigned) {
            Some(observers) => observers,
            None => return,
        };
        let me = self.me();
        let mine = observers.contains(&me);
        let Some(instance) = self.instances.get_mut(id) else { return };
        let unchanged = instance.observers == observers && instance.assigned as usize == assigned;
        instance.assigned = assigned as u32;
        instance.observers = observers;
        let host = instance.is_host();
        if !unchanged {
            self.touch(id);
        }
        if !host {
            // A host is watched only while it is in doubt.
            self.set_watching(id, mine);
        } else if !mine {
            self.set_watching(id, false);
        } else if let Some(agent) = id.host_of() {
            let down = self.instances.get(id).is_some_and(|host| host.decided() == Verdict::Down);
            if down || self.member_state(agent) == MemberState::Failed {
                self.doubt_host(agent);
            }
        }
        self.drop_thin_host(id);
    }

    /// The roster has outgrown the quorum that once declared a host up again. Nobody watches a healthy host, so nobody would renew that
    /// certificate, and newcomers do not believe it: membership speaks for the host again, for everyone.
    fn drop_thin_host(&mut self, id: &InstanceId) {
        let Some(host) = self.instances.get_mut(id).filter(|instance| instance.is_host()) else { return };
        let thin = host
            .certificate
            .as_ref()
            .is_some_and(|c| c.endorsements.len() < host.quorum() && c.decision.verdict != Verdict::Down);
        if thin {
            host.certificate = None;
            self.touch(id);
        }
    }

    /// The first `limit` places of the rendezvous order over the roster.
    pub(super) fn order_of(&self, instance: &Instance, limit: usize) -> Vec<AgentId> {
        let candidates: Vec<_> = self
            .roster
            .iter()
            .filter(|agent| !(instance.is_host() && **agent == instance.home))
            .filter_map(|agent| {
                self.agents.get(agent)?.profile.as_ref().map(|p| Candidate { agent: *agent, zone: &p.zone })
            })
            .collect();
        assignment::order(instance.id.hash64(), &candidates, limit)
    }

    /// The observers of an instance now: the first of its order that are alive, and the home agent. While this agent does not reach a
    /// majority, nobody is replaced: it would find itself observing everything.
    fn observers_of(&mut self, id: &InstanceId, assigned: usize) -> Option<Vec<AgentId>> {
        let me = self.me();
        let replace = quorum::majority(self.swim.active_count() + 1, self.roster.len());
        let instance = self.instances.get(id)?;
        let (home, host) = (instance.home, instance.is_host());
        let mut limit = assigned + SPARE_PLACES;
        loop {
            if self
                .instances
                .get(id)?
                .order
                .as_ref()
                .is_none_or(|order| order.len() < limit.min(self.roster.len() - usize::from(host)))
            {
                let order = self.order_of(self.instances.get(id)?, limit);
                self.instances.get_mut(id)?.order = Some(order);
            }
            let order = self.instances.get(id)?.order.as_deref().unwrap_or_default();
            let alive = |agent: &AgentId| *agent == me || self.swim.is_active(*agent) || !replace;
            let mut observers: Vec<_> = order.iter().copied().filter(alive).take(assigned).collect();
            if observers.len() < assigned && order.len() >= limit {
                limit *= 4;
                continue;
            }
            if !host && !observers.contains(&home) && (home == me || self.swim.is_active(home)) {
                observers.push(home);
            }
            return Some(observers);
        }
    }

    /// Collects what the other agents' records say of the instance.
    pub(super) fn gather_votes(&mut self, id: &InstanceId) {
        let key = quorate_wire::RecordKey::Observed(id.clone());
        let votes: BTreeMap<_, _> = self
            .namespaces
            .iter()
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
        agent == self.me() || (self.swim.is_active(agent) && !self.roll.missed(agent, self.now.mono))
    }

    /// The vote of one observer, if it has one and its word holds.
    pub(super) fn vote_of(&self, instance: &Instance, agent: AgentId) -> Option<Vote> {
        if agent == self.me() {
            return instance.watch.as_ref().map(|watch| watch.vote);
        }
        let (incarnation, observation) = instance.votes.get(&agent)?;
        (*incarnation == instance.incarnation && self.heard(agent)).then_some(observation.vote)
    }

    /// The votes on an instance, as this agent holds them.
    pub(super) fn ballot(&self, instance: &Instance) -> Ballot {
        let voter = |agent: &AgentId| {
            let vote = self.vote_of(instance, *agent)?;
            let zone =
                self.agents.get(agent).and_then(|a| a.profile.as_ref()).map(|p| p.zone.clone()).unwrap_or_default();
            Some(Voter { agent: *agent, zone, home: *agent == instance.home && !instance.is_host(), vote })
        };
        Ballot {
            observers: instance.assigned,
            voters: instance.observers.iter().filter_map(voter).collect(),
            unanimous: self.service_strained(instance),
        }
    }

    /// Is so much of the service down that a further `down` needs unanimity?
    pub(super) fn service_strained(&self, instance: &Instance) -> bool {
        let Some(count) = self.services.get(&instance.service) else { return false };
        let others_down = count.down - usize::from(instance.decided() == Verdict::Down);
        others_down > 0 && others_down * 100 >= count.total * self.config.timing.max_down_percent as usize
    }

    pub(super) fn member_state(&self, agent: AgentId) -> MemberState {
        if agent == self.me() {
            return if self.left { MemberState::Left } else { MemberState::Alive };
        }
        self.agents.get(&agent).map_or(MemberState::Failed, |known| known.state)
    }
}

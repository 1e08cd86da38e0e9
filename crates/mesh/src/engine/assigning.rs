//! Who observes an instance. Orders are kept, and one agent's coming or going moves only its own places in them.

use super::instance::Instance;
use super::{Agent, Engine};
use crate::api::MemberState;
use crate::sabotage::Defect;
use quorate_core::assignment::{self, Candidate};
use quorate_core::{AgentId, InstanceId, Verdict, Zone, quorum};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Places of the rendezvous order kept beyond the observers assigned, so that a few failures need no new order; enough to tell who may have
/// signed while nobody has failed.
pub(super) const SPARE_PLACES: usize = 16;
/// When more than one in so many candidates comes or goes at once, orders are made anew: giving each its place would take longer.
const MANY: usize = 32;

/// The first places of an instance's rendezvous order.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    places: Arc<Vec<AgentId>>,
    /// How many places are kept, if there are so many candidates.
    limit: usize,
}

impl Order {
    /// The first `limit` places among these agents.
    pub fn among(instance: &InstanceId, candidates: &[Candidate<'_>], limit: usize) -> Self {
        Self { places: Arc::new(assignment::order(instance.hash64(), candidates, limit)), limit }
    }

    pub fn places(&self) -> &[AgentId] {
        &self.places
    }
}

/// What every assignment depends on, beside the order and who of it is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Basis {
    /// Are the failed replaced?
    replace: bool,
    /// Candidates, as far as their number matters.
    candidates: usize,
}

impl Engine {
    /// Assigns observers anew where the roster or the membership has changed.
    pub(super) fn assign(&mut self) {
        self.place_candidates();
        let basis =
            Basis { replace: self.replaces(), candidates: self.roster.len().min(quorum::MAX_OBSERVERS as usize + 1) };
        self.assign_all |= basis != self.assigned_by;
        self.assigned_by = basis;
        if std::mem::take(&mut self.assign_all) {
            self.hosts_due = Some(self.now.mono);
            self.unassigned.extend(self.instances.keys().cloned());
        }
        for id in std::mem::take(&mut self.unassigned) {
            self.assign_one(&id);
        }
    }

    /// While this agent does not reach a majority, nobody is replaced: it would find itself observing everything.
    fn replaces(&self) -> bool {
        self.roster.majority(self.reached)
    }

    /// Every order is out of date.
    pub(super) fn forget_orders(&mut self) {
        for instance in self.instances.values_mut() {
            instance.order = None;
        }
        self.assign_all = true;
    }

    /// The roster or a profile has changed: gives newcomers their places, and takes away those of whoever has gone.
    fn place_candidates(&mut self) {
        if !std::mem::take(&mut self.roster_moved) {
            return;
        }
        let (mut came, mut went, mut all) = (Vec::new(), Vec::new(), 0);
        for (agent, known) in &mut self.agents {
            let counts = known.profile.is_some() && self.roster.contains(*agent);
            all += usize::from(counts);
            match (std::mem::replace(&mut known.placed, counts), counts) {
                (false, true) => came.push(*agent),
                (true, false) => went.push(*agent),
                _ => {}
            }
        }
        if (came.len() + went.len()) * MANY > all {
            self.forget_orders();
            return;
        }
        for (id, instance) in &mut self.instances {
            let Some(order) = &mut instance.order else { continue };
            let host = instance.registration.is_none();
            if order.places.iter().any(|agent| went.contains(agent)) {
                instance.order = None;
                self.unassigned.insert(id.clone());
                continue;
            }
            let zone = |agent: AgentId| zone_of(&self.agents, agent);
            for agent in came.iter().filter(|agent| !(host && **agent == instance.home)) {
                let Some(zone_here) = zone(*agent) else { continue };
                let newcomer = Candidate { agent: *agent, zone: zone_here };
                if assignment::enter(id.hash64(), Arc::make_mut(&mut order.places), order.limit, newcomer, zone) {
                    self.unassigned.insert(id.clone());
                }
            }
        }
    }

    /// An agent came, failed or returned: whatever it has to do with is judged anew.
    pub(super) fn concerns(&mut self, agent: AgentId) {
        let concerned = |instance: &&Instance| {
            instance.home == agent
                || instance.order.as_ref().is_none_or(|order| order.places.contains(&agent))
                || instance.observers.contains(&agent)
                || instance.votes.get(agent).is_some()
        };
        let all = self.instances.values().map(Box::as_ref);
        let ids: Vec<_> = all.filter(concerned).map(|instance| instance.id.clone()).collect();
        for id in ids {
            self.touch(&id);
            self.unassigned.insert(id);
        }
    }

    fn assign_one(&mut self, id: &InstanceId) {
        let Some((assigned, observers)) = self.observers_of(id) else { return };
        let me = self.me();
        let mine = observers.contains(&me);
        let Some(instance) = self.instances.get_mut(id) else { return };
        let unchanged = instance.observers == observers && instance.assigned == assigned;
        instance.assigned = assigned;
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
            let condemned = self.instances.get(id).is_some_and(|host| host.condemned());
            if condemned || self.member_state(agent) == MemberState::Failed {
                self.doubt_host(agent);
            }
        }
        self.drop_thin_host(id);
    }

    /// The first `limit` places of the rendezvous order over the roster.
    pub(super) fn order_of(&self, instance: &Instance, limit: usize) -> Vec<AgentId> {
        self.order_with(instance, limit, &[])
    }

    /// The same, as if some that no longer count still did.
    pub(super) fn order_with(&self, instance: &Instance, limit: usize, departed: &[AgentId]) -> Vec<AgentId> {
        // Of one that has been forgotten its zone is not known any more.
        let nowhere = Zone::default();
        let placed = self.agents.iter().filter(|(_, known)| known.placed).map(|(agent, known)| (*agent, zone(known)));
        let candidates: Vec<_> = placed
            .chain(departed.iter().map(|agent| (*agent, zone_of(&self.agents, *agent))))
            .filter(|(agent, _)| !(instance.is_host() && *agent == instance.home))
            .map(|(agent, zone)| Candidate { agent, zone: zone.unwrap_or(&nowhere) })
            .collect();
        assignment::order(instance.id.hash64(), &candidates, limit)
    }

    /// The same, from what is kept when that is enough.
    pub(super) fn first_places(&self, instance: &Instance, limit: usize) -> Cow<'_, [AgentId]> {
        let kept = self.instances.get(&instance.id).and_then(|known| known.order.as_ref());
        match kept.filter(|order| order.limit >= limit) {
            Some(order) => Cow::Borrowed(&order.places[..limit.min(order.places.len())]),
            None => Cow::Owned(self.order_of(instance, limit)),
        }
    }

    /// How many observers an instance has.
    pub(super) fn assigned_to(&self, instance: &Instance) -> usize {
        let wanted =
            instance.registration.as_ref().map_or(quorum::DEFAULT_OBSERVERS, |r| r.wanted_observers()) as usize;
        let candidates = self.roster.len() - usize::from(instance.is_host() && self.roster.contains(instance.home));
        wanted.min(self.seeming_candidates(candidates)).max(1)
    }

    /// That many of an instance's order that are alive now, and the home agent.
    fn observers_of(&mut self, id: &InstanceId) -> Option<(u32, Vec<AgentId>)> {
        let instance = self.instances.get(id)?;
        let (home, host, assigned) = (instance.home, instance.is_host(), self.assigned_to(instance));
        if instance.home_only() {
            // Nobody can take its place: without it nothing is known but what is known of its host.
            return Some((1, vec![home]));
        }
        let mut limit = instance.order.as_ref().map_or(0, |order| order.limit).max(assigned + SPARE_PLACES);
        loop {
            let instance = self.instances.get(id)?;
            if instance.order.as_ref().is_none_or(|order| order.limit < limit) {
                let order = Order { places: Arc::new(self.order_of(instance, limit)), limit };
                self.instances.get_mut(id)?.order = Some(order);
            }
            let places = &self.instances.get(id)?.order.as_ref()?.places;
            let (me, replace) = (self.me(), self.replaces() && !self.defective(Defect::LeaseIgnored));
            let alive = |agent: &AgentId| *agent == me || self.swim.is_active(*agent) || !replace;
            let mut observers: Vec<_> = places.iter().copied().filter(alive).take(assigned).collect();
            if observers.len() < assigned && places.len() >= limit {
                limit *= 4;
                continue;
            }
            let counts = self.roster.contains(home) && (home == me || self.swim.is_active(home));
            if !host && !observers.contains(&home) && counts {
                observers.push(home);
            }
            return Some((assigned as u32, observers));
        }
    }

    /// Can this agent be among the observers of `agent`'s host? Certain when not, and cheap to tell: too many of its own zone come before.
    pub(super) fn may_observe_host(&self, agent: AgentId) -> bool {
        let me = self.me();
        let (Some(host), Some(own)) = (self.agents.get(&agent), self.agents.get(&me)) else { return false };
        let Some(own_zone) = zone(own).filter(|_| own.placed) else { return false };
        let mine = (assignment::score(host.host_hash, me), me);
        let replace = self.replaces();
        let before = |(other, known): &(&AgentId, &Agent)| {
            known.placed
                && (assignment::score(host.host_hash, **other), **other) > mine
                && **other != agent
                && zone(known) == Some(own_zone)
                && (!replace || self.swim.is_active(**other))
        };
        self.agents.iter().filter(before).nth(quorum::DEFAULT_OBSERVERS as usize - 1).is_none()
    }

    /// The roster has outgrown, or lost, the quorum that once declared a host up again. Nobody watches a healthy host, so nobody would renew that
    /// certificate, and newcomers do not believe it: membership speaks for the host again, for everyone.
    pub(super) fn drop_thin_host(&mut self, id: &InstanceId) {
        let Some(host) = self.instances.get(id).filter(|instance| instance.is_host()) else { return };
        let thin =
            host.certificate.as_ref().is_some_and(|c| c.decision.verdict != Verdict::Down && self.is_thin(host, c));
        if thin && let Some(host) = self.instances.get_mut(id) {
            let dropped = host.certificate.take();
            // Its term stays used up: who has not heard of it is shown it.
            host.used_up = host.used_up.take().or_else(|| dropped.clone());
            self.exchange_certificates(dropped.as_deref(), None);
            self.members_dirty = true;
            self.touch(id);
        }
    }
}

fn zone_of(agents: &BTreeMap<AgentId, Agent>, agent: AgentId) -> Option<&Zone> {
    agents.get(&agent).and_then(zone)
}

fn zone(known: &Agent) -> Option<&Zone> {
    known.profile.as_ref().map(|profile| &profile.zone)
}

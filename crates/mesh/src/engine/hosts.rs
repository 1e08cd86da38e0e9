//! Hosts as instances. Of most there is nothing to say: they are made when they are doubted or decided about, and given up when that has passed.

use super::certificates::Origin;
use super::instance::Instance;
use super::{Engine, limits};
use crate::api::MemberState;
use quorate_core::verdict::Certificate;
use quorate_core::{AgentId, InstanceId, Mono, Verdict};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// After a change of membership, the failed are looked through this much later for those that this agent observes from now on: when many
/// fail at once, once for all.
const LOOK_DELAY: Duration = Duration::from_millis(200);

/// The terms of a host of which there is nothing to say, or of what was forgotten with its home: the highest that is used up, the highest that was
/// believed, the highest of a time that is over, and the proof of a higher one.
#[derive(Debug)]
pub(crate) struct Floor {
    home: AgentId,
    incarnation: u64,
    certified: u64,
    believed: u64,
    outlived: u64,
    used_up: Option<Arc<Certificate>>,
    /// When its verdict has changed.
    changes: VecDeque<Mono>,
    kept_at: Mono,
}

impl Floor {
    fn of(instance: &Instance, kept_at: Mono) -> Self {
        Self {
            home: instance.home,
            incarnation: instance.incarnation,
            certified: instance.signer.certified,
            believed: instance.believed,
            outlived: instance.outlived,
            // Who has missed them is shown it.
            used_up: instance.used_up.clone().or_else(|| instance.certificate.clone()),
            changes: instance.changes.clone(),
            kept_at,
        }
    }
}

impl Engine {
    /// The instance that stands for a member's host, made if there is none. `None` when there is no such member.
    pub(super) fn rouse_host(&mut self, agent: AgentId) -> Option<InstanceId> {
        let id = InstanceId::host(agent);
        if !self.instances.contains_key(&id) {
            if !self.members.contains(&agent) {
                return None;
            }
            self.insert_instance(Instance::new(id.clone(), agent, 1, None, self.now));
            self.resume_terms(&id);
            // Others may have spoken of it before.
            self.gather_votes(&id);
            self.assign();
        }
        Some(id)
    }

    /// The host of `agent` as an instance, if this agent is among its observers.
    pub(super) fn host_to_observe(&mut self, agent: AgentId) -> Option<InstanceId> {
        if agent == self.me() || !self.may_observe_host(agent) {
            return None;
        }
        let fresh = !self.instances.contains_key(&InstanceId::host(agent));
        let id = self.rouse_host(agent)?;
        let mine = self.instances.get(&id).is_some_and(|host| host.observers.contains(&self.me()));
        if fresh && !mine {
            self.give_up_host(&id);
        }
        mine.then_some(id)
    }

    /// A member has been taken in: what was decided about its host before it was known counts now.
    pub(super) fn adopt_host(&mut self, agent: AgentId) {
        if let Some(orphan) = self.orphans.remove(&InstanceId::host(agent)) {
            self.take_certificate(orphan, Origin::Repaired);
        }
    }

    /// Gives up the hosts of which there is nothing to say any more, and first the verdicts on them that have grown too thin.
    pub(super) fn retire_hosts(&mut self) {
        let now = self.now.mono;
        let certified = self.instances.values().filter(|host| host.is_host() && host.certificate.is_some());
        let certified: Vec<_> = certified.map(|host| host.id.clone()).collect();
        certified.iter().for_each(|id| self.drop_thin_host(id));
        let room = self.floors.len() < limits::MAX_GONE;
        let done = |host: &Instance| host.is_quiet(now) && (room || host.signer.certified == 0);
        let quiet = self.instances.values().filter(|host| host.is_host() && done(host));
        let quiet: Vec<_> = quiet.map(|host| host.id.clone()).collect();
        for id in quiet {
            self.give_up_host(&id);
        }
    }

    /// Gives up the instance; the terms used up are remembered.
    pub(super) fn give_up_host(&mut self, id: &InstanceId) {
        self.keep_terms(id);
        self.forget_instance(id);
    }

    /// Remembers the terms used up of an instance that is about to be forgotten. Where there is no room, what was remembered the longest goes, and with it all
    /// of that home; the hosts of members stay.
    fn keep_terms(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get(id).filter(|instance| instance.signer.certified > 0) else { return };
        let floor = Floor::of(instance, self.now.mono);
        if self.floors.len() >= limits::MAX_GONE {
            self.stats.limits_hit += 1;
            let spare = |(id, floor): &(&InstanceId, &Floor)| {
                id.host_of().is_none_or(|a| !self.members.contains(&a)) && floor.home != instance.home
            };
            let oldest = self.floors.iter().filter(spare).min_by_key(|(_, floor)| floor.kept_at);
            let Some(home) = oldest.map(|(_, floor)| floor.home) else { return };
            let member = self.members.contains(&home);
            self.floors.retain(|id, floor| floor.home != home || member && id.host_of().is_some());
        }
        self.floors.insert(id.clone(), floor);
    }

    /// Goes on with the terms that are remembered of this copy of an instance. Of an earlier one that was forgotten with its home, only how often its
    /// verdict has changed is of use.
    pub(super) fn resume_terms(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        let Some(floor) = self.floors.remove(id) else { return };
        if floor.home != instance.home || floor.incarnation > instance.incarnation {
            self.floors.insert(id.clone(), floor);
            return;
        }
        if floor.incarnation == instance.incarnation {
            instance.signer.certify(floor.certified);
            (instance.believed, instance.outlived) = (floor.believed, floor.outlived);
            instance.used_up = floor.used_up;
        }
        instance.changes = floor.changes;
    }

    /// The instances of an agent that is being forgotten go with it; the terms stay. Was its host `down`, as it is when one vanishes, then what was decided of
    /// that and of its instances up to now is of a time that is over: should it return, they are decided about anew, in later terms, whoever still holds
    /// the former certificates. Who hears late that it was forgotten may hold some of the time after its return, and that its host is up.
    pub(super) fn withdraw_all_of(&mut self, home: AgentId, was_down: bool) {
        let of_home = self.instances.values().filter(|instance| instance.home == home && !instance.is_host());
        let ids: Vec<_> = of_home.map(|instance| instance.id.clone()).collect();
        for id in ids {
            self.keep_terms(&id);
            self.withdraw(&id, home);
        }
        self.outlive(home, was_down);
    }

    /// The last of that, for one that has left as well: of that nothing else is remembered.
    pub(super) fn outlive(&mut self, home: AgentId, was_down: bool) {
        self.orphans.remove(&InstanceId::host(home));
        for floor in self.floors.values_mut().filter(|floor| was_down && floor.home == home) {
            floor.outlived = floor.certified;
        }
    }

    /// Was `down` the last that was decided of a host of which there is nothing to say any more?
    pub(super) fn ended_down(&self, agent: AgentId) -> bool {
        let last = self.floors.get(&InstanceId::host(agent)).and_then(|floor| floor.used_up.as_ref());
        last.is_some_and(|last| last.decision.verdict == Verdict::Down)
    }

    /// Was the host of a returning agent decided about before that was forgotten? Then it is decided about anew, and all hear of it.
    pub(super) fn reconsider_host(&mut self, agent: AgentId) {
        if self.floors.get(&InstanceId::host(agent)).is_some_and(|floor| floor.outlived > 0) {
            self.doubt_host(agent);
        }
    }

    /// An agent has failed or returned: whose place does this agent take?
    pub(super) fn look_at_hosts_soon(&mut self) {
        let due = self.now.mono + LOOK_DELAY;
        self.hosts_due.get_or_insert(due);
    }

    pub(super) fn run_hosts(&mut self) {
        if self.hosts_due.is_none_or(|at: Mono| at > self.now.mono) {
            return;
        }
        self.hosts_due = None;
        let failed = |agent: &&AgentId| self.member_state(**agent) == MemberState::Failed;
        let failed: Vec<_> = self.members.iter().filter(failed).copied().collect();
        for agent in failed {
            if self.may_observe_host(agent) && !self.instances.contains_key(&InstanceId::host(agent)) {
                self.doubt_host(agent);
            }
        }
    }

    /// The host of a member of which there is nothing to say, for a picture.
    pub(super) fn quiet_host(&self, agent: AgentId) -> Instance {
        let now = self.now;
        let mut host = Instance::new(InstanceId::host(agent), agent, 1, None, now);
        host.appeared_wall = self.agents.get(&agent).map_or(now.wall, |known| known.since);
        let assigned = self.assigned_to(&host);
        host.assigned = assigned as u32;
        host.observers = self.order_of(&host, assigned);
        let (fresh, unheard) = self.hears(&host);
        host.unheard = unheard;
        host.stale_since = (!fresh).then_some(self.quorate_since);
        host
    }
}

impl Instance {
    /// Is there nothing to say of it but what membership says?
    fn is_quiet(&self, now: Mono) -> bool {
        self.watch.is_none()
            && self.votes.is_empty()
            && self.certificate.is_none()
            && self.proposal.is_none()
            && self.changes.is_empty()
            && self.signer.promise(now).is_none()
    }
}

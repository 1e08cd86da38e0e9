//! What leaves the engine for people: the picture, the events, the stored state.

use super::Engine;
use super::instance::Instance;
use crate::api::{EventKind, MemberState, Output, VerdictChange};
use crate::view::{InstanceView, MemberView, MeshView, ObserverView, Stats};
use quorate_core::{AgentId, InstanceId, Mono, Observation, Verdict, Zone};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A cut holds at most this many changes; more make another.
const MAX_CUT: usize = 10_000;

impl Engine {
    /// Has anything changed since the last [`Engine::view`]?
    #[must_use]
    pub fn view_changed(&self) -> bool {
        self.view_dirty
    }

    /// A picture of what this agent knows, as of the last input. Only what has changed is built anew.
    pub fn view(&mut self) -> MeshView {
        if std::mem::take(&mut self.view_dirty) {
            self.view_index += 1;
        }
        if std::mem::take(&mut self.members_dirty) {
            self.member_views = Arc::new(self.roll_of_members());
            self.views_dirty.extend(self.instances.keys().cloned());
        }
        let stale = std::mem::take(&mut self.views_dirty);
        if !stale.is_empty() {
            let mut views = Arc::unwrap_or_clone(std::mem::take(&mut self.instance_views));
            for id in stale {
                match self.instances.get(&id) {
                    Some(instance) => views.insert(id, Arc::new(self.instance_view(instance))),
                    None => views.remove(&id),
                };
            }
            self.instance_views = Arc::new(views);
        }
        MeshView {
            agent: self.me(),
            name: self.config.name.clone(),
            at: self.now.wall,
            index: self.view_index,
            quorate: self.was_quorate,
            quorate_since: self.quorate_since,
            alive: self.swim.active_count() + 1,
            roster: self.roster.len(),
            settled: self.caught_up(),
            members: Arc::clone(&self.member_views),
            instances: Arc::clone(&self.instance_views),
            stats: self.stats(),
        }
    }

    /// Counters and sizes now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let records = self.namespaces.values().map(|namespace| namespace.len()).sum::<usize>() + self.log.copy().len();
        Stats {
            undead_filtered: self.swim.undead_filtered,
            swim_probes_failed: self.swim.probes_failed,
            local_health: self.swim.local_health,
            gossip_backlog: self.gossip.len() + self.swim.backlog(),
            timers: self.swim.timer_count() + self.schedule.len() + self.proposals_due.len(),
            records,
            ..self.stats
        }
    }

    fn roll_of_members(&self) -> BTreeMap<AgentId, MemberView> {
        let suspected = &self.shown_suspects;
        let mut homes: BTreeMap<AgentId, usize> = BTreeMap::new();
        for instance in self.instances.values().filter(|instance| !instance.is_host()) {
            *homes.entry(instance.home).or_default() += 1;
        }
        let view = |agent: &AgentId| self.member_view(*agent, suspected, homes.get(agent).copied().unwrap_or(0));
        self.agents.keys().filter_map(|agent| Some((*agent, view(agent)?))).collect()
    }

    fn member_view(&self, agent: AgentId, suspected: &BTreeSet<AgentId>, instances: usize) -> Option<MemberView> {
        let known = self.agents.get(&agent)?;
        let profile = known.profile.as_ref()?;
        let state = match self.member_state(agent) {
            MemberState::Alive if suspected.contains(&agent) => MemberState::Suspect,
            state => state,
        };
        let host = self.instances.get(&InstanceId::host(agent)).map_or(Verdict::Unknown, |host| self.stated(host));
        Some(MemberView {
            agent,
            name: profile.name.clone(),
            zone: profile.zone.clone(),
            address: profile.address.to_string(),
            api_address: profile.api_address.clone(),
            version: profile.version.clone(),
            boot: if agent == self.me() { self.boot } else { self.namespaces.get(&agent).map_or(0, |n| n.epoch()) },
            state,
            since: known.since,
            host,
            instances,
        })
    }

    /// The verdict as this agent may state it.
    fn stated(&self, instance: &Instance) -> Verdict {
        let decided = instance.decided();
        let member = self.member_state(instance.home);
        match decided {
            // A quiet mesh decides nothing about hosts: membership is what is known of them.
            Verdict::Starting if instance.is_host() && member == MemberState::Alive => Verdict::Up,
            Verdict::Starting if instance.is_host() => Verdict::Unknown,
            _ if instance.unheard && instance.stale_since.is_some() && decided != Verdict::Starting => Verdict::Unknown,
            _ => decided,
        }
    }

    fn instance_view(&self, instance: &Instance) -> InstanceView {
        let (name, zone) = self.name_and_zone(instance.home);
        let registration = instance.registration.as_ref();
        let address = match registration {
            Some(registration) => registration.address.clone(),
            None => self
                .agents
                .get(&instance.home)
                .and_then(|a| a.profile.as_ref())
                .map_or(String::new(), |p| p.address.to_string()),
        };
        let decided = instance.decided();
        InstanceView {
            instance: instance.id.clone(),
            service: instance.service.clone(),
            home: instance.home,
            home_name: name,
            zone,
            address,
            check: registration.map_or("mesh", |registration| registration.check.kind.name()),
            registration: registration.cloned(),
            verdict: self.stated(instance),
            decided,
            term: instance.term(),
            class: self.present_class(instance),
            since: instance.certificate.as_ref().map_or(instance.appeared_wall, |certificate| certificate.decided_at),
            stale_since: instance.stale_since.filter(|_| decided != Verdict::Starting || instance.is_host()),
            flapping: self.is_flapping(instance),
            changes: instance.recent_changes(self.now.mono, self.config.timing.flap_window),
            folded_under: self.folded_under(instance.home, &instance.id, decided),
            assigned: instance.assigned,
            quorum: instance.quorum() as u32,
            observers: self.observer_views(instance),
            certificate: instance.certificate.clone(),
        }
    }

    fn observer_views(&self, instance: &Instance) -> Vec<ObserverView> {
        let view = |agent: &AgentId| {
            let (name, zone) = self.name_and_zone(*agent);
            ObserverView {
                agent: *agent,
                name,
                zone,
                home: *agent == instance.home && !instance.is_host(),
                state: self.member_state(*agent),
                heard: self.heard(*agent),
                observation: self.observation_of(instance, *agent),
            }
        };
        let mut agents: Vec<_> = instance.observers.clone();
        let further = instance.votes.iter().filter(|(_, (incarnation, _))| *incarnation == instance.incarnation);
        agents.extend(further.map(|(agent, _)| *agent).filter(|agent| !instance.observers.contains(agent)));
        agents.iter().map(view).collect()
    }

    fn observation_of(&self, instance: &Instance, agent: AgentId) -> Option<Observation> {
        if agent == self.me() {
            let watch = instance.watch.as_ref()?;
            return Some(Observation { vote: watch.vote, detail: watch.detail.clone(), since: watch.since });
        }
        instance
            .votes
            .get(&agent)
            .filter(|(incarnation, _)| *incarnation == instance.incarnation)
            .map(|(_, o)| o.clone())
    }

    fn name_and_zone(&self, agent: AgentId) -> (String, Zone) {
        match self.agents.get(&agent).and_then(|known| known.profile.as_ref()) {
            Some(profile) => (profile.name.clone(), profile.zone.clone()),
            None => (agent.to_string(), Zone::default()),
        }
    }

    /// Notes a change of verdict for the next cut.
    pub(super) fn note_change(&mut self, change: VerdictChange) {
        if self.cut.len() >= MAX_CUT {
            self.cut_due = Some(self.now.mono);
            self.flush_cut();
        }
        self.cut.push(change);
        if self.cut_due.is_none() {
            self.cut_due = Some(self.now.mono + self.config.timing.cut_delay);
        }
    }

    pub(super) fn flush_cut(&mut self) {
        if self.cut_due.is_some_and(|at| at <= self.now.mono) {
            self.cut_due = None;
            self.cut_number += 1;
            let mut changes = std::mem::take(&mut self.cut);
            // What folds is known only now that the whole cut is here.
            for change in &mut changes {
                if let Some(instance) = self.instances.get(&change.instance) {
                    change.folded_under = self.folded_under(instance.home, &change.instance, change.to);
                }
            }
            self.event(EventKind::Verdicts { cut: self.cut_number, changes });
        }
    }

    /// Asks for the state to be stored, before long.
    pub(super) fn persist_soon(&mut self) {
        if self.persist_due.is_none() {
            self.persist_due = Some(self.now.mono + self.config.timing.persist_interval);
        }
    }

    pub(super) fn flush_persist(&mut self) {
        if self.persist_due.is_some_and(|at: Mono| at <= self.now.mono) {
            self.persist_due = None;
            self.out.push_back(Output::Persist(quorate_wire::encode_value(&self.stored())));
        }
    }
}

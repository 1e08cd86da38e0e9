//! What leaves the engine for people: the picture, the events, the stored state.

use super::instance::Instance;
use super::{Agent, Engine};
use crate::api::{EventKind, MemberState, Output, VerdictChange};
use crate::view::{
    Glance, InstanceView, MemberView, MeshView, ObserverView, Standing, Standings, Stats, undecided_host,
};
use quorate_core::{AgentId, InstanceId, Mono, Observation, Verdict, Zone};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A cut holds at most this many changes; more make another.
const MAX_CUT: usize = 10_000;
/// The stored state is written whole: a large one less often, at most 250 kB a second, unless it must be stored before the next word.
const PERSIST_US_PER_BYTE: u64 = 4;
/// Bytes that an agent's credential, a record and an instance's certificate take in it, about.
const STATE_BYTES: [u64; 3] = [512, 256, 1024];

/// The pictures last made, and what of.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    /// How often the instances and the members in the pictures have changed.
    instances: u64,
    members: u64,
    known_instances: Arc<BTreeMap<InstanceId, Arc<InstanceView>>>,
    standings: Arc<Standings>,
    /// The counts above, and whether it was quorate, as of the last whole picture.
    whole_of: Option<(u64, u64, bool)>,
    whole_instances: Arc<BTreeMap<InstanceId, Arc<InstanceView>>>,
    whole_members: Arc<BTreeMap<AgentId, MemberView>>,
}

impl Engine {
    /// Has anything changed since the last [`Engine::view`]?
    #[must_use]
    pub fn view_changed(&self) -> bool {
        self.view_dirty
    }

    /// A picture of what this agent knows, as of the last input. Only what has changed is built anew.
    pub fn view(&mut self) -> MeshView {
        let glance = self.glance();
        let pictured = (self.pictures.instances, self.pictures.members, glance.quorate);
        if self.pictures.whole_of != Some(pictured) {
            let members = self.pictures.whole_of.is_none_or(|(_, members, _)| members != self.pictures.members);
            if members {
                self.pictures.whole_members = Arc::new(self.roll_of_members());
            }
            self.pictures.whole_instances = Arc::new(self.all_instances(&glance.instances));
            self.pictures.whole_of = Some(pictured);
        }
        MeshView {
            agent: glance.agent,
            name: self.config.name.clone(),
            at: glance.at,
            index: glance.index,
            quorate: glance.quorate,
            quorate_since: glance.quorate_since,
            alive: glance.alive,
            epoch: glance.epoch,
            roster_digest: glance.roster_digest,
            roster: glance.roster,
            settled: glance.settled,
            members: Arc::clone(&self.pictures.whole_members),
            instances: Arc::clone(&self.pictures.whole_instances),
            breakers: self.breakers(),
            stats: glance.stats,
        }
    }

    /// The same without names and addresses, and without the hosts of which there is nothing to say but what membership says: cheap
    /// enough to look at a thousand agents often.
    pub fn glance(&mut self) -> Glance {
        if std::mem::take(&mut self.view_dirty) {
            self.view_index += 1;
        }
        if std::mem::take(&mut self.members_dirty) {
            self.pictures.members += 1;
            self.pictures.standings = Arc::new(self.standings());
        }
        let stale = std::mem::take(&mut self.views_dirty);
        if !stale.is_empty() {
            self.pictures.instances += 1;
            let mut views = Arc::unwrap_or_clone(std::mem::take(&mut self.pictures.known_instances));
            for id in stale {
                match self.instances.get(&id) {
                    Some(instance) => views.insert(id, Arc::new(self.instance_view(instance))),
                    None => views.remove(&id),
                };
            }
            self.pictures.known_instances = Arc::new(views);
        }
        Glance {
            agent: self.me(),
            at: self.now.wall,
            index: self.view_index,
            quorate: self.was_quorate,
            quorate_since: self.quorate_since,
            alive: self.reached,
            epoch: self.roster.epoch(),
            roster_digest: self.roster.digest(),
            roster: self.roster.len(),
            settled: self.caught_up(),
            members: Arc::clone(&self.pictures.standings),
            instances: Arc::clone(&self.pictures.known_instances),
            stats: self.stats(),
        }
    }

    fn standings(&self) -> Standings {
        // Both go by id: no need to look for each.
        let mut suspects = self.shown_suspects.keys().peekable();
        let standing = |(agent, known): (&AgentId, &Agent)| {
            while suspects.next_if(|suspect| *suspect < agent).is_some() {}
            let state = match known.state {
                _ if *agent == self.me() => self.member_state(*agent),
                MemberState::Alive if suspects.peek() == Some(&agent) => MemberState::Suspect,
                state => state,
            };
            known.profile.is_some().then_some(Standing { agent: *agent, state })
        };
        self.agents.iter().filter_map(standing).collect()
    }

    /// What is known of instances, and the hosts of which there is nothing to say.
    fn all_instances(
        &self,
        known: &BTreeMap<InstanceId, Arc<InstanceView>>,
    ) -> BTreeMap<InstanceId, Arc<InstanceView>> {
        let mut all = known.clone();
        for agent in &self.members {
            let host = InstanceId::host(*agent);
            all.entry(host).or_insert_with(|| Arc::new(self.instance_view(&self.quiet_host(*agent))));
        }
        all
    }

    /// Counters and sizes now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let records = self.records_copied + self.log.copy().len();
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
        let mut homes: BTreeMap<AgentId, usize> = BTreeMap::new();
        for instance in self.instances.values().filter(|instance| !instance.is_host()) {
            *homes.entry(instance.home).or_default() += 1;
        }
        let view = |agent: &AgentId| self.member_view(*agent, homes.get(agent).copied().unwrap_or(0));
        self.agents.keys().filter_map(|agent| Some((*agent, view(agent)?))).collect()
    }

    fn shown_state(&self, agent: AgentId) -> MemberState {
        match self.member_state(agent) {
            MemberState::Alive if self.shown_suspects.contains_key(&agent) => MemberState::Suspect,
            state => state,
        }
    }

    fn member_view(&self, agent: AgentId, instances: usize) -> Option<MemberView> {
        let known = self.agents.get(&agent)?;
        let profile = known.profile.as_ref()?;
        let host = match self.instances.get(&InstanceId::host(agent)) {
            Some(host) => self.stated(host),
            None => undecided_host(self.member_state(agent)),
        };
        Some(MemberView {
            agent,
            name: profile.name.clone(),
            zone: profile.zone.clone(),
            address: profile.address.to_string(),
            api_address: profile.api_address.clone(),
            version: profile.version.clone(),
            boot: if agent == self.me() { self.boot } else { self.namespaces.get(&agent).map_or(0, |n| n.epoch()) },
            state: self.shown_state(agent),
            in_roster: self.roster.contains(agent),
            since: known.since,
            host,
            instances,
        })
    }

    /// The verdict as this agent may state it.
    fn stated(&self, instance: &Instance) -> Verdict {
        let health = self.stated_health(instance);
        let intent = instance.registration.as_ref().and_then(|registration| registration.placement.intent.as_ref());
        intent.map_or(health, |intent| intent.applied(health, self.now.wall))
    }

    /// The same without what operators want.
    pub(super) fn stated_health(&self, instance: &Instance) -> Verdict {
        let decided = instance.decided();
        let member = self.member_state(instance.home);
        match decided {
            // A quiet mesh decides nothing about hosts: membership is what is known of them.
            Verdict::Starting if instance.is_host() => undecided_host(member),
            _ if instance.unheard && instance.stale_since.is_some() && self.had_started(instance) => Verdict::Unknown,
            _ => decided,
        }
    }

    /// Is it more than about to be looked at for the first time? What its own host alone could check, and nobody has, is past that once its agent is
    /// lost.
    fn had_started(&self, instance: &Instance) -> bool {
        let lost = || instance.home != self.me() && !self.swim.is_active(instance.home);
        instance.decided() != Verdict::Starting || instance.home_only() && lost()
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
            incarnation: instance.incarnation,
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
            stale_since: instance.stale_since.filter(|_| instance.is_host() || self.had_started(instance)),
            flapping: self.is_flapping(instance),
            changes: instance.recent_changes(self.lease_clock(), self.config.timing.flap_window),
            folded_under: self
                .folded_under(instance.home, &instance.id, decided)
                .or_else(|| self.unseen_under(instance)),
            assigned: instance.assigned,
            quorum: instance.quorum() as u32,
            observers: self.observer_views(instance),
            certificate: instance.shown_certificate(),
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
        agents.extend(further.map(|(agent, _)| agent).filter(|agent| !instance.observers.contains(agent)));
        agents.iter().map(view).collect()
    }

    fn observation_of(&self, instance: &Instance, agent: AgentId) -> Option<Observation> {
        if agent == self.me() {
            let watch = instance.watch.as_ref()?;
            return Some(Observation { vote: watch.vote, detail: watch.detail.clone(), since: watch.since });
        }
        instance
            .votes
            .get(agent)
            .filter(|(incarnation, _)| *incarnation == instance.incarnation)
            .map(|(_, o)| o.clone())
    }

    pub(super) fn name_and_zone(&self, agent: AgentId) -> (String, Zone) {
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
            let soon = self.now.mono + self.config.timing.persist_interval;
            self.persist_due = Some(soon.max(self.persist_next));
        }
    }

    /// Stores the state before whatever is said next.
    pub(super) fn persist_now(&mut self) {
        self.persist(true);
    }

    pub(super) fn flush_persist(&mut self) {
        if self.persist_due.is_some_and(|at: Mono| at <= self.now.mono) {
            self.persist(false);
        }
    }

    fn persist(&mut self, before_more: bool) {
        self.persist_due = None;
        self.persist_next = self.now.mono + Duration::from_micros(self.state_bytes() * PERSIST_US_PER_BYTE);
        self.out.push_back(Output::Persist { before_more });
    }

    /// What is to be stored, asked for when [`Output::Persist`] is carried out.
    #[must_use]
    pub fn state(&self) -> Vec<u8> {
        self.stored().write()
    }

    /// About how long the stored state is.
    fn state_bytes(&self) -> u64 {
        let counts = [self.agents.len(), self.records_copied, self.instances.len()];
        counts.iter().zip(STATE_BYTES).map(|(count, bytes)| *count as u64 * bytes).sum()
    }
}

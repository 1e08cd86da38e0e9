//! The roster, the members' states, and the ways back to those who were lost.

use super::{Agent, Engine, limits};
use crate::api::{EventKind, MemberState, Output};
use crate::gossip::News;
use crate::swim::SwimOutput;
use quorate_core::{AgentId, InstanceId, hash};
use quorate_wire::{Packet, Profile, Record, RecordKey, Suspicion};
use rand::RngExt;
use rand::seq::IndexedRandom;
use std::time::Duration;

/// Failed members tried at once while nobody has answered yet.
const FIRST_CONTACTS: usize = 3;
/// How long the leave is told before the process may end.
const LEAVE_TIME: Duration = Duration::from_millis(600);
/// A new member is stored this soon; those that join together are stored together.
const ROSTER_PERSIST: Duration = Duration::from_millis(100);
/// Members told of a leave directly.
const MAX_LEAVE_TOLD: usize = 64;

impl Engine {
    pub(super) fn receive_swim(&mut self, from: AgentId, bytes: &[u8]) {
        if !self.swim.receive(self.now.mono, from, bytes, &self.links) {
            self.stats.packets_malformed += 1;
        }
    }

    pub(super) fn receive_suspicions(&mut self, suspicions: Vec<Suspicion>) {
        for suspicion in suspicions.into_iter().take(limits::MAX_DECISIONS) {
            if suspicion.of == self.me() {
                self.swim.refute(self.now.mono, suspicion, &self.links);
            } else if self.roster.contains(&suspicion.by) && self.swim.hear_suspicion(self.now.mono, suspicion) {
                let times = self.transmissions();
                self.tell(News::Suspicion(suspicion), times);
                self.doubt_host(suspicion.of);
            }
        }
    }

    /// An agent has answered us: if we suspected it, it is told, so that it refutes.
    pub(super) fn answered(&mut self, agent: AgentId) {
        if let Some(suspicion) = self.swim.answered(agent) {
            self.send(agent, &Packet::Suspicions(vec![suspicion]));
        }
    }

    /// Suspicion comes and goes without a word from the library: the picture is compared while there is reason to, or when `anyway`.
    pub(super) fn watch_suspects(&mut self, anyway: bool) {
        if anyway || !self.shown_suspects.is_empty() || self.swim.doubts_any() {
            let suspected = self.swim.suspected();
            if suspected != self.shown_suspects {
                self.shown_suspects = suspected;
                self.members_dirty = true;
                self.view_dirty = true;
            }
        }
    }

    /// Tells those of whom rumour has it that they are suspect.
    pub(super) fn tell_suspects(&mut self) {
        for rumour in self.swim.rumours() {
            self.send(rumour.of, &Packet::Suspicions(vec![rumour]));
        }
    }

    pub(super) fn link_up(&mut self, peer: AgentId) {
        self.links.insert(peer);
        if !self.synced || !self.swim.is_active(peer) {
            self.begin_sync(peer);
        }
    }

    /// Carries out what membership wants, and takes note of what it tells.
    pub(super) fn take_swim_outputs(&mut self) {
        for output in self.swim.outputs() {
            match output {
                SwimOutput::Send { to, bytes } => self.send(to, &Packet::Swim(bytes)),
                SwimOutput::Up(agent) => self.member_up(agent),
                SwimOutput::Down(agent) => self.member_down(agent),
                SwimOutput::NoAnswer(agent) | SwimOutput::ProbeFailed(agent) => self.doubt_host(agent),
                SwimOutput::HeardNobody => self.call_roll(),
                SwimOutput::Suspects(suspicion) => {
                    self.members_dirty = true;
                    self.view_dirty = true;
                    let times = self.transmissions();
                    self.tell(News::Suspicion(suspicion), times);
                    self.doubt_host(suspicion.of);
                    self.ping_host(suspicion.of, true);
                    // The suspect is told as well (Lifeguard's buddy system): it can refute at once.
                    self.send(suspicion.of, &Packet::Suspicions(vec![suspicion]));
                }
                SwimOutput::Renewed => self.stats.renewals += 1,
            }
        }
    }

    fn member_up(&mut self, agent: AgentId) {
        let back = self.member_state(agent) == MemberState::Failed;
        self.set_state(agent, MemberState::Alive);
        if back {
            self.begin_sync(agent);
        }
        self.membership_changed();
    }

    fn member_down(&mut self, agent: AgentId) {
        if self.member_state(agent) != MemberState::Left {
            self.set_state(agent, MemberState::Failed);
            self.doubt_host(agent);
        }
        self.membership_changed();
    }

    fn membership_changed(&mut self) {
        self.assign_all = true;
        self.evaluate_all = true;
        self.members_dirty = true;
        self.view_dirty = true;
    }

    fn set_state(&mut self, agent: AgentId, to: MemberState) {
        let Some(known) = self.agents.get_mut(&agent) else { return };
        let from = known.state;
        if from == to {
            return;
        }
        known.state = to;
        known.since = self.now.wall;
        let name = known.profile.as_ref().map(|profile| profile.name.clone()).unwrap_or_default();
        self.members_dirty = true;
        self.event(EventKind::Member { agent, name, from: Some(from), to });
    }

    /// Makes an agent known by its credential. False when that does not admit it, or there is no room.
    pub(super) fn introduce(&mut self, agent: AgentId, credential: &[u8]) -> bool {
        if self.agents.contains_key(&agent) {
            return true;
        }
        if self.agents.len() >= limits::MAX_AGENTS {
            self.stats.limits_hit += 1;
            return false;
        }
        if self.keys.admit(credential) != Some(agent) {
            return false;
        }
        let credential = credential.to_vec();
        let since = self.now.wall;
        self.agents.insert(agent, Agent { credential, profile: None, state: MemberState::Failed, since });
        true
    }

    /// An agent's profile has arrived or changed. `fresh`: it is news of this moment, not a memory of somebody's.
    pub(super) fn learn_profile(&mut self, agent: AgentId, fresh: bool) {
        let record = self.namespaces.get(&agent).and_then(|namespace| namespace.record(&RecordKey::Profile));
        let Some(Record::Profile(profile)) = record.cloned() else { return };
        let boot = self.namespaces.get(&agent).map_or(0, |namespace| namespace.epoch());
        if profile.name.len() > 255 || profile.version.len() > 255 || profile.api_address.len() > 300 {
            self.stats.packets_refused += 1;
            return;
        }
        let left = profile.left;
        self.store_profile(agent, profile);
        if left {
            self.depart(agent);
        } else {
            self.enlist(agent);
            if fresh {
                self.swim.admit(self.now.mono, agent, boot, &self.links);
            }
        }
        self.members_dirty = true;
        self.view_dirty = true;
    }

    fn store_profile(&mut self, agent: AgentId, profile: Profile) {
        let Some(known) = self.agents.get_mut(&agent) else { return };
        let moved = known.profile.as_ref().is_none_or(|old| old.zone != profile.zone);
        let address = profile.address;
        known.profile = Some(profile);
        if moved {
            self.forget_orders();
        }
        self.out.push_back(Output::Address { agent, address });
        self.persist_soon();
    }

    /// Takes an agent into the roster.
    fn enlist(&mut self, agent: AgentId) {
        if !self.roster.insert(agent) {
            return;
        }
        self.swim.know(agent);
        if let Some(known) = self.agents.get_mut(&agent) {
            let name = known.profile.as_ref().map(|profile| profile.name.clone()).unwrap_or_default();
            let from = (known.state == MemberState::Left).then_some(MemberState::Left);
            known.state = MemberState::Failed;
            known.since = self.now.wall;
            let to = if self.swim.is_active(agent) { MemberState::Alive } else { MemberState::Failed };
            known.state = to;
            if from.is_some() || to == MemberState::Failed {
                tracing::debug!(%agent, %name, "in the roster");
            }
        }
        self.adopt_host(agent);
        self.roster_changed();
        // Who belongs to the mesh must survive a crash of the next moment.
        let soon = self.now.mono + ROSTER_PERSIST;
        self.persist_due = Some(self.persist_due.map_or(soon, |due| due.min(soon)));
    }

    /// Takes an agent that has left out of the roster.
    fn depart(&mut self, agent: AgentId) {
        self.swim.dismiss(self.now.mono, agent, &self.links);
        self.set_state(agent, MemberState::Left);
        let host = InstanceId::host(agent);
        if let Some(instance) = self.instances.get(&host) {
            self.floors.insert(host.clone(), instance.signer.certified);
        }
        self.forget_instance(&host);
        if self.roster.remove(&agent) {
            self.roster_changed();
        }
    }

    pub(super) fn roster_changed(&mut self) {
        self.roster_hash = self.roster.iter().fold(0, |hash, agent| hash ^ hash::spread(agent.0));
        self.void_roll();
        self.forget_orders();
        self.evaluate_all = true;
        self.members_dirty = true;
        self.view_dirty = true;
        self.persist_soon();
    }

    /// How often a piece of news is told: as SWIM does, four times the logarithm of the mesh's size, and three more. Told t times by
    /// everyone, it misses a given agent with a probability of about e^-t; the rest is for the repair.
    pub(super) fn transmissions(&self) -> u32 {
        let log = crate::swim::log10_thousandths(self.roster.len() as u64 + 1);
        (4 * log / 1000 + 3).clamp(3, 32) as u32
    }

    /// Tries a failed member again, one at a time.
    pub(super) fn run_reconnect(&mut self) {
        if self.next_reconnect > self.now.mono {
            return;
        }
        let mut lost: Vec<_> =
            self.roster.iter().copied().filter(|agent| *agent != self.me() && !self.swim.is_active(*agent)).collect();
        if !self.synced {
            lost.extend(self.contacts.iter().copied().filter(|agent| !self.roster.contains(agent)));
        }
        let count = if self.synced { 1 } else { FIRST_CONTACTS };
        let chosen: Vec<_> = lost.sample(&mut self.rng, count).copied().collect();
        for agent in chosen {
            self.begin_sync(agent);
        }
        let interval = self.config.timing.reconnect_interval;
        self.next_reconnect = self.now.mono + interval * self.rng.random_range(80..=120) / 100;
    }

    /// Begins to leave: the others are told, and a little later the process may end.
    pub(super) fn leave(&mut self) {
        if self.leaving.is_some() {
            return;
        }
        let ids: Vec<_> = self.instances.keys().cloned().collect();
        for id in ids {
            self.set_watching(&id, false);
        }
        let gone: Vec<_> = self.log.copy().records().map(Record::key).collect();
        for key in gone {
            match key {
                RecordKey::Profile => {}
                RecordKey::Instance(id) => self.log.write(Record::InstanceGone(id)),
                RecordKey::Observed(id) => self.log.write(Record::ObservedGone(id)),
            }
        }
        let profile = self.own_profile(true);
        self.log.write(Record::Profile(profile));
        let batches = self.flush_log();
        let mut told: Vec<_> = self.swim.active().collect();
        told.truncate(MAX_LEAVE_TOLD);
        for to in told {
            self.push_batches(to, &batches);
        }
        self.swim.leave(self.now.mono, &self.links);
        self.leaving = Some(self.now.mono + LEAVE_TIME);
    }

    pub(super) fn finish_leave(&mut self) {
        self.leaving = None;
        self.left = true;
        self.persist_due = Some(self.now.mono);
        self.flush_persist();
        self.out.push_back(Output::Left);
    }

    pub(super) fn own_profile(&self, left: bool) -> Profile {
        Profile {
            name: self.config.name.clone(),
            zone: self.config.zone.clone(),
            address: self.config.address,
            api_address: self.config.api_address.clone(),
            version: self.config.version.clone(),
            left,
        }
    }
}

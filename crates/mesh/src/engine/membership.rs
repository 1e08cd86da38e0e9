//! The roster, the members' states, and the ways back to those who were lost.

use super::gone::Gone;
use super::vantage::Vantage;
use super::{Agent, Engine, limits};
use crate::api::{EventKind, MemberState, Output};
use crate::gossip::{MAX_SUSPICIONS, News};
use crate::swim::SwimOutput;
use quorate_core::{AgentId, InstanceId, Verdict};
use quorate_wire::{Packet, Profile, Record, RecordKey, Suspicion};
use rand::RngExt;
use rand::seq::IndexedRandom;
use std::sync::Arc;
use std::time::Duration;

/// Failed members tried at once while nobody has answered yet.
const FIRST_CONTACTS: usize = 3;
/// How long the leave is told before the process may end.
const LEAVE_TIME: Duration = Duration::from_millis(600);
/// How long a leaving agent stays to take part in the agreement that it no longer counts.
const LEAVE_PATIENCE: Duration = Duration::from_secs(4);
/// A new member is stored this soon; those that join together are stored together.
const ROSTER_PERSIST: Duration = Duration::from_millis(100);
/// The picture of who is suspect is at most this much older than the last input: the whole table is looked through.
const SUSPECTS_SPACING: Duration = Duration::from_millis(100);
/// Suspects asked at a regular comparison: all when there are few; when half of the mesh is gone, the others' suspicions settle it.
const MAX_QUESTIONED: usize = 4;
/// Suspects told at a regular comparison of what rumour has it: as all who have heard it do so, each is told by many.
const MAX_RUMOURS: usize = 16;
/// Members told of a leave directly.
const MAX_LEAVE_TOLD: usize = 64;

impl Engine {
    pub(super) fn receive_swim(&mut self, from: AgentId, bytes: &[u8]) {
        if !self.swim.receive(self.now.mono, from, bytes, &self.links) {
            self.stats.packets_malformed += 1;
        }
    }

    pub(super) fn receive_suspicions(&mut self, from: AgentId, suspicions: Vec<Suspicion>) {
        for suspicion in suspicions.into_iter().take(MAX_SUSPICIONS) {
            if suspicion.of == self.me() {
                self.swim.refute(self.now.mono, from, suspicion, &self.links);
            } else if self.members.contains(&suspicion.by) && self.swim.hear_suspicion(self.now.mono, suspicion) {
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

    /// Asks someone whom this agent has suspected for longer than a refutation takes, and who speaks, or may by now: it has not heard so, or its refutation
    /// was lost. If it answers, it is told again. After a partition, or when the mesh is quiet, nothing else may ask it before the suspicion runs out.
    pub(super) fn question_suspect(&mut self, agent: AgentId) {
        let since = self.swim.suspects_since(agent);
        let long = since.is_some_and(|since| self.now.mono.since(since) >= super::replication::REFUTATION);
        if long && !self.pings.asks(agent) {
            self.ping_host(agent, true);
        }
    }

    /// Suspicion comes and goes without a word from the library: the picture is compared now and then while there is reason to, or when `anyway`.
    pub(super) fn watch_suspects(&mut self, anyway: bool) {
        let reason = !self.shown_suspects.is_empty() || self.swim.doubts_any();
        let lately = self.now.mono.since(self.suspects_seen) < SUSPECTS_SPACING;
        if anyway || (reason && !lately && self.swim.take_stirred()) {
            self.suspects_seen = self.now.mono;
            let suspected = self.swim.suspected();
            if !suspected.iter().eq(self.shown_suspects.keys()) {
                self.shown_suspects.retain(|agent, _| suspected.contains(agent));
                for agent in suspected {
                    self.shown_suspects.entry(agent).or_insert(self.now.mono);
                }
                self.members_dirty = true;
                self.view_dirty = true;
            }
        }
    }

    /// Tells those of whom rumour has it that they are suspect, and asks some of those whom this agent has itself suspected for long: what was said
    /// to them may have been lost to a cut that is over, and whom nobody else suspects may stay so for most of a minute.
    pub(super) fn tell_suspects(&mut self) {
        for rumour in self.swim.rumours().sample(&mut self.rng, MAX_RUMOURS) {
            self.send(rumour.of, &Packet::Suspicions(vec![*rumour]));
        }
        let suspects: Vec<_> = self.swim.suspected().into_iter().collect();
        let asked: Vec<_> = suspects.sample(&mut self.rng, MAX_QUESTIONED).copied().collect();
        asked.into_iter().for_each(|agent| self.question_suspect(agent));
    }

    pub(super) fn link_up(&mut self, peer: AgentId, version: u8) {
        self.links.insert(peer);
        self.versions.insert(peer, version);
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
                // Whoever has been found isolated calls the roll again in its time.
                SwimOutput::Alone if self.vantage() == Vantage::Isolated => {}
                SwimOutput::Alone => self.call_roll(),
                SwimOutput::Suspects(suspicion) => {
                    self.members_dirty = true;
                    self.view_dirty = true;
                    if !self.swim.is_common(&suspicion) {
                        let times = self.transmissions();
                        self.tell(News::Suspicion(suspicion), times);
                    }
                    self.doubt_host(suspicion.of);
                    let host = self.instances.get(&InstanceId::host(suspicion.of));
                    if host.is_some_and(|host| host.decided() == Verdict::Down) {
                        self.swim.confirm(suspicion.of);
                    }
                    self.ping_host(suspicion.of, true);
                    // The suspect is told as well (Lifeguard's buddy system): it can refute at once.
                    self.send(suspicion.of, &Packet::Suspicions(vec![suspicion]));
                }
                SwimOutput::Renewed => self.stats.renewals += 1,
                SwimOutput::Exhausted => self.start_anew(self.boot),
                SwimOutput::Outdated { agent, counter } => self.send(agent, &Packet::HeldFailed { counter }),
                SwimOutput::Unheard(agent) => self.begin_sync(agent),
            }
        }
    }

    fn member_up(&mut self, agent: AgentId) {
        let back = self.member_state(agent) == MemberState::Failed;
        self.set_state(agent, MemberState::Alive);
        if back {
            self.begin_sync(agent);
        }
        self.membership_changed(agent);
    }

    fn member_down(&mut self, agent: AgentId) {
        if self.member_state(agent) != MemberState::Left {
            self.set_state(agent, MemberState::Failed);
            self.doubt_host(agent);
        }
        self.membership_changed(agent);
    }

    fn membership_changed(&mut self, agent: AgentId) {
        self.recount = true;
        self.epochs.dirty = true;
        if self.swim.is_active(agent) {
            self.epochs.given_up.remove(&agent);
        }
        self.concerns(agent);
        self.look_at_hosts_soon();
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
    pub(super) fn introduce(&mut self, agent: AgentId, credential: &Arc<[u8]>) -> bool {
        if self.agents.contains_key(&agent) {
            return true;
        }
        if self.agents.len() >= limits::MAX_AGENTS && !self.forget_who_left() {
            self.stats.limits_hit += 1;
            return false;
        }
        if self.keys.admit(credential) != Some(agent) {
            return false;
        }
        let credential = Arc::clone(credential);
        let since = self.now.wall;
        let host_hash = InstanceId::host(agent).hash64();
        let state = MemberState::Failed;
        self.agents.insert(agent, Agent { credential, profile: None, state, since, placed: false, host_hash });
        true
    }

    /// Makes room: forgets the agent that has left longest ago, of those that no longer count.
    fn forget_who_left(&mut self) -> bool {
        let left = self.agents.iter().filter(|(agent, known)| {
            known.state == MemberState::Left && !self.roster.contains(**agent) && **agent != self.me()
        });
        let Some(agent) = left.min_by_key(|(_, known)| known.since).map(|(agent, _)| *agent) else { return false };
        self.forget_agent(agent);
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
            self.enlist(agent, boot);
            if fresh {
                self.swim.admit(self.now.mono, agent, boot, &self.links);
            }
        }
        self.members_dirty = true;
        self.view_dirty = true;
    }

    fn store_profile(&mut self, agent: AgentId, profile: Arc<Profile>) {
        let Some(known) = self.agents.get_mut(&agent) else { return };
        let moved = known.profile.as_ref().is_some_and(|old| old.zone != profile.zone);
        let changed = known.profile.as_ref() != Some(&profile);
        let address = profile.address;
        let new = known.profile.is_none();
        let before = known.profile.as_ref().map(|old| old.address).filter(|old| *old != address);
        known.profile = Some(profile);
        self.roster_moved |= !known.placed;
        if moved {
            self.forget_orders();
        }
        if changed {
            self.concerns(agent);
        }
        self.out.push_back(Output::Address { agent, address });
        if let Some(before) = before {
            self.addresses_in_turn.insert(agent, [before, address]);
        }
        if new {
            self.now_known(agent);
        }
        self.persist_soon();
    }

    /// Takes an agent for a member. Whether it counts is decided by those who do.
    fn enlist(&mut self, agent: AgentId, boot: u32) {
        self.swim.know(agent, boot);
        if !self.members.insert(agent) {
            return;
        }
        if let Some(known) = self.agents.get_mut(&agent) {
            let name = known.profile.as_ref().map(|profile| profile.name.clone()).unwrap_or_default();
            let from = (known.state == MemberState::Left).then_some(MemberState::Left);
            known.state = MemberState::Failed;
            known.since = self.now.wall;
            let to = if self.swim.is_active(agent) { MemberState::Alive } else { MemberState::Failed };
            known.state = to;
            if from.is_some() || to == MemberState::Failed {
                tracing::debug!(%agent, %name, "a member");
            }
        }
        self.adopt_host(agent);
        self.reconsider_host(agent);
        self.membership_changed(agent);
        // Who belongs to the mesh must survive a crash of the next moment.
        let soon = (self.now.mono + ROSTER_PERSIST).max(self.persist_next);
        self.persist_due = Some(self.persist_due.map_or(soon, |due| due.min(soon)));
    }

    /// Takes note that an agent has left. It counts until the others have agreed that it does not.
    fn depart(&mut self, agent: AgentId) {
        self.swim.dismiss(self.now.mono, agent, &self.links);
        self.set_state(agent, MemberState::Left);
        self.give_up_host(&InstanceId::host(agent));
        if self.members.remove(&agent) {
            self.membership_changed(agent);
            self.persist_soon();
        }
    }

    /// Drops everything about an agent that vanished and no longer counts. Should it come back, it is let in like any other.
    pub(super) fn forget_agent(&mut self, agent: AgentId) {
        self.swim.dismiss(self.now.mono, agent, &self.links);
        let host = InstanceId::host(agent);
        let was_down = self.instances.get(&host).is_some_and(|host| host.decided() == Verdict::Down);
        self.give_up_host(&host);
        self.forget_speaker(agent);
        let latest = self.drop_namespace(agent);
        for id in self
            .instances
            .iter_mut()
            .filter_map(|(id, i)| i.votes.remove(agent).then(|| id.clone()))
            .collect::<Vec<_>>()
        {
            self.touch(&id);
        }
        self.members.remove(&agent);
        self.addresses_in_turn.remove(&agent);
        self.pings.forget(agent);
        self.roll.forget(agent);
        let known = self.agents.remove(&agent);
        if known.as_ref().is_some_and(|known| known.placed) {
            self.forget_orders();
        }
        // Of a member whose profile never came there is nothing that could be verified.
        if let Some(known) = known {
            if self.gone.len() >= limits::MAX_GONE {
                self.stats.limits_hit += 1;
                self.gone.pop_first();
            }
            let boot = latest.as_ref().map_or(0, |batch| batch.epoch);
            self.gone.insert(agent, Gone { boot, credential: known.credential, latest });
        }
        self.withdraw_all_of(agent, was_down);
        self.membership_changed(agent);
    }

    /// Counts whom of the roster this agent holds alive, when that may have changed.
    pub(super) fn count_reached(&mut self) {
        if std::mem::take(&mut self.recount) {
            let me = self.me();
            // Both are in order.
            let mut active = self.swim.active().peekable();
            let mut is_active = |agent: AgentId| {
                while active.next_if(|held| *held < agent).is_some() {}
                active.peek() == Some(&agent)
            };
            self.reached = self.roster.iter().filter(|agent| *agent == me || is_active(*agent)).count();
        }
    }

    pub(super) fn roster_changed(&mut self) {
        self.recount = true;
        self.void_roll();
        self.roster_moved = true;
        self.evaluate_all = true;
        self.members_dirty = true;
        self.view_dirty = true;
        self.persist_soon();
    }

    /// How often a piece of news is told: as SWIM does, four times the logarithm of the mesh's size, and three more. Told t times by
    /// everyone, it misses a given agent with a probability of about e^-t; the rest is for the repair.
    pub(super) fn transmissions(&self) -> u32 {
        let log = crate::swim::log10_thousandths(self.members.len() as u64 + 1);
        (4 * log / 1000 + 3).clamp(3, 32) as u32
    }

    /// Is there anyone to reconnect to?
    pub(super) fn misses_someone(&self) -> bool {
        !self.synced || self.swim.active_count() + 1 < self.members.len()
    }

    /// Tries a failed member again, one at a time.
    pub(super) fn run_reconnect(&mut self) {
        if self.next_reconnect > self.now.mono || !self.misses_someone() {
            return;
        }
        let me = self.me();
        let failed = |agent: &AgentId| *agent != me && !self.swim.is_active(*agent);
        let mut lost: Vec<_> = self.members.iter().copied().filter(failed).collect();
        if !self.synced {
            lost.extend(self.contacts.iter().copied().filter(|agent| !self.members.contains(agent)));
        }
        let count = if self.synced { 1 } else { FIRST_CONTACTS };
        let chosen: Vec<_> = lost.sample(&mut self.rng, count).copied().collect();
        for agent in chosen {
            // Where it was before, where it is now, in turn: what told the later address may have been a copy that is gone.
            if let Some([next, other]) = self.addresses_in_turn.get_mut(&agent) {
                self.out.push_back(Output::Address { agent, address: *next });
                std::mem::swap(next, other);
            }
            self.begin_sync(agent);
        }
        self.begin_first_syncs();
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
        let gone: Vec<_> = self.log.records().map(Record::key).collect();
        for key in gone {
            match key {
                RecordKey::Profile => {}
                RecordKey::Instance(id) => self.log.write(Record::InstanceGone(id)),
                RecordKey::Observed(id) => self.log.write(Record::ObservedGone(id)),
                RecordKey::Breaker(key) => self.log.write(Record::BreakerGone(key)),
                RecordKey::Override(key) => self.log.write(Record::OverrideGone(key)),
                RecordKey::Extension(kind, about) => {
                    self.log.write(Record::Extension { kind, about, body: Vec::new() });
                }
            }
        }
        let profile = self.own_profile(true);
        self.log.write(Record::Profile(profile.into()));
        let patience =
            if self.roster.len() > 1 && self.roster.contains(self.me()) { LEAVE_PATIENCE } else { LEAVE_TIME };
        self.leaving = Some(self.now.mono + patience);
        self.persist_now();
        let batches = self.flush_log();
        let mut told: Vec<_> = self.swim.active().collect();
        told.truncate(MAX_LEAVE_TOLD);
        for to in told {
            self.push_batches(to, &batches);
        }
        self.swim.leave(self.now.mono, &self.links);
    }

    /// Is it leaving, or has it left?
    pub(super) fn gives_up(&self) -> bool {
        self.left || self.leaving.is_some()
    }

    /// The others have agreed that this agent no longer counts: what remains is to be heard by all.
    pub(super) fn released(&mut self) {
        self.leaving = self.leaving.map(|at| at.min(self.now.mono + LEAVE_TIME));
    }

    pub(super) fn finish_leave(&mut self) {
        self.leaving = None;
        self.left = true;
        self.persist_now();
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

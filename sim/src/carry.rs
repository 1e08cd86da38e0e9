//! How the world carries out what an engine puts out, and how it looks at what an engine knows.

use crate::invariants::{CONTRACT, Finding, Sight};
use crate::network::{Class, Packet};
use crate::plan::Only;
use crate::queue::Rank;
use crate::truth::Appearance;
use crate::world::{Happening, Proof, World};
use crate::{digest, draw::Purpose};
use quorate_core::verdict::Certificate;
use quorate_core::{AgentId, Cause, InstanceId, Outcome, Phase};
use quorate_mesh::{EventKind, Glance, InstanceView, Output, ProbeRequest};
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of a datagram.
pub const MAX_DATAGRAM_BYTES: usize = 1150;
/// Most bytes of a message.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Bytes of a probe's packet: a small request.
const PROBE_BYTES: usize = 200;

impl World {
    /// Carries out one output of an agent.
    pub(crate) fn carry_out(&mut self, agent: usize, output: Output) {
        let now = self.truth.now;
        // Of a disk that nobody will ever read it is enough to know that it was written.
        let state =
            (matches!(output, Output::Persist { .. }) && self.hosts[agent].returns).then(|| self.hosts[agent].state());
        let digest = match (&output, &state) {
            (Output::Datagram { bytes, .. } | Output::Message { bytes, .. }, _) | (_, Some(bytes)) => {
                digest::keyed(0, bytes)
            }
            _ => 0,
        };
        self.trace.output(now, agent, &output, digest);
        match output {
            Output::Datagram { to, bytes } => self.send(agent, to, Packet { class: Class::Datagram, bytes, digest }),
            Output::Message { to, bytes } => self.send(agent, to, Packet { class: Class::Message, bytes, digest }),
            Output::Address { agent: peer, address } => {
                let scenario = &self.truth.scenario;
                if let (Some(process), Some(peer)) = (&mut self.hosts[agent].process, scenario.agent(peer)) {
                    process.routes[peer] = scenario.process_at(peer, address);
                }
            }
            Output::Probe(request) => self.start_probe(agent, &request),
            Output::Persist { .. } => {
                // The disk of one that was its whole mesh, as the founder's from before it met anybody: nobody could tell that it is old.
                let alone =
                    self.truth.rosters.at(now).is_some_and(|roster| roster.len() == 1 && roster.contains(&agent));
                let first = alone || agent == 0 && now < self.truth.scenario.formed_by;
                if let Some(state) = state {
                    self.hosts[agent].persist(state, first);
                }
            }
            Output::Event(event) => self.note_event(agent, &event.kind),
            Output::RollCall { ticket, quorate, .. } => {
                if let Some((joiner, sponsor)) = self.tickets.remove(&ticket.0)
                    && quorate
                {
                    self.plan(now, Rank::Action, joiner, agent, Happening::Admit { agent: joiner, sponsor });
                }
            }
            Output::Left => self.leave_done(agent),
            Output::Breaker { key, event } => self.obey(agent, &key, event),
        }
    }

    fn complain(&mut self, agent: usize, detail: String) {
        self.checks.report(&self.truth, CONTRACT, Finding::new(Some(agent), detail));
    }

    fn send(&mut self, agent: usize, to: quorate_core::AgentId, packet: Packet) {
        let limit = if packet.class == Class::Datagram { MAX_DATAGRAM_BYTES } else { MAX_MESSAGE_BYTES };
        if packet.bytes.len() > limit {
            let (class, size) = (packet.class, packet.bytes.len());
            self.complain(agent, format!("a {class:?} of {size} bytes is sent; {limit} are allowed"));
            return;
        }
        let Some(peer) = self.truth.scenario.agent(to) else {
            self.complain(agent, format!("something is sent to {to}, an agent that does not exist"));
            return;
        };
        if peer == self.truth.scenario.role(agent) {
            self.complain(agent, "it sends to itself".to_owned());
            return;
        }
        if self.truth.is_missed_by_nobody(peer) && quorate_mesh::is_ping(&packet.bytes) {
            self.truth.missed(peer);
        }
        let class = if packet.class == Class::Datagram { "datagram" } else { "message" };
        self.tell_send(agent, peer, class, &packet.bytes);
        self.checks.coverage.packet(&packet.bytes);
        self.truth.sent[self.truth.scenario.role(agent)] += packet.bytes.len() as u64;
        let route = self.hosts[agent].process.as_ref().and_then(|process| process.routes[peer]);
        // The link that came up last is used, whoever is at its other end.
        let linked = self.talked.get(&(agent, peer)).copied().or(route);
        let (known, peer) = (linked.is_some(), linked.unwrap_or(peer));
        self.network.send(self.truth.now, agent, peer, packet, known);
    }

    /// Works out how a probe will end, and when.
    fn start_probe(&mut self, agent: usize, request: &ProbeRequest) {
        let now = self.truth.now;
        let Some(instance) = self.truth.scenario.instance(&request.instance) else {
            self.complain(agent, format!("it probes {}, which does not exist", request.instance));
            return;
        };
        let home = self.truth.scenario.instances[instance].home;
        let timeout = request.check.timeout;
        let took = self.probe_travel(agent, home, request.id.0);
        let silence = Outcome::fail(Phase::Connect, Cause::Timeout, "no answer to the connection attempt", timeout);
        let outcome = match self.appearance(instance, agent) {
            _ if took >= timeout => silence,
            Appearance::Silent => silence,
            Appearance::Hung => Outcome::fail(Phase::FirstByte, Cause::Timeout, "connected, but no answer", timeout),
            Appearance::Refused => Outcome::fail(Phase::Connect, Cause::Refused, "connection refused", took),
            Appearance::Erroring => Outcome::fail(Phase::Assert, Cause::Status, "status 500", took),
            Appearance::Overloaded => Outcome::fail(Phase::Assert, Cause::Status, "status 503", took),
            Appearance::Late(after) if took + after >= timeout => {
                Outcome::fail(Phase::FirstByte, Cause::Timeout, "connected, but no answer", timeout)
            }
            Appearance::Late(after) => Outcome::pass(took + after),
            Appearance::Healthy | Appearance::Busy(_) => Outcome::pass(took),
        };
        let host = &mut self.hosts[agent];
        if let Some(process) = &mut host.process {
            process.probing.insert(request.id, (instance, now));
        }
        let total = outcome.timings.total;
        let event = Happening::Probe { agent, run: host.run, id: request.id, outcome: Box::new(outcome) };
        self.plan(now.plus(total), Rank::Probe, agent, home, event);
    }

    /// How an instance appears to an observer now; a probe of an overloaded one adds to its load.
    fn appearance(&mut self, instance: usize, agent: usize) -> Appearance {
        let now = self.truth.now;
        match self.truth.appearance(instance, self.truth.scenario.role(agent), now) {
            Appearance::Busy(limit) => {
                let second = now.0 / 1_000_000_000;
                let (counted, probes) = self.probed.entry(instance).or_default();
                *probes = if *counted == second { *probes + 1 } else { 1 };
                *counted = second;
                if *probes > limit { Appearance::Overloaded } else { Appearance::Healthy }
            }
            appearance => appearance,
        }
    }

    /// How long a connection and an answer take. A lost first packet is sent again after a second.
    fn probe_travel(&self, agent: usize, home: usize, id: u64) -> Duration {
        if self.truth.scenario.role(agent) == home {
            return Duration::from_micros(200);
        }
        let (weather, now) = (&self.network.weather, self.truth.now);
        let n = id.wrapping_mul(4) ^ (self.hosts[agent].run << 48);
        let travel = |from, to| weather.travel((from, to), Only::Probe, Purpose::Probe, n);
        let lost = |from, to, way| weather.lost((from, to), Only::Probe, PROBE_BYTES, now, Purpose::Probe, n + way);
        let resent = if lost(agent, home, 1) || lost(home, agent, 2) { Duration::from_secs(1) } else { Duration::ZERO };
        2 * (travel(agent, home) + travel(home, agent)) + resent
    }

    fn note_event(&mut self, agent: usize, kind: &EventKind) {
        self.tell_event(agent, kind);
        // A clone speaks for the agent whose keys it has.
        let agent = self.truth.scenario.role(agent);
        if let Some(ledger) = &mut self.ledger {
            ledger.take(&self.truth, agent, kind);
        }
        if !self.truth.scenario.suspect(agent, self.truth.now) {
            if let EventKind::Roster { epoch, admitted, removed, .. } = kind {
                let numbers = |ids: &[AgentId]| ids.iter().filter_map(|id| self.truth.scenario.agent(*id)).collect();
                let (admitted, removed) = (numbers(admitted), numbers(removed));
                self.truth.rosters.note(self.truth.now, *epoch, &admitted, &removed);
            }
            self.checks.look(&self.truth, &Sight::Event { agent, kind });
        }
    }

    /// What a faulty member shows binds nobody, itself included; nor does what a clone shows.
    fn unheeded(&self, agent: usize) -> bool {
        agent >= self.truth.agents() || self.truth.scenario.suspect(agent, self.truth.now)
    }

    /// Takes a new picture of an agent and compares it with the last one.
    pub(crate) fn look_at(&mut self, agent: usize) {
        let Some(process) = &mut self.hosts[agent].process else { return };
        let after = process.node.glance();
        let before = process.view.replace(after.clone());
        self.tell_standing(agent, &after);
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(&before.instances, &after.instances)) {
            return;
        }
        if !self.unheeded(agent) {
            self.look_at_instances(agent, before.as_ref(), &after);
        }
        if self.trace.wants_lines() {
            self.tell_instances(agent, before.as_ref(), &after);
        }
    }

    fn look_at_instances(&mut self, agent: usize, before: Option<&Glance>, after: &Glance) {
        for (id, new) in after.instances.iter() {
            let old = before.and_then(|view| view.instances.get(id));
            if old.is_some_and(|old| Arc::ptr_eq(old, new) || unchanged(old, new)) {
                continue;
            }
            if let Some(certificate) = &new.certificate {
                self.note_certificate(agent, after, id, new, certificate);
            }
            let sight = Sight::Instance { agent, before: old.map(Arc::as_ref), after: new };
            self.checks.look(&self.truth, &sight);
        }
    }

    fn note_certificate(
        &mut self,
        holder: usize,
        view: &Glance,
        id: &InstanceId,
        instance: &InstanceView,
        certificate: &Certificate,
    ) {
        let mut signers: Vec<u64> = certificate.endorsements.iter().map(|e| e.agent.0).collect();
        signers.sort_unstable();
        let decision = &certificate.decision;
        let proof: Proof = (decision.incarnation, decision.term, decision.verdict, signers);
        let known = self.proofs.entry(id.clone()).or_default();
        if !known.insert(proof) {
            return;
        }
        self.tell_certificate(holder, view, instance, certificate);
        self.checks.look(&self.truth, &Sight::Certificate { holder, instance, certificate });
    }

    /// Reads every agent's counters into its last picture.
    pub(crate) fn refresh_counts(&mut self) {
        for process in self.hosts.iter_mut().filter_map(|host| host.process.as_mut()).filter(|process| !process.paused)
        {
            let stats = process.node.glance().stats;
            if let Some(view) = &mut process.view {
                view.stats = stats;
            }
        }
    }

    /// Takes a new picture of every agent that has one.
    pub(crate) fn refresh_views(&mut self) {
        for agent in 0..self.hosts.len() {
            let process = self.hosts[agent].process.as_ref();
            if process.is_some_and(|process| !process.paused && process.node.view_changed()) {
                self.look_at(agent);
            }
        }
    }
}

/// Do two pictures of an instance say the same, as far as anything is checked?
fn unchanged(old: &InstanceView, new: &InstanceView) -> bool {
    let same_proof = match (&old.certificate, &new.certificate) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old == new,
        (None, None) => true,
        _ => false,
    };
    same_proof && old.decided == new.decided && old.term == new.term
}

//! How the world carries out what an engine puts out, and how it looks at what an engine knows.

use crate::invariants::{Finding, Sight};
use crate::network::{Class, Packet};
use crate::queue::Rank;
use crate::truth::Appearance;
use crate::world::{Happening, Proof, World};
use crate::{digest, draw::Purpose};
use quorate_core::verdict::Certificate;
use quorate_core::{Cause, InstanceId, Outcome, Phase};
use quorate_mesh::{EventKind, InstanceView, MeshView, Output, ProbeRequest};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of a datagram.
pub const MAX_DATAGRAM_BYTES: usize = 1150;
/// Most bytes of a message.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

impl World {
    /// Carries out one output of an agent.
    pub(crate) fn carry_out(&mut self, agent: usize, output: Output) {
        let now = self.truth.now;
        let digest = match &output {
            Output::Datagram { bytes, .. } | Output::Message { bytes, .. } | Output::Persist(bytes) => {
                digest::keyed(0, bytes)
            }
            _ => 0,
        };
        self.trace.output(now, agent, &output, digest);
        match output {
            Output::Datagram { to, bytes } => self.send(agent, to, Packet { class: Class::Datagram, bytes, digest }),
            Output::Message { to, bytes } => self.send(agent, to, Packet { class: Class::Message, bytes, digest }),
            Output::Address { agent: peer, address } => {
                if let Some(process) = &mut self.hosts[agent].process {
                    process.routes.insert(peer, address);
                }
            }
            Output::Probe(request) => self.start_probe(agent, &request),
            Output::Persist(bytes) => self.hosts[agent].persist(bytes),
            Output::Event(event) => self.note_event(agent, &event.kind),
            Output::RollCall { ticket, quorate, .. } => {
                if let Some((joiner, sponsor)) = self.tickets.remove(&ticket.0)
                    && quorate
                {
                    self.plan(now, Rank::Action, joiner, agent, Happening::Admit { agent: joiner, sponsor });
                }
            }
            Output::Left => self.leave_done(agent),
        }
    }

    fn complain(&mut self, agent: usize, detail: String) {
        self.checks.report(&self.truth, "contract", Finding::new(Some(agent), detail));
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
        if peer == agent {
            self.complain(agent, "it sends to itself".to_owned());
            return;
        }
        if self.trace.wants_lines() {
            let (from, to) = (self.name(agent), self.name(peer));
            let about = json!({ "to": to, "class": format!("{:?}", packet.class), "bytes": packet.bytes.len() });
            self.trace.line(self.truth.now, "send", Some(&from), about);
        }
        let address = self.truth.scenario.agents[peer].address;
        let route = self.hosts[agent].process.as_ref().and_then(|process| process.routes.get(&to));
        let known = route == Some(&address);
        self.network.send(&self.truth.scenario, self.truth.now, agent, peer, packet, known);
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
        let (took, silent) = self.probe_travel(agent, home, request.id.0);
        let silence = Outcome::fail(Phase::Connect, Cause::Timeout, "no answer to the connection attempt", timeout);
        let appearance = if silent { Appearance::Silent } else { self.truth.appearance(instance, agent, now) };
        let outcome = match appearance {
            _ if took >= timeout => silence,
            Appearance::Silent => silence,
            Appearance::Hung => Outcome::fail(Phase::FirstByte, Cause::Timeout, "connected, but no answer", timeout),
            Appearance::Refused => Outcome::fail(Phase::Connect, Cause::Refused, "connection refused", took),
            Appearance::Erroring => Outcome::fail(Phase::Assert, Cause::Status, "status 500", took),
            Appearance::Healthy => Outcome::pass(took),
        };
        let run = self.hosts[agent].run;
        let event = Happening::Probe { agent, run, id: request.id, instance, started: now, outcome: outcome.clone() };
        self.plan(now.plus(outcome.timings.total), Rank::Probe, agent, home, event);
    }

    /// How long a connection and an answer take; whether the attempt is lost for good. A lost first packet is sent again after a second.
    fn probe_travel(&self, agent: usize, home: usize, id: u64) -> (Duration, bool) {
        let scenario = &self.truth.scenario;
        if agent == home {
            return (Duration::from_micros(200), false);
        }
        let (src, dst) = (agent as u64, home as u64);
        let n = id.wrapping_mul(4) ^ (self.hosts[agent].run << 48);
        let [low, high] = scenario.network.latency_us;
        let trip = scenario.draws.within((4 * low, 4 * high), Purpose::Probe, src, dst, n);
        let loss = scenario.loss(self.truth.now);
        let lost = |way: u64| scenario.draws.chance(loss, Purpose::Probe, src, dst, n + way);
        let resent = if lost(1) || lost(2) { Duration::from_secs(1) } else { Duration::ZERO };
        (Duration::from_micros(trip) + resent, false)
    }

    fn note_event(&mut self, agent: usize, kind: &EventKind) {
        if self.trace.wants_lines() {
            let name = self.name(agent);
            self.trace.line(self.truth.now, "event", Some(&name), json!({ "event": kind }));
        }
        self.checks.look(&self.truth, &Sight::Event { agent, kind });
    }

    /// Takes a new picture of an agent and compares it with the last one.
    pub(crate) fn look_at(&mut self, agent: usize) {
        let Some(process) = &mut self.hosts[agent].process else { return };
        let after = process.node.view();
        let before = process.view.replace(after.clone());
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(&before.instances, &after.instances)) {
            return;
        }
        for (id, new) in after.instances.iter() {
            let old = before.as_ref().and_then(|view| view.instances.get(id));
            if old.is_some_and(|old| Arc::ptr_eq(old, new) || unchanged(old, new)) {
                continue;
            }
            if let Some(certificate) = &new.certificate {
                self.note_certificate(agent, &after, id, new, certificate);
            }
            let sight = Sight::Instance { agent, before: old.map(Arc::as_ref), after: new };
            self.checks.look(&self.truth, &sight);
        }
    }

    fn note_certificate(
        &mut self,
        holder: usize,
        view: &MeshView,
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
        if self.trace.wants_lines() {
            let name = self.name(holder);
            let observers: Vec<_> = instance
                .observers
                .iter()
                .map(|o| json!({ "agent": o.agent, "home": o.home, "heard": o.heard, "vote": o.observation.as_ref().map(|o| o.vote) }))
                .collect();
            let about = json!({ "certificate": certificate, "roster": view.roster, "observers": observers });
            self.trace.line(self.truth.now, "certificate", Some(&name), about);
        }
        self.checks.look(&self.truth, &Sight::Certificate { holder, instance, certificate });
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

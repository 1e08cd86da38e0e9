//! What the world writes into the trace, when lines are wanted. Nothing here has an effect on the run.

use crate::calls::CallSight;
use crate::plan::Plan;
use crate::time::SimTime;
use crate::trace::line::{AgentLine, CallEnd, InstanceLine, Line, Signer};
use crate::trace::told::Statement;
use crate::truth::Probed;
use crate::world::{World, view_of};
use quorate_core::verdict::Certificate;
use quorate_core::{AgentId, InstanceId, ProbeResult, Roster, Verdict, quorum};
use quorate_mesh::{EventKind, Glance, InstanceView, MemberState, ObserverView};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

impl World {
    fn write_line(&mut self, line: impl FnOnce(&Self) -> Line) {
        if self.trace.wants_lines() {
            let line = line(self);
            self.trace.line(self.truth.now, line);
        }
    }

    pub(crate) fn name(&self, agent: usize) -> String {
        let scenario = &self.truth.scenario;
        let clone = if agent < scenario.agents.len() { "" } else { "'" };
        format!("{}{clone}", scenario.agent_name(scenario.role(agent)))
    }

    /// The name of an instance in the trace: a host is named by its agent.
    fn instance_name(&self, id: &InstanceId) -> String {
        let host = id.host_of().and_then(|agent| self.truth.scenario.agent(agent));
        host.map_or_else(|| id.as_str().to_owned(), |agent| format!("quorate-agent@{}", self.name(agent)))
    }

    /// What the run is about.
    pub fn tell_beginning(&mut self, plan: &Plan) {
        if self.trace.wants_lines() {
            self.trace.ground.expect(plan);
        }
        self.write_line(|world| {
            let scenario = &world.truth.scenario;
            let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            let instance = |instance: &crate::scenario::Instance| {
                let check = &instance.registration.check;
                InstanceLine {
                    name: instance.id.as_str().to_owned(),
                    service: instance.registration.service.as_str().to_owned(),
                    home: world.name(instance.home),
                    period_ms: ms(check.period),
                    timeout_ms: ms(check.timeout),
                    failure_threshold: check.failure_threshold,
                    success_threshold: check.success_threshold,
                    observers: instance.registration.wanted_observers(),
                    home_only: check.kind.home_only(),
                }
            };
            Line::Run {
                name: scenario.name.clone(),
                seed: scenario.seed,
                plan: serde_json::to_value(plan).unwrap_or_default(),
                agents: (scenario.agents.iter())
                    .map(|agent| AgentLine { name: agent.name.clone(), id: agent.id, zone: agent.zone.clone() })
                    .collect(),
                instances: scenario.instances.iter().map(instance).collect(),
                host_observers: quorum::DEFAULT_OBSERVERS,
                last_fault_ns: scenario.last_fault.0,
            }
        });
    }

    /// What the plan changes up to `now`, each at its own moment.
    pub(crate) fn tell_ground(&mut self, now: SimTime) {
        while let Some(at) = self.trace.ground.due(now) {
            for line in self.trace.ground.changes(&self.truth, at) {
                self.trace.line(at, line);
            }
        }
    }

    /// What the last event changed.
    pub(crate) fn tell_news(&mut self) {
        if self.trace.ground.outdated(&self.truth) {
            for line in self.trace.ground.processes(&self.truth, self.truth.now) {
                self.trace.line(self.truth.now, line);
            }
        }
        self.tell_clones();
        for violation in self.checks.violations.iter().skip(self.trace.violations_told) {
            let (agent, detail, votes) = (violation.agent.clone(), violation.detail.clone(), violation.votes.clone());
            let line = Line::Violation { invariant: violation.invariant, agent, detail, votes };
            self.trace.recording.take(self.truth.now, line);
        }
        self.trace.violations_told = self.checks.violations.len();
    }

    /// Which clones began or ended: to the truth they are no agents of their own, but they speak and sign as one.
    fn tell_clones(&mut self) {
        let scenario = &self.truth.scenario;
        let cloned: BTreeSet<usize> = scenario.doubles.iter().map(|double| double.agent).collect();
        for agent in cloned {
            let mut processes = self.hosts.iter().enumerate().skip(self.truth.agents());
            let run =
                processes.any(|(process, host)| self.truth.scenario.role(process) == agent && host.process.is_some());
            if let Some(state) = self.trace.ground.clones(agent, run) {
                let line = Line::Process { agent: format!("{}'", self.name(agent)), state };
                self.trace.line(self.truth.now, line);
            }
        }
    }

    /// The run is over.
    pub(crate) fn tell_end(&mut self) {
        if self.trace.wants_lines() {
            self.tell_news();
            self.write_line(|world| Line::End { events: world.tally.inputs });
        }
    }

    pub(crate) fn tell_probe(&mut self, agent: usize, instance: usize, probed: Probed, result: &ProbeResult) {
        self.write_line(|world| Line::Probe {
            agent: world.name(agent),
            instance: world.truth.scenario.instances[instance].id.as_str().to_owned(),
            started_ns: probed.started.0,
            passed: probed.passed,
            result: result.clone(),
        });
    }

    pub(crate) fn tell_link(&mut self, agent: usize, peer: usize, up: bool) {
        self.write_line(|world| Line::Link { agent: world.name(agent), peer: world.name(peer), up });
    }

    pub(crate) fn tell_send(&mut self, agent: usize, peer: usize, class: &'static str, bytes: &[u8]) {
        if self.trace.recording.sends {
            let packet = quorate_wire::decode(bytes).map_or("other", |packet| packet.kind());
            let bytes = bytes.len();
            self.write_line(|world| Line::Send {
                agent: world.name(agent),
                to: world.name(peer),
                class,
                packet,
                bytes,
            });
        }
    }

    /// A call that began at `began` is let through or rejected, or its result comes; `trial`: the mesh lends it.
    pub(crate) fn tell_call(&mut self, of: (usize, usize), began: SimTime, trial: bool, call: CallSight) {
        let (agent, calls) = of;
        self.write_line(|world| Line::Call {
            agent: world.name(agent),
            instance: world.truth.scenario.calls[calls].key.instance.as_str().to_owned(),
            began_ns: began.0,
            admitted: call != CallSight::Rejected,
            trial,
            outcome: match call {
                CallSight::Ended { failed, counted, stale } => Some(CallEnd { failed, counted, stale }),
                CallSight::Admitted { .. } | CallSight::Rejected => None,
            },
        });
    }

    pub(crate) fn tell_event(&mut self, agent: usize, kind: &EventKind) {
        if !self.trace.wants_lines() {
            return;
        }
        self.trace.told.event(agent, self.hosts[agent].run, kind);
        self.write_line(|world| match kind {
            EventKind::Vote { instance, observation } => Line::Vote {
                agent: world.name(agent),
                instance: world.instance_name(instance),
                vote: Some(observation.vote),
                detail: observation.detail.clone(),
            },
            other => Line::Event { agent: world.name(agent), event: other.clone() },
        });
    }

    /// Where quorum and roster stand in an agent's new picture, if that was not told.
    pub(crate) fn tell_standing(&mut self, agent: usize, view: &Glance) {
        let run = self.hosts[agent].run;
        if !self.trace.wants_lines() || !self.trace.told.stands(agent, run, (view.quorate, view.epoch)) {
            return;
        }
        self.write_line(|world| {
            let (scenario, rosters) = (&world.truth.scenario, &world.truth.rosters);
            // Nobody yet; itself, as the founder; or who counts by what others have told of that epoch.
            let alone = BTreeSet::from([scenario.role(agent)]);
            let mut known = [Some(BTreeSet::new()), Some(alone), rosters.of(view.epoch).cloned()].into_iter().flatten();
            let roster = known.find(|counting| {
                let ids = counting.iter().map(|number| scenario.agents[*number].id).collect();
                Roster::new(view.epoch, ids).digest() == view.roster_digest
            });
            Line::Standing {
                agent: world.name(agent),
                quorate: view.quorate,
                epoch: view.epoch,
                roster: roster.map(|counting| counting.into_iter().map(|number| world.name(number)).collect()),
            }
        });
    }

    /// What an agent's new picture states of instances that the one before did not, and where it observes and states no more.
    pub(crate) fn tell_instances(&mut self, agent: usize, before: Option<&Glance>, after: &Glance) {
        for (id, new) in after.instances.iter() {
            let old = before.and_then(|view| view.instances.get(id));
            if !old.is_some_and(|old| Arc::ptr_eq(old, new)) {
                self.tell_instance(agent, id, old.map(Arc::as_ref), Some(new));
            }
        }
        for (id, old) in before.iter().flat_map(|view| view.instances.iter()) {
            if !after.instances.contains_key(id) {
                self.tell_instance(agent, id, Some(old), None);
            }
        }
    }

    fn tell_instance(&mut self, agent: usize, id: &InstanceId, old: Option<&InstanceView>, new: Option<&InstanceView>) {
        let me = self.truth.scenario.agents[self.truth.scenario.role(agent)].id;
        let (name, instance) = (self.name(agent), self.instance_name(id));
        let watches = |view: &InstanceView| view.observers.iter().any(|o| o.agent == me && o.observation.is_some());
        // In a mesh that starts settled it has voted a moment before it is assigned.
        let observed = self.truth.now > SimTime::START || old.is_some_and(watches);
        let ended = observed && !new.is_some_and(watches);
        if ended && self.trace.told.vote_ends(agent, self.hosts[agent].run, id) {
            let (agent, instance) = (name.clone(), instance.clone());
            self.write_line(|_| Line::Vote { agent, instance, vote: None, detail: String::new() });
        }
        let (before, now) = (old.and_then(Statement::of), new.and_then(Statement::of));
        if before == now {
            return;
        }
        self.write_line(|_| match now {
            Some(Statement { verdict, decided, incarnation, term, stale, flapping }) => {
                Line::Verdict { agent: name, instance, verdict, decided, incarnation, term, stale, flapping }
            }
            None => Line::Unstated { agent: name, instance },
        });
    }

    pub(crate) fn tell_certificate(
        &mut self,
        holder: usize,
        view: &Glance,
        instance: &InstanceView,
        certificate: &Certificate,
    ) {
        self.write_line(|world| {
            let named = |agent: AgentId| match world.truth.scenario.agent(agent) {
                Some(number) => world.name(number),
                None => agent.to_string(),
            };
            let decision = &certificate.decision;
            let signer = |endorsement: &quorate_core::verdict::Endorsement| {
                let number = world.truth.scenario.agent(endorsement.agent);
                Signer {
                    agent: named(endorsement.agent),
                    vote: endorsement.vote,
                    signed_ns: number.map_or(0, |number| world.truth.moment_of(number, endorsement.signed_at.0).0),
                }
            };
            Line::Certificate {
                agent: world.name(holder),
                instance: world.instance_name(&decision.instance),
                incarnation: decision.incarnation,
                term: decision.term,
                verdict: decision.verdict,
                observers: decision.observers,
                assigned: may_sign(view, instance, decision.verdict).into_iter().map(named).collect(),
                roster: view.roster,
                signers: certificate.endorsements.iter().map(signer).collect(),
            }
        });
    }

    /// What the mesh looks like.
    pub(crate) fn tell_survey(&mut self) {
        self.write_line(|world| {
            let views: Vec<&Glance> = world.hosts.iter().filter_map(view_of).collect();
            let mut groups: BTreeMap<Vec<(&InstanceId, Verdict, u64)>, usize> = BTreeMap::new();
            for view in &views {
                // A host of which nothing was ever decided may be listed or not.
                let said = view.instances.values().filter(|told| told.term > 0 || told.instance.host_of().is_none());
                let stated = said.map(|told| (&told.instance, told.decided, told.term));
                *groups.entry(stated.collect()).or_default() += 1;
            }
            let counters = world.network.counters;
            Line::Survey {
                running: views.len(),
                quorate: views.iter().filter(|view| view.quorate).count(),
                agreeing: groups.values().copied().max().unwrap_or(0),
                pictures: groups.len(),
                packets: counters.packets,
                bytes: counters.bytes,
                lost: counters.lost,
                gossip_backlog: views.iter().map(|view| view.stats.gossip_backlog).max().unwrap_or(0),
            }
        });
    }
}

/// Whose signature under `verdict` counts, in the eyes of whose picture it is: the assigned observers, the failed ones replaced. Of a host with an even
/// number of them its own agent signs `up`, too.
fn may_sign(view: &Glance, instance: &InstanceView, verdict: Verdict) -> Vec<AgentId> {
    let home_only = instance.registration.as_ref().is_some_and(|registration| registration.check.kind.home_only());
    // Who reaches no majority replaces nobody. Behind the observers stand former ones whose votes are still known.
    let replaced = quorum::majority(view.alive, view.roster) && !home_only;
    let there = |observer: &&ObserverView| {
        !replaced || observer.agent == view.agent || matches!(observer.state, MemberState::Alive | MemberState::Suspect)
    };
    let assigned = instance.observers.iter().take(instance.assigned as usize).filter(there);
    let itself = instance.instance.host_of().filter(|_| verdict == Verdict::Up && instance.assigned.is_multiple_of(2));
    assigned.map(|observer| observer.agent).chain(itself).collect()
}

//! A plan made ready to run with a seed: identities, addresses, and the faults as intervals and actions in time order.

mod network;
mod numbers;
mod paths;
mod processes;
mod registrations;
mod windows;

pub use paths::{Cut, Effect, Harm, Reset, Throttle};
pub use processes::{Double, Load, parts};
pub use windows::{Interval, Windows};

use crate::calls::Calls;
use crate::clock::Clock;
use crate::draw::{Draws, Purpose};
use crate::faulty::Behaviour;
use crate::latency::Latency;
use crate::plan::{Bounds, Disk, Fault, NetworkPlan, Plan, Start, TargetMode, WakeOrder};
use crate::time::{SimTime, Span};
use numbers::Numbers;
use quorate_core::{AgentId, InstanceId, IntentKind, Registration, Zone};
use quorate_mesh::Timing;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// A simulated agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its identity, drawn from the seed.
    pub id: AgentId,
    /// `a` and its number.
    pub name: String,
    /// Its zone.
    pub zone: Zone,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its clocks.
    pub clock: Clock,
}

/// A simulated instance.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its name.
    pub id: InstanceId,
    /// The agent that registers it, by number.
    pub home: usize,
    /// How it is registered.
    pub registration: Registration,
}

/// An instance misbehaves.
#[derive(Debug, Clone)]
pub struct TargetFault {
    /// Which, by number.
    pub instance: usize,
    /// When.
    pub when: Interval,
    /// How.
    pub mode: TargetMode,
    /// For flapping.
    pub flap_period: Duration,
    /// For a slow one.
    pub answer_after: Duration,
    /// For an overloaded one.
    pub probes_per_s: u32,
    /// Who sees it; everybody when none.
    pub seen_by: Option<Vec<usize>>,
}

impl TargetFault {
    /// Is the instance plainly dead for everybody while it lasts?
    pub fn kills(&self) -> bool {
        let dead = matches!(self.mode, TargetMode::Dead | TargetMode::Hung | TargetMode::Erroring | TargetMode::Silent);
        dead && self.seen_by.is_none()
    }

    /// Does `agent` see it?
    pub fn seen_by(&self, agent: usize) -> bool {
        self.seen_by.as_ref().is_none_or(|list| list.contains(&agent))
    }
}

/// A host goes dark.
#[derive(Debug, Clone)]
pub struct Crash {
    /// Which.
    pub agent: usize,
    /// From the crash to the restart.
    pub when: Interval,
    /// Do its instances live on?
    pub targets_survive: bool,
}

/// What the world does at a moment of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// An agent's process starts as part of the first formation.
    Start(usize),
    /// All agents that are there from the beginning start, and know each other.
    Form,
    /// A host goes dark.
    Crash(usize),
    /// It comes back.
    Restart(usize, Disk),
    /// A process stops for a while.
    Pause(usize),
    /// It goes on.
    Resume(usize, WakeOrder),
    /// An agent leaves.
    Leave(usize),
    /// An agent asks to be let in.
    Join(usize),
    /// An agent registers other instances than before.
    Register(usize),
    /// Something about the network begins or ends.
    Network,
    /// Links break.
    Reset(usize),
    /// A second process with an agent's identity starts.
    Clone(usize),
    /// It is killed.
    EndClone(usize),
}

/// What a verdict is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// An instance, by number.
    Instance(usize),
    /// An agent's host, by the agent's number.
    Host(usize),
}

/// Where agent number `index` listens, without the port.
pub fn host_address(index: usize) -> Ipv4Addr {
    let [_, _, high, low] = u32::try_from(index + 1).unwrap_or(u32::MAX).to_be_bytes();
    Ipv4Addr::new(10, 0, high, low)
}

/// A plan made ready to run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The plan's name, for reports.
    pub name: String,
    /// The seed.
    pub seed: u64,
    /// Its draws.
    pub draws: Draws,
    /// The agents, by number.
    pub agents: Vec<Agent>,
    /// The instances, by number.
    pub instances: Vec<Instance>,
    /// The network.
    pub network: NetworkPlan,
    /// The travel of packets.
    pub latency: Latency,
    /// The bounds.
    pub bounds: Bounds,
    /// The engines' intervals.
    pub timing: Timing,
    /// The agents that are there from the beginning, by number.
    pub founders: Vec<usize>,
    /// The mesh has formed by then.
    pub formed_by: SimTime,
    /// How the mesh comes to be.
    pub start: Start,
    /// Cuts, each one way.
    pub cuts: Vec<Cut>,
    /// Harm to packets, short of cuts.
    pub harms: Vec<Harm>,
    /// Narrow lines.
    pub throttles: Vec<Throttle>,
    /// Breaking links, by the number of their action.
    pub resets: Vec<Reset>,
    /// Misbehaving instances.
    pub targets: Vec<TargetFault>,
    /// Dark hosts.
    pub crashes: Vec<Crash>,
    /// Standing processes, by agent.
    pub pauses: Vec<(usize, Interval)>,
    /// Agents that live on, cut off from the rest for good, and from when on.
    pub abandoned: Vec<(usize, SimTime)>,
    /// Instances whose registrations are taken back, and when.
    pub withdrawals: Vec<(usize, Interval)>,
    /// Operators' wishes: for which instance, when, what.
    pub intents: Vec<(usize, Interval, IntentKind)>,
    /// Faulty members: who, when, how.
    pub faulty: Vec<(usize, Interval, Behaviour)>,
    /// Slow processes.
    pub loads: Vec<Load>,
    /// Second processes with an agent's identity.
    pub doubles: Vec<Double>,
    /// When an agent's clocks go wrong.
    pub drifts: Vec<(usize, Interval)>,
    /// Leaves and joins, by agent.
    pub changes: Vec<(usize, SimTime)>,
    /// Who calls what.
    pub calls: Vec<Calls>,
    /// How many zones there are.
    pub zones: usize,
    /// Everything the world does by itself, in order.
    pub actions: Vec<(SimTime, Action)>,
    /// The run lasts at least to here.
    pub duration: SimTime,
    /// When the first fault begins; never when there is none.
    pub first_fault: SimTime,
    /// When the first fault begins and the last one ends, whatever becomes of calls.
    pub faults_begin: SimTime,
    pub faults_end: SimTime,
    /// When the last fault began or ended.
    pub last_fault: SimTime,
    /// Is no link and no process that goes on ever disturbed? Instances may misbehave, and hosts go dark.
    pub smooth: bool,
    /// From the first fault to the last, those of instances left out.
    disturbed: Option<(SimTime, SimTime)>,
    by_agent: Numbers,
    by_instance: BTreeMap<InstanceId, usize>,
}

impl Scenario {
    /// Makes `plan` ready.
    ///
    /// # Errors
    /// When the plan does not pass [`Plan::check`].
    pub fn new(name: &str, plan: &Plan, seed: u64) -> anyhow::Result<Self> {
        plan.check()?;
        let draws = Draws::new(seed);
        let agents = agents(plan, draws)?;
        let mut instances = Vec::new();
        for service in &plan.services {
            for home in &service.homes {
                let registration = service.registration(*home)?;
                instances.push(Instance { id: registration.instance.clone(), home: *home, registration });
            }
        }
        let mut scenario = Self {
            name: name.to_owned(),
            seed,
            draws,
            by_agent: Numbers::new(agents.iter().map(|agent| agent.id)),
            by_instance: instances.iter().enumerate().map(|(index, i)| (i.id.clone(), index)).collect(),
            agents,
            instances,
            network: plan.network.clone(),
            latency: Latency::new(&plan.network, plan.mesh.zones),
            bounds: plan.bounds.clone(),
            timing: plan.timing.timing(),
            founders: Vec::new(),
            formed_by: plan.mesh.start.formed_by(),
            start: plan.mesh.start,
            cuts: Vec::new(),
            harms: Vec::new(),
            throttles: Vec::new(),
            resets: Vec::new(),
            targets: Vec::new(),
            crashes: Vec::new(),
            pauses: Vec::new(),
            abandoned: Vec::new(),
            withdrawals: Vec::new(),
            intents: Vec::new(),
            faulty: Vec::new(),
            loads: Vec::new(),
            doubles: Vec::new(),
            drifts: Vec::new(),
            changes: Vec::new(),
            calls: Vec::new(),
            zones: plan.mesh.zones,
            disturbed: None,
            actions: Vec::new(),
            duration: plan.duration.moment(),
            first_fault: SimTime::NEVER,
            faults_begin: SimTime::NEVER,
            faults_end: SimTime::START,
            last_fault: SimTime::START,
            smooth: network::smooth(plan),
        };
        if plan.bounds.convergence == Bounds::default().convergence {
            let settled = scenario.instances.iter().map(|instance| plan.bounds.settled(&instance.registration.check));
            let convergence = &mut scenario.bounds.convergence.0;
            *convergence = settled.fold(*convergence, Duration::max);
        }
        let faults: Vec<Fault> = plan.faults.iter().flat_map(|fault| parts(fault, plan.mesh.agents)).collect();
        scenario.start_agents(plan, &faults);
        scenario.set_clocks(&faults);
        for fault in &faults {
            let before = (scenario.first_fault, scenario.last_fault);
            (scenario.first_fault, scenario.last_fault) = (SimTime::NEVER, SimTime::START);
            scenario.add(fault);
            let (first, last) = (scenario.first_fault, scenario.last_fault);
            if !matches!(fault, Fault::Target { .. }) {
                let so_far = scenario.disturbed.unwrap_or((first, last));
                scenario.disturbed = Some((so_far.0.min(first), so_far.1.max(last)));
            }
            (scenario.first_fault, scenario.last_fault) = (before.0.min(first), before.1.max(last));
        }
        (scenario.faults_begin, scenario.faults_end) = (scenario.first_fault, scenario.last_fault);
        for calls in &plan.calls {
            let instance = scenario.instances.iter().position(|instance| instance.id.as_str() == calls.instance);
            scenario.calls.push(Calls::new(calls, plan.mesh.agents, instance)?);
            scenario.first_fault = scenario.first_fault.min(calls.from.moment());
            scenario.last_fault = scenario.last_fault.max(calls.to.moment());
        }
        scenario.actions.sort_by_key(|(at, _)| *at);
        Ok(scenario)
    }

    /// The number of an agent, if it is one of this run's.
    pub fn agent(&self, id: AgentId) -> Option<usize> {
        self.by_agent.get(id)
    }

    /// The number of an instance, if it is one of this run's and not a host.
    pub fn instance(&self, id: &InstanceId) -> Option<usize> {
        self.by_instance.get(id).copied()
    }

    /// The number of what a verdict is about: instances first, then hosts by their agents' numbers.
    pub fn subject(&self, id: &InstanceId) -> Option<Subject> {
        match id.host_of() {
            Some(agent) => self.agent(agent).map(Subject::Host),
            None => self.instance(id).map(Subject::Instance),
        }
    }

    /// Does the plan let nothing happen to the formed mesh from `from` to `to`, but what its network always does?
    pub fn quiet(&self, from: SimTime, to: SimTime) -> bool {
        from > self.formed_by && (to < self.first_fault || from > self.last_fault)
    }

    /// The same, whatever becomes of calls, and of what is called.
    pub fn quiet_but_calls(&self, from: SimTime, to: SimTime) -> bool {
        from > self.formed_by && self.disturbed.is_none_or(|(first, last)| to < first || from > last)
    }

    /// The name of an agent by its number.
    pub fn agent_name(&self, index: usize) -> &str {
        self.agents.get(index).map_or("?", |agent| &agent.name)
    }

    fn start_agents(&mut self, plan: &Plan, faults: &[Fault]) {
        for index in 0..self.agents.len() {
            let first = faults
                .iter()
                .filter_map(|fault| match fault {
                    Fault::Leave { agent, at } if *agent == index => Some((*at, false)),
                    Fault::Join { agent, at } if *agent == index => Some((*at, true)),
                    _ => None,
                })
                .min();
            if first.is_some_and(|(_, joins)| joins) {
                continue;
            }
            self.founders.push(index);
            if plan.mesh.start == Start::Joining {
                let delay =
                    if index == 0 { 0 } else { self.draws.within((1, 1000), Purpose::Start, index as u64, 0, 0) };
                self.actions.push((SimTime::from_ms(delay), Action::Start(index)));
            }
        }
        if plan.mesh.start.is_formed() {
            self.actions.push((SimTime::START, Action::Form));
        }
    }

    fn act(&mut self, at: Span, action: Action) {
        self.actions.push((at.moment(), action));
        self.first_fault = self.first_fault.min(at.moment());
        self.last_fault = self.last_fault.max(at.moment());
    }

    fn act_between(&mut self, from: Span, to: Span, begin: Action, end: Action) {
        self.act(from, begin);
        self.act(to, end);
    }

    fn add(&mut self, fault: &Fault) {
        match fault {
            Fault::Crash { agent, at, restart_at, disk, targets_survive } => {
                let to = restart_at.map_or(SimTime::NEVER, Span::moment);
                let when = Interval { from: at.moment(), to };
                self.crashes.push(Crash { agent: *agent, when, targets_survive: *targets_survive });
                self.act(*at, Action::Crash(*agent));
                if let Some(restart) = restart_at {
                    self.act(*restart, Action::Restart(*agent, *disk));
                }
            }
            Fault::Pause { agent, from, to, wake } => {
                self.pauses.push((*agent, Interval::of(*from, *to)));
                self.act_between(*from, *to, Action::Pause(*agent), Action::Resume(*agent, *wake));
            }
            Fault::Target { instance, mode, from, to, flap_period, answer_after, probes_per_s, seen_by } => {
                let Some(instance) = self.instances.iter().position(|i| i.id.as_str() == instance) else { return };
                let when = Interval { from: from.moment(), to: to.map_or(SimTime::NEVER, Span::moment) };
                let (mode, flap_period, seen_by) = (*mode, flap_period.0, seen_by.clone());
                let (answer_after, probes_per_s) = (answer_after.unwrap_or_default().0, probes_per_s.unwrap_or(0));
                let how = TargetFault { instance, when, mode, flap_period, answer_after, probes_per_s, seen_by };
                self.targets.push(how);
                self.first_fault = self.first_fault.min(from.moment());
                self.last_fault = self.last_fault.max(to.unwrap_or(*from).moment());
            }
            Fault::Faulty { agent, behaviour, from, to } => {
                let when = Interval { from: from.moment(), to: to.map_or(SimTime::NEVER, Span::moment) };
                self.faulty.push((*agent, when, *behaviour));
                self.first_fault = self.first_fault.min(from.moment());
                self.last_fault = self.last_fault.max(to.unwrap_or(*from).moment());
            }
            Fault::Abandon { agents, at, alive: false } => {
                for agent in agents {
                    let when = Interval { from: at.moment(), to: SimTime::NEVER };
                    self.crashes.push(Crash { agent: *agent, when, targets_survive: false });
                    self.act(*at, Action::Crash(*agent));
                }
            }
            Fault::Abandon { agents, at, alive: true } => {
                let rest: Vec<usize> = (0..self.agents.len()).filter(|other| !agents.contains(other)).collect();
                let when = Windows::whole(Interval { from: at.moment(), to: SimTime::NEVER });
                self.cuts.push(Cut::groups(when, self.agents.len(), &[agents.clone(), rest]));
                self.abandoned.extend(agents.iter().map(|agent| (*agent, at.moment())));
                self.act(*at, Action::Network);
            }
            Fault::Leave { agent, at } => {
                self.changes.push((*agent, at.moment()));
                self.act(*at, Action::Leave(*agent));
            }
            Fault::Join { agent, at } => {
                self.changes.push((*agent, at.moment()));
                self.act(*at, Action::Join(*agent));
            }
            Fault::Partition { .. }
            | Fault::Ring { .. }
            | Fault::Cut { .. }
            | Fault::Isolate { .. }
            | Fault::Loss { .. }
            | Fault::Delay { .. }
            | Fault::Duplicate { .. }
            | Fault::Throttle { .. }
            | Fault::Reset { .. } => self.add_to_network(fault),
            Fault::Slow { .. } | Fault::Drift { .. } | Fault::ClockStep { .. } | Fault::Clone { .. } => {
                self.add_to_processes(fault);
            }
            Fault::Withdraw { .. } | Fault::Intent { .. } => self.add_to_registrations(fault),
            // Taken apart before.
            Fault::RollingRestart { .. }
            | Fault::Replace { .. }
            | Fault::JoinStorm { .. }
            | Fault::MassLeave { .. } => {}
        }
    }
}

/// 2025-01-01, in milliseconds since 1970: what the simulated calendars show at the start.
const CALENDAR_MS: u64 = 1_735_689_600_000;

fn agents(plan: &Plan, draws: Draws) -> anyhow::Result<Vec<Agent>> {
    let offset = u64::try_from(plan.mesh.clock_offset.0.as_millis()).unwrap_or(0);
    (0..plan.mesh.agents)
        .map(|index| {
            let zone = if plan.mesh.zones == 1 {
                Zone::default()
            } else {
                Zone::new(format!("z{}", index % plan.mesh.zones))?
            };
            let number = index as u64;
            Ok(Agent {
                id: AgentId(draws.bits(Purpose::Identity, number, 0, 0)),
                name: format!("a{index}"),
                zone,
                address: SocketAddr::from((host_address(index), 7700)),
                clock: Clock::new(CALENDAR_MS + draws.within((0, 2 * offset), Purpose::Clock, number, 0, 0) - offset),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_joins_later_does_not_start_at_once() {
        let text = "summary = \"t\"\n[[faults]]\nkind = \"join\"\nagent = 2\nat = \"9s\"\n";
        let scenario = Scenario::new("t", &Plan::parse(text).unwrap(), 1).unwrap();
        assert!(!scenario.actions.iter().any(|(_, action)| *action == Action::Start(2)));
        assert_eq!(scenario.actions.last(), Some(&(SimTime::from_ms(9000), Action::Join(2))));
        assert_eq!(scenario.last_fault, SimTime::from_ms(9000));
    }
}

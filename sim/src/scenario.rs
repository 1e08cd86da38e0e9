//! A plan made ready to run with a seed: identities, addresses, and the faults as intervals and actions in time order.

use crate::draw::{Draws, Purpose};
use crate::plan::{Bounds, Disk, Fault, NetworkPlan, Plan, TargetMode, WakeOrder};
use crate::time::{SimTime, Span};
use quorate_core::{AgentId, InstanceId, Registration, Zone};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// From a moment up to, not including, another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Begin.
    pub from: SimTime,
    /// End.
    pub to: SimTime,
}

impl Interval {
    /// From one moment of a plan to another.
    pub fn of(from: Span, to: Span) -> Self {
        Self { from: from.moment(), to: to.moment() }
    }

    /// Does it hold `at`?
    pub fn holds(self, at: SimTime) -> bool {
        self.from <= at && at < self.to
    }

    /// Does it share a moment with `from` to `to`, both included?
    pub fn meets(self, from: SimTime, to: SimTime) -> bool {
        self.from <= to && from < self.to
    }
}

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
    /// Its wall clock at the start of the run, in milliseconds since 1970.
    pub wall_ms: u64,
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

/// Some are not heard by others.
#[derive(Debug, Clone)]
pub struct Cut {
    /// When.
    pub when: Interval,
    senders: Vec<bool>,
    receivers: Vec<bool>,
}

impl Cut {
    /// Does it stop what `from` sends to `to`?
    pub fn stops(&self, from: usize, to: usize) -> bool {
        self.senders[from] && self.receivers[to]
    }
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
    /// Who sees it; everybody when none.
    pub seen_by: Option<Vec<usize>>,
}

impl TargetFault {
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
    /// Some cut begins or ends.
    Network,
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
    /// The bounds.
    pub bounds: Bounds,
    /// Cuts, each one way.
    pub cuts: Vec<Cut>,
    /// Windows of loss, with packets lost of a thousand.
    pub losses: Vec<(Interval, u32)>,
    /// Misbehaving instances.
    pub targets: Vec<TargetFault>,
    /// Dark hosts.
    pub crashes: Vec<Crash>,
    /// Standing processes, by agent.
    pub pauses: Vec<(usize, Interval)>,
    /// Leaves and joins, by agent.
    pub changes: Vec<(usize, SimTime)>,
    /// Everything the world does by itself, in order.
    pub actions: Vec<(SimTime, Action)>,
    /// The run lasts at least to here.
    pub duration: SimTime,
    /// When the first fault begins; never when there is none.
    pub first_fault: SimTime,
    /// When the last fault began or ended.
    pub last_fault: SimTime,
    by_agent: BTreeMap<AgentId, usize>,
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
            by_agent: agents.iter().enumerate().map(|(index, agent)| (agent.id, index)).collect(),
            by_instance: instances.iter().enumerate().map(|(index, i)| (i.id.clone(), index)).collect(),
            agents,
            instances,
            network: plan.network.clone(),
            bounds: plan.bounds.clone(),
            cuts: Vec::new(),
            losses: Vec::new(),
            targets: Vec::new(),
            crashes: Vec::new(),
            pauses: Vec::new(),
            changes: Vec::new(),
            actions: Vec::new(),
            duration: plan.duration.moment(),
            first_fault: SimTime::NEVER,
            last_fault: SimTime::START,
        };
        scenario.start_agents(plan);
        for fault in &plan.faults {
            scenario.add(fault);
        }
        scenario.actions.sort_by_key(|(at, _)| *at);
        Ok(scenario)
    }

    /// The number of an agent, if it is one of this run's.
    pub fn agent(&self, id: AgentId) -> Option<usize> {
        self.by_agent.get(&id).copied()
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

    /// Packets lost at `at`, of a thousand.
    pub fn loss(&self, at: SimTime) -> u32 {
        let windows = self.losses.iter().filter(|(when, _)| when.holds(at)).map(|(_, share)| *share);
        windows.fold(self.network.loss_per_mille, u32::max)
    }

    /// The greatest share of packets lost between the two moments, of a thousand.
    pub fn worst_loss(&self, from: SimTime, to: SimTime) -> u32 {
        let windows = self.losses.iter().filter(|(when, _)| when.meets(from, to)).map(|(_, share)| *share);
        windows.fold(self.network.loss_per_mille, u32::max)
    }

    /// Is any packet lost by chance between the two moments?
    pub fn lossy(&self, from: SimTime, to: SimTime) -> bool {
        self.worst_loss(from, to) > 0
    }

    /// The name of an agent by its number.
    pub fn agent_name(&self, index: usize) -> &str {
        self.agents.get(index).map_or("?", |agent| &agent.name)
    }

    fn start_agents(&mut self, plan: &Plan) {
        for index in 0..self.agents.len() {
            let first = plan
                .faults
                .iter()
                .filter_map(|fault| match fault {
                    Fault::Leave { agent, at } if *agent == index => Some((*at, false)),
                    Fault::Join { agent, at } if *agent == index => Some((*at, true)),
                    _ => None,
                })
                .min();
            if !first.is_some_and(|(_, joins)| joins) {
                let delay =
                    if index == 0 { 0 } else { self.draws.within((1, 1000), Purpose::Start, index as u64, 0, 0) };
                self.actions.push((SimTime::from_ms(delay), Action::Start(index)));
            }
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

    fn cut(&mut self, when: Interval, senders: &[usize], receivers: &[usize]) {
        let mask = |list: &[usize]| (0..self.agents.len()).map(|index| list.contains(&index)).collect();
        self.cuts.push(Cut { when, senders: mask(senders), receivers: mask(receivers) });
    }

    fn add(&mut self, fault: &Fault) {
        match fault {
            Fault::Partition { groups, from, to, symmetric } => {
                for (number, group) in groups.iter().enumerate() {
                    let others: Vec<Vec<usize>> =
                        groups.iter().enumerate().filter(|(n, _)| *n != number).map(|(_, g)| g.clone()).collect();
                    if *symmetric || number == 0 {
                        self.cut(Interval::of(*from, *to), group, &others.concat());
                    }
                }
                self.act_between(*from, *to, Action::Network, Action::Network);
            }
            Fault::Cut { senders, receivers, from, to } => {
                self.cut(Interval::of(*from, *to), senders, receivers);
                self.act_between(*from, *to, Action::Network, Action::Network);
            }
            Fault::Isolate { agents, from, to } => {
                for agent in agents {
                    let others: Vec<usize> = (0..self.agents.len()).filter(|other| other != agent).collect();
                    self.cut(Interval::of(*from, *to), &[*agent], &others);
                    self.cut(Interval::of(*from, *to), &others, &[*agent]);
                }
                self.act_between(*from, *to, Action::Network, Action::Network);
            }
            Fault::Loss { per_mille, from, to } => {
                self.losses.push((Interval::of(*from, *to), *per_mille));
                self.act_between(*from, *to, Action::Network, Action::Network);
            }
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
            Fault::Target { instance, mode, from, to, flap_period, seen_by } => {
                let Some(instance) = self.instances.iter().position(|i| i.id.as_str() == instance) else { return };
                let when = Interval { from: from.moment(), to: to.map_or(SimTime::NEVER, Span::moment) };
                let (mode, flap_period, seen_by) = (*mode, flap_period.0, seen_by.clone());
                self.targets.push(TargetFault { instance, when, mode, flap_period, seen_by });
                self.first_fault = self.first_fault.min(from.moment());
                self.last_fault = self.last_fault.max(to.unwrap_or(*from).moment());
            }
            Fault::Leave { agent, at } => {
                self.changes.push((*agent, at.moment()));
                self.act(*at, Action::Leave(*agent));
            }
            Fault::Join { agent, at } => {
                self.changes.push((*agent, at.moment()));
                self.act(*at, Action::Join(*agent));
            }
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
                wall_ms: CALENDAR_MS + draws.within((0, 2 * offset), Purpose::Clock, number, 0, 0) - offset,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_cuts_both_ways_unless_told_otherwise() {
        let text =
            "summary = \"t\"\n[[faults]]\nkind = \"partition\"\ngroups = [[0, 1], [2]]\nfrom = \"1s\"\nto = \"2s\"\n";
        let stops = |text: &str, from, to| {
            let scenario = Scenario::new("t", &Plan::parse(text).unwrap(), 1).unwrap();
            scenario.cuts.iter().any(|cut| cut.stops(from, to))
        };
        assert!(stops(text, 0, 2) && stops(text, 2, 1) && !stops(text, 0, 1) && !stops(text, 3, 0));
        let one_way = format!("{text}symmetric = false\n");
        assert!(stops(&one_way, 0, 2) && !stops(&one_way, 2, 0));
    }

    #[test]
    fn an_agent_that_joins_later_does_not_start_at_once() {
        let text = "summary = \"t\"\n[[faults]]\nkind = \"join\"\nagent = 2\nat = \"9s\"\n";
        let scenario = Scenario::new("t", &Plan::parse(text).unwrap(), 1).unwrap();
        assert!(!scenario.actions.iter().any(|(_, action)| *action == Action::Start(2)));
        assert_eq!(scenario.actions.last(), Some(&(SimTime::from_ms(9000), Action::Join(2))));
        assert_eq!(scenario.last_fault, SimTime::from_ms(9000));
    }
}

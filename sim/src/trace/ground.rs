//! What is really the case, told as it changes: processes, members, paths, what probes would find, and what else the plan disturbs.

use super::disturbances::Disturbances;
use super::line::{Line, ProcessState, TargetState};
use crate::plan::{Plan, TargetMode};
use crate::scenario::Scenario;
use crate::time::{SimTime, nanos};
use crate::truth::{Appearance, Truth};
use quorate_core::IntentKind;
use std::collections::BTreeMap;

/// The last state told, and when the plan next changes it.
#[derive(Debug)]
pub struct Ground {
    /// Moments at which something changes that no action of the world announces.
    moments: Vec<SimTime>,
    next: usize,
    revision: u64,
    processes: Vec<ProcessState>,
    /// Of agents that have clones: those of one share a name.
    clones: BTreeMap<usize, ProcessState>,
    members: Vec<bool>,
    suspects: Vec<bool>,
    /// By sender, then receiver.
    open: Vec<Vec<bool>>,
    /// By instance, then observer.
    targets: Vec<Vec<TargetState>>,
    /// By instance.
    registrations: Vec<(bool, Option<IntentKind>)>,
    disturbances: Disturbances,
}

impl Ground {
    /// Before anything was told: no process, every path open, every instance well.
    pub fn new(scenario: &Scenario) -> Self {
        let agents = scenario.agents.len();
        Self {
            moments: moments(scenario),
            next: 0,
            revision: 0,
            processes: vec![ProcessState::Absent; agents],
            clones: BTreeMap::new(),
            members: vec![false; agents],
            suspects: vec![false; agents],
            open: vec![vec![true; agents]; agents],
            targets: vec![vec![TargetState::Healthy; agents]; scenario.instances.len()],
            registrations: vec![(true, None); scenario.instances.len()],
            disturbances: Disturbances::default(),
        }
    }

    /// From now on tells also what `plan`, of which the scenario was made, disturbs short of cuts.
    pub fn expect(&mut self, plan: &Plan) {
        self.disturbances = Disturbances::of(plan);
        self.moments.extend(self.disturbances.moments());
        self.moments.sort_unstable();
        self.moments.dedup();
    }

    /// The next moment up to `now` at which to look, if there is one.
    pub fn due(&mut self, now: SimTime) -> Option<SimTime> {
        let moment = self.moments.get(self.next).copied().filter(|moment| *moment <= now)?;
        self.next += 1;
        Some(moment)
    }

    /// Did processes or members change since the last look?
    pub fn outdated(&self, truth: &Truth) -> bool {
        self.revision != truth.revision()
    }

    /// What is different at `at`.
    pub fn changes(&mut self, truth: &Truth, at: SimTime) -> Vec<Line> {
        self.revision = truth.revision();
        let mut lines = self.processes(truth, at);
        for from in 0..truth.agents() {
            self.paths(truth, from, at, &mut lines);
        }
        for instance in 0..truth.scenario.instances.len() {
            self.registration(&truth.scenario, instance, at, &mut lines);
            self.target(truth, instance, at, &mut lines);
        }
        lines.extend(self.disturbances.changes(at));
        lines
    }

    /// What is different of processes and members alone.
    pub fn processes(&mut self, truth: &Truth, at: SimTime) -> Vec<Line> {
        self.revision = truth.revision();
        let mut lines = Vec::new();
        for agent in 0..truth.agents() {
            let name = || truth.scenario.agent_name(agent).to_owned();
            let state = match self.processes[agent] {
                _ if truth.awake(agent, at) => ProcessState::Up,
                _ if truth.running(agent, at) => ProcessState::Paused,
                ProcessState::Absent => ProcessState::Absent,
                _ if truth.member(agent, at) => ProcessState::Crashed,
                _ => ProcessState::Left,
            };
            if std::mem::replace(&mut self.processes[agent], state) != state {
                lines.push(Line::Process { agent: name(), state });
            }
            let member = truth.member(agent, at);
            if std::mem::replace(&mut self.members[agent], member) != member {
                lines.push(Line::Member { agent: name(), member });
            }
            let suspect = truth.scenario.suspect(agent, at);
            if std::mem::replace(&mut self.suspects[agent], suspect) != suspect {
                lines.push(Line::Faulty { agent: name() });
            }
        }
        lines
    }

    /// What the clones of `agent` are from now on, if that is different; `run`: does any of them?
    pub fn clones(&mut self, agent: usize, run: bool) -> Option<ProcessState> {
        let told = self.clones.entry(agent).or_insert(ProcessState::Absent);
        let state = match *told {
            _ if run => ProcessState::Up,
            ProcessState::Absent => ProcessState::Absent,
            _ => ProcessState::Crashed,
        };
        (std::mem::replace(told, state) != state).then_some(state)
    }

    fn paths(&mut self, truth: &Truth, from: usize, at: SimTime, lines: &mut Vec<Line>) {
        let mut changed: BTreeMap<bool, Vec<String>> = BTreeMap::new();
        for (to, told) in self.open[from].iter_mut().enumerate() {
            let open = !truth.cut(from, to, at);
            if std::mem::replace(told, open) != open {
                changed.entry(open).or_default().push(truth.scenario.agent_name(to).to_owned());
            }
        }
        let from = truth.scenario.agent_name(from);
        lines.extend(changed.into_iter().map(|(open, to)| Line::Path { from: from.to_owned(), to, open }));
    }

    fn registration(&mut self, scenario: &Scenario, instance: usize, at: SimTime, lines: &mut Vec<Line>) {
        let state = (scenario.registered(instance, at), scenario.intent(instance, at));
        if std::mem::replace(&mut self.registrations[instance], state) != state {
            let instance = scenario.instances[instance].id.as_str().to_owned();
            lines.push(Line::Registration { instance, registered: state.0, intent: state.1 });
        }
    }

    fn target(&mut self, truth: &Truth, instance: usize, at: SimTime, lines: &mut Vec<Line>) {
        let mut changed: BTreeMap<u8, (TargetState, Vec<String>)> = BTreeMap::new();
        for (observer, told) in self.targets[instance].iter_mut().enumerate() {
            let state = target_state(truth.appearance(instance, observer, at));
            if std::mem::replace(told, state) != state {
                let (_, observers) = changed.entry(state as u8).or_insert_with(|| (state, Vec::new()));
                observers.push(truth.scenario.agent_name(observer).to_owned());
            }
        }
        let instance = truth.scenario.instances[instance].id.as_str();
        let line = |(state, observers)| Line::Target { instance: instance.to_owned(), state, observers };
        lines.extend(changed.into_values().map(line));
    }
}

/// How an appearance is told.
pub fn target_state(appearance: Appearance) -> TargetState {
    match appearance {
        Appearance::Healthy => TargetState::Healthy,
        Appearance::Refused => TargetState::Refused,
        Appearance::Hung => TargetState::Hung,
        Appearance::Erroring => TargetState::Erroring,
        Appearance::Silent => TargetState::Silent,
        Appearance::Late(_) => TargetState::Slow,
        Appearance::Busy(_) | Appearance::Overloaded => TargetState::Overloaded,
    }
}

/// When actions are taken, and when instances change.
fn moments(scenario: &Scenario) -> Vec<SimTime> {
    let mut moments: Vec<SimTime> = scenario.actions.iter().map(|(at, _)| *at).collect();
    moments.extend(scenario.faulty.iter().map(|(_, when, _)| when.from));
    let end = scenario.duration.max(scenario.last_fault.plus(scenario.bounds.convergence.0));
    for fault in &scenario.targets {
        moments.extend([fault.when.from, fault.when.to]);
        if fault.mode == TargetMode::Flapping {
            let turns = nanos(fault.when.to.min(end).since(fault.when.from)) / nanos(fault.flap_period).max(1);
            let turn =
                |number: u64| fault.when.from.plus(fault.flap_period * u32::try_from(number).unwrap_or(u32::MAX));
            moments.extend((1..=turns).map(turn));
        }
    }
    moments.retain(|moment| *moment < SimTime::NEVER);
    moments.sort_unstable();
    moments.dedup();
    moments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library;
    use crate::plan::Plan;
    use crate::swarm::{self, Profile};

    /// Paths and instances change at no moment that is not among those looked at.
    #[test]
    fn nothing_changes_untold() {
        let library = library::PLANS.iter().map(|(name, _)| library::load(name).unwrap().1);
        let drawn = (0..20).map(|seed| swarm::plan(Profile::Swarm, seed, Some(5)));
        let plans: Vec<Plan> = library.filter(|plan| plan.mesh.agents <= 10).chain(drawn).collect();
        let mut told = 0;
        for plan in plans {
            let truth = Truth::new(Scenario::new("t", &plan, 1).unwrap());
            let mut ground = Ground::new(&truth.scenario);
            for ms in (0..90_000).step_by(37) {
                let now = SimTime::from_ms(ms);
                while let Some(at) = ground.due(now) {
                    told += ground.changes(&truth, at).len();
                }
                let untold = ground.changes(&truth, now);
                assert!(untold.is_empty(), "{} at {now}: {untold:?}", plan.summary);
            }
        }
        assert!(told > 100, "{told}");
    }
}

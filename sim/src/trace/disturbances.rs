//! What a plan does to packets, processes and clocks that is neither a cut nor an end: told when it begins and ends.

use super::line::Line;
use crate::plan::{Cycle, Fault, Plan};
use crate::scenario::Windows;
use crate::time::{SimTime, Span, nanos};

/// The disturbances of a plan, and how far they were told.
#[derive(Debug, Default)]
pub struct Disturbances {
    all: Vec<Disturbance>,
    /// When which of them begins or ends, or happens at once.
    moments: Vec<(SimTime, usize, Option<bool>)>,
    next: usize,
}

/// One of them.
#[derive(Debug)]
struct Disturbance {
    /// Its place among the plan's faults.
    fault: usize,
    what: &'static str,
    /// The agents that are slow, narrow or wrong, or that send what is harmed.
    from: Vec<String>,
    /// Whom they send it to; nobody when it is not about packets.
    to: Vec<String>,
}

impl Disturbances {
    /// Those of `plan`.
    pub fn of(plan: &Plan) -> Self {
        let mut found = Self::default();
        for (number, fault) in plan.faults.iter().enumerate() {
            found.add(number, fault, plan.mesh.agents);
        }
        found.moments.sort_by_key(|(at, _, _)| *at);
        found
    }

    /// When something is to be told.
    pub fn moments(&self) -> impl Iterator<Item = SimTime> + '_ {
        self.moments.iter().map(|(at, _, _)| *at)
    }

    /// What begins or ends up to `at`.
    pub fn changes(&mut self, at: SimTime) -> Vec<Line> {
        let due = self.moments[self.next..].iter().take_while(|(moment, _, _)| *moment <= at);
        let lines: Vec<Line> = due.map(|(_, number, on)| self.all[*number].line(*on)).collect();
        self.next += lines.len();
        lines
    }

    fn add(&mut self, number: usize, fault: &Fault, agents: usize) {
        let named = |list: Option<&Vec<usize>>| -> Vec<String> {
            let list = list.cloned().unwrap_or_else(|| (0..agents).collect());
            list.into_iter().map(|agent| format!("a{agent}")).collect()
        };
        let mut told = |what, from, to| self.all.push(Disturbance { fault: number, what, from, to });
        match fault {
            // That is a cut, and told as one.
            Fault::Loss { per_mille: 1000, only: None, larger_than: None, burst: None, .. } => {}
            Fault::Loss { senders, receivers, from, to, cycle, .. }
            | Fault::Delay { senders, receivers, from, to, cycle, .. }
            | Fault::Duplicate { senders, receivers, from, to, cycle, .. } => {
                let what = match fault {
                    Fault::Loss { .. } => "loss",
                    Fault::Delay { .. } => "delay",
                    _ => "duplicate",
                };
                told(what, named(senders.as_ref()), named(receivers.as_ref()));
                self.during(*from, *to, *cycle);
            }
            Fault::Throttle { agents, from, to, cycle, .. } => {
                told("throttle", named(agents.as_ref()), named(None));
                self.during(*from, *to, *cycle);
            }
            Fault::Slow { agents, from, to, cycle, .. } => {
                told("slow", named(agents.as_ref()), Vec::new());
                self.during(*from, *to, *cycle);
            }
            Fault::Drift { agent, from, to, .. } => {
                told("drift", named(Some(&vec![*agent])), Vec::new());
                self.during(*from, *to, None);
            }
            Fault::ClockStep { agent, at, .. } => {
                told("clock-step", named(Some(&vec![*agent])), Vec::new());
                self.moments.push((at.moment(), self.all.len() - 1, None));
            }
            Fault::Reset { agents, peers, at, every, to } => {
                told("reset", named(agents.as_ref()), named(peers.as_ref()));
                let (step, to) = (every.map_or(u64::MAX, |every| nanos(every.0)), to.unwrap_or(*at).moment());
                let times = std::iter::successors(Some(at.moment().0), |time| time.checked_add(step));
                let times = times.take_while(|time| *time <= to.0).map(SimTime);
                let last = self.all.len() - 1;
                self.moments.extend(times.map(|time| (time, last, None)));
            }
            // The lines of processes, members, paths, targets, registrations and faulty members tell them.
            Fault::Partition { .. }
            | Fault::Cut { .. }
            | Fault::Isolate { .. }
            | Fault::Ring { .. }
            | Fault::Crash { .. }
            | Fault::Pause { .. }
            | Fault::Clone { .. }
            | Fault::RollingRestart { .. }
            | Fault::Replace { .. }
            | Fault::JoinStorm { .. }
            | Fault::MassLeave { .. }
            | Fault::Target { .. }
            | Fault::Withdraw { .. }
            | Fault::Intent { .. }
            | Fault::Faulty { .. }
            | Fault::Abandon { .. }
            | Fault::Leave { .. }
            | Fault::Join { .. } => {}
        }
    }

    /// The last one begins and ends as its windows do.
    fn during(&mut self, from: Span, to: Span, cycle: Option<Cycle>) {
        let (when, last) = (Windows::of(from, to, cycle), self.all.len() - 1);
        let mut holds = false;
        for edge in when.edges() {
            if std::mem::replace(&mut holds, when.holds(edge)) != holds {
                self.moments.push((edge, last, Some(holds)));
            }
        }
    }
}

impl Disturbance {
    fn line(&self, on: Option<bool>) -> Line {
        Line::Disturbance { fault: self.fault, what: self.what, from: self.from.clone(), to: self.to.clone(), on }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library;
    use crate::scenario::Scenario;
    use crate::swarm::{self, Profile};

    const PLAN: &str = r#"
summary = "t"
mesh.agents = 3
[[faults]]
kind = "isolate"
agents = [0]
from = "20s"
to = "21s"
[[faults]]
kind = "loss"
per_mille = 500
senders = [1]
receivers = [0, 2]
from = "20s"
to = "30s"
cycle = { on = "4s", off = "3s" }
[[faults]]
kind = "loss"
per_mille = 1000
from = "22s"
to = "23s"
[[faults]]
kind = "reset"
agents = [2]
at = "21s"
every = "2s"
to = "24s"
"#;

    #[test]
    fn each_is_told_when_it_begins_and_ends() {
        let mut disturbances = Disturbances::of(&Plan::parse(PLAN).unwrap());
        let mut told = Vec::new();
        for second in 0..40 {
            for line in disturbances.changes(SimTime::from_ms(second * 1000)) {
                let Line::Disturbance { fault, what, from, to, on } = line else { panic!("{line:?}") };
                told.push(format!("{second} {fault} {what} {}-{} {on:?}", from.join(","), to.join(",")));
            }
        }
        let expected = [
            "20 1 loss a1-a0,a2 Some(true)",
            "21 3 reset a2-a0,a1,a2 None",
            "23 3 reset a2-a0,a1,a2 None",
            "24 1 loss a1-a0,a2 Some(false)",
            "27 1 loss a1-a0,a2 Some(true)",
            "30 1 loss a1-a0,a2 Some(false)",
        ];
        assert_eq!(told, expected);
    }

    /// What the scenario harms that is no cut is a disturbance, and nothing else is.
    #[test]
    fn none_is_left_out() {
        let library = library::PLANS.iter().map(|(name, _)| library::load(name).unwrap().1);
        let drawn = (0..100).map(|seed| swarm::plan(Profile::Swarm, seed, Some(5)));
        let mut found = 0;
        for plan in library.chain(drawn) {
            let scenario = Scenario::new("t", &plan, 1).unwrap();
            let steps = plan.faults.iter().filter(|fault| matches!(fault, Fault::ClockStep { .. })).count();
            let harms = scenario.harms.len() + scenario.throttles.len() + scenario.resets.len();
            let told = Disturbances::of(&plan);
            assert_eq!(
                told.all.len(),
                harms + scenario.loads.len() + scenario.drifts.len() + steps,
                "{}",
                plan.summary
            );
            assert!((0..told.all.len()).all(|one| told.moments.iter().any(|(_, number, _)| *number == one)));
            found += told.all.len();
        }
        assert!(found > 50, "{found}");
    }
}

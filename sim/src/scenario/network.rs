//! The network's faults of a plan, made ready to run; and how much they harm a path.

use super::paths::Set;
use super::{Action, Cut, Effect, Harm, Reset, Scenario, Throttle, Windows};
use crate::plan::{Fault, NetworkPlan, Plan};
use crate::time::{SimTime, nanos};

impl Scenario {
    /// The greatest share of packets lost anywhere between the two moments, of a thousand; other harm counts as its like.
    pub fn worst_loss(&self, from: SimTime, to: SimTime) -> u32 {
        if (0..self.agents.len()).any(|agent| self.unsound(agent, from, to)) {
            return 1000;
        }
        self.worst(from, to, |_| true, |_| true)
    }

    /// The same of the path between two agents, either way.
    pub fn worst_between(&self, a: usize, b: usize, from: SimTime, to: SimTime) -> u32 {
        if self.unsound(a, from, to) || self.unsound(b, from, to) {
            return 1000;
        }
        let touches = |harm: &Harm| harm.touches(a, b) || harm.touches(b, a);
        self.worst(from, to, touches, |line| line.agents.has(a) || line.agents.has(b))
    }

    fn worst(
        &self,
        from: SimTime,
        to: SimTime,
        harmed: impl Fn(&Harm) -> bool,
        narrow: impl Fn(&Throttle) -> bool,
    ) -> u32 {
        if self.throttles.iter().any(|line| line.when.meets(from, to) && narrow(line)) {
            return 1000;
        }
        let harms = self.harms.iter().filter(|harm| harm.when.meets(from, to) && harmed(harm));
        harms.map(Harm::weight).fold(self.network.loss_per_mille, u32::max)
    }

    /// Is any packet lost by chance between the two moments, or harmed otherwise?
    pub fn lossy(&self, from: SimTime, to: SimTime) -> bool {
        self.worst_loss(from, to) > 0
    }

    /// Does the link of `a` and `b` break more than once in that time? While it is being made anew nothing gets through, and what asks at the same pace
    /// may hit upon that each time.
    pub fn keeps_breaking(&self, a: usize, b: usize, from: SimTime, to: SimTime) -> bool {
        if !self.resets.iter().any(|reset| reset.breaks(a, b)) {
            return false;
        }
        let within = self.actions.iter().filter(|(at, _)| (from..=to).contains(at));
        let breaks = |action: &Action| matches!(action, Action::Reset(number) if self.resets[*number].breaks(a, b));
        within.filter(|(_, action)| breaks(action)).nth(1).is_some()
    }

    fn set(&self, list: Option<&Vec<usize>>) -> Set {
        Set::of(self.agents.len(), list.map(Vec::as_slice))
    }

    /// The world looks at the network again at every edge.
    fn network_changes(&mut self, when: Windows) {
        for edge in when.edges() {
            self.actions.push((edge, Action::Network));
            self.first_fault = self.first_fault.min(edge);
            self.last_fault = self.last_fault.max(edge);
        }
    }

    fn add_cut(&mut self, cut: Cut) {
        self.network_changes(cut.when);
        self.cuts.push(cut);
    }

    fn add_harm(&mut self, when: Windows, harm: Harm) {
        self.network_changes(when);
        self.harms.push(harm);
    }

    pub(super) fn add_to_network(&mut self, fault: &Fault) {
        let agents = self.agents.len();
        match fault {
            Fault::Partition { groups, from, to, symmetric, cycle } => {
                let when = Windows::of(*from, *to, *cycle);
                let first = Set::of(agents, groups.first().map(Vec::as_slice));
                let others = groups.get(1..).unwrap_or_default().concat();
                self.add_cut(match symmetric {
                    true => Cut::groups(when, agents, groups),
                    false => Cut::between(when, first, Set::of(agents, Some(&others))),
                });
            }
            Fault::Ring { agents: ring, reach, from, to, cycle } => {
                let ring = ring.clone().unwrap_or_else(|| (0..agents).collect());
                self.add_cut(Cut::ring(Windows::of(*from, *to, *cycle), agents, &ring, *reach));
            }
            Fault::Cut { senders, receivers, from, to, cycle } => {
                let (senders, receivers) = (self.set(Some(senders)), self.set(Some(receivers)));
                self.add_cut(Cut::between(Windows::of(*from, *to, *cycle), senders, receivers));
            }
            Fault::Isolate { agents: list, from, to, cycle } => {
                self.add_cut(Cut::alone(Windows::of(*from, *to, *cycle), self.set(Some(list))));
            }
            Fault::Loss { per_mille, senders, receivers, only, larger_than, burst, from, to, cycle } => {
                let when = Windows::of(*from, *to, *cycle);
                let (senders, receivers) = (self.set(senders.as_ref()), self.set(receivers.as_ref()));
                if *per_mille == 1000 && only.is_none() && larger_than.is_none() && burst.is_none() {
                    return self.add_cut(Cut::between(when, senders, receivers));
                }
                let burst = burst.map(|burst| (nanos(burst.bad.0), nanos(burst.good.0)));
                let larger_than = larger_than.unwrap_or(0);
                let effect = Effect::Loss { per_mille: *per_mille, larger_than, burst };
                self.add_harm(when, Harm::new(when, effect, *only, senders, receivers));
            }
            Fault::Delay { extra_us: [low, high], per_mille, senders, receivers, only, from, to, cycle } => {
                let when = Windows::of(*from, *to, *cycle);
                let (senders, receivers) = (self.set(senders.as_ref()), self.set(receivers.as_ref()));
                let effect = Effect::Delay { per_mille: *per_mille, extra_us: (*low, *high) };
                self.add_harm(when, Harm::new(when, effect, *only, senders, receivers));
            }
            Fault::Duplicate { per_mille, senders, receivers, from, to, cycle } => {
                let when = Windows::of(*from, *to, *cycle);
                let (senders, receivers) = (self.set(senders.as_ref()), self.set(receivers.as_ref()));
                let effect = Effect::Duplicate { per_mille: *per_mille };
                self.add_harm(when, Harm::new(when, effect, None, senders, receivers));
            }
            Fault::Throttle { agents: list, bytes_per_s, queue_bytes, from, to, cycle } => {
                let when = Windows::of(*from, *to, *cycle);
                self.network_changes(when);
                let agents = self.set(list.as_ref());
                self.throttles.push(Throttle { when, agents, bytes_per_s: *bytes_per_s, queue_bytes: *queue_bytes });
            }
            Fault::Reset { agents: list, peers, at, every, to } => {
                let number = self.resets.len();
                self.resets.push(Reset::new(self.set(list.as_ref()), self.set(peers.as_ref())));
                let (step, to) = (every.map_or(u64::MAX, |every| nanos(every.0)), to.unwrap_or(*at).moment());
                let times = std::iter::successors(Some(at.moment().0), |time| time.checked_add(step));
                for time in times.take_while(|time| *time <= to.0).map(SimTime) {
                    self.actions.push((time, Action::Reset(number)));
                    self.first_fault = self.first_fault.min(time);
                    self.last_fault = self.last_fault.max(time);
                }
            }
            _ => {}
        }
    }
}

/// Does nothing in the plan disturb a link or a process that goes on?
pub(super) fn smooth(plan: &Plan) -> bool {
    let plain = NetworkPlan { latency_us: plan.network.latency_us, ..NetworkPlan::default() };
    let gentle = |fault: &Fault| {
        matches!(fault, Fault::Target { .. } | Fault::Crash { .. } | Fault::Abandon { alive: false, .. })
    };
    plan.network == plain && plan.faults.iter().all(gentle)
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
    fn a_link_that_breaks_once_does_not_keep_breaking() {
        let text = "summary = \"t\"\n[[faults]]\nkind = \"reset\"\nagents = [0]\npeers = [1]\nat = \"1s\"\nevery = \"700ms\"\nto = \"5s\"\n";
        let scenario = Scenario::new("t", &Plan::parse(text).unwrap(), 1).unwrap();
        let breaks = |a, b, from, to| scenario.keeps_breaking(a, b, SimTime::from_ms(from), SimTime::from_ms(to));
        assert!(breaks(0, 1, 1_000, 2_000) && breaks(1, 0, 1_000, 2_000));
        assert!(!breaks(0, 1, 900, 1_500) && !breaks(0, 2, 1_000, 2_000) && !breaks(0, 1, 5_000, 9_000));
    }
}

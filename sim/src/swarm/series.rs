//! Faults in a row on the same few agents: the next comes while they are still busy with the last, or just after.
//!
//! Faults that strike somebody at random seldom meet; what breaks most is found where one agent restarts, stands still, is cut off and
//! leaves before anyone has settled what came before.

use super::faults::{FaultDraw, Kind};
use crate::plan::{Fault, WakeOrder};
use crate::time::Span;

/// Of a hundred plans so many have such a series.
const SERIES_PERCENT: u64 = 15;
/// The most faults of one series.
const MOST: u64 = 7;
/// So much later than without it may the last of them end, in milliseconds.
const LONGEST_MORE_MS: u64 = 40_000;

impl FaultDraw<'_> {
    /// A series, in some plans: on one agent or two, all of them subject to no other fault that moves them.
    pub fn series(&mut self) {
        if !self.dice.chance(SERIES_PERCENT) {
            return;
        }
        let count = if self.agents > 4 && self.dice.chance(40) { 2 } else { 1 };
        let mut victims = self.dice.some_agents(self.agents, count);
        victims.retain(|agent| !self.touched(*agent));
        // Who is not there, or is twice, from when until when.
        let mut gone: Vec<(usize, u64, u64)> = Vec::new();
        let mut at = self.dice.throw(super::CHAOS_FROM_MS, super::CHAOS_FROM_MS + 15_000);
        let latest = self.end_ms + LONGEST_MORE_MS;
        for _ in 0..self.dice.throw(2, MOST) {
            let Some(agent) = self.dice.pick(&victims) else { return };
            let (low, high) = self.dice.pick(&[(100, 1500), (1500, 8000), (8000, 35_000)]).unwrap_or((100, 1500));
            let to = at + self.dice.throw(low, high);
            if to > latest {
                break;
            }
            let drawn = self.stroke(agent, Span::ms(at), Span::ms(to));
            let moves = drawn.iter().any(|fault| fault.moves(agent));
            let there = gone.iter().all(|(other, from, until)| *other != agent || *until < at || to < *from);
            if there || !moves {
                self.faults.extend(drawn);
                self.end_ms = self.end_ms.max(to);
            }
            if moves {
                gone.push((agent, at, to));
            }
            let apart = self.dice.pick(&[(0, 20), (20, 1500), (1500, 12_000)]).unwrap_or((0, 20));
            let begun = if self.dice.chance(30) { at } else { to };
            at = begun + self.dice.throw(apart.0, apart.1);
        }
    }

    /// One fault of `agent`; none when it would part nobody.
    fn stroke(&mut self, agent: usize, from: Span, to: Span) -> Vec<Fault> {
        let (disk, targets_survive) = (self.disk(), self.dice.chance(40));
        let crash = Fault::Crash { agent, at: from, restart_at: Some(to), disk, targets_survive };
        let wake = self.dice.pick(&[WakeOrder::Packets, WakeOrder::Timers, WakeOrder::Mixed]).unwrap_or_default();
        let others: Vec<usize> = (0..self.agents).filter(|other| *other != agent).collect();
        let some = self.some(self.agents.div_ceil(2)).into_iter().filter(|other| *other != agent).collect();
        let side = if self.dice.chance(50) { others } else { some };
        let own = self.own_instance(agent);
        let drawn = match self.dice.throw(0, 11) {
            0..=2 => vec![crash],
            3 => vec![Fault::Pause { agent, from, to, wake }],
            4 | 5 => vec![Fault::Isolate { agents: vec![agent], from, to, cycle: None }],
            6 => vec![Fault::Cut { senders: vec![agent], receivers: side, from, to, cycle: None }],
            7 => vec![Fault::Cut { senders: side, receivers: vec![agent], from, to, cycle: None }],
            8 => vec![Fault::Leave { agent, at: from }, Fault::Join { agent, at: to }],
            9 => own.map(|instance| Fault::Withdraw { instance, from, to: Some(to) }).into_iter().collect(),
            10 => self.target(from, to).into_iter().collect(),
            _ => {
                let kind = self.dice.pick(&[Kind::Drift, Kind::ClockStep, Kind::Slow]).unwrap_or(Kind::Slow);
                vec![self.time(kind, from, to)]
            }
        };
        if drawn.iter().any(Fault::parts_nobody) { Vec::new() } else { drawn }
    }

    fn own_instance(&mut self, agent: usize) -> Option<String> {
        let home = format!("@{agent}");
        let own: Vec<&String> = self.instances.iter().filter(|name| name.ends_with(&home)).collect();
        own.get(self.dice.index(own.len())).map(|name| (*name).clone())
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::Fault;
    use crate::swarm::{Profile, plan};

    #[test]
    fn in_some_plans_one_agent_is_struck_again_and_again() {
        let crashes = |fault: &Fault| if let Fault::Crash { agent, .. } = fault { Some(*agent) } else { None };
        let again = |seed: &u64| {
            let plan = plan(Profile::Swarm, *seed, Some(9));
            let crashed: Vec<usize> = plan.faults.iter().filter_map(crashes).collect();
            (0..9).any(|agent| crashed.iter().filter(|other| **other == agent).count() > 1)
        };
        // Without a series an agent whose process is subject to one fault is subject to no other.
        let found = (0..600).filter(again).count();
        assert!((10..120).contains(&found), "{found}");
    }
}

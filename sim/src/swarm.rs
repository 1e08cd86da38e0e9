//! Draws a plan from a seed.
//!
//! Swarm testing (Groce, Zhang, Eide, Chen, Regehr: "Swarm testing", 2012): each seed first chooses which kinds of fault are allowed at all,
//! since runs with a few kinds reach states that runs with all kinds never do. A chaos phase, in which nothing unsafe may happen, is
//! followed by a heal of everything, after which all must agree.

mod faults;
mod series;

use crate::draw::{Draws, Purpose, scale};
use crate::plan::{Bounds, Distribution, Fault, MeshPlan, NetworkPlan, Plan, ServicePlan, Start};
use crate::swarm_calls;
use crate::swarm_members;
use crate::time::Span;
use crate::timing::TimingPlan;
use clap::ValueEnum;
use faults::FaultDraw;
use quorate_core::hash;

/// What kind of plans are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// All kinds of fault, in changing company.
    Swarm,
    /// One random split of the mesh, healed; nothing is really down but what the other side cannot reach.
    Split,
}

impl Profile {
    /// As written on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Swarm => "swarm",
            Self::Split => "split",
        }
    }
}

/// The mesh has formed by then.
const CHAOS_FROM_MS: u64 = 15_000;

/// Draws in the order in which they are asked for; the plan alone depends on that order.
struct Dice {
    draws: Draws,
    thrown: u64,
}

impl Dice {
    fn throw(&mut self, low: u64, high: u64) -> u64 {
        self.thrown += 1;
        scale(self.draws.bits(Purpose::Plan, self.thrown, 0, 0), low, high)
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.throw(0, len.saturating_sub(1) as u64)).unwrap_or(0)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.throw(1, 100) <= percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.index(from.len())).copied()
    }

    /// Some of the agents: `count` of them, by number.
    fn some_agents(&mut self, agents: usize, count: usize) -> Vec<usize> {
        let mut some = self.shuffled(agents);
        some.truncate(count);
        some.sort_unstable();
        some
    }

    /// All of the agents in a random order.
    fn shuffled(&mut self, agents: usize) -> Vec<usize> {
        let salt = self.throw(0, u64::MAX - 1);
        let mut all: Vec<usize> = (0..agents).collect();
        all.sort_by_key(|agent| hash::mix(&[salt, *agent as u64]));
        all
    }
}

/// The plan of `seed`.
pub fn plan(profile: Profile, seed: u64, agents: Option<usize>) -> Plan {
    let mut dice = Dice { draws: Draws::new(seed), thrown: 0 };
    match profile {
        Profile::Swarm => {
            swarm_calls::add(swarm_members::add(swarm(&mut dice, agents), Draws::new(seed)), Draws::new(seed))
        }
        Profile::Split => split(&mut dice, agents.unwrap_or(50)),
    }
}

fn services(dice: &mut Dice, agents: usize, observers: &[u32], instances: usize) -> Vec<ServicePlan> {
    (0..3)
        .map(|number| {
            let count = instances.div_ceil(3).clamp(1, agents);
            ServicePlan {
                name: format!("s{number}"),
                homes: dice.some_agents(agents, count),
                period: Span::secs(1),
                fast_interval: None,
                down_interval: None,
                home_only: false,
                timeout: Span::ms(500),
                failure_threshold: 3,
                success_threshold: 1,
                observers: dice.pick(observers).unwrap_or(5),
            }
        })
        .collect()
}

fn split(dice: &mut Dice, agents: usize) -> Plan {
    let first = usize::try_from(dice.throw(1, agents.saturating_sub(1).max(1) as u64)).unwrap_or(1);
    let side = dice.some_agents(agents, first);
    let other: Vec<usize> = (0..agents).filter(|agent| !side.contains(agent)).collect();
    let from = dice.throw(CHAOS_FROM_MS, CHAOS_FROM_MS + 3000);
    let to = from + dice.throw(6000, 20_000);
    let services = services(dice, agents, &[5, 5, 3], 20);
    let faults = if agents < 2 {
        Vec::new()
    } else {
        vec![Fault::Partition {
            groups: vec![side, other],
            from: Span::ms(from),
            to: Span::ms(to),
            symmetric: true,
            cycle: None,
        }]
    };
    Plan {
        summary: "a mesh split at random and healed".to_owned(),
        duration: Span::ms(to),
        mesh: MeshPlan { agents, ..MeshPlan::default() },
        network: NetworkPlan::default(),
        bounds: Bounds::default(),
        timing: TimingPlan::default(),
        services,
        faults,
        calls: Vec::new(),
    }
}

fn swarm(dice: &mut Dice, agents: Option<usize>) -> Plan {
    let agents = agents.unwrap_or_else(|| dice.pick(&[3, 4, 5, 5, 6, 7, 9, 12, 20]).unwrap_or(5));
    let kinds = faults::allowed(dice);
    let chaos = dice.throw(15_000, 60_000);
    let end = CHAOS_FROM_MS + chaos;
    let count = dice.throw(1, 7);
    let zones = if agents >= 6 && dice.chance(40) { 3 } else { 1 };
    let instances = usize::try_from(dice.throw(1, 12)).unwrap_or(1);
    let services = services(dice, agents, &[1, 3, 5, 5, 7], instances);
    let start = if dice.chance(25) { Start::Formed } else { Start::Joining };
    let network = network(dice, zones);
    let mut draw = FaultDraw::new(dice, agents, instance_names(&services), end);
    for _ in 0..count {
        draw.one(&kinds);
    }
    draw.series();
    draw.spare_memories();
    let (end, faults) = (draw.end_ms, draw.faults);
    Plan {
        summary: "a plan drawn from a seed".to_owned(),
        duration: Span::ms(end),
        mesh: MeshPlan { agents, zones, clock_offset: Span::secs(5), start },
        network,
        bounds: Bounds::default(),
        timing: TimingPlan::default(),
        services,
        faults,
        calls: Vec::new(),
    }
}

fn instance_names(services: &[ServicePlan]) -> Vec<String> {
    services.iter().flat_map(|s| s.homes.iter().map(|home| format!("{}@{home}", s.name))).collect()
}

/// What packets go through when nothing is wrong: within a rack, across a building, over a wide area, or between regions.
fn network(dice: &mut Dice, zones: usize) -> NetworkPlan {
    let latency_us = dice.pick(&[[250, 750], [100, 5000], [1000, 40_000]]).unwrap_or([250, 750]);
    let distribution = if dice.chance(30) { Distribution::Lognormal } else { Distribution::Uniform };
    let apart = zones > 1 && dice.chance(40);
    let mut row = |from: usize| -> Vec<u64> {
        (0..zones).map(|to| if from == to { 0 } else { dice.throw(1000, 40_000) }).collect()
    };
    let between_zones_us = if apart { (0..zones).map(&mut row).collect() } else { Vec::new() };
    let setup = Span::ms(dice.pick(&[0, 0, 1, 20]).unwrap_or(0));
    let ordered = dice.chance(30);
    NetworkPlan { latency_us, distribution, between_zones_us, setup, ordered, ..NetworkPlan::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drawn_plan_is_valid_and_drawn_again_the_same() {
        for seed in 0..300 {
            let drawn = plan(Profile::Swarm, seed, None);
            drawn.check().unwrap();
            assert_eq!(drawn, plan(Profile::Swarm, seed, None));
            assert_eq!(Plan::parse(&crate::plan_table::text(&drawn).unwrap()).unwrap(), drawn, "{seed}");
        }
        for agents in [2, 3, 50] {
            plan(Profile::Split, 1, Some(agents)).check().unwrap();
        }
    }

    #[test]
    fn no_majority_forgets_at_once() {
        for seed in 0..3000 {
            let plan = plan(Profile::Swarm, seed, None);
            let moved = |agent: usize, of: fn(&Fault) -> bool| plan.faults.iter().any(|f| of(f) && f.moves(agent));
            let forget = (0..plan.mesh.agents).filter(|agent| moved(*agent, Fault::forgets_together)).count();
            let stay = (0..plan.mesh.agents).filter(|agent| !moved(*agent, Fault::changes_roster)).count();
            assert!(forget == 0 || forget * 2 < stay, "seed {seed}: {forget} forget, {stay} stay");
        }
    }

    #[test]
    fn every_kind_of_fault_is_drawn() {
        let word = |fault: &Fault| toml::Value::try_from(fault).unwrap()["kind"].to_string();
        let plans = (0..600).map(|seed| plan(Profile::Swarm, seed, None));
        let drawn: std::collections::BTreeSet<String> =
            plans.flat_map(|plan| plan.faults.iter().map(word).collect::<Vec<_>>()).collect();
        let all = [
            "partition",
            "ring",
            "cut",
            "isolate",
            "loss",
            "delay",
            "duplicate",
            "throttle",
            "reset",
            "crash",
            "pause",
            "slow",
            "drift",
            "clock-step",
            "clone",
            "rolling-restart",
            "replace",
            "join-storm",
            "mass-leave",
            "target",
            "join",
            "leave",
            "withdraw",
            "intent",
        ];
        let missing: Vec<&str> = all.into_iter().filter(|kind| !drawn.contains(&format!("{kind:?}"))).collect();
        assert!(missing.is_empty(), "{missing:?} in {drawn:?}");
    }

    #[test]
    fn seeds_differ_in_the_kinds_of_fault_they_use() {
        let kinds = |seed| {
            let words =
                plan(Profile::Swarm, seed, Some(9)).faults.iter().map(std::mem::discriminant).collect::<Vec<_>>();
            format!("{words:?}")
        };
        let distinct: std::collections::BTreeSet<String> = (0..50).map(kinds).collect();
        assert!(distinct.len() > 25, "{}", distinct.len());
    }
}

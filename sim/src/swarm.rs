//! Draws a plan from a seed.
//!
//! Swarm testing (Groce, Zhang, Eide, Chen, Regehr: "Swarm testing", 2012): each seed first chooses which kinds of fault are allowed at all,
//! since runs with a few kinds reach states that runs with all kinds never do. A chaos phase, in which nothing unsafe may happen, is
//! followed by a heal of everything, after which all must agree.

use crate::draw::{Draws, Purpose, scale};
use crate::plan::{Bounds, Disk, Fault, MeshPlan, NetworkPlan, Plan, ServicePlan, TargetMode, WakeOrder};
use crate::time::Span;
use clap::ValueEnum;
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

    /// Some of the agents: `count` of them, in random order.
    fn some_agents(&mut self, agents: usize, count: usize) -> Vec<usize> {
        let salt = self.throw(0, u64::MAX - 1);
        let mut all: Vec<usize> = (0..agents).collect();
        all.sort_by_key(|agent| hash::mix(&[salt, *agent as u64]));
        all.truncate(count);
        all.sort_unstable();
        all
    }
}

/// The plan of `seed`.
pub fn plan(profile: Profile, seed: u64, agents: Option<usize>) -> Plan {
    let mut dice = Dice { draws: Draws::new(seed), thrown: 0 };
    match profile {
        Profile::Swarm => swarm(&mut dice, agents),
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
        vec![Fault::Partition { groups: vec![side, other], from: Span::ms(from), to: Span::ms(to), symmetric: true }]
    };
    Plan {
        summary: "a mesh split at random and healed".to_owned(),
        duration: Span::ms(to),
        mesh: MeshPlan { agents, ..MeshPlan::default() },
        network: NetworkPlan::default(),
        bounds: Bounds::default(),
        services,
        faults,
    }
}

/// The kinds of fault a swarm chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Partition,
    Cut,
    Isolate,
    Loss,
    Crash,
    Pause,
    Target,
    Churn,
}

fn swarm(dice: &mut Dice, agents: Option<usize>) -> Plan {
    let agents = agents.unwrap_or_else(|| dice.pick(&[3, 4, 5, 5, 6, 7, 9, 12, 20]).unwrap_or(5));
    let mut kinds: Vec<Kind> =
        [Kind::Partition, Kind::Cut, Kind::Isolate, Kind::Loss, Kind::Crash, Kind::Pause, Kind::Target, Kind::Churn]
            .into_iter()
            .filter(|_| dice.chance(45))
            .collect();
    // The roster has no epochs yet: joins and leaves count at once, so they are not mixed with faults that hide them from some.
    if dice.chance(75) {
        kinds.retain(|kind| *kind != Kind::Churn);
    } else {
        kinds.retain(|kind| matches!(kind, Kind::Churn | Kind::Target | Kind::Pause | Kind::Loss));
    }
    let chaos = dice.throw(15_000, 60_000);
    let end = CHAOS_FROM_MS + chaos;
    let count = dice.throw(1, 7);
    let zones = if agents >= 6 && dice.chance(40) { 3 } else { 1 };
    let instances = usize::try_from(dice.throw(1, 12)).unwrap_or(1);
    let services = services(dice, agents, &[1, 3, 5, 5, 7], instances);
    let names: Vec<String> = services
        .iter()
        .flat_map(|s| s.homes.iter().map(|home| format!("{}@{home}", s.name)).collect::<Vec<_>>())
        .collect();
    let mut faults = Vec::new();
    for _ in 0..count {
        if let Some(kind) = dice.pick(&kinds) {
            let from = dice.throw(CHAOS_FROM_MS, end - 2000);
            let longest = (end - from).min(if dice.chance(30) { 3000 } else { 40_000 });
            let to = from + dice.throw(500.min(longest), longest);
            faults.push(fault(dice, kind, agents, &names, (Span::ms(from), Span::ms(to)), &faults));
        }
    }
    let jitter = dice.pick(&[[250, 750], [100, 5000], [1000, 40_000]]).unwrap_or([250, 750]);
    Plan {
        summary: "a plan drawn from a seed".to_owned(),
        duration: Span::ms(end),
        mesh: MeshPlan { agents, zones, clock_offset: Span::secs(5) },
        network: NetworkPlan { latency_us: jitter, ..NetworkPlan::default() },
        bounds: Bounds::default(),
        services,
        faults: faults.into_iter().flatten().collect(),
    }
}

type Faults = Vec<Fault>;

fn fault(
    dice: &mut Dice,
    kind: Kind,
    agents: usize,
    names: &[String],
    when: (Span, Span),
    earlier: &[Faults],
) -> Faults {
    let (from, to) = when;
    let agent = dice.index(agents);
    let touched = |wanted: usize| {
        earlier.iter().flatten().any(|fault| match fault {
            Fault::Crash { agent, .. } | Fault::Leave { agent, .. } | Fault::Join { agent, .. } => *agent == wanted,
            _ => false,
        })
    };
    match kind {
        Kind::Partition => {
            let count = dice.index(agents.saturating_sub(1)) + 1;
            let side = dice.some_agents(agents, count);
            let bridge = dice.chance(20).then(|| dice.index(agents));
            let other = (0..agents).filter(|agent| !side.contains(agent) && bridge != Some(*agent)).collect();
            let symmetric = !dice.chance(25);
            vec![Fault::Partition { groups: vec![side, other], from, to, symmetric }]
        }
        Kind::Cut => {
            let senders = dice.index(agents.div_ceil(2)) + 1;
            let receivers = dice.index(agents.div_ceil(2)) + 1;
            let (senders, receivers) = (dice.some_agents(agents, senders), dice.some_agents(agents, receivers));
            vec![Fault::Cut { senders, receivers, from, to }]
        }
        Kind::Isolate => {
            let count = dice.index(agents.div_ceil(3)) + 1;
            vec![Fault::Isolate { agents: dice.some_agents(agents, count), from, to }]
        }
        Kind::Loss => {
            let per_mille = dice.pick(&[10, 50, 100, 200, 400]).unwrap_or(50);
            vec![Fault::Loss { per_mille, from, to }]
        }
        Kind::Crash if touched(agent) => Vec::new(),
        Kind::Crash => {
            let disk = dice.pick(&[Disk::Keep, Disk::Keep, Disk::Keep, Disk::Lose, Disk::Stale]).unwrap_or_default();
            vec![Fault::Crash { agent, at: from, restart_at: Some(to), disk, targets_survive: dice.chance(40) }]
        }
        Kind::Pause => {
            let wake = dice.pick(&[WakeOrder::Packets, WakeOrder::Timers, WakeOrder::Mixed]).unwrap_or_default();
            vec![Fault::Pause { agent, from, to, wake }]
        }
        Kind::Target => target(dice, names, agents, from, to),
        Kind::Churn if agent == 0 || touched(agent) => Vec::new(),
        Kind::Churn if dice.chance(50) => vec![Fault::Join { agent, at: from }],
        Kind::Churn if dice.chance(50) => vec![Fault::Leave { agent, at: from }],
        Kind::Churn => vec![Fault::Leave { agent, at: from }, Fault::Join { agent, at: to }],
    }
}

fn target(dice: &mut Dice, names: &[String], agents: usize, from: Span, to: Span) -> Faults {
    let modes = [TargetMode::Dead, TargetMode::Hung, TargetMode::Erroring, TargetMode::Flapping];
    let Some(instance) = names.get(dice.index(names.len())).cloned() else { return Vec::new() };
    let mode = dice.pick(&modes).unwrap_or(TargetMode::Dead);
    let flap_period = Span::ms(dice.throw(1000, 8000));
    let count = dice.index(agents) + 1;
    let seen_by = dice.chance(30).then(|| dice.some_agents(agents, count));
    vec![Fault::Target { instance, mode, from, to: Some(to), flap_period, seen_by }]
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
            assert_eq!(Plan::parse(&drawn.to_toml().unwrap()).unwrap(), drawn, "{seed}");
        }
        for agents in [2, 3, 50] {
            plan(Profile::Split, 1, Some(agents)).check().unwrap();
        }
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

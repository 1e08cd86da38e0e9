//! Worlds for the experiments, and figures of what came of them.

use crate::draw::Purpose;
use crate::node::{self, AnyStarter};
use crate::papers::ledger::{Ledger, Note, Word};
use crate::plain::{Plain, PlainMesh};
use crate::plan::{MeshPlan, Plan, Start};
use crate::scenario::Scenario;
use crate::time::SimTime;
use crate::trace::Trace;
use crate::trace::recording::Recording;
use crate::world::World;
use std::rc::Rc;
use std::time::Duration;

/// What the agents run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Stock foca.
    Foca,
    /// The engine.
    Quorate,
}

impl Who {
    /// In messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Foca => "plain foca",
            Self::Quorate => "Quorate",
        }
    }
}

/// A world in which nothing has happened yet; it keeps a ledger.
///
/// # Errors
/// When the plan is wrong.
pub fn world(name: &str, plan: &Plan, seed: u64, who: Who) -> anyhow::Result<World> {
    let scenario = Scenario::new(name, plan, seed)?;
    let starter: Box<AnyStarter> = match who {
        Who::Quorate => Box::new(node::engine),
        Who::Foca => {
            let addresses = scenario.agents.iter().map(|agent| (agent.id, agent.address)).collect();
            let mesh = Rc::new(PlainMesh { addresses });
            Box::new(move |config, _, _, now| {
                Ok(Box::new(Plain::new(config.agent, config.seed, Rc::clone(&mesh), now)) as Box<dyn node::Node>)
            })
        }
    };
    let agents = scenario.agents.len();
    let trace = Trace::new(&scenario, Recording::default());
    let mut world = World::new(scenario, starter, trace);
    world.ledger = Some(Ledger::new(agents, plan.mesh.start.is_formed()));
    world.watched = who == Who::Quorate && agents <= WATCHED_UP_TO;
    Ok(world)
}

/// So many agents that have known each other for long.
pub fn formed(agents: usize) -> MeshPlan {
    MeshPlan { agents, start: Start::Formed, ..MeshPlan::default() }
}

/// Larger meshes are not compared with the truth at every step: it takes longer than the run.
const WATCHED_UP_TO: usize = 200;

impl World {
    /// Runs up to a moment, or until `enough` says so; can be called again to go on.
    pub fn advance(&mut self, limit: SimTime, mut enough: impl FnMut(&Self) -> bool) {
        while self.queue.next_at().is_some_and(|at| at <= limit) && !enough(self) {
            let Some((at, event)) = self.queue.pop() else { break };
            self.truth.now = at;
            self.dispatch(event);
        }
        if !enough(self) {
            self.truth.now = limit;
        }
    }

    /// What was said from one moment up to another.
    pub fn said(&self, from: SimTime, to: SimTime) -> impl Iterator<Item = &Note> {
        self.ledger.iter().flat_map(move |ledger| ledger.between(from, to))
    }

    /// Pairs of agents of which the one holds the other alive, and how many there are.
    pub fn pairs(&self) -> (usize, usize) {
        self.ledger.as_ref().map_or((0, 0), |ledger| (ledger.pairs, ledger.all_pairs()))
    }

    /// Bytes sent so far.
    pub fn bytes(&self) -> u64 {
        self.network.counters.bytes
    }
}

/// When 99 of 100 pairs of agents, and when all, came to hold each other alive, counted from `from`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Filling {
    /// In seconds; none when it did not happen in time.
    pub most_s: Option<f64>,
    /// In seconds; none when it did not happen in time.
    pub all_s: Option<f64>,
}

/// Goes on until everyone holds everyone alive, at the longest up to `limit`.
pub fn fill(world: &mut World, from: SimTime, limit: SimTime) -> Filling {
    let mut filling = Filling::default();
    let secs = |world: &World| world.truth.now.since(from).as_secs_f64();
    world.advance(limit, |world| {
        let (pairs, all) = world.pairs();
        if filling.most_s.is_none() && pairs * 100 >= all * 99 {
            filling.most_s = Some(secs(world));
        }
        if filling.all_s.is_none() && pairs == all {
            filling.all_s = Some(secs(world));
        }
        filling.all_s.is_some()
    });
    filling
}

/// When `of` was first said to be so, and when everyone in `by` had said it, in seconds from `from`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spreading {
    /// The first.
    pub first_s: Option<f64>,
    /// The last.
    pub last_s: Option<f64>,
}

/// How a word about someone spread over those in `by` (by agent), from one moment up to another.
pub fn spread(
    world: &World,
    of: usize,
    by: &[bool],
    (from, to): (SimTime, SimTime),
    is: fn(Word) -> bool,
) -> Spreading {
    let mut told = vec![false; by.len()];
    let mut left = by.iter().filter(|counts| **counts).count();
    let mut spreading = Spreading::default();
    for note in world.said(from, to).filter(|note| note.of == of && is(note.word) && by[note.by]) {
        let secs = note.at.since(from).as_secs_f64();
        spreading.first_s.get_or_insert(secs);
        if !std::mem::replace(&mut told[note.by], true) {
            left -= 1;
            if left == 0 {
                spreading.last_s = Some(secs);
                break;
            }
        }
    }
    spreading
}

/// Draws `count` different agents out of `agents`, never agent 0, from which the others learn of each other.
pub fn chosen(seed: u64, agents: usize, count: usize) -> Vec<usize> {
    let draws = crate::draw::Draws::new(seed);
    let mut order: Vec<usize> = (1..agents).collect();
    order.sort_by_key(|agent| draws.bits(Purpose::Plan, *agent as u64, 0, 0));
    order.truncate(count);
    order.sort_unstable();
    order
}

/// A mask of the agents of a list, or of all others.
pub fn mask(agents: usize, list: &[usize], within: bool) -> Vec<bool> {
    (0..agents).map(|agent| list.contains(&agent) == within).collect()
}

/// So many seconds into a run.
pub fn at(secs: u64) -> SimTime {
    SimTime::START.plus(Duration::from_secs(secs))
}

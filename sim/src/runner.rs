//! Runs a plan with a seed, and many seeds side by side.

use crate::node;
use crate::plan::Plan;
use crate::report::Report;
use crate::scenario::Scenario;
use crate::swarm::{self, Profile};
use crate::trace::Trace;
use crate::world::World;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The real time, to tell how fast the simulation is; nothing in it depends on this.
#[allow(clippy::disallowed_methods, reason = "speed is reported, and no decision depends on it")]
pub fn stopwatch() -> Instant {
    Instant::now()
}

/// How a run is done.
pub struct Manner {
    /// Takes one JSON object per line.
    pub lines: Option<Box<dyn Write>>,
    /// End at the first violation.
    pub stop_at_first: bool,
    /// The line that shows the run again.
    pub reproduce: String,
}

/// Runs `plan` with `seed`.
///
/// # Errors
/// When the plan is wrong, or its trace cannot be written.
pub fn run(name: &str, plan: &Plan, seed: u64, manner: Manner) -> anyhow::Result<(Report, Trace)> {
    let scenario = Scenario::new(name, plan, seed)?;
    let began = stopwatch();
    let trace = Trace::new(scenario.agents.len(), manner.lines);
    let mut world = World::new(scenario, node::engine, trace);
    world.stop_at_first = manner.stop_at_first;
    world.begin_lines(plan);
    world.run();
    let report = Report::of(&world, began.elapsed(), manner.reproduce);
    let mut trace = world.trace;
    trace.finish()?;
    Ok((report, trace))
}

/// Many seeds of one profile.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// What is drawn.
    pub profile: Profile,
    /// The first seed, and the one after the last.
    pub seeds: (u64, u64),
    /// How many agents; drawn when none.
    pub agents: Option<usize>,
    /// Threads.
    pub jobs: usize,
    /// Stop taking seeds after this long.
    pub limit: Option<Duration>,
}

impl Sweep {
    /// The line that runs one seed again.
    pub fn reproduce(&self, seed: u64) -> String {
        let agents = self.agents.map(|agents| format!(" --agents {agents}")).unwrap_or_default();
        format!("quorate-sim fuzz --profile {}{agents} --seeds {seed}..{}", self.profile.word(), seed + 1)
    }

    /// Runs one seed.
    ///
    /// # Errors
    /// When the drawn plan is wrong.
    pub fn seed(&self, seed: u64) -> anyhow::Result<(Report, Trace)> {
        let plan = swarm::plan(self.profile, seed, self.agents);
        let manner = Manner { lines: None, stop_at_first: true, reproduce: self.reproduce(seed) };
        run(self.profile.word(), &plan, seed, manner)
    }

    /// Runs all seeds, `watch` being called with each outcome, and about once a second with none.
    ///
    /// # Errors
    /// The first that a run has.
    pub fn run(&self, mut watch: impl FnMut(Option<&Report>)) -> anyhow::Result<()> {
        let (next, stop) = (AtomicU64::new(self.seeds.0), AtomicBool::new(false));
        let began = stopwatch();
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for _ in 0..self.jobs.max(1) {
                let sender = sender.clone();
                let (next, stop) = (&next, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) && self.limit.is_none_or(|limit| began.elapsed() < limit) {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        let outcome = self.seed(seed).map(|(report, _)| report);
                        if seed >= self.seeds.1 || sender.send(outcome).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            loop {
                match receiver.recv_timeout(Duration::from_secs(1)) {
                    Ok(Ok(report)) => watch(Some(&report)),
                    Ok(Err(error)) => {
                        stop.store(true, Ordering::Relaxed);
                        return Err(error);
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => watch(None),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
                }
            }
        })
    }
}

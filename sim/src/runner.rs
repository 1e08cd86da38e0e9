//! Runs a plan with a seed, and many seeds side by side.

use crate::commands::source::drawn;
use crate::node::{self, AnyStarter};
use crate::plan::Plan;
use crate::report::Report;
use crate::scenario::Scenario;
use crate::stop::Stop;
use crate::swarm::{self, Profile};
use crate::trace::Trace;
use crate::trace::recording::Recording;
use crate::world::World;
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
    /// What the agents are; the real engine unless told otherwise.
    pub starter: Box<AnyStarter>,
    /// What is recorded besides the hash.
    pub recording: Recording,
    /// When it ends before its time.
    pub stop: Stop,
    /// The line that shows the run again.
    pub reproduce: String,
}

impl Default for Manner {
    fn default() -> Self {
        let starter = Box::new(node::engine);
        Self { starter, recording: Recording::default(), stop: Stop::Never, reproduce: String::new() }
    }
}

/// Runs `plan` with `seed`.
///
/// # Errors
/// When the plan is wrong, or its trace cannot be written.
pub fn run(name: &str, plan: &Plan, seed: u64, manner: Manner) -> anyhow::Result<(Report, Trace)> {
    let scenario = Scenario::new(name, plan, seed)?;
    let began = stopwatch();
    let trace = Trace::new(&scenario, manner.recording);
    let mut world = World::new(scenario, manner.starter, trace);
    world.stop = manner.stop;
    world.tell_beginning(plan);
    world.run();
    let report = Report::of(&world, began.elapsed(), manner.reproduce);
    let mut trace = world.trace;
    trace.recording.finish()?;
    Ok((report, trace))
}

/// How many runs at a time, unless told otherwise: one per processor.
pub fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Calls `work` for each seed, `jobs` at a time, and returns what it returned, in the order of the seeds.
///
/// # Errors
/// The first that `work` has.
pub fn for_each_seed<T: Send>(
    (from, to): (u64, u64),
    jobs: usize,
    work: impl Fn(u64) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let next = AtomicU64::new(from);
    let results = std::thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            loop {
                // Not past the last: it may be the greatest number there is.
                let after = |seed: u64| (seed < to).then_some(seed.saturating_add(1));
                let Ok(seed) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after) else {
                    return Ok(done);
                };
                done.push((seed, work(seed)?));
            }
        };
        let workers: Vec<_> = (0..threads(jobs, to.saturating_sub(from))).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let results: anyhow::Result<Vec<Vec<(u64, T)>>> = results;
    let mut results: Vec<(u64, T)> = results?.into_iter().flatten().collect();
    results.sort_by_key(|(seed, _)| *seed);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// No more threads than there is work for.
fn threads(jobs: usize, seeds: u64) -> usize {
    jobs.min(usize::try_from(seeds).unwrap_or(usize::MAX)).max(1)
}

/// A machine's share of a range of seeds: those that leave the remainder `index` when divided by `of`. The shares of all `of` machines cover
/// the range, and no two overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which share, less than `of`.
    pub index: u64,
    /// Of how many, at least one.
    pub of: u64,
}

impl Shard {
    /// All seeds.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// The first seed of this share that is `from` or greater.
    pub fn first(self, from: u64) -> u64 {
        let past = from % self.of;
        from.saturating_add(if self.index >= past { self.index - past } else { self.of - past + self.index })
    }

    /// How many seeds of this share there are from `from` to `to - 1`.
    pub fn count(self, (from, to): (u64, u64)) -> u64 {
        to.saturating_sub(self.first(from)).div_ceil(self.of)
    }
}

/// Many seeds of one profile.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// What is drawn.
    pub profile: Profile,
    /// The first seed, and the one after the last.
    pub seeds: (u64, u64),
    /// Which of these seeds.
    pub shard: Shard,
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
        format!("quorate-sim run {}", drawn(self.profile, self.agents, seed))
    }

    /// Runs one seed.
    ///
    /// # Errors
    /// When the drawn plan is wrong.
    pub fn seed(&self, seed: u64) -> anyhow::Result<(Report, Trace)> {
        let plan = swarm::plan(self.profile, seed, self.agents);
        let manner = Manner { stop: Stop::AtFirst, reproduce: self.reproduce(seed), ..Manner::default() };
        run(self.profile.word(), &plan, seed, manner)
    }

    /// Runs all seeds, `watch` being called with each outcome, and about once a second with none.
    ///
    /// # Errors
    /// The first that a run has.
    pub fn run(&self, mut watch: impl FnMut(Option<&Report>)) -> anyhow::Result<()> {
        let first = self.shard.first(self.seeds.0);
        let (taken, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let began = stopwatch();
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for _ in 0..threads(self.jobs, self.shard.count(self.seeds)) {
                let sender = sender.clone();
                let (taken, stop) = (&taken, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) && self.limit.is_none_or(|limit| began.elapsed() < limit) {
                        let step = taken.fetch_add(1, Ordering::Relaxed).saturating_mul(self.shard.of);
                        let seed = first.saturating_add(step);
                        if seed >= self.seeds.1 || sender.send(self.seed(seed).map(|(report, _)| report)).is_err() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shards_of_a_range_cover_it_without_overlap() {
        for (from, to, of) in [(0, 20, 3), (7, 20, 4), (5, 6, 8), (3, 3, 2), (0, 9, 1), (90, 100, 7)] {
            let shards = (0..of).map(|index| Shard { index, of });
            let mut seeds: Vec<u64> = Vec::new();
            for shard in shards {
                let share: Vec<u64> = (shard.first(from)..to).step_by(of as usize).collect();
                assert!(share.iter().all(|seed| seed % of == shard.index), "{shard:?} {share:?}");
                assert_eq!(shard.count((from, to)), share.len() as u64, "{shard:?} {from}..{to}");
                seeds.extend(share);
            }
            seeds.sort_unstable();
            assert_eq!(seeds, (from..to).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_greatest_seeds_are_run_once() {
        let last = (u64::MAX - 1, u64::MAX);
        let work = |seed: u64| {
            anyhow::ensure!(seed == last.0, "{seed} is not of the range");
            Ok(seed)
        };
        for jobs in [1, 2, 3] {
            assert_eq!(for_each_seed(last, jobs, work).unwrap(), [last.0]);
        }
    }

    #[test]
    fn a_sweep_runs_the_seeds_of_its_shard() {
        let shard = Shard { index: 2, of: 3 };
        let sweep = Sweep { profile: Profile::Split, seeds: (4, 12), shard, agents: Some(1), jobs: 2, limit: None };
        let mut seeds = Vec::new();
        sweep.run(|report| seeds.extend(report.map(|report| report.seed))).unwrap();
        seeds.sort_unstable();
        assert_eq!(seeds, [5, 8, 11]);
    }
}

//! The experiments of the papers that the mesh builds on, done again: plain foca and the mesh side by side, under the same network.
//!
//! SWIM (Das et al., DSN 2002), Lifeguard (Dadgar et al., 2017) and Rapid (Suresh et al., ATC 2018) each measured how fast and how
//! rightly members are declared dead. Each file below states one experiment as a plan, runs it with some seeds, and makes rows of a table.

mod detection;
mod healing;
mod joining;
pub mod ledger;
mod lifeguard;
mod rapid;
mod runs;
mod table;
mod traffic;

use crate::commands::output::{cannot_write, tell};
use crate::plan::Plan;
use crate::runner::stopwatch;
use anyhow::Context;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
pub use table::{Section, part, replace};

/// How the experiments are done.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Fewer and smaller runs.
    pub quick: bool,
    /// The mesh's size, where the paper's own is not to be used.
    pub agents: Option<usize>,
    /// Seeds of each small run; large ones take one.
    pub seeds: (u64, u64),
    /// Runs at a time.
    pub jobs: usize,
    /// Where to write the plans of all runs.
    pub plans: Option<PathBuf>,
}

/// One experiment.
pub struct Experiment {
    /// Its name on the command line.
    pub name: &'static str,
    /// Does it.
    pub run: fn(&Settings) -> anyhow::Result<Section>,
}

/// All of them.
pub const EXPERIMENTS: [Experiment; 6] = [
    Experiment { name: detection::NAME, run: detection::run },
    Experiment { name: lifeguard::NAME, run: lifeguard::run },
    Experiment { name: rapid::NAME, run: rapid::run },
    Experiment { name: joining::NAME, run: joining::run },
    Experiment { name: healing::NAME, run: healing::run },
    Experiment { name: traffic::NAME, run: traffic::run },
];

impl Settings {
    /// The seeds of a small run.
    fn seeds(&self) -> Vec<u64> {
        (self.seeds.0..self.seeds.1).collect()
    }

    /// The seeds for a mesh of this size: one when it is large.
    fn seeds_for(&self, agents: usize) -> Vec<u64> {
        let mut seeds = self.seeds();
        if agents > LARGE {
            seeds.truncate(1);
        }
        seeds
    }

    /// The sizes to run: the paper's, or the one that was asked for.
    fn sizes(&self, quick: &[usize], full: &[usize]) -> Vec<usize> {
        match self.agents {
            Some(agents) => vec![agents],
            None => if self.quick { quick } else { full }.to_vec(),
        }
    }

    /// Writes a run's plan, if that is wanted, for `quorate-sim run`.
    fn keep(&self, name: &str, plan: &Plan) -> anyhow::Result<()> {
        if let Some(folder) = &self.plans {
            let path = folder.join(format!("{name}.toml"));
            let text = crate::plan_table::text(plan)?;
            std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(&path, text))
                .with_context(|| cannot_write(&path))?;
        }
        Ok(())
    }

    /// Does all of `runs`, some at a time, and returns what came of them in their order.
    fn each<T: Sync, R: Send>(
        &self,
        runs: &[T],
        label: impl Fn(&T) -> String + Sync,
        act: impl Fn(&T) -> anyhow::Result<R> + Sync,
    ) -> anyhow::Result<Vec<R>> {
        let next = AtomicUsize::new(0);
        let done: Mutex<Vec<(usize, anyhow::Result<R>)>> = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(run) = runs.get(index) else { break };
                        let began = stopwatch();
                        let outcome = act(run);
                        tell(&format!("{}: {:.1} s", label(run), began.elapsed().as_secs_f64()));
                        if let Ok(mut done) = done.lock() {
                            done.push((index, outcome));
                        }
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_default();
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, outcome)| outcome).collect()
    }
}

/// Meshes above this size are run with one seed.
const LARGE: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn small(name: &str) -> Section {
        let settings = Settings { quick: true, agents: Some(12), seeds: (1, 2), jobs: 2, plans: None };
        let experiment = EXPERIMENTS.iter().find(|experiment| experiment.name == name).unwrap();
        (experiment.run)(&settings).unwrap()
    }

    #[test]
    fn both_kinds_of_agents_form_a_mesh_and_heal_it() {
        for name in [joining::NAME, healing::NAME] {
            let section = small(name);
            let all = section.rows.iter().find(|row| row.what.ends_with("all pairs")).unwrap();
            assert!(all.foca.median.is_some(), "{}", section.markdown());
            assert!(section.met(), "{}", section.markdown());
        }
    }

    #[test]
    fn a_dead_host_is_known_to_both_and_sooner_to_the_mesh() {
        let section = small(detection::NAME);
        let first = section.rows.iter().find(|row| row.what.contains("first `failed`")).unwrap();
        // The preset for twelve suspects for more than four seconds, after a ping and a period.
        assert!(first.foca.median.unwrap() > 5.0, "{}", section.markdown());
        assert!(first.quorate.median < first.foca.median, "{}", section.markdown());
    }
}

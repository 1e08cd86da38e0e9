//! The commands, one file each. Every one returns whether all promises were kept.

pub mod bench;
pub mod breakers;
pub mod compare;
pub mod determinism;
pub mod fuzz;
pub mod output;
pub mod papers;
pub mod plans;
pub mod replay;
pub mod run;
pub mod sabotage;
pub mod shrink;
pub mod source;
pub mod split;
mod sweep;

use clap::Subcommand;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one plan.
    Run(run::Args),
    /// Draw a plan from each of many seeds and run it.
    Fuzz(fuzz::Args),
    /// Split a mesh at random and heal it, for many seeds: nothing healthy may be called down.
    Split(split::Args),
    /// Find the smallest plan that still breaks the same promise.
    Shrink(shrink::Args),
    /// Run a plan as it is and with some keys changed, over the same seeds.
    Compare(compare::Args),
    /// Calls guarded by breakers that the mesh shares, and by the common ones that nobody shares, side by side.
    Breakers(breakers::Args),
    /// List the plans that come with the program.
    Plans(plans::Args),
    /// Do the papers' experiments again, with plain foca and with the mesh, and print the table.
    Papers(papers::Args),
    /// Break the engine on purpose, in one way after the other: each must be found, or the checks are worth nothing.
    Sabotage(sabotage::Args),
    /// Run every seed on one thread, on two, and in another process, and compare.
    Determinism(determinism::Args),
    /// Measure how fast the simulator is, beside plain foca in a bare loop.
    Bench(bench::Args),
    /// Run again what a real agent recorded, and tell what it decided.
    Replay(replay::Args),
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// When the command or the plan is wrong, or a file cannot be written.
    pub fn execute(&self) -> anyhow::Result<bool> {
        match self {
            Self::Run(args) => run::run(args),
            Self::Fuzz(args) => fuzz::fuzz(args),
            Self::Split(args) => split::split(args),
            Self::Shrink(args) => shrink::shrink(args),
            Self::Compare(args) => compare::compare(args),
            Self::Breakers(args) => breakers::breakers(args),
            Self::Plans(args) => plans::plans(args),
            Self::Papers(args) => papers::papers(args),
            Self::Sabotage(args) => sabotage::run(args),
            Self::Determinism(args) => determinism::determinism(args),
            Self::Bench(args) => bench::bench(args),
            Self::Replay(args) => replay::replay(args),
        }
    }
}

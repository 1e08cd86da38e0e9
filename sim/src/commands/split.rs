//! `split`: many meshes, each split once at random and healed.

use super::sweep::{self, SweepArgs, watch};
use crate::cli::{agent_count, range};
use crate::swarm::Profile;

/// Arguments of `split`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The seeds A to B-1.
    #[arg(long, value_name = "A..B", value_parser = range, default_value = "0..100")]
    pub seeds: (u64, u64),
    /// Agents in every run.
    #[arg(long, value_name = "N", value_parser = agent_count, default_value_t = 50)]
    pub agents: usize,
    /// How to run.
    #[command(flatten)]
    pub sweep: SweepArgs,
}

/// `split`
///
/// # Errors
/// When a drawn plan is wrong.
pub fn split(args: &Args) -> anyhow::Result<bool> {
    watch(&sweep::sweep(Profile::Split, args.seeds, Some(args.agents), &args.sweep))?.print(args.sweep.output)
}

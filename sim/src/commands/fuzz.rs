//! `fuzz`: a plan drawn from each of many seeds.

use super::output::{ensure_writable, tell, write};
use super::sweep::{self, SweepArgs, watch};
use crate::cli::{agent_count, range, shard};
use crate::plan_table;
use crate::runner::{Shard, Sweep};
use crate::swarm::{self, Profile};
use std::path::PathBuf;

/// Arguments of `fuzz`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The seeds A to B-1. Default: 0..100, or without end when --for is given.
    #[arg(long, value_name = "A..B", value_parser = range)]
    pub seeds: Option<(u64, u64)>,
    /// Of these seeds only the ones that leave the remainder I when divided by N: machines 0/N to N-1/N cover them all, each seed once.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub shard: Option<Shard>,
    /// Agents in every run; drawn from the seed when absent.
    #[arg(long, value_name = "N", value_parser = agent_count)]
    pub agents: Option<usize>,
    /// What kind of plans are drawn.
    #[arg(long, value_enum, default_value_t = Profile::Swarm)]
    pub profile: Profile,
    /// Write the plan of the first failing seed to a file, for `run`.
    #[arg(long, value_name = "FILE")]
    pub dump: Option<PathBuf>,
    /// How to run.
    #[command(flatten)]
    pub sweep: SweepArgs,
}

/// `fuzz`
///
/// # Errors
/// When a drawn plan is wrong or cannot be dumped.
pub fn fuzz(args: &Args) -> anyhow::Result<bool> {
    let endless = if args.sweep.limit.is_some() { (0, u64::MAX) } else { (0, 100) };
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    let sweep = Sweep { shard, ..sweep::sweep(args.profile, args.seeds.unwrap_or(endless), args.agents, &args.sweep) };
    ensure_writable(args.dump.as_deref())?;
    let summary = watch(&sweep)?;
    if let (Some(path), Some(failed)) = (&args.dump, summary.violated.first()) {
        let plan = swarm::plan(sweep.profile, failed.seed, sweep.agents);
        write(path, &plan_table::text(&plan)?)?;
        tell(&format!("wrote {}; run it with --seed {}", path.display(), failed.seed));
    }
    summary.print(args.sweep.output)
}

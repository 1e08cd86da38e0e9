//! The command line.

use crate::swarm::Profile;
use crate::time::Span;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Runs many agents of a health mesh in one process, under a virtual clock and network, and checks every promise of the mesh against the
/// ground truth at every step. A plan and a seed make exactly one run.
#[derive(Debug, Parser)]
#[command(name = "quorate-sim", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  quorate-sim plans                           what there is to try
  quorate-sim run killed-instance             how long until a dead instance is down everywhere?
  quorate-sim run split-3-2 --seed 7 -o json  the same, for machines
  quorate-sim run my-plan.toml --trace t.jsonl
  quorate-sim fuzz --seeds 0..1000            a thousand runs with random faults
  quorate-sim fuzz --for 60s                  as many as a minute allows
  quorate-sim split --agents 50 --seeds 0..1000
  quorate-sim determinism --seeds 0..20       the same seed twice gives the same run

Exit status: 0 when every promise was kept, 1 when one was broken, 2 when the command or the plan is wrong.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one plan.
    Run(RunArgs),
    /// Draw a plan from each of many seeds and run it.
    Fuzz(FuzzArgs),
    /// Split a mesh at random and heal it, for many seeds: nothing healthy may be called down.
    Split(SplitArgs),
    /// List the plans that come with the program.
    Plans {
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Run every seed twice and compare.
    Determinism(DeterminismArgs),
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A TOML file, or the name of a plan that comes with the program.
    pub plan: String,
    /// Decides everything that is random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How to print the outcome.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// Write what happens to a file, one JSON object per line.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

/// Arguments of `fuzz`.
#[derive(Debug, Args)]
pub struct FuzzArgs {
    /// The seeds A to B-1. Default: 0..100, or without end when --for is given.
    #[arg(long, value_name = "A..B", value_parser = range)]
    pub seeds: Option<(u64, u64)>,
    /// Agents in every run; drawn from the seed when absent.
    #[arg(long, value_name = "N")]
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

/// Arguments of `split`.
#[derive(Debug, Args)]
pub struct SplitArgs {
    /// The seeds A to B-1.
    #[arg(long, value_name = "A..B", value_parser = range, default_value = "0..100")]
    pub seeds: (u64, u64),
    /// Agents in every run.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub agents: usize,
    /// How to run.
    #[command(flatten)]
    pub sweep: SweepArgs,
}

/// How many runs are done.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// Runs at a time. Default: one per processor.
    #[arg(long, value_name = "J")]
    pub jobs: Option<usize>,
    /// Begin no further run after this time, such as 60s.
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    pub limit: Option<Span>,
    /// How to print the outcome.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

/// Arguments of `determinism`.
#[derive(Debug, Args)]
pub struct DeterminismArgs {
    /// The seeds A to B-1.
    #[arg(long, value_name = "A..B", value_parser = range, default_value = "0..20")]
    pub seeds: (u64, u64),
    /// Agents in every run; drawn from the seed when absent.
    #[arg(long, value_name = "N")]
    pub agents: Option<usize>,
    /// How to print the outcome.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is not a range: write A..B with A below B, such as 0..1000");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let (from, to) = (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
    if from < to { Ok((from, to)) } else { Err(wrong()) }
}

fn span(text: &str) -> Result<Span, String> {
    Span::try_from(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        assert_eq!(range("3..9"), Ok((3, 9)));
        for bad in ["", "3", "9..3", "3..3", "a..b"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }
}

//! The command line.

use crate::commands::Command;
use crate::plan::MAX_AGENTS;
use crate::runner::Shard;
use crate::time::Span;
use clap::{Parser, ValueEnum};

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
  quorate-sim fuzz --seeds 0..1000 --shard 0/4    the share of the first of four machines
  quorate-sim split --agents 50 --seeds 0..1000
  quorate-sim determinism --seeds 0..20       the same seed twice gives the same run
  quorate-sim sabotage                        would the checks notice a broken engine?

Exit status: 0 when every promise was kept, 1 when one was broken, 2 when the command or the plan is wrong.";

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Reads `A..B`.
///
/// # Errors
/// Says how a range is written.
pub fn range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is not a range: write A..B with A below B and both below 2^64, such as 0..1000");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let (from, to) = (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
    if from < to { Ok((from, to)) } else { Err(wrong()) }
}

/// Reads `I/N`.
///
/// # Errors
/// Says how a shard is written.
pub fn shard(text: &str) -> Result<Shard, String> {
    let wrong =
        || format!("{text:?} is not a shard: write I/N with I from 0 to N-1, such as 0/4 for the first of four");
    let (index, of) = text.split_once('/').ok_or_else(wrong)?;
    let (index, of) = (index.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
    if index < of { Ok(Shard { index, of }) } else { Err(wrong()) }
}

/// Reads how many agents a mesh has.
///
/// # Errors
/// Says how many it may have.
pub fn agent_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count: &usize| (1..=MAX_AGENTS).contains(count));
    count.ok_or_else(|| format!("use 1 to {MAX_AGENTS}"))
}

/// Most runs at a time.
const MAX_JOBS: usize = 1024;

/// Reads how many runs are done at a time.
///
/// # Errors
/// Says how many there may be.
pub fn job_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count: &usize| (1..=MAX_JOBS).contains(count));
    count.ok_or_else(|| format!("use 1 to {MAX_JOBS}; more than there are processors make nothing faster"))
}

/// Reads a time such as `60s`.
///
/// # Errors
/// Says how a time is written.
pub fn span(text: &str) -> Result<Span, String> {
    Span::read(text)
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
        assert_eq!(shard("3/4"), Ok(Shard { index: 3, of: 4 }));
        for bad in ["", "3", "4/4", "1/0", "0/0", "-1/4", "a/b", "1/2/3"] {
            let said = shard(bad).unwrap_err();
            assert!(said.contains(bad) && said.contains("I/N"), "{said}");
        }
        assert_eq!((agent_count("1"), agent_count("5000")), (Ok(1), Ok(5000)));
        for bad in ["", "0", "5001", "1000000", "-1", "many"] {
            assert_eq!(agent_count(bad), Err("use 1 to 5000".to_owned()), "{bad}");
        }
        assert_eq!((job_count("1"), job_count("1024")), (Ok(1), Ok(1024)));
        for bad in ["", "0", "1025", "all"] {
            assert!(job_count(bad).unwrap_err().contains("use 1 to 1024"), "{bad}");
        }
    }

    #[test]
    fn impossible_sizes_are_refused_before_anything_is_drawn() {
        for command in ["fuzz", "split", "determinism", "run --from-seed 1", "shrink --from-seed 1", "papers", "bench"]
        {
            let parse = |agents: &str| {
                let words = format!("quorate-sim {command} --agents {agents}");
                Cli::try_parse_from(words.split_whitespace()).map(|_| ())
            };
            parse("7").unwrap();
            for agents in ["0", "1000000"] {
                let error = parse(agents).unwrap_err().to_string();
                assert!(error.contains("use 1 to 5000"), "{command}: {error}");
            }
        }
    }
}

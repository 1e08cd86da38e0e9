//! `determinism`: the same seeds several times over, in every way that must not matter.

use super::output::{print, print_json};
use super::sweep::{self, SweepArgs};
use crate::cli::{Format, agent_count, range};
use crate::invariants::determinism::differ;
use crate::runner::for_each_seed;
use crate::swarm::Profile;
use crate::trace::Cells;
use anyhow::{Context, ensure};
use serde::Serialize;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Arguments of `determinism`.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub struct Args {
    /// The seeds A to B-1.
    #[arg(long, value_name = "A..B", value_parser = range, default_value = "0..20")]
    pub seeds: (u64, u64),
    /// Agents in every run; drawn from the seed when absent.
    #[arg(long, value_name = "N", value_parser = agent_count)]
    pub agents: Option<usize>,
    /// The program to run in the other process: another build of this one. Default: this build.
    #[arg(long, value_name = "PROGRAM")]
    pub against: Option<PathBuf>,
    /// How to print the outcome.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// Run each seed once and print all its hashes: what the other process is asked.
    #[arg(long, hide = true)]
    pub cells: bool,
}

const NOTES: &str = "\
Each seed is run three times: on one thread, again beside others on two threads, and in another process. A difference is named by its seed,
and by the second and the agent with which it begins.

Examples:
  quorate-sim determinism                                       twenty seeds
  target/release/quorate-sim determinism --against target/debug/quorate-sim

Exit status: 0 when all runs are the same, 1 when some differ, 2 when the other program cannot be run.";

/// A seed whose runs differ.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    seed: u64,
    between: &'static str,
    /// The second and the agent with which it begins.
    first_difference: String,
}

/// `determinism`
///
/// # Errors
/// When a drawn plan is wrong, or the other process fails.
pub fn determinism(args: &Args) -> anyhow::Result<bool> {
    let limits = SweepArgs { jobs: Some(1), limit: None, output: args.output };
    let sweep = sweep::sweep(Profile::Swarm, args.seeds, args.agents, &limits);
    let run = |jobs: usize| for_each_seed(args.seeds, jobs, |seed| sweep.seed(seed).map(|(_, trace)| trace.cells));
    if args.cells {
        print(&serde_json::to_string(&run(1)?)?)?;
        return Ok(true);
    }
    // A program that is not there is told of at once.
    let others = elsewhere(args)?;
    let first = run(1)?;
    let mut differing = differences(args.seeds.0, "one thread and two", &first, &run(2)?);
    differing.extend(differences(args.seeds.0, "two processes", &first, &others));
    // The list comes first, so that nobody asks for the seed after the greatest.
    let rotated = first.iter().zip(args.seeds.0..).map(|(cells, seed)| cells.hash().rotate_left((seed % 64) as u32));
    let combined = format!("{:016x}", rotated.fold(0, |combined, hash| combined ^ hash));
    match args.output {
        Format::Json => {
            let outcome = serde_json::json!({ "seeds": first.len(), "trace_hash": combined, "differing": differing });
            print_json(&outcome)?;
        }
        Format::Text if differing.is_empty() => {
            let seeds = first.len();
            print(&format!(
                "{seeds} seeds ran the same on one thread, on two, and in another process; combined trace {combined}"
            ))?;
        }
        Format::Text => {
            for Difference { seed, between, first_difference } in &differing {
                print(&format!("seed {seed} differs between {between}, beginning with {first_difference}"))?;
            }
        }
    }
    Ok(differing.is_empty())
}

/// The hashes of all seeds, as another process finds them.
fn elsewhere(args: &Args) -> anyhow::Result<Vec<Cells>> {
    let program = match &args.against {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("this program's own file cannot be found")?,
    };
    let mut command = Command::new(&program);
    command.args(["determinism", "--cells", "--seeds", &format!("{}..{}", args.seeds.0, args.seeds.1)]);
    if let Some(agents) = args.agents {
        command.args(["--agents", &agents.to_string()]);
    }
    let shown = program.display();
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("{shown} cannot be run"))?;
    ensure!(output.status.success(), "{shown} failed: {}; is it a build of the same sources?", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("{shown} printed something else than hashes"))
}

/// The seeds, counted from `from`, of which two lists of hashes say different things.
fn differences(from: u64, between: &'static str, a: &[Cells], b: &[Cells]) -> Vec<Difference> {
    let pairs = a.iter().zip(b).zip(from..);
    let differing = pairs.filter_map(|((a, b), seed)| Some((seed, differ(a, b)?)));
    let told = differing.map(|(seed, found)| Difference { seed, between, first_difference: found.detail });
    let missing = (a.len() != b.len()).then(|| Difference {
        seed: from + a.len().min(b.len()) as u64,
        between,
        first_difference: "this seed, which one of them did not run".to_owned(),
    });
    told.chain(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_by_its_seed() {
        let cells = |last: u64| -> Cells { serde_json::from_str(&format!("[[1,2],[3,{last}]]")).unwrap() };
        assert!(differences(7, "t", &[cells(4)], &[cells(4)]).is_empty());
        let found = differences(7, "t", &[cells(4), cells(4)], &[cells(4), cells(5)]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].seed, found[0].first_difference.as_str()), (8, "second 1, agent a1"));
        assert_eq!(differences(7, "t", &[cells(4)], &[])[0].seed, 7);
        assert_eq!(differences(u64::MAX - 1, "t", &[cells(4)], &[cells(5)])[0].seed, u64::MAX - 1);
    }
}

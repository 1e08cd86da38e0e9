//! `shrink`: the smallest plan that still breaks the same promise.

use super::output::{ensure_distinct, ensure_writable, print, tell, write};
use super::source::{Source, SourceArgs, quoted};
use crate::checks::Violation;
use crate::cli::span;
use crate::invariants;
use crate::plan::Plan;
use crate::plan_table;
use crate::report::violation_text;
use crate::runner::{self, Manner, stopwatch};
use crate::shrink::{Found, Search, Size};
use crate::stop::Stop;
use crate::time::{SimTime, Span};
use anyhow::bail;
use std::path::{Path, PathBuf};

/// Arguments of `shrink`.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub struct Args {
    /// The plan.
    #[command(flatten)]
    pub source: SourceArgs,
    /// The promise to break; the first that the plan breaks when absent.
    #[arg(long, value_name = "NAME")]
    pub invariant: Option<String>,
    /// Where to write the smallest plan. Default: NAME.min.toml in this folder.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Run at most so many smaller plans.
    #[arg(long, value_name = "COUNT", default_value_t = 2000)]
    pub tries: usize,
    /// Begin no further run after this time. The result is the same on every machine unless this ends the search.
    #[arg(long = "for", value_name = "TIME", value_parser = span, default_value = "60s")]
    pub limit: Span,
}

const NOTES: &str = "\
Examples:
  quorate-sim shrink my-plan.toml --seed 7        a plan that fails with seed 7
  quorate-sim shrink --from-seed 421              what fuzz found at seed 421
  quorate-sim shrink --from-seed 421 --agents 20  the same, when fuzz was given --agents 20

Exit status: 1, for the smallest plan still breaks a promise; 0 when the plan breaks none, so that there is nothing to shrink.";

/// `shrink`
///
/// # Errors
/// When the plan cannot be read, there is no such promise, or the smallest plan cannot be written.
pub fn shrink(args: &Args) -> anyhow::Result<bool> {
    let known = invariants::names();
    if let Some(unknown) = args.invariant.as_ref().filter(|name| known.iter().all(|known| *known != name.as_str())) {
        bail!("there is no promise {unknown:?}; there are {}", known.join(", "));
    }
    let Source { name, seed, plan, .. } = args.source.load()?;
    let Some(first) = first_violation(&plan, seed, args.invariant.as_deref())? else {
        let what = args.invariant.as_ref().map_or("every promise".to_owned(), |invariant| format!("{invariant:?}"));
        print(&format!("{name} with seed {seed} keeps {what}: there is nothing to shrink"))?;
        return Ok(true);
    };
    tell(&format!("{name} with seed {seed} breaks:\n{}", violation_text(&first).trim_end()));
    let path = args.output.clone().unwrap_or_else(|| default_path(&name));
    ensure_distinct(&[("PLAN", args.source.file()), ("--output", Some(&path))])?;
    ensure_writable(Some(&path))?;
    let found = search(args, &plan, seed, &first)?;
    let reproduce = format!("quorate-sim run {} --seed {seed}", quoted(&path.display().to_string()));
    let summary = format!("The least of {name} that breaks {} with seed {seed}.", first.invariant);
    let smallest = Plan { summary, ..found.plan };
    let head = format!("# {}\n\n", reproduce.replace('\n', "\n# "));
    write(&path, &format!("{head}{}", plan_table::text(&smallest)?))?;
    print(&outcome(&plan, &smallest, found.runs))?;
    if found.exhausted {
        print("a limit ended the search: --tries or --for may find a smaller one still")?;
    }
    if let Some(last) = first_violation(&smallest, seed, Some(first.invariant))? {
        print(violation_text(&last).trim_end())?;
    }
    print(&format!("wrote {}; see it again: {reproduce}", path.display()))?;
    Ok(false)
}

/// The first break of `invariant`, or of any promise.
fn first_violation(plan: &Plan, seed: u64, invariant: Option<&str>) -> anyhow::Result<Option<Violation>> {
    let stop = invariant.map_or(Stop::AtFirst, |name| Stop::AtFirstOf(name.to_owned(), SimTime::NEVER));
    let (report, _) = runner::run("shrink", plan, seed, Manner { stop, ..Manner::default() })?;
    Ok(report.violations.into_iter().find(|violation| invariant.is_none_or(|name| violation.invariant == name)))
}

fn search(args: &Args, plan: &Plan, seed: u64, first: &Violation) -> anyhow::Result<Found> {
    let began = stopwatch();
    let mut trial = |plan: &Plan, by: SimTime| {
        let stop = Stop::AtFirstOf(first.invariant.to_owned(), by);
        let (report, _) = runner::run("shrink", plan, seed, Manner { stop, ..Manner::default() }).ok()?;
        let again = report.violations.iter().find(|violation| violation.invariant == first.invariant)?;
        Some(moment(again))
    };
    let mut more = |runs: usize| runs < args.tries && began.elapsed() < args.limit.0;
    let mut progress = |plan: &Plan, runs: usize| {
        let Size { faults, agents, instances } = Size::of(plan);
        let elapsed = began.elapsed().as_secs_f64();
        tell(&format!("{elapsed:5.1} s, {runs:4} runs: {faults} faults, {agents} agents, {instances} instances"));
    };
    Search::new(plan, moment(first), &mut trial, &mut more, &mut progress)?.run()
}

fn moment(violation: &Violation) -> SimTime {
    SimTime((violation.at_s * 1e9) as u64)
}

fn default_path(name: &str) -> PathBuf {
    let stem = Path::new(name).file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned());
    PathBuf::from(format!("{stem}.min.toml"))
}

fn outcome(before: &Plan, after: &Plan, runs: usize) -> String {
    let (b, a) = (Size::of(before), Size::of(after));
    format!(
        "{runs} runs: from {} faults, {} agents, {} instances to {}, {}, {}",
        b.faults, b.agents, b.instances, a.faults, a.agents, a.instances
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::commands::Command;
    use clap::Parser;

    #[test]
    fn an_unknown_promise_is_refused() {
        let words = ["quorate-sim", "shrink", "steady", "--invariant", "no blam"];
        let Command::Shrink(args) = Cli::parse_from(words).command else { panic!("not shrink") };
        let error = shrink(&args).unwrap_err().to_string();
        assert!(error.contains("\"no blam\"") && error.contains("no blame, "), "{error}");
    }
}

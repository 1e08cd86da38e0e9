//! `breakers`: the same calls guarded by breakers that the mesh shares, and by others that nobody shares.

use super::output::{ensure_writable, print, print_json, write};
use crate::calls::{Callers, Counted};
use crate::cli::{Format, agent_count, job_count};
use crate::library;
use crate::node;
use crate::plan::{CallMode, MAX_AGENTS, Plan};
use crate::report::rounded;
use crate::runner::{default_jobs, for_each_seed};
use crate::scenario::Scenario;
use crate::time::Span;
use crate::trace::Trace;
use crate::trace::recording::Recording;
use crate::world::World;
use anyhow::{Context, bail};
use quorate_breaker::Settings;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments of `breakers`.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub struct Args {
    /// How many agents, with callers on each.
    #[arg(long, value_parser = caller_count, default_value_t = 100)]
    pub callers: usize,
    /// The seed.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Only plans whose name contains this.
    #[arg(long, value_name = "WORDS")]
    pub only: Option<String>,
    /// Runs at a time. Default: one per processor.
    #[arg(long, value_name = "J", value_parser = job_count)]
    pub jobs: Option<usize>,
    /// Also write the table to this file, between the marks that it holds for it.
    #[arg(long, value_name = "FILE")]
    pub into: Option<PathBuf>,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

const NOTES: &str = "\
doomed           calls let through that failed
false open       seconds of calling that were rejected although the call would have been served, over all callers
recovery         from the end of the trouble to the last rejected call
trials, at once  calls let through as trials, and most of them within 100 ms

Exit status: 0; 2 when a plan is wrong.";

/// The zones of the meshes that are run: there must be an agent in each.
const ZONES: usize = 4;

fn caller_count(text: &str) -> Result<usize, String> {
    let count = agent_count(text).ok().filter(|count| *count >= ZONES);
    count.ok_or_else(|| format!("use at least {ZONES} and at most {MAX_AGENTS}"))
}

/// Where the table stands in a file.
const BEGIN: &str = "<!-- quorate-sim breakers: begin -->\n";
const END: &str = "<!-- quorate-sim breakers: end -->\n";

/// Breakers of their own, as they are common: name, settings.
fn guards() -> Vec<(&'static str, Settings)> {
    // A fixed wait, and all traffic at once: only ours draw waits and ramp.
    let own = |settings: Settings| Settings { max_recovery: settings.recovery, ramp: Duration::ZERO, ..settings };
    let rate = Settings {
        minimum_volume: 5,
        failure_threshold: None,
        max_trials: 8,
        success_threshold: 8,
        ..Settings::default()
    };
    let gobreaker = Settings {
        failure_rate: None,
        failure_threshold: Some(6),
        recovery: Duration::from_secs(60),
        max_recovery: Duration::from_secs(60),
        max_trials: 1,
        success_threshold: 1,
        ..Settings::default()
    };
    vec![
        ("by rate (50 % of 5, 30 s, 8 trials)", own(rate)),
        ("like opossum (50 % of 5, 30 s, 1 trial)", own(Settings::opossum())),
        ("consecutive (5, 60 s, 3 trials)", own(Settings::orchestry())),
        ("like gobreaker (6 in a row, 60 s, 1 trial)", own(gobreaker)),
    ]
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
struct Line {
    plan: String,
    guard: &'static str,
    doomed: u64,
    false_open_s: f64,
    recovery_s: f64,
    trials: u64,
    trials_peak: usize,
}

/// `breakers`
///
/// # Errors
/// When a plan is wrong, none is wanted, or the file cannot be written.
pub fn breakers(args: &Args) -> anyhow::Result<bool> {
    let plans = chosen(plans(args.callers)?, args.only.as_deref())?;
    ensure_writable(args.into.as_deref())?;
    let document = args.into.as_deref().map(around).transpose()?;
    let lines = for_each_seed((0, plans.len() as u64), args.jobs.unwrap_or_else(default_jobs), |case| {
        let (name, plan) = &plans[usize::try_from(case)?];
        run(name, plan, args.seed)
    })?;
    let lines: Vec<Line> = lines.into_iter().flatten().collect();
    if args.output == Format::Json {
        print_json(&lines)?;
    } else {
        print(table(&lines).trim_end())?;
    }
    if let (Some(path), Some((before, after))) = (&args.into, document) {
        write(path, &format!("{before}{BEGIN}{}{END}{after}", table(&lines)))?;
    }
    Ok(true)
}

/// What stands before the table in a file, and after it.
fn around(path: &Path) -> anyhow::Result<(String, String)> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let marks = || format!("{} has no place for the table: it needs the lines {BEGIN}{END}", path.display());
    let (before, rest) = text.split_once(BEGIN).with_context(marks)?;
    let (_, after) = rest.split_once(END).with_context(marks)?;
    Ok((before.to_owned(), after.to_owned()))
}

/// The plans whose names contain `only`.
fn chosen(plans: Vec<(String, Plan)>, only: Option<&str>) -> anyhow::Result<Vec<(String, Plan)>> {
    let Some(only) = only else { return Ok(plans) };
    let (wanted, others): (Vec<_>, Vec<_>) = plans.into_iter().partition(|(name, _)| name.contains(only));
    if wanted.is_empty() {
        let names: Vec<String> = others.into_iter().map(|(name, _)| name).collect();
        bail!("no plan's name contains {only:?}; there are: {}", names.join("; "));
    }
    Ok(wanted)
}

/// What is compared: each with as many callers as wished, of which each is seldom heard.
fn plans(callers: usize) -> anyhow::Result<Vec<(String, Plan)>> {
    let (_, base) = library::load("calls-recovery-of-many")?;
    let plan = |every: Span, change: &dyn Fn(&mut Plan)| -> anyhow::Result<Plan> {
        let mut plan = base.clone();
        plan.mesh.agents = callers;
        plan.duration = Span::secs(150);
        if let Some(calls) = plan.calls.first_mut() {
            (calls.every, calls.to) = (every, Span::secs(145));
            for trouble in &mut calls.troubles {
                (trouble.from, trouble.to) = (Span::secs(20), Span::secs(70));
            }
        }
        change(&mut plan);
        plan.check()?;
        Ok(plan)
    };
    let trouble = |mode: CallMode, per_mille: u32| {
        move |plan: &mut Plan| {
            for trouble in plan.calls.iter_mut().flat_map(|calls| &mut calls.troubles) {
                (trouble.mode, trouble.per_mille) = (mode, per_mille);
            }
        }
    };
    let (often, seldom) = (Span::secs(1), Span::secs(10));
    let few = callers.div_ceil(100);
    Ok(vec![
        ("dead, 1 call/s".to_owned(), plan(often, &trouble(CallMode::Refused, 1000))?),
        ("dead, 0.1 calls/s".to_owned(), plan(seldom, &trouble(CallMode::Refused, 1000))?),
        ("hangs, 1 call/s".to_owned(), plan(often, &trouble(CallMode::Hung, 1000))?),
        ("30 % errors, 1 call/s".to_owned(), plan(often, &trouble(CallMode::Erroring, 300))?),
        (
            "broken for one in 100 callers, 1 call/s".to_owned(),
            plan(often, &|plan| {
                for trouble in plan.calls.iter_mut().flat_map(|calls| &mut calls.troubles) {
                    trouble.seen_by = Some((0..few.min(2)).collect());
                }
            })?,
        ),
        (
            "flaps every 5 s, 1 call/s".to_owned(),
            plan(often, &|plan| {
                for trouble in plan.calls.iter_mut().flat_map(|calls| &mut calls.troubles) {
                    trouble.flap_period = Some(Span::secs(5));
                }
            })?,
        ),
    ])
}

/// The same calls, guarded in each way.
fn run(name: &str, plan: &Plan, seed: u64) -> anyhow::Result<Vec<Line>> {
    let scenario = Scenario::new(name, plan, seed)?;
    let trace = Trace::new(&scenario, Recording::default());
    let mut world = World::new(scenario, Box::new(node::engine), trace);
    world.watched = false;
    let (names, own): (Vec<_>, Vec<_>) = guards().into_iter().unzip();
    world.callers = Callers::beside(&own);
    world.run();
    let (every, over) = plan.calls.first().map_or((0.0, Span::default()), |calls| {
        (calls.every.0.as_secs_f64(), calls.troubles.first().map_or(Span::default(), |trouble| trouble.to))
    });
    let names = std::iter::once("quorate, shared by the mesh").chain(names);
    let counted = world.callers.tallies().map(|tally| tally.by_calls.get(&0).cloned().unwrap_or_default());
    Ok(names.zip(counted).map(|(guard, counted)| line(name, guard, &counted, every, over)).collect())
}

fn line(plan: &str, guard: &'static str, counted: &Counted, every_s: f64, over: Span) -> Line {
    let after = counted.last_rejected.map_or(Duration::ZERO, |at| at.since(over.moment()));
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52 calls")]
    let rejected = counted.rejected_well as f64;
    Line {
        plan: plan.to_owned(),
        guard,
        doomed: counted.doomed,
        false_open_s: rounded(rejected * every_s),
        recovery_s: rounded(after.as_secs_f64()),
        trials: counted.trials,
        trials_peak: counted.trials_peak,
    }
}

fn table(lines: &[Line]) -> String {
    let mut text = String::new();
    let mut last = "";
    for line in lines {
        if line.plan != last {
            let begin = if last.is_empty() { "" } else { "\n" };
            let _ = write!(
                text,
                "{begin}| {} | doomed calls | false open (s) | recovery (s) | trials | at once |\n|---|---|---|---|---|---|\n",
                line.plan
            );
            last = &line.plan;
        }
        let (doomed, false_open, recovery) = (line.doomed, line.false_open_s, line.recovery_s);
        let _ = writeln!(
            text,
            "| {} | {doomed} | {false_open:.0} | {recovery:.1} | {} | {} |",
            line.guard, line.trials, line.trials_peak
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_chosen_by_their_names_and_have_a_caller_in_each_zone() {
        assert_eq!(chosen(plans(ZONES).unwrap(), Some("dead")).unwrap().len(), 2);
        let error = chosen(plans(ZONES).unwrap(), Some("nosuch")).unwrap_err().to_string();
        assert!(error.contains("dead, 1 call/s; dead, 0.1 calls/s"), "{error}");
        assert!(plans(ZONES).unwrap().iter().all(|(_, plan)| plan.mesh.zones == ZONES));
        assert_eq!(caller_count("4"), Ok(4));
        assert!(caller_count("3").unwrap_err().contains("at least 4"));
    }

    #[test]
    fn shared_breakers_spend_fewer_calls_and_trials() {
        let (name, plan) = &plans(40).unwrap()[0];
        let lines = run(name, plan, 1).unwrap();
        let [ours, rest @ ..] = lines.as_slice() else { panic!("no lines") };
        for other in rest {
            assert!(ours.doomed * 2 < other.doomed, "{ours:?} against {other:?}");
            assert!(ours.trials_peak <= 6, "{ours:?}");
        }
        assert!(table(&lines).lines().count() == lines.len() + 2);
    }
}

//! `compare`: a plan as it is, and with some keys changed, over the same seeds.

use super::output::{print, print_json};
use super::source::quoted;
use crate::checks::Violation;
use crate::cli::{Format, job_count, range};
use crate::library;
use crate::plan::Plan;
use crate::plan_table;
use crate::report::{Report, counted, rounded, violation_text};
use crate::runner::{self, Manner, default_jobs, for_each_seed};
use serde::Serialize;
use std::fmt::Write as _;

/// Arguments of `compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub struct Args {
    /// A TOML file, or the name of a plan that comes with the program.
    pub plan: String,
    /// Change a key of the plan: network.loss_per_mille=50, timing.settle=3s, services.0.period=2s. May be given several times.
    #[arg(long, value_name = "KEY=VALUE", required = true)]
    pub with: Vec<String>,
    /// The seeds A to B-1.
    #[arg(long, value_name = "A..B", value_parser = range, default_value = "0..20")]
    pub seeds: (u64, u64),
    /// Runs at a time. Default: one per processor.
    #[arg(long, value_name = "J", value_parser = job_count)]
    pub jobs: Option<usize>,
    /// How to print the outcome.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

const NOTES: &str = "\
Examples:
  quorate-sim compare killed-instance --with network.loss_per_mille=50
  quorate-sim compare heal-50 --with timing.sync_interval=2s --with timing.gossip_fanout=5 --seeds 0..100

Both sides of a pair have the same seed: whatever the change does not touch is drawn the same. So the difference within each pair says more
than the difference between the averages. A difference that is not more than twice its error may be chance. Of runs that broke a promise the
first twenty are shown, each with the line that shows it again.

Exit status: 0 when every promise was kept on both sides, 1 when one was broken, 2 when the command or the plan is wrong.";

/// A figure of a run, by its name. None is left out.
type Figure = (&'static str, fn(&Report) -> Option<f64>);

const FIGURES: &[Figure] = &[
    ("detection p50 (s)", |report| report.detection_s.map(|spread| spread.p50)),
    ("detection max (s)", |report| report.detection_s.map(|spread| spread.max)),
    ("recovery p50 (s)", |report| report.recovery_s.map(|spread| spread.p50)),
    ("recovery max (s)", |report| report.recovery_s.map(|spread| spread.max)),
    ("convergence (s)", |report| report.convergence_s),
    ("false down", |report| Some(report.false_down as f64)),
    ("violations", |report| Some(report.violations_found as f64)),
    ("bytes per agent per s", |report| Some(report.bytes_per_agent_per_s)),
    ("packets", |report| Some(report.packets as f64)),
    ("events", |report| Some(report.events as f64)),
];

/// One figure over all pairs of runs.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    figure: &'static str,
    /// Pairs in which both runs have it.
    pairs: usize,
    /// The mean without the change.
    before: f64,
    /// The mean with it.
    after: f64,
    /// The mean difference within a pair.
    difference: f64,
    /// The standard error of that mean.
    error: f64,
    /// Pairs in which the change lowers it.
    lower: usize,
    /// Pairs in which the change raises it.
    higher: usize,
}

impl Row {
    /// Over `pairs` of values; none when there are none.
    fn of(figure: &'static str, pairs: &[(f64, f64)]) -> Option<Self> {
        let count = pairs.len() as f64;
        let mean = |value: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(value).sum::<f64>() / count;
        let difference = mean(&|(before, after)| after - before);
        let variance = mean(&|(before, after)| (after - before - difference).powi(2)) * count / (count - 1.0).max(1.0);
        (!pairs.is_empty()).then(|| Self {
            figure,
            pairs: pairs.len(),
            before: rounded(mean(&|(before, _)| *before)),
            after: rounded(mean(&|(_, after)| *after)),
            difference: rounded(difference),
            error: rounded((variance / count).sqrt()),
            lower: pairs.iter().filter(|(before, after)| after < before).count(),
            higher: pairs.iter().filter(|(before, after)| after > before).count(),
        })
    }
}

/// `compare`
///
/// # Errors
/// When the plan cannot be read, or a key not changed.
pub fn compare(args: &Args) -> anyhow::Result<bool> {
    let (name, before) = library::load(&args.plan)?;
    let after = plan_table::changed(before.clone(), &args.with)?;
    let jobs = args.jobs.unwrap_or_else(default_jobs);
    let pairs = for_each_seed(args.seeds, jobs, |seed| {
        Ok((run(&name, &before, seed, &[])?, run(&name, &after, seed, &args.with)?))
    })?;
    let rows: Vec<Row> = FIGURES.iter().filter_map(|(figure, value)| row(figure, *value, &pairs)).collect();
    let failures = failures(&pairs);
    match args.output {
        Format::Json => {
            let shown: Vec<&Failure<'_>> = failures.iter().take(SHOWN).collect();
            let outcome = serde_json::json!({
                "plan": name,
                "with": args.with,
                "seeds": pairs.len(),
                "figures": rows,
                "runs_violated": failures.len(),
                "violated": shown,
            });
            print_json(&outcome)?;
        }
        Format::Text => {
            print(&format!("{name}, as it is and with {}, {} seeds each\n", args.with.join(", "), pairs.len()))?;
            print(table(&rows).trim_end())?;
            if !failures.is_empty() {
                print(told(&failures).trim_end())?;
            }
        }
    }
    Ok(failures.is_empty())
}

/// Runs one side of a pair; `with`: what is changed there.
fn run(name: &str, plan: &Plan, seed: u64, with: &[String]) -> anyhow::Result<Report> {
    let with: Vec<String> = with.iter().map(|change| format!(" --with {}", quoted(change))).collect();
    let reproduce = format!("quorate-sim run {} --seed {seed}{}", quoted(name), with.concat());
    runner::run(name, plan, seed, Manner { reproduce, ..Manner::default() }).map(|(report, _)| report)
}

fn row(figure: &'static str, value: fn(&Report) -> Option<f64>, pairs: &[(Report, Report)]) -> Option<Row> {
    let values: Vec<(f64, f64)> =
        pairs.iter().filter_map(|(before, after)| Some((value(before)?, value(after)?))).collect();
    Row::of(figure, &values)
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<22} {:>12} {:>12} {:>12} {:>9} {:>6} {:>7} {:>6}\n",
        "", "before", "after", "difference", "+- error", "lower", "higher", "pairs"
    );
    for row in rows {
        let Row { figure, pairs, before, after, difference, error, lower, higher } = row;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{figure:<22} {before:>12.3} {after:>12.3} {difference:>+12.3} {error:>9.3} {lower:>6} {higher:>7} {pairs:>6}"
        );
    }
    text
}

/// Failing runs that are shown.
const SHOWN: usize = 20;
/// Broken promises shown of each of them, for people.
const SHOWN_OF_EACH: usize = 3;

/// A run that broke a promise.
#[derive(Debug, Serialize)]
struct Failure<'a> {
    seed: u64,
    /// `before` or `after`: without the change or with it.
    side: &'static str,
    /// What was broken first.
    violation: &'a Violation,
    /// How to see it again.
    reproduce: &'a str,
    #[serde(skip)]
    report: &'a Report,
}

/// The runs that broke a promise, by seed.
fn failures(pairs: &[(Report, Report)]) -> Vec<Failure<'_>> {
    let sides = pairs.iter().flat_map(|(before, after)| [("before", before), ("after", after)]);
    sides
        .filter_map(|(side, report)| {
            let violation = report.violations.first()?;
            Some(Failure { seed: report.seed, side, violation, reproduce: &report.reproduce, report })
        })
        .collect()
}

/// What they broke, for people.
fn told(failures: &[Failure<'_>]) -> String {
    let shown = failures.len().min(SHOWN);
    let mut text = format!("\n{}:\n", counted(failures.len() as u64, shown, "runs broke a promise"));
    for Failure { seed, side, reproduce, report, .. } in failures.iter().take(SHOWN) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "seed {seed}, {side}:");
        report.violations.iter().take(SHOWN_OF_EACH).for_each(|violation| text.push_str(&violation_text(violation)));
        let _ = writeln!(text, "  see it again: {reproduce}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_about_the_differences_within_pairs() {
        let row = Row::of("t", &[(1.0, 2.0), (3.0, 5.0), (5.0, 5.0)]).unwrap();
        assert_eq!((row.before, row.after, row.difference), (3.0, 4.0, 1.0));
        // Variance of the differences 1, 2, 0 is 1; the mean of three has the error 1 / sqrt(3).
        assert_eq!((row.error, row.lower, row.higher, row.pairs), (0.577, 0, 2, 3));
        assert_eq!(Row::of("t", &[]), None);
        assert_eq!(Row::of("t", &[(2.0, 1.0)]).unwrap().error, 0.0);
    }

    #[test]
    fn a_higher_threshold_delays_detection_by_its_periods() {
        let (name, before) = library::load("killed-instance").unwrap();
        let after = plan_table::with(&before, "services.0.failure_threshold=5").unwrap();
        let run = |plan: &Plan| runner::run(&name, plan, 1, Manner::default()).unwrap().0;
        let pairs = [(run(&before), run(&after))];
        let row = row(FIGURES[0].0, FIGURES[0].1, &pairs).unwrap();
        assert!((1.5..2.5).contains(&row.difference), "{row:?}");
        assert!(table(&[row]).contains("detection p50 (s)"));
    }

    #[test]
    fn a_run_that_broke_a_promise_is_shown_with_the_line_that_shows_it_again() {
        let (name, before) = library::load("split-3-2").unwrap();
        let with = ["bounds.quorate=100ms".to_owned(), "summary=two words".to_owned()];
        let after = with.iter().fold(before.clone(), |plan, change| plan_table::with(&plan, change).unwrap());
        let pairs = [(run(&name, &before, 0, &[]).unwrap(), run(&name, &after, 0, &with).unwrap())];
        assert_eq!(pairs[0].0.reproduce, "quorate-sim run split-3-2 --seed 0");
        let line = "quorate-sim run split-3-2 --seed 0 --with bounds.quorate=100ms --with 'summary=two words'";
        let failures = failures(&pairs);
        let sides: Vec<(u64, &str, &str)> = failures.iter().map(|f| (f.seed, f.side, f.reproduce)).collect();
        assert_eq!(sides, [(0, "after", line)]);
        let text = told(&failures);
        let first = violation_text(&pairs[0].1.violations[0]);
        assert!(text.contains("seed 0, after:\n") && text.contains(&first) && text.contains(line), "{text}");
        let json = serde_json::to_value(&failures).unwrap();
        assert_eq!(json[0]["violation"]["invariant"], "minority silence");
        assert_eq!(json[0]["violation"]["agent"], "a3");
        assert_eq!(json[0]["reproduce"], line);
    }
}

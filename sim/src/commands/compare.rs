//! `compare`: a plan as it is, and with some keys changed, over the same seeds.

use super::output::{print, print_json};
use crate::cli::{Format, job_count, range};
use crate::library;
use crate::plan::Plan;
use crate::plan_table;
use crate::report::{Report, rounded};
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
than the difference between the averages. A difference that is not more than twice its error may be chance.

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
    let after = args.with.iter().try_fold(before.clone(), |plan, change| plan_table::with(&plan, change))?;
    let run = |plan: &Plan, seed: u64| runner::run(&name, plan, seed, Manner::default()).map(|(report, _)| report);
    let jobs = args.jobs.unwrap_or_else(default_jobs);
    let pairs = for_each_seed(args.seeds, jobs, |seed| Ok((run(&before, seed)?, run(&after, seed)?)))?;
    let rows: Vec<Row> = FIGURES.iter().filter_map(|(figure, value)| row(figure, *value, &pairs)).collect();
    let clean = pairs.iter().all(|(before, after)| before.clean() && after.clean());
    match args.output {
        Format::Json => {
            let outcome = serde_json::json!({ "plan": name, "with": args.with, "seeds": pairs.len(), "figures": rows });
            print_json(&outcome)?;
        }
        Format::Text => {
            print(&format!("{name}, as it is and with {}, {} seeds each\n", args.with.join(", "), pairs.len()))?;
            print(table(&rows).trim_end())?;
            if !clean {
                print(&format!("\nbroken promises: {}", broken(&pairs)))?;
            }
        }
    }
    Ok(clean)
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

/// Which promises were broken with which seeds.
fn broken(pairs: &[(Report, Report)]) -> String {
    let side = |report: &Report, side: &str| {
        report.violations.first().map(|violation| format!("{} (seed {}, {side})", violation.invariant, report.seed))
    };
    let all = pairs.iter().flat_map(|(before, after)| [side(before, "before"), side(after, "after")]);
    all.flatten().collect::<Vec<_>>().join(", ")
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
}

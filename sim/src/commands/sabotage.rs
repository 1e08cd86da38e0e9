//! `sabotage`: is every deliberate defect of the engine found?

use super::output::{print, print_json, tell};
use crate::cli::{Format, job_count};
use crate::report::{rounded, violation_text};
use crate::runner::{default_jobs, stopwatch};
use crate::sabotage::{self, CASES, Case, Ending, Outcome};
use anyhow::bail;
use serde::Serialize;

/// Arguments of `sabotage`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this defect; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Defects at a time. Default: one per processor.
    #[arg(long, value_name = "J", value_parser = job_count)]
    pub jobs: Option<usize>,
    /// How to print the outcome.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Debug, Serialize)]
struct Summary {
    defects: usize,
    caught: usize,
    wall_s: f64,
    cases: Vec<Outcome>,
}

/// `sabotage`
///
/// # Errors
/// When a name is unknown, or a plan is wrong.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let cases = chosen(&args.only)?;
    let jobs = args.jobs.unwrap_or_else(default_jobs);
    let began = stopwatch();
    let outcomes = sabotage::run(&cases, jobs, |outcome| tell(&format!("{}: {}", outcome.defect, said(outcome))))?;
    let caught = outcomes.iter().filter(|outcome| outcome.ending == Ending::Caught).count();
    let summary =
        Summary { defects: cases.len(), caught, wall_s: rounded(began.elapsed().as_secs_f64()), cases: outcomes };
    match args.output {
        Format::Json => print_json(&summary)?,
        Format::Text => print(summary.text().trim_end())?,
    }
    Ok(summary.caught == summary.defects)
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<Case>> {
    if let Some(unknown) = names.iter().find(|name| CASES.iter().all(|case| case.defect.name() != *name)) {
        let known: Vec<_> = CASES.iter().map(|case| case.defect.name()).collect();
        bail!("there is no defect {unknown:?}; there are {}", known.join(", "));
    }
    let wanted = |case: &&Case| names.is_empty() || names.iter().any(|name| name == case.defect.name());
    Ok(CASES.iter().filter(wanted).copied().collect())
}

fn said(outcome: &Outcome) -> String {
    match outcome.ending {
        Ending::Caught => format!("caught by {}", outcome.caught_by.unwrap_or_default()),
        Ending::Mistaken => format!("caught by {}, which is not there for it", outcome.caught_by.unwrap_or_default()),
        Ending::Survived => "SURVIVED".to_owned(),
        Ending::ControlBroken => "the engine without it breaks a promise too".to_owned(),
    }
}

impl Summary {
    fn text(&self) -> String {
        let mut lines = vec![format!(
            "{:<21} {:<19} {:<15} {:<18} {:>9} {:>11} {:>8}",
            "defect", "breaks promise", "plan", "caught by", "seeds", "simulated", "wall"
        )];
        for outcome in &self.cases {
            lines.push(format!(
                "{:<21} {:<19} {:<15} {:<18} {:>9} {:>9.1} s {:>6.2} s",
                outcome.defect,
                outcome.promise,
                outcome.plan,
                outcome.caught_by.unwrap_or("NOTHING"),
                format!("{} of {}", outcome.seeds_needed, outcome.seeds_allowed),
                outcome.simulated_s,
                outcome.wall_s
            ));
        }
        lines.push(format!("{} of {} defects caught in {:.1} s", self.caught, self.defects, self.wall_s));
        for outcome in self.cases.iter().filter(|outcome| outcome.ending != Ending::Caught) {
            lines.push(format!("\n{}: {}; expected {}", outcome.defect, said(outcome), outcome.expected.join(" or ")));
            let found = outcome.control.as_ref().or(outcome.violation.as_ref());
            lines.extend(found.map(|violation| violation_text(violation).trim_end().to_owned()));
            lines.push(format!("  see it again: {}", outcome.reproduce));
        }
        lines.join("\n")
    }
}

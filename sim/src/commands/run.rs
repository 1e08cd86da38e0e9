//! `run`: one plan with one seed.

use super::output::{create, ensure_distinct, ensure_writable, print, print_json, write};
use super::source::{Source, SourceArgs};
use crate::cli::Format;
use crate::page;
use crate::runner::{self, Manner};
use crate::trace::recording::Recording;
use std::path::PathBuf;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The plan.
    #[command(flatten)]
    pub source: SourceArgs,
    /// How to print the outcome.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// Write what was the case and what was said to a file, one JSON object per line; docs/trace-format.md describes them.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Write every packet that is sent to the trace, too.
    #[arg(long, requires = "trace")]
    pub trace_sends: bool,
    /// Write a page to look at: agents, partitions, votes, verdicts, certificates, traffic. One file that loads nothing.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
}

/// `run`
///
/// # Errors
/// When the plan cannot be read or the trace not written.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let Source { name, seed, plan, words } = args.source.load()?;
    let named = args.source.file();
    ensure_distinct(&[("PLAN", named), ("--trace", args.trace.as_deref()), ("--report", args.report.as_deref())])?;
    ensure_writable(args.report.as_deref())?;
    let mut recording = Recording::default();
    (recording.keep, recording.sends) = (args.report.is_some(), args.trace_sends);
    if let Some(path) = &args.trace {
        recording.writer = Some(Box::new(create(path)?));
    }
    let reproduce = format!("quorate-sim run {words}");
    let (report, trace) = runner::run(&name, &plan, seed, Manner { recording, reproduce, ..Manner::default() })?;
    if let Some(path) = &args.report {
        write(path, &page::page(&plan, &report, &trace.recording.kept)?)?;
    }
    match args.output {
        Format::Json => print_json(&report)?,
        Format::Text => print(report.text().trim_end())?,
    }
    Ok(report.clean())
}

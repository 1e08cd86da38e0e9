//! `papers`: the experiments of the papers, plain foca and the mesh side by side.

use super::output::{ensure_writable, print, print_json, write};
use crate::cli::{Format, agent_count, job_count, range};
use crate::papers::{EXPERIMENTS, Experiment, Settings, part, replace};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};

/// Most seeds of one run.
const MAX_SEEDS: u64 = 10_000;

/// Arguments of `papers`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this experiment; can be given again. All of them otherwise.
    #[arg(long, value_name = "NAME", value_parser = EXPERIMENTS.map(|experiment| experiment.name))]
    pub only: Vec<String>,
    /// Fewer and smaller runs: a minute or two instead of hours.
    #[arg(long)]
    pub quick: bool,
    /// The size of the mesh, in place of the papers' own sizes.
    #[arg(long, value_name = "N", value_parser = agent_count)]
    pub agents: Option<usize>,
    /// The seeds A to B-1 of each small run; a run of more than 200 agents takes the first.
    #[arg(long, value_name = "A..B", value_parser = range, default_value = "1..4")]
    pub seeds: (u64, u64),
    /// Runs at a time.
    #[arg(long, value_name = "J", value_parser = job_count, default_value_t = 1)]
    pub jobs: usize,
    /// How to print the tables.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// Put each table into this document as well, between the two marks with its experiment's name.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Write the plan of every run into this folder, for `run`.
    #[arg(long, value_name = "FOLDER")]
    pub plans: Option<PathBuf>,
}

/// `papers`
///
/// # Errors
/// When a plan is wrong or a file cannot be read or written.
pub fn papers(args: &Args) -> anyhow::Result<bool> {
    let settings = Settings {
        quick: args.quick,
        agents: args.agents,
        seeds: args.seeds,
        jobs: args.jobs,
        plans: args.plans.clone(),
    };
    if args.seeds.1 - args.seeds.0 > MAX_SEEDS {
        bail!("--seeds: at most {MAX_SEEDS} at a time, as all outcomes are kept");
    }
    let wanted =
        |experiment: &&Experiment| args.only.is_empty() || args.only.iter().any(|name| name == experiment.name);
    ensure_writable(args.write.as_deref())?;
    if let Some(path) = &args.write {
        let document = read(path)?;
        for experiment in EXPERIMENTS.iter().filter(wanted) {
            part(&document, experiment.name).with_context(|| path.display().to_string())?;
        }
    }
    let mut sections = Vec::new();
    for experiment in EXPERIMENTS.iter().filter(wanted) {
        let section = (experiment.run)(&settings)?;
        if args.output == Format::Text {
            print(&section.markdown())?;
        }
        if let Some(path) = &args.write {
            write(path, &replace(&read(path)?, &section)?)?;
        }
        sections.push(section);
    }
    if args.output == Format::Json {
        print_json(&sections)?;
    }
    Ok(sections.iter().all(|section| section.met()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

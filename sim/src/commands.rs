//! What each command does. Every one returns whether all promises were kept.

use crate::cli::{DeterminismArgs, Format, FuzzArgs, RunArgs, SplitArgs, SweepArgs};
use crate::report::{Report, Spread, difference, rounded, violation_text};
use crate::runner::{self, Manner, Sweep, stopwatch};
use crate::swarm::{self, Profile};
use crate::{library, plan::Plan};
use anyhow::Context;
use serde::Serialize;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

/// `run`
///
/// # Errors
/// When the plan cannot be read or the trace not written.
pub fn run(args: &RunArgs) -> anyhow::Result<bool> {
    let (name, plan) = library::load(&args.plan)?;
    let lines = match &args.trace {
        None => None,
        Some(path) => {
            let file = std::fs::File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
            Some(Box::new(io::BufWriter::new(file)) as Box<dyn io::Write>)
        }
    };
    let reproduce = format!("quorate-sim run {name} --seed {}", args.seed);
    let (report, _) = runner::run(&name, &plan, args.seed, Manner { lines, stop_at_first: false, reproduce })?;
    match args.output {
        Format::Json => print(&serde_json::to_string_pretty(&report)?)?,
        Format::Text => print(report.text().trim_end())?,
    }
    Ok(report.clean())
}

/// `plans`
///
/// # Errors
/// When a plan of the library is wrong.
pub fn plans(format: Format) -> anyhow::Result<bool> {
    let plans: Vec<(String, Plan)> =
        library::PLANS.iter().map(|(name, _)| library::load(name)).collect::<Result<_, _>>()?;
    if format == Format::Json {
        let list: Vec<_> =
            plans.iter().map(|(name, plan)| serde_json::json!({ "name": name, "summary": plan.summary })).collect();
        print(&serde_json::to_string_pretty(&list)?)?;
    } else {
        for (name, plan) in plans {
            print(&format!("{name:<20} {}", plan.summary))?;
        }
    }
    Ok(true)
}

/// `fuzz`
///
/// # Errors
/// When a drawn plan is wrong or cannot be dumped.
pub fn fuzz(args: &FuzzArgs) -> anyhow::Result<bool> {
    let endless = if args.sweep.limit.is_some() { (0, u64::MAX) } else { (0, 100) };
    let sweep = sweep(args.profile, args.seeds.unwrap_or(endless), args.agents, &args.sweep);
    let summary = watch(&sweep)?;
    if let (Some(path), Some(failed)) = (&args.dump, summary.violated.first()) {
        let plan = swarm::plan(sweep.profile, failed.seed, sweep.agents);
        std::fs::write(path, plan.to_toml()?).with_context(|| format!("{} cannot be written", path.display()))?;
        eprintln!("wrote {}; run it with --seed {}", path.display(), failed.seed);
    }
    summary.print(args.sweep.output)
}

/// `split`
///
/// # Errors
/// When a drawn plan is wrong.
pub fn split(args: &SplitArgs) -> anyhow::Result<bool> {
    watch(&sweep(Profile::Split, args.seeds, Some(args.agents), &args.sweep))?.print(args.sweep.output)
}

/// `determinism`
///
/// # Errors
/// When a drawn plan is wrong.
pub fn determinism(args: &DeterminismArgs) -> anyhow::Result<bool> {
    let limits = SweepArgs { jobs: Some(1), limit: None, output: args.output };
    let sweep = sweep(Profile::Swarm, args.seeds, args.agents, &limits);
    let (mut combined, mut differing) = (0, Vec::new());
    for seed in args.seeds.0..args.seeds.1 {
        let (first, second) = (sweep.seed(seed)?, sweep.seed(seed)?);
        combined ^= first.1.hash().rotate_left(u32::try_from(seed % 64).unwrap_or(0));
        if let Some(place) = difference(&first.1, &second.1) {
            differing.push(serde_json::json!({ "seed": seed, "first_difference": place }));
        }
    }
    let seeds = args.seeds.1 - args.seeds.0;
    match args.output {
        Format::Json => {
            let hash = format!("{combined:016x}");
            let outcome = serde_json::json!({ "seeds": seeds, "trace_hash": hash, "differing": differing });
            print(&serde_json::to_string_pretty(&outcome)?)?;
        }
        Format::Text if differing.is_empty() => {
            print(&format!("{seeds} seeds ran the same twice; combined trace {combined:016x}"))?;
        }
        Format::Text => {
            for one in &differing {
                print(&one.to_string())?;
            }
        }
    }
    Ok(differing.is_empty())
}

fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("the outcome could not be printed"),
    }
}

fn sweep(profile: Profile, seeds: (u64, u64), agents: Option<usize>, args: &SweepArgs) -> Sweep {
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    Sweep { profile, seeds, agents, jobs, limit: args.limit.map(|limit| limit.0) }
}

/// The outcome of many runs.
#[derive(Debug, Serialize)]
struct Summary {
    profile: &'static str,
    agents: Option<usize>,
    seeds_run: u64,
    /// How many seeds broke a promise, kept or not.
    seeds_violated: u64,
    violated: Vec<Report>,
    false_down: u64,
    events: u64,
    simulated_s: f64,
    wall_s: f64,
    seeds_per_s: f64,
    trace_hash: String,
    detection_s: Option<Spread>,
    recovery_s: Option<Spread>,
    convergence_s: Option<Spread>,
    #[serde(skip)]
    hash: u64,
    #[serde(skip)]
    times: [Vec<f64>; 3],
}

/// Failing runs kept whole.
const FAILURES_KEPT: usize = 50;

impl Summary {
    fn add(&mut self, report: &Report) {
        self.seeds_run += 1;
        self.false_down += report.false_down;
        self.events += report.events;
        self.simulated_s += report.simulated_s;
        // The order in which runs end must not matter.
        self.hash ^= u64::from_str_radix(&report.trace_hash, 16).unwrap_or(0).rotate_left((report.seed % 64) as u32);
        self.times[0].extend(&report.detections);
        self.times[1].extend(&report.recoveries);
        self.times[2].extend(report.convergence_s);
        self.seeds_violated += u64::from(!report.clean());
        if !report.clean() && self.violated.len() < FAILURES_KEPT {
            self.violated.push(report.clone());
        }
    }

    fn finish(&mut self, wall: Duration) {
        self.times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
        self.detection_s = Spread::of(&self.times[0]);
        self.recovery_s = Spread::of(&self.times[1]);
        self.convergence_s = Spread::of(&self.times[2]);
        self.simulated_s = rounded(self.simulated_s);
        self.wall_s = rounded(wall.as_secs_f64());
        self.seeds_per_s = rounded(self.seeds_run as f64 / wall.as_secs_f64().max(0.001));
        self.trace_hash = format!("{:016x}", self.hash);
        self.violated.sort_by_key(|report| report.seed);
    }

    fn print(&self, format: Format) -> anyhow::Result<bool> {
        if format == Format::Json {
            print(&serde_json::to_string_pretty(self)?)?;
            return Ok(self.seeds_violated == 0);
        }
        let show = |what: &str, spread: Option<Spread>| match spread {
            None => Ok(()),
            Some(s) => print(&format!("{what}  p50 {:.2} s, p99 {:.2} s, max {:.2} s", s.p50, s.p99, s.max)),
        };
        print(&format!(
            "{} seeds in {:.1} s ({:.1} per second), {:.0} s simulated, {} events, combined trace {}",
            self.seeds_run, self.wall_s, self.seeds_per_s, self.simulated_s, self.events, self.trace_hash
        ))?;
        show("detection  ", self.detection_s)?;
        show("recovery   ", self.recovery_s)?;
        show("convergence", self.convergence_s)?;
        print(&format!("false down   {}", self.false_down))?;
        match self.seeds_violated {
            0 => print("every promise was kept")?,
            n => print(&format!("{n} seeds broke a promise; each is shown above with the line that runs it again"))?,
        }
        Ok(self.seeds_violated == 0)
    }
}

/// Runs a sweep, telling on stderr how it goes.
fn watch(sweep: &Sweep) -> anyhow::Result<Summary> {
    let mut summary = Summary {
        profile: sweep.profile.word(),
        agents: sweep.agents,
        seeds_run: 0,
        seeds_violated: 0,
        violated: Vec::new(),
        false_down: 0,
        events: 0,
        simulated_s: 0.0,
        wall_s: 0.0,
        seeds_per_s: 0.0,
        trace_hash: String::new(),
        detection_s: None,
        recovery_s: None,
        convergence_s: None,
        hash: 0,
        times: [Vec::new(), Vec::new(), Vec::new()],
    };
    let began = stopwatch();
    let mut told = began;
    sweep.run(|report| {
        if let Some(report) = report {
            summary.add(report);
            if !report.clean() {
                eprintln!("\nseed {}:", report.seed);
                report.violations.iter().take(3).for_each(|violation| eprint!("{}", violation_text(violation)));
                eprintln!("  see it again: {}", report.reproduce);
            }
        }
        if told.elapsed() >= Duration::from_secs(1) {
            told = stopwatch();
            progress(sweep, &summary, began);
        }
    })?;
    summary.finish(began.elapsed());
    Ok(summary)
}

fn progress(sweep: &Sweep, summary: &Summary, began: Instant) {
    let elapsed = began.elapsed();
    let rate = summary.seeds_run as f64 / elapsed.as_secs_f64().max(0.001);
    let seeds = (sweep.seeds.1 - sweep.seeds.0) as f64;
    let by_seeds = (seeds - summary.seeds_run as f64) / rate.max(0.001);
    let left = sweep.limit.map_or(by_seeds, |limit| by_seeds.min(limit.saturating_sub(elapsed).as_secs_f64()));
    let failed = summary.seeds_violated;
    eprintln!("{} seeds, {rate:.1} per second, {left:.0} s left, {failed} failed", summary.seeds_run);
}

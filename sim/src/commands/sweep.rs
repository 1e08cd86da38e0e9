//! Many runs, and what they come to together.

use super::output::{print, print_json, tell};
use crate::cli::{Format, job_count, span};
use crate::report::{Report, Spread, rounded, violation_text};
use crate::runner::{Shard, Sweep, default_jobs, stopwatch};
use crate::sometimes::Table;
use crate::swarm::Profile;
use crate::time::Span;
use anyhow::ensure;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How many runs are done.
#[derive(Debug, clap::Args)]
pub struct SweepArgs {
    /// Runs at a time. Default: one per processor.
    #[arg(long, value_name = "J", value_parser = job_count)]
    pub jobs: Option<usize>,
    /// Begin no further run after this time, such as 60s.
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    pub limit: Option<Span>,
    /// How to print the outcome.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

/// The sweep that the arguments describe.
pub fn sweep(profile: Profile, seeds: (u64, u64), agents: Option<usize>, args: &SweepArgs) -> Sweep {
    let jobs = args.jobs.unwrap_or_else(default_jobs);
    Sweep { profile, seeds, shard: Shard::WHOLE, agents, jobs, limit: args.limit.map(|limit| limit.0) }
}

/// The outcome of many runs.
#[derive(Debug, Serialize)]
pub struct Summary {
    profile: &'static str,
    agents: Option<usize>,
    seeds_run: u64,
    /// How many seeds broke a promise, kept or not.
    seeds_violated: u64,
    pub violated: Vec<Report>,
    false_down: u64,
    events: u64,
    simulated_s: f64,
    wall_s: f64,
    seeds_per_s: f64,
    trace_hash: String,
    detection_s: Option<Spread>,
    recovery_s: Option<Spread>,
    convergence_s: Option<Spread>,
    /// In how many runs each rare path was taken.
    sometimes: Table,
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
        self.sometimes.add(&report.sometimes);
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

    /// Prints it; were all promises kept?
    pub fn print(&self, format: Format) -> anyhow::Result<bool> {
        if format == Format::Json {
            print_json(self)?;
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
        print(&format!("rare paths, and in how many runs each was taken:\n{}", self.sometimes.text()))?;
        match self.seeds_violated {
            0 => print("every promise was kept")?,
            n => print(&format!("{n} seeds broke a promise; each is shown above with the line that runs it again"))?,
        }
        Ok(self.seeds_violated == 0)
    }
}

/// Runs a sweep, telling on stderr how it goes.
///
/// # Errors
/// When a drawn plan is wrong, or no seed was run.
pub fn watch(sweep: &Sweep) -> anyhow::Result<Summary> {
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
        sometimes: Table::default(),
        hash: 0,
        times: [Vec::new(), Vec::new(), Vec::new()],
    };
    let began = stopwatch();
    let mut told = began;
    sweep.run(|report| {
        if let Some(report) = report {
            summary.add(report);
            if !report.clean() {
                tell(&format!("\nseed {}:", report.seed));
                report.violations.iter().take(3).for_each(|violation| tell(violation_text(violation).trim_end()));
                tell(&format!("  see it again: {}", report.reproduce));
            }
        }
        if told.elapsed() >= Duration::from_secs(1) {
            told = stopwatch();
            progress(sweep, &summary, began);
        }
    })?;
    ensure!(summary.seeds_run > 0, "no seed was run: the range and the share have none, or the time was too short");
    summary.finish(began.elapsed());
    Ok(summary)
}

fn progress(sweep: &Sweep, summary: &Summary, began: Instant) {
    let elapsed = began.elapsed();
    let rate = summary.seeds_run as f64 / elapsed.as_secs_f64().max(0.001);
    let seeds = sweep.shard.count(sweep.seeds) as f64;
    let by_seeds = (summary.seeds_run > 0).then(|| (seeds - summary.seeds_run as f64) / rate);
    let by_time = sweep.limit.map(|limit| limit.saturating_sub(elapsed).as_secs_f64());
    let left = by_seeds.into_iter().chain(by_time).min_by(f64::total_cmp);
    let left = left.map_or_else(|| "time left not known yet".to_owned(), |left| format!("{left:.0} s left"));
    let failed = summary.seeds_violated;
    tell(&format!("{} seeds, {rate:.1} per second, {left}, {failed} failed", summary.seeds_run));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_of_no_seed_is_no_success() {
        let args = |limit| SweepArgs { jobs: Some(1), limit, output: Format::Text };
        let none_of_two = Shard { index: 3, of: 100 };
        let sweeps = [
            Sweep { shard: none_of_two, ..sweep(Profile::Split, (0, 2), Some(1), &args(None)) },
            sweep(Profile::Split, (0, 2), Some(1), &args(Some(Span::default()))),
        ];
        for sweep in sweeps {
            let error = watch(&sweep).unwrap_err().to_string();
            assert!(error.contains("no seed was run"), "{error}");
        }
    }
}

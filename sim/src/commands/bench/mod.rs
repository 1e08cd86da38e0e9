//! `bench`: how fast the simulator is, beside plain foca in a bare loop.

mod bare;
mod idle;

use super::output::{print, print_json};
use crate::cli::{Format, agent_count};
use crate::node::AnyStarter;
use crate::plan::Plan;
use crate::report::rounded;
use crate::runner::{self, Manner, stopwatch};
use crate::scenario::Scenario;
use crate::swarm::{self, Profile};
use crate::time::{SimTime, Span};
use crate::trace::Trace;
use crate::trace::recording::Recording;
use crate::world::World;
use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub struct Args {
    /// Sizes of the meshes that are steady or split.
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = agent_count, default_values_t = [100, 1000])]
    pub agents: Vec<usize>,
    /// A sixth of the simulated time, one run of each, and no mesh above a hundred agents.
    #[arg(long)]
    pub quick: bool,
    /// Runs of each case.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = at_least_one)]
    pub repeat: usize,
    /// How to print the outcome.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// Run this case once, in this process.
    #[arg(long, value_enum, hide = true)]
    pub case: Option<Case>,
}

const NOTES: &str = "\
Each run is a process of its own, so that its memory can be told. Cases:
  swarm   twenty agents, ten simulated minutes with drawn faults, one seed
  form    the first five seconds of a formed mesh with twenty instances, none of which has a verdict yet
  steady  the same mesh when they have had their verdicts for long, from its tenth second on
  half    the same from its start, cut in two halves from 5 s to half of the time
  bare-steady, bare-half   the same meshes as plain foca, in a loop without links, trace and checks
  loop    a hundred agents that only send and answer: what an event costs by itself

Compare builds on the same quiet machine, built with --release.";

/// Simulated seconds in which a mesh forms, and from when on it is steady.
const FORM_S: u64 = 5;
const STEADY_FROM_S: u64 = 10;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// Twenty agents with faults.
    Swarm,
    /// Instances get their first verdicts.
    Form,
    /// Nothing happens.
    Steady,
    /// Two halves.
    Half,
    /// Nothing happens to plain foca.
    BareSteady,
    /// Two halves of plain foca.
    BareHalf,
    /// Agents that do nothing.
    Loop,
}

/// One run of a case.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Measured {
    simulated_s: f64,
    wall_s: f64,
    events: u64,
    rss_mb: f64,
}

/// All runs of a case: medians, and the least and greatest time.
#[derive(Debug, Clone, Serialize)]
struct Row {
    case: Case,
    agents: usize,
    runs: usize,
    simulated_s: f64,
    wall_s: f64,
    wall_least_s: f64,
    wall_most_s: f64,
    simulated_per_wall: f64,
    events_per_s: f64,
    ns_per_event: f64,
    rss_mb: f64,
}

impl Row {
    fn of(case: Case, agents: usize, mut runs: Vec<Measured>) -> Option<Self> {
        runs.sort_by(|a, b| a.wall_s.total_cmp(&b.wall_s));
        let middle = *runs.get(runs.len() / 2)?;
        let wall = middle.wall_s.max(1e-6);
        Some(Self {
            case,
            agents,
            runs: runs.len(),
            simulated_s: middle.simulated_s,
            wall_s: rounded(middle.wall_s),
            wall_least_s: rounded(runs.first()?.wall_s),
            wall_most_s: rounded(runs.last()?.wall_s),
            simulated_per_wall: rounded(middle.simulated_s / wall),
            events_per_s: (middle.events as f64 / wall).round(),
            ns_per_event: (wall * 1e9 / middle.events.max(1) as f64).round(),
            rss_mb: middle.rss_mb,
        })
    }

    fn text(&self) -> String {
        let case = self.case.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        format!(
            "{case:<12} {:>6} {:>9.0} {:>8.2} {:>17} {:>10.1} {:>10.0} {:>9.0} {:>8.1}",
            self.agents,
            self.simulated_s,
            self.wall_s,
            format!("{:.2} to {:.2}", self.wall_least_s, self.wall_most_s),
            self.simulated_per_wall,
            self.events_per_s,
            self.ns_per_event,
            self.rss_mb
        )
    }
}

/// `bench`
///
/// # Errors
/// When a run cannot be started.
pub fn bench(args: &Args) -> anyhow::Result<bool> {
    if let Some(case) = args.case {
        let agents = args.agents.first().copied().unwrap_or(100);
        print(&serde_json::to_string(&measure(case, agents, args.quick)?)?)?;
        return Ok(true);
    }
    let (sizes, repeat): (Vec<usize>, usize) = match args.quick {
        true => (args.agents.iter().copied().filter(|agents| *agents <= 100).collect(), 1),
        false => (args.agents.clone(), args.repeat),
    };
    let head = ["case", "agents", "simulated", "wall s", "least to most", "sim/wall", "events/s", "ns/event", "RSS MB"];
    let [a, b, c, d, e, f, g, h, i] = head;
    if args.output == Format::Text {
        print(&format!("{}, {repeat} runs of each, medians\n", machine()))?;
        print(&format!("{a:<12} {b:>6} {c:>9} {d:>8} {e:>17} {f:>10} {g:>10} {h:>9} {i:>8}"))?;
    }
    let mut rows = Vec::new();
    for (case, agents) in cases(&sizes) {
        let runs = (0..repeat).map(|_| elsewhere(case, agents, args.quick)).collect::<anyhow::Result<_>>()?;
        let row = Row::of(case, agents, runs).context("nothing was run")?;
        if args.output == Format::Text {
            print(&row.text())?;
        }
        rows.push(row);
    }
    let ratios = ratios(&rows);
    match args.output {
        Format::Json => {
            print_json(&serde_json::json!({ "machine": machine(), "cases": rows, "times_bare_foca": ratios }))?
        }
        Format::Text => {
            for (case, agents, times) in ratios {
                print(&format!("{case}, {agents} agents: {times:.1} times the time of foca alone"))?;
            }
        }
    }
    Ok(true)
}

fn cases(sizes: &[usize]) -> Vec<(Case, usize)> {
    let sized = sizes.iter().flat_map(|agents| {
        [Case::Form, Case::Steady, Case::BareSteady, Case::Half, Case::BareHalf].map(|case| (case, *agents))
    });
    [(Case::Swarm, 20)].into_iter().chain(sized).chain([(Case::Loop, 100)]).collect()
}

/// How many times longer each mesh takes than plain foca.
fn ratios(rows: &[Row]) -> Vec<(&'static str, usize, f64)> {
    let find = |case: Case, agents: usize| rows.iter().find(|row| row.case == case && row.agents == agents);
    let ratio = |(name, case, bare): (&'static str, Case, Case), row: &Row| {
        let bare = find(bare, row.agents).filter(|_| row.case == case)?;
        Some((name, row.agents, rounded(row.wall_s / bare.wall_s.max(0.001))))
    };
    let pairs = [("steady", Case::Steady, Case::BareSteady), ("half", Case::Half, Case::BareHalf)];
    rows.iter().flat_map(|row| pairs.into_iter().filter_map(move |pair| ratio(pair, row))).collect()
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "use 1 or more".to_owned())
}

/// Runs a case once in a process of its own.
fn elsewhere(case: Case, agents: usize, quick: bool) -> anyhow::Result<Measured> {
    let program = std::env::current_exe().context("this program's own file cannot be found")?;
    let name = case.to_possible_value().context("a case without a name")?;
    let mut command = Command::new(program);
    command.args(["bench", "--case", name.get_name(), "--agents", &agents.to_string()]);
    command.args(quick.then_some("--quick"));
    let output = command.stderr(Stdio::inherit()).output().context("a run cannot be started")?;
    ensure!(output.status.success(), "the run of {} failed: {}", name.get_name(), output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn measure(case: Case, agents: usize, quick: bool) -> anyhow::Result<Measured> {
    let seconds = if quick { 10 } else { 60 };
    let mesh = |start, half| mesh_plan(agents, seconds, start, half);
    let plan = match case {
        Case::Swarm => Plan { duration: Span::secs(10 * seconds), ..swarm::plan(Profile::Swarm, 1, Some(agents)) },
        Case::Loop => idle_plan(agents, seconds)?,
        Case::Form => mesh("formed", false)?,
        Case::Steady | Case::BareSteady => mesh("settled", false)?,
        Case::Half | Case::BareHalf => mesh("settled", true)?,
    };
    let starter: Box<AnyStarter> = if case == Case::Loop { Box::new(idle::idle) } else { Manner::default().starter };
    let began = stopwatch();
    let (simulated_s, events, wall) = match case {
        Case::BareSteady | Case::BareHalf => {
            let scenario = Scenario::new("bench", &plan, 1)?;
            (scenario.duration.as_secs_f64(), bare::run(scenario), began.elapsed())
        }
        Case::Form => between(&plan, 0, FORM_S)?,
        Case::Steady => between(&plan, STEADY_FROM_S, STEADY_FROM_S + seconds)?,
        Case::Swarm | Case::Half | Case::Loop => {
            let (report, _) = runner::run("bench", &plan, 1, Manner { starter, ..Manner::default() })?;
            (report.simulated_s, report.events, began.elapsed())
        }
    };
    Ok(Measured { simulated_s, wall_s: wall.as_secs_f64(), events, rss_mb: peak_rss_mb() })
}

/// Runs a plan from its start, and measures it between two moments.
fn between(plan: &Plan, from_s: u64, to_s: u64) -> anyhow::Result<(f64, u64, Duration)> {
    let scenario = Scenario::new("bench", plan, 1)?;
    let trace = Trace::new(&scenario, Recording::default());
    let mut world = World::new(scenario, Manner::default().starter, trace);
    let moment = |s| SimTime::START.plus(Duration::from_secs(s));
    if from_s > 0 {
        world.advance(moment(from_s), |_| false);
    }
    let (before, began) = (world.tally.inputs, stopwatch());
    world.advance(moment(to_s), |_| false);
    Ok(((to_s - from_s) as f64, world.tally.inputs - before, began.elapsed()))
}

fn mesh_plan(agents: usize, seconds: u64, start: &str, half: bool) -> anyhow::Result<Plan> {
    let homes: Vec<usize> = (0..agents.min(20)).collect();
    let (one, other): (Vec<usize>, Vec<usize>) = (0..agents).partition(|agent| *agent < agents / 2);
    let fault = if half && agents > 1 {
        let to = seconds / 2;
        format!(
            "[[faults]]\nkind = \"partition\"\ngroups = [{one:?}, {other:?}]\nfrom = \"5s\"\nto = \"{}s\"\n",
            to.max(6)
        )
    } else {
        String::new()
    };
    Plan::parse(&format!(
        "summary = \"bench\"\nduration = \"{seconds}s\"\n[mesh]\nagents = {agents}\nstart = \"{start}\"\n\
         [[services]]\nname = \"web\"\nhomes = {homes:?}\n{fault}"
    ))
}

fn idle_plan(agents: usize, seconds: u64) -> anyhow::Result<Plan> {
    Plan::parse(&format!(
        "summary = \"bench\"\nduration = \"{seconds}s\"\n[mesh]\nagents = {agents}\n[bounds]\nconvergence = \"1s\"\n"
    ))
}

/// The most memory this process has had at once, in megabytes; zero where the system does not tell.
fn peak_rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kb: f64 = line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0.0);
    (kb / 102.4).round() / 10.0
}

/// The processor and how many of them, and how this program was built.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!("{} x {}, {build} build", runner::default_jobs(), model.trim_start_matches([' ', '\t', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs() {
        for case in Case::value_variants() {
            let agents = if *case == Case::Swarm { 5 } else { 6 };
            let measured = measure(*case, agents, true).unwrap();
            assert!(measured.events > 100 && measured.simulated_s >= 5.0, "{case:?}: {measured:?}");
        }
    }

    #[test]
    fn rows_are_medians_and_ratios_are_of_the_same_size() {
        let run = |wall_s: f64| Measured { simulated_s: 10.0, wall_s, events: 1000, rss_mb: 1.0 };
        let row = |case, agents, walls: [f64; 3]| Row::of(case, agents, walls.map(run).to_vec()).unwrap();
        let steady = row(Case::Steady, 100, [3.0, 1.0, 2.0]);
        assert_eq!((steady.wall_s, steady.wall_least_s, steady.wall_most_s), (2.0, 1.0, 3.0));
        assert_eq!((steady.simulated_per_wall, steady.events_per_s, steady.ns_per_event), (5.0, 500.0, 2_000_000.0));
        let rows = [steady, row(Case::BareSteady, 50, [9.0; 3]), row(Case::BareSteady, 100, [0.5; 3])];
        assert_eq!(ratios(&rows), [("steady", 100, 4.0)]);
    }
}

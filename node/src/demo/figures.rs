//! `quorate figures`: how fast a mesh of real processes detects and recovers, and what it costs, beside the targets.

use super::board::Board;
use super::cluster::Cluster;
use super::machine::{Machine, cpu_seconds, resident_mib};
use super::observe::{certified, complete, look, states, until};
use super::process::random;
use super::service::Kind;
use crate::answers::InstancesAnswer;
use crate::cli::question::{Format, print, yaml};
use crate::cli::style::{Ink, clean, colour_wanted, render};
use crate::cli::table::layout;
use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use quorate_core::{InstanceId, Verdict};
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long idle agents are watched.
const IDLE_SPAN: Duration = Duration::from_secs(20);
/// Rest before that, for the start to be over.
const IDLE_REST: Duration = Duration::from_secs(5);

/// What to measure with.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many agents; one is killed at a time, and the others must stay quorate
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..=25))]
    agents: u8,
    /// How many instances, spread over the agents
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=200))]
    instances: u8,
    /// How often each thing is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=50))]
    runs: u8,
    /// Probe so soon again after a failure (100ms to 1s), and measure detection alone
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
    fast_interval: Option<Duration>,
    /// How to tell the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// One figure: its samples beside its target.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Figure {
    name: &'static str,
    unit: &'static str,
    target: f64,
    /// Which of its samples is held to the target.
    judged: Judged,
    n: usize,
    min: f64,
    median: f64,
    max: f64,
    met: bool,
    samples: Vec<f64>,
}

/// Which of a figure's samples is held to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Judged {
    /// The slowest.
    Max,
    /// The middle one.
    Median,
}

/// Everything, with what is needed to repeat it.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Figures {
    machine: Machine,
    command: String,
    build: &'static str,
    agents: u8,
    instances: u8,
    runs: u8,
    figures: Vec<Figure>,
}

/// Samples by figure, in the order in which they are told.
#[derive(Debug, Default)]
struct Samples {
    refused_down: Vec<f64>,
    hung_down: Vec<f64>,
    up: Vec<f64>,
    host_down: Vec<f64>,
    restarted: Vec<f64>,
    cold_start: Vec<f64>,
    idle_cpu: Vec<f64>,
    resident: Vec<f64>,
}

/// Measures and tells.
///
/// # Errors
/// When something cannot be started, or does not happen in time.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.runs > args.instances || args.runs > 2 * args.agents {
        bail!(
            "--runs is at most --instances and twice --agents: who changes more often is held to be flapping, and held down"
        );
    }
    if args.fast_interval.is_some_and(|fast| !(Duration::from_millis(100)..=Duration::from_secs(1)).contains(&fast)) {
        bail!("--fast-interval is 100ms to 1s: the period is one second");
    }
    tokio::select! {
        measured = measure(args) => tell(args, measured?),
        signal = tokio::signal::ctrl_c() => signal.map(|()| ExitCode::from(130)).map_err(Into::into),
    }
}

async fn measure(args: &Args) -> anyhow::Result<Samples> {
    let mut board = Board::new(true);
    let agents = usize::from(args.agents);
    // Each service has one instance per agent, as services usually have.
    let service = |place: u8| (format!("service-{}", place / args.agents + 1), Kind::Http);
    let services: Vec<_> = (0..args.instances).map(service).collect();
    let mut cluster = Cluster::new(&services, agents).await?;
    cluster.fast_interval = args.fast_interval;
    let mut samples = Samples::default();
    for _ in 0..agents {
        samples.cold_start.push(cluster.add_agent().await?.ready_after.as_secs_f64());
    }
    let ids: Vec<_> = cluster.services.iter().map(super::cluster::Service::instance).collect();
    let all: Vec<_> = (0..agents).collect();
    until(&cluster, &mut board, "every agent sees everything up", &all, Instant::now(), |answer| {
        complete(answer, agents)?;
        ids.iter().try_for_each(|id| states(answer, id, Verdict::Up, 0))
    })
    .await?;
    if args.fast_interval.is_none() {
        board.say("everything is up; agents are watched while idle")?;
        idle(&cluster, &mut samples).await?;
    }
    for run in 0..usize::from(args.runs) {
        let (killed, hung) = (run % ids.len(), (usize::from(args.runs) + run) % ids.len());
        kill_instance(&mut cluster, &mut board, killed, &mut samples).await?;
        hang_instance(&mut cluster, &mut board, hung, &mut samples).await?;
        if args.fast_interval.is_none() {
            kill_agent(&mut cluster, &mut board, run % agents, &mut samples).await?;
        }
        board.say(&format!("run {} of {} is done", run + 1, args.runs))?;
    }
    Ok(samples)
}

async fn idle(cluster: &Cluster, samples: &mut Samples) -> anyhow::Result<()> {
    tokio::time::sleep(IDLE_REST).await;
    let used = |cluster: &Cluster| -> anyhow::Result<Vec<f64>> {
        cluster.agents.iter().map(|agent| cpu_seconds(agent.process()?.id())).collect()
    };
    let (before, began) = (used(cluster)?, Instant::now());
    tokio::time::sleep(IDLE_SPAN).await;
    let (after, span) = (used(cluster)?, began.elapsed().as_secs_f64());
    samples.idle_cpu.extend(before.iter().zip(&after).map(|(before, after)| (after - before) / span * 100.0));
    for agent in &cluster.agents {
        samples.resident.push(resident_mib(agent.process()?.id())?);
    }
    Ok(())
}

/// Waits for a verdict of a later term on all agents in `among`; the slowest counts.
async fn decided(
    cluster: &Cluster,
    board: &mut Board,
    id: &str,
    verdict: Verdict,
    among: &[usize],
    term: u64,
    since: Instant,
) -> anyhow::Result<f64> {
    let what = format!("{id} is {verdict}");
    let times = until(cluster, board, &what, among, since, |answer| states(answer, id, verdict, term)).await?;
    Ok(times.iter().max().copied().unwrap_or_default().as_secs_f64())
}

/// The highest term of an instance that any agent knows; pauses first, so that no run is in step with the probes.
async fn term_before(cluster: &Cluster, id: &str) -> anyhow::Result<u64> {
    tokio::time::sleep(Duration::from_millis(1000 + u64::from(random()? % 1000))).await;
    let sights = look(cluster).await?;
    Ok(sights.iter().filter_map(|sight| sight.instance(id)).map(|instance| instance.term).max().unwrap_or(0))
}

async fn kill_instance(
    cluster: &mut Cluster,
    board: &mut Board,
    place: usize,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let all: Vec<_> = (0..cluster.agents.len()).collect();
    let id = cluster.services[place].instance();
    let term = term_before(cluster, &id).await?;
    let since = Instant::now();
    cluster.services[place].kill();
    samples.refused_down.push(decided(cluster, board, &id, Verdict::Down, &all, term, since).await?);
    certified(cluster, &id, Verdict::Down).await?;
    let term = term_before(cluster, &id).await?;
    let since = Instant::now();
    cluster.services[place].start().await?;
    samples.up.push(decided(cluster, board, &id, Verdict::Up, &all, term, since).await?);
    Ok(())
}

async fn hang_instance(
    cluster: &mut Cluster,
    board: &mut Board,
    place: usize,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let all: Vec<_> = (0..cluster.agents.len()).collect();
    let id = cluster.services[place].instance();
    let term = term_before(cluster, &id).await?;
    let since = Instant::now();
    cluster.services[place].process()?.signal(Signal::SIGSTOP)?;
    samples.hung_down.push(decided(cluster, board, &id, Verdict::Down, &all, term, since).await?);
    let term = term_before(cluster, &id).await?;
    let since = Instant::now();
    cluster.services[place].process()?.signal(Signal::SIGCONT)?;
    samples.up.push(decided(cluster, board, &id, Verdict::Up, &all, term, since).await?);
    Ok(())
}

async fn kill_agent(
    cluster: &mut Cluster,
    board: &mut Board,
    place: usize,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let count = cluster.agents.len();
    let others: Vec<_> = (0..count).filter(|other| *other != place).collect();
    let sights = look(cluster).await?;
    let own = sights[place].seen.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
    let host = InstanceId::host(own.view.agent).to_string();
    let term = term_before(cluster, &host).await?;
    let since = Instant::now();
    cluster.agents[place].kill();
    samples.host_down.push(decided(cluster, board, &host, Verdict::Down, &others, term, since).await?);
    let sights = look(cluster).await?;
    let other = sights[others[0]].seen.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
    let (known, roster) = (terms(other), other.view.roster);
    let since = Instant::now();
    cluster.agents[place].spawn(None)?;
    let what = format!("{} has the roster and all records again", cluster.agents[place].name);
    let times = until(cluster, board, &what, &[place], since, |answer| caught_up(answer, roster, &known)).await?;
    samples.restarted.push(times.first().copied().unwrap_or_default().as_secs_f64());
    let all: Vec<_> = (0..count).collect();
    let what = format!("{host} is up again");
    until(cluster, board, &what, &all, Instant::now(), |answer| {
        complete(answer, count)?;
        up(answer, &host)
    })
    .await?;
    Ok(())
}

/// Is the host said to be up? It may be without a verdict: the restarted agent itself has doubted nobody.
fn up(answer: &InstancesAnswer, host: &str) -> Result<(), String> {
    let host = answer.instances.iter().find(|instance| instance.instance.as_str() == host);
    match host.map(|instance| instance.verdict) {
        Some(Verdict::Up) => Ok(()),
        Some(other) => Err(format!("the host is {other}")),
        None => Err("the host is not known".to_owned()),
    }
}

/// Every instance that is known, with its term.
fn terms(answer: &InstancesAnswer) -> BTreeMap<InstanceId, u64> {
    answer.instances.iter().map(|instance| (instance.instance.clone(), instance.term)).collect()
}

/// Does the agent know the roster and every instance with its term?
fn caught_up(answer: &InstancesAnswer, roster: usize, known: &BTreeMap<InstanceId, u64>) -> Result<(), String> {
    let here = terms(answer);
    let missing = known.iter().filter(|(id, term)| here.get(*id).is_none_or(|here| here < *term)).count();
    if answer.view.roster == roster && here.len() >= known.len() && missing == 0 {
        return Ok(());
    }
    Err(format!(
        "roster {} of {roster}, {} of {} instances, {missing} of them missing or older",
        answer.view.roster,
        here.len(),
        known.len()
    ))
}

fn figure(
    name: &'static str,
    unit: &'static str,
    (judged, target): (Judged, f64),
    samples: &[f64],
) -> anyhow::Result<Figure> {
    let samples: Vec<f64> = samples.iter().map(|sample| (sample * 1000.0).round() / 1000.0).collect();
    let mut sorted = samples.clone();
    sorted.sort_by(f64::total_cmp);
    let (Some(min), Some(max)) = (sorted.first().copied(), sorted.last().copied()) else { bail!("{name}: no samples") };
    let middle = (sorted.len() - 1) / 2..=sorted.len() / 2;
    let middle = sorted.get(middle).context("the middle of some samples")?;
    let median = f64::midpoint(middle[0], middle[middle.len() - 1]);
    let met = target >= if judged == Judged::Max { max } else { median };
    Ok(Figure { name, unit, target, judged, n: samples.len(), min, median, max, met, samples })
}

fn all(samples: &Samples) -> anyhow::Result<Vec<Figure>> {
    let at_most = |target| (Judged::Max, target);
    Ok(vec![
        figure("killed instance down on all agents", "s", at_most(4.0), &samples.refused_down)?,
        figure("hung instance down on all agents", "s", at_most(6.0), &samples.hung_down)?,
        figure("instance up again on all agents", "s", at_most(3.0), &samples.up)?,
        figure("killed agent a down host on all others", "s", at_most(6.0), &samples.host_down)?,
        figure("restarted agent has roster and records", "s", at_most(2.0), &samples.restarted)?,
        figure("cold start to ready", "s", at_most(1.0), &samples.cold_start)?,
        figure("idle agent, processor", "% of a core", at_most(1.0), &samples.idle_cpu)?,
        figure("idle agent, resident memory", "MiB", at_most(40.0), &samples.resident)?,
    ])
}

fn detection(samples: &Samples) -> anyhow::Result<Vec<Figure>> {
    let middle = |target| (Judged::Median, target);
    Ok(vec![
        figure("killed instance down on all agents", "s", middle(1.0), &samples.refused_down)?,
        figure("hung instance down on all agents", "s", middle(2.5), &samples.hung_down)?,
        figure("instance up again on all agents", "s", middle(3.0), &samples.up)?,
    ])
}

fn tell(args: &Args, samples: Samples) -> anyhow::Result<ExitCode> {
    let fast = args.fast_interval.map(|fast| format!(" --fast-interval {}ms", fast.as_millis())).unwrap_or_default();
    let figures = Figures {
        machine: Machine::read(),
        command: format!(
            "quorate figures --agents {} --instances {} --runs {}{fast}",
            args.agents, args.instances, args.runs
        ),
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        agents: args.agents,
        instances: args.instances,
        runs: args.runs,
        figures: if args.fast_interval.is_some() { detection(&samples)? } else { all(&samples)? },
    };
    match args.output {
        Format::Json => print(&format!("{}\n", serde_json::to_string(&figures)?))?,
        Format::Yaml => print(&yaml(&serde_json::to_string(&figures)?)?)?,
        Format::Table | Format::Wide | Format::Name => print(&render(&text(&figures), colour_wanted()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(figures: &Figures) -> String {
    let machine = &figures.machine;
    let rows = figures.figures.iter().map(|figure| {
        vec![
            figure.name.to_owned(),
            figure.n.to_string(),
            format!("{:.2}", figure.min),
            format!("{:.2}", figure.median),
            format!("{:.2}", figure.max),
            format!("{}{}", figure.target, if figure.judged == Judged::Median { " median" } else { "" }),
            figure.unit.to_owned(),
            if figure.met { Ink::Green.on("met") } else { Ink::Red.on("MISSED") },
        ]
    });
    let table =
        layout(&["FIGURE", "N", "MIN", "MEDIAN", "MAX", "TARGET", "UNIT", ""], &[1, 2, 3, 4, 5], rows.collect());
    format!(
        "{}   # {} build\n{} cores, {}, {} MiB, Linux {}\n{} agents, {} instances, period 1 s, timeout 500 ms, threshold 3\n\n{table}",
        figures.command,
        figures.build,
        machine.cores,
        clean(&machine.cpu),
        machine.memory_mib,
        clean(&machine.kernel),
        figures.agents,
        figures.instances,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_targets() {
        let odd = figure("x", "s", (Judged::Max, 2.5), &[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.min, odd.median, odd.max, odd.met), (1.0, 2.0, 3.0, false));
        let even = figure("x", "s", (Judged::Median, 2.5), &[3.0, 1.0]).unwrap();
        assert_eq!((even.median, even.met, even.n), (2.0, true, 2));
        assert!(figure("x", "s", (Judged::Max, 1.0), &[]).is_err());
    }
}

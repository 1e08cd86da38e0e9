//! `quorate demo`: a mesh comes up, a service is killed, the quorum decides, the service returns.

use super::board::Board;
use super::cluster::Cluster;
use super::observe::{certified, complete, look, pause, states, until};
use super::service::Kind;
use crate::answers::InstanceAnswer;
use crate::cli::question::{Format, print};
use crate::cli::style::{Ink, clean};
use anyhow::Context;
use quorate_core::{Evidence, Verdict};
use serde::Serialize;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How long the votes of those that did not sign are waited for, so that all of them can be shown.
const LAST_VOTES_WAIT: Duration = Duration::from_secs(3);

/// Settings of the demonstration.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many agents
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=25))]
    agents: u8,
    /// End when everything was observed, with 0 only if it was
    #[arg(long)]
    exit: bool,
    /// How to tell of it; `json` prints one object on standard output
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// What was observed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Observed {
    agents: usize,
    down: Down,
    up: Up,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Down {
    agents_agreeing: usize,
    seconds_first: f64,
    seconds_all: f64,
    votes: Vec<Vote>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Vote {
    observer: String,
    vote: String,
    class: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Up {
    agents_agreeing: usize,
    seconds_all: f64,
}

/// Runs the demonstration. Everything it started is gone when it returns.
///
/// # Errors
/// When something cannot be started, or is not observed in time.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut staying = false;
    let interrupted = tokio::select! {
        told = tell(args, &mut staying) => return told.map(|()| ExitCode::SUCCESS),
        signal = tokio::signal::ctrl_c() => signal.map(|()| 130),
        _ = terminate.recv() => Ok(143),
        _ = hang_up.recv() => Ok(129),
    }?;
    eprintln!("\nstopped; every process is ended and the folder removed");
    // To be stopped is the only way out of a demonstration that stays.
    Ok(if staying { ExitCode::SUCCESS } else { ExitCode::from(interrupted) })
}

async fn tell(args: &Args, staying: &mut bool) -> anyhow::Result<()> {
    let mut board = Board::new(args.output == Format::Json);
    let mut cluster = begin(usize::from(args.agents), &mut board).await?;
    let instance = cluster.services.first().context("there is a first service")?.instance();
    let down = kill(&mut cluster, &mut board, &instance).await?;
    let up = restart(&mut cluster, &mut board, &instance).await?;
    let observed = Observed { agents: cluster.agents.len(), down, up };
    if args.output == Format::Json {
        print(&format!("{}\n", serde_json::to_string(&observed)?))?;
    }
    if args.exit {
        return Ok(());
    }
    *staying = true;
    stay(&cluster, &mut board).await
}

/// Starts everything and waits until all agents see all services up.
async fn begin(agents: usize, board: &mut Board) -> anyhow::Result<Cluster> {
    let began = Instant::now();
    let services = [("web", Kind::Http), ("api", Kind::Http), ("echo", Kind::Tcp)];
    let services = services.map(|(name, kind)| (name.to_owned(), kind));
    let mut cluster = Cluster::new(&services, agents).await?;
    for service in &cluster.services {
        let pid = service.process()?.id();
        board.say(&format!("service  {:<4}  {}  process {pid}", service.name, service.address))?;
    }
    for number in 1..=agents {
        let agent = cluster.add_agent().await?;
        let (name, api, ready, pid) =
            (agent.name.clone(), agent.api, agent.ready_after.as_secs_f64(), agent.process()?.id());
        let how = if number == 1 { "began the mesh".to_owned() } else { format!("joined by agent-{}", number - 1) };
        board.say(&format!("agent    {name}  http://{api}  process {pid}  {how}, ready after {ready:.2} s"))?;
        board.draw(&cluster, &look(&cluster).await?)?;
    }
    let ids: Vec<_> = cluster.services.iter().map(super::cluster::Service::instance).collect();
    let all: Vec<_> = (0..agents).collect();
    let what = "every agent sees every agent alive and every service up";
    until(&cluster, board, what, &all, Instant::now(), |answer| {
        complete(answer, agents)?;
        ids.iter().try_for_each(|id| states(answer, id, Verdict::Up, 0))
    })
    .await?;
    board.say(&format!("\n{} after {:.1} s: {what}.\n", Ink::Green.on("Up"), began.elapsed().as_secs_f64()))?;
    Ok(cluster)
}

/// Kills the first service and watches until every agent has the certificate.
async fn kill(cluster: &mut Cluster, board: &mut Board, id: &str) -> anyhow::Result<Down> {
    let term = term_of(cluster, id).await?;
    let all: Vec<_> = (0..cluster.agents.len()).collect();
    let service = cluster.services.first_mut().context("there is a first service")?;
    board.say(&format!("kill -9 {}   # {}", service.process()?.id(), service.instance()))?;
    let since = Instant::now();
    service.kill();
    let what = format!("{id} is down");
    let times = until(cluster, board, &what, &all, since, |answer| states(answer, id, Verdict::Down, term)).await?;
    let answers = certified(cluster, id, Verdict::Down).await?;
    let answer = last_votes(cluster, id, &answers).await?;
    let (first, last) = spread(&times);
    board.say(&format!(
        "{} on the first agent after {first:.2} s, on all {} after {last:.2} s. {} of {} had to agree; they vote:",
        Ink::Red.on("Down"),
        times.len(),
        answer.summary.quorum,
        answer.summary.assigned
    ))?;
    for observer in &answer.observers {
        let vote = observer.vote.as_deref().unwrap_or("nothing");
        board.say(&format!("  {:<9} {:<8} {}", clean(&observer.name), clean(vote), clean(&observer.detail)))?;
    }
    if let Some(certificate) = &answer.certificate {
        let name = |e: &crate::answers::EndorsementAnswer| e.name.clone().unwrap_or_else(|| e.agent.to_string());
        let signers: Vec<_> = certificate.endorsements.iter().map(name).collect();
        board.say(&format!(
            "The certificate, number {}, is signed by {}.\n",
            certificate.term,
            clean(&signers.join(", "))
        ))?;
    }
    Ok(Down { agents_agreeing: times.len(), seconds_first: first, seconds_all: last, votes: votes(&answer) })
}

/// Starts it again and watches until every agent says so.
async fn restart(cluster: &mut Cluster, board: &mut Board, id: &str) -> anyhow::Result<Up> {
    let term = term_of(cluster, id).await?;
    let all: Vec<_> = (0..cluster.agents.len()).collect();
    let since = Instant::now();
    let service = cluster.services.first_mut().context("there is a first service")?;
    service.start().await?;
    board.say(&format!("{} is started again: process {}", service.instance(), service.process()?.id()))?;
    let what = format!("{id} is up again");
    let times = until(cluster, board, &what, &all, since, |answer| states(answer, id, Verdict::Up, term)).await?;
    certified(cluster, id, Verdict::Up).await?;
    let (_, last) = spread(&times);
    board.say(&format!("{} on all {} agents after {last:.2} s.\n", Ink::Green.on("Up again"), times.len()))?;
    Ok(Up { agents_agreeing: times.len(), seconds_all: last })
}

/// The term that the instance has now, in the eyes of the agent that is furthest.
async fn term_of(cluster: &Cluster, id: &str) -> anyhow::Result<u64> {
    let sights = look(cluster).await?;
    Ok(sights.iter().filter_map(|sight| sight.instance(id)).map(|instance| instance.term).max().unwrap_or(0))
}

/// Waits a little until every observer votes `fail`, and gives the last answer of the first agent.
async fn last_votes(cluster: &Cluster, id: &str, answers: &[InstanceAnswer]) -> anyhow::Result<InstanceAnswer> {
    let mut answer = answers.first().context("there is an agent")?.clone();
    let since = Instant::now();
    while answer.observers.iter().any(|o| o.vote.as_deref() != Some("fail")) && since.elapsed() < LAST_VOTES_WAIT {
        tokio::time::sleep(pause(cluster)).await;
        let now = certified(cluster, id, Verdict::Down).await?;
        answer = now.into_iter().next().context("there is an agent")?;
    }
    answer.observers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(answer)
}

/// The votes, as the JSON tells them.
fn votes(answer: &InstanceAnswer) -> Vec<Vote> {
    let said = answer.observers.iter().filter_map(|observer| Some((observer, observer.vote.clone()?)));
    said.map(|(observer, vote)| {
        let class = observer.phase.zip(observer.cause).map(|(phase, cause)| Evidence::of(phase, cause).as_str());
        Vote { observer: observer.name.clone(), vote, class }
    })
    .collect()
}

/// The first and the last, in seconds with milliseconds.
fn spread(times: &[Duration]) -> (f64, f64) {
    let seconds = |time: Option<&Duration>| (time.copied().unwrap_or_default().as_secs_f64() * 1000.0).round() / 1000.0;
    (seconds(times.iter().min()), seconds(times.iter().max()))
}

/// Leaves everything running, and says how to ask.
async fn stay(cluster: &Cluster, board: &mut Board) -> anyhow::Result<()> {
    let program = std::env::current_exe()?;
    let program = program.display();
    let (Some(agent), Some(service)) = (cluster.agents.last(), cluster.services.first()) else { return Ok(()) };
    let (api, pid) = (agent.api, service.process()?.id());
    board.say("The mesh stays up. Any agent answers for all of it:")?;
    for agent in &cluster.agents {
        board.say(&format!("  {:<9} http://{}/v1/health", agent.name, agent.api))?;
    }
    board.say(&format!(
        "Try, in another terminal:\n  export QUORATE_ADDR={api}\n  {program} health\n  {program} explain {}\n  \
         {program} instances -w      # and then: kill -9 {pid}\n  curl http://{api}/v1/instances/{}\nCtrl-C ends everything.",
        service.name,
        service.instance()
    ))?;
    loop {
        board.draw(cluster, &look(cluster).await?)?;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fabricated::{certificate, explained, instance};
    use quorate_core::Class;

    #[test]
    fn the_json_has_the_promised_shape() {
        let summary = instance("web@10.0.0.2:8080", Verdict::Down, Class::InstanceFault);
        let certificate = certificate(Verdict::Down, Class::InstanceFault, "fail");
        let answer = explained(summary, &["fail", "abstain"], Some(certificate));
        let (first, all) = spread(&[Duration::from_micros(2_500_400), Duration::from_millis(2400)]);
        let down = Down { agents_agreeing: 5, seconds_first: first, seconds_all: all, votes: votes(&answer) };
        let observed = Observed { agents: 5, down, up: Up { agents_agreeing: 5, seconds_all: 1.0 } };
        assert_eq!(
            serde_json::to_string(&observed).unwrap(),
            r#"{"agents":5,"down":{"agents_agreeing":5,"seconds_first":2.4,"seconds_all":2.5,"votes":[{"observer":"host-a","vote":"fail","class":"refused"},{"observer":"host-b","vote":"abstain","class":null}]},"up":{"agents_agreeing":5,"seconds_all":1.0}}"#
        );
    }
}

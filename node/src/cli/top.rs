//! `quorate top`: the mesh at a glance, drawn again and again; what is not well comes first, and what does not fit is counted.

use super::client::{AskError, Client};
use super::lists::{Health, Instances};
use super::question::{Question, inked, print, tell_once};
use super::style::{self, Ink};
use crate::answers::{HealthAnswer, InstanceSummary, InstancesAnswer};
use quorate_core::Verdict;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;
use terminal_size::{Height, terminal_size};

/// How often it is drawn.
const INTERVAL: Duration = Duration::from_secs(1);
/// Lines where the terminal does not say how many it has.
const LINES: u16 = 40;

/// Which agent.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent's API
    #[arg(long, value_name = "HOST:PORT", env = "QUORATE_ADDR", default_value = "127.0.0.1:7701", value_parser = Client::new)]
    addr: Client,
}

/// Draws until Ctrl-C; once where there is no terminal.
///
/// # Errors
/// When the agent does not answer the first time.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let live = std::io::stdout().is_terminal();
    let first = screen(&args.addr, live).await?;
    show(&first, live)?;
    if !live {
        return Ok(ExitCode::SUCCESS);
    }
    tokio::select! {
        ended = keep_drawing(&args.addr) => ended,
        signal = tokio::signal::ctrl_c() => signal.map(|()| ExitCode::SUCCESS).map_err(Into::into),
    }
}

async fn keep_drawing(client: &Client) -> anyhow::Result<ExitCode> {
    let mut lost = false;
    loop {
        tokio::time::sleep(INTERVAL).await;
        match screen(client, true).await {
            Ok(text) => {
                lost = false;
                show(&text, true)?;
            }
            Err(error) => tell_once(&mut lost, &error),
        }
    }
}

fn show(text: &str, live: bool) -> anyhow::Result<()> {
    let clear = if live { "\x1b[H\x1b[2J" } else { "" };
    print(&format!("{clear}{}", style::render(text, style::colour_wanted())))
}

async fn screen(client: &Client, live: bool) -> Result<String, AskError> {
    let question = Instances { service: None, verdict: None, hosts: false };
    let health = client.ask::<HealthAnswer>(&Health.path()).await?.answer;
    let instances = client.ask::<InstancesAnswer>(&question.path()).await?.answer;
    let lines = live.then(|| terminal_size().map_or(LINES, |(_, Height(lines))| lines));
    Ok(drawn(&health, instances, lines))
}

/// The health, then as many instances as fit into `lines`, the worst first.
fn drawn(health: &HealthAnswer, mut instances: InstancesAnswer, lines: Option<u16>) -> String {
    let head = inked(&Health, health);
    instances.instances.sort_by_key(|instance| (rank(instance), instance.instance.clone()));
    let all = instances.instances.len();
    let fitting = lines.map_or(all, |lines| usize::from(lines).saturating_sub(head.lines().count() + 4));
    instances.instances.truncate(fitting);
    let left_out = all - instances.instances.len();
    let list = Instances { service: None, verdict: None, hosts: false }.text(&instances);
    let more = if left_out > 0 { format!("{}\n", Ink::Dim.on(&format!("and {left_out} more"))) } else { String::new() };
    format!("{head}\n{list}{more}")
}

/// How much attention it deserves; less is more.
fn rank(instance: &InstanceSummary) -> u8 {
    match instance.verdict {
        Verdict::Down => 0,
        Verdict::Unknown => 1,
        Verdict::Partial => 2,
        Verdict::Degraded => 3,
        Verdict::Starting => 4,
        Verdict::Draining => 5,
        Verdict::Maintenance => 6,
        Verdict::Up if instance.stale || instance.flapping => 7,
        Verdict::Up => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fabricated;
    use super::*;
    use crate::answers::{MemberCounts, Status};
    use quorate_core::Class;

    #[test]
    fn the_worst_comes_first_and_the_rest_is_counted() {
        let view = fabricated::view();
        let (status, verdicts) = (Status::Degraded, fabricated::counts(&[(Verdict::Up, 30), (Verdict::Down, 1)]));
        let members = MemberCounts { alive: 5, suspect: 0, failed: 0, left: 0 };
        let health = HealthAnswer { view, status, verdicts, services: Vec::new(), hosts: Vec::new(), members };
        let names = (0..30)
            .map(|n| (format!("web@10.0.0.{n}:80"), Verdict::Up))
            .chain([("web@x:80".to_owned(), Verdict::Down)]);
        let made = names.map(|(name, verdict)| fabricated::instance(&name, verdict, Class::Healthy));
        let answer = InstancesAnswer { view: health.view.clone(), instances: made.collect(), total: 31, next: None };
        let whole = style::render(&drawn(&health, answer.clone(), None), false);
        assert!(whole.find("web@x:80").unwrap() < whole.find("web@10.0.0.0:80").unwrap(), "{whole}");
        let small = style::render(&drawn(&health, answer, Some(24)), false);
        assert!(small.contains("web@x:80") && small.contains("more") && small.lines().count() <= 24, "{small}");
    }
}

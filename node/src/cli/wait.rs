//! `quorate wait`: returns when a service or an instance is as wished, for scripts.

use super::client::{AskError, Client, path_part};
use super::question::{print, tell_once};
use crate::answers::{InstanceAnswer, ServiceAnswer, Status};
use quorate_core::Verdict;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// Longest time of one request that waits; below what the client gives an answer.
const TURN: Duration = Duration::from_secs(8);
/// Before the agent is asked again that cannot be waited for: it is gone, or knows no such name yet.
const PAUSE: Duration = Duration::from_millis(500);

/// What to wait for.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes:\n  0  it is as wished\n  1  it was not in time\n  2  usage")]
pub struct Args {
    /// A service, or the id of an instance
    name: String,
    /// What it is to be: up, down, degraded, unknown or starting; of an instance any verdict; several with commas between
    #[arg(long = "for", value_name = "STATUS", default_value = "up", value_delimiter = ',', value_parser = status)]
    wanted: Vec<String>,
    /// How long to wait
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// The agent's API
    #[arg(long, value_name = "HOST:PORT", env = "QUORATE_ADDR", default_value = "127.0.0.1:7701", value_parser = Client::new)]
    addr: Client,
}

fn status(word: &str) -> Result<String, String> {
    let mut known: Vec<_> = Verdict::ALL.iter().map(|verdict| verdict.as_str()).collect();
    known.extend(
        Status::ALL
            .iter()
            .map(|status| status.as_str())
            .filter(|word| !Verdict::ALL.iter().any(|v| v.as_str() == *word)),
    );
    if known.contains(&word) { Ok(word.to_owned()) } else { Err(format!("use one of {}", known.join(", "))) }
}

/// What was found, and the picture it was found in.
struct Found {
    status: &'static str,
    index: u64,
    quorate: bool,
}

/// Waits.
///
/// # Errors
/// When the agent's answer cannot be read. An agent that cannot be reached is waited for.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let deadline = Instant::now() + args.timeout;
    let mut last = "nothing is known of it".to_owned();
    let mut known = None;
    let mut lost = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = timeout_at(deadline, ask(args, known, left.min(TURN))).await;
        match asked {
            Err(_) => break,
            Ok(Ok(found)) => {
                lost = false;
                known = Some(found.index);
                last = found.status.to_owned();
                if !found.quorate {
                    last.push_str(", as it was before the agent was cut off from the mesh");
                }
                // An agent that is cut off keeps the last verdicts; they are no news.
                if found.quorate && args.wanted.iter().any(|wanted| wanted == found.status) {
                    print(&format!("{} is {}\n", args.name, found.status))?;
                    return Ok(ExitCode::SUCCESS);
                }
            }
            // It is not there yet, or the agent is busy or has not caught up.
            Ok(Err(AskError::Refused(code, error))) if matches!(code.as_u16(), 404 | 408 | 429 | 503) => {
                if code.as_u16() != 404 {
                    last = error.detail;
                }
                known = None;
                sleep(PAUSE.min(left)).await;
            }
            Ok(Err(error @ AskError::Unreachable { .. })) => {
                known = None;
                tell_once(&mut lost, &error);
                sleep(PAUSE.min(left)).await;
            }
            Ok(Err(error)) => return Err(error.into()),
        }
        if left.is_zero() {
            break;
        }
    }
    let span = humantime::format_duration(args.timeout);
    anyhow::bail!("{} is not {} after {span}; last: {last}", args.name, args.wanted.join(" or "))
}

/// Asks; with `known` only once there is news, or after `wait`.
async fn ask(args: &Args, known: Option<u64>, wait: Duration) -> Result<Found, AskError> {
    let name = path_part(&args.name);
    let news = known.map(|index| format!("?index={index}&wait={}ms", wait.as_millis().max(1))).unwrap_or_default();
    let service = args.addr.ask::<ServiceAnswer>(&format!("/v1/services/{name}{news}")).await;
    match service {
        Err(AskError::Refused(code, _)) if code.as_u16() == 404 => {
            let answer = args.addr.ask::<InstanceAnswer>(&format!("/v1/instances/{name}{news}")).await?.answer;
            let (status, view) = (answer.summary.verdict.as_str(), answer.view);
            Ok(Found { status, index: view.index, quorate: view.quorate })
        }
        other => {
            let answer = other?.answer;
            let (status, view) = (answer.summary.status.as_str(), answer.view);
            Ok(Found { status, index: view.index, quorate: view.quorate })
        }
    }
}

//! `quorate top`: the mesh at a glance, drawn again and again; what is not well comes first, and what does not fit is counted.

use super::client::{AskError, Client};
use super::lists::{Health, Instances, hosts, services, summary};
use super::question::{Question, print, tell_once};
use super::style::{self, Ink};
use super::table;
use crate::answers::{HealthAnswer, InstanceSummary, InstancesAnswer};
use quorate_core::Verdict;
use std::cmp::Reverse;
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
    // A line that is too long ends at the edge: wrapped, it would push others off the screen.
    let (before, after) = if live { ("\x1b[?7l\x1b[H\x1b[2J", "\x1b[?7h") } else { ("", "") };
    print(&format!("{before}{}{after}", style::render(text, style::colour_wanted())))
}

async fn screen(client: &Client, live: bool) -> Result<String, AskError> {
    let question = Instances { service: None, verdicts: Vec::new(), hosts: false };
    let health = client.ask::<HealthAnswer>(&Health.path()).await?.answer;
    let instances = client.ask::<InstancesAnswer>(&question.path()).await?.answer;
    let lines = live.then(|| terminal_size().map_or(LINES, |(_, Height(lines))| lines));
    Ok(drawn(&health, instances, lines))
}

/// The mesh in a line, then services, hosts and instances, the worst of each first. All of it fits into `lines`; what does not is counted.
fn drawn(health: &HealthAnswer, mut instances: InstancesAnswer, lines: Option<u16>) -> String {
    // The cursor stands below the last line.
    let room = lines.map_or(usize::MAX, |lines| usize::from(lines).saturating_sub(1));
    let mut listed = health.services.clone();
    listed.sort_by_key(|service| Reverse(service.status));
    let mut tables = vec![("service", services(&listed))];
    if !health.hosts.is_empty() {
        tables.push(("host", hosts(&health.hosts)));
    }
    if !instances.instances.is_empty() {
        instances.instances.sort_by_key(|instance| (rank(instance), instance.instance.clone()));
        let question = Instances { service: None, verdicts: Vec::new(), hosts: false };
        tables.push(("instance", question.text(&instances)));
    }
    let mut later: usize = tables.iter().map(|(_, table)| height(table)).sum();
    let mut text = format!("{}{}{}", table::banner(&health.view), summary(health), table::footer(&health.view));
    for (noun, table) in &tables {
        let left = room.saturating_sub(text.lines().count());
        later = later.saturating_sub(height(table));
        // What comes after it has what it needs, but no more than half.
        text.push_str(&fitted(table, noun, left.saturating_sub(later.min(left / 2))));
    }
    text.lines().take(room).map(|line| format!("{line}\n")).collect()
}

/// The lines of a table, with a blank one before it.
fn height(table: &str) -> usize {
    table.lines().count() + 1
}

/// A table after a blank line, with as many rows as fit into `room`; the others are counted.
fn fitted(table: &str, noun: &str, room: usize) -> String {
    if height(table) <= room {
        return format!("\n{table}");
    }
    // Beside the rows there are the blank line, the headings, and how many more there are.
    let rows = room.saturating_sub(3);
    let more = height(table).saturating_sub(2 + rows);
    if room == 0 || more == 0 {
        return String::new();
    }
    let plural = if more == 1 { "" } else { "s" };
    let count = Ink::Dim.on(&format!("and {more} more {noun}{plural}"));
    if rows == 0 {
        return format!("{count}\n");
    }
    let shown: String = table.lines().take(rows + 1).map(|line| format!("{line}\n")).collect();
    format!("\n{shown}{count}\n")
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
    use crate::answers::{MemberCounts, ServiceSummary, Status};
    use quorate_core::Class;

    fn health() -> HealthAnswer {
        HealthAnswer {
            view: fabricated::view(),
            status: Status::Degraded,
            verdicts: fabricated::counts(&[(Verdict::Up, 30), (Verdict::Down, 1)]),
            services: Vec::new(),
            hosts: Vec::new(),
            members: MemberCounts { alive: 5, suspect: 0, failed: 0, left: 0 },
        }
    }

    fn instances(count: usize) -> InstancesAnswer {
        let names = (0..count)
            .map(|n| (format!("web@10.0.0.{n}:80"), Verdict::Up))
            .chain([("web@x:80".to_owned(), Verdict::Down)]);
        let made = names.map(|(name, verdict)| fabricated::instance(&name, verdict, Class::Healthy));
        InstancesAnswer { view: fabricated::view(), instances: made.collect(), total: count + 1, next: None }
    }

    #[test]
    fn the_worst_comes_first_and_the_rest_is_counted() {
        let (health, answer) = (health(), instances(30));
        let whole = style::render(&drawn(&health, answer.clone(), None), false);
        assert!(whole.find("web@x:80").unwrap() < whole.find("web@10.0.0.0:80").unwrap(), "{whole}");
        let small = style::render(&drawn(&health, answer, Some(24)), false);
        assert!(small.contains("web@x:80") && small.contains("more") && small.lines().count() < 24, "{small}");
    }

    #[test]
    fn many_services_leave_room_for_instances() {
        let service = |n: usize| ServiceSummary {
            service: format!("service-{n}").parse().unwrap(),
            status: if n == 42 { Status::Down } else { Status::Up },
            total: 1,
            verdicts: fabricated::counts(&[(Verdict::Up, 1)]),
            folded: 0,
            stale: 0,
            flapping: 0,
        };
        let health = HealthAnswer { services: (0..43).map(service).collect(), ..health() };
        for lines in [0_u16, 1, 5, 12, 24, 60] {
            let text = style::render(&drawn(&health, instances(43), Some(lines)), false);
            assert!(text.lines().count() <= usize::from(lines.saturating_sub(1)), "{lines} lines:\n{text}");
            assert!(!text.contains("No such instance"), "{lines} lines:\n{text}");
            if lines >= 5 {
                assert!(text.contains("The mesh is degraded") && text.contains("host-a"), "{lines} lines:\n{text}");
                assert!(text.contains("more services") && text.contains("more instances"), "{lines} lines:\n{text}");
            }
            if lines >= 12 {
                assert!(text.contains("service-42") && text.contains("web@x:80"), "{lines} lines:\n{text}");
            }
        }
        let none = InstancesAnswer { instances: Vec::new(), ..instances(0) };
        assert!(!drawn(&health, none, None).contains("No such instance"));
    }
}

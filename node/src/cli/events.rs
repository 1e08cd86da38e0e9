//! `quorate events`: follows what happens, over broken connections and restarts of the agent.

use super::client::{AskError, path_part};
use super::lists::membership_word;
use super::question::{Format, Source, print, tell_once, yaml};
use super::span;
use super::sse::Reader;
use super::style::{self, Ink, clean};
use crate::agent::event_log::HELD;
use crate::answers::{ChangeAnswer, EventAnswer, EventWhat, EventsAnswer};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::process::ExitCode;
use std::time::Duration;

/// How long to wait before the next attempt to connect.
const RETRY: Duration = Duration::from_secs(1);
/// A stream that is silent for longer is broken: the agent sends a comment every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(40);

/// Which events.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quorate events                  what happens, as it happens\n  quorate events -n 20            the \
                        last twenty\n  quorate events -n 20 -w         these, and what follows\n  quorate events --since 1-42     \
                        from there on, without a gap\n\nA broken connection is opened again where it ended.\n\n\
                        Exit codes:\n  0  done\n  1  the agent cannot be reached\n  2  usage"
)]
pub struct Args {
    /// Begin after this event: an id such as 1-42, or a number; 0 gives all that the agent holds
    #[arg(long, value_name = "ID")]
    since: Option<String>,
    /// Print the last N events and stop; with --watch, follow after them
    #[arg(short = 'n', value_name = "N")]
    last: Option<usize>,
    /// Follow what happens from now on; that is so without -n anyhow
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    source: Source,
}

/// Prints events.
///
/// # Errors
/// When the agent cannot be reached at first, or refuses.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut since = args.since.clone();
    if let Some(count) = args.last {
        let last = held(args, count).await?;
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        since = Some(last);
    }
    tokio::select! {
        ended = follow(args, since) => ended,
        signal = tokio::signal::ctrl_c() => signal.map(|()| ExitCode::SUCCESS).map_err(Into::into),
    }
}

/// Prints what the agent holds; the id of the last event.
async fn held(args: &Args, count: usize) -> anyhow::Result<String> {
    // An agent holds no more.
    let count = count.clamp(1, HELD);
    let since = path_part(args.since.as_deref().unwrap_or("0"));
    let reply =
        args.source.addr.ask::<EventsAnswer>(&format!("/v1/events?format=json&since={since}&limit={count}")).await?;
    if let Some(words) = missed(args.since.as_deref(), reply.answer.reset) {
        eprintln!("{words}");
    }
    for event in reply.answer.events.iter().filter(|_| args.last != Some(0)) {
        print_event(&serde_json::to_string(event)?, args.source.output)?;
    }
    Ok(reply.answer.last)
}

/// What must be said before events that do not follow the one they were to follow.
fn missed(since: Option<&str>, reset: bool) -> Option<String> {
    let since = since.filter(|_| reset)?;
    Some(format!("the agent does not hold what followed {}: events were missed before these", clean(since)))
}

async fn follow(args: &Args, since: Option<String>) -> anyhow::Result<ExitCode> {
    let client = &args.source.addr;
    // With an id from the beginning, nothing is missed when the first connection breaks before the first event.
    let mut last = match since {
        Some(since) => since,
        None => client.ask::<EventsAnswer>("/v1/events?format=json&limit=1").await?.answer.last,
    };
    let mut lost = false;
    let mut connected = false;
    loop {
        match client.stream("/v1/events", &last).await {
            Ok(body) => {
                connected = true;
                if std::mem::replace(&mut lost, false) {
                    eprintln!("the agent is back");
                }
                copy(body, &mut last, args.source.output).await?;
            }
            Err(error) if !connected => return Err(error.into()),
            Err(error) => tell_once(&mut lost, &error),
        }
        if !lost {
            let detail = "the stream of events ended".to_owned();
            tell_once(&mut lost, &AskError::Unreachable { address: client.address().to_owned(), detail });
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Prints what comes until the connection breaks.
async fn copy(mut body: Incoming, last: &mut String, format: Format) -> anyhow::Result<()> {
    let mut reader = Reader::default();
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE_MAX, body.frame()).await {
        let Ok(piece) = frame.into_data() else { continue };
        for event in reader.read(&piece) {
            print_event(&event.data, format)?;
            if !event.id.is_empty() {
                *last = event.id;
            }
        }
    }
    Ok(())
}

fn print_event(json: &str, format: Format) -> anyhow::Result<()> {
    match (format, serde_json::from_str::<EventAnswer>(json)) {
        (Format::Json, _) => print(&format!("{json}\n")),
        (Format::Yaml, _) => print(&format!("---\n{}", yaml(json)?)),
        (Format::Table | Format::Wide, Ok(event)) => print(&style::render(&lines(&event), style::colour_wanted())),
        (Format::Name, Ok(event)) => {
            print(&names(&event).iter().map(|name| format!("{}\n", clean(name))).collect::<String>())
        }
        // A newer agent may tell of things that this program has no words for.
        (Format::Table | Format::Wide | Format::Name, Err(_)) => print(&format!("{}\n", clean(json))),
    }
}

/// The names of what an event is about: instances, members, or else the event itself.
fn names(event: &EventAnswer) -> Vec<String> {
    match &event.what {
        EventWhat::Verdicts { changes, .. } => changes.iter().map(|change| change.instance.to_string()).collect(),
        EventWhat::Member { name, .. } => vec![name.clone()],
        EventWhat::Registered { instance, .. }
        | EventWhat::Withdrawn { instance }
        | EventWhat::Vote { instance, .. }
        | EventWhat::Breaker { instance, .. }
        | EventWhat::Override { instance, .. } => vec![instance.to_string()],
        EventWhat::Failure(told) => vec![told.instance_id.to_string()],
        EventWhat::Reset { .. }
        | EventWhat::Quorate { .. }
        | EventWhat::Roster { .. }
        | EventWhat::Stalled { .. }
        | EventWhat::IdentityConflict { .. } => vec![event.what.word().to_owned()],
    }
}

/// An event for people; a cut of several verdicts takes several lines.
pub fn lines(event: &EventAnswer) -> String {
    let told = match &event.what {
        EventWhat::Verdicts { changes, .. } => changes.iter().map(change).collect(),
        EventWhat::Reset { detail } => vec![Ink::Yellow.on(detail)],
        EventWhat::Member { name, from, to, .. } => {
            let from = from.map_or("new", membership_word);
            vec![format!("agent {}: {from} -> {}", clean(name), Ink::of_membership(*to).on(membership_word(*to)))]
        }
        EventWhat::Registered { instance, service, home } => {
            vec![format!("{} of service {} registered by {home}", clean(instance.as_str()), clean(service.as_str()))]
        }
        EventWhat::Withdrawn { instance } => vec![format!("{} withdrawn", clean(instance.as_str()))],
        EventWhat::Vote { instance, observation } => {
            let detail =
                if observation.detail.is_empty() { String::new() } else { format!(": {}", observation.detail) };
            vec![format!("own vote on {}: {}{}", clean(instance.as_str()), observation.vote, clean(&detail))]
        }
        EventWhat::Failure(told) => {
            let (instance, failure) = (clean(told.instance_id.as_str()), &told.failure);
            let grave = failure.is_critical || failure.severity == "high";
            let severity = if grave { Ink::Red } else { Ink::Yellow }.on(&clean(&failure.severity));
            let row = match failure.consecutive_count {
                1 => String::new(),
                count => format!(", {count} in a row"),
            };
            vec![format!("{instance}: {} ({severity}{row}): {}", failure.failure_type, clean(&failure.message))]
        }
        EventWhat::Quorate { quorate, alive, roster } => {
            let (ink, word) = if *quorate { (Ink::Green, "quorate") } else { (Ink::Red, "NOT quorate") };
            // It may hold more alive than its roll call has reached.
            let told = if *quorate || alive * 2 <= *roster {
                format!("{alive} of {roster} members alive")
            } else {
                format!("the roll call reached too few of {roster} members; {alive} are still held alive")
            };
            vec![format!("{}: {told}", ink.on(word))]
        }
        EventWhat::Roster { epoch, roster, admitted, removed } => {
            let names = |sign: char, agents: &[quorate_core::AgentId]| {
                agents.iter().map(|agent| format!(" {sign}{agent}")).collect::<String>()
            };
            vec![format!("roster {epoch}: {roster} count{}{}", names('+', admitted), names('-', removed))]
        }
        EventWhat::Breaker { service, instance, state, cause, first, zone } => {
            let zone = zone.as_ref().map(|zone| format!(" for zone {}", clean(zone.as_str()))).unwrap_or_default();
            let (service, instance) = (clean(service.as_str()), clean(instance.as_str()));
            let state = Ink::of_breaker(*state).on(state.as_str());
            vec![format!(
                "breaker of {service} before {instance}: {state}{zone} ({}, first seen by {first})",
                cause.as_str()
            )]
        }
        EventWhat::Override { service, instance, mode, owner, reason } => {
            let (service, instance) = (clean(service.as_str()), clean(instance.as_str()));
            let reason = clean(reason);
            vec![format!("breaker of {service} before {instance}: {} by {owner}: {reason}", mode.as_str())]
        }
        EventWhat::Stalled { late_ms } => vec![Ink::Yellow.on(&format!("held up for {}", span::words(*late_ms)))],
        EventWhat::IdentityConflict { detail } => vec![Ink::Red.on(&format!("identity conflict: {detail}"))],
    };
    let head = format!("{}  {:<8}  {:<17}", span::clock(&event.at), clean(&event.id), event.what.word());
    told.iter().map(|line| format!("{head}  {line}\n")).collect()
}

fn change(change: &ChangeAnswer) -> String {
    let under = change.folded_under.as_ref().map(|host| format!(", folded under {}", clean(host.as_str())));
    format!(
        "{}: {} -> {} ({}), number {}, {} signed{}",
        clean(change.instance.as_str()),
        change.from,
        Ink::of_verdict(change.to).on(change.to.as_str()),
        change.class,
        change.term,
        change.signers.len(),
        under.unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_told_to_who_named_an_event() {
        assert_eq!(missed(Some("1-42"), false), None);
        assert_eq!(missed(None, true), None);
        assert!(missed(Some("1-42"), true).unwrap().contains("what followed 1-42"));
    }

    #[test]
    fn an_event_has_the_names_of_what_it_is_about() {
        let of = |what: &str| {
            let json = format!(r#"{{"id":"1-42","index":42,"at":"2026-11-21T07:00:00.123Z",{what}}}"#);
            names(&serde_json::from_str(&json).unwrap())
        };
        assert_eq!(of(r#""type":"withdrawn","instance":"web@10.0.0.1:8080""#), ["web@10.0.0.1:8080"]);
        assert_eq!(of(r#""type":"stalled","late_ms":1200"#), ["stalled"]);
    }
}

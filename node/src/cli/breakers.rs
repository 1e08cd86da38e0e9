//! `quorate breakers`, and `quorate breaker trip`, `reset` and `disable`: what stands open, and a person's word on it.

use super::client::{Client, path_part};
use super::question::{Question, nothing, print};
use super::span;
use super::style::{Ink, clean};
use super::table::{cell, layout};
use crate::answers::{BreakerAnswer, BreakerMode, BreakerState, BreakersAnswer, OverrideBody, ViewAnswer, WishAnswer};
use hyper::Method;
use quorate_core::{InstanceId, ServiceName};
use std::process::ExitCode;
use std::time::Duration;

/// `quorate breakers`
pub struct Breakers {
    /// Only of this service.
    pub service: Option<ServiceName>,
}

impl Question for Breakers {
    type Answer = BreakersAnswer;

    fn path(&self) -> String {
        match &self.service {
            Some(service) => format!("/v1/breakers/{}", path_part(service.as_str())),
            None => "/v1/breakers".to_owned(),
        }
    }

    fn view<'a>(&self, answer: &'a BreakersAnswer) -> &'a ViewAnswer {
        &answer.view
    }

    fn names(&self, answer: &BreakersAnswer) -> Vec<String> {
        answer.breakers.iter().map(|breaker| format!("{}/{}", breaker.service, breaker.instance)).collect()
    }

    fn text(&self, answer: &BreakersAnswer) -> String {
        if answer.breakers.is_empty() {
            return nothing("no breakers");
        }
        let row = |breaker: &BreakerAnswer| {
            vec![
                cell(breaker.service.as_str()),
                cell(breaker.instance.as_str()),
                Ink::of_breaker(breaker.state).on(breaker.state.as_str()),
                cell(&why(breaker)),
                breaker.callers.to_string(),
                breaker.trying.len().to_string(),
            ]
        };
        let rows = answer.breakers.iter().map(row).collect();
        layout(&["SERVICE", "INSTANCE", "STATE", "WHY", "CALLERS", "TRYING"], &[4, 5], rows)
    }

    fn wide(&self, answer: &BreakersAnswer) -> String {
        let sentences: String = answer.breakers.iter().map(|breaker| sentence(breaker, &answer.view.at)).collect();
        let between = if sentences.is_empty() { "" } else { "\n" };
        format!("{}{between}{sentences}", self.text(answer))
    }
}

fn why(breaker: &BreakerAnswer) -> String {
    if let Some(word) = &breaker.overridden {
        return format!("{}: {}", word.mode.as_str(), word.reason);
    }
    let cause = breaker.cause.map_or("", |cause| cause.as_str());
    match (breaker.spared, &breaker.zone) {
        (true, _) => format!("{cause}, spared"),
        (false, Some(zone)) => format!("{cause}, zone {zone}"),
        (false, None) => cause.to_owned(),
    }
}

/// A breaker in sentences: who opened it first, with what cause, and how it stands.
pub fn sentence(breaker: &BreakerAnswer, now: &str) -> String {
    let name = format!("{} before {}", clean(breaker.service.as_str()), clean(breaker.instance.as_str()));
    let state = Ink::of_breaker(breaker.state).on(breaker.state.as_str());
    let since = breaker.since.as_deref().map(|since| span::since(since, now)).unwrap_or_default();
    let mut text = format!("The breaker of {name} is {state}{since}.");
    if let Some(word) = &breaker.overridden {
        let (mode, reason, until) = (word.mode.as_str(), clean(&word.reason), span::clock(&word.ends));
        text.push_str(&format!(" It is {mode} by a person's word through {} until {until}: {reason}.", word.owner));
    } else if let Some(cause) = breaker.cause {
        text.push_str(&format!(" Cause: {}.", cause.as_str()));
    }
    if let Some(first) = breaker.first {
        let name = breaker.first_name.as_deref().map_or_else(|| first.to_string(), clean);
        text.push_str(&format!(" {name} opened it first."));
    }
    let evidence = &breaker.evidence;
    if evidence.calls > 0 {
        let (calls, answered, silent) = (evidence.calls, evidence.answered, evidence.silent);
        text.push_str(&format!(
            " Of {calls} calls of all callers {answered} were answered badly and {silent} met silence."
        ));
    }
    if breaker.state != BreakerState::Closed && breaker.outage > 0 {
        let tries = breaker.attempts;
        text.push_str(&format!(" {tries} attempts to recover have failed; {} may try now.", breaker.trying.len()));
    }
    if breaker.spared {
        text.push_str(" It is left closed, because too many of the service would be taken out.");
    }
    text.push('\n');
    text
}

/// A person's word on one breaker, for all hosts; takes a token with the scope `operate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, clap::Subcommand)]
enum Word {
    /// Open it: no host calls the instance until the time is over or the word is lifted
    Trip(Wish),
    /// Lift an earlier word: the machine decides again
    Reset(Which),
    /// Admit everything and count nothing
    Disable(Wish),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The service
    service: ServiceName,
    /// The instance
    instance: InstanceId,
    /// The agent's API
    #[arg(long, value_name = "HOST:PORT", env = "QUORATE_ADDR", default_value = "127.0.0.1:7701", value_parser = Client::new)]
    addr: Client,
}

#[derive(Debug, clap::Args)]
struct Wish {
    #[command(flatten)]
    which: Which,
    /// Why, for those who wonder
    #[arg(long)]
    reason: String,
    /// For how long: at most 30 days
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "1h")]
    span: Duration,
}

/// Gives the word.
///
/// # Errors
/// When the agent cannot be reached, or refuses.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.word {
        Word::Trip(wish) => put(wish, BreakerMode::ForcedOpen).await,
        Word::Disable(wish) => put(wish, BreakerMode::Disabled).await,
        Word::Reset(which) => tell(&which, Method::DELETE, String::new()).await,
    }
}

async fn put(wish: Wish, mode: BreakerMode) -> anyhow::Result<ExitCode> {
    let body = OverrideBody { mode, reason: wish.reason, seconds: wish.span.as_secs() };
    tell(&wish.which, Method::PUT, serde_json::to_string(&body)?).await
}

async fn tell(which: &Which, method: Method, body: String) -> anyhow::Result<ExitCode> {
    let (service, instance) = (path_part(which.service.as_str()), path_part(which.instance.as_str()));
    let path = format!("/v1/breakers/{service}/{instance}/override");
    let answer = which.addr.change::<WishAnswer>(method, &path, body).await?.answer;
    let (service, instance) = (clean(answer.service.as_str()), clean(answer.instance.as_str()));
    print(&format!("told the mesh: the breaker of {service} before {instance} is {}\n", answer.mode.as_str()))?;
    if !answer.known && answer.mode != BreakerMode::Automatic {
        eprintln!(
            "{service} has no instance {instance}, and nobody is known to call one; the word holds for whoever begins to, under these names"
        );
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::{BreakerCause, CallsAnswer};
    use quorate_core::AgentId;

    #[test]
    fn a_breaker_says_who_opened_it_first_and_why() {
        let none = CallsAnswer { calls: 0, answered: 0, silent: 0, slow: 0 };
        let breaker = BreakerAnswer {
            service: ServiceName::new("web").unwrap(),
            instance: InstanceId::new("web@1").unwrap(),
            state: BreakerState::Open,
            cause: Some(BreakerCause::CallersSilent),
            first: Some(AgentId(7)),
            first_name: Some("host-7".to_owned()),
            since: None,
            outage: 1,
            attempts: 2,
            zone: None,
            spared: false,
            callers: 4,
            trying: vec![AgentId(7)],
            evidence: CallsAnswer { calls: 9, answered: 1, silent: 8, slow: 0 },
            own: none,
            used_here: true,
            overridden: None,
        };
        let text = clean(&sentence(&breaker, "2025-11-21T19:00:00Z"));
        for part in
            ["web before web@1", "open", "callers_silent", "host-7 opened it first", "8 met silence", "2 attempts"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

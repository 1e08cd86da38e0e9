//! `quorate explain`: why an instance has the verdict it has, in sentences.

use super::advice;
use super::breakers;
use super::client::{AskError, Client, path_part};
use super::lists::told_class;
use super::question::Question;
use super::span;
use super::style::{Ink, clean};
use crate::answers::{
    CertificateAnswer, InstanceAnswer, InstancesAnswer, IntentAnswer, MembersAnswer, Membership, ObserverAnswer,
    ViewAnswer, Wish,
};
use quorate_core::{InstanceId, Verdict};

/// An instance to explain.
pub struct Explain {
    /// Which.
    pub instance: InstanceId,
}

impl Question for Explain {
    type Answer = InstanceAnswer;

    fn path(&self) -> String {
        format!("/v1/instances/{}", path_part(self.instance.as_str()))
    }

    fn view<'a>(&self, answer: &'a InstanceAnswer) -> &'a ViewAnswer {
        &answer.view
    }

    fn names(&self, answer: &InstanceAnswer) -> Vec<String> {
        vec![answer.summary.instance.to_string()]
    }

    fn text(&self, answer: &InstanceAnswer) -> String {
        let parts = [conclusion(answer), fault(answer), votes(answer), proof(answer), check(answer), breaker(answer)];
        parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("\n")
    }
}

/// Finds the instance that `text` means: its id, a service of one instance, an agent's name or id for its host, or a unique beginning.
///
/// # Errors
/// When it is none or more than one; the message lists what comes near.
pub async fn find(client: &Client, text: &str) -> anyhow::Result<Explain> {
    let instances = client.ask::<InstancesAnswer>("/v1/instances?hosts=true").await?.answer;
    let members = client.ask::<MembersAnswer>("/v1/members").await?.answer;
    match pick(text, &instances, &members) {
        Ok(instance) => Ok(Explain { instance }),
        Err(near) if near.is_empty() => {
            // The agent knows best what comes near.
            let refusal = client.ask::<InstanceAnswer>(&format!("/v1/instances/{}", path_part(text))).await;
            Err(refusal.err().filter(|error| matches!(error, AskError::Refused(..))).map_or_else(
                || anyhow::anyhow!("there is no instance {:?}; `quorate instances` lists them", clean(text)),
                Into::into,
            ))
        }
        Err(near) => anyhow::bail!("{:?} means more than one instance:\n  {}", clean(text), near.join("\n  ")),
    }
}

/// The one instance meant, or all that may be meant.
fn pick(text: &str, instances: &InstancesAnswer, members: &MembersAnswer) -> Result<InstanceId, Vec<String>> {
    let all = || instances.instances.iter();
    if let Some(exact) = all().find(|instance| instance.instance.as_str() == text) {
        return Ok(exact.instance.clone());
    }
    let of_service: Vec<_> = all().filter(|instance| instance.service.as_str() == text).collect();
    let of_agent = members.members.iter().filter(|member| member.name == text || member.agent.to_string() == text);
    let hosts: Vec<_> = of_agent.map(|member| InstanceId::host(member.agent)).collect();
    let named: Vec<_> = of_service
        .iter()
        .map(|i| &i.instance)
        .chain(all().map(|i| &i.instance).filter(|i| hosts.contains(i)))
        .collect();
    let begun = all().map(|i| &i.instance).filter(|i| i.as_str().starts_with(text) && !text.is_empty());
    let found: Vec<_> = if named.is_empty() { begun.collect() } else { named };
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        many => Err(many.iter().map(ToString::to_string).collect()),
    }
}

fn breaker(answer: &InstanceAnswer) -> String {
    answer.breaker.as_ref().map(|breaker| breakers::sentence(breaker, &answer.view.at)).unwrap_or_default()
}

/// What is concluded, since when, and how sure that is.
fn conclusion(answer: &InstanceAnswer) -> String {
    let it = &answer.summary;
    let word = if it.verdict == Verdict::Maintenance { "in maintenance" } else { it.verdict.as_str() };
    let verdict = Ink::of_verdict(it.verdict).on(word);
    let (name, host) = (clean(it.instance.as_str()), clean(&it.home_name));
    let (since, age) = (span::clock(&it.since), span::words(it.age_ms));
    let mut text = match it.instance.host_of() {
        Some(_) => format!("{name}, the host of agent {host}, is {verdict} since {since}, {age} ago.\n"),
        None => format!(
            "{name}, of service {} on host {host}, is {verdict} since {since}, {age} ago.\n",
            clean(it.service.as_str())
        ),
    };
    let switched_off = !it.enabled && matches!(it.verdict, Verdict::Starting | Verdict::Unknown);
    if !undoubted(answer) && !switched_off {
        text.push_str(&format!("{}\n", advice::verdict(it.verdict)));
    }
    if let Some(intent) = &it.intent
        && matches!(it.verdict, Verdict::Draining | Verdict::Maintenance)
    {
        text.push_str(&wanted(intent));
    }
    if !it.enabled {
        text.push_str("Its check is switched off, so nothing new is learnt about it.\n");
    }
    if it.decided != it.verdict && it.term > 0 {
        text.push_str(&format!("The last verdict decided was {}, number {}.\n", it.decided, it.term));
    }
    if it.stale && it.enabled {
        let since = it.stale_since.as_deref().map(|since| span::since(since, &answer.view.at)).unwrap_or_default();
        let line = format!("It is stale{since}: too few of its observers can be heard to confirm it.");
        text.push_str(&format!("{}\n", Ink::Yellow.on(&line)));
    }
    if it.flapping {
        let line = format!("It is flapping: {} changes lately, so changes are held down for a while.", it.changes);
        text.push_str(&format!("{}\n", Ink::Yellow.on(&line)));
    }
    text
}

/// Who wants it out of service, until when, and why.
fn wanted(intent: &IntentAnswer) -> String {
    let what = match intent.kind {
        Wish::Draining => "had it drained",
        Wish::Maintenance => "took it into maintenance",
    };
    let until = intent
        .until
        .as_deref()
        .map_or_else(|| "until it is put back".to_owned(), |until| format!("until {}", span::clock(until)));
    let why = if intent.reason.is_empty() { String::new() } else { format!(": {}", clean(&intent.reason)) };
    format!("{} {what} at {}, {until}{why}.\n", clean(&intent.owner), span::clock(&intent.since))
}

/// What is broken, under which host it folds, and what to do.
fn fault(answer: &InstanceAnswer) -> String {
    let it = &answer.summary;
    let host = clean(&it.home_name);
    let mut text = String::new();
    let class = told_class(it.class, it.verdict);
    if let Some(text) = advice::particular(answer, &host) {
        return text;
    }
    if home_only(answer) && it.verdict == Verdict::Unknown {
        return unseen(answer, &host);
    }
    let meaning = advice::meaning(class, &host);
    if !meaning.is_empty() {
        text.push_str(&format!("What is broken ({class}): {meaning}\n"));
    }
    if let Some(under) = &it.folded_under {
        text.push_str(&format!("It folds under host {host} ({}): see there first.\n", clean(under.as_str())));
    }
    let remedy = advice::remedy(class, it.verdict, &host);
    if !remedy.is_empty() {
        text.push_str(&format!("What to do: {remedy}\n"));
    }
    text
}

fn home_only(answer: &InstanceAnswer) -> bool {
    answer.settings.as_ref().is_some_and(|settings| settings.home_only)
}

/// Why nobody can tell how an instance is that only its home agent sees.
fn unseen(answer: &InstanceAnswer, host: &str) -> String {
    let it = &answer.summary;
    let check = clean(&it.check);
    let mut text = format!(
        "Only the agent on its own host {host} can make this check ({check}), and nobody else can tell how it is.\n"
    );
    match &it.folded_under {
        Some(under) => text.push_str(&format!(
            "A quorum has found that host down ({under}), which says nothing of the instance itself: see there first.\n\
             What to do: Bring {host} and its agent back; as long as it is gone, this stays unknown.\n",
            under = clean(under.as_str()),
        )),
        None => text.push_str(&format!(
            "That agent says nothing now that could be relied on; see its word below.\n\
             What to do: Look at the agent on {host}: `quorate explain {host}` tells what is known of its host.\n"
        )),
    }
    text
}

/// Who says what.
fn votes(answer: &InstanceAnswer) -> String {
    let it = &answer.summary;
    if undoubted(answer) {
        return format!(
            "Membership holds its agent alive. Its {} would ping it only if that were in doubt, so they have said nothing.\n",
            count(it.assigned, "observer")
        );
    }
    let mut text = match home_only(answer) {
        true => "Its home agent alone observes it. It says:\n".to_owned(),
        false => format!("Of {}, {} must agree. They say:\n", count(it.assigned, "observer"), it.quorum),
    };
    let width = answer.observers.iter().map(|observer| place(observer).chars().count()).max().unwrap_or(0);
    for observer in &answer.observers {
        let place = place(observer);
        let pad = " ".repeat(width - place.chars().count());
        text.push_str(&format!("  {place}{pad}  {}\n", says(observer)));
    }
    if answer.observers.is_empty() {
        text.push_str("  nobody is assigned\n");
    }
    text
}

/// Is it a host that is up and that nobody ever doubted?
fn undoubted(answer: &InstanceAnswer) -> bool {
    let silent = answer.observers.iter().all(|observer| observer.vote.is_none());
    answer.summary.instance.host_of().is_some() && answer.summary.verdict == Verdict::Up && silent
}

/// An observer's name, and where it stands.
fn place(observer: &ObserverAnswer) -> String {
    let home = if observer.home { ", at home" } else { "" };
    format!("{} (zone {}{home})", clean(&observer.name), clean(observer.zone.as_str()))
}

fn says(observer: &ObserverAnswer) -> String {
    let age = observer.age_ms.map(|ms| format!(", for {}", span::words(ms))).unwrap_or_default();
    let detail = advice::said(observer);
    let detail = if detail.is_empty() { detail } else { format!(" ({detail})") };
    let said = match observer.vote.as_deref() {
        Some("pass") => format!("{}{age}", Ink::Green.on("pass")),
        Some("warn") => format!("{}{age}{detail}", Ink::Yellow.on("warn")),
        Some("fail") => {
            format!("{}: {}{age}{detail}", Ink::Red.on("fail"), advice::failure(observer.phase, observer.cause))
        }
        Some("abstain") => {
            format!("{}: {}{age}{detail}", Ink::Yellow.on("abstain"), advice::abstention(observer))
        }
        Some(other) => clean(other),
        None => Ink::Dim.on("nothing yet"),
    };
    let standing = match (observer.heard, observer.state) {
        (true, _) => String::new(),
        (false, Membership::Failed) => "; it has failed, so its word no longer counts".to_owned(),
        (false, Membership::Left) => "; it has left, so its word no longer counts".to_owned(),
        (false, Membership::Alive | Membership::Suspect) => "; it is not heard now, so its word does not count".into(),
    };
    format!("{said}{standing}")
}

/// Who signed, when, and what they saw.
fn proof(answer: &InstanceAnswer) -> String {
    let Some(certificate) = &answer.certificate else {
        if undoubted(answer) {
            return String::new();
        }
        return "No certificate: nothing has been decided yet.\n".to_owned();
    };
    let when = span::clock(&certificate.decided_at);
    let signers: Vec<_> = certificate.endorsements.iter().map(|e| signer(e.name.as_deref(), &e.agent)).collect();
    let mut text = format!(
        "Verdict number {}, {}, was decided at {when} and signed by {} of {}: {}.\n",
        certificate.term,
        certificate.verdict,
        certificate.endorsements.len(),
        count(certificate.observers, "observer"),
        signers.join(", "),
    );
    text.push_str(&saw(certificate));
    text
}

/// The votes under the signatures, those that agree told together.
fn saw(certificate: &CertificateAnswer) -> String {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for endorsement in &certificate.endorsements {
        let what = match endorsement.vote.as_str() {
            "fail" => format!("fail, {}", advice::failure(endorsement.phase, endorsement.cause)),
            vote => clean(vote),
        };
        let name = signer(endorsement.name.as_deref(), &endorsement.agent);
        match groups.iter_mut().find(|(said, _)| *said == what) {
            Some((_, names)) => names.push(name),
            None => groups.push((what, vec![name])),
        }
    }
    let lines = groups.iter().map(|(what, names)| format!("  {}: {what}\n", names.join(", ")));
    format!("At that moment they saw:\n{}", lines.collect::<String>())
}

fn signer(name: Option<&str>, agent: &quorate_core::AgentId) -> String {
    name.map_or_else(|| agent.to_string(), clean)
}

/// How it is checked, and what the answering agent itself saw last.
fn check(answer: &InstanceAnswer) -> String {
    let mut text = String::new();
    if let Some(check) = &answer.settings {
        text.push_str(&format!(
            "Check: {} every {}, timeout {}, fail after {}, pass after {}.\n",
            clean(&check.target),
            span::words(check.period_ms),
            span::words(check.timeout_ms),
            count(check.failure_threshold, "failure"),
            count(check.success_threshold, "success"),
        ));
    }
    if let Some(local) = &answer.local {
        let result = if local.is_healthy { "passed" } else { "failed" };
        let error = local.error.as_deref().map(|error| format!(": {}", clean(error))).unwrap_or_default();
        text.push_str(&format!(
            "{} itself probed it {} ago; that {result} after {:.1} ms{error}.\n",
            clean(&answer.view.name),
            span::words(local.age_ms),
            local.response_time_ms,
        ));
    }
    text
}

fn count(number: u32, noun: &str) -> String {
    match (number, noun) {
        (1, _) => format!("1 {noun}"),
        (_, "success") => format!("{number} successes"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;

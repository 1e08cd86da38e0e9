//! What verdicts, classes, causes and abstentions mean to a person, and what to do about them.

use super::style::clean;
use crate::answers::{InstanceAnswer, ObserverAnswer};
use quorate_core::{AbstainReason, Cause, Class, Observation, Phase, Verdict};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Reasons that are quoted.
const QUOTED: usize = 3;

/// What a verdict means.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Starting => "It is registered, and nothing has been decided about it yet.",
        Verdict::Up => "A quorum of its observers reaches it and finds it well.",
        Verdict::Degraded => "It is reached, but answers with warnings.",
        Verdict::Partial => "Some places reach it, others do not.",
        Verdict::Down => "A quorum of its observers saw it fail, each with its own eyes.",
        Verdict::Unknown => "Nobody who would know can be heard, so neither up nor down can be claimed.",
        Verdict::Draining => "It is being taken out of service on purpose.",
        Verdict::Maintenance => "It is out of service on purpose.",
    }
}

/// What a class says is broken; nothing when there is nothing to say. `host` is the name of the home agent.
pub fn meaning(class: Class, host: &str) -> String {
    match class {
        Class::Healthy => String::new(),
        Class::PathFault => "Some observers reach it and others do not: a path or a zone is at fault.".to_owned(),
        Class::NetworkUnreachable => {
            format!("It answers on its own host {host}, and nobody else reaches it: its network is at fault.")
        }
        Class::InstanceFault => format!("It fails for everyone, while its host {host} answers: it is broken itself."),
        Class::LocalCheckerFault => {
            format!("Only the agent on its own host {host} fails to reach it: that agent's check is at fault.")
        }
        Class::HostDown => format!("Its whole host {host} is gone: the agent there is silent, and so is the instance."),
        Class::AgentDead => format!("The agent on {host} is gone; the service there still answers."),
        Class::Undetermined => "The votes do not tell what is broken.".to_owned(),
    }
}

/// What to do; nothing when all is well.
pub fn remedy(class: Class, verdict: Verdict, host: &str) -> String {
    match (class, verdict) {
        (_, Verdict::Unknown) => {
            "Bring its observers back, or wait for others to take their place; ask an agent on the other side of a partition.".into()
        }
        (_, Verdict::Starting) => "Wait for the first round of votes; the grace of its check may still run.".into(),
        (Class::Healthy, _) => String::new(),
        (Class::PathFault, _) => "Compare the zones of those that fail with those that pass; do not restart it.".into(),
        (Class::NetworkUnreachable, _) => {
            format!("Drain it and look at the network and the firewall of {host}; do not restart it.")
        }
        (Class::InstanceFault, _) => format!("Look at its process and its log on {host}, and restart it."),
        (Class::LocalCheckerFault, _) => {
            format!("Look at name resolution, files and limits of the agent on {host}; the service is well.")
        }
        (Class::HostDown, _) => format!("Bring {host} back; everything on it folds under this one fault."),
        (Class::AgentDead, _) => format!("Start the agent on {host} again; leave the service alone."),
        (Class::Undetermined, _) => "Look at the votes below.".into(),
    }
}

/// What is broken and what to do, where this very instance tells more than its class does.
pub fn particular(answer: &InstanceAnswer, host: &str) -> Option<String> {
    let it = &answer.summary;
    match it.verdict {
        Verdict::Starting | Verdict::Unknown if !it.enabled => {
            Some("What to do: Switch its check on, with `enabled = true`, to learn how it is.\n".to_owned())
        }
        Verdict::Starting | Verdict::Unknown => incapable(answer),
        _ if it.class == Class::InstanceFault => misled(answer, host),
        _ => None,
    }
}

/// Too few of the observers can make its probe to decide.
fn incapable(answer: &InstanceAnswer) -> Option<String> {
    let unable: Vec<_> = answer.observers.iter().filter(|one| one.heard && is_unable(one)).collect();
    let (all, count) = (answer.observers.len(), unable.len());
    if count == 0 || u32::try_from(all - count).is_ok_and(|able| able >= answer.summary.quorum) {
        return None;
    }
    let reasons: BTreeSet<_> = unable.iter().map(|observer| said(observer)).filter(|why| !why.is_empty()).collect();
    let reasons: Vec<_> = reasons.into_iter().take(QUOTED).collect();
    let why = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
    let noun = if all == 1 { "observer" } else { "observers" };
    Some(format!(
        "{count} of its {all} {noun} cannot probe it{why}.\nWhat to do: Put that right on their hosts; waiting alone does not help.\n"
    ))
}

/// Everyone fails, and it may be well: its name or its redirect leads nowhere.
fn misled(answer: &InstanceAnswer, host: &str) -> Option<String> {
    let class = Class::InstanceFault;
    let failing = |one: &&ObserverAnswer| one.heard && one.vote.as_deref() == Some("fail");
    let fails: Vec<_> = answer.observers.iter().filter(failing).collect();
    if !fails.is_empty() && fails.iter().all(|one| one.cause == Some(Cause::NameNotFound)) {
        let address = clean(&answer.summary.address);
        return Some(format!(
            "What is broken ({class}): Nobody finds the name in its address {address}, while its host {host} answers.\n\
             What to do: Look at that name and at the DNS that its observers ask; its process may be well.\n"
        ));
    }
    let there = redirected(answer)?;
    Some(format!(
        "What is broken ({class}): It sends its observers on to {there}, and there the probe fails.\n\
         What to do: Look at what answers at {there}, and at the redirect that leads there; it answers itself.\n"
    ))
}

/// Where its redirect led the answering agent, whose probe failed there.
fn redirected(answer: &InstanceAnswer) -> Option<SocketAddr> {
    let local = answer.local.as_ref().filter(|local| !local.is_healthy && local.check_type.starts_with("http"))?;
    let (peer, own) = (local.peer.as_deref()?.parse::<SocketAddr>(), answer.summary.address.parse::<SocketAddr>());
    match (peer, own) {
        (Ok(peer), Ok(own)) if peer != own => Some(peer),
        _ => None,
    }
}

/// Can it not make the probe on its host?
fn is_unable(observer: &ObserverAnswer) -> bool {
    observer.reason == Some(AbstainReason::Impaired) && observer.detail.starts_with(Observation::UNABLE)
}

/// What an observer adds to its vote, cleaned.
pub fn said(observer: &ObserverAnswer) -> String {
    clean(observer.detail.strip_prefix(Observation::UNABLE).unwrap_or(&observer.detail))
}

/// A failed probe in words, such as `refused the connection`.
pub fn failure(phase: Option<Phase>, cause: Option<Cause>) -> String {
    let during = match phase {
        Some(Phase::Prepare) => "while preparing the probe",
        Some(Phase::Resolve) => "while looking up the name",
        Some(Phase::Connect) => "while connecting",
        Some(Phase::Tls) => "in the TLS handshake",
        Some(Phase::Send) => "while sending the request",
        Some(Phase::FirstByte) => "while waiting for the answer",
        Some(Phase::Body) => "while reading the answer",
        Some(Phase::Assert) => "when judging the answer",
        None => "",
    };
    let what = match cause {
        Some(Cause::Timeout) => "time ran out",
        Some(Cause::Refused) => "the connection was refused",
        Some(Cause::Reset) => "the connection was reset",
        Some(Cause::Unreachable) => "there was no route",
        Some(Cause::NameNotFound) => "the name was not found",
        Some(Cause::Certificate) => "the certificate was not acceptable",
        Some(Cause::Protocol) => "the far end did not speak the protocol",
        Some(Cause::Status) => "the status was not an expected one",
        Some(Cause::Content) => "the content was not the expected one",
        Some(Cause::TooMuch) => "there was more than allowed",
        Some(Cause::Slow) => "the answer came too late to be of use",
        Some(Cause::Threshold) => "a number was beyond its limit",
        Some(Cause::Stopped) => "it is not running",
        Some(Cause::OutOfMemory) => "it was killed because memory ran out",
        Some(Cause::RestartLoop) => "it was restarted too often",
        Some(Cause::Resources) => "it uses more of its host than it should",
        Some(Cause::Local) => "the observer itself could not run the probe",
        None => "the probe failed",
    };
    format!("{what} {during}").trim_end().to_owned()
}

/// Why an observer abstains, in words.
pub fn abstention(observer: &ObserverAnswer) -> &'static str {
    match observer.reason {
        _ if is_unable(observer) => "it cannot probe it from there",
        Some(AbstainReason::Starting) => "it has not probed often enough yet",
        Some(AbstainReason::Isolated) => "it does not reach more than half of the roster itself",
        Some(AbstainReason::Stalled) => "it was held up itself",
        Some(AbstainReason::Disabled) => "the check is switched off",
        Some(AbstainReason::Impaired) => "too much fails there at once, so the fault is likely its own",
        None => "it gives no reason",
    }
}

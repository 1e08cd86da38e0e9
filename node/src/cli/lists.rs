//! `quorate health`, `services`, `instances` and `members`: the answers that are lists.

use super::client::path_part;
use super::question::{Question, nothing};
use super::span;
use super::style::{Ink, clean};
use super::table::{cell, layout};
use crate::answers::{
    HealthAnswer, HostSummary, InstanceSummary, InstancesAnswer, MemberAnswer, MembersAnswer, Membership,
    ServiceSummary, ServicesAnswer, Status, VerdictCounts, ViewAnswer,
};
use quorate_core::{Class, ServiceName, Verdict};
use std::process::ExitCode;

/// `quorate health`
pub struct Health;

impl Question for Health {
    type Answer = HealthAnswer;

    fn path(&self) -> String {
        "/v1/health".to_owned()
    }

    fn view<'a>(&self, answer: &'a HealthAnswer) -> &'a ViewAnswer {
        &answer.view
    }

    fn names(&self, answer: &HealthAnswer) -> Vec<String> {
        answer.services.iter().map(|service| service.service.to_string()).collect()
    }

    fn text(&self, answer: &HealthAnswer) -> String {
        let mut text = format!("{}\n", summary(answer));
        text.push_str(&services(&answer.services));
        if !answer.hosts.is_empty() {
            text.push('\n');
            text.push_str(&hosts(&answer.hosts));
        }
        text
    }

    fn exit(&self, answer: &HealthAnswer) -> ExitCode {
        if is_well(answer) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The whole mesh in one line.
pub fn summary(answer: &HealthAnswer) -> String {
    let status = Ink::of_status(answer.status).on(answer.status.as_str());
    format!("The mesh is {status}: {}.\n", in_words(&answer.verdicts))
}

/// Is nothing down or unknown or undecided, and does the agent that says so stand on the side that may?
pub fn is_well(answer: &HealthAnswer) -> bool {
    let bad = [Verdict::Down, Verdict::Unknown, Verdict::Starting];
    let instances = bad.iter().all(|verdict| answer.verdicts.get(verdict).is_none_or(|count| *count == 0));
    let hosts = answer.hosts.iter().all(|host| !matches!(host.verdict, Verdict::Down | Verdict::Unknown));
    instances && hosts && answer.view.quorate && matches!(answer.status, Status::Up | Status::Degraded)
}

/// `quorate services`
pub struct Services;

impl Question for Services {
    type Answer = ServicesAnswer;

    fn path(&self) -> String {
        "/v1/services".to_owned()
    }

    fn view<'a>(&self, answer: &'a ServicesAnswer) -> &'a ViewAnswer {
        &answer.view
    }

    fn names(&self, answer: &ServicesAnswer) -> Vec<String> {
        answer.services.iter().map(|service| service.service.to_string()).collect()
    }

    fn text(&self, answer: &ServicesAnswer) -> String {
        services(&answer.services)
    }
}

/// `quorate instances`
pub struct Instances {
    /// Only of this service.
    pub service: Option<ServiceName>,
    /// Only with one of these verdicts; with any when there are none.
    pub verdicts: Vec<Verdict>,
    /// Hosts too.
    pub hosts: bool,
}

impl Question for Instances {
    type Answer = InstancesAnswer;

    fn path(&self) -> String {
        let mut query = Vec::new();
        query.extend(self.service.as_ref().map(|service| format!("service={}", path_part(service.as_str()))));
        if !self.verdicts.is_empty() {
            let words: Vec<_> = self.verdicts.iter().map(|verdict| verdict.as_str()).collect();
            query.push(format!("verdict={}", words.join(",")));
        }
        query.extend(self.hosts.then(|| "hosts=true".to_owned()));
        if query.is_empty() { "/v1/instances".to_owned() } else { format!("/v1/instances?{}", query.join("&")) }
    }

    fn view<'a>(&self, answer: &'a InstancesAnswer) -> &'a ViewAnswer {
        &answer.view
    }

    fn names(&self, answer: &InstancesAnswer) -> Vec<String> {
        answer.instances.iter().map(|instance| instance.instance.to_string()).collect()
    }

    fn wide(&self, answer: &InstancesAnswer) -> String {
        if answer.instances.is_empty() {
            return self.text(answer);
        }
        let headings =
            [&INSTANCE_HEADINGS[..], &["ZONE", "ADDRESS", "CHECK", "TERM", "QUORUM", "WEIGHT", "TAGS"]].concat();
        let rows = answer.instances.iter().map(|instance| {
            let mut row = instance_row(instance);
            row.push(cell(instance.zone.as_str()));
            row.push(cell(&instance.address));
            row.push(cell(&instance.check));
            row.push(instance.term.to_string());
            row.push(format!("{}/{}", instance.quorum, instance.assigned));
            row.push(instance.weight.to_string());
            row.push(cell(&instance.tags.join(",")));
            row
        });
        layout(&headings, &[INSTANCE_HEADINGS.len() + 3, INSTANCE_HEADINGS.len() + 5], rows.collect())
    }

    fn text(&self, answer: &InstancesAnswer) -> String {
        if answer.instances.is_empty() {
            return nothing("No such instance.");
        }
        layout(&INSTANCE_HEADINGS, &[], answer.instances.iter().map(instance_row).collect())
    }
}

const INSTANCE_HEADINGS: [&str; 8] = ["INSTANCE", "SERVICE", "HOME", "VERDICT", "FOR", "CLASS", "VOTES", "NOTES"];

/// `quorate members`
pub struct Members;

impl Question for Members {
    type Answer = MembersAnswer;

    fn path(&self) -> String {
        "/v1/members".to_owned()
    }

    fn view<'a>(&self, answer: &'a MembersAnswer) -> &'a ViewAnswer {
        &answer.view
    }

    fn names(&self, answer: &MembersAnswer) -> Vec<String> {
        answer.members.iter().map(|member| member.name.clone()).collect()
    }

    fn text(&self, answer: &MembersAnswer) -> String {
        let headings =
            ["NAME", "AGENT", "STATE", "FOR", "HOST", "ZONE", "ADDRESS", "API", "BOOT", "INSTANCES", "VERSION"];
        layout(&headings, &[8, 9], answer.members.iter().map(member_row).collect())
    }
}

/// A table of services.
pub fn services(services: &[ServiceSummary]) -> String {
    if services.is_empty() {
        return nothing("No service is registered.");
    }
    let rows = services.iter().map(|service| {
        vec![
            cell(service.service.as_str()),
            Ink::of_status(service.status).on(service.status.as_str()),
            service.total.to_string(),
            in_words(&service.verdicts),
            notes(&[("folded", service.folded), ("stale", service.stale), ("flapping", service.flapping)]),
        ]
    });
    layout(&["SERVICE", "STATUS", "INSTANCES", "VERDICTS", "NOTES"], &[2], rows.collect())
}

/// A table of hosts.
pub fn hosts(hosts: &[HostSummary]) -> String {
    let rows = hosts.iter().map(|host| {
        vec![
            cell(&host.name),
            Ink::of_verdict(host.verdict).on(host.verdict.as_str()),
            span::words(host.age_ms),
            class_cell(host.class),
            cell(host.zone.as_str()),
            host.folded_instances.to_string(),
            cell(host.instance.as_str()),
        ]
    });
    layout(&["HOST", "VERDICT", "FOR", "CLASS", "ZONE", "FOLDED", "INSTANCE"], &[5], rows.collect())
}

fn instance_row(instance: &InstanceSummary) -> Vec<String> {
    let mut verdict = Ink::of_verdict(instance.verdict).on(instance.verdict.as_str());
    if instance.stale {
        verdict.push_str(&Ink::Yellow.on(" (stale)"));
    }
    let mut notes = Vec::new();
    if !instance.enabled {
        notes.push("check disabled".to_owned());
    }
    if instance.flapping {
        notes.push(format!("flapping: {} lately", instance.changes));
    }
    if instance.folded_under.is_some() {
        notes.push(format!("folded under host {}", cell(&instance.home_name)));
    }
    if instance.decided != instance.verdict && instance.term > 0 {
        notes.push(format!("last decided {}", instance.decided));
    }
    notes.extend(instance.hint.as_deref().map(clean));
    let votes = &instance.votes;
    let counts = [
        ("pass", votes.pass),
        ("warn", votes.warn),
        ("fail", votes.fail),
        ("abstain", votes.abstain),
        ("silent", votes.silent),
    ];
    let votes: Vec<_> =
        counts.iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!("{count} {word}")).collect();
    vec![
        cell(instance.instance.as_str()),
        cell(instance.service.as_str()),
        cell(&instance.home_name),
        verdict,
        span::words(instance.age_ms),
        class_cell(told_class(instance.class, instance.verdict)),
        votes.join(", "),
        notes.join("; "),
    ]
}

fn member_row(member: &MemberAnswer) -> Vec<String> {
    let this = if member.this { " (this)" } else { "" };
    vec![
        format!("{}{this}", cell(&member.name)),
        member.agent.to_string(),
        Ink::of_membership(member.state).on(membership_word(member.state)),
        span::words(member.age_ms),
        Ink::of_verdict(member.host).on(member.host.as_str()),
        cell(member.zone.as_str()),
        cell(&member.address),
        cell(&member.api_address),
        member.boot.to_string(),
        member.instances.to_string(),
        cell(&member.version),
    ]
}

/// The word of a member's state.
pub fn membership_word(state: Membership) -> &'static str {
    match state {
        Membership::Alive => "alive",
        Membership::Suspect => "suspect",
        Membership::Failed => "failed",
        Membership::Left => "left",
    }
}

/// The verdicts that occur, the worst first: `1 down, 4 up`.
fn in_words(counts: &VerdictCounts) -> String {
    let order = [
        Verdict::Down,
        Verdict::Unknown,
        Verdict::Partial,
        Verdict::Degraded,
        Verdict::Starting,
        Verdict::Up,
        Verdict::Draining,
        Verdict::Maintenance,
    ];
    let present = order.iter().filter_map(|verdict| counts.get(verdict).filter(|n| **n > 0).map(|n| (verdict, n)));
    let words: Vec<_> = present.map(|(verdict, n)| format!("{n} {verdict}")).collect();
    if words.is_empty() { "no instances".to_owned() } else { words.join(", ") }
}

fn notes(counts: &[(&str, usize)]) -> String {
    let words: Vec<_> =
        counts.iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!("{count} {word}")).collect();
    words.join(", ")
}

/// The class to tell of: a host that nobody doubts has no votes, which is no fault.
pub fn told_class(class: Class, verdict: Verdict) -> Class {
    match (class, verdict) {
        (Class::Undetermined, Verdict::Up | Verdict::Starting) => Class::Healthy,
        (class, _) => class,
    }
}

/// A class, empty when there is nothing to say.
fn class_cell(class: Class) -> String {
    match class {
        Class::Healthy => String::new(),
        Class::PathFault
        | Class::NetworkUnreachable
        | Class::InstanceFault
        | Class::LocalCheckerFault
        | Class::HostDown
        | Class::AgentDead
        | Class::Undetermined => class.as_str().to_owned(),
    }
}

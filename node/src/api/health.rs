//! `/v1/health` and `/v1/services`: how the mesh is, how each service is.

use super::freshness::{tag, tagged};
use super::instances::HOSTS;
use super::parameters::{Kind, Page, Parameter, Parameters};
use super::refusal::Fault;
use super::words::{age_ms, is_host, time, verdict_counts};
use super::{Picture, Refusal, Service, instances};
use crate::answers::{
    HealthAnswer, HostSummary, MemberCounts, ServiceAnswer, ServiceSummary, ServicesAnswer, Status, VerdictCounts,
};
use crate::spelling::nearest;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use quorate_core::{ServiceName, Verdict};
use quorate_mesh::{InstanceView, MemberState, MeshView};
use std::collections::BTreeMap;

/// `status`
pub const STATUS: Parameter = Parameter {
    name: "status",
    kind: Kind::Words(|| Status::ALL.iter().map(|status| status.as_str()).collect()),
    help: "Only services with one of these statuses.",
};

/// The whole mesh in one answer.
pub async fn health(State(service): State<Service>) -> Response {
    let tag = tag(&service, None);
    let Picture { view, answer, now } = service.picture();
    let services = summaries(&view, false);
    let hosts: Vec<_> = hosts_in_trouble(&view, now).collect();
    let of_services = view.instances.values().map(AsRef::as_ref).filter(|instance| !is_host(instance));
    let answer = HealthAnswer {
        view: answer,
        status: overall(&services, &hosts),
        verdicts: verdict_counts(of_services),
        services,
        hosts,
        members: member_counts(&view),
    };
    (tagged(tag), Json(answer)).into_response()
}

/// Every service that the parameters admit.
pub async fn services(State(service): State<Service>, parameters: Parameters) -> Response {
    let tag = tag(&service, None);
    let Picture { view, answer, .. } = service.picture();
    let mut admitted = summaries(&view, parameters.flag(HOSTS.name));
    admitted.retain(|summary| parameters.admits(STATUS.name, summary.status.as_str()));
    let Page { entries, total, next } = Page::of(&parameters, admitted, |summary| summary.service.to_string());
    (tagged(tag), Json(ServicesAnswer { view: answer, services: entries, total, next })).into_response()
}

/// One service with its instances.
pub async fn service(
    State(service): State<Service>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let tag = tag(&service, None);
    let Picture { view, answer, now } = service.picture();
    let all = by_service(&view);
    let Some((name, found)) = all.iter().find(|(known, _)| known.as_str() == name) else {
        let known = all.keys().map(|known| known.as_str());
        let detail = format!("there is no service {:?}", name.chars().take(128).collect::<String>());
        return Err(Refusal::new(Fault::UnknownService, detail, "GET /v1/services lists them")
            .nearest(nearest(&name, known, 3)));
    };
    let instances = found.iter().map(|instance| instances::summary(instance, now)).collect();
    Ok((tagged(tag), Json(ServiceAnswer { view: answer, summary: summary(name, found), instances })).into_response())
}

fn by_service(view: &MeshView) -> BTreeMap<&ServiceName, Vec<&InstanceView>> {
    let mut services: BTreeMap<&ServiceName, Vec<&InstanceView>> = BTreeMap::new();
    for instance in view.instances.values() {
        services.entry(&instance.service).or_default().push(instance);
    }
    services
}

/// The services; with `hosts` the built-in one too.
pub fn summaries(view: &MeshView, hosts: bool) -> Vec<ServiceSummary> {
    let agents = ServiceName::agents();
    let shown = by_service(view).into_iter().filter(|(name, _)| hosts || **name != agents);
    shown.map(|(name, instances)| summary(name, &instances)).collect()
}

fn summary(name: &ServiceName, instances: &[&InstanceView]) -> ServiceSummary {
    let count = |has: fn(&InstanceView) -> bool| instances.iter().filter(|instance| has(instance)).count();
    let verdicts = verdict_counts(instances.iter().copied());
    let checked = || instances.iter().copied().filter(|instance| !instance.is_switched_off());
    let status = if checked().next().is_some() { status(&verdict_counts(checked())) } else { Status::Unknown };
    ServiceSummary {
        service: name.clone(),
        status,
        total: instances.len(),
        verdicts,
        folded: count(|instance| instance.folded_under.is_some()),
        stale: count(InstanceView::is_stale),
        flapping: count(|instance| instance.flapping),
    }
}

/// The rule of docs/http-api.md; the first that holds.
fn status(verdicts: &VerdictCounts) -> Status {
    let any = |wanted: &[Verdict]| wanted.iter().any(|verdict| verdicts.get(verdict).is_some_and(|count| *count > 0));
    let serves = any(&[Verdict::Up, Verdict::Degraded, Verdict::Partial]);
    let trouble = any(&[Verdict::Down, Verdict::Degraded, Verdict::Partial, Verdict::Unknown]);
    if any(&[Verdict::Down]) && !serves {
        Status::Down
    } else if trouble && serves {
        Status::Degraded
    } else if any(&[Verdict::Unknown]) {
        Status::Unknown
    } else if any(&[Verdict::Starting]) && !any(&[Verdict::Up]) {
        Status::Starting
    } else {
        Status::Up
    }
}

fn overall(services: &[ServiceSummary], hosts: &[HostSummary]) -> Status {
    let rank = |status: Status| match status {
        Status::Up => 0,
        Status::Starting => 1,
        Status::Degraded => 2,
        Status::Unknown => 3,
        Status::Down => 4,
    };
    let of_hosts = if hosts.iter().any(|host| host.verdict == Verdict::Down) { Status::Degraded } else { Status::Up };
    services.iter().map(|service| service.status).fold(of_hosts, |a, b| if rank(b) > rank(a) { b } else { a })
}

/// Hosts that are neither up nor of an agent that left.
fn hosts_in_trouble(view: &MeshView, now: quorate_core::UnixMs) -> impl Iterator<Item = HostSummary> {
    view.instances.values().filter_map(move |host| {
        let agent = host.instance.host_of()?;
        let left = view.members.get(&agent).is_some_and(|member| member.state == MemberState::Left);
        if left || host.verdict == Verdict::Up {
            return None;
        }
        let folded = view.instances.values().filter(|instance| instance.folded_under.as_ref() == Some(&host.instance));
        Some(HostSummary {
            instance: host.instance.clone(),
            agent,
            name: host.home_name.clone(),
            zone: host.zone.clone(),
            verdict: host.verdict,
            class: host.class,
            since: time(host.since),
            age_ms: age_ms(now, host.since),
            folded_instances: folded.count(),
        })
    })
}

/// How many members are in each state.
pub fn member_counts(view: &MeshView) -> MemberCounts {
    let count = |state: MemberState| view.members.values().filter(|member| member.state == state).count();
    MemberCounts {
        alive: count(MemberState::Alive),
        suspect: count(MemberState::Suspect),
        failed: count(MemberState::Failed),
        left: count(MemberState::Left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_service() {
        use Verdict::{Degraded, Down, Draining, Partial, Starting, Unknown, Up};
        let table: [(&[Verdict], Status); 13] = [
            (&[], Status::Up),
            (&[Up, Up], Status::Up),
            (&[Up, Starting], Status::Up),
            (&[Starting], Status::Starting),
            (&[Starting, Unknown], Status::Unknown),
            (&[Unknown], Status::Unknown),
            (&[Up, Unknown], Status::Degraded),
            (&[Up, Down], Status::Degraded),
            (&[Down, Partial], Status::Degraded),
            (&[Degraded], Status::Degraded),
            (&[Down, Unknown], Status::Down),
            (&[Down, Starting], Status::Down),
            (&[Draining, Up], Status::Up),
        ];
        for (verdicts, expected) in table {
            let mut counts = VerdictCounts::new();
            verdicts.iter().for_each(|verdict| *counts.entry(*verdict).or_default() += 1);
            assert_eq!(status(&counts), expected, "{verdicts:?}");
        }
    }
}

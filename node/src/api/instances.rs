//! `/v1/instances`: verdicts, votes, certificates, and this agent's own last probe.

use super::words::{age_ms, is_host, membership, milliseconds, time, vote_counts};
use super::{Picture, Refusal, Service};
use crate::agent::probes::{LastProbe, is_healthy};
use crate::answers::{
    CertificateAnswer, CheckAnswer, EndorsementAnswer, InstanceAnswer, InstanceSummary, InstancesAnswer, LocalProbe,
    ObserverAnswer, PhaseTimings,
};
use crate::spelling::nearest;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use data_encoding::HEXLOWER;
use quorate_core::verdict::{Certificate, Endorsement};
use quorate_core::{AbstainReason, CheckKind, ProbeResult, Registration, UnixMs, Verdict, Vote};
use quorate_mesh::{InstanceView, MeshView, ObserverView};
use serde::Deserialize;
use std::time::Duration;

/// Parameters of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InstancesQuery {
    service: Option<String>,
    verdict: Option<Verdict>,
    zone: Option<String>,
    /// An agent's id or name.
    home: Option<String>,
    /// Show hosts as well?
    hosts: bool,
}

impl InstancesQuery {
    fn admits(&self, instance: &InstanceView) -> bool {
        let fits = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let home = |wanted: &String| *wanted == instance.home_name || *wanted == instance.home.to_string();
        (self.hosts || self.service.is_some() || !is_host(instance))
            && fits(&self.service, instance.service.as_str())
            && fits(&self.zone, instance.zone.as_str())
            && self.verdict.is_none_or(|wanted| wanted == instance.verdict)
            && self.home.as_ref().is_none_or(home)
    }
}

/// Every instance that the parameters admit.
pub async fn instances(
    State(service): State<Service>,
    query: Result<Query<InstancesQuery>, QueryRejection>,
) -> Result<Json<InstancesAnswer>, Refusal> {
    let Query(query) = query?;
    let Picture { view, answer, now } = service.picture();
    let admitted = view.instances.values().filter(|instance| query.admits(instance));
    let instances = admitted.map(|instance| summary(instance, now)).collect();
    Ok(Json(InstancesAnswer { view: answer, instances }))
}

/// One instance, with everything known of it.
pub async fn instance(
    State(service): State<Service>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<InstanceAnswer>, Refusal> {
    let Path(name) = name?;
    let Picture { view, answer, now } = service.picture();
    let Some((id, found)) = view.instances.iter().find(|(known, _)| known.as_str() == name) else {
        let known = view.instances.keys().map(|known| known.as_str());
        let detail = format!("there is no instance {:?}", name.chars().take(128).collect::<String>());
        return Err(Refusal::new(StatusCode::NOT_FOUND, "unknown_instance", detail, "GET /v1/instances lists them")
            .nearest(nearest(&name, known, 3)));
    };
    Ok(Json(InstanceAnswer {
        view: answer,
        summary: summary(found, now),
        settings: found.registration.as_deref().map(settings),
        observers: found.observers.iter().map(|observer| observer_answer(observer, now)).collect(),
        certificate: found.certificate.as_deref().map(|certificate| certificate_answer(certificate, &view)),
        local: service.0.local.of(id).map(|probe| local(&probe, now)),
    }))
}

/// An instance in a list.
pub fn summary(instance: &InstanceView, now: UnixMs) -> InstanceSummary {
    InstanceSummary {
        instance: instance.instance.clone(),
        service: instance.service.clone(),
        home: instance.home,
        home_name: instance.home_name.clone(),
        zone: instance.zone.clone(),
        address: instance.address.clone(),
        check: instance.check.to_owned(),
        enabled: instance.registration.as_ref().is_none_or(|registration| registration.check.enabled),
        verdict: instance.verdict,
        decided: instance.decided,
        term: instance.term,
        class: instance.class,
        since: time(instance.since),
        age_ms: age_ms(now, instance.since),
        stale: instance.stale_since.is_some(),
        stale_since: instance.stale_since.map(time),
        flapping: instance.flapping,
        changes: instance.changes,
        folded_under: instance.folded_under.clone(),
        assigned: instance.assigned,
        quorum: instance.quorum,
        votes: vote_counts(instance),
    }
}

fn settings(registration: &Registration) -> CheckAnswer {
    let check = &registration.check;
    let target = match &check.kind {
        CheckKind::Http(http) => {
            format!("{} {}://{}{}", http.method.as_str(), http.scheme.as_str(), registration.address, http.path)
        }
        CheckKind::Tcp(_) => format!("TCP {}", registration.address),
    };
    CheckAnswer {
        target,
        period_ms: milliseconds(check.period),
        timeout_ms: milliseconds(check.timeout),
        initial_delay_ms: milliseconds(check.initial_delay),
        failure_threshold: check.failure_threshold,
        success_threshold: check.success_threshold,
        max_retries: check.max_retries,
        observers: registration.observers,
    }
}

fn observer_answer(observer: &ObserverView, now: UnixMs) -> ObserverAnswer {
    let observation = observer.observation.as_ref();
    let vote = observation.map(|observation| observation.vote);
    let (phase, cause, reason) = parts(vote);
    ObserverAnswer {
        agent: observer.agent,
        name: observer.name.clone(),
        zone: observer.zone.clone(),
        home: observer.home,
        state: membership(observer.state),
        heard: observer.heard,
        vote: vote.map(|vote| vote.word().to_owned()),
        failure_type: vote.and_then(Vote::failure_type),
        phase,
        cause,
        reason,
        detail: observation.map(|observation| observation.detail.clone()).unwrap_or_default(),
        since: observation.map(|observation| time(observation.since)),
        age_ms: observation.map(|observation| age_ms(now, observation.since)),
    }
}

type Parts = (Option<quorate_core::Phase>, Option<quorate_core::Cause>, Option<AbstainReason>);

fn parts(vote: Option<Vote>) -> Parts {
    match vote {
        Some(Vote::Fail { phase, cause }) => (Some(phase), Some(cause), None),
        Some(Vote::Abstain(reason)) => (None, None, Some(reason)),
        Some(Vote::Pass | Vote::Warn) | None => (None, None, None),
    }
}

fn certificate_answer(certificate: &Certificate, view: &MeshView) -> CertificateAnswer {
    let endorsement = |endorsement: &Endorsement| {
        let (phase, cause, _) = parts(Some(endorsement.vote));
        EndorsementAnswer {
            agent: endorsement.agent,
            name: view.members.get(&endorsement.agent).map(|member| member.name.clone()),
            vote: endorsement.vote.word().to_owned(),
            phase,
            cause,
            signed_at: time(endorsement.signed_at),
            signature: HEXLOWER.encode(&endorsement.signature),
        }
    };
    CertificateAnswer {
        incarnation: certificate.decision.incarnation,
        term: certificate.decision.term,
        verdict: certificate.decision.verdict,
        class: certificate.class,
        decided_at: time(certificate.decided_at),
        observers: certificate.decision.observers,
        endorsements: certificate.endorsements.iter().map(endorsement).collect(),
    }
}

fn local(probe: &LastProbe, now: UnixMs) -> LocalProbe {
    let outcome = &probe.outcome;
    let (error, phase, cause) = match &outcome.result {
        ProbeResult::Pass => (None, None, None),
        ProbeResult::Warn(detail) => (Some(detail.clone()), None, None),
        ProbeResult::Fail(failure) => (Some(failure.detail.clone()), Some(failure.phase), Some(failure.cause)),
    };
    let timings = &outcome.timings;
    let spent = |span: Option<Duration>| span.map(fraction);
    LocalProbe {
        timestamp: time(probe.ended),
        age_ms: age_ms(now, probe.ended),
        check_type: probe.check.to_owned(),
        is_healthy: is_healthy(outcome),
        response_time_ms: fraction(timings.total),
        status_code: outcome.status_code,
        response_body: outcome.excerpt.clone(),
        headers: outcome.headers.clone(),
        error,
        phase,
        cause,
        attempts: outcome.attempts,
        peer: outcome.peer.clone(),
        timings: PhaseTimings {
            resolve_ms: spent(timings.resolve),
            connect_ms: spent(timings.connect),
            tls_ms: spent(timings.tls),
            first_byte_ms: spent(timings.first_byte),
            transfer_ms: spent(timings.transfer),
        },
    }
}

/// Milliseconds with three decimals.
fn fraction(span: Duration) -> f64 {
    (span.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

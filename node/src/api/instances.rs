//! `/v1/instances`: verdicts, votes, certificates, and this agent's own last probe.

use super::breakers::shown as breaker_shown;
use super::freshness::{not_modified, tag, tagged};
use super::limits::MAX_PAGE;
use super::parameters::{Kind, Page, Parameter, Parameters};
use super::probed::{probed, target};
use super::refusal::Fault;
use super::registering::shown;
use super::words::{age_ms, is_host, membership, milliseconds, time, vote_counts};
use super::{Picture, Refusal, Service};
use crate::agent::probes::LastProbe;
use crate::answers::{
    CertificateAnswer, CheckAnswer, EndorsementAnswer, InstanceAnswer, InstanceSummary, InstancesAnswer, LocalProbe,
    ObserverAnswer,
};
use crate::config::place::zone_of;
use crate::spelling::nearest;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use quorate_core::verdict::{Certificate, Endorsement};
use quorate_core::{AbstainReason, InstanceId, Observation, Registration, UnixMs, Verdict, Vote};
use quorate_mesh::{InstanceView, MeshView, ObserverView};
use std::collections::BTreeSet;
use std::sync::Arc;

/// `service`
pub const SERVICE: Parameter = Parameter { name: "service", kind: Kind::Text, help: "Only of this service." };
/// `verdict`
pub const VERDICT: Parameter = Parameter {
    name: "verdict",
    kind: Kind::Words(|| Verdict::ALL.iter().map(|verdict| verdict.as_str()).collect()),
    help: "Only with one of these verdicts.",
};
/// `zone`
pub const ZONE: Parameter = Parameter { name: "zone", kind: Kind::Text, help: "Only in this zone." };
/// `home`
pub const HOME: Parameter =
    Parameter { name: "home", kind: Kind::Text, help: "Only of this home agent, by its id or its name." };
/// `tag`
pub const TAG: Parameter =
    Parameter { name: "tag", kind: Kind::Names, help: "Only with all of these tags, with commas between." };
/// `stale`
pub const STALE: Parameter =
    Parameter { name: "stale", kind: Kind::Flag, help: "Only those whose verdict too few observers can confirm." };
/// `hosts`
pub const HOSTS: Parameter = Parameter {
    name: "hosts",
    kind: Kind::Flag,
    help: "Show the built-in service of hosts, `quorate-agent`, as well.",
};
/// `limit`
pub const LIMIT: Parameter =
    Parameter { name: "limit", kind: Kind::Count(1, MAX_PAGE), help: "At most so many entries in the answer." };
/// `after`
pub const AFTER: Parameter =
    Parameter { name: "after", kind: Kind::Text, help: "Only entries after this one: `next` of the page before." };

/// Is it one of those asked for?
pub fn admits(parameters: &Parameters, instance: &InstanceView) -> bool {
    let home = |wanted: &str| wanted == instance.home_name || wanted == instance.home.to_string();
    (parameters.flag(HOSTS.name) || parameters.has(SERVICE.name) || !is_host(instance))
        && parameters.admits(SERVICE.name, instance.service.as_str())
        && parameters.admits(ZONE.name, zone_of(instance).as_str())
        && parameters.admits(VERDICT.name, instance.verdict.as_str())
        && parameters.text(HOME.name).is_none_or(home)
        && (!parameters.flag(STALE.name) || instance.stale_since.is_some())
        && parameters.names(TAG.name).iter().all(|tag| has_tag(instance, tag))
}

fn has_tag(instance: &InstanceView, tag: &str) -> bool {
    let tags = instance.registration.as_ref().map(|registration| &registration.placement.tags);
    tags.is_some_and(|tags| tags.iter().any(|known| known == tag))
}

/// Every instance that the parameters admit.
pub async fn instances(State(service): State<Service>, parameters: Parameters) -> Response {
    let tag = tag(&service, None);
    let Picture { view, answer, now } = service.picture();
    let admitted = view.instances.values().filter(|instance| admits(&parameters, instance)).collect();
    let Page { entries, total, next } =
        Page::of(&parameters, admitted, |instance: &&Arc<InstanceView>| instance.instance.to_string());
    let instances = entries.into_iter().map(|instance| summary(instance, now)).collect();
    (tagged(tag), Json(InstancesAnswer { view: answer, instances, total, next })).into_response()
}

/// One instance, with everything known of it.
pub async fn instance(
    State(service): State<Service>,
    headers: HeaderMap,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let known = InstanceId::new(name.as_str()).ok().and_then(|id| service.0.local.of(&id));
    let tag = tag(&service, known.as_ref().map(|probe| probe.ended.0));
    let Picture { view, answer, now } = service.picture();
    let found = find(&view, &name)?;
    if let Some(unchanged) = not_modified(&headers, &tag) {
        return Ok(unchanged);
    }
    let answer = InstanceAnswer {
        view: answer,
        summary: summary(found, now),
        settings: found.registration.as_deref().map(settings),
        observers: found.observers.iter().map(|observer| observer_answer(observer, now)).collect(),
        certificate: found.certificate.as_deref().map(|certificate| certificate_answer(certificate, &view)),
        local: known.map(|probe| local(&probe, now)),
        breaker: view.breakers.iter().find(|breaker| breaker.key.instance == found.instance).map(breaker_shown),
    };
    Ok((tagged(tag), Json(answer)).into_response())
}

/// The instance of that name.
///
/// # Errors
/// When there is none.
pub fn find<'a>(view: &'a MeshView, name: &str) -> Result<&'a InstanceView, Refusal> {
    let found = InstanceId::new(name).ok().and_then(|id| view.instances.get(&id));
    found.map(AsRef::as_ref).ok_or_else(|| {
        let known = view.instances.keys().map(|known| known.as_str());
        let detail = format!("there is no instance {:?}", name.chars().take(128).collect::<String>());
        Refusal::new(Fault::UnknownInstance, detail, "GET /v1/instances lists them").nearest(nearest(name, known, 3))
    })
}

/// Since when what is stated is so. What an operator wants has a beginning of its own; of one that is drained, it is stated while it is well.
fn since(instance: &InstanceView) -> UnixMs {
    let intent = instance.registration.as_ref().and_then(|registration| registration.placement.intent.as_ref());
    match (instance.verdict, intent) {
        (Verdict::Maintenance, Some(intent)) => intent.since,
        (Verdict::Draining, Some(intent)) => instance.since.max(intent.since),
        _ => instance.since,
    }
}

/// An instance in a list.
pub fn summary(instance: &InstanceView, now: UnixMs) -> InstanceSummary {
    let placement =
        instance.registration.as_ref().map(|registration| registration.placement.clone()).unwrap_or_default();
    InstanceSummary {
        weight: placement.weight,
        tags: placement.tags,
        intent: placement.intent.as_ref().map(shown),
        instance: instance.instance.clone(),
        service: instance.service.clone(),
        home: instance.home,
        home_name: instance.home_name.clone(),
        zone: zone_of(instance).into_owned(),
        address: instance.address.clone(),
        check: instance.check.to_owned(),
        enabled: instance.registration.as_ref().is_none_or(|registration| registration.check.enabled),
        verdict: instance.verdict,
        decided: instance.decided,
        term: instance.term,
        class: instance.class,
        since: time(since(instance)),
        age_ms: age_ms(now, since(instance)),
        stale: instance.stale_since.is_some(),
        stale_since: instance.stale_since.map(time),
        flapping: instance.flapping,
        changes: instance.changes,
        folded_under: instance.folded_under.clone(),
        assigned: instance.assigned,
        quorum: instance.quorum,
        votes: vote_counts(instance),
        hint: hint(instance),
    }
}

/// Reasons that a hint quotes.
const QUOTED: usize = 3;

/// Too few of its observers can make its probe on their hosts for anything to be decided, and what they lack.
fn hint(instance: &InstanceView) -> Option<String> {
    if !matches!(instance.verdict, Verdict::Starting | Verdict::Unknown) || instance.is_switched_off() {
        return None;
    }
    let lacks = |observer: &ObserverView| {
        let said = observer.observation.as_ref().filter(|_| observer.heard)?;
        let unable = matches!(said.vote, Vote::Abstain(AbstainReason::Impaired));
        said.detail.strip_prefix(Observation::UNABLE).filter(|_| unable).map(str::to_owned)
    };
    let lacking: Vec<String> = instance.observers.iter().filter_map(lacks).collect();
    let (all, count) = (instance.observers.len(), lacking.len());
    if count == 0 || u32::try_from(all - count).is_ok_and(|able| able >= instance.quorum) {
        return None;
    }
    let who = match all - count {
        0 => "no observer can probe it".to_owned(),
        _ => format!("{count} of its {all} observers cannot probe it"),
    };
    let reasons: BTreeSet<String> = lacking.into_iter().filter(|why| !why.is_empty()).collect();
    let reasons: Vec<String> = reasons.into_iter().take(QUOTED).collect();
    let why = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
    Some(format!("{who}{why}"))
}

fn settings(registration: &Registration) -> CheckAnswer {
    let check = &registration.check;
    CheckAnswer {
        target: target(registration),
        period_ms: milliseconds(check.period),
        timeout_ms: milliseconds(check.timeout),
        initial_delay_ms: milliseconds(check.initial_delay),
        failure_threshold: check.failure_threshold,
        success_threshold: check.success_threshold,
        max_retries: check.max_retries,
        observers: registration.observers,
        home_only: check.kind.home_only(),
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
    LocalProbe { timestamp: time(probe.ended), age_ms: age_ms(now, probe.ended), ..probed(probe.check, &probe.outcome) }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{instance, observer};
    use super::*;
    use quorate_core::{Check, Intent, IntentKind};

    #[test]
    fn what_no_observer_can_probe_says_why() {
        let unable = |agent, lacks: &str| {
            let mut found = observer(agent, Some(Vote::Abstain(AbstainReason::Impaired)));
            if let Some(said) = &mut found.observation {
                said.detail = format!("{}{lacks}", Observation::UNABLE);
            }
            found
        };
        let mut found = instance("web@10.0.0.1:80", "web", 1, Verdict::Starting);
        found.observers = vec![unable(1, "no secret X"), unable(2, "no secret X"), unable(3, "no folder")];
        let told = |found: &InstanceView| summary(found, UnixMs(1000)).hint;
        assert_eq!(told(&found).as_deref(), Some("no observer can probe it: no folder; no secret X"));
        found.observers[0] = observer(1, Some(Vote::Pass));
        assert_eq!(told(&found).as_deref(), Some("2 of its 3 observers cannot probe it: no folder; no secret X"));
        found.observers[1] = observer(2, Some(Vote::Abstain(AbstainReason::Impaired)));
        assert_eq!(told(&found), None, "two of three can, and that is a quorum");
        found.observers = vec![unable(1, ""), unable(2, ""), observer(3, None)];
        assert_eq!(told(&found).as_deref(), Some("2 of its 3 observers cannot probe it"));
        found.verdict = Verdict::Up;
        assert_eq!(told(&found), None);
        found.verdict = Verdict::Unknown;
        found.observers[0].heard = false;
        assert_eq!(told(&found), None, "of one that is not heard nothing is known");
        found.observers[0].heard = true;
        assert!(told(&found).is_some());
        let mut registration = found.registration.as_deref().cloned().expect("a registration");
        registration.check = Check { enabled: false, ..Check::default() }.into();
        found.registration = Some(Arc::new(registration));
        assert_eq!(told(&found), None, "it is switched off on purpose");
    }

    #[test]
    fn what_is_wanted_begins_when_it_is_wanted() {
        let stated = |verdict, kind: Option<IntentKind>| {
            let mut found = instance("web@10.0.0.1:80", "web", 1, verdict);
            found.since = UnixMs(500);
            let registration = found.registration.as_deref().cloned();
            let mut registration = registration.expect("a registration");
            registration.placement.intent = kind.map(|kind| {
                let (owner, reason) = ("ann".to_owned(), String::new());
                Intent { kind, owner, reason, since: UnixMs(900), until: None }
            });
            found.registration = Some(Arc::new(registration));
            let early = summary(&found, UnixMs(1000)).age_ms;
            found.since = UnixMs(950);
            (early, summary(&found, UnixMs(1000)).age_ms)
        };
        assert_eq!(stated(Verdict::Up, None), (500, 50));
        assert_eq!(stated(Verdict::Maintenance, Some(IntentKind::Maintenance)), (100, 100));
        assert_eq!(stated(Verdict::Draining, Some(IntentKind::Draining)), (100, 50), "drained, it was down until then");
        assert_eq!(stated(Verdict::Down, Some(IntentKind::Draining)), (500, 50));
    }
}

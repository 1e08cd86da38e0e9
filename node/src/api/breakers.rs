//! `/v1/breakers`: permits and reports for callers in any language, and what the mesh knows of every breaker.

use super::body::Body;
use super::freshness::{tag, tagged};
use super::refusal::{Fault, Refusal};
use super::words::time;
use super::{Picture, Service};
use crate::agent::callers::Answer;
use crate::answers::{
    BreakerAnswer, BreakerMode, BreakersAnswer, CallFault, CallOutcome, CallReportAnswer, CallsAnswer, OverrideAnswer,
    OverrideBody, PermitAnswer, ReportBody, ReportedCall, WishAnswer,
};
use crate::metrics::CallEnd;
use crate::spelling::nearest;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use quorate_breaker::{Fault as CallFailure, Outcome, Permit};
use quorate_core::{InstanceId, ServiceName};
use quorate_mesh::{BreakerKey, BreakerView, CallCounts, OverrideMode, OverrideWish};
use std::time::Duration;

/// Most calls in one report.
const MAX_CALLS: usize = 1_000;
/// Longest name of an operation, in characters.
const MAX_OPERATION_CHARS: usize = 64;
/// The operation of a call that does not say.
const OPERATION: &str = "call";
/// Longest reason of an override, in bytes.
const MAX_REASON_BYTES: usize = 256;
/// Longest override: 30 days.
const MAX_SECONDS: u64 = 30 * 86_400;

/// Every breaker.
pub async fn breakers(State(service): State<Service>) -> Response {
    let tag = tag(&service, None);
    let Picture { view, answer, .. } = service.picture();
    let breakers = view.breakers.iter().map(shown).collect();
    (tagged(tag), Json(BreakersAnswer { view: answer, breakers })).into_response()
}

/// The breakers of one service.
pub async fn of_service(
    State(service): State<Service>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path(name) = name?;
    let tag = tag(&service, None);
    let Picture { view, answer, .. } = service.picture();
    let breakers: Vec<_> = view.breakers.iter().filter(|b| b.key.service.as_str() == name).map(shown).collect();
    if breakers.is_empty() {
        let known = view.breakers.iter().map(|breaker| breaker.key.service.as_str());
        let detail = format!("no breaker of a service {:?} is known here", name.chars().take(64).collect::<String>());
        return Err(Refusal::new(Fault::UnknownBreaker, detail, "GET /v1/breakers lists them")
            .nearest(nearest(&name, known, 3)));
    }
    Ok((tagged(tag), Json(BreakersAnswer { view: answer, breakers })).into_response())
}

type Named = Result<Path<(String, String)>, PathRejection>;

fn key(named: Named) -> Result<BreakerKey, Refusal> {
    let Path((service, instance)) = named?;
    // What cannot be a name is nobody's.
    let unknown = |detail: String| Refusal::new(Fault::UnknownInstance, detail, "GET /v1/instances lists them");
    let service = ServiceName::new(service).map_err(|error| unknown(error.to_string()))?;
    let instance = InstanceId::new(instance).map_err(|error| unknown(error.to_string()))?;
    if instance.host_of().is_some() {
        return Err(Refusal::bad_request("hosts are not called; name an instance of a service"));
    }
    Ok(BreakerKey { service, instance })
}

/// May a call be made?
pub async fn permit(State(service): State<Service>, named: Named) -> Result<Json<PermitAnswer>, Refusal> {
    let key = key(named)?;
    let none = PermitAnswer { admitted: true, permit: None, trial: false, reason: None, retry_after_ms: None };
    Ok(Json(match service.0.callers.permit(&key) {
        Answer::Admitted(permit) => {
            let trial = permit.is_trial();
            PermitAnswer { permit: Some(written(permit)), trial, ..none }
        }
        Answer::Unguarded => none,
        Answer::Rejected(rejected, after) => {
            service.0.metrics.call_rejected(key.service.as_str());
            let retry_after_ms = after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
            PermitAnswer { admitted: false, reason: Some(rejected.why.as_str().to_owned()), retry_after_ms, ..none }
        }
    }))
}

/// What calls came to.
pub async fn report(
    State(service): State<Service>,
    named: Named,
    Body(ReportBody { calls }): Body<ReportBody>,
) -> Result<Json<CallReportAnswer>, Refusal> {
    let key = key(named)?;
    if calls.len() > MAX_CALLS {
        return Err(Refusal::bad_request(format!(
            "{} calls are more than one report may hold: {MAX_CALLS}",
            calls.len()
        )));
    }
    // All or nothing: what is wrong is said before anything is counted.
    let calls = calls.iter().map(read).collect::<Result<Vec<_>, Refusal>>()?;
    let mut counted = 0;
    let all = calls.len();
    for (permit, outcome, took, operation) in calls {
        service.0.metrics.call_ended(key.service.as_str(), operation, end_of(outcome), took);
        counted += usize::from(service.0.callers.record(&key, permit, outcome, took));
    }
    Ok(Json(CallReportAnswer { counted, void: all - counted }))
}

type Call<'a> = (Option<Permit>, Outcome, Option<Duration>, &'a str);

fn read(call: &ReportedCall) -> Result<Call<'_>, Refusal> {
    let permit = call.permit.as_deref().map(|text| {
        let wrong = || Refusal::bad_request(format!("{:?} is no permit", text.chars().take(64).collect::<String>()));
        unwritten(text).ok_or_else(wrong)
    });
    let outcome = match (call.outcome, call.fault) {
        (CallOutcome::Success, None) => Outcome::Success,
        (CallOutcome::Neutral, None) => Outcome::Neutral,
        (CallOutcome::Failure, Some(CallFault::Answer)) => Outcome::Failure(CallFailure::Answer),
        (CallOutcome::Failure, Some(CallFault::Silence) | None) => Outcome::Failure(CallFailure::Silence),
        (CallOutcome::Success | CallOutcome::Neutral, Some(_)) => {
            return Err(Refusal::bad_request("only a failure has a fault"));
        }
    };
    let operation = call.operation.as_deref().unwrap_or(OPERATION);
    let named = (1..=MAX_OPERATION_CHARS).contains(&operation.chars().count()) && !operation.contains(char::is_control);
    if !named {
        return Err(Refusal::bad_request("an operation's name has 1 to 64 characters"));
    }
    Ok((permit.transpose()?, outcome, call.duration_ms.map(Duration::from_millis), operation))
}

fn end_of(outcome: Outcome) -> CallEnd {
    match outcome {
        Outcome::Success => CallEnd::Success,
        Outcome::Neutral => CallEnd::Neutral,
        Outcome::Failure(CallFailure::Answer) => CallEnd::Error("error"),
        Outcome::Failure(CallFailure::Silence) => CallEnd::Error("timeout"),
    }
}

/// A permit as a text that its holder need not understand.
fn written(permit: Permit) -> String {
    let (generation, place, word) = permit.into_parts();
    format!("{generation:x}.{place:x}.{word:x}")
}

fn unwritten(text: &str) -> Option<Permit> {
    let mut parts = text.split('.');
    let generation = u32::from_str_radix(parts.next()?, 16).ok()?;
    let place = u8::from_str_radix(parts.next()?, 16).ok()?;
    let word = u64::from_str_radix(parts.next()?, 16).ok()?;
    parts.next().is_none().then(|| Permit::from_parts((generation, place, word)))
}

/// A person decides about a breaker.
pub async fn override_one(
    State(service): State<Service>,
    named: Named,
    Body(body): Body<OverrideBody>,
) -> Result<Response, Refusal> {
    let key = key(named)?;
    if body.reason.is_empty() || body.reason.len() > MAX_REASON_BYTES {
        return Err(Refusal::bad_request("an override needs a reason of 1 to 256 bytes"));
    }
    if !(1..=MAX_SECONDS).contains(&body.seconds) {
        return Err(Refusal::bad_request(format!("an override lasts 1 to {MAX_SECONDS} seconds")));
    }
    if body.mode == BreakerMode::Automatic {
        return Err(Refusal::bad_request("`automatic` is what is without an override: use DELETE"));
    }
    let (mode, lives) = (mode_of(body.mode), Duration::from_secs(body.seconds));
    wish(&service, OverrideWish { key, mode, reason: body.reason, lives })
}

/// Is it one that the mesh knows, or that callers use? A word about any other may be meant for callers that begin later, or be a slip of the pen.
fn is_known(service: &Service, key: &BreakerKey) -> bool {
    let Picture { view, .. } = service.picture();
    view.instances.get(&key.instance).is_some_and(|instance| instance.service == key.service)
        || view.breakers.iter().any(|breaker| breaker.key == *key && breaker.overridden.is_none())
}

/// The machine decides again.
pub async fn lift(State(service): State<Service>, named: Named) -> Result<Response, Refusal> {
    let key = key(named)?;
    let Picture { view, .. } = service.picture();
    if !view.breakers.iter().any(|breaker| breaker.key == key && breaker.overridden.is_some()) {
        let detail = format!("nobody overrides the breaker of {} before {}", key.service, key.instance);
        return Err(Refusal::new(Fault::UnknownBreaker, detail, "GET /v1/breakers lists them"));
    }
    let (mode, reason) = (OverrideMode::Automatic, "lifted".to_owned());
    wish(&service, OverrideWish { key, mode, reason, lives: Duration::ZERO })
}

fn wish(service: &Service, wish: OverrideWish) -> Result<Response, Refusal> {
    let (service_name, instance, mode) = (wish.key.service.clone(), wish.key.instance.clone(), wish.mode.into());
    let known = is_known(service, &wish.key);
    if !service.0.callers.wish(wish) {
        return Err(Refusal::internal("the engine does not take it"));
    }
    let answer = WishAnswer { service: service_name, instance, mode, known };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

fn mode_of(mode: BreakerMode) -> OverrideMode {
    match mode {
        BreakerMode::Automatic => OverrideMode::Automatic,
        BreakerMode::ObserveOnly => OverrideMode::ObserveOnly,
        BreakerMode::ForcedOpen => OverrideMode::ForcedOpen,
        BreakerMode::ForcedClosed => OverrideMode::ForcedClosed,
        BreakerMode::Disabled => OverrideMode::Disabled,
    }
}

/// A breaker as it is answered.
pub fn shown(breaker: &BreakerView) -> BreakerAnswer {
    let calls = |counts: &CallCounts| CallsAnswer {
        calls: counts.calls,
        answered: counts.answered,
        silent: counts.silent,
        slow: counts.slow,
    };
    BreakerAnswer {
        service: breaker.key.service.clone(),
        instance: breaker.key.instance.clone(),
        state: breaker.state.into(),
        cause: breaker.cause.map(Into::into),
        first: breaker.first,
        first_name: breaker.first_name.clone(),
        since: breaker.since.map(time),
        outage: breaker.outage,
        attempts: breaker.attempts,
        zone: breaker.zone.clone(),
        spared: breaker.spared,
        callers: breaker.callers,
        trying: breaker.trying.clone(),
        evidence: calls(&breaker.evidence),
        own: calls(&breaker.own),
        used_here: breaker.used_here,
        overridden: breaker.overridden.as_ref().map(|word| OverrideAnswer {
            mode: word.mode.into(),
            owner: word.owner,
            reason: word.reason.clone(),
            epoch: word.epoch,
            ends: time(word.ends),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_the_same_when_it_comes_back() {
        for parts in [(0, 0, 0), (u32::MAX, 255, u64::MAX), (7, 3, 1 << 40)] {
            let text = written(Permit::from_parts(parts));
            assert_eq!(unwritten(&text).unwrap().into_parts(), parts);
        }
        for bad in ["", "1.2", "1.2.3.4", "x.0.0", "1.100.0", "1.0.10000000000000000"] {
            assert!(unwritten(bad).is_none(), "{bad}");
        }
    }
}

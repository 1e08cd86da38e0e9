//! `/v1/instances/{instance}/failures`: what the answering agent itself saw of an instance's failures.

use super::refusal::Refusal;
use super::words::{milliseconds, time};
use super::{Service, instances};
use crate::agent::failures::{History, ResultLine};
use crate::answers::{ConsecutiveAnswer, FailureAnswer, FailuresAnswer, ResultAnswer};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use quorate_core::detection::FailureEvent;

/// The failures, newest first.
pub async fn failures(
    State(service): State<Service>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<FailuresAnswer>, Refusal> {
    let Path(name) = name?;
    let view = service.0.published.view();
    let found = instances::find(&view, &name)?;
    let history = service.0.failures.of(&found.instance);
    let observed = history.is_some();
    let answer = answer(found, &history.unwrap_or_default(), view.name.clone());
    Ok(Json(FailuresAnswer { observed, ..answer }))
}

fn answer(found: &quorate_mesh::InstanceView, history: &History, observer: String) -> FailuresAnswer {
    let window = found.registration.as_ref().map(|known| known.check.detection.window).unwrap_or_default();
    FailuresAnswer {
        instance_id: found.instance.clone(),
        app_name: found.service.clone(),
        observer,
        observed: true,
        observers: found.observers.iter().map(|observer| observer.name.clone()).collect(),
        flapping: history.flapping,
        flap_percent: history.flap_percent,
        window_ms: milliseconds(window),
        probes: history.probes,
        failed: history.failed,
        consecutive: history.consecutive.map(|(failure_type, count)| ConsecutiveAnswer { failure_type, count }),
        failures: history.failures.iter().rev().map(failure).collect(),
        results: history.results.iter().rev().map(result).collect(),
    }
}

/// One failure event, as it is answered.
pub fn failure(event: &FailureEvent) -> FailureAnswer {
    FailureAnswer {
        failure_type: event.failure_type,
        severity: event.severity.as_str().to_owned(),
        is_critical: event.is_critical(),
        message: event.message.clone(),
        details: event.details.clone(),
        timestamp: time(event.timestamp),
        consecutive_count: event.consecutive_count,
        total_count: event.total_count,
        first_occurrence: time(event.first_occurrence),
    }
}

fn result(line: &ResultLine) -> ResultAnswer {
    ResultAnswer {
        timestamp: time(line.at),
        result: line.result.as_str().to_owned(),
        response_time_ms: line.took_ms.into(),
        failure_type: line.failure_type,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{get, start, view};
    use crate::answers::FailuresAnswer;
    use quorate_core::FailureType;

    #[tokio::test]
    async fn failures_are_told_by_whoever_saw_them() {
        let api = start(view()).api;
        let seen: FailuresAnswer = get(api, "/v1/instances/web@10.0.0.3:80/failures", 200).await;
        assert!(seen.observed && !seen.flapping);
        assert_eq!((seen.observer.as_str(), seen.probes, seen.failed, seen.window_ms), ("host-1", 1, 1, 600_000));
        let failure = &seen.failures[0];
        assert_eq!((failure.failure_type, failure.severity.as_str()), (FailureType::PortNotListening, "low"));
        assert_eq!((failure.consecutive_count, failure.details["check_type"].as_str()), (1, "http"));
        assert_eq!(seen.results[0].result, "fail");
        let unseen: FailuresAnswer = get(api, "/v1/instances/web@10.0.0.1:80/failures", 200).await;
        assert!(!unseen.observed && unseen.failures.is_empty());
        assert_eq!(unseen.observers, ["host-1", "host-2", "host-3"]);
    }
}

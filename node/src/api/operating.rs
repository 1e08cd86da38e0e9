//! What operators' tools ask: services in three words, the agent's queues and caches.

use super::refusal::{Fault, Refusal};
use super::words::time;
use super::{Picture, Service, health};
use crate::agent::probes::is_healthy;
use crate::answers::{
    CacheAnswer, CachesAnswer, OpsStatus, OpsStatusAnswer, QueueAnswer, QueueHealth, QueueMetrics, QueuesAnswer, Status,
};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use quorate_core::{ProbeResult, ServiceName, Verdict};
use quorate_probe::ProbeStats;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Every service: can it be used?
pub async fn status(State(service): State<Service>) -> Json<OpsStatusAnswer> {
    let Picture { view, now, .. } = service.picture();
    let guarded = guarded(&service);
    let services = health::summaries(&view, false).into_iter().map(|summary| {
        let serving = [Verdict::Up, Verdict::Degraded, Verdict::Partial, Verdict::Draining];
        let serves = serving.iter().any(|verdict| summary.verdicts.get(verdict).is_some_and(|count| *count > 0));
        let status = match summary.status {
            // All of it is worked on.
            _ if !serves => OpsStatus::Down,
            Status::Up | Status::Degraded if guarded.contains(&summary.service) => OpsStatus::Protected,
            Status::Up | Status::Degraded => OpsStatus::Up,
            Status::Starting | Status::Unknown | Status::Down => OpsStatus::Down,
        };
        (summary.service.to_string(), status)
    });
    Json(OpsStatusAnswer { timestamp: time(now), services: services.collect() })
}

/// The services of which every instance that answered this agent's last probe asked who is there.
fn guarded(service: &Service) -> BTreeSet<ServiceName> {
    let mut asks: BTreeMap<ServiceName, bool> = BTreeMap::new();
    for (_, probe) in service.0.local.all().into_iter().filter(|(_, probe)| is_healthy(&probe.outcome)) {
        let guarded = matches!(probe.outcome.result, ProbeResult::Protected(_));
        asks.entry(probe.service.clone()).and_modify(|all| *all &= guarded).or_insert(guarded);
    }
    asks.into_iter().filter(|(_, all)| *all).map(|(service, _)| service).collect()
}

/// The queue of probes.
const PROBES: &str = "probes";

/// Every queue.
pub async fn queues(State(service): State<Service>) -> Json<QueuesAnswer> {
    Json(QueuesAnswer { timestamp: time(service.picture().now), queues: all_queues(&service) })
}

/// Every queue by its name.
pub fn all_queues(service: &Service) -> BTreeMap<String, QueueAnswer> {
    [(PROBES.to_owned(), probes(service))].into()
}

/// One queue.
pub async fn queue(
    State(service): State<Service>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<QueueAnswer>, Refusal> {
    match name?.as_str() {
        PROBES => Ok(Json(probes(&service))),
        other => {
            let detail = format!("there is no queue {:?}", other.chars().take(64).collect::<String>());
            Err(Refusal::new(Fault::UnknownQueue, detail, "GET /health/queues lists them"))
        }
    }
}

fn probes(service: &Service) -> QueueAnswer {
    told(&service.0.prober.stats(), service.0.metrics.average_job_time())
}

/// The queue of probes under the guide's names.
fn told(stats: &ProbeStats, average_job: Option<Duration>) -> QueueAnswer {
    let waited = u32::try_from(stats.waited).unwrap_or(u32::MAX);
    let average_wait = (waited > 0).then(|| stats.waited_total / waited);
    let milliseconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let metrics = QueueMetrics {
        total_requests: stats.passed + stats.failed + stats.in_flight + stats.waiting,
        completed_requests: stats.passed,
        failed_requests: stats.failed,
        queue_size: stats.waiting,
        pending_requests: stats.in_flight,
        average_wait_time: average_wait.map(milliseconds),
        average_execution_time: average_job.map(milliseconds),
    };
    QueueAnswer { health: if stats.waiting == 0 { QueueHealth::Healthy } else { QueueHealth::Degraded }, metrics }
}

/// The caches.
pub async fn caches(State(service): State<Service>) -> Json<CachesAnswer> {
    let stats = service.0.prober.stats();
    let share = |hits: u64, all: u64| {
        let permille = hits.saturating_mul(1000) / all;
        f64::from(u32::try_from(permille).unwrap_or(1000)) / 1000.0
    };
    let cache = |(hits, misses): (u64, u64)| {
        let hit_rate = (hits + misses > 0).then(|| share(hits, hits + misses));
        CacheAnswer { hits, misses, hit_rate }
    };
    Json(CachesAnswer {
        timestamp: time(service.picture().now),
        dns: cache((stats.dns_cache_hits, stats.dns_lookups)),
        answers: cache(service.0.kept.hits_and_misses()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_told_in_the_guides_numbers() {
        let waited_total = Duration::from_millis(9);
        let stats = ProbeStats {
            passed: 5,
            failed: 3,
            in_flight: 2,
            waiting: 4,
            waited: 6,
            waited_total,
            ..ProbeStats::default()
        };
        let busy = serde_json::to_value(told(&stats, Some(Duration::from_micros(2500)))).unwrap();
        let expected = serde_json::json!({
            "health": "degraded",
            "metrics": { "totalRequests": 14, "completedRequests": 5, "failedRequests": 3, "queueSize": 4, "pendingRequests": 2,
                         "averageWaitTime": 1.5, "averageExecutionTime": 2.5 },
        });
        assert_eq!(busy, expected);
        let idle = serde_json::to_value(told(&ProbeStats::default(), None)).unwrap();
        assert_eq!(
            (&idle["health"], &idle["metrics"]["averageWaitTime"]),
            (&"healthy".into(), &serde_json::Value::Null)
        );
    }
}

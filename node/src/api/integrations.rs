//! `/health/integrations` and `/api/metrics/pools`: what this agent works with beside the mesh, and how far its pools are used.

use super::limits::{MAX_EVENT_STREAMS, MAX_WAITING};
use super::operation::{ASK, Operation, json};
use super::words::time;
use super::{Picture, Service};
use crate::access::Access;
use crate::answers::{
    AgentHealthStatus, IntegrationAnswer, IntegrationStatus, IntegrationsAnswer, PoolAnswer, PoolsAnswer,
};
use crate::export::Output;
use crate::history::MAX_PENDING;
use crate::history::timeline::ratio;
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Longest time for an integration to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// `/health/integrations`
pub const INTEGRATIONS: Operation = Operation {
    access: Access::Public,
    path: "/health/integrations",
    name: "integrations",
    summary: "What this agent works with beside the mesh, and how that is",
    answers: &[json::<IntegrationsAnswer>(200, "The integrations")],
    handler: || get(integrations),
    ..ASK
};

/// `/api/metrics/pools`
pub const POOLS: Operation = Operation {
    path: "/api/metrics/pools",
    name: "pools",
    summary: "How far the agent's pools are used",
    answers: &[json::<PoolsAnswer>(200, "The pools")],
    handler: || get(pools),
    ..ASK
};

/// `/api/metrics/db-pool`
pub const STORE_POOL: Operation = Operation {
    path: "/api/metrics/db-pool",
    name: "store_pool",
    summary: "The pool of what waits to be stored in the history",
    answers: &[json::<PoolAnswer>(200, "The pool")],
    handler: || get(store_pool),
    ..ASK
};

async fn integrations(State(service): State<Service>) -> Json<IntegrationsAnswer> {
    let off = || IntegrationAnswer { status: IntegrationStatus::Off, latency_ms: None, detail: None };
    let judged = |fault: Option<String>, latency_ms| {
        let status = if fault.is_none() { IntegrationStatus::Ok } else { IntegrationStatus::Degraded };
        IntegrationAnswer { status, latency_ms, detail: fault }
    };
    let listens = |address: &Option<String>| match address {
        Some(address) => IntegrationAnswer { detail: Some(format!("listens on {address}")), ..judged(None, None) },
        None => off(),
    };
    let history = service.0.control.history.as_ref().map_or_else(off, |history| {
        let fault = history.is_failing().then(|| "the last second could not be written; the log says why".to_owned());
        judged(fault, None)
    });
    let output = |wanted: &[Output]| {
        let mut used = wanted.iter().filter(|output| service.0.about.outputs.contains(output)).peekable();
        if used.peek().is_none() {
            return off();
        }
        let failing = used.any(|output| service.0.metrics.is_export_failing(*output));
        judged(failing.then(|| "the last that it had could not be handed over; the log says more".to_owned()), None)
    };
    let begun = Instant::now();
    let containers = match timeout(PATIENCE, service.0.prober.ask_container_engine()).await {
        Ok(None) => off(),
        Ok(Some(Ok(()))) => judged(None, Some((begun.elapsed().as_secs_f64() * 1e6).round() / 1e3)),
        Ok(Some(Err(failure))) => judged(Some(failure.detail), None),
        Err(_) => judged(Some(format!("no answer within {PATIENCE:?}")), None),
    };
    let integrations = BTreeMap::from([
        ("containers".to_owned(), containers),
        ("history".to_owned(), history),
        ("load_balancers".to_owned(), listens(&service.0.about.agent_check)),
        ("names".to_owned(), listens(&service.0.about.names)),
        ("otlp".to_owned(), output(&[Output::OtlpMetrics, Output::OtlpTraces])),
        ("statsd".to_owned(), output(&[Output::Statsd])),
    ]);
    let well = integrations.values().all(|one| one.status != IntegrationStatus::Degraded);
    let status = if well { AgentHealthStatus::Ok } else { AgentHealthStatus::Degraded };
    Json(IntegrationsAnswer { status, timestamp: time(service.picture().now), integrations })
}

async fn pools(State(service): State<Service>) -> Json<PoolsAnswer> {
    let Picture { now, .. } = service.picture();
    Json(PoolsAnswer { timestamp: time(now), pools: usage(&service) })
}

/// Every pool by its name.
pub fn usage(service: &Service) -> BTreeMap<String, PoolAnswer> {
    let probes = service.0.prober.stats();
    let streams = MAX_EVENT_STREAMS - service.0.streams.available_permits();
    let waiting = MAX_WAITING - service.0.waiting.available_permits();
    let connections = usize::try_from(service.0.metrics.connections_now()).unwrap_or(0);
    BTreeMap::from([
        ("probes".to_owned(), pool(count(service.0.prober.max_concurrent()), probes.in_flight, probes.waiting)),
        ("api_connections".to_owned(), pool(count(service.0.places.load(Ordering::Relaxed)), count(connections), 0)),
        ("event_streams".to_owned(), pool(count(MAX_EVENT_STREAMS), count(streams), 0)),
        ("waiting_requests".to_owned(), pool(count(MAX_WAITING), count(waiting), 0)),
        ("store".to_owned(), store(service)),
    ])
}

async fn store_pool(State(service): State<Service>) -> Json<PoolAnswer> {
    Json(store(&service))
}

fn store(service: &Service) -> PoolAnswer {
    let waiting = service.0.control.history.as_ref().map_or(0, |history| history.waiting());
    pool(count(MAX_PENDING), count(waiting), 0)
}

fn pool(size: u64, checkouts: u64, overflow: u64) -> PoolAnswer {
    let usage_ratio = if size == 0 { 0.0 } else { (ratio(checkouts, size) * 1e4).round() / 1e4 };
    PoolAnswer { size, checkouts, overflow, usage_ratio }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

//! What an agent says of itself: `/v1/agent`, `/livez`, `/readyz`, `/metrics`.

use super::words::{age_ms, time};
use super::{Picture, Refusal, Service};
use crate::answers::{AgentAnswer, ProbeAnswer};
use crate::metrics::{CONTENT_TYPE, Sources, render};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use quorate_core::UnixMs;

/// Who am I?
pub async fn agent(State(service): State<Service>) -> Json<AgentAnswer> {
    let Picture { answer, now, .. } = service.picture();
    let about = &service.0.about;
    let not_ready = service.0.published.not_ready();
    let expires = u64::try_from(about.certificate_expires_unix_s).unwrap_or(0);
    Json(AgentAnswer {
        view: answer,
        zone: about.zone.clone(),
        boot: about.boot,
        address: about.address.clone(),
        listen: about.listen.clone(),
        api: about.api.clone(),
        data_dir: about.data_dir.clone(),
        config_file: about.config_file.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_at: time(about.started),
        uptime_ms: age_ms(now, about.started),
        issuer: about.issuer,
        certificate_expires: time(UnixMs(expires.saturating_mul(1000))),
        ready: not_ready.is_empty(),
        not_ready,
    })
}

fn probe(reasons: Vec<String>) -> impl IntoResponse {
    let (code, status) =
        if reasons.is_empty() { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "failed") };
    (code, Json(ProbeAnswer { status: status.to_owned(), reasons }))
}

/// Does the process work?
pub async fn livez(State(service): State<Service>) -> impl IntoResponse {
    probe(service.0.published.faults())
}

/// May others rely on it?
pub async fn readyz(State(service): State<Service>) -> impl IntoResponse {
    probe(service.0.published.not_ready())
}

/// Prometheus.
pub async fn metrics(State(service): State<Service>) -> Result<impl IntoResponse, Refusal> {
    let inner = &service.0;
    let view = inner.published.view();
    let sources = Sources {
        live: &inner.metrics,
        view: &view,
        view_age: inner.published.age(),
        local: &inner.local,
        transport: (inner.counters.0)(),
        probes: (inner.counters.1)(),
        ready: inner.published.not_ready().is_empty(),
        started: inner.about.started,
        certificate_expires_unix_s: inner.about.certificate_expires_unix_s,
    };
    let text = render(&sources).map_err(|error| Refusal::internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}

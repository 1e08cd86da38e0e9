//! What an agent says of itself: `/v1/agent`, `/metrics`.

use super::accept::Accept;
use super::health_forms::FORMAT;
use super::parameters::{Kind, Parameter, Parameters};
use super::words::{age_ms, time};
use super::{Picture, Refusal, Service};
use crate::answers::AgentAnswer;
use crate::metrics::{CONTENT_TYPE, OPEN_METRICS, named, open_metrics, render};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use quorate_core::UnixMs;

/// `format` where there is nothing but metrics.
pub const FORM_OF_METRICS: Parameter =
    Parameter { name: FORMAT.name, kind: Kind::Word(|| vec!["prometheus", "openmetrics"]), help: FORMAT.help };

/// Who am I?
pub async fn agent(State(service): State<Service>) -> Json<AgentAnswer> {
    let Picture { answer, now, .. } = service.picture();
    let about = &service.0.about;
    let not_ready = service.0.published.not_ready();
    let expires = u64::try_from(about.certificate_expires_unix_s).unwrap_or(0);
    Json(AgentAnswer {
        view: answer,
        zone: about.zone.clone(),
        environment: about.environment.clone(),
        boot: about.boot,
        address: about.address.to_string(),
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

/// Prometheus.
pub async fn metrics(
    State(service): State<Service>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let text = service.read(render).map_err(|error| Refusal::internal(error.to_string()))?;
    let about = &service.0.about;
    let text = named(text, &about.metrics, about.environment.as_deref());
    let open = match parameters.has(FORMAT.name) {
        true => parameters.admits(FORMAT.name, "openmetrics"),
        false => Accept::of(&headers).rather_open_metrics(),
    };
    let (media, text) = if open { (OPEN_METRICS, open_metrics(&text)) } else { (CONTENT_TYPE, text) };
    Ok(([(header::CONTENT_TYPE, media), (header::VARY, "accept")], text).into_response())
}

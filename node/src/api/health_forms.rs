//! `/health` and `/ready`: how this agent is, in the forms that others expect. The status is 200 while it works, even if it is degraded.

use super::accept::Accept;
use super::parameters::{Kind, Parameter, Parameters};
use super::server::Peer;
use super::words::time;
use super::{Picture, Refusal, Service, guard, this_agent};
use crate::access::{Caller, Channel, Denied};
use crate::agent::published::SelfCheck;
use crate::answers::{
    AgentHealthAnswer, AgentHealthStatus, HealthJsonAnswer, HealthJsonCheck, HealthJsonStatus, ReadyAnswer, ReadyCheck,
    ReadyStatus,
};
use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quorate_mesh::MeshView;
use std::collections::BTreeMap;

/// The media type of the health check format that was proposed to the IETF (draft-inadarei-api-health-check-06).
pub const HEALTH_JSON: &str = "application/health+json";

/// `format`
pub const FORMAT: Parameter = Parameter {
    name: "format",
    kind: Kind::Word(|| vec!["json", "health", "prometheus", "openmetrics"]),
    help: "The form of the answer; wins over the header `Accept`.",
};

enum Form {
    Json,
    HealthJson,
    Metrics,
}

/// How this agent is.
pub async fn health(
    state: State<Service>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let mut checks = state.0.0.published.checks();
    checks.push(quorum(&state.0.0.published.view()));
    let mut response = match form(&headers, &parameters) {
        Form::Json => agent_health(&checks),
        Form::HealthJson => health_json(&state.0, &checks),
        // Health is for everyone, metrics are not.
        Form::Metrics if peer.channel == Channel::Open => return Err(guard::denied(Denied::NotSecure)),
        Form::Metrics if caller == Caller::Anyone && peer.channel == Channel::Secure => {
            return Err(guard::denied(Denied::NoToken));
        }
        Form::Metrics => this_agent::metrics(state, headers, parameters).await?.into_response(),
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// An agent that is cut off works, and is ready to tell what it knew; but all is not well.
fn quorum(view: &MeshView) -> SelfCheck {
    let cut_off =
        || format!("reaches {} of {} agents that count, which is not more than half", view.alive, view.roster);
    SelfCheck { name: "quorum", fault: (!view.quorate).then(cut_off), vital: false, latency: None }
}

/// May others rely on this agent?
pub async fn ready(State(service): State<Service>) -> Response {
    let checks = service.0.published.checks();
    let ready = checks.iter().all(|check| check.fault.is_none());
    let word = |well: bool| if well { ReadyStatus::Healthy } else { ReadyStatus::Unhealthy };
    let of = |check: SelfCheck| {
        let status = word(check.fault.is_none());
        let latency_ms = check.latency.map(|latency| (latency.as_secs_f64() * 1e6).round() / 1e3);
        (check.name.to_owned(), ReadyCheck { status, latency_ms, detail: check.fault })
    };
    let answer = ReadyAnswer { status: word(ready), checks: checks.into_iter().map(of).collect() };
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(answer)).into_response()
}

/// What is asked for. Those who name a version of Prometheus' format, as it does itself, want metrics; a browser's `text/plain` does not.
fn form(headers: &HeaderMap, parameters: &Parameters) -> Form {
    if parameters.has(FORMAT.name) {
        return match () {
            () if parameters.admits(FORMAT.name, "json") => Form::Json,
            () if parameters.admits(FORMAT.name, "health") => Form::HealthJson,
            () => Form::Metrics,
        };
    }
    let accept = Accept::of(headers);
    let (health, metrics) = (accept.health_json(), accept.open_metrics().max(accept.prometheus()));
    let most = health.max(metrics);
    if most <= 0.0 || accept.json() > most {
        Form::Json
    } else if health >= metrics {
        Form::HealthJson
    } else {
        Form::Metrics
    }
}

fn works(checks: &[SelfCheck]) -> StatusCode {
    let works = checks.iter().all(|check| !check.vital || check.fault.is_none());
    if works { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn agent_health(checks: &[SelfCheck]) -> Response {
    let word = |well: bool| if well { AgentHealthStatus::Ok } else { AgentHealthStatus::Degraded };
    let status = word(checks.iter().all(|check| check.fault.is_none()));
    let checks_shown = checks.iter().map(|check| (check.name.to_owned(), word(check.fault.is_none()))).collect();
    (works(checks), Json(AgentHealthAnswer { status, checks: checks_shown })).into_response()
}

fn health_json(service: &Service, checks: &[SelfCheck]) -> Response {
    let Picture { view, answer, now } = service.picture();
    let status = |check: &SelfCheck| match (&check.fault, check.vital) {
        (None, _) => HealthJsonStatus::Pass,
        (Some(_), false) => HealthJsonStatus::Warn,
        (Some(_), true) => HealthJsonStatus::Fail,
    };
    let mut shown: BTreeMap<String, Vec<HealthJsonCheck>> = BTreeMap::new();
    for check in checks {
        let name = match check.latency {
            Some(_) => format!("{}:responseTime", check.name),
            None => check.name.to_owned(),
        };
        let entry = HealthJsonCheck {
            component_type: "component".to_owned(),
            status: status(check),
            observed_value: check.latency.map(|latency| latency.as_secs_f64() * 1000.0),
            observed_unit: check.latency.map(|_| "ms".to_owned()),
            time: time(now),
            output: check.fault.clone(),
        };
        shown.entry(name).or_default().push(entry);
    }
    let body = HealthJsonAnswer {
        status: checks.iter().map(status).max().unwrap_or(HealthJsonStatus::Pass),
        version: "1".to_owned(),
        release_id: env!("CARGO_PKG_VERSION").to_owned(),
        service_id: view.agent.to_string(),
        description: format!("health of the Quorate agent {}", answer.name),
        output: checks.iter().filter_map(|check| check.fault.clone()).collect::<Vec<_>>().join("; "),
        checks: shown,
    };
    let text = serde_json::to_string(&body).unwrap_or_default();
    (works(checks), [(header::CONTENT_TYPE, HEALTH_JSON), (header::CACHE_CONTROL, "max-age=1")], text).into_response()
}

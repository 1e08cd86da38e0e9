//! The HTTP API: every agent answers for the whole mesh, from its published picture.

mod connections;
mod events;
mod health;
mod instances;
mod members;
mod refusal;
mod this_agent;
pub mod words;

use crate::agent::event_log::EventLog;
use crate::agent::probes::LocalProbes;
use crate::agent::published::Published;
use crate::answers::ViewAnswer;
use crate::metrics::Metrics;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use connections::Bounded;
use quorate_core::{UnixMs, Zone};
use quorate_mesh::MeshView;
use quorate_probe::ProbeStats;
use quorate_transport::TransportMetrics;
use refusal::Refusal;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use words::{milliseconds, time};

/// Longest time for one answer; streams of events go on after it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest body of a request; none is needed.
const MAX_BODY_BYTES: u64 = 64 * 1024;
/// Streams of events at once.
const MAX_EVENT_STREAMS: usize = 64;
/// Before the listener is tried again after the server broke off.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// What does not change while the agent runs.
#[derive(Debug, Clone)]
pub struct About {
    /// The mesh.
    pub mesh: String,
    /// The agent's failure domain.
    pub zone: Zone,
    /// How often it has been started.
    pub boot: u32,
    /// Where others dial it.
    pub address: String,
    /// Where it listens.
    pub listen: String,
    /// Where the API is.
    pub api: String,
    /// Where its state is.
    pub data_dir: String,
    /// The file it was configured from.
    pub config_file: Option<String>,
    /// When it was started.
    pub started: UnixMs,
    /// May it admit new members?
    pub issuer: bool,
    /// When its certificate expires, Unix seconds.
    pub certificate_expires_unix_s: i64,
}

/// Reads the transport's and the prober's counters.
pub type Counters = (Box<dyn Fn() -> TransportMetrics + Send + Sync>, Box<dyn Fn() -> ProbeStats + Send + Sync>);

struct Inner {
    about: About,
    published: Arc<Published>,
    events: Arc<EventLog>,
    local: Arc<LocalProbes>,
    metrics: Arc<Metrics>,
    counters: Counters,
    streams: Arc<Semaphore>,
}

/// What the API answers from. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

impl Service {
    /// An API over these.
    pub fn new(
        about: About,
        published: Arc<Published>,
        events: Arc<EventLog>,
        local: Arc<LocalProbes>,
        metrics: Arc<Metrics>,
        counters: Counters,
    ) -> Self {
        let streams = Arc::new(Semaphore::new(MAX_EVENT_STREAMS));
        Self(Arc::new(Inner { about, published, events, local, metrics, counters, streams }))
    }

    fn picture(&self) -> Picture {
        let view = self.0.published.view();
        let answer = ViewAnswer {
            agent: view.agent,
            name: view.name.clone(),
            mesh: self.0.about.mesh.clone(),
            at: time(view.at),
            age_ms: milliseconds(self.0.published.age()),
            index: view.index,
            quorate: view.quorate,
            quorate_since: time(view.quorate_since),
            alive: view.alive,
            roster: view.roster,
            settled: view.settled,
            stale_instances: view.instances.values().filter(|instance| instance.stale_since.is_some()).count(),
        };
        Picture { view, answer, now: crate::agent::clock::wall() }
    }
}

/// One picture for one answer.
struct Picture {
    view: Arc<MeshView>,
    answer: ViewAnswer,
    now: UnixMs,
}

/// Every route; their metric labels too.
const ROUTES: [&str; 11] = [
    "/v1/health",
    "/v1/services",
    "/v1/services/{service}",
    "/v1/instances",
    "/v1/instances/{instance}",
    "/v1/members",
    "/v1/events",
    "/v1/agent",
    "/livez",
    "/readyz",
    "/metrics",
];

fn router(service: Service) -> Router {
    Router::new()
        .route("/v1/health", get(health::health))
        .route("/v1/services", get(health::services))
        .route("/v1/services/{service}", get(health::service))
        .route("/v1/instances", get(instances::instances))
        .route("/v1/instances/{instance}", get(instances::instance))
        .route("/v1/members", get(members::members))
        .route("/v1/events", get(events::events))
        .route("/v1/agent", get(this_agent::agent))
        .route("/livez", get(this_agent::livez))
        .route("/readyz", get(this_agent::readyz))
        .route("/metrics", get(this_agent::metrics))
        .fallback(unknown_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(service.clone(), bounded))
        .with_state(service)
}

/// Serves on `listener` as long as the process lives. A fault in here ends an answer, never the agent.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(listener: TcpListener, service: Service) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let first = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
    tokio::spawn(async move {
        let mut next = Some(first);
        loop {
            if let Some(listener) = next.take() {
                let router = router(service.clone());
                let ended = tokio::spawn(async move { axum::serve(Bounded::new(listener), router).await }).await;
                tracing::error!(?ended, "the API broke off; it is started again");
            }
            tokio::time::sleep(RESTART_DELAY).await;
            next = listener.try_clone().and_then(tokio::net::TcpListener::from_std).ok();
        }
    });
    Ok(())
}

/// Bounds every request in size and time, and counts it.
async fn bounded(State(service): State<Service>, request: Request, next: Next) -> Response {
    let route = route_of(request.uri().path());
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let too_large = length.is_some_and(|length| length.parse::<u64>().map_or(true, |bytes| bytes > MAX_BODY_BYTES));
    let response = if too_large {
        let detail = format!("the request's body is larger than {MAX_BODY_BYTES} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail, "send no body").into_response()
    } else {
        match timeout(ANSWER_TIMEOUT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                let detail = format!("no answer within {ANSWER_TIMEOUT:?}");
                Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail, "ask again; the agent may be overloaded")
                    .into_response()
            }
        }
    };
    service.0.metrics.request(route, response.status().as_u16());
    response
}

/// The route of a path, as a label: what was asked is no part of it.
fn route_of(path: &str) -> &'static str {
    let below = |route: &&&str| {
        let fixed = route.split('{').next().unwrap_or(route);
        fixed.len() < route.len() && path.starts_with(fixed) && !path[fixed.len()..].contains('/')
    };
    let exact = ROUTES.iter().find(|route| **route == path);
    exact.or_else(|| ROUTES.iter().find(below)).copied().unwrap_or("other")
}

async fn unknown_path(request: Request) -> Refusal {
    let path: String = request.uri().path().chars().take(200).collect();
    let nearest = crate::spelling::nearest(&path, ROUTES, 3);
    Refusal::new(
        StatusCode::NOT_FOUND,
        "unknown_path",
        format!("there is no {path}"),
        "docs/http-api.md lists the paths",
    )
    .nearest(nearest)
}

async fn method_not_allowed(request: Request) -> Refusal {
    let detail = format!("{} is not allowed here", request.method());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail, "use GET")
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;

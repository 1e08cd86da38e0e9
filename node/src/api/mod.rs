//! The HTTP API: every agent answers for the whole mesh, from its published picture.

mod accept;
mod body;
mod breaker_operations;
mod breakers;
mod changes;
mod counting;
mod discovery;
mod events;
pub mod failures;
mod freshness;
mod grpc;
mod grpc_reflection;
mod guard;
mod health;
mod health_forms;
mod instances;
mod integrations;
mod kept;
mod kubernetes;
pub mod limits;
mod measurements;
mod members;
mod openapi;
mod operating;
mod operation;
mod operations;
mod parameters;
mod pick;
pub mod probed;
mod probing;
mod pushing;
mod queue_board;
mod refusal;
mod registering;
mod reports;
mod request_id;
pub mod server;
mod status_page;
mod this_agent;
pub mod tls;
mod votes;
pub mod words;

use crate::access::{Channel, Gate};
use crate::agent::audit::Audit;
use crate::agent::by_hand::ByHand;
use crate::agent::callers::Callers;
use crate::agent::drive::Ask;
use crate::agent::event_log::EventLog;
use crate::agent::failures::Failures;
use crate::agent::probes::LocalProbes;
use crate::agent::published::Published;
use crate::agent::pushes::Pushes;
use crate::agent::registrar::Registrar;
use crate::agent::reload::Reloader;
use crate::agent::stop::LeaveForGood;
use crate::answers::ViewAnswer;
use crate::config::{MetricNames, Objective};
use crate::export::Output;
use crate::export::spans::Spans;
use crate::history::History;
use crate::metrics::{Metrics, Sources};
use axum::Router;
use axum::middleware;
use kept::Kept;
use limits::{MAX_CONNECTIONS, MAX_EVENT_STREAMS, MAX_WAITING};
use operation::Operation;
use quorate_core::{ServiceName, UnixMs, Zone};
use quorate_mesh::MeshView;
use quorate_probe::Prober;
use quorate_transport::TransportMetrics;
use refusal::Refusal;
use request_id::RequestIds;
use server::{Bounds, Entrance};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use words::{milliseconds, time};

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
    pub address: SocketAddr,
    /// Where it listens.
    pub listen: String,
    /// Where the API is.
    pub api: String,
    /// Where agent-checks are answered, if they are.
    pub agent_check: Option<String>,
    /// Where the name server is, if there is one.
    pub names: Option<String>,
    /// Where metrics and traces go by themselves.
    pub outputs: Vec<Output>,
    /// How metrics are called at `/metrics`.
    pub metrics: MetricNames,
    /// What the agent is part of; a label of every metric.
    pub environment: Option<String>,
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

/// Reads the transport's counters.
pub type Counters = Box<dyn Fn() -> TransportMetrics + Send + Sync>;

/// What lets changes in, notes them and carries them out.
pub struct Control {
    /// Who may do what.
    pub gate: Arc<Gate>,
    /// Notes changes.
    pub audit: Audit,
    /// Reads anew.
    pub reloader: Arc<Reloader>,
    /// Asks the engine.
    pub asks: mpsc::Sender<Ask>,
    /// Has the agent leave for good.
    pub leave: mpsc::Sender<LeaveForGood>,
    /// Registers instances.
    pub registrar: Arc<Registrar>,
    /// What has been, if it is kept.
    pub history: Option<Arc<History>>,
    /// Takes what instances say of themselves.
    pub pushes: Pushes,
    /// Runs the probes that operators ask for.
    pub by_hand: Arc<ByHand>,
}

/// Where the spans of requests go: known only once there is an API whose metrics can be read.
type SpansLater = OnceLock<Spans>;

struct Inner {
    about: About,
    published: Arc<Published>,
    events: Arc<EventLog>,
    local: Arc<LocalProbes>,
    failures: Arc<Failures>,
    callers: Arc<Callers>,
    metrics: Arc<Metrics>,
    counters: Counters,
    prober: Arc<Prober>,
    streams: Arc<Semaphore>,
    waiting: Semaphore,
    request_ids: RequestIds,
    kept: Kept,
    /// Connections that one address of the API takes at once.
    places: AtomicUsize,
    spans: SpansLater,
    control: Control,
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
        (local, failures, callers): (Arc<LocalProbes>, Arc<Failures>, Arc<Callers>),
        metrics: Arc<Metrics>,
        (counters, prober): (Counters, Arc<Prober>),
        control: Control,
    ) -> Self {
        Self(Arc::new(Inner {
            about,
            published,
            events,
            local,
            failures,
            callers,
            metrics,
            counters,
            prober,
            streams: Arc::new(Semaphore::new(MAX_EVENT_STREAMS)),
            waiting: Semaphore::new(MAX_WAITING),
            request_ids: RequestIds::default(),
            kept: Kept::default(),
            places: AtomicUsize::new(MAX_CONNECTIONS),
            spans: SpansLater::new(),
            control,
        }))
    }

    /// Tells from now on how long requests took whose callers want a trace.
    pub fn trace(&self, spans: Spans) {
        let _ = self.0.spans.set(spans);
    }

    /// Reads the metrics of this moment.
    pub fn read<T>(&self, read: impl FnOnce(&Sources<'_>) -> T) -> T {
        let inner = &self.0;
        let view = inner.published.view();
        read(&Sources {
            live: &inner.metrics,
            view: &view,
            view_age: inner.published.age(),
            local: &inner.local,
            callers: &inner.callers,
            objectives: objectives(inner.control.registrar.objectives(), &view),
            transport: (inner.counters)(),
            probes: inner.prober.stats(),
            pools: integrations::usage(self).into_iter().map(|(pool, used)| (pool, used.usage_ratio)).collect(),
            ready: inner.published.not_ready().is_empty(),
            unstored: inner.published.storing().failing(),
            started: inner.about.started,
            certificate_expires_unix_s: inner.about.certificate_expires_unix_s,
        })
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
            epoch: view.epoch,
            settled: view.settled,
            stale_instances: view.instances.values().filter(|instance| instance.is_stale()).count(),
        };
        Picture { view, answer, now: crate::agent::clock::wall() }
    }
}

/// What the services with an instance here are held to: the strictest of what any of their homes states, or the default.
fn objectives(stated: BTreeMap<ServiceName, Option<Objective>>, view: &MeshView) -> BTreeMap<ServiceName, Objective> {
    let told = Objective::all_told(view);
    let held = |service: &ServiceName, here: Option<Objective>| here.max(told.get(service).copied());
    stated.into_iter().map(|(service, here)| (service.clone(), held(&service, here).unwrap_or_default())).collect()
}

/// One picture for one answer.
struct Picture {
    view: Arc<MeshView>,
    answer: ViewAnswer,
    now: UnixMs,
}

/// What is served to those who come in so: whoever asks in the clear from elsewhere finds the health probes, and nothing else.
fn router(service: Service, entrance: &Entrance) -> Router {
    let served = |operation: &&Operation| entrance.channel() != Channel::Open || operation.is_probe();
    let routes = operations::all()
        .filter(served)
        .fold(Router::new(), |router, operation| router.route(operation.path, (operation.handler)()));
    routes
        .fallback(guard::unknown_path)
        .method_not_allowed_fallback(guard::method_not_allowed)
        .layer(middleware::from_fn_with_state(service.clone(), guard::guard))
        .with_state(service)
}

/// Where the API runs: threads of its own, so that no number of readers keeps the engine, the network or the probes from theirs.
#[derive(Debug, Clone)]
pub struct Threads {
    /// The threads' runtime.
    pub runtime: tokio::runtime::Handle,
    /// Descriptors that the process may have.
    pub descriptors: usize,
}

/// Serves on `listener` as long as the process lives. A fault in here ends an answer, never the agent.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(listener: TcpListener, service: Service, entrance: Entrance, threads: &Threads) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let _inside = threads.runtime.enter();
    let first = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
    let bounds = Bounds { connections: MAX_CONNECTIONS.min(threads.descriptors / 2), ..Bounds::default() };
    service.0.places.store(bounds.connections, Ordering::Relaxed);
    tokio::spawn(async move {
        let mut next = Some(first);
        loop {
            if let Some(listener) = next.take() {
                let (router, metrics) = (router(service.clone(), &entrance), Arc::clone(&service.0.metrics));
                let run = server::run(listener, router, metrics, bounds, entrance.clone());
                let ended = tokio::spawn(run).await;
                tracing::error!(?ended, "the API broke off; it is started again");
            }
            tokio::time::sleep(RESTART_DELAY).await;
            next = listener.try_clone().and_then(tokio::net::TcpListener::from_std).ok();
        }
    });
    Ok(())
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;

#[cfg(test)]
pub mod fixture;

#[cfg(test)]
mod grpc_tests;

#[cfg(test)]
mod guard_tests;

#[cfg(test)]
mod registering_tests;

#[cfg(test)]
mod convention_tests;

#[cfg(test)]
mod document_tests;

#[cfg(test)]
mod breaker_tests;

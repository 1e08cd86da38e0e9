//! The order in which an agent starts: lock, identity, addresses, engine, transport, API, loop.

use super::addresses::{Addresses, Sockets};
use super::agent_check;
use super::audit::Audit;
use super::by_hand::ByHand;
use super::callers::Callers;
use super::claims::Claims;
use super::clock::{Clock, wall};
use super::dns::NameServer;
use super::drive::{ASK_QUEUE, Ask, Drive, Ended};
use super::entry::{self, Entry};
use super::event_log::EventLog;
use super::failures::Failures;
use super::joins::Joins;
use super::mesh_keys::MeshKeys;
use super::persisting::Persisting;
use super::probes::{LocalProbes, Probes};
use super::published::Published;
use super::pushes::Pushes;
use super::recorder::Recorder;
use super::registrar::Registrar;
use super::reload::{self, Parts, Reloader};
use super::stop::{self, LeaveForGood};
use super::store::Store;
use crate::access::board::BoardKey;
use crate::access::{Channel, Gate};
use crate::api::server::Entrance;
use crate::api::tls::{Certificates, Source};
use crate::api::{self, About, Control, Service, Threads};
use crate::config::{Configured, Flags, QUEUE_BOARD_PASSWORD, Settings};
use crate::export::{self, Teller};
use crate::history::History;
use crate::logging::LogLevel;
use crate::metrics::{Metrics, families};
use anyhow::Context;
use quorate_core::{AgentId, Registration};
use quorate_mesh::recording::Recorded;
use quorate_mesh::{Command, EngineConfig, Output, Timing};
use quorate_probe::Prober;
use quorate_transport::{DataDirLock, Identity, Transport, TransportConfig};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

/// Runs an agent with these settings until it is told to stop.
///
/// # Errors
/// Why it could not start, with what to do.
pub async fn run(settings: Settings, (flags, level): (Flags, LogLevel), threads: Threads) -> anyhow::Result<ExitCode> {
    // First of all, so that nobody is turned away by a signal that comes early.
    let signals = stop::Signals::new()?;
    let hangups = reload::hangups()?;
    let clock = Clock::new();
    let _lock = DataDirLock::acquire(&settings.data_dir)?;
    let store = Store::new(&settings.data_dir);
    store.migrate()?;
    export::check(settings.statsd.as_ref(), settings.otlp.as_ref())?;
    // Whatever may be wrong on this host is found before the mesh is told of a member.
    let (sockets, files) = (Sockets::open(&settings).await?, certificate_files(&settings)?);
    let board = board(&settings)?;
    let entry = entry::enter(&settings, flags.token.as_deref(), &store).await?;
    let addresses = Addresses::find(sockets, &entry).await?;
    let certificates = certificates(&settings, &entry.identity, files)?;
    if store.address() != Some(addresses.advertised) {
        store.write_address(addresses.advertised).context("the agent's address could not be stored")?;
    }
    let metrics = Arc::new(Metrics::new()?);
    let record = settings.record.as_ref();
    let recorder = record.and_then(|record| Recorder::open(record, &settings.data_dir, Arc::clone(&metrics)));
    let own = addresses.advertised.ip();
    let registrar = Arc::new(Registrar::load(store.clone(), Configured::of(&settings.services, own))?);
    let known = registrar.registrations();
    let (engine, pending) = engine(&settings, &entry, &addresses, &store, (clock, recorder.is_some(), known))?;
    let (leave, leaves) = mpsc::channel(stop::LEAVE_QUEUE);
    let running = assemble(
        settings,
        entry,
        addresses,
        (engine, pending, recorder),
        (store, clock, metrics, registrar),
        (flags, level, leave, threads, Doors { certificates, board }, hangups),
    )?;
    Ok(stop::wait(running, signals, leaves).await)
}

/// The parts of a running agent that its end needs.
pub struct Running {
    /// Ends with a reason.
    pub drive: tokio::task::JoinHandle<Ended>,
    /// Tells the engine to leave.
    pub asks: mpsc::Sender<Ask>,
    /// Readiness.
    pub published: Arc<Published>,
    /// The network.
    pub transport: Transport,
    /// Where it is noted that the agent has left.
    pub store: Store,
}

/// How the API is entered.
struct Doors {
    /// What it shows by TLS.
    certificates: Option<Arc<Certificates>>,
    /// What the page of the queues asks for.
    board: Option<BoardKey>,
}

/// Starts the engine. What it wants stored is stored at once: its boot counter must not be used before.
fn engine(
    settings: &Settings,
    entry: &Entry,
    addresses: &Addresses,
    store: &Store,
    (clock, record, registrations): (Clock, bool, Vec<Registration>),
) -> anyhow::Result<(Recorded, Vec<Output>)> {
    let path = store.state_path();
    let stored = store.state().with_context(|| path.display().to_string())?;
    let boots = store.boots();
    let identity = &entry.identity;
    let config = EngineConfig {
        agent: AgentId(identity.agent_id()),
        name: settings.name.clone().unwrap_or_else(|| identity.name().to_owned()),
        zone: settings.zone.clone(),
        address: addresses.advertised,
        api_address: addresses.told(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        credential: identity.credential(),
        // A founder that has run before and has lost its state is not alone: its mesh is still there.
        founder: identity.issuer().is_some() && (stored.is_some() || boots == 0),
        boot_floor: boots,
        registrations,
        seed: rand::random(),
        timing: Timing::default(),
    };
    let keys = Box::new(MeshKeys::new(identity));
    let mut engine = Recorded::new(config, stored.as_deref(), keys, clock.now(), record)
        .with_context(|| path.display().to_string())?;
    let mut pending = Vec::new();
    while let Some(output) = engine.poll_output() {
        match output {
            Output::Persist { .. } => store.write_state(&engine.state()).with_context(|| path.display().to_string())?,
            other => pending.push(other),
        }
    }
    store.write_boots(engine.boot()).with_context(|| path.display().to_string())?;
    Ok((engine, pending))
}

fn assemble(
    settings: Settings,
    entry: Entry,
    addresses: Addresses,
    (mut engine, pending, recorder): (Recorded, Vec<Output>, Option<Recorder>),
    (store, clock, metrics, registrar): (Store, Clock, Arc<Metrics>, Arc<Registrar>),
    (flags, level, leave, threads, doors, hangups): (
        Flags,
        LogLevel,
        mpsc::Sender<LeaveForGood>,
        Threads,
        Doors,
        Signal,
    ),
) -> anyhow::Result<Running> {
    let Doors { certificates, board } = doors;
    let identity = entry.identity.clone();
    let boot = engine.boot();
    let (transport, incoming) = Transport::bind(TransportConfig::new(
        identity.clone(),
        addresses.sockets.listen,
        boot,
        quorate_mesh::WIRE_VERSIONS.into(),
    ))?;
    let (asks, asked) = mpsc::channel(ASK_QUEUE);
    let published = Published::new(clock, engine.view(), expects_peers(&entry));
    let published = Arc::new(published.with_storing(store.storing().clone()));
    let events = Arc::new(EventLog::new(boot));
    let local = Arc::new(LocalProbes::default());
    let failures = Arc::new(Failures::new(Arc::clone(&metrics), Arc::clone(&events)));
    let prober = Arc::new(Prober::new(settings.probe.limits(), settings.own.clone()));
    let history = history(&settings, &metrics);
    if let Some(history) = &history {
        history.run(Arc::clone(&published));
    }
    let spans = Arc::new(OnceLock::new());
    let probes = Probes {
        agent: AgentId(identity.agent_id()),
        prober: Arc::clone(&prober),
        registrar: Arc::clone(&registrar),
        published: Arc::clone(&published),
        local: Arc::clone(&local),
        failures: Arc::clone(&failures),
        metrics: Arc::clone(&metrics),
        asks: asks.clone(),
        spans: Arc::clone(&spans),
        history: history.clone(),
    };
    let joins = Joins {
        identity: identity.clone(),
        address: addresses.advertised,
        data_dir: settings.data_dir.clone(),
        transport: transport.clone(),
        published: Arc::clone(&published),
        asks: asks.clone(),
        signer: Arc::new(AtomicU64::new(0)),
    };
    let callers = Arc::new(Callers::new(clock, Arc::clone(&published), rand::random(), asks.clone())?);
    let network = transport.clone();
    let pushes = Pushes::new(Arc::clone(&prober), Arc::clone(&published), asks.clone(), Some(store.clone()));
    let audit =
        Audit::open(&settings.data_dir, settings.environment.clone()).context("the audit log cannot be written")?;
    let gate = Arc::new(Gate::new(&settings.data_dir, settings.api_access.rate_limit).with_board(board));
    let parts = Parts {
        flags,
        document: settings.document.clone(),
        own: addresses.advertised.ip(),
        certificates: certificates.clone(),
        level,
        gate: Arc::clone(&gate),
        registrar: Arc::clone(&registrar),
        prober: Arc::clone(&prober),
    };
    let reloader = Arc::new(Reloader::new(parts, Arc::clone(&metrics), audit.clone()));
    let (reloads, registers) = (Arc::clone(&reloader), Arc::clone(&registrar));
    let by_hand = Arc::new(ByHand::new(probes.clone()));
    let control = Control {
        gate,
        audit,
        reloader: reloads,
        asks: asks.clone(),
        leave,
        registrar: registers,
        pushes,
        history,
        by_hand,
    };
    let service = Service::new(
        about(&settings, &identity, &addresses, boot),
        Arc::clone(&published),
        Arc::clone(&events),
        (local, failures, Arc::clone(&callers)),
        Arc::clone(&metrics),
        (Box::new(move || network.metrics()), prober),
        control,
    );
    let read = service.clone();
    let teller = Teller {
        agent: AgentId(identity.agent_id()).to_string(),
        name: identity.name().to_owned(),
        mesh: identity.mesh_id().to_string(),
        environment: settings.environment.clone(),
    };
    let outputs = (settings.statsd.clone(), settings.otlp.clone());
    let wanted = export::start(outputs, teller, Arc::new(move || read.read(families)), Arc::clone(&metrics))?;
    let _ = spans.set(wanted.clone());
    service.trace(wanted);
    let Addresses { sockets, advertised } = addresses;
    api::serve(sockets.api, service.clone(), Entrance::Clear(Channel::Local), &threads)?;
    if let Some(listener) = sockets.api_health {
        api::serve(listener, service.clone(), Entrance::Clear(Channel::Open), &threads)?;
    }
    if let (Some(listener), Some(certificates)) = (sockets.api_tls, certificates) {
        api::serve(listener, service, Entrance::Tls(certificates), &threads)?;
    }
    reloader.on_signal(hangups);
    if let (Some((datagrams, streams)), Some(whom)) = (sockets.dns, settings.dns) {
        let server = NameServer { whom, published: Arc::clone(&published), metrics: Arc::clone(&metrics) };
        server.run(tokio::net::UdpSocket::from_std(datagrams)?, tokio::net::TcpListener::from_std(streams)?);
    }
    if let (Some(listener), Some(whom)) = (sockets.agent_check, settings.agent_check) {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::spawn(agent_check::run(listener, whom, Arc::clone(&published), Arc::clone(&metrics)));
    }
    let claimed = registrar.registrations().into_iter().map(|registration| registration.instance).collect();
    registrar.attach(asks.clone());
    let drive = Drive {
        engine,
        recorder,
        pending,
        clock,
        incoming,
        asks: asked,
        transport: transport.clone(),
        probes,
        callers: Arc::clone(&callers),
        joins,
        persisting: Persisting::new(store.clone(), Arc::clone(&metrics)),
        claims: Claims::new(claimed),
        published: Arc::clone(&published),
        events,
        metrics,
    };
    let (agent, mesh) = (AgentId(identity.agent_id()), identity.mesh_id());
    tracing::info!(
        %agent, %mesh, boot, listen = %sockets.listen, address = %advertised, api = %sockets.api_address, "agent started"
    );
    tokio::spawn(callers.tell());
    tokio::spawn(greet(entry, settings.join, sockets.listen, transport.clone(), asks.clone()));
    Ok(Running { drive: tokio::spawn(drive.run()), asks, published, transport, store })
}

/// What has been is kept if it can be: no agent fails for want of it.
fn history(settings: &Settings, metrics: &Arc<Metrics>) -> Option<Arc<History>> {
    let max_bytes = settings.history_bytes?;
    match History::open(&settings.data_dir, max_bytes, Arc::clone(metrics)) {
        Ok(history) => Some(Arc::new(history)),
        Err(error) => {
            metrics.history_failed();
            tracing::error!(error = format!("{error:#}"), "no history is kept");
            None
        }
    }
}

/// Whom the page of the queues lets in.
fn board(settings: &Settings) -> anyhow::Result<Option<BoardKey>> {
    let Some(board) = &settings.queue_board else { return Ok(None) };
    let password = board.password(std::env::var(QUEUE_BOARD_PASSWORD).ok())?;
    Ok(Some(BoardKey::new(&board.user, &password)))
}

/// The operator's certificate of the API, if one is named: it can be looked at before there is an identity.
fn certificate_files(settings: &Settings) -> anyhow::Result<Option<Certificates>> {
    let files = settings.api_access.tls_files.clone().filter(|_| settings.api_access.tls_listen.is_some());
    files.map(|(certificate, key)| Certificates::load(Source::Files { certificate, key })).transpose()
}

/// What the API shows to those who come by TLS.
fn certificates(
    settings: &Settings,
    identity: &Identity,
    files: Option<Certificates>,
) -> anyhow::Result<Option<Arc<Certificates>>> {
    if settings.api_access.tls_listen.is_none() {
        return Ok(None);
    }
    let shown = files.map_or_else(|| Certificates::load(Source::Mesh(identity.clone())), Ok)?;
    Ok(Some(Arc::new(shown)))
}

/// Does the mesh have other members? It has whom this agent was told of, and whoever admitted it.
fn expects_peers(entry: &Entry) -> bool {
    !entry.contacts.is_empty() || entry.identity.issuer().is_none()
}

/// Makes contact: with the members told of at the join, and with the address that the operator names.
async fn greet(entry: Entry, join: Option<String>, listen: SocketAddr, transport: Transport, asks: mpsc::Sender<Ask>) {
    for (agent, address) in entry.contacts {
        let _ = asks.send(Ask::Command(Command::Contact { agent, address })).await;
    }
    let Some(join) = join.filter(|_| !entry.fresh) else { return };
    let found: Vec<_> = tokio::net::lookup_host(&join).await.map(Iterator::collect).unwrap_or_default();
    let fitting = found.iter().find(|address| address.is_ipv4() == listen.is_ipv4()).or(found.first());
    let Some(address) = fitting.copied() else { return tracing::warn!(join, "the address to join has no meaning now") };
    // A failure is logged by the transport; the agent has other members to turn to.
    if let Ok(agent) = transport.connect(address).await {
        let _ = asks.send(Ask::Command(Command::Contact { agent: AgentId(agent), address })).await;
    }
}

fn about(settings: &Settings, identity: &Identity, addresses: &Addresses, boot: u32) -> About {
    About {
        mesh: identity.mesh_id().to_string(),
        zone: settings.zone.clone(),
        boot,
        address: addresses.advertised,
        listen: addresses.sockets.listen.to_string(),
        api: addresses.sockets.api_address.to_string(),
        agent_check: settings.agent_check.as_ref().map(|check| check.address.to_string()),
        names: settings.dns.as_ref().map(|dns| dns.address.to_string()),
        outputs: export::used(settings.statsd.as_ref(), settings.otlp.as_ref()),
        metrics: settings.metrics.clone(),
        environment: settings.environment.clone(),
        data_dir: settings.data_dir.display().to_string(),
        config_file: settings.config_file.as_ref().map(|path| path.display().to_string()),
        started: wall(),
        issuer: identity.issuer().is_some(),
        certificate_expires_unix_s: identity.expires_unix_s(),
    }
}

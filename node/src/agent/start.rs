//! The order in which an agent starts: lock, identity, addresses, engine, transport, API, loop.

use super::advertise;
use super::claims::Claims;
use super::clock::{Clock, wall};
use super::drive::{ASK_QUEUE, Ask, Drive, Ended};
use super::entry::{self, Entry};
use super::event_log::EventLog;
use super::joins::Joins;
use super::mesh_keys::MeshKeys;
use super::probes::{LocalProbes, Probes};
use super::published::Published;
use super::stop;
use super::store::Store;
use crate::api::{self, About, Service};
use crate::config::Settings;
use crate::metrics::Metrics;
use anyhow::Context;
use quorate_core::{AgentId, Registration};
use quorate_mesh::{Command, Engine, EngineConfig, Output, Timing};
use quorate_probe::Prober;
use quorate_transport::{DataDirLock, Identity, Transport, TransportConfig};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::mpsc;

/// Runs an agent with these settings until it is told to stop.
///
/// # Errors
/// Why it could not start, with what to do.
pub async fn run(settings: Settings, token: Option<&str>) -> anyhow::Result<ExitCode> {
    // First of all, so that nobody is turned away by a signal that comes early.
    let signals = stop::Signals::new()?;
    let clock = Clock::new();
    let _lock = DataDirLock::acquire(&settings.data_dir)?;
    let store = Store::new(&settings.data_dir);
    let entry = entry::enter(&settings, token, &store).await?;
    let addresses = Addresses::find(&settings, &entry).await?;
    if store.address() != Some(addresses.advertised) {
        store.write_address(addresses.advertised).context("the agent's address could not be stored")?;
    }
    let (engine, pending) = engine(&settings, &entry, &addresses, &store, clock)?;
    let running = assemble(settings, entry, addresses, engine, pending, (store, clock))?;
    Ok(stop::wait(running, signals).await)
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
}

/// Where the agent listens, and what it tells others.
struct Addresses {
    listen: SocketAddr,
    advertised: SocketAddr,
    api: TcpListener,
    api_address: SocketAddr,
}

impl Addresses {
    async fn find(settings: &Settings, entry: &Entry) -> anyhow::Result<Self> {
        let mut listen = settings.listen;
        if listen.port() == 0 {
            // The engine must know the port before the transport opens it.
            listen.set_port(UdpSocket::bind(listen).and_then(|socket| socket.local_addr()).context("--listen")?.port());
        }
        let peers: Vec<_> = entry.contacts.iter().map(|(_, address)| *address).collect();
        let advertised = advertise::address(settings.advertise.as_deref(), listen, &peers).await?;
        let api = TcpListener::bind(settings.api).with_context(|| {
            format!(
                "the API cannot listen on {}; choose another address with --api, or stop what runs there",
                settings.api
            )
        })?;
        let api_address = api.local_addr().context("--api")?;
        Ok(Self { listen, advertised, api, api_address })
    }
}

/// Starts the engine. What it wants stored is stored at once: its boot counter must not be used before.
fn engine(
    settings: &Settings,
    entry: &Entry,
    addresses: &Addresses,
    store: &Store,
    clock: Clock,
) -> anyhow::Result<(Engine, Vec<Output>)> {
    let path = store.state_path();
    let stored = store.state().with_context(|| path.display().to_string())?;
    let boots = store.boots();
    let identity = &entry.identity;
    let own = addresses.advertised.ip();
    let config = EngineConfig {
        agent: AgentId(identity.agent_id()),
        name: settings.name.clone().unwrap_or_else(|| identity.name().to_owned()),
        zone: settings.zone.clone(),
        address: addresses.advertised,
        api_address: addresses.api_address.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        credential: identity.credential(),
        // A founder that has run before and has lost its state is not alone: its mesh is still there.
        founder: identity.issuer().is_some() && (stored.is_some() || boots == 0),
        boot_floor: boots,
        registrations: registrations(settings, own),
        seed: rand::random(),
        timing: Timing::default(),
    };
    let keys = Box::new(MeshKeys::new(identity));
    let mut engine =
        Engine::new(config, stored.as_deref(), keys, clock.now()).with_context(|| path.display().to_string())?;
    let mut pending = Vec::new();
    while let Some(output) = engine.poll_output() {
        match output {
            Output::Persist(bytes) => store.write_state(&bytes).with_context(|| path.display().to_string())?,
            other => pending.push(other),
        }
    }
    store.write_boots(engine.boot()).with_context(|| path.display().to_string())?;
    Ok((engine, pending))
}

/// The instances that the configuration gives this agent.
fn registrations(settings: &Settings, own: IpAddr) -> Vec<Registration> {
    settings.services.iter().flat_map(|service| service.registrations(own)).collect()
}

fn assemble(
    settings: Settings,
    entry: Entry,
    addresses: Addresses,
    mut engine: Engine,
    pending: Vec<Output>,
    (store, clock): (Store, Clock),
) -> anyhow::Result<Running> {
    let identity = entry.identity.clone();
    let boot = engine.boot();
    let (transport, incoming) = Transport::bind(TransportConfig::new(identity.clone(), addresses.listen, boot))?;
    let (asks, asked) = mpsc::channel(ASK_QUEUE);
    let published = Arc::new(Published::new(clock, engine.view(), expects_peers(&entry)));
    let events = Arc::new(EventLog::new(boot));
    let metrics = Arc::new(Metrics::new()?);
    let local = Arc::new(LocalProbes::default());
    let prober = Arc::new(Prober::new(settings.probe.limits()));
    let probes = Probes {
        agent: AgentId(identity.agent_id()),
        prober: Arc::clone(&prober),
        local: Arc::clone(&local),
        metrics: Arc::clone(&metrics),
        asks: asks.clone(),
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
    let network = transport.clone();
    let service = Service::new(
        about(&settings, &identity, &addresses, boot),
        Arc::clone(&published),
        Arc::clone(&events),
        local,
        Arc::clone(&metrics),
        (Box::new(move || network.metrics()), Box::new(move || prober.stats())),
    );
    api::serve(addresses.api, service)?;
    let claimed = registrations(&settings, addresses.advertised.ip());
    let claimed = claimed.into_iter().map(|registration| registration.instance).collect();
    let drive = Drive {
        engine,
        pending,
        clock,
        incoming,
        asks: asked,
        transport: transport.clone(),
        probes,
        joins,
        store,
        claims: Claims::new(claimed),
        published: Arc::clone(&published),
        events,
        metrics,
    };
    let (agent, mesh) = (AgentId(identity.agent_id()), identity.mesh_id());
    tracing::info!(
        %agent, %mesh, boot, listen = %addresses.listen, address = %addresses.advertised, api = %addresses.api_address, "agent started"
    );
    tokio::spawn(greet(entry, settings.join, addresses.listen, transport.clone(), asks.clone()));
    Ok(Running { drive: tokio::spawn(drive.run()), asks, published, transport })
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
        address: addresses.advertised.to_string(),
        listen: addresses.listen.to_string(),
        api: addresses.api_address.to_string(),
        data_dir: settings.data_dir.display().to_string(),
        config_file: settings.config_file.as_ref().map(|path| path.display().to_string()),
        started: wall(),
        issuer: identity.issuer().is_some(),
        certificate_expires_unix_s: identity.expires_unix_s(),
    }
}

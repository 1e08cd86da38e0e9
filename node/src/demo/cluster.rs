//! Real agents and services as processes on loopback: an ephemeral mesh that is gone when dropped.

use super::process::{Folder, Process, output, random};
use super::service::Kind;
use crate::cli::client::Client;
use anyhow::{Context, bail};
use std::ffi::OsString;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long anything may take before it is given up.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
/// How often a process is started anew on other ports when it ends at once.
const START_ATTEMPTS: u32 = 5;
/// Between two looks at a process that starts.
const START_POLL: Duration = Duration::from_millis(20);
/// Ports are taken from below those that the kernel gives to outgoing connections, so that none of these takes one of ours.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// A service of which one instance runs.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its home agent, as a place in [`Cluster::agents`].
    pub home: usize,
    kind: Kind,
    log: PathBuf,
    process: Option<Process>,
}

impl Service {
    /// The id of its instance.
    pub fn instance(&self) -> String {
        format!("{}@{}", self.name, self.address)
    }

    /// Its process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn process(&self) -> anyhow::Result<&Process> {
        self.process.as_ref().with_context(|| format!("service {} does not run", self.name))
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it where it was before, and returns when it listens.
    ///
    /// # Errors
    /// When it does not come to listen.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let listen = self.address.to_string();
        let words = ["demo-service", "--listen", &listen, "--kind", self.kind.word()];
        let mut process = Process::start(words, &self.log)?;
        let began = Instant::now();
        loop {
            if let Some(status) = process.ended() {
                bail!("service {} ended, {status}: {}", self.name, process.log_tail());
            }
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                // The connection may have been taken by a stranger on the same port; then ours ends at once.
                tokio::time::sleep(START_POLL).await;
                if process.ended().is_none() {
                    self.process = Some(process);
                    return Ok(());
                }
            }
            if began.elapsed() > WAIT_MAX {
                bail!("service {} does not listen: {}", self.name, process.log_tail());
            }
            tokio::time::sleep(START_POLL).await;
        }
    }
}

/// An agent.
#[derive(Debug)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// Where its mesh port is.
    pub mesh: SocketAddr,
    /// Where its API is.
    pub api: SocketAddr,
    /// From the start of its process until it was ready, the last time.
    pub ready_after: Duration,
    data_dir: PathBuf,
    config: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Agent {
    /// Asks its API.
    ///
    /// # Errors
    /// Never, in fact: an address is an address.
    pub fn client(&self) -> anyhow::Result<Client> {
        Client::new(&self.api.to_string()).map_err(anyhow::Error::msg)
    }

    /// Its process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn process(&self) -> anyhow::Result<&Process> {
        self.process.as_ref().with_context(|| format!("{} does not run", self.name))
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    fn words(&self, command: &[&str]) -> Vec<OsString> {
        let mut words: Vec<OsString> = command.iter().map(OsString::from).collect();
        words.extend(["--data-dir".into(), self.data_dir.clone().into_os_string()]);
        words
    }

    /// Starts its process; joins by a member's address and a token when given.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&mut self, join: Option<(SocketAddr, &str)>) -> anyhow::Result<()> {
        let mut words = self.words(&["agent", "--config"]);
        words.insert(2, self.config.clone().into_os_string());
        if let Some((member, token)) = join {
            words.extend(["--join".into(), member.to_string().into(), "--token".into(), token.into()]);
        }
        self.process = Some(Process::start(words, &self.log)?);
        Ok(())
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When its process ends, or it takes too long.
    pub async fn await_ready(&mut self, since: Instant) -> anyhow::Result<()> {
        let client = self.client()?;
        loop {
            let state = match client.text("/readyz").await {
                Ok((status, _)) if status.is_success() => {
                    self.ready_after = since.elapsed();
                    return Ok(());
                }
                Ok((_, body)) => body,
                Err(error) => error.to_string(),
            };
            let process = self.process.as_mut().context("it was never started")?;
            if let Some(status) = process.ended() {
                bail!("{} ended, {status}:\n{}", self.name, process.log_tail());
            }
            if since.elapsed() > WAIT_MAX {
                bail!("{} is not ready after {} s: {state}\n{}", self.name, WAIT_MAX.as_secs(), process.log_tail());
            }
            tokio::time::sleep(START_POLL).await;
        }
    }
}

/// A whole mesh.
#[derive(Debug)]
pub struct Cluster {
    /// Its agents, in the order in which they joined.
    pub agents: Vec<Agent>,
    /// Its services.
    pub services: Vec<Service>,
    /// How soon after a failure the next probe comes; none: a period later.
    pub fast_interval: Option<Duration>,
    // Dropped last, when no process writes to it any more.
    folder: Folder,
}

impl Cluster {
    /// Starts the services, one after another homed on the next agent; no agent yet.
    ///
    /// # Errors
    /// When a service cannot be started.
    pub async fn new(services: &[(String, Kind)], agents: usize) -> anyhow::Result<Self> {
        let mut cluster =
            Self { agents: Vec::new(), services: Vec::new(), fast_interval: None, folder: Folder::new()? };
        for (place, (name, kind)) in services.iter().enumerate() {
            cluster.start_service(name, *kind, place % agents).await?;
        }
        Ok(cluster)
    }

    async fn start_service(&mut self, name: &str, kind: Kind, home: usize) -> anyhow::Result<()> {
        let mut last = None;
        for _ in 0..START_ATTEMPTS {
            let address = free_address()?;
            let log = self.folder.path().join(format!("{name}-{}.log", address.port()));
            let mut service = Service { name: name.to_owned(), address, home, kind, log, process: None };
            match service.start().await {
                Ok(()) => {
                    self.services.push(service);
                    return Ok(());
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("service {name} was not started")))
    }

    /// Starts the next agent and waits until it is ready. The first begins the mesh; each other one joins by the one before it, so that
    /// most join by a member that cannot admit them itself.
    ///
    /// # Errors
    /// When it does not come to be ready.
    pub async fn add_agent(&mut self) -> anyhow::Result<&Agent> {
        let mut last = None;
        for _ in 0..START_ATTEMPTS {
            match self.try_add_agent().await {
                Ok(agent) => {
                    self.agents.push(agent);
                    return self.agents.last().context("it was just added");
                }
                // Another program may have taken the port between our look and the agent's.
                Err(error) if format!("{error:#}").to_lowercase().contains("address already in use") => {
                    last = Some(error)
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("the agent was not started")))
    }

    async fn try_add_agent(&self) -> anyhow::Result<Agent> {
        let number = self.agents.len() + 1;
        let name = format!("agent-{number}");
        let path = |end: &str| self.folder.path().join(format!("{name}{end}"));
        let (mesh, api) = (free_address()?, free_address()?);
        let (data_dir, config, log) = (path(""), path(".toml"), path(".log"));
        match std::fs::remove_dir_all(&data_dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        std::fs::write(&config, self.config(&name, mesh, api)).context("writing a configuration")?;
        let ready_after = Duration::ZERO;
        let mut agent = Agent { name, mesh, api, ready_after, data_dir, config, log, process: None };
        let began;
        match (self.agents.first(), self.agents.last()) {
            (Some(first), Some(previous)) => {
                let printed = output(first.words(&["token", "create"]), self.folder.path())?;
                let token = printed.split_whitespace().last().context("no token was printed")?;
                began = Instant::now();
                agent.spawn(Some((previous.mesh, token)))?;
            }
            _ => {
                output(agent.words(&["init", "--name", &agent.name]), self.folder.path())?;
                began = Instant::now();
                agent.spawn(None)?;
            }
        }
        agent.await_ready(began).await.map(|()| agent)
    }

    /// The configuration of the next agent, with the services it is home to.
    fn config(&self, name: &str, mesh: SocketAddr, api: SocketAddr) -> String {
        let mut text = format!("[agent]\nname = \"{name}\"\nlisten = \"{mesh}\"\n\n[api]\nlisten = \"{api}\"\n");
        for service in self.services.iter().filter(|service| service.home == self.agents.len()) {
            let path = if service.kind == Kind::Http { "path = \"/health\"\n" } else { "" };
            let fast = self.fast_interval.map(|fast| format!("fast_interval = \"{}ms\"\n", fast.as_millis()));
            let fast = fast.unwrap_or_default();
            let _infallible = write!(
                text,
                "\n[[service]]\nname = \"{}\"\n[service.check]\nprotocol = \"{}\"\n{path}{fast}period = \"1s\"\ntimeout = \"500ms\"\n\
                 initial_delay = \"0s\"\nfailure_threshold = 3\n[[service.instance]]\naddress = \"{}\"\n",
                service.name,
                service.kind.word(),
                service.address
            );
        }
        text
    }

    /// The ends of all agents' logs, for an error.
    pub fn log_tails(&self) -> String {
        let tail = |agent: &Agent| {
            let log = agent.process.as_ref().map_or_else(|| "not running".to_owned(), Process::log_tail);
            format!("---- {} ({})\n{log}\n", agent.name, agent.api)
        };
        self.agents.iter().map(tail).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // First all signals, then all waits, so that nobody has time to miss the others.
        for process in self.agents.iter().filter_map(|agent| agent.process.as_ref()) {
            let _gone = process.signal(nix::sys::signal::Signal::SIGKILL);
        }
        self.agents.clear();
        self.services.clear();
    }
}

/// A loopback address that nobody uses now, for TCP and UDP.
fn free_address() -> anyhow::Result<SocketAddr> {
    for _ in 0..1000 {
        let span = u32::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(random()? % span)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port between {} and {} on loopback", PORTS.start, PORTS.end)
}

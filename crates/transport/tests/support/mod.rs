//! A mesh of agents in one process. Every agent has its own runtime, so that it can vanish as a killed process does.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quorate_transport::{
    Identity, Incoming, JoinRefusal, JoinToken, LinkError, TokenStore, Transport, TransportConfig, VersionRange,
    init_mesh, join,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// Long enough for a loaded machine; no test waits for it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What every agent of these tests speaks unless it is told otherwise.
pub const VERSIONS: VersionRange = VersionRange { min: VERSION, max: VERSION };
/// The one they speak unless a test says otherwise.
pub const VERSION: u16 = 5;

pub fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

pub fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A mesh and the directory of its first agent, which can admit others.
pub struct Mesh {
    pub dir: TempDir,
    pub identity: Identity,
    pub store: TokenStore,
}

impl Mesh {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let identity = init_mesh(dir.path(), "first").unwrap();
        let store = TokenStore::open(dir.path()).unwrap();
        Self { dir, identity, store }
    }

    pub fn token(&self) -> JoinToken {
        self.store.create(self.identity.mesh_id(), Duration::from_secs(600), 10, now_ms()).unwrap()
    }

    /// The first agent, answering joins in the background until the returned agent is dropped.
    pub fn issuing_agent(&self) -> Agent {
        let mut agent = Agent::start(&self.identity, loopback(), 1);
        let (identity, store) = (self.identity.clone(), self.store.clone());
        let (forward, events) = mpsc::channel(1024);
        let mut source = std::mem::replace(&mut agent.events, events);
        agent.runtime.as_ref().unwrap().spawn(async move {
            while let Some(event) = source.recv().await {
                match event {
                    Incoming::Join { request, reply } | Incoming::ForwardedJoin { request, reply, .. } => {
                        let mut answer = identity.issuer().unwrap().grant(&request, &store, now_ms());
                        if let Ok(grant) = &mut answer {
                            grant.bootstrap = b"bootstrap".to_vec();
                        }
                        let _ = reply.send(answer);
                    }
                    other => {
                        let _ = forward.send(other).await;
                    }
                }
            }
        });
        agent
    }

    /// Further members, each with its own directory.
    pub async fn members(&self, count: usize) -> Vec<(TempDir, Identity)> {
        let issuer = self.issuing_agent();
        let token = self.token();
        let mut members = Vec::new();
        for number in 0..count {
            let dir = TempDir::new().unwrap();
            let name = format!("member-{number}");
            let outcome = join(&issuer.address.to_string(), &token, &name, dir.path(), PATIENCE).await.unwrap();
            members.push((dir, outcome.identity));
        }
        members
    }
}

/// A running agent.
pub struct Agent {
    pub runtime: Option<Runtime>,
    pub transport: Transport,
    pub address: SocketAddr,
    pub id: u64,
    pub events: mpsc::Receiver<Incoming>,
}

impl Agent {
    pub fn start(identity: &Identity, listen: SocketAddr, boot: u32) -> Self {
        Self::start_with(TransportConfig::new(identity.clone(), listen, boot, VERSIONS))
    }

    pub fn start_with(config: TransportConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let bound = {
            let _guard = runtime.enter();
            let mut attempts = 0;
            loop {
                // The socket of an agent that has just vanished closes a moment later.
                match Transport::bind(config.clone()) {
                    Ok(bound) => break bound,
                    Err(error) if attempts == 200 => panic!("{error}"),
                    Err(_) => attempts += 1,
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        let (transport, events) = bound;
        let address = transport.local_addr().unwrap();
        let id = transport.agent_id();
        Self { runtime: Some(runtime), transport, address, id, events }
    }

    pub async fn connect(&self, address: SocketAddr) -> Result<u64, LinkError> {
        let transport = self.transport.clone();
        let dial = async move { transport.connect(address).await };
        self.runtime.as_ref().unwrap().spawn(dial).await.unwrap()
    }

    /// The next event that `pick` takes; others are discarded.
    pub async fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(Incoming) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.events.recv().await.expect("the transport ended");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    pub async fn expect_link(&mut self, wanted: u64, wanted_up: bool) {
        self.expect(&format!("link up={wanted_up}"), |event| match event {
            Incoming::Link { peer, up, .. } if peer == wanted && up.is_some() == wanted_up => Some(()),
            _ => None,
        })
        .await;
    }

    pub async fn expect_message(&mut self, sender: u64) -> Vec<u8> {
        self.expect("a message", |event| match event {
            Incoming::Message { from, bytes } if from == sender => Some(bytes.to_vec()),
            _ => None,
        })
        .await
    }

    pub async fn expect_datagram(&mut self, sender: u64) -> Vec<u8> {
        self.expect("a datagram", |event| match event {
            Incoming::Datagram { from, bytes } if from == sender => Some(bytes.to_vec()),
            _ => None,
        })
        .await
    }

    pub async fn expect_refusal(&mut self) -> LinkError {
        self.expect("a refusal", |event| match event {
            Incoming::Refused { reason, .. } => Some(reason),
            _ => None,
        })
        .await
    }

    /// Ends as a killed process does: no packet says so.
    pub fn vanish(self) {
        drop(self);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A copy of a data directory.
pub fn copy_dir(from: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// The refusal inside a failed join.
pub fn refusal(error: quorate_transport::JoinError) -> JoinRefusal {
    match error {
        quorate_transport::JoinError::Refused(refusal) => refusal,
        other => panic!("not a refusal: {other}"),
    }
}

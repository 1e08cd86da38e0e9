//! Where the agent listens, and what it tells others. Every address is taken before anything else is done: an agent that cannot have one must
//! not have joined a mesh, nor have used up its token, by the time it says so.

use super::advertise;
use super::entry::Entry;
use crate::config::Settings;
use anyhow::Context;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// The addresses that are this agent's for as long as it runs.
#[derive(Debug)]
pub struct Sockets {
    /// Of the mesh. It is free, but not held: the transport opens it.
    pub listen: SocketAddr,
    /// The API on this host.
    pub api: TcpListener,
    /// Its address.
    pub api_address: SocketAddr,
    /// The API for others.
    pub api_tls: Option<TcpListener>,
    /// Health probes in the clear.
    pub api_health: Option<TcpListener>,
    /// Agent-checks.
    pub agent_check: Option<TcpListener>,
    /// Where others dial it, if the settings say so.
    asked: Option<SocketAddr>,
    /// The name server.
    pub dns: Option<(UdpSocket, TcpListener)>,
}

impl Sockets {
    /// Takes every address that the settings name.
    ///
    /// # Errors
    /// The first that cannot be had, or dialled, by the key that names it.
    pub async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let mesh = UdpSocket::bind(settings.listen).and_then(|socket| socket.local_addr());
        let listen = mesh.with_context(|| {
            format!(
                "the mesh cannot listen on UDP {}; choose another address with --listen, or stop what runs there",
                settings.listen
            )
        })?;
        let asked = match settings.advertise.as_deref() {
            Some(advertise) => Some(advertise::address(Some(advertise), listen, &[]).await?),
            None => None,
        };
        let api = TcpListener::bind(settings.api).with_context(|| {
            format!(
                "the API cannot listen on {}; choose another address with --api, or stop what runs there",
                settings.api
            )
        })?;
        let api_address = api.local_addr().context("--api")?;
        let bind = |key: &str, address: Option<SocketAddr>| {
            let listener = address.map(|address| {
                TcpListener::bind(address).with_context(|| format!("{key}: nothing can listen on {address}"))
            });
            listener.transpose()
        };
        let api_tls = bind("api.tls_listen", settings.api_access.tls_listen)?;
        let api_health = bind("api.health_listen", settings.api_access.health_listen)?;
        let agent_check = bind("api.agent_check", settings.agent_check.as_ref().map(|check| check.address))?;
        let dns = settings.dns.as_ref().map(|dns| bind_both(dns.address)).transpose()?;
        Ok(Self { listen, api, api_address, api_tls, api_health, agent_check, asked, dns })
    }
}

/// One address for both, and one port even when any will do.
fn bind_both(address: SocketAddr) -> anyhow::Result<(UdpSocket, TcpListener)> {
    let failed = || format!("dns.listen: the name server cannot listen on {address}");
    let streams = TcpListener::bind(address).with_context(failed)?;
    let datagrams = UdpSocket::bind(streams.local_addr().with_context(failed)?).with_context(failed)?;
    streams.set_nonblocking(true)?;
    datagrams.set_nonblocking(true)?;
    Ok((datagrams, streams))
}

/// The same, and where others reach it.
#[derive(Debug)]
pub struct Addresses {
    /// Where it listens.
    pub sockets: Sockets,
    /// Where others dial it.
    pub advertised: SocketAddr,
}

impl Addresses {
    /// Finds out where others reach an agent that listens so.
    ///
    /// # Errors
    /// When there is none.
    pub async fn find(sockets: Sockets, entry: &Entry) -> anyhow::Result<Self> {
        let peers: Vec<_> = entry.contacts.iter().map(|(_, address)| *address).collect();
        let advertised = match sockets.asked {
            Some(asked) => asked,
            None => advertise::address(None, sockets.listen, &peers).await?,
        };
        Ok(Self { sockets, advertised })
    }

    /// Where others ask this agent: over TLS if it lets them, else where its own host does.
    pub fn told(&self) -> String {
        match self.sockets.api_tls.as_ref().and_then(|listener| listener.local_addr().ok()) {
            Some(tls) if tls.ip().is_unspecified() => {
                format!("https://{}", SocketAddr::new(self.advertised.ip(), tls.port()))
            }
            Some(tls) => format!("https://{tls}"),
            None => self.sockets.api_address.to_string(),
        }
    }
}

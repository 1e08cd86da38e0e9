//! The transport's handle: bind, send, dial, look, stop.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quinn::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout, ServerConfig,
    TokioRuntime, VarInt,
};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::accept::accept_all;
use crate::dial::{dial_on_demand, establish};
use crate::forward;
use crate::hello::VersionRange;
use crate::identity::Identity;
use crate::incoming::Incoming;
use crate::join::{Grant, JoinRefusal, JoinRequest};
use crate::limits::{
    DATAGRAM_BUFFER_BYTES, FLUSH_TIMEOUT, INCOMING_QUEUE, LINK_WINDOW_BYTES, MAX_CONCURRENT_REQUESTS,
    MAX_CONCURRENT_STREAMS, MAX_DATAGRAM_BYTES, MAX_MESSAGE_BYTES, PENDING_DATAGRAMS, PENDING_MESSAGES,
    STREAM_WINDOW_BYTES,
};
use crate::link::Link;
use crate::link_error::{LinkError, close_code};
use crate::metrics::TransportMetrics;
use crate::peers::{Peer, Shared};
use crate::tls;

/// UDP payload of every packet (RFC 9000 section 14: any path must carry it). It is not probed upwards: at large N a
/// quiet mesh meets every peer by a fresh connection, and the probes would cost more than the packets they enlarge.
const MTU_BYTES: u16 = 1200;
/// First guess of the round trip, so that a lost first packet is repeated well within a dial.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// How to bind.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// UDP address to listen on; also the source of every dial.
    pub listen: SocketAddr,
    /// Who we are.
    pub identity: Identity,
    /// Boot counter: persisted by the owner, one more with every start.
    pub boot: u32,
    /// Wire versions that the owner speaks.
    pub versions: VersionRange,
    /// A link on which nothing was heard for this time is lost. Default 10 s.
    pub max_idle_timeout: Duration,
    /// A quiet link is kept alive with one packet per this time. Default 3 s; `None` lets quiet links end.
    pub keep_alive_interval: Option<Duration>,
    /// Events that may wait for the owner. Default [`INCOMING_QUEUE`].
    pub incoming_queue: usize,
}

impl TransportConfig {
    /// The defaults.
    pub fn new(identity: Identity, listen: SocketAddr, boot: u32, versions: VersionRange) -> Self {
        Self {
            listen,
            identity,
            boot,
            versions,
            max_idle_timeout: Duration::from_secs(10),
            keep_alive_interval: Some(Duration::from_secs(3)),
            incoming_queue: INCOMING_QUEUE,
        }
    }
}

/// Why nothing was bound.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address cannot be had.
    #[error("cannot listen on UDP {address}: {source}{}", hint(.source))]
    Socket {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: std::io::Error,
    },
    /// The identity does not make a TLS configuration.
    #[error("the identity cannot be used for TLS: {0}")]
    Tls(String),
    /// A setting out of range.
    #[error("{0} is out of range")]
    Setting(&'static str),
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "; is another agent running there?",
        std::io::ErrorKind::AddrNotAvailable => "; no interface of this host has that address",
        _ => "",
    }
}

impl BindError {
    pub(crate) fn tls(error: impl fmt::Display) -> Self {
        Self::Tls(error.to_string())
    }
}

/// Why something was not sent, nor queued. It was dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// Larger than its limit.
    #[error("{length} bytes are more than the limit of {limit}")]
    Oversize {
        /// Its size, bytes.
        length: usize,
        /// The limit, bytes.
        limit: usize,
    },
    /// There is neither a link nor an address.
    #[error("the peer's address is not known")]
    NoAddress,
    /// The link's queue is full.
    #[error("too much is waiting for this peer")]
    QueueFull,
    /// It was written for another release than the peer has been found to be.
    #[error("the peer cannot read wire version {0}")]
    Unreadable(u16),
    /// The transport stops.
    #[error("the transport is shutting down")]
    ShuttingDown,
}

/// A link that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// The peer.
    pub peer: u64,
    /// Where it is.
    pub address: SocketAddr,
    /// Smoothed round trip.
    pub rtt: Duration,
    /// Did we dial?
    pub dialled_by_us: bool,
    /// The peer's boot counter.
    pub boot: u32,
    /// The highest wire version that both ends speak.
    pub version: u16,
    /// How long it has been up.
    pub up_for: Duration,
}

/// The transport. Cheap to clone; all clones are one. It ends with [`Transport::shutdown`], or when the receiver of its
/// events is dropped.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("agent", &self.shared.identity).finish_non_exhaustive()
    }
}

impl Transport {
    /// Opens the socket and starts to accept. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`]; then nothing was started.
    pub fn bind(config: TransportConfig) -> Result<(Self, mpsc::Receiver<Incoming>), BindError> {
        let quic = Arc::new(quic_config(&config)?);
        let mut server = ServerConfig::with_crypto(Arc::new(tls::server_config(&config.identity)?));
        server.transport_config(Arc::clone(&quic));
        let mut client = ClientConfig::new(Arc::new(tls::client_config(&config.identity)?));
        client.transport_config(quic);
        let address = config.listen;
        let failed = |source| BindError::Socket { address, source };
        let socket = UdpSocket::bind(address).map_err(failed)?;
        let endpoint = Endpoint::new(endpoint_config(&config.identity), Some(server), socket, Arc::new(TokioRuntime))
            .map_err(failed)?;
        let mut nonce = [0; 8];
        SystemRandom::new().fill(&mut nonce).map_err(|_| BindError::Random)?;
        let (incoming, events) = mpsc::channel(config.incoming_queue.max(1));
        let nonce = u64::from_le_bytes(nonce);
        let shared =
            Arc::new(Shared::new(config.identity, endpoint, client, incoming, nonce, (config.boot, config.versions)));
        tokio::spawn(accept_all(Arc::clone(&shared)));
        tokio::spawn(Arc::clone(&shared).announce());
        Ok((Self { shared }, events))
    }

    /// Our own id.
    pub fn agent_id(&self) -> u64 {
        self.shared.identity.agent_id()
    }

    /// The bound address.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.shared.endpoint.local_addr()
    }

    /// The boot counter to tell in hellos from now on.
    pub fn set_boot(&self, boot: u32) {
        self.shared.boot.store(boot, Ordering::Relaxed);
    }

    /// Sends a datagram (RFC 9221): at most once, and soon or never. Never waits. Without a link it dials, and keeps the
    /// newest [`PENDING_DATAGRAMS`] until the link is up or the dial failed. `version` is the wire version that it is
    /// written in: to a peer that cannot read it, such as one that comes back as an older release, it is not sent.
    ///
    /// # Errors
    /// [`SendError`] when it was dropped at once.
    pub fn send_datagram(&self, to: u64, version: u16, bytes: Bytes) -> Result<(), SendError> {
        let length = bytes.len();
        self.check_size(length, MAX_DATAGRAM_BYTES)?;
        let mut table = self.shared.table();
        let peer = table.peers.get_mut(&to).ok_or_else(|| self.no_address())?;
        if let Some(link) = peer.live_link() {
            self.check_version(link, version)?;
            if link.connection.send_datagram(bytes.clone()).is_ok() {
                self.shared.counters.datagrams_out.increment();
                self.shared.counters.datagram_bytes_out.add(length);
                return Ok(());
            }
        }
        self.demand(to, peer)?;
        if peer.datagrams.len() >= PENDING_DATAGRAMS {
            peer.datagrams.pop_front();
            self.shared.counters.dropped_pending_full.increment();
        }
        peer.datagrams.push_back((version, bytes));
        Ok(())
    }

    /// Sends a message reliably while the link lives; if it is lost with the link, nobody says so. Never waits. Without a
    /// link it dials, and keeps up to [`PENDING_MESSAGES`] until the link is up or the dial failed. `version` is as with datagrams.
    ///
    /// # Errors
    /// [`SendError`] when it was dropped at once.
    pub fn send_message(&self, to: u64, version: u16, bytes: Bytes) -> Result<(), SendError> {
        self.check_size(bytes.len(), MAX_MESSAGE_BYTES)?;
        let mut table = self.shared.table();
        let peer = table.peers.get_mut(&to).ok_or_else(|| self.no_address())?;
        if let Some(link) = peer.live_link() {
            self.check_version(link, version)?;
            match link.messages.try_send(bytes.clone()) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(_)) => {
                    self.shared.counters.dropped_link_queue_full.increment();
                    return Err(SendError::QueueFull);
                }
                // The link is ending; what follows dials anew.
                Err(mpsc::error::TrySendError::Closed(_)) => {}
            }
        }
        self.demand(to, peer)?;
        if peer.messages.len() >= PENDING_MESSAGES {
            self.shared.counters.dropped_pending_full.increment();
            return Err(SendError::QueueFull);
        }
        peer.messages.push_back((version, bytes));
        Ok(())
    }

    fn check_size(&self, length: usize, limit: usize) -> Result<(), SendError> {
        if self.shared.stopping.load(Ordering::Relaxed) {
            return Err(SendError::ShuttingDown);
        }
        if length > limit {
            self.shared.counters.dropped_oversize.increment();
            return Err(SendError::Oversize { length, limit });
        }
        Ok(())
    }

    fn check_version(&self, link: &Link, version: u16) -> Result<(), SendError> {
        if link.reads(version) {
            return Ok(());
        }
        self.shared.counters.dropped_unreadable.increment();
        Err(SendError::Unreadable(version))
    }

    fn no_address(&self) -> SendError {
        self.shared.counters.dropped_no_address.increment();
        SendError::NoAddress
    }

    /// Something is about to wait for a link: sees to it that somebody dials.
    fn demand(&self, to: u64, peer: &mut Peer) -> Result<(), SendError> {
        if peer.address.is_none() {
            return Err(self.no_address());
        }
        if !peer.dialling {
            peer.dialling = true;
            self.shared.runtime.spawn(dial_on_demand(Arc::clone(&self.shared), to));
        }
        Ok(())
    }

    /// Where to dial a peer. A new address ends its back-off. Beyond [`crate::limits::MAX_PEERS`] peers it is ignored.
    pub fn set_address(&self, peer: u64, address: SocketAddr) {
        let mut table = self.shared.table();
        let Some(entry) = table.entry(peer) else {
            return self.shared.warnings.other("too_many_peers", "an address was ignored: the table of peers is full");
        };
        if entry.address.replace(address) != Some(address) {
            entry.failures = 0;
            entry.dial_not_before = None;
        }
    }

    /// Forgets a peer's address and history, drops what waits for it, and closes its link.
    pub fn forget_peer(&self, peer: u64) {
        self.close_link(peer);
        let mut table = self.shared.table();
        table.forget(peer);
    }

    /// Closes the link to a peer, if any, after what is queued on it.
    pub fn close_link(&self, peer: u64) {
        let table = self.shared.table();
        if let Some(link) = table.peers.get(&peer).and_then(|entry| entry.link.as_ref()) {
            link.retire(close_code::CLOSED, Duration::ZERO);
        }
    }

    /// Dials an address whose agent is not known, and returns who it is. The link is up when this returns.
    ///
    /// # Errors
    /// [`LinkError`]; also logged and counted.
    pub async fn connect(&self, address: SocketAddr) -> Result<u64, LinkError> {
        establish(&self.shared, address, None).await
    }

    /// Has another member decide a join, dialling it if need be.
    ///
    /// # Errors
    /// Its refusal, or [`JoinRefusal::NoIssuer`] when it cannot be asked.
    pub async fn request_join_forward(&self, peer: u64, request: JoinRequest) -> Result<Grant, JoinRefusal> {
        forward::request(&self.shared, peer, &request).await
    }

    /// The links that are up.
    pub fn links(&self) -> Vec<LinkInfo> {
        let table = self.shared.table();
        let info = |(id, peer): (&u64, &Peer)| {
            let link = peer.live_link()?;
            Some(LinkInfo {
                peer: *id,
                address: link.connection.remote_address(),
                rtt: link.connection.rtt(),
                dialled_by_us: link.dialled_by_us,
                boot: link.hello.boot,
                version: link.version?,
                up_for: link.since.elapsed(),
            })
        };
        table.peers.iter().filter_map(info).collect()
    }

    /// The counters now.
    pub fn metrics(&self) -> TransportMetrics {
        let (mut links, mut older) = (0, 0);
        for link in self.shared.table().peers.values().filter_map(Peer::live_link) {
            links += 1;
            older += u64::from(link.version < Some(self.shared.versions.max));
        }
        self.shared.counters.snapshot(links, older)
    }

    /// Stops: accepts and sends nothing more, flushes what is queued, closes. Takes at most about two seconds. The events
    /// end once all clones are dropped.
    pub async fn shutdown(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let links: Vec<_> = self.shared.table().peers.values().filter_map(|peer| peer.link.clone()).collect();
        for link in &links {
            link.retire(close_code::SHUTDOWN, Duration::ZERO);
        }
        let all_closed = async {
            for link in &links {
                link.connection.closed().await;
            }
        };
        let _ = timeout(FLUSH_TIMEOUT, all_closed).await;
        self.shared.endpoint.close(VarInt::from_u32(close_code::SHUTDOWN), b"");
        let _ = timeout(FLUSH_TIMEOUT / 4, self.shared.endpoint.wait_idle()).await;
        self.shared.changed.notify_one();
    }
}

fn quic_config(config: &TransportConfig) -> Result<quinn::TransportConfig, BindError> {
    let idle = IdleTimeout::try_from(config.max_idle_timeout).map_err(|_| BindError::Setting("max_idle_timeout"))?;
    if config.keep_alive_interval.is_some_and(|interval| interval >= config.max_idle_timeout) {
        return Err(BindError::Setting("keep_alive_interval"));
    }
    let mut quic = quinn::TransportConfig::default();
    quic.max_idle_timeout(Some(idle))
        .keep_alive_interval(config.keep_alive_interval)
        .max_concurrent_uni_streams(VarInt::from_u32(MAX_CONCURRENT_STREAMS))
        .max_concurrent_bidi_streams(VarInt::from_u32(MAX_CONCURRENT_REQUESTS))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(LINK_WINDOW_BYTES))
        .send_window(u64::from(LINK_WINDOW_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .initial_rtt(INITIAL_RTT)
        .initial_mtu(MTU_BYTES)
        .min_mtu(MTU_BYTES)
        .mtu_discovery_config(None);
    Ok(quic)
}

/// The stateless-reset key (RFC 9000 section 10.3) follows from the agent's key: a restarted process can end the links
/// of the one before it, at the first packet that still arrives for them.
fn endpoint_config(identity: &Identity) -> EndpointConfig {
    let agent_key = hmac::Key::new(hmac::HMAC_SHA256, identity.pkcs8());
    let reset_key = hmac::sign(&agent_key, b"quorate stateless reset v1");
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset_key.as_ref())));
    config.cid_generator(|| Box::new(RandomIds::default()));
    config
}

/// Random connection ids of 8 bytes. Unlike quinn's own, they do not depend on a key of this process, so a restarted
/// process answers packets of the one before it with a stateless reset instead of silence.
#[derive(Default)]
struct RandomIds {
    state: RandomState,
    counter: AtomicU64,
}

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        ConnectionId::new(&self.state.hash_one(number).to_le_bytes())
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

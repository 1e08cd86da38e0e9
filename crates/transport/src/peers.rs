//! The table of peers: addresses, links, what waits for a link; and the events that follow from its changes.
//!
//! The table is one short-held lock. Link events are not sent from under it: a changed peer is marked, and one task
//! compares what is with what was last told. So events are in order, and their backlog is bounded by the number of peers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use quinn::{ClientConfig, Endpoint};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::hello::{Hello, VersionRange};
use crate::identity::Identity;
use crate::incoming::Incoming;
use crate::limits::MAX_PEERS;
use crate::link::Link;
use crate::link_error::LinkError;
use crate::metrics::Counters;
use crate::warnings::Warnings;

/// What all tasks of a transport share.
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) endpoint: Endpoint,
    pub(crate) client_config: ClientConfig,
    pub(crate) incoming: mpsc::Sender<Incoming>,
    pub(crate) counters: Counters,
    pub(crate) warnings: Warnings,
    /// Tells this process from every other with the same identity.
    pub(crate) nonce: u64,
    /// Where every task of the transport runs, whichever thread calls.
    pub(crate) runtime: Handle,
    pub(crate) boot: AtomicU32,
    /// Wire versions that this agent speaks.
    pub(crate) versions: VersionRange,
    pub(crate) stopping: AtomicBool,
    pub(crate) handshakes: Arc<Semaphore>,
    pub(crate) joins: Arc<Semaphore>,
    pub(crate) messages_in_progress: Semaphore,
    pub(crate) changed: Notify,
    table: Mutex<Table>,
}

/// Everything known about the peers.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) peers: BTreeMap<u64, Peer>,
    dirty: BTreeSet<u64>,
    serial: u64,
}

/// One peer.
#[derive(Default)]
pub(crate) struct Peer {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) link: Option<Arc<Link>>,
    /// Changes with every link, but not when a link merely takes over from its duplicate.
    session: u64,
    announced: Option<(u64, SocketAddr)>,
    /// Boot counter and process nonce of the last link.
    pub(crate) seen: Option<(u32, u64)>,
    /// What waits for a link, with the wire version that it takes to read it.
    pub(crate) datagrams: VecDeque<(u16, Bytes)>,
    pub(crate) messages: VecDeque<(u16, Bytes)>,
    pub(crate) dialling: bool,
    pub(crate) failures: u32,
    pub(crate) dial_not_before: Option<Instant>,
}

impl Peer {
    pub(crate) fn live_link(&self) -> Option<&Arc<Link>> {
        self.link.as_ref().filter(|link| link.is_live())
    }

    fn is_forgettable(&self) -> bool {
        self.link.is_none() && self.announced.is_none() && !self.dialling
    }
}

impl Table {
    /// The peer's entry, made if need be. When the table is full, a peer without a link gives way.
    pub(crate) fn entry(&mut self, peer: u64) -> Option<&mut Peer> {
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&peer) {
            let victim = self.peers.iter().find(|(_, peer)| peer.is_forgettable()).map(|(id, _)| *id)?;
            self.peers.remove(&victim);
        }
        Some(self.peers.entry(peer).or_default())
    }

    /// Makes `link` the peer's link and sends what waited for one. Returns the link it replaces.
    pub(crate) fn install(&mut self, link: &Arc<Link>, counters: &Counters) -> Option<Arc<Link>> {
        self.serial += 1;
        let serial = self.serial;
        let peer = self.entry(link.peer)?;
        let replaced = peer.link.replace(Arc::clone(link));
        let takes_over = replaced.as_ref().is_some_and(|old| old.is_live() && old.hello.nonce == link.hello.nonce);
        if !takes_over {
            peer.session = serial;
        }
        peer.seen = Some((link.hello.boot, link.hello.nonce));
        peer.failures = 0;
        peer.dial_not_before = None;
        if link.dialled_by_us || peer.address.is_none() {
            peer.address = Some(link.address);
        }
        for (version, bytes) in peer.datagrams.drain(..) {
            let length = bytes.len();
            if !link.reads(version) {
                counters.dropped_unreadable.increment();
            } else if link.connection.send_datagram(bytes).is_ok() {
                counters.datagrams_out.increment();
                counters.datagram_bytes_out.add(length);
            } else {
                counters.dropped_link_lost.increment();
            }
        }
        for (version, bytes) in peer.messages.drain(..) {
            if !link.reads(version) {
                counters.dropped_unreadable.increment();
            } else if link.messages.try_send(bytes).is_err() {
                counters.dropped_link_queue_full.increment();
            }
        }
        self.dirty.insert(link.peer);
        replaced
    }

    /// Drops all that is known of a peer. Its entry goes once the end of its link was told.
    pub(crate) fn forget(&mut self, id: u64) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.address = None;
        peer.seen = None;
        peer.datagrams.clear();
        peer.messages.clear();
        if peer.is_forgettable() {
            self.peers.remove(&id);
        }
    }

    /// The next peer whose link changed, and the events that tell it.
    fn next_events(&mut self) -> Option<Vec<Incoming>> {
        let id = self.dirty.pop_first()?;
        let Some(peer) = self.peers.get_mut(&id) else { return Some(Vec::new()) };
        let link = peer.live_link();
        let version = link.and_then(|link| link.version).unwrap_or_default();
        let now = link.map(|link| (peer.session, link.address));
        let before = peer.announced;
        if before.map(|(session, _)| session) == now.map(|(session, _)| session) {
            return Some(Vec::new());
        }
        peer.announced = now;
        if peer.address.is_none() && peer.is_forgettable() {
            self.peers.remove(&id);
        }
        let down = before.map(|(_, address)| Incoming::Link { peer: id, up: None, address });
        let up = now.map(|(_, address)| Incoming::Link { peer: id, up: Some(version), address });
        Some(down.into_iter().chain(up).collect())
    }
}

impl Shared {
    pub(crate) fn new(
        identity: Identity,
        endpoint: Endpoint,
        client_config: ClientConfig,
        incoming: mpsc::Sender<Incoming>,
        nonce: u64,
        (boot, versions): (u32, VersionRange),
    ) -> Self {
        Self {
            identity,
            endpoint,
            client_config,
            incoming,
            counters: Counters::default(),
            warnings: Warnings::default(),
            nonce,
            runtime: Handle::current(),
            boot: AtomicU32::new(boot),
            versions,
            stopping: AtomicBool::new(false),
            handshakes: Arc::new(Semaphore::new(crate::limits::MAX_HANDSHAKES)),
            joins: Arc::new(Semaphore::new(crate::limits::MAX_CONCURRENT_JOINS)),
            messages_in_progress: Semaphore::new(crate::limits::MAX_MESSAGES_IN_PROGRESS),
            changed: Notify::new(),
            table: Mutex::default(),
        }
    }

    /// The first words on every link.
    pub(crate) fn hello(&self) -> Hello {
        Hello { versions: self.versions, boot: self.boot.load(Ordering::Relaxed), nonce: self.nonce }
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an ended link off the table, unless another took its place.
    pub(crate) fn uninstall(&self, link: &Arc<Link>) {
        let mut table = self.table();
        self.counters.links_lost.increment();
        if let Some(peer) = table.peers.get_mut(&link.peer)
            && peer.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link))
        {
            peer.link = None;
            table.dirty.insert(link.peer);
        }
        drop(table);
        self.changed.notify_one();
    }

    /// Counts and logs why there is no link; tells the owner when it is the peer who would not have us.
    pub(crate) async fn report_refusal(&self, reason: LinkError, by: Option<u64>, address: SocketAddr) {
        self.counters.refusal(&reason);
        self.warnings.link(&reason, by, address);
        let _ = self.incoming.send(Incoming::Refused { by, address, reason }).await;
    }

    /// Sends link events until the owner is gone, or all links are closed for good.
    pub(crate) async fn announce(self: Arc<Self>) {
        loop {
            let next = self.table().next_events();
            let Some(events) = next else {
                if self.stopping.load(Ordering::Relaxed) && self.table().peers.values().all(|peer| peer.link.is_none())
                {
                    return;
                }
                tokio::select! {
                    () = self.changed.notified() => continue,
                    () = self.incoming.closed() => return,
                }
            };
            for event in events {
                if self.incoming.send(event).await.is_err() {
                    return;
                }
            }
        }
    }
}

//! Dialling: on demand, with a bounded queue of what waits, a back-off after failure, and one dial per peer at a time.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{Connection, ConnectionError};
use tokio::time::timeout;

use crate::admission::{admit, close, peer_of, read_hello};
use crate::hello::Hello;
use crate::limits::{BACKOFF_MAX, BACKOFF_MIN, DIAL_TIMEOUT, DRAIN_GRACE, HELLO_TIMEOUT};
use crate::link::{Link, run};
use crate::link_error::{LinkError, close_code};
use crate::mesh_id::agent_dns_name;
use crate::peers::Shared;
use crate::tls::ANY_AGENT;

/// Dials a peer that something waits for, until there is a link or nothing waits any more.
pub(crate) async fn dial_on_demand(shared: Arc<Shared>, peer: u64) {
    loop {
        let wait = {
            let mut table = shared.table();
            let Some(entry) = table.peers.get_mut(&peer) else { return };
            if entry.live_link().is_some() || (entry.datagrams.is_empty() && entry.messages.is_empty()) {
                entry.dialling = false;
                return;
            }
            entry.dial_not_before.map(|moment| moment.saturating_duration_since(Instant::now()))
        };
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            tokio::time::sleep(wait).await;
            continue;
        }
        let address = shared.table().peers.get(&peer).and_then(|entry| entry.address);
        let dialled = match address {
            Some(address) => establish(&shared, address, Some(peer)).await.map(|_| ()),
            None => Err(LinkError::NoAddress(peer)),
        };
        if let Err(error) = dialled {
            tracing::debug!(peer = format_args!("{peer:016x}"), %error, "dial failed");
        }
        give_up_for_now(&shared, peer);
    }
}

/// Unless there is a link by now: drops what waited and sets the time before which nobody dials again.
fn give_up_for_now(shared: &Shared, peer: u64) {
    let mut table = shared.table();
    let Some(entry) = table.peers.get_mut(&peer) else { return };
    if entry.live_link().is_some() {
        return;
    }
    shared.counters.dropped_unreachable.add(entry.datagrams.len() + entry.messages.len());
    entry.datagrams.clear();
    entry.messages.clear();
    entry.failures = entry.failures.saturating_add(1);
    entry.dial_not_before = Some(Instant::now() + backoff(entry.failures));
}

/// Doubles from [`BACKOFF_MIN`] to [`BACKOFF_MAX`]; the upper half of it is random.
fn backoff(failures: u32) -> Duration {
    let full = BACKOFF_MIN.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(BACKOFF_MAX);
    let random = u32::try_from(RandomState::new().hash_one(failures) % 1024).unwrap_or(0);
    full / 2 + full / 2048 * random
}

/// Dials, shakes hands, exchanges hellos and installs the link. Returns the peer; there is a link to it when this returns,
/// though perhaps another one than was dialled.
pub(crate) async fn establish(
    shared: &Arc<Shared>,
    address: SocketAddr,
    expected: Option<u64>,
) -> Result<u64, LinkError> {
    match attempt(shared, address, expected).await {
        Ok(peer) => {
            shared.counters.dials_ok.increment();
            Ok(peer)
        }
        Err((error, refused_by_peer, peer)) => {
            shared.counters.dials_failed.increment();
            if refused_by_peer && error.is_refusal_of_us() {
                shared.report_refusal(error.clone(), peer.or(expected), address).await;
            } else {
                shared.counters.refusal(&error);
                shared.warnings.link(&error, peer.or(expected), address);
            }
            Err(error)
        }
    }
}

type Failure = (LinkError, bool, Option<u64>);

async fn attempt(shared: &Arc<Shared>, address: SocketAddr, expected: Option<u64>) -> Result<u64, Failure> {
    let connection = handshake(shared, address, expected).await.map_err(|(error, by_peer)| (error, by_peer, None))?;
    let peer = peer_of(shared, &connection).map_err(|error| {
        close(&connection, &error);
        (error, false, None)
    })?;
    let greeted = timeout(HELLO_TIMEOUT, greet(shared, &connection)).await;
    let hello = match greeted.unwrap_or(Err(LinkError::Unreachable(address))) {
        Ok(hello) => hello,
        // The peer keeps another link to us, which it installed before it said so.
        Err(LinkError::Duplicate) => return Ok(peer),
        Err(error) => {
            let by_peer = crate::accept::closed_by_peer_with(&connection, &error);
            close(&connection, &error);
            return Err((error, by_peer, Some(peer)));
        }
    };
    let (link, queue) = Link::new(peer, (hello, shared.versions), true, connection);
    match admit(shared, &link).await {
        Ok(()) => {}
        // The peer already uses this one; let what is in flight arrive.
        Err(LinkError::Duplicate) => link.retire(close_code::DUPLICATE, DRAIN_GRACE),
        Err(error) => {
            close(&link.connection, &error);
            return Err((error, false, Some(peer)));
        }
    }
    shared.runtime.spawn(run(Arc::clone(shared), link, queue));
    Ok(peer)
}

async fn handshake(
    shared: &Shared,
    address: SocketAddr,
    expected: Option<u64>,
) -> Result<Connection, (LinkError, bool)> {
    let name = expected.map_or_else(|| ANY_AGENT.to_owned(), agent_dns_name);
    let connecting = shared
        .endpoint
        .connect_with(shared.client_config.clone(), address, &name)
        .map_err(|error| (LinkError::from_connect(&error, address), false))?;
    match timeout(DIAL_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(ConnectionError::TimedOut)) | Err(_) => Err((LinkError::Unreachable(address), false)),
        Ok(Err(error)) => {
            let by_peer = matches!(error, ConnectionError::ApplicationClosed(_) | ConnectionError::ConnectionClosed(_));
            Err((LinkError::from_connection(&error, address), by_peer))
        }
    }
}

/// The dialler speaks first; the answer means that the peer has taken the link.
async fn greet(shared: &Shared, connection: &Connection) -> Result<Hello, LinkError> {
    let hello = shared.hello();
    if let Ok(mut stream) = connection.open_uni().await
        && stream.write_all(&hello.encode()).await.is_ok()
    {
        let _ = stream.finish();
    }
    read_hello(connection).await
}

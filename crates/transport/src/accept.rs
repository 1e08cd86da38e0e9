//! Accepting: handshakes within limits, then a link to a member or a join.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, ConnectionError, VarInt};
use tokio::time::timeout;

use crate::admission::{admit, close, peer_of, read_hello};
use crate::join_server;
use crate::limits::{ALPN_JOIN, HANDSHAKE_TIMEOUT, HELLO_TIMEOUT, MAX_HANDSHAKES, RETRY_FROM_HANDSHAKES};
use crate::link::{Link, run};
use crate::link_error::{LinkError, close_code};
use crate::peers::Shared;

/// Accepts connections until the endpoint closes or the owner is gone.
pub(crate) async fn accept_all(shared: Arc<Shared>) {
    loop {
        let next = tokio::select! {
            next = shared.endpoint.accept() => next,
            () = shared.incoming.closed() => {
                shared.endpoint.close(VarInt::from_u32(close_code::SHUTDOWN), b"");
                None
            }
        };
        let Some(incoming) = next else { return };
        admit_handshake(&shared, incoming);
    }
}

fn admit_handshake(shared: &Arc<Shared>, incoming: quinn::Incoming) {
    if shared.stopping.load(Ordering::Relaxed) {
        return incoming.refuse();
    }
    let in_progress = MAX_HANDSHAKES - shared.handshakes.available_permits().min(MAX_HANDSHAKES);
    if in_progress >= RETRY_FROM_HANDSHAKES && !incoming.remote_address_validated() && incoming.may_retry() {
        shared.counters.handshake_retries.increment();
        let _ = incoming.retry();
        return;
    }
    let Ok(permit) = Arc::clone(&shared.handshakes).try_acquire_owned() else {
        refused(shared, &LinkError::TooMany, None, incoming.remote_address());
        return incoming.refuse();
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let Some(connection) = handshake(&shared, incoming).await else { return };
        if is_join(&connection) {
            drop(permit);
            join_server::serve(&shared, connection).await;
        } else {
            accept_link(&shared, connection).await;
        }
    });
}

async fn handshake(shared: &Shared, incoming: quinn::Incoming) -> Option<Connection> {
    let address = incoming.remote_address();
    let connected = async { incoming.accept()?.await };
    match timeout(HANDSHAKE_TIMEOUT, connected).await.unwrap_or(Err(ConnectionError::TimedOut)) {
        Ok(connection) => Some(connection),
        Err(error) => {
            refused(shared, &LinkError::from_connection(&error, address), None, address);
            None
        }
    }
}

fn is_join(connection: &Connection) -> bool {
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    data.is_some_and(|data| data.protocol.as_deref() == Some(ALPN_JOIN))
}

fn refused(shared: &Shared, error: &LinkError, peer: Option<u64>, address: SocketAddr) {
    shared.counters.refusal(error);
    shared.warnings.link(error, peer, address);
}

async fn accept_link(shared: &Arc<Shared>, connection: Connection) {
    let address = connection.remote_address();
    let peer = match peer_of(shared, &connection) {
        Ok(peer) => peer,
        Err(error) => {
            close(&connection, &error);
            return refused(shared, &error, None, address);
        }
    };
    match timeout(HELLO_TIMEOUT, meet(shared, peer, &connection)).await.unwrap_or(Err(LinkError::TimedOut)) {
        Ok(()) => shared.counters.accepts_ok.increment(),
        Err(error) => {
            let by_peer = closed_by_peer_with(&connection, &error);
            close(&connection, &error);
            if by_peer && error.is_refusal_of_us() {
                shared.report_refusal(error, Some(peer), address).await;
            } else if error != LinkError::Duplicate {
                refused(shared, &error, Some(peer), address);
            }
        }
    }
}

/// Is `error` what the peer closed the connection with, and not our own verdict on a peer that went away meanwhile?
pub(crate) fn closed_by_peer_with(connection: &Connection, error: &LinkError) -> bool {
    let reason = connection.close_reason();
    reason.is_some_and(|reason| LinkError::from_connection(&reason, connection.remote_address()) == *error)
}

/// Hears the dialler's hello, decides, and answers with our own: to the dialler that means "taken".
async fn meet(shared: &Arc<Shared>, peer: u64, connection: &Connection) -> Result<(), LinkError> {
    let lost = |_| match connection.close_reason() {
        Some(error) => LinkError::from_connection(&error, connection.remote_address()),
        None => LinkError::Protocol("no stream for a hello".to_owned()),
    };
    // Reserved before the link is installed, so that the hello is the first stream the dialler sees.
    let mut stream = connection.open_uni().await.map_err(lost)?;
    let hello = read_hello(connection).await?;
    let (link, queue) = Link::new(peer, (hello, shared.versions), false, connection.clone());
    admit(shared, &link).await?;
    // From here on the link is on the table and must be served, whatever happens to this task.
    tokio::spawn(run(Arc::clone(shared), link, queue));
    let own = shared.hello();
    if stream.write_all(&own.encode()).await.is_ok() {
        let _ = stream.finish();
    }
    Ok(())
}

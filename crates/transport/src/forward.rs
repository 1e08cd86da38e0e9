//! Join requests handed from one member to another, which can sign: one bidirectional stream each, JSON both ways.

use std::sync::Arc;

use quinn::{RecvStream, SendStream};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::dial::establish;
use crate::incoming::Incoming;
use crate::join::{JoinAnswer, JoinRefusal, JoinRequest};
use crate::limits::{FORWARD_TIMEOUT, JOIN_TIMEOUT, MAX_BOOTSTRAP_BYTES, MAX_JOIN_REPLY_BYTES, MAX_JOIN_REQUEST_BYTES};
use crate::link::Link;
use crate::link_error::LinkError;
use crate::peers::{Peer, Shared};

/// Serves the requests of one link until it ends. QUIC bounds how many run at once.
pub(crate) async fn serve(shared: &Arc<Shared>, link: &Arc<Link>) {
    while let Ok((send, recv)) = link.connection.accept_bi().await {
        let (shared, link) = (Arc::clone(shared), Arc::clone(link));
        tokio::spawn(async move {
            let served = timeout(JOIN_TIMEOUT, serve_one(&shared, link.peer, send, recv)).await;
            if !matches!(served, Ok(Some(()))) {
                shared.counters.refused_stream.increment();
            }
        });
    }
}

async fn serve_one(shared: &Shared, from: u64, mut send: SendStream, mut recv: RecvStream) -> Option<()> {
    // Base64 inside JSON: the same request is somewhat larger here than on the joiner's stream.
    let bytes = recv.read_to_end(2 * MAX_JOIN_REQUEST_BYTES).await.ok()?;
    let answer = match serde_json::from_slice::<JoinRequest>(&bytes) {
        Ok(request) => ask_owner(shared, |reply| Incoming::ForwardedJoin { from, request, reply }).await,
        Err(_) => Err(JoinRefusal::Malformed),
    };
    write_json(&mut send, &answer).await
}

/// Puts a request before the owner and waits for the answer; the caller sets the time.
pub(crate) async fn ask_owner(
    shared: &Shared,
    event: impl FnOnce(oneshot::Sender<JoinAnswer>) -> Incoming,
) -> JoinAnswer {
    let (reply, answer) = oneshot::channel();
    if shared.incoming.try_send(event(reply)).is_err() {
        return Err(JoinRefusal::TooMany);
    }
    match answer.await {
        Ok(Ok(grant)) if grant.bootstrap.len() > MAX_BOOTSTRAP_BYTES => {
            shared.warnings.other("bootstrap_too_large", "a join was refused: the bootstrap exceeds its limit");
            Err(JoinRefusal::Internal)
        }
        Ok(answer) => answer,
        Err(_) => Err(JoinRefusal::Internal),
    }
}

/// Writes a value as JSON and ends the stream.
pub(crate) async fn write_json(send: &mut SendStream, value: &impl Serialize) -> Option<()> {
    let bytes = serde_json::to_vec(value).ok()?;
    send.write_all(&bytes).await.ok()?;
    send.finish().ok()
}

/// Has a member decide a join, over its link or a new one.
pub(crate) async fn request(shared: &Arc<Shared>, peer: u64, request: &JoinRequest) -> JoinAnswer {
    let exchange = async {
        let link = link_to(shared, peer).await.map_err(|error| unavailable(peer, &error.to_string()))?;
        let lost = |what: &str| unavailable(peer, what);
        let (mut send, mut recv) = link.connection.open_bi().await.map_err(|_| lost("it hung up"))?;
        write_json(&mut send, request).await.ok_or_else(|| lost("it hung up"))?;
        let bytes = recv.read_to_end(MAX_JOIN_REPLY_BYTES).await.map_err(|_| lost("it gave no answer"))?;
        serde_json::from_slice::<JoinAnswer>(&bytes).map_err(|_| lost("its answer cannot be read"))?
    };
    timeout(FORWARD_TIMEOUT, exchange).await.unwrap_or_else(|_| Err(unavailable(peer, "it did not answer in time")))
}

fn unavailable(peer: u64, detail: &str) -> JoinRefusal {
    JoinRefusal::NoIssuer(format!("agent {peer:016x}: {detail}"))
}

async fn link_to(shared: &Arc<Shared>, peer: u64) -> Result<Arc<Link>, LinkError> {
    let current = || shared.table().peers.get(&peer).and_then(Peer::live_link).cloned();
    if let Some(link) = current() {
        return Ok(link);
    }
    let address = shared.table().peers.get(&peer).and_then(|entry| entry.address);
    establish(shared, address.ok_or(LinkError::NoAddress(peer))?, Some(peer)).await?;
    current().ok_or(LinkError::Closed)
}

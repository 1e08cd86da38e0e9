//! Join requests handed from one member to another, which can sign: one bidirectional stream each, JSON both ways.

use std::sync::Arc;

use quinn::{RecvStream, SendStream};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::incoming::Incoming;
use crate::join::{JoinAnswer, JoinRefusal, JoinRequest};
use crate::limits::{JOIN_TIMEOUT, MAX_BOOTSTRAP_BYTES, MAX_JOIN_REPLY_BYTES, MAX_JOIN_REQUEST_BYTES};
use crate::link::Link;
use crate::peers::Shared;

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

/// Asks the member at the other end of `link` to decide a join.
pub(crate) async fn request(link: &Link, request: &JoinRequest) -> JoinAnswer {
    let lost = |what: &str| JoinRefusal::NoIssuer(format!("agent {:016x} {what}", link.peer));
    let exchange = async {
        let (mut send, mut recv) = link.connection.open_bi().await.map_err(|_| lost("hung up"))?;
        write_json(&mut send, request).await.ok_or_else(|| lost("hung up"))?;
        let bytes = recv.read_to_end(MAX_JOIN_REPLY_BYTES).await.map_err(|_| lost("gave no answer"))?;
        serde_json::from_slice::<JoinAnswer>(&bytes).map_err(|_| lost("gave an answer that cannot be read"))?
    };
    timeout(JOIN_TIMEOUT, exchange).await.unwrap_or_else(|_| Err(lost("did not answer in time")))
}

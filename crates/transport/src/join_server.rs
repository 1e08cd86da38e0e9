//! The member's side of `quorate-join/1`: reads one request, has the owner decide, answers.

use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, SendStream, VarInt};
use tokio::time::timeout;

use crate::forward::{ask_owner, write_json};
use crate::incoming::Incoming;
use crate::join::{EXPORTER_LABEL, JoinAnswer, JoinCall, JoinRefusal, JoinRequest};
use crate::limits::{JOIN_TIMEOUT, MAX_JOIN_REQUEST_BYTES};
use crate::link_error::close_code;
use crate::peers::Shared;

/// How long the answer may take to arrive before the connection is dropped.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

pub(crate) async fn serve(shared: &Arc<Shared>, connection: Connection) {
    let Ok(_permit) = Arc::clone(&shared.joins).try_acquire_owned() else {
        shared.counters.join_refusal(&JoinRefusal::TooMany);
        return connection.close(VarInt::from_u32(close_code::TOO_MANY), b"too many joins at once");
    };
    let Some((mut send, answer)) = decide(shared, &connection).await else {
        shared.counters.join_refusal(&JoinRefusal::Malformed);
        return connection.close(VarInt::from_u32(close_code::PROTOCOL), b"no join request came in time");
    };
    let remote = connection.remote_address();
    match &answer {
        Ok(_) => {
            shared.counters.joins_granted.increment();
            tracing::info!(%remote, "a host joined through this agent");
        }
        Err(refusal) => {
            shared.counters.join_refusal(refusal);
            shared.warnings.other(refusal.reason(), &format!("refused the join of {remote}: {refusal}"));
        }
    }
    if write_json(&mut send, &answer).await.is_some() {
        let _ = timeout(ANSWER_GRACE, connection.closed()).await;
    }
    connection.close(VarInt::from_u32(close_code::CLOSED), b"");
}

async fn decide(shared: &Shared, connection: &Connection) -> Option<(SendStream, JoinAnswer)> {
    let deadline = tokio::time::Instant::now() + JOIN_TIMEOUT;
    let read = async {
        let (send, mut recv) = connection.accept_bi().await.ok()?;
        Some((send, recv.read_to_end(MAX_JOIN_REQUEST_BYTES).await))
    };
    let (send, bytes) = tokio::time::timeout_at(deadline, read).await.ok()??;
    let call = bytes.ok().and_then(|bytes| serde_json::from_slice::<JoinCall>(&bytes).ok());
    let Some(request) = call.and_then(|call| bind(connection, call)) else {
        return Some((send, Err(JoinRefusal::Malformed)));
    };
    let asked = ask_owner(shared, |reply| Incoming::Join { request, reply });
    let answer = tokio::time::timeout_at(deadline, asked).await;
    Some((send, answer.unwrap_or(Err(JoinRefusal::Internal))))
}

/// Adds what only the member that holds the connection knows.
fn bind(connection: &Connection, call: JoinCall) -> Option<JoinRequest> {
    let mut channel_binding = vec![0; 32];
    connection.export_keying_material(&mut channel_binding, EXPORTER_LABEL, b"").ok()?;
    Some(JoinRequest {
        token_id: call.token_id,
        csr: call.csr,
        name: call.name,
        proof: call.proof,
        channel_binding,
        remote: connection.remote_address().to_string(),
    })
}

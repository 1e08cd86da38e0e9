//! Whether a new connection becomes the link to its peer: clones, outdated identities, and duplicates.
//!
//! | existing link                   | new connection                       | outcome                                  |
//! |---------------------------------|--------------------------------------|------------------------------------------|
//! | none, or dead                   | any                                  | taken                                    |
//! | same process, dialled by higher | dialled by the lower id              | taken; the old one drains                |
//! | same process                    | any other                            | old one challenged: answers → duplicate  |
//! | another process                 | another process                      | old one challenged: answers → cloned     |
//! | challenged, silent              | any                                  | taken; the old one is closed             |
//!
//! A connection with a lower boot counter than that of another process seen before is outdated whatever the link does.

use std::sync::Arc;

use quinn::{Connection, VarInt};

use crate::hello::Hello;
use crate::incoming::Incoming;
use crate::limits::{DRAIN_GRACE, MAX_HELLO_BYTES};
use crate::link::Link;
use crate::link_error::{LinkError, close_code};
use crate::peers::{Shared, Table};

/// A race with other connections is decided anew at most this often.
const MAX_ATTEMPTS: usize = 4;

enum Decision {
    Taken,
    Refused(LinkError),
    Challenge(Arc<Link>),
}

/// Makes `new` the link to its peer, or says why not. The caller closes a refused connection.
pub(crate) async fn admit(shared: &Shared, new: &Arc<Link>) -> Result<(), LinkError> {
    if new.version.is_none() {
        return Err(LinkError::WrongVersion { ours: shared.versions, theirs: new.hello.versions });
    }
    if new.peer == shared.identity.agent_id() {
        if new.hello.nonce == shared.nonce {
            return Err(LinkError::SelfDialled);
        }
        report_conflict(shared, new, "our own identity").await;
        return Err(LinkError::Cloned);
    }
    for _ in 0..MAX_ATTEMPTS {
        let decision = decide(shared, &mut shared.table(), new);
        match decision {
            Decision::Taken => {
                shared.changed.notify_one();
                return Ok(());
            }
            Decision::Refused(error) => return Err(error),
            Decision::Challenge(old) => {
                shared.counters.challenges.increment();
                if !old.challenge().await {
                    old.connection.close(VarInt::from_u32(close_code::CLOSED), b"no answer to a challenge");
                } else if old.hello.nonce == new.hello.nonce {
                    return Err(LinkError::Duplicate);
                } else {
                    report_conflict(shared, new, "the identity of another live process").await;
                    return Err(LinkError::Cloned);
                }
            }
        }
    }
    Err(LinkError::Duplicate)
}

fn decide(shared: &Shared, table: &mut Table, new: &Arc<Link>) -> Decision {
    let own = shared.identity.agent_id();
    let Some(peer) = table.entry(new.peer) else { return Decision::Refused(LinkError::TooMany) };
    if peer.seen.is_some_and(|(boot, nonce)| nonce != new.hello.nonce && new.hello.boot < boot) {
        return Decision::Refused(LinkError::StaleIdentity);
    }
    if let Some(old) = peer.live_link() {
        let same_process = old.hello.nonce == new.hello.nonce;
        if !(same_process && new.is_preferred(own) && !old.is_preferred(own)) {
            return Decision::Challenge(Arc::clone(old));
        }
    }
    if let Some(old) = table.install(new, &shared.counters) {
        old.retire(close_code::DUPLICATE, DRAIN_GRACE);
    }
    Decision::Taken
}

async fn report_conflict(shared: &Shared, new: &Link, whose: &str) {
    shared.counters.identity_conflicts.increment();
    let detail = format!("the process at {} uses {whose}; was a data directory copied?", new.address);
    shared.warnings.other("identity_conflict", &detail);
    let _ = shared.incoming.send(Incoming::IdentityConflict { agent: new.peer, detail }).await;
}

/// The peer's hello: the first unidirectional stream it opened.
pub(crate) async fn read_hello(connection: &Connection) -> Result<Hello, LinkError> {
    let failed = |detail: &str| match connection.close_reason() {
        Some(error) => LinkError::from_connection(&error, connection.remote_address()),
        None => LinkError::Protocol(detail.to_owned()),
    };
    let mut stream = connection.accept_uni().await.map_err(|_| failed("no hello"))?;
    let bytes = stream.read_to_end(MAX_HELLO_BYTES).await.map_err(|_| failed("the hello was cut off"))?;
    Hello::decode(&bytes).ok_or_else(|| failed("the hello cannot be read"))
}

/// The agent at the other end, from the certificate that the handshake verified.
pub(crate) fn peer_of(shared: &Shared, connection: &Connection) -> Result<u64, LinkError> {
    let identity = connection.peer_identity().ok_or(LinkError::Stranger)?;
    let chain: Box<Vec<rustls::pki_types::CertificateDer<'static>>> =
        identity.downcast().map_err(|_| LinkError::Stranger)?;
    let leaf = chain.first().ok_or(LinkError::Stranger)?;
    let admitted = shared.identity.trust().agent_of(leaf);
    admitted.map(|admitted| admitted.agent_id).map_err(|fault| LinkError::BadCertificate(fault.to_string()))
}

/// Closes a connection that does not become a link, telling the peer why.
pub(crate) fn close(connection: &Connection, error: &LinkError) {
    connection.close(VarInt::from_u32(error.code()), error.closing_words().as_bytes());
}

//! What the transport tells its owner.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::join::{Grant, JoinRefusal, JoinRequest};
use crate::link_error::LinkError;

/// One event. `from` and `peer` are always taken from a verified certificate.
#[derive(Debug)]
pub enum Incoming {
    /// A datagram; it may be lost, doubled by its sender, or overtaken.
    Datagram {
        /// Who sent it.
        from: u64,
        /// Its bytes, at most [`crate::limits::MAX_DATAGRAM_BYTES`].
        bytes: Bytes,
    },
    /// A whole message. Messages of one peer may overtake each other.
    Message {
        /// Who sent it.
        from: u64,
        /// Its bytes, at most [`crate::limits::MAX_MESSAGE_BYTES`].
        bytes: Bytes,
    },
    /// A link came up or went down. A restarted peer shows as down, then up. Data may overtake its link's `up`.
    Link {
        /// The peer.
        peer: u64,
        /// If up: the highest wire version that both ends speak.
        up: Option<u16>,
        /// Where it is, or was.
        address: SocketAddr,
    },
    /// A host asks to join; answer within [`crate::limits::JOIN_TIMEOUT`].
    Join {
        /// What it asks.
        request: JoinRequest,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Grant, JoinRefusal>>,
    },
    /// A member that cannot sign hands on a request to join.
    ForwardedJoin {
        /// The member.
        from: u64,
        /// What the host asks.
        request: JoinRequest,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Grant, JoinRefusal>>,
    },
    /// Two live processes use one identity.
    IdentityConflict {
        /// Whose; possibly our own.
        agent: u64,
        /// For a log line.
        detail: String,
    },
    /// A peer refused us for what we are.
    Refused {
        /// The peer, if its certificate was seen.
        by: Option<u64>,
        /// Where it is.
        address: SocketAddr,
        /// Why.
        reason: LinkError,
    },
}

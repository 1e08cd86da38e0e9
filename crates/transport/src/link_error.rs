//! Why a link could not be made, or ended: one error per reason, told to both sides, each with its remedy.

use std::net::SocketAddr;

use quinn::{ConnectError, ConnectionError, VarInt};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::hello::VersionRange;
use crate::limits::MAX_PEERS;

/// Codes with which a link is closed (RFC 9000 section 19.19). The other side turns them back into a [`LinkError`].
pub mod close_code {
    /// The agent stops.
    pub const SHUTDOWN: u32 = 0;
    /// The caller presented no certificate.
    pub const STRANGER: u32 = 1;
    /// No common wire version.
    pub const WRONG_VERSION: u32 = 2;
    /// The identity is in use by another live process.
    pub const CLONED: u32 = 3;
    /// A later start of the same agent has been seen.
    pub const STALE_IDENTITY: u32 = 4;
    /// The agent dialled itself.
    pub const SELF_DIALLED: u32 = 5;
    /// Another link between the two is kept.
    pub const DUPLICATE: u32 = 6;
    /// A limit was reached.
    pub const TOO_MANY: u32 = 7;
    /// The peer broke the protocol.
    pub const PROTOCOL: u32 = 8;
    /// The owner asked for it.
    pub const CLOSED: u32 = 9;
}

/// Why a link could not be made, or ended.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum LinkError {
    /// Nothing answered.
    #[error("no answer from {0}")]
    Unreachable(SocketAddr),
    /// The peer's address is not known.
    #[error("the address of agent {0:016x} is not known")]
    NoAddress(u64),
    /// A caller without a certificate.
    #[error("the caller presented no certificate")]
    Stranger,
    /// The peer's certificate was issued by another root.
    #[error("the peer belongs to another mesh")]
    OtherMesh,
    /// The peer says so of us.
    #[error("the peer refused us: our certificate belongs to another mesh than its own")]
    RefusedAsOtherMesh,
    /// Another agent answered than was dialled.
    #[error("another agent answers at this address than was expected")]
    UnexpectedPeer,
    /// The dialler expected another agent here.
    #[error("the peer hung up: it expected another agent at our address")]
    NotWhomTheyExpected,
    /// A certificate is out of its time.
    #[error("the peer's certificate has expired, or is not valid yet")]
    Expired,
    /// The peer says so of ours.
    #[error("the peer refused us: our certificate has expired, or is not valid yet by its clock")]
    RefusedAsExpired,
    /// A certificate that no agent should have.
    #[error("the peer's certificate is not acceptable: {0}")]
    BadCertificate(String),
    /// No common wire version.
    #[error("no common wire version: this agent speaks {ours}, the peer {theirs}")]
    WrongVersion {
        /// Of this agent.
        ours: VersionRange,
        /// Of the peer.
        theirs: VersionRange,
    },
    /// The other end has another protocol than an agent's, or than this release's.
    #[error("the peer speaks another protocol than agents of this release do among themselves")]
    OtherProtocol,
    /// One identity, two live processes.
    #[error("the identity is in use by another running process")]
    Cloned,
    /// A later start of that agent has been seen.
    #[error("the identity is out of date: a later start of the same agent has been seen")]
    StaleIdentity,
    /// Our own address.
    #[error("this is our own address")]
    SelfDialled,
    /// Another link between the two is kept.
    #[error("another link to this agent is already up")]
    Duplicate,
    /// A limit was reached.
    #[error("the peer, or we, hold the most links allowed ({MAX_PEERS})")]
    TooMany,
    /// The agent stops.
    #[error("the peer is shutting down")]
    ShutDown,
    /// Its owner closed it.
    #[error("the link was closed on request")]
    Closed,
    /// Nothing heard for the idle timeout.
    #[error("nothing was heard from the peer for the idle timeout")]
    TimedOut,
    /// The peer's process restarted, or forgot the link.
    #[error("the peer no longer knows this link: it has restarted")]
    Reset,
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
}

impl LinkError {
    /// A word for logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::NoAddress(_) => "no_address",
            Self::Stranger => "stranger",
            Self::OtherMesh | Self::RefusedAsOtherMesh => "other_mesh",
            Self::UnexpectedPeer | Self::NotWhomTheyExpected => "unexpected_peer",
            Self::Expired | Self::RefusedAsExpired => "expired",
            Self::BadCertificate(_) => "bad_certificate",
            Self::WrongVersion { .. } | Self::OtherProtocol => "wrong_version",
            Self::Cloned => "cloned",
            Self::StaleIdentity => "stale_identity",
            Self::SelfDialled => "self_dialled",
            Self::Duplicate => "duplicate",
            Self::TooMany => "too_many",
            Self::ShutDown => "shut_down",
            Self::Closed => "closed",
            Self::TimedOut => "timed_out",
            Self::Reset => "reset",
            Self::Protocol(_) => "protocol",
        }
    }

    /// What a person can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unreachable(_) | Self::TimedOut => {
                "check that the agent runs and that its UDP port is open both ways"
            }
            Self::NoAddress(_) => "wait until membership has told its address",
            Self::Stranger => "let the host join with a token",
            Self::OtherMesh | Self::RefusedAsOtherMesh => "check the address, or join that mesh with one of its tokens",
            Self::UnexpectedPeer | Self::NotWhomTheyExpected => {
                "the address has moved to another agent; it will be learnt anew"
            }
            Self::Expired | Self::RefusedAsExpired => "check both clocks, or join again for a new certificate",
            Self::BadCertificate(_) => "join again for a new certificate",
            Self::WrongVersion { ours, theirs } if theirs.max < ours.min => {
                "upgrade the peer, by way of a release that speaks a version of both if it is a member already"
            }
            Self::WrongVersion { .. } => {
                "upgrade this agent, by way of a release that speaks a version of both if it is a member already"
            }
            Self::OtherProtocol => "check that an agent is at this address, and upgrade the older of the two",
            Self::Cloned => "a data directory was copied: remove the copy's, and join again with a token",
            Self::StaleIdentity => "an old data directory was restored: remove it, and join again with a token",
            Self::SelfDialled => "take this agent's own address off its list of peers",
            Self::Duplicate | Self::Closed | Self::ShutDown | Self::Reset => "nothing needs to be done",
            Self::TooMany => "find out who opens so many links",
            Self::Protocol(_) => "run the same version on both agents",
        }
    }

    /// The code that tells the other side.
    pub(crate) fn code(&self) -> u32 {
        match self {
            Self::Stranger => close_code::STRANGER,
            Self::WrongVersion { .. } => close_code::WRONG_VERSION,
            Self::Cloned => close_code::CLONED,
            Self::StaleIdentity => close_code::STALE_IDENTITY,
            Self::SelfDialled => close_code::SELF_DIALLED,
            Self::Duplicate => close_code::DUPLICATE,
            Self::TooMany => close_code::TOO_MANY,
            Self::ShutDown => close_code::SHUTDOWN,
            Self::Closed => close_code::CLOSED,
            _ => close_code::PROTOCOL,
        }
    }

    /// Did the other side refuse us for what we are, so that the owner should hear of it?
    pub(crate) fn is_refusal_of_us(&self) -> bool {
        matches!(
            self,
            Self::Cloned
                | Self::StaleIdentity
                | Self::WrongVersion { .. }
                | Self::Stranger
                | Self::RefusedAsOtherMesh
                | Self::RefusedAsExpired
        )
    }

    /// What goes with the code: for people, but for the ranges of [`LinkError::WrongVersion`], which the other side reads.
    pub(crate) fn closing_words(&self) -> String {
        match self {
            Self::WrongVersion { ours, theirs } => {
                format!("versions {}-{} {}-{}", ours.min, ours.max, theirs.min, theirs.max)
            }
            other => other.to_string(),
        }
    }

    /// The reason in a connection's end; `address` is whom we dialled or heard from.
    pub(crate) fn from_connection(error: &ConnectionError, address: SocketAddr) -> Self {
        match error {
            ConnectionError::TransportError(error) => local_fault(u64::from(error.code), &error.reason),
            ConnectionError::ConnectionClosed(close) => remote_fault(u64::from(close.error_code), &close.reason),
            ConnectionError::ApplicationClosed(close) => of_code(close.error_code, &close.reason),
            ConnectionError::VersionMismatch => Self::OtherProtocol,
            ConnectionError::Reset => Self::Reset,
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::LocallyClosed => Self::Closed,
            ConnectionError::CidsExhausted => Self::Unreachable(address),
        }
    }

    pub(crate) fn from_connect(error: &ConnectError, address: SocketAddr) -> Self {
        match error {
            ConnectError::EndpointStopping => Self::ShutDown,
            ConnectError::CidsExhausted => Self::TooMany,
            ConnectError::UnsupportedVersion => Self::OtherProtocol,
            ConnectError::InvalidServerName(_)
            | ConnectError::InvalidRemoteAddress(_)
            | ConnectError::NoDefaultClientConfig => Self::Unreachable(address),
        }
    }
}

fn of_code(code: VarInt, reason: &[u8]) -> LinkError {
    match u32::try_from(code.into_inner()).unwrap_or(close_code::PROTOCOL) {
        close_code::SHUTDOWN => LinkError::ShutDown,
        close_code::STRANGER => LinkError::Stranger,
        close_code::WRONG_VERSION => ranges(reason).unwrap_or_else(|| LinkError::Protocol(excerpt(reason))),
        close_code::CLONED => LinkError::Cloned,
        close_code::STALE_IDENTITY => LinkError::StaleIdentity,
        close_code::SELF_DIALLED => LinkError::SelfDialled,
        close_code::DUPLICATE => LinkError::Duplicate,
        close_code::TOO_MANY => LinkError::TooMany,
        close_code::CLOSED => LinkError::Closed,
        _ => LinkError::Protocol(excerpt(reason)),
    }
}

/// The ranges in the words of whoever found no common version, from this side.
fn ranges(reason: &[u8]) -> Option<LinkError> {
    let mut words = std::str::from_utf8(reason).ok()?.strip_prefix("versions ")?.split(' ');
    let mut range = || {
        let (min, max) = words.next()?.split_once('-')?;
        Some(VersionRange { min: min.parse().ok()?, max: max.parse().ok()? })
    };
    let theirs = range()?;
    Some(LinkError::WrongVersion { ours: range()?, theirs })
}

/// A peer's words, made fit for a log line.
fn excerpt(reason: &[u8]) -> String {
    String::from_utf8_lossy(reason).chars().filter(|c| !c.is_control()).take(120).collect()
}

/// TLS alerts (RFC 8446 section 6.2), which QUIC carries as 0x100 + alert (RFC 9001 section 4.8).
mod alert {
    pub(super) const BAD_CERTIFICATE: u64 = 0x100 + 42;
    pub(super) const CERTIFICATE_EXPIRED: u64 = 0x100 + 45;
    pub(super) const UNKNOWN_CA: u64 = 0x100 + 48;
    pub(super) const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;
    pub(super) const RANGE: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;
}

/// We found fault with the peer.
fn local_fault(code: u64, reason: &str) -> LinkError {
    match code {
        alert::UNKNOWN_CA => LinkError::OtherMesh,
        alert::BAD_CERTIFICATE if reason.contains("not valid for name") || reason.contains("NotValidForName") => {
            LinkError::UnexpectedPeer
        }
        alert::CERTIFICATE_EXPIRED => LinkError::Expired,
        alert::NO_APPLICATION_PROTOCOL => LinkError::OtherProtocol,
        code if alert::RANGE.contains(&code) => LinkError::BadCertificate(excerpt(reason.as_bytes())),
        _ => LinkError::Protocol(excerpt(reason.as_bytes())),
    }
}

/// The peer found fault with us.
fn remote_fault(code: u64, reason: &[u8]) -> LinkError {
    match code {
        alert::UNKNOWN_CA => LinkError::RefusedAsOtherMesh,
        alert::BAD_CERTIFICATE => LinkError::NotWhomTheyExpected,
        alert::CERTIFICATE_EXPIRED => LinkError::RefusedAsExpired,
        alert::NO_APPLICATION_PROTOCOL => LinkError::OtherProtocol,
        // CONNECTION_REFUSED (RFC 9000 section 20.1): too many handshakes at once.
        0x2 => LinkError::TooMany,
        _ => LinkError::Protocol(excerpt(reason)),
    }
}

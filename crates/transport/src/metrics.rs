//! Counters: what moved, what was dropped and why, who was refused and why.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::join::JoinRefusal;
use crate::link_error::LinkError;

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: usize) {
        self.0.fetch_add(amount as u64, Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter,)* }

        /// The counters at one moment. All only grow, from zero at bind; those of `links` are gauges.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct TransportMetrics {
            /// Links that are up now.
            pub links: u64,
            /// Of those, the ones on which an older wire version is spoken than the newest that we speak.
            pub links_older_version: u64,
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self, links: u64, links_older_version: u64) -> TransportMetrics {
                TransportMetrics { links, links_older_version, $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }

        impl TransportMetrics {
            /// Every counter (not the gauges) by its name.
            pub fn counters(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counters! {
    /// Datagrams handed to the owner.
    datagrams_in,
    /// Datagrams handed to a link.
    datagrams_out,
    /// Bytes in those.
    datagram_bytes_in,
    /// Bytes in those.
    datagram_bytes_out,
    /// Messages handed to the owner.
    messages_in,
    /// Messages written to a link.
    messages_out,
    /// Bytes in those.
    message_bytes_in,
    /// Bytes in those.
    message_bytes_out,
    /// Dropped on arrival: the owner's queue was full.
    dropped_incoming_full,
    /// Datagrams or messages dropped unsent: too many waited for a link.
    dropped_pending_full,
    /// Dropped unsent: the peer could not be reached.
    dropped_unreachable,
    /// Dropped unsent: the peer's address is not known.
    dropped_no_address,
    /// Dropped unsent: larger than the limit.
    dropped_oversize,
    /// Dropped unsent: written in a wire version that the peer, come back as another release, cannot read.
    dropped_unreadable,
    /// Messages dropped unsent: the link's queue was full.
    dropped_link_queue_full,
    /// Dropped half-way: the link ended, or the message took too long.
    dropped_link_lost,
    /// Incoming messages refused: larger than the limit.
    refused_oversize_message,
    /// Incoming streams abandoned: malformed, or not complete in time.
    refused_stream,
    /// Dials that ended in a link.
    dials_ok,
    /// Dials that did not.
    dials_failed,
    /// Links accepted from others.
    accepts_ok,
    /// Links that ended.
    links_lost,
    /// Refused: no certificate.
    refused_stranger,
    /// Refused: of another mesh, by either side.
    refused_other_mesh,
    /// Refused: no common version.
    refused_wrong_version,
    /// Refused: a copied identity.
    refused_cloned,
    /// Refused: an outdated identity.
    refused_stale_identity,
    /// Refused: not the agent that was expected.
    refused_unexpected_peer,
    /// Refused: an expired certificate.
    refused_expired,
    /// Refused: a certificate wrong in another way.
    refused_bad_certificate,
    /// Refused: too many links or handshakes.
    refused_too_many,
    /// Callers told to prove their address first.
    handshake_retries,
    /// Two processes with one identity met.
    identity_conflicts,
    /// Old links asked whether they still live.
    challenges,
    /// Joins granted through this agent.
    joins_granted,
    /// Joins refused: unknown token.
    join_refused_unknown_token,
    /// Joins refused: wrong secret.
    join_refused_wrong_secret,
    /// Joins refused: token used up.
    join_refused_token_used,
    /// Joins refused: token expired.
    join_refused_token_expired,
    /// Joins refused: no quorum.
    join_refused_no_quorum,
    /// Joins refused: no issuer.
    join_refused_no_issuer,
    /// Joins refused: malformed.
    join_refused_malformed,
    /// Joins refused: too many at once.
    join_refused_too_many,
    /// Joins refused: our own trouble.
    join_refused_internal,
}

impl Counters {
    /// Counts a refusal, whoever refused.
    pub(crate) fn refusal(&self, error: &LinkError) {
        match error {
            LinkError::Stranger => &self.refused_stranger,
            LinkError::OtherMesh | LinkError::RefusedAsOtherMesh => &self.refused_other_mesh,
            LinkError::WrongVersion { .. } | LinkError::OtherProtocol => &self.refused_wrong_version,
            LinkError::Cloned => &self.refused_cloned,
            LinkError::StaleIdentity => &self.refused_stale_identity,
            LinkError::UnexpectedPeer | LinkError::NotWhomTheyExpected => &self.refused_unexpected_peer,
            LinkError::Expired | LinkError::RefusedAsExpired => &self.refused_expired,
            LinkError::BadCertificate(_) => &self.refused_bad_certificate,
            LinkError::TooMany => &self.refused_too_many,
            LinkError::Unreachable(_)
            | LinkError::NoAddress(_)
            | LinkError::SelfDialled
            | LinkError::Duplicate
            | LinkError::ShutDown
            | LinkError::Closed
            | LinkError::TimedOut
            | LinkError::Reset
            | LinkError::Protocol(_) => return,
        }
        .increment();
    }

    pub(crate) fn join_refusal(&self, refusal: &JoinRefusal) {
        match refusal {
            JoinRefusal::UnknownToken => &self.join_refused_unknown_token,
            JoinRefusal::WrongSecret => &self.join_refused_wrong_secret,
            JoinRefusal::TokenUsed => &self.join_refused_token_used,
            JoinRefusal::TokenExpired => &self.join_refused_token_expired,
            JoinRefusal::NoQuorum(_) => &self.join_refused_no_quorum,
            JoinRefusal::NoIssuer(_) => &self.join_refused_no_issuer,
            JoinRefusal::Malformed => &self.join_refused_malformed,
            JoinRefusal::TooMany => &self.join_refused_too_many,
            JoinRefusal::Internal => &self.join_refused_internal,
        }
        .increment();
    }
}

//! Bytes on the network and on disk: the only crate that knows the encoding.
//!
//! A packet is one version byte and the bincode 2 encoding (variable-length integers, little endian) of [`Packet`]. Decoding never
//! allocates more than the packet's own limit allows, refuses trailing bytes, and never panics.
//!
//! A version, once released, never changes; `testdata` holds its bytes. Two agents speak the highest version that both know. What is signed
//! and passed on reaches agents of every version: it is the same in all of them, and grows only by [`Record::Extension`].

mod breaker;
mod codec;
mod epoch;
mod packet;
mod record;
mod sealed;

pub use breaker::{
    BreakerDigest, BreakerKey, BreakerOverride, BreakerState, CallCounts, OutageStanding, OverrideMode, Shared,
};
pub use codec::{
    DecodeError, MAX_PACKET_BYTES, OLDEST_VERSION, VERSION, decode, decode_prefix, decode_value, decode_value_prefix,
    encode, encode_as, encode_value, signing_bytes, version_of,
};
pub use epoch::{EpochTalk, RosterProof};
pub use packet::{
    Answer, BatchNews, CertificateMark, Delta, Digest, MemberMark, OwnerDelta, OwnerMark, Packet, Reply, Roots,
    Summary, Suspicion,
};
pub use record::{Batch, Profile, Record, RecordKey};
pub use sealed::Sealed;

/// Largest datagram: QUIC leaves 1,162 bytes at the smallest MTU of 1,200 (RFC 9221 over TLS 1.3).
pub const MAX_DATAGRAM_BYTES: usize = 1150;

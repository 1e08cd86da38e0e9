//! Every limit and wire constant of the transport, in one place, each with its reason.

use std::time::Duration;

/// Application protocol of links between members (RFC 7301).
pub const ALPN_MESH: &[u8] = b"quorate-mesh/1";
/// Application protocol of a host that asks to join.
pub const ALPN_JOIN: &[u8] = b"quorate-join/1";

/// Largest datagram payload, in bytes. At an MTU of 1,200 QUIC leaves 1,162 bytes (RFC 9221, RFC 9000 section 14).
pub const MAX_DATAGRAM_BYTES: usize = 1150;
/// Largest message, in bytes; one message is one unidirectional stream.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Largest hello, in bytes.
pub const MAX_HELLO_BYTES: usize = 256;
/// Largest join request on the wire, in bytes.
pub const MAX_JOIN_REQUEST_BYTES: usize = 16 * 1024;
/// Largest answer to a join request, in bytes: certificates and the bootstrap blob, base64 inside JSON.
pub const MAX_JOIN_REPLY_BYTES: usize = 4 << 20;
/// Largest bootstrap blob inside a grant, in bytes.
pub const MAX_BOOTSTRAP_BYTES: usize = 2 << 20;
/// Largest credential (leaf and issuing certificate), in bytes.
pub const MAX_CREDENTIAL_BYTES: usize = 4 * 1024;
/// Longest agent name, in bytes (the upper bound of an X.520 common name).
pub const MAX_NAME_BYTES: usize = 64;
/// Credentials whose verification is remembered; about 200 bytes each.
pub const MAX_CACHED_CREDENTIALS: usize = 4096;

/// Receive and send queue of datagrams per link, in bytes. Small, so that stale probes die instead of queueing.
pub const DATAGRAM_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes a peer may have in flight on one stream before we read them.
pub const STREAM_WINDOW_BYTES: u32 = 512 * 1024;
/// Bytes a peer may have in flight on one link before we read them.
pub const LINK_WINDOW_BYTES: u32 = 4 << 20;
/// Unidirectional streams a peer may have open at once, and messages of one peer that may wait for the owner.
pub const MAX_CONCURRENT_STREAMS: u32 = 128;
/// Bidirectional streams (forwarded joins) a peer may have open at once.
pub const MAX_CONCURRENT_REQUESTS: u32 = 16;
/// Messages of all peers being read, or waiting for the owner, at once.
pub const MAX_MESSAGES_IN_PROGRESS: usize = 512;
/// Events that may wait for the owner; beyond it datagrams are dropped and messages wait.
pub const INCOMING_QUEUE: usize = 4096;
/// Datagrams that wait for a link to come up; the oldest is dropped first.
pub const PENDING_DATAGRAMS: usize = 16;
/// Messages that wait for a link, or for a slow one.
pub const PENDING_MESSAGES: usize = 64;
/// Peers whose address or link is remembered.
pub const MAX_PEERS: usize = 4096;
/// Handshakes in progress, as the accepting side; beyond it a connection is refused.
pub const MAX_HANDSHAKES: usize = 256;
/// Handshakes in progress from which a caller must first prove its address (Retry, RFC 9000 section 8.1.2).
pub const RETRY_FROM_HANDSHAKES: usize = 64;
/// Joins served at once.
pub const MAX_CONCURRENT_JOINS: usize = 32;
/// Tokens a store holds.
pub const MAX_TOKENS: usize = 256;
/// Longest life of a token.
pub const MAX_TOKEN_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most uses of a token.
pub const MAX_TOKEN_USES: u32 = 10_000;

/// Time for a dial, up to the end of the TLS handshake.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for the TLS handshake as the accepting side.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the exchange of hellos, a challenge included.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(3);
/// Time an old link has to prove that its process still lives.
pub const CHALLENGE_TIMEOUT: Duration = Duration::from_millis(500);
/// Time to read or to write one message.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for one join, as the serving side.
pub const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for another member to decide a forwarded join, the dial included; below [`JOIN_TIMEOUT`], so that the joiner hears
/// the reason.
pub const FORWARD_TIMEOUT: Duration = Duration::from_secs(4);
/// First wait after a failed dial.
pub const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Longest wait after failed dials: a healed partition is noticed within this time.
pub const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How long a superseded link still reads, so that nothing in flight is lost.
pub const DRAIN_GRACE: Duration = Duration::from_secs(1);
/// How long a link may take to flush what it holds before it closes.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// At most one warning of a kind in this time.
pub const WARN_INTERVAL: Duration = Duration::from_secs(5);

/// Life of a leaf certificate: two years.
pub const LEAF_LIFE: Duration = Duration::from_secs(2 * 365 * 24 * 3600);
/// Life of the root and issuing certificates: ten years.
pub const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Certificates begin this long before they are made, for hosts whose clock is behind.
pub const BACKDATE: Duration = Duration::from_secs(24 * 3600);

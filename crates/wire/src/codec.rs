//! Encoding and decoding, with their limits.

use crate::Packet;
use bincode::config::{self, Configuration, Fixint, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Oldest version of the packet format that this release reads and writes.
pub const OLDEST_VERSION: u8 = 5;
/// Newest version of the packet format, the first byte of a packet. Two agents use the highest version that both know.
pub const VERSION: u8 = if cfg!(feature = "next-version") { OLDEST_VERSION + 1 } else { OLDEST_VERSION };
/// What ends a packet of the version that exists for tests alone, so that an agent that does not know it must refuse it.
const NEXT_MARK: u8 = 0xa6;
/// Largest packet, and the most a decoder allocates for one.
pub const MAX_PACKET_BYTES: usize = 1024 * 1024;
/// Largest stored state.
const MAX_VALUE_BYTES: usize = 256 * 1024 * 1024;

fn packet_config() -> Configuration<LittleEndian, Varint, Limit<MAX_PACKET_BYTES>> {
    config::standard().with_limit::<MAX_PACKET_BYTES>()
}

fn value_config() -> Configuration<LittleEndian, Varint, Limit<MAX_VALUE_BYTES>> {
    config::standard().with_limit::<MAX_VALUE_BYTES>()
}

fn signing_config() -> Configuration<LittleEndian, Fixint> {
    config::standard().with_fixed_int_encoding()
}

/// Why bytes are not a packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than [`MAX_PACKET_BYTES`].
    #[error("{0} bytes are more than a packet may have ({MAX_PACKET_BYTES})")]
    TooLong(usize),
    /// Nothing at all.
    #[error("the packet is empty")]
    Empty,
    /// Written by another version of the format.
    #[error(
        "packet format {found}, this agent reads {OLDEST_VERSION} to {VERSION}; upgrade the older of the two agents"
    )]
    Version {
        /// The version found.
        found: u8,
    },
    /// Not the encoding of a packet.
    #[error("not a packet: {0}")]
    Malformed(String),
    /// More bytes than the packet needs.
    #[error("{0} bytes follow the packet")]
    Trailing(usize),
}

/// Encodes a packet in the newest version.
#[must_use]
pub fn encode(packet: &Packet) -> Vec<u8> {
    encode_as(packet, VERSION)
}

/// Encodes a packet in the version that was agreed on with its receiver; the nearest known one stands for any other.
#[must_use]
pub fn encode_as(packet: &Packet, version: u8) -> Vec<u8> {
    let version = version.clamp(OLDEST_VERSION, VERSION);
    let mut bytes = serialise(&[version], packet, config::standard());
    if is_next(version) {
        bytes.push(NEXT_MARK);
    }
    bytes
}

fn is_next(version: u8) -> bool {
    cfg!(feature = "next-version") && version == VERSION
}

/// The version that an encoded packet names.
#[must_use]
pub fn version_of(packet: &[u8]) -> u8 {
    packet.first().copied().unwrap_or_default()
}

/// Decodes a packet of any version from [`OLDEST_VERSION`] to [`VERSION`].
///
/// # Errors
/// When the bytes are not exactly one packet of the version they name.
pub fn decode(bytes: &[u8]) -> Result<Packet, DecodeError> {
    if bytes.len() > MAX_PACKET_BYTES {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    let (version, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if !(OLDEST_VERSION..=VERSION).contains(version) {
        return Err(DecodeError::Version { found: *version });
    }
    let rest = match rest.split_last() {
        Some((&NEXT_MARK, rest)) if is_next(*version) => rest,
        _ if is_next(*version) => return Err(DecodeError::Malformed("its end is missing".to_owned())),
        _ => rest,
    };
    let (packet, used) = bincode::serde::decode_from_slice(rest, packet_config()).map_err(malformed)?;
    if used < rest.len() { Err(DecodeError::Trailing(rest.len() - used)) } else { Ok(packet) }
}

/// Encodes any value, for storage and for the parts of a membership packet.
#[must_use]
pub fn encode_value<T: Serialize>(value: &T) -> Vec<u8> {
    serialise(&[], value, config::standard())
}

/// Decodes a value that fills `bytes`.
///
/// # Errors
/// When the bytes are not exactly one such value.
pub fn decode_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, value_config()).map_err(malformed)?;
    if used < bytes.len() { Err(DecodeError::Trailing(bytes.len() - used)) } else { Ok(value) }
}

/// Decodes a value from the beginning of `bytes` and says how many it took.
///
/// # Errors
/// When the bytes do not begin with such a value.
pub fn decode_prefix<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), DecodeError> {
    bincode::serde::decode_from_slice(bytes, packet_config()).map_err(malformed)
}

/// Decodes a stored value from the beginning of `bytes` and says how many it took. Unlike [`decode_prefix`] it takes as much as the
/// largest stored value.
///
/// # Errors
/// When the bytes do not begin with such a value.
pub fn decode_value_prefix<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), DecodeError> {
    bincode::serde::decode_from_slice(bytes, value_config()).map_err(malformed)
}

/// The bytes that are signed for `value`: a domain, so that no signature can be taken for another kind's, then the value with every
/// integer at its full width.
#[must_use]
pub fn signing_bytes<T: Serialize>(domain: &str, value: &T) -> Vec<u8> {
    let mut head = Vec::with_capacity(domain.len() + 1);
    head.extend_from_slice(domain.as_bytes());
    head.push(0);
    serialise(&head, value, signing_config())
}

/// Most values are small: with this much room at the beginning they are written without moving.
const ROOM_BYTES: usize = 256;

struct Buffer(Vec<u8>);

impl Writer for Buffer {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn serialise<T: Serialize>(head: &[u8], value: &T, config: impl config::Config) -> Vec<u8> {
    let mut buffer = Buffer(Vec::with_capacity(head.len() + ROOM_BYTES));
    buffer.0.extend_from_slice(head);
    // Writing to memory cannot fail, and none of our types has a serialiser that does: half an answer is refused by every decoder.
    let _ = bincode::serde::encode_into_writer(value, &mut buffer, config);
    buffer.0
}

fn malformed(error: bincode::error::DecodeError) -> DecodeError {
    DecodeError::Malformed(error.to_string())
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;

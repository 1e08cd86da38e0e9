//! Encoding and decoding, with their limits.

use crate::Packet;
use bincode::config::{self, Configuration, Fixint, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version of the packet format; the first byte of every packet.
pub const VERSION: u8 = 5;
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
    #[error("packet format {found}, this agent reads {VERSION}; run the same release on every host")]
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

/// Encodes a packet.
#[must_use]
pub fn encode(packet: &Packet) -> Vec<u8> {
    serialise(&[VERSION], packet, config::standard())
}

/// Decodes a packet.
///
/// # Errors
/// When the bytes are not exactly one packet of this version.
pub fn decode(bytes: &[u8]) -> Result<Packet, DecodeError> {
    if bytes.len() > MAX_PACKET_BYTES {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    let (version, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if *version != VERSION {
        return Err(DecodeError::Version { found: *version });
    }
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

//! The first words on a link: which wire versions, which start of the agent, which process.

use crate::limits::{MAX_HELLO_BYTES, WIRE_VERSION_MAX, WIRE_VERSION_MIN};

/// First byte of a unidirectional stream: what it carries.
pub(crate) mod stream_kind {
    pub(crate) const HELLO: u8 = 1;
    pub(crate) const MESSAGE: u8 = 2;
    pub(crate) const PING: u8 = 3;
    pub(crate) const PONG: u8 = 4;
}

/// 16 bytes, little-endian: lowest and highest wire version (u16 each), boot counter (u32), process nonce (u64). Bytes
/// after them are for later versions and are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) version_min: u16,
    pub(crate) version_max: u16,
    pub(crate) boot: u32,
    pub(crate) nonce: u64,
}

impl Hello {
    pub(crate) fn new(boot: u32, nonce: u64) -> Self {
        Self { version_min: WIRE_VERSION_MIN, version_max: WIRE_VERSION_MAX, boot, nonce }
    }

    /// With the stream kind in front.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![stream_kind::HELLO];
        out.extend_from_slice(&self.version_min.to_le_bytes());
        out.extend_from_slice(&self.version_max.to_le_bytes());
        out.extend_from_slice(&self.boot.to_le_bytes());
        out.extend_from_slice(&self.nonce.to_le_bytes());
        out
    }

    /// Reads what `encode` wrote, stream kind included.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        if *kind != stream_kind::HELLO || bytes.len() > MAX_HELLO_BYTES {
            return None;
        }
        let (version_min, rest) = rest.split_first_chunk()?;
        let (version_max, rest) = rest.split_first_chunk()?;
        let (boot, rest) = rest.split_first_chunk()?;
        let (nonce, _) = rest.split_first_chunk()?;
        Some(Self {
            version_min: u16::from_le_bytes(*version_min),
            version_max: u16::from_le_bytes(*version_max),
            boot: u32::from_le_bytes(*boot),
            nonce: u64::from_le_bytes(*nonce),
        })
    }

    /// Is there a version both speak?
    pub(crate) fn is_compatible(&self) -> bool {
        self.version_min <= WIRE_VERSION_MAX && self.version_max >= WIRE_VERSION_MIN
    }
}

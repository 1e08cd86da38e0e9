//! The first words on a link: which wire versions, which start of the agent, which process.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_HELLO_BYTES;

/// First byte of a unidirectional stream: what it carries.
pub(crate) mod stream_kind {
    pub(crate) const HELLO: u8 = 1;
    pub(crate) const MESSAGE: u8 = 2;
    pub(crate) const PING: u8 = 3;
    pub(crate) const PONG: u8 = 4;
}

/// The wire versions that an agent speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRange {
    /// The lowest.
    pub min: u16,
    /// The highest.
    pub max: u16,
}

impl VersionRange {
    /// The highest version that both speak.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u16> {
        let highest = self.max.min(other.max);
        (highest >= self.min.max(other.min)).then_some(highest)
    }
}

impl From<RangeInclusive<u8>> for VersionRange {
    fn from(versions: RangeInclusive<u8>) -> Self {
        Self { min: u16::from(*versions.start()), max: u16::from(*versions.end()) }
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { write!(f, "{}", self.min) } else { write!(f, "{} to {}", self.min, self.max) }
    }
}

/// 16 bytes, little-endian: lowest and highest wire version (u16 each), boot counter (u32), process nonce (u64). Bytes
/// after them are for later versions and are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) versions: VersionRange,
    pub(crate) boot: u32,
    pub(crate) nonce: u64,
}

impl Hello {
    /// With the stream kind in front.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![stream_kind::HELLO];
        out.extend_from_slice(&self.versions.min.to_le_bytes());
        out.extend_from_slice(&self.versions.max.to_le_bytes());
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
        let (min, rest) = rest.split_first_chunk()?;
        let (max, rest) = rest.split_first_chunk()?;
        let (boot, rest) = rest.split_first_chunk()?;
        let (nonce, _) = rest.split_first_chunk()?;
        Some(Self {
            versions: VersionRange { min: u16::from_le_bytes(*min), max: u16::from_le_bytes(*max) },
            boot: u32::from_le_bytes(*boot),
            nonce: u64::from_le_bytes(*nonce),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(min: u16, max: u16) -> VersionRange {
        VersionRange { min, max }
    }

    #[test]
    fn the_highest_common_version_is_spoken() {
        for (one, other, common) in [
            ((5, 5), (5, 5), Some(5)),
            ((5, 6), (5, 5), Some(5)),
            ((5, 8), (6, 7), Some(7)),
            ((5, 6), (6, 9), Some(6)),
            ((5, 6), (7, 9), None),
            ((5, 6), (9, 7), None),
            ((0, u16::MAX), (3, 2), None),
        ] {
            let (one, other) = (range(one.0, one.1), range(other.0, other.1));
            assert_eq!(one.common(other), common, "{one} and {other}");
            assert_eq!(other.common(one), common, "{other} and {one}");
        }
    }

    #[test]
    fn a_hello_of_a_later_release_may_say_more() {
        let hello = Hello { versions: range(5, 6), boot: 7, nonce: 8 };
        let mut bytes = hello.encode();
        assert_eq!(bytes, [1, 5, 0, 6, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Hello::decode(&bytes), Some(hello));
        bytes.extend([9; 40]);
        assert_eq!(Hello::decode(&bytes), Some(hello));
        assert_eq!(Hello::decode(&bytes[..16]), None);
    }
}

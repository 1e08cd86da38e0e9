//! A fast portable digest of bytes and of things that can be written, for the trace hash and the simulated signatures.

use quorate_core::hash::spread;
use std::fmt;

const FACTOR: u64 = 0x9fb2_1c65_1e98_df25;

/// Digests `bytes` under `key`, eight at a time.
pub fn keyed(key: u64, bytes: &[u8]) -> u64 {
    let mut state = spread(key ^ bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR).rotate_left(29);
    }
    for byte in rest {
        state = (state ^ u64::from(*byte)).wrapping_mul(FACTOR).rotate_left(29);
    }
    spread(state)
}

/// Digests what is written to it, without keeping it.
#[derive(Debug)]
pub struct Writer(u64);

impl Writer {
    /// The digest of `value` as it is shown for debugging.
    pub fn shown(value: &dyn fmt::Debug) -> u64 {
        let mut writer = Self(0);
        // Writing to a digest cannot fail.
        let _ = fmt::write(&mut writer, format_args!("{value:?}"));
        writer.0
    }
}

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(FACTOR).rotate_left(29);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_the_key_matter() {
        let bytes: Vec<u8> = (0..37).collect();
        let whole = keyed(1, &bytes);
        assert_eq!(whole, keyed(1, &bytes));
        assert_ne!(whole, keyed(2, &bytes));
        for index in 0..bytes.len() {
            let mut other = bytes.clone();
            other[index] ^= 1;
            assert_ne!(whole, keyed(1, &other), "{index}");
        }
    }

    #[test]
    fn how_text_arrives_does_not_matter() {
        assert_eq!(Writer::shown(&("a", 1)), Writer::shown(&("a", 1)));
        assert_ne!(Writer::shown(&("a", 1)), Writer::shown(&("a", 2)));
    }
}

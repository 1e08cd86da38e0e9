//! A small portable hash, for placing things and for digests; never for security.
//!
//! The same bytes give the same number on every machine and in every release: assignments and trace hashes depend on it. FNV-1a absorbs
//! the bytes, the finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014) spreads them.

/// Spreads the bits of `value` (the SplitMix64 finaliser). A bijection.
#[must_use]
pub const fn spread(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Hashes `bytes` to 64 bits.
#[must_use]
pub fn bytes(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    spread(hash ^ bytes.len() as u64)
}

/// Hashes `bytes` to 64 bits, eight at a time: for what is long and asked for often.
#[must_use]
pub fn words(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9fb2_1c65_1e98_df25;
    let absorb = |hash: u64, word: u64| (hash ^ word).wrapping_mul(FACTOR).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(spread(bytes.len() as u64), |hash, word| absorb(hash, u64::from_le_bytes(*word)));
    spread(rest.iter().fold(hash, |hash, byte| absorb(hash, u64::from(*byte))))
}

/// Combines numbers into one; the order matters.
#[must_use]
pub fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x51_7c_c1_b7_27_22_0a_95, |acc, part| spread(acc ^ spread(*part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_pinned_because_assignments_depend_on_them() {
        assert_eq!(bytes(b""), 14_087_677_454_934_409_008);
        assert_eq!(bytes(b"quorate"), bytes(b"quorate"));
        assert_ne!(mix(&[1, 2]), mix(&[2, 1]));
        assert_ne!(words(b"quorate mesh"), words(b"quorate mush"));
        assert_ne!(words(b"a"), words(b"a\0"));
        assert_ne!(bytes(b"a\0"), bytes(b"a"));
    }
}

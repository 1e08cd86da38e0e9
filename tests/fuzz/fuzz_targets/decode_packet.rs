//! Arbitrary bytes as a packet from a peer: refused or read, and what was read is read the same again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_wire::{VERSION, decode, encode};

fuzz_target!(|bytes: &[u8]| {
    // The version byte is given, so that the fuzzer spends no time on finding it; the bytes are tried as they are, too.
    for bytes in [bytes, &[&[VERSION], bytes].concat()] {
        if let Ok(packet) = decode(bytes) {
            assert_eq!(decode(&encode(&packet)).as_ref(), Ok(&packet));
        }
    }
});

//! Digests of outputs: every byte sent or stored, every field of everything else.

use crate::api::Output;
use quorate_core::hash::{self, mix};
use std::fmt::{self, Write};

/// Digests what is written to it (FNV-1a, 64 bits), without keeping it.
struct Digester(u64);

impl Write for Digester {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

/// The digest of one output; `state` tells the state when it is to be stored.
pub(super) fn output(output: &Output, state: impl FnOnce() -> Vec<u8>) -> u64 {
    match output {
        Output::Datagram { to, bytes } => mix(&[1, to.0, hash::bytes(bytes)]),
        Output::Message { to, bytes } => mix(&[2, to.0, hash::bytes(bytes)]),
        Output::Persist { .. } => mix(&[3, hash::bytes(&state())]),
        other => {
            let mut digester = Digester(0);
            // Writing to a digest cannot fail.
            let _ = write!(digester, "{other:?}");
            mix(&[4, digester.0])
        }
    }
}

/// The running digest of all outputs, one more taken in.
pub(super) fn running(sum: u64, output: u64) -> u64 {
    hash::spread(sum ^ output)
}

//! An engine's inputs, recorded so that it can be run again.
//!
//! The engine is a function of its settings, what it had stored, what its keys answered, and the inputs with their times. [`Recorded`] is an
//! engine that notes all of these as bytes for a file; [`Replay`] reads the bytes, gives an engine the same again, and compares each
//! output's digest with the one noted. No private key is in a recording: what the keys answered stands in for them.

mod digest;
mod format;
mod keys;
mod recorded;
mod replay;

pub use format::{Damage, FORMAT, MAGIC};
pub use recorded::{Recorded, Segment};
pub use replay::{Difference, Kind, Opening, Replay, ReplayError, Step, Summary};

#[cfg(test)]
#[path = "recording_tests.rs"]
mod tests;

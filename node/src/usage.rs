//! Errors of those who call the program: a flag or a file that is wrong. They end it with exit code 2, all others with 1.

use std::fmt;

/// The exit code.
pub const CODE: u8 = 2;

/// What was called wrongly, and how to call it.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error of usage.
pub fn usage(words: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Usage(words.into()))
}

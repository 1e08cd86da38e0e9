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

/// An error with its causes, without those that it tells of itself.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut words = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !words.contains(&cause) {
            words.push_str(": ");
            words.push_str(&cause);
        }
    }
    words
}

/// An error of usage.
pub fn usage(words: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Usage(words.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let cause = || std::io::Error::from_raw_os_error(98);
        assert_eq!(sentence(&anyhow::Error::new(cause()).context("no socket")), format!("no socket: {}", cause()));
        let told = anyhow::Error::new(cause()).context(format!("no socket: {}; try again", cause()));
        assert_eq!(sentence(&told), format!("no socket: {}; try again", cause()));
    }
}

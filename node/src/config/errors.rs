//! Errors of a configuration: all of them at once, each with its place, its key and what to do.

use std::fmt;

/// One error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// Where it begins, in bytes from the start of the file.
    pub offset: usize,
    /// The path of the key, such as `service[0].check.timeout`; empty for an error of the syntax.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// All errors of one configuration.
#[derive(Debug)]
pub struct ConfigErrors {
    lines: Vec<String>,
    said: Vec<String>,
}

impl ConfigErrors {
    /// These errors, each with the place that `placed` gives for its offset; in the order of their places, each once.
    pub fn new(mut errors: Vec<ConfigError>, placed: impl Fn(usize) -> String) -> Self {
        errors.sort();
        errors.dedup();
        let said = |error: &ConfigError| match error.key.as_str() {
            "" => error.message.clone(),
            key => format!("{key}: {}", error.message),
        };
        let line = |error: &ConfigError| format!("{}: {}", placed(error.offset), said(error));
        Self { lines: errors.iter().map(line).collect(), said: errors.iter().map(said).collect() }
    }

    /// An error of the file as a whole.
    pub fn whole(file: &str, message: impl fmt::Display) -> Self {
        Self { lines: vec![format!("{file}: {message}")], said: vec![message.to_string()] }
    }

    /// Each without its place.
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lines.len()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Line and column (in characters), both from one.
pub fn place(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

//! Errors of a configuration file: all of them at once, each with its place, its key and what to do.

use std::fmt;

/// One error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// Where it begins, in bytes from the start of the file.
    pub offset: usize,
    /// The path of the key, such as `service[0].check.timeout`; empty for an error of TOML itself.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// All errors of one file.
#[derive(Debug)]
pub struct ConfigErrors {
    lines: Vec<String>,
}

impl ConfigErrors {
    /// The errors of the file shown as `file`, whose content is `text`; in the order of their places, each once.
    pub fn new(file: &str, text: &str, mut errors: Vec<ConfigError>) -> Self {
        errors.sort();
        errors.dedup();
        let line = |error: &ConfigError| {
            let (line, column) = place(text, error.offset);
            let key = if error.key.is_empty() { String::new() } else { format!("{}: ", error.key) };
            format!("{file}:{line}:{column}: {key}{}", error.message)
        };
        Self { lines: errors.iter().map(line).collect() }
    }

    /// An error of the file as a whole.
    pub fn whole(file: &str, message: impl fmt::Display) -> Self {
        Self { lines: vec![format!("{file}: {message}")] }
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
fn place(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

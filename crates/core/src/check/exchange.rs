//! Checks that say something and listen: TCP.

use super::{Errors, limits};
use serde::{Deserialize, Serialize};

/// Settings of a TCP check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpCheck {
    /// Bytes sent once connected.
    pub send: Vec<u8>,
    /// What the answer must hold; none: the connection alone passes.
    pub expect: Option<Expect>,
    /// Bytes of the answer read at most.
    pub max_read_bytes: u32,
}

impl Default for TcpCheck {
    fn default() -> Self {
        Self { send: Vec::new(), expect: None, max_read_bytes: 1024 }
    }
}

/// A condition on an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// These bytes appear.
    Contains(Vec<u8>),
    /// This regular expression matches.
    Regex(String),
}

impl TcpCheck {
    pub(super) fn validate(&self, errors: &mut Errors) {
        payload(errors, &self.send);
        reading(errors, self.expect.as_ref(), self.max_read_bytes);
    }
}

/// What is sent.
pub(super) fn payload(errors: &mut Errors, send: &[u8]) {
    errors.rule("send", send.len() <= limits::MAX_PAYLOAD_BYTES, || {
        format!("too long; at most {} bytes", limits::MAX_PAYLOAD_BYTES)
    });
}

/// What is read, and what it must hold.
pub(super) fn reading(errors: &mut Errors, expect: Option<&Expect>, max_read_bytes: u32) {
    errors.rule("max_read_bytes", (1..=limits::MAX_READ_BYTES).contains(&max_read_bytes), || {
        format!("{max_read_bytes} is not allowed; use 1 to {}", limits::MAX_READ_BYTES)
    });
    match expect {
        None => {}
        Some(Expect::Contains(bytes)) => {
            errors.rule("expect", !bytes.is_empty() && bytes.len() <= limits::MAX_PAYLOAD_BYTES, || {
                "empty or too long; leave it out when any answer, or none, should pass".to_owned()
            });
        }
        Some(Expect::Regex(pattern)) => {
            errors.rule("expect_regex", !pattern.is_empty() && pattern.len() <= limits::MAX_REGEX_BYTES, || {
                format!("empty or too long; at most {} bytes", limits::MAX_REGEX_BYTES)
            });
        }
    }
}

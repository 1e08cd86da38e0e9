//! Checks that only an instance's own host can make: a program, a Unix socket, a word sent by the instance itself. What a container engine or
//! systemd tells is in `supervised`.
//!
//! They have one voice by nature, the home agent's. What such a check runs, and where on the disk it looks, is of no use elsewhere.

use super::exchange::{Expect, payload, reading};
use super::metric::Measure;
use super::secret::Secret;
use super::{Errors, clip, file_or_name, limits};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Settings of an exec check. The command itself is not part of it: that stays in the home agent's configuration, so that nothing anybody says in
/// the mesh can become a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecCheck {
    /// The program, for people.
    pub program: String,
    /// Which of the home agent's commands: a hash of all that it consists of.
    pub command: u64,
    /// Bytes of output kept; the rest is read and dropped.
    pub max_output_bytes: u32,
    /// A number in the output that is held to limits, if the program exits with 0.
    pub measure: Option<Measure>,
}

impl ExecCheck {
    /// Bytes of output kept unless set.
    pub const DEFAULT_OUTPUT_BYTES: u32 = 4096;

    pub(super) fn validate(&self, errors: &mut Errors) {
        file_or_name(errors, "command", Some(&self.program));
        errors.rule("command", self.program.starts_with('/'), || {
            format!("{:?} is not an absolute path; no shell and no search path is used", clip(&self.program))
        });
        errors.rule("max_output_bytes", (1..=limits::MAX_OUTPUT_BYTES).contains(&self.max_output_bytes), || {
            format!("{} is not allowed; use 1 to {}", self.max_output_bytes, limits::MAX_OUTPUT_BYTES)
        });
        if let Some(measure) = &self.measure {
            measure.validate(errors);
        }
    }
}

/// Settings of a check over a Unix socket (stream).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnixCheck {
    /// The socket's path.
    pub path: String,
    /// Bytes sent once connected.
    pub send: Vec<u8>,
    /// What the answer must hold; none: the connection alone passes.
    pub expect: Option<Expect>,
    /// Bytes of the answer read at most.
    pub max_read_bytes: u32,
}

impl UnixCheck {
    /// Longest path of a socket, in bytes (`sockaddr_un`).
    pub const MAX_PATH_BYTES: usize = 107;

    pub(super) fn validate(&self, errors: &mut Errors) {
        let fine =
            self.path.starts_with('/') && self.path.len() <= Self::MAX_PATH_BYTES && super::printable(&self.path);
        errors.rule("socket", fine, || {
            format!("{:?} is not an absolute path of at most {} bytes", clip(&self.path), Self::MAX_PATH_BYTES)
        });
        payload(errors, &self.send);
        reading(errors, self.expect.as_ref(), self.max_read_bytes);
    }
}

/// Settings of a push check: the instance tells its state itself, to its home agent, and must do so often enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushCheck {
    /// How long a word holds.
    pub ttl: Duration,
    /// What whoever tells must know.
    pub token: Secret,
}

impl PushCheck {
    pub(super) fn validate(&self, errors: &mut Errors) {
        let span = Duration::from_secs(1)..=limits::MAX_DURATION;
        errors.rule("ttl", span.contains(&self.ttl), || format!("{:?} is not allowed; use 1s to 24h", self.ttl));
        self.token.validate("token", errors);
        errors.rule("token", self.token.prefix.is_empty(), || "takes no prefix; `Bearer ` is implied".to_owned());
    }
}

//! Checks that say something and listen: TCP, in one turn or in several, in plain text or under TLS.

use super::tls::{StartTls, TlsOptions};
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

/// Settings of a TCP check of several steps, or under TLS. A plain one of a single step is a [`TcpCheck`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialogueCheck {
    /// What is said and what must come back, in order.
    pub steps: Vec<DialogueStep>,
    /// How TLS is spoken: from the step that begins it, else before all steps; none: not at all.
    pub tls: Option<TlsOptions>,
    /// The protocol that is spoken before TLS begins, where TLS begins before all steps; none: TLS from the first byte.
    pub starttls: Option<StartTls>,
    /// Bytes of each answer read at most.
    pub max_read_bytes: u32,
}

/// One step of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DialogueStep {
    /// Says something, expects something, or both.
    Turn {
        /// Bytes sent.
        send: Vec<u8>,
        /// What must appear in what has come since the match before it ended.
        expect: Option<Expect>,
    },
    /// The TLS handshake: what comes before is in plain text, what follows is under TLS.
    StartTls,
}

impl DialogueCheck {
    /// Does TLS begin between two steps?
    #[must_use]
    pub fn begins_tls_later(&self) -> bool {
        self.steps.contains(&DialogueStep::StartTls)
    }

    pub(super) fn validate(&self, errors: &mut Errors) {
        let mut sent = 0;
        for step in &self.steps {
            let DialogueStep::Turn { send, expect } = step else { continue };
            sent += send.len();
            errors.rule("step", !send.is_empty() || expect.is_some(), || {
                "holds a step that neither says nor expects anything".to_owned()
            });
            reading(errors, expect.as_ref(), self.max_read_bytes);
        }
        errors.rule("step", sent <= limits::MAX_PAYLOAD_BYTES, || {
            format!("says too much; all steps together at most {} bytes", limits::MAX_PAYLOAD_BYTES)
        });
        errors.rule("step", self.steps.len() <= limits::MAX_STEPS, || {
            format!("holds {} steps; at most {}", self.steps.len(), limits::MAX_STEPS)
        });
        let handshakes = self.steps.iter().filter(|step| **step == DialogueStep::StartTls).count();
        errors.rule("step", handshakes <= 1, || "begins TLS twice".to_owned());
        errors.rule("starttls", handshakes == 0 || self.starttls.is_none(), || {
            "cannot stand beside a step with `starttls`; keep one of them".to_owned()
        });
        errors.rule("starttls", self.tls.is_some() || (handshakes == 0 && self.starttls.is_none()), || {
            "needs TLS".to_owned()
        });
        if let Some(tls) = &self.tls {
            tls.validate(errors);
        }
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
            let needed = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            errors.rule("max_read_bytes", max_read_bytes == 0 || max_read_bytes >= needed, || {
                format!("{max_read_bytes} is less than the {needed} bytes that are expected; use at least {needed}")
            });
        }
        Some(Expect::Regex(pattern)) => {
            errors.rule("expect_regex", !pattern.is_empty() && pattern.len() <= limits::MAX_REGEX_BYTES, || {
                format!("empty or too long; at most {} bytes", limits::MAX_REGEX_BYTES)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_can_be_read() {
        let faults = |expected: &str, max_read_bytes| {
            let mut errors = Errors(Vec::new());
            let expect = Some(Expect::Contains(expected.as_bytes().to_vec()));
            TcpCheck { expect, max_read_bytes, ..TcpCheck::default() }.validate(&mut errors);
            errors.0.into_iter().map(|error| error.key).collect::<Vec<_>>()
        };
        assert!(faults("PONG", 4).is_empty());
        assert_eq!(faults("PONG", 3), ["max_read_bytes"]);
        assert_eq!(faults("PONG", 0), ["max_read_bytes"], "told once");
    }
}

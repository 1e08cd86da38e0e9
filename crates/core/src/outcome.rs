//! The typed result of one probe.

use crate::evidence::{Cause, ErrorCategory, Evidence, FailureType, Phase};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One execution of a check. A failure is a value here, never an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Passed, passed with a warning, or failed.
    pub result: ProbeResult,
    /// How long each phase took.
    pub timings: Timings,
    /// The HTTP status, if one came.
    pub status_code: Option<u16>,
    /// How many times the target was asked, one or more.
    pub attempts: u32,
    /// The address that was asked, once known.
    pub peer: Option<String>,
    /// The beginning of the answer, at most [`Outcome::MAX_EXCERPT_BYTES`]; stays on the observer.
    pub excerpt: String,
    /// The answer's headers; stay on the observer.
    pub headers: Vec<(String, String)>,
}

impl Outcome {
    /// Bytes of the answer kept.
    pub const MAX_EXCERPT_BYTES: usize = 1000;

    /// A pass that took `total`, with nothing else to say: for targets without an answer to quote.
    #[must_use]
    pub fn pass(total: Duration) -> Self {
        Self::new(ProbeResult::Pass, total)
    }

    /// A failure that took `total`.
    #[must_use]
    pub fn fail(phase: Phase, cause: Cause, detail: impl Into<String>, total: Duration) -> Self {
        Self::new(ProbeResult::Fail(ProbeFailure::new(phase, cause, detail)), total)
    }

    fn new(result: ProbeResult, total: Duration) -> Self {
        Self {
            result,
            timings: Timings { total, ..Timings::default() },
            status_code: None,
            attempts: 1,
            peer: None,
            excerpt: String::new(),
            headers: Vec::new(),
        }
    }
}

/// What a probe concluded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeResult {
    /// The answer was as expected.
    Pass,
    /// It was, but something deserves attention.
    Warn(String),
    /// It was not, or none came.
    Fail(ProbeFailure),
}

/// A failed probe: where, why, and in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeFailure {
    /// How far it came.
    pub phase: Phase,
    /// What went wrong.
    pub cause: Cause,
    /// For people; at most [`ProbeFailure::MAX_DETAIL_BYTES`].
    pub detail: String,
}

impl ProbeFailure {
    /// Bytes of the detail kept.
    pub const MAX_DETAIL_BYTES: usize = 200;

    /// A failure; a long `detail` is cut.
    #[must_use]
    pub fn new(phase: Phase, cause: Cause, detail: impl Into<String>) -> Self {
        let mut detail: String = detail.into();
        if detail.len() > Self::MAX_DETAIL_BYTES {
            let end = (0..=Self::MAX_DETAIL_BYTES).rev().find(|end| detail.is_char_boundary(*end)).unwrap_or(0);
            detail.truncate(end);
        }
        Self { phase, cause, detail }
    }

    /// What it proves about the far end.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        Evidence::of(self.phase, self.cause)
    }

    /// The guide's failure type.
    #[must_use]
    pub fn failure_type(&self) -> FailureType {
        FailureType::of(self.cause)
    }

    /// The guide's error category.
    #[must_use]
    pub fn category(&self) -> ErrorCategory {
        ErrorCategory::of(self.phase, self.cause)
    }
}

/// Durations of the phases that were reached, and of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Name look-up.
    pub resolve: Option<Duration>,
    /// Connecting.
    pub connect: Option<Duration>,
    /// TLS handshake.
    pub tls: Option<Duration>,
    /// From the request's end to the answer's first byte.
    pub first_byte: Option<Duration>,
    /// Reading the answer.
    pub transfer: Option<Duration>,
    /// All of it, retries included.
    pub total: Duration,
}

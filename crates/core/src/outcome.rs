//! The typed result of one probe.

use crate::evidence::{Cause, ErrorCategory, Evidence, FailureType, Phase, words};
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::fmt;
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
    /// What the TLS handshake showed, also when the certificate was refused.
    pub tls: Option<Box<TlsFacts>>,
    /// Each condition on the answer that was judged, in order, at most [`Outcome::MAX_JUDGEMENTS`]; stay on the observer.
    pub judgements: Vec<Judgement>,
    /// What it uses of its host, where that can be told.
    pub usage: Option<Usage>,
}

/// What an instance uses of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time since the probe before, in thousandths of all cores.
    pub cpu_per_mille: Option<u32>,
    /// Memory, in thousandths of its limit.
    pub memory_per_mille: Option<u32>,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Restarts since it was made.
    pub restarts: u64,
}

impl Outcome {
    /// Bytes of the answer kept.
    pub const MAX_EXCERPT_BYTES: usize = 1000;
    /// Judgements kept.
    pub const MAX_JUDGEMENTS: usize = 64;

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
            tls: None,
            judgements: Vec::new(),
            usage: None,
        }
    }
}

/// What a probe concluded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeResult {
    /// The answer was as expected.
    Pass,
    /// It was, but something deserves attention.
    Warn(ProbeWarning),
    /// It was not, or none came.
    Fail(ProbeFailure),
    /// It answers, and lets nobody in who does not identify himself: healthy, and guarded. In words, why.
    Protected(String),
}

impl ProbeResult {
    /// Healthy and guarded; a long `why` is cut to [`ProbeFailure::MAX_DETAIL_BYTES`].
    #[must_use]
    pub fn protected(why: impl Into<String>) -> Self {
        Self::Protected(clip(why.into(), ProbeFailure::MAX_DETAIL_BYTES))
    }
}

/// A passed probe that deserves attention: why, and in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeWarning {
    /// What deserves it.
    pub cause: Cause,
    /// For people; at most [`ProbeFailure::MAX_DETAIL_BYTES`].
    pub detail: String,
}

impl ProbeWarning {
    /// A warning; a long `detail` is cut.
    #[must_use]
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: clip(detail.into(), ProbeFailure::MAX_DETAIL_BYTES) }
    }

    /// The guide's failure type, which it raises for a healthy answer too.
    #[must_use]
    pub fn failure_type(&self) -> FailureType {
        FailureType::of(self.cause)
    }
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
        Self { phase, cause, detail: clip(detail.into(), Self::MAX_DETAIL_BYTES) }
    }

    /// Is it the observer's own host that could not make the probe?
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.cause == Cause::Local || self.phase == Phase::Prepare
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

/// One condition on an answer, and how it was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The condition in words, such as `status is 200`; at most [`Judgement::MAX_TEXT_BYTES`].
    pub what: String,
    /// What was found; at most [`Judgement::MAX_TEXT_BYTES`].
    pub found: String,
    /// Met; not met and worth a warning; not met.
    pub grade: Grade,
}

impl Judgement {
    /// Bytes of either text kept.
    pub const MAX_TEXT_BYTES: usize = 200;

    /// A judgement; long texts are cut.
    #[must_use]
    pub fn new(what: impl Into<String>, found: impl Into<String>, grade: Grade) -> Self {
        let clip = |text| clip(text, Self::MAX_TEXT_BYTES);
        Self { what: clip(what.into()), found: clip(found.into()), grade }
    }
}

words!(
    /// How a condition was met.
    Grade {
        /// It holds.
        Pass = "pass",
        /// It does not, which is worth a warning.
        Warn = "warn",
        /// It does not, which fails the probe.
        Fail = "fail",
    }
);

/// What a TLS handshake showed (RFC 5246, RFC 8446).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`; none when the handshake did not come that far.
    pub version: Option<String>,
    /// The cipher suite, by its registered name.
    pub cipher: Option<String>,
    /// The application protocol agreed on (ALPN, RFC 7301).
    pub alpn: Option<String>,
    /// Certificates sent, the server's own included.
    pub chain: u32,
    /// When the first certificate of the chain expires.
    pub earliest_not_after: Option<UnixMs>,
    /// The server's own.
    pub certificate: Option<CertificateFacts>,
}

/// A certificate (RFC 5280). No text is longer than [`CertificateFacts::MAX_TEXT_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// Whose.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Names and addresses it is for, at most [`CertificateFacts::MAX_NAMES`].
    pub names: Vec<String>,
    /// The issuer's number for it, hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate, hexadecimal.
    pub sha256: String,
    /// Valid from.
    pub not_before: UnixMs,
    /// Valid until.
    pub not_after: UnixMs,
}

impl CertificateFacts {
    /// Bytes of each text kept.
    pub const MAX_TEXT_BYTES: usize = 256;
    /// Names kept.
    pub const MAX_NAMES: usize = 32;
}

/// At most `max` bytes of `text`, cut between characters.
#[must_use]
pub fn clip(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
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
    /// Until the last byte of the request was handed to the system.
    pub send: Option<Duration>,
    /// From the request's end to the answer's first byte.
    pub first_byte: Option<Duration>,
    /// Reading the answer.
    pub transfer: Option<Duration>,
    /// Judging it.
    pub assert: Option<Duration>,
    /// All of it, retries included.
    pub total: Duration,
}

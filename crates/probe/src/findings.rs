//! What one attempt has learnt so far; kept when the attempt fails, so that a failure too has its timings, peer and excerpt.

use crate::failure::Step;
use hyper::HeaderMap;
use quorate_core::{Cause, Grade, Judgement, Outcome, Phase, ProbeFailure, ProbeWarning, Timings, TlsFacts, Usage};
use std::net::SocketAddr;
use std::time::Duration;

/// Headers of an answer kept at most.
pub(crate) const MAX_HEADERS_KEPT: usize = 64;
/// Bytes of names and values of headers kept at most.
pub(crate) const MAX_HEADER_BYTES_KEPT: usize = 8 * 1024;

/// The facts of one attempt.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) timings: Timings,
    pub(crate) status_code: Option<u16>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) excerpt: Excerpt,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) tls: Option<Box<TlsFacts>>,
    pub(crate) judgements: Vec<Judgement>,
    /// What it uses of its host.
    pub(crate) usage: Option<Usage>,
    /// The gravest thing to warn of so far.
    pub(crate) warning: Option<ProbeWarning>,
    /// Why the answer is healthy although it lets nobody in.
    pub(crate) protected: Option<String>,
}

impl Findings {
    /// Notes how a condition was met. A warning is kept unless one was noted before; a failure ends the probe.
    pub(crate) fn judge(
        &mut self,
        what: impl Into<String>,
        found: impl Into<String>,
        grade: Grade,
        or: (Cause, &str),
    ) -> Step<()> {
        let judgement = Judgement::new(what, found, grade);
        if self.judgements.len() < Outcome::MAX_JUDGEMENTS {
            self.judgements.push(judgement);
        }
        match grade {
            Grade::Pass => Ok(()),
            Grade::Warn => {
                self.warning.get_or_insert_with(|| ProbeWarning::new(or.0, or.1));
                Ok(())
            }
            Grade::Fail => Err(ProbeFailure::new(Phase::Assert, or.0, or.1)),
        }
    }

    /// Keeps the first headers of an answer, within both limits.
    pub(crate) fn keep_headers(&mut self, headers: &HeaderMap) {
        let mut room = MAX_HEADER_BYTES_KEPT;
        self.headers.clear();
        for (name, value) in headers.iter().take(MAX_HEADERS_KEPT) {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let Some(left) = room.checked_sub(name.as_str().len() + value.len()) else { break };
            room = left;
            self.headers.push((name.as_str().to_owned(), value));
        }
    }
}

/// Adds a phase's duration: with redirects, a phase is walked more than once.
pub(crate) fn add(total: &mut Option<Duration>, more: Duration) {
    *total = Some(total.unwrap_or_default().saturating_add(more));
}

/// The first [`Outcome::MAX_EXCERPT_BYTES`] of an answer.
#[derive(Debug, Default)]
pub(crate) struct Excerpt(Vec<u8>);

impl Excerpt {
    /// Takes what still fits of `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = Outcome::MAX_EXCERPT_BYTES.saturating_sub(self.0.len());
        self.0.extend(bytes.iter().take(room));
    }

    /// As text; bytes that are not UTF-8 become U+FFFD, which may make it longer, so it is cut again.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.0).into_owned();
        while text.len() > Outcome::MAX_EXCERPT_BYTES {
            text.pop();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_never_exceeds_its_limit() {
        let mut excerpt = Excerpt::default();
        for _ in 0..30 {
            excerpt.push(&[0xff; 100]);
        }
        assert!(excerpt.text().len() <= Outcome::MAX_EXCERPT_BYTES);
        assert!(excerpt.text().starts_with('\u{fffd}'));
    }

    #[test]
    fn headers_are_kept_within_both_limits() {
        let mut many = HeaderMap::new();
        for i in 0..100 {
            many.insert(hyper::header::HeaderName::try_from(format!("x-{i}")).unwrap(), "v".parse().unwrap());
        }
        let mut findings = Findings::default();
        findings.keep_headers(&many);
        assert_eq!(findings.headers.len(), MAX_HEADERS_KEPT);

        let mut large = HeaderMap::new();
        for i in 0..10 {
            let value = "v".repeat(1500).parse().unwrap();
            large.insert(hyper::header::HeaderName::try_from(format!("x-{i}")).unwrap(), value);
        }
        findings.keep_headers(&large);
        let bytes: usize = findings.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(findings.headers.len() == 5 && bytes <= MAX_HEADER_BYTES_KEPT, "{bytes}");
    }
}

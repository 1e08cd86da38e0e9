//! From the errors of sockets and timers to typed failures.
//!
//! The rule for what is not recognised: it accuses nobody. An unknown error of the operating system becomes [`Cause::Local`], which
//! proves nothing about the far end.

use crate::tls_failure;
use quorate_core::{Cause, Phase, ProbeFailure};
use std::error::Error;
use std::future::Future;
use std::io::{self, ErrorKind};
use tokio::time::{Instant, timeout_at};

/// A step of a probe: what it gave, or why the probe ends here.
pub(crate) type Step<T> = Result<T, ProbeFailure>;

/// A failure on the observer's own side, before anything was sent.
pub(crate) fn unprepared(detail: impl Into<String>) -> ProbeFailure {
    ProbeFailure::new(Phase::Prepare, Cause::Local, detail)
}

/// The deadline passed while in `phase`.
pub(crate) fn timeout(phase: Phase) -> ProbeFailure {
    let detail = match phase {
        Phase::Resolve => "Name look-up timeout",
        Phase::Connect => "Connection timeout",
        Phase::Tls => "TLS handshake timeout",
        Phase::Prepare => "Reading a local file took too long",
        Phase::Send | Phase::FirstByte | Phase::Body | Phase::Assert => "Request timeout",
    };
    ProbeFailure::new(phase, Cause::Timeout, detail)
}

/// Bytes of a malformed answer that its failure quotes at most.
const MAX_QUOTED_BYTES: usize = 32;

/// An answer came, and is none: what is wrong with it, and how it begins.
pub(crate) fn malformed(phase: Phase, what: &str, answer: &[u8]) -> ProbeFailure {
    let begins = answer.get(..MAX_QUOTED_BYTES).unwrap_or(answer);
    let more = if begins.len() < answer.len() { "..." } else { "" };
    let detail = format!("Invalid response: {what}: \"{}\"{more}", begins.escape_ascii());
    ProbeFailure::new(phase, Cause::Protocol, detail)
}

/// Runs `work` until the deadline.
pub(crate) async fn within<T>(deadline: Instant, phase: Phase, work: impl Future<Output = T>) -> Step<T> {
    timeout_at(deadline, work).await.map_err(|_| timeout(phase))
}

/// The failure behind an error of a socket. TLS errors travel inside of `io::Error` and are told apart here.
pub(crate) fn of_io(phase: Phase, error: &io::Error) -> ProbeFailure {
    if let Some(tls) = tls_failure::inside(error) {
        return tls_failure::of_tls(tls);
    }
    let cause = cause_of(error);
    let detail = match cause {
        Cause::Timeout if phase == Phase::Connect => "Connection timeout".to_owned(),
        Cause::Timeout => "Request timeout".to_owned(),
        Cause::Reset if error.kind() == ErrorKind::UnexpectedEof => "Connection error: closed early".to_owned(),
        Cause::Protocol => format!("Invalid response: {error}"),
        _ => format!("Connection error: {error}"),
    };
    ProbeFailure::new(phase, cause, detail)
}

fn cause_of(error: &io::Error) -> Cause {
    match error.kind() {
        ErrorKind::ConnectionRefused => Cause::Refused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Cause::Unreachable,
        ErrorKind::TimedOut => Cause::Timeout,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::NotConnected
        | ErrorKind::WriteZero
        | ErrorKind::UnexpectedEof => Cause::Reset,
        // A parser's word, unless the operating system said it.
        ErrorKind::InvalidData | ErrorKind::InvalidInput if error.raw_os_error().is_none() => Cause::Protocol,
        // No descriptor, no buffer, no local port, no permission, and whatever else we do not know.
        _ => Cause::Local,
    }
}

/// The failure behind an error of the HTTP connection, in `phase`.
pub(crate) fn of_http(phase: Phase, error: &hyper::Error) -> ProbeFailure {
    if error.is_parse_too_large() {
        return ProbeFailure::new(phase, Cause::TooMuch, "Invalid response: the header section is too large");
    }
    if error.is_parse() {
        return ProbeFailure::new(phase, Cause::Protocol, format!("Invalid response: {error}"));
    }
    if error.is_user() {
        return unprepared(format!("the request cannot be sent: {error}"));
    }
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return of_io(phase, io);
        }
        source = inner.source();
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return ProbeFailure::new(phase, Cause::Reset, "Connection error: closed before the answer was complete");
    }
    let why = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    ProbeFailure::new(phase, Cause::Protocol, format!("Invalid response: {error}{why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_operating_system_have_their_cause() {
        let table = [
            (111, Cause::Refused),
            (113, Cause::Unreachable),
            (101, Cause::Unreachable),
            (104, Cause::Reset),
            (32, Cause::Reset),
            (110, Cause::Timeout),
            (24, Cause::Local),
            (23, Cause::Local),
            (105, Cause::Local),
            (99, Cause::Local),
            (13, Cause::Local),
            (1, Cause::Local),
            (22, Cause::Local),
        ];
        for (errno, cause) in table {
            let failure = of_io(Phase::Connect, &io::Error::from_raw_os_error(errno));
            assert_eq!((failure.phase, failure.cause), (Phase::Connect, cause), "errno {errno}: {}", failure.detail);
        }
    }

    #[test]
    fn a_refusal_is_worded_as_a_connection_error() {
        let failure = of_io(Phase::Connect, &io::Error::from_raw_os_error(111));
        assert_eq!(failure.detail, "Connection error: Connection refused (os error 111)");
        assert_eq!(timeout(Phase::Connect).detail, "Connection timeout");
        assert_eq!(timeout(Phase::Body).detail, "Request timeout");
    }

    #[test]
    fn a_malformed_answer_is_quoted_within_bounds() {
        assert_eq!(malformed(Phase::Body, "not it", b"a\"\n").detail, r#"Invalid response: not it: "a\"\n""#);
        let detail = malformed(Phase::Body, "not it", &[0xff; 4096]).detail;
        assert!(detail.ends_with(r#"\xff"..."#) && detail.len() <= ProbeFailure::MAX_DETAIL_BYTES, "{detail}");
    }
}

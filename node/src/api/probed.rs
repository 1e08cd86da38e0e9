//! One probe as the API and the command line tell it.

use super::words::time;
use crate::agent::probes::is_healthy;
use crate::answers::{LocalProbe, PhaseTimings, TlsAnswer, UsageAnswer};
use quorate_core::{CheckKind, HttpCheck, Outcome, ProbeResult, Registration, TlsFacts, Usage};
use std::time::Duration;

/// What a check asks, such as `GET http://10.0.0.1:8080/health`. No header and no body: they may hold secrets.
pub fn target(registration: &Registration) -> String {
    let address = &registration.address;
    let request =
        |http: &HttpCheck| format!("{} {}://{address}{}", http.method.as_str(), http.scheme.as_str(), http.path);
    match &registration.check.kind {
        CheckKind::Http(http) => request(http),
        CheckKind::Metric(metric) => request(&metric.http),
        CheckKind::Dns(dns) => format!("DNS {address} {} {}", dns.name, dns.record_type),
        CheckKind::Grpc(grpc) => format!("GRPC {address} {}", grpc.service).trim_end().to_owned(),
        CheckKind::Systemd(systemd) => format!("SYSTEMD {}", systemd.unit),
        other => format!("{} {address}", other.name().to_uppercase()),
    }
}

/// An outcome in words and numbers; when it ended is the caller's to say.
pub fn probed(check: &str, outcome: &Outcome) -> LocalProbe {
    let timings = &outcome.timings;
    let spent = |span: Option<Duration>| span.map(milliseconds);
    let mut answer = LocalProbe {
        timestamp: String::new(),
        age_ms: 0,
        check_type: check.to_owned(),
        is_healthy: is_healthy(outcome),
        response_time_ms: milliseconds(timings.total),
        status_code: outcome.status_code,
        response_body: outcome.excerpt.clone(),
        headers: outcome.headers.clone(),
        error: None,
        phase: None,
        cause: None,
        failure_type: None,
        protected: false,
        tls: outcome.tls.as_deref().map(tls),
        judgements: outcome.judgements.clone(),
        attempts: outcome.attempts,
        peer: outcome.peer.clone(),
        timings: PhaseTimings {
            resolve_ms: spent(timings.resolve),
            connect_ms: spent(timings.connect),
            tls_ms: spent(timings.tls),
            send_ms: spent(timings.send),
            first_byte_ms: spent(timings.first_byte),
            transfer_ms: spent(timings.transfer),
            assert_ms: spent(timings.assert),
        },
        usage: outcome.usage.map(usage),
    };
    match &outcome.result {
        ProbeResult::Pass => {}
        ProbeResult::Protected(why) => {
            answer.error = Some(why.clone());
            answer.protected = true;
        }
        ProbeResult::Warn(warning) => {
            answer.error = Some(warning.detail.clone());
            answer.cause = Some(warning.cause);
            answer.failure_type = Some(warning.failure_type());
        }
        ProbeResult::Fail(failure) => {
            answer.error = Some(failure.detail.clone());
            answer.phase = Some(failure.phase);
            answer.cause = Some(failure.cause);
            answer.failure_type = Some(failure.failure_type());
        }
    }
    answer
}

fn usage(used: Usage) -> UsageAnswer {
    let percent = |share: Option<u32>| share.map(|share| f64::from(share) / 10.0);
    UsageAnswer {
        cpu_percent: percent(used.cpu_per_mille),
        memory_percent: percent(used.memory_per_mille),
        memory_usage_bytes: used.memory_bytes,
        restarts: used.restarts,
    }
}

fn tls(facts: &TlsFacts) -> TlsAnswer {
    let certificate = facts.certificate.as_ref();
    TlsAnswer {
        version: facts.version.clone(),
        cipher: facts.cipher.clone(),
        alpn: facts.alpn.clone(),
        chain: facts.chain,
        earliest_not_after: facts.earliest_not_after.map(time),
        subject: certificate.map(|found| found.subject.clone()),
        issuer: certificate.map(|found| found.issuer.clone()),
        names: certificate.map(|found| found.names.clone()).unwrap_or_default(),
        serial: certificate.map(|found| found.serial.clone()),
        sha256: certificate.map(|found| found.sha256.clone()),
        not_before: certificate.map(|found| time(found.not_before)),
        not_after: certificate.map(|found| time(found.not_after)),
    }
}

/// With three decimals.
fn milliseconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

//! How an instance is probed: protocol, target, timing, thresholds, and the rules a check must follow.
//!
//! Defaults are those of the health-monitoring guide the project began from: `GET /health` on port 8000 every 30 s, 5 s timeout, three
//! failures, one success.

mod assertion;
mod database;
mod datagram;
mod dns;
mod exchange;
mod grpc;
mod home;
mod host_use;
mod http;
pub mod limits;
mod metric;
mod secret;
mod supervised;
mod tls;

pub use assertion::{Assertion, Condition, Level, Subject};
pub use database::{PostgresCheck, RedisCheck};
pub use datagram::{IcmpCheck, UdpCheck};
pub use dns::{DnsCheck, DnsTransport, RecordType};
pub use exchange::{DialogueCheck, DialogueStep, Expect, TcpCheck};
pub use grpc::GrpcCheck;
pub use home::{ExecCheck, PushCheck, UnixCheck};
pub use http::{HttpCheck, HttpVersion, Method, Scheme};
pub use metric::{Bad, Measure, MetricCheck, PRESETS, Preset, Reading};
pub use secret::{BasicAuth, Secret, SecretSource, Value};
pub use supervised::{ContainerCheck, SystemdCheck, UsageLimits};
pub use tls::{StartTls, TlsCheck, TlsOptions, TlsVersion};

use crate::detection::Rules;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// One check. Every field has a default; see [`Check::validate`] for the rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The protocol and its settings.
    pub kind: CheckKind,
    /// Whether the check runs at all. A disabled check is shown as such, never as healthy.
    pub enabled: bool,
    /// Grace after an instance first appears, during which failures are not counted.
    pub initial_delay: Duration,
    /// From the start of one probe to the start of the next.
    pub period: Duration,
    /// The same while a vote is about to change: after a first failure, or a first success, and until the threshold; none: the period.
    pub fast_interval: Option<Duration>,
    /// The same while the instance is down and goes on failing; none: the period.
    pub down_interval: Option<Duration>,
    /// The longest a probe may take, all phases together.
    pub timeout: Duration,
    /// Consecutive failures before an observer votes `fail`.
    pub failure_threshold: u32,
    /// Consecutive successes before an observer votes `pass` again.
    pub success_threshold: u32,
    /// Immediate repetitions inside one probe round, all within `timeout`.
    pub max_retries: u32,
    /// An attempt that passes but takes longer is worth a warning.
    pub max_response_time: Duration,
    /// One that takes longer than this fails.
    pub critical_response_time: Option<Duration>,
    /// When outcomes become failure events; verdicts do not depend on it.
    pub detection: Rules,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            kind: CheckKind::Http(HttpCheck::default()),
            enabled: true,
            initial_delay: Duration::from_secs(30),
            period: Duration::from_secs(30),
            fast_interval: None,
            down_interval: None,
            timeout: Duration::from_secs(5),
            failure_threshold: 3,
            success_threshold: 1,
            max_retries: 0,
            max_response_time: Duration::from_secs(5),
            critical_response_time: None,
            detection: Rules::default(),
        }
    }
}

/// The protocol of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckKind {
    /// HTTP or HTTPS.
    Http(HttpCheck),
    /// A TCP connection, with an optional exchange.
    Tcp(TcpCheck),
    /// A TLS handshake and its certificate.
    Tls(TlsCheck),
    /// A datagram.
    Udp(UdpCheck),
    /// Redis' `PING`.
    Redis(RedisCheck),
    /// PostgreSQL's start-up.
    Postgres(PostgresCheck),
    /// A question to a name server.
    Dns(DnsCheck),
    /// The health service of a gRPC server.
    Grpc(GrpcCheck),
    /// An echo request.
    Icmp(IcmpCheck),
    /// A number told over HTTP.
    Metric(MetricCheck),
    /// A program on the instance's own host.
    Exec(ExecCheck),
    /// A Unix socket on that host.
    Unix(UnixCheck),
    /// A container on that host.
    Container(ContainerCheck),
    /// A word that the instance sends to its home agent.
    Push(PushCheck),
    /// A systemd unit on that host.
    Systemd(SystemdCheck),
    /// A TCP connection, with an exchange of several steps, or under TLS.
    Dialogue(DialogueCheck),
}

impl CheckKind {
    /// `http`, `https`, `tcp` and so on, as `protocol` in the configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http(http) => http.scheme.as_str(),
            Self::Tcp(_) | Self::Dialogue(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Udp(_) => "udp",
            Self::Redis(_) => "redis",
            Self::Postgres(_) => "postgres",
            Self::Dns(_) => "dns",
            Self::Grpc(_) => "grpc",
            Self::Icmp(_) => "icmp",
            Self::Metric(_) => "metric",
            Self::Exec(_) => "exec",
            Self::Unix(_) => "unix",
            Self::Container(_) => "container",
            Self::Push(_) => "push",
            Self::Systemd(_) => "systemd",
        }
    }

    /// Can only the instance's own host make it? Then its home agent is the only observer.
    #[must_use]
    pub fn home_only(&self) -> bool {
        match self {
            Self::Exec(_) | Self::Unix(_) | Self::Container(_) | Self::Push(_) | Self::Systemd(_) => true,
            Self::Http(_)
            | Self::Tcp(_)
            | Self::Tls(_)
            | Self::Udp(_)
            | Self::Redis(_)
            | Self::Postgres(_)
            | Self::Dns(_)
            | Self::Grpc(_)
            | Self::Icmp(_)
            | Self::Metric(_)
            | Self::Dialogue(_) => false,
        }
    }

    /// What the instance may use of its host, if whoever runs it tells that.
    #[must_use]
    pub fn usage_limits(&self) -> Option<&UsageLimits> {
        match self {
            Self::Container(check) => Some(&check.limits),
            Self::Systemd(check) => Some(&check.limits),
            Self::Http(_)
            | Self::Tcp(_)
            | Self::Tls(_)
            | Self::Udp(_)
            | Self::Redis(_)
            | Self::Postgres(_)
            | Self::Dns(_)
            | Self::Grpc(_)
            | Self::Icmp(_)
            | Self::Metric(_)
            | Self::Dialogue(_)
            | Self::Exec(_)
            | Self::Unix(_)
            | Self::Push(_) => None,
        }
    }
}

/// One rule a check breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckError {
    /// The setting, as it is named in the configuration.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

impl Check {
    /// The longest it takes one observer to vote `fail` once probes fail, each after at most `timeout`, when it hears nothing from others. Where one failure is
    /// enough, silence is looked at once more at once.
    #[must_use]
    pub fn detection_span(&self) -> Duration {
        let further = self.failure_threshold.saturating_sub(1);
        let pace = self.fast_interval.map_or(self.period, |fast| fast.max(self.timeout));
        let again = if further == 0 { self.timeout } else { Duration::ZERO };
        self.period + pace.min(self.period).saturating_mul(further) + again + self.timeout
    }

    /// The longest it takes one observer to vote `pass` again once probes of an instance that is down succeed.
    #[must_use]
    pub fn recovery_span(&self) -> Duration {
        let further = self.success_threshold.saturating_sub(1);
        let pace = self.fast_interval.map_or(self.period, |fast| fast.max(self.timeout));
        self.down_interval.unwrap_or(self.period).max(self.period)
            + pace.min(self.period).saturating_mul(further)
            + self.timeout
    }

    /// Returns every rule the check breaks; none when it is valid. Regular expressions are compiled by whoever runs the check.
    #[must_use]
    pub fn validate(&self) -> Vec<CheckError> {
        let mut errors = Errors(Vec::new());
        let seconds = |span: Duration| format!("{:?}", span);
        errors.rule("period", self.period >= limits::MIN_PERIOD, || {
            format!("{} is too short; at least {}", seconds(self.period), seconds(limits::MIN_PERIOD))
        });
        errors.rule("timeout", self.timeout >= limits::MIN_TIMEOUT, || {
            format!("{} is too short; at least {}", seconds(self.timeout), seconds(limits::MIN_TIMEOUT))
        });
        errors.rule("period", self.period >= self.timeout, || {
            format!("{} must be at least the timeout ({})", seconds(self.period), seconds(self.timeout))
        });
        for (key, span) in [("fast_interval", self.fast_interval), ("down_interval", self.down_interval)] {
            let Some(span) = span else { continue };
            errors.rule(key, (limits::MIN_PERIOD..=limits::MAX_DURATION).contains(&span), || {
                format!("{} is not allowed; use {} to 24h", seconds(span), seconds(limits::MIN_PERIOD))
            });
        }
        errors.rule("fast_interval", self.fast_interval.is_none_or(|fast| fast <= self.period), || {
            format!("must not be longer than the period ({})", seconds(self.period))
        });
        for (key, span) in [("period", self.period), ("timeout", self.timeout), ("initial_delay", self.initial_delay)] {
            errors.rule(key, span <= limits::MAX_DURATION, || format!("{} is too long; at most 24h", seconds(span)));
        }
        for (key, n) in [("failure_threshold", self.failure_threshold), ("success_threshold", self.success_threshold)] {
            errors.rule(key, (1..=limits::MAX_THRESHOLD).contains(&n), || {
                format!("{n} is not allowed; use 1 to {}", limits::MAX_THRESHOLD)
            });
        }
        errors.rule("max_retries", self.max_retries <= limits::MAX_RETRIES, || {
            format!("{} is too many; at most {}", self.max_retries, limits::MAX_RETRIES)
        });
        errors.rule("max_response_time", !self.max_response_time.is_zero(), || "must be longer than 0s".to_owned());
        if let Some(critical) = self.critical_response_time {
            errors.rule("critical_response_time", critical >= self.max_response_time, || {
                format!("{critical:?} must be at least `max_response_time` ({:?})", self.max_response_time)
            });
        }
        for (key, message) in self.detection.validate() {
            errors.rule(key, false, || message);
        }
        match &self.kind {
            CheckKind::Http(http) => http.validate(&mut errors),
            CheckKind::Tcp(tcp) => tcp.validate(&mut errors),
            CheckKind::Tls(check) => check.tls.validate(&mut errors),
            CheckKind::Udp(check) => check.validate(&mut errors),
            CheckKind::Redis(check) => check.validate(&mut errors),
            CheckKind::Postgres(check) => check.validate(&mut errors),
            CheckKind::Dns(check) => check.validate(&mut errors),
            CheckKind::Grpc(check) => check.validate(&mut errors),
            CheckKind::Icmp(check) => check.validate(&mut errors),
            CheckKind::Metric(check) => check.validate(&mut errors),
            CheckKind::Exec(check) => check.validate(&mut errors),
            CheckKind::Unix(check) => check.validate(&mut errors),
            CheckKind::Container(check) => check.validate(&mut errors),
            CheckKind::Push(check) => check.validate(&mut errors),
            CheckKind::Systemd(check) => check.validate(&mut errors),
            CheckKind::Dialogue(check) => check.validate(&mut errors),
        }
        errors.0
    }
}

struct Errors(Vec<CheckError>);

impl Errors {
    fn rule(&mut self, key: &'static str, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.0.push(CheckError { key, message: message() });
        }
    }
}

/// A name, or the path of a file.
fn file_or_name(errors: &mut Errors, key: &'static str, text: Option<&String>) {
    let Some(text) = text else { return };
    errors.rule(key, text.len() <= limits::MAX_TEXT_BYTES, || {
        format!("too long; at most {} bytes", limits::MAX_TEXT_BYTES)
    });
    errors.rule(key, !text.is_empty() && printable(text), || "empty, or holds a control character".to_owned());
}

fn printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_check_is_valid_and_is_the_guides() {
        let check = Check::default();
        assert_eq!(check.validate(), []);
        assert_eq!((check.period.as_secs(), check.timeout.as_secs(), check.initial_delay.as_secs()), (30, 5, 30));
        assert_eq!((check.failure_threshold, check.success_threshold, check.max_retries), (3, 1, 0));
    }

    #[test]
    fn all_errors_are_reported_at_once() {
        let http = HttpCheck {
            path: "health".into(),
            headers: vec![("Bad Name".into(), "x".into()), ("X".into(), "a\nb".into())],
            max_redirects: 99,
            ..HttpCheck::default()
        };
        let check = Check {
            kind: CheckKind::Http(http),
            period: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            failure_threshold: 0,
            success_threshold: 0,
            ..Check::default()
        };
        let keys: Vec<_> = check.validate().into_iter().map(|e| e.key).collect();
        assert_eq!(
            keys,
            ["period", "failure_threshold", "success_threshold", "path", "headers", "headers", "max_redirects"]
        );
    }

    #[test]
    fn a_period_equal_to_the_timeout_is_allowed() {
        let check = Check { period: Duration::from_secs(5), ..Check::default() };
        assert_eq!(check.validate(), []);
    }
}

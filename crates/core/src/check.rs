//! How an instance is probed: protocol, target, timing, thresholds, and the rules a check must follow.
//!
//! Defaults are those of the health-monitoring guide the project began from: `GET /health` on port 8000 every 30 s, 5 s timeout, three
//! failures, one success.

use crate::status_set::StatusSet;
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
    /// The longest a probe may take, all phases together.
    pub timeout: Duration,
    /// Consecutive failures before an observer votes `fail`.
    pub failure_threshold: u32,
    /// Consecutive successes before an observer votes `pass` again.
    pub success_threshold: u32,
    /// Immediate repetitions inside one probe round, all within `timeout`.
    pub max_retries: u32,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            kind: CheckKind::Http(HttpCheck::default()),
            enabled: true,
            initial_delay: Duration::from_secs(30),
            period: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            failure_threshold: 3,
            success_threshold: 1,
            max_retries: 0,
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
}

impl CheckKind {
    /// `http`, `https` or `tcp`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http(http) => http.scheme.as_str(),
            Self::Tcp(_) => "tcp",
        }
    }
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As written in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The request methods a check may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Post,
    Put,
    Head,
}

impl Method {
    /// As written in a request.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Head => "HEAD",
        }
    }
}

/// Settings of an HTTP check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCheck {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// Request method.
    pub method: Method,
    /// Request target; begins with `/`.
    pub path: String,
    /// `Host` header, when it is not the target's address.
    pub host: Option<String>,
    /// Further headers; these win over the built-in ones.
    pub headers: Vec<(String, String)>,
    /// Request body.
    pub body: Option<String>,
    /// Statuses that pass.
    pub expected_status: StatusSet,
    /// Follow `Location`? Each hop is within the same timeout.
    pub follow_redirects: bool,
    /// Hops at most, when redirects are followed.
    pub max_redirects: u32,
    /// Verify the certificate of a TLS target?
    pub verify_tls: bool,
    /// Name expected in the certificate (SNI), when it is not the host.
    pub server_name: Option<String>,
    /// PEM file with the authorities to trust instead of the public ones; read on the observer's own host.
    pub ca_file: Option<String>,
    /// PEM file with a client certificate and its key; read on the observer's own host.
    pub client_cert_file: Option<String>,
    /// Bytes of the body read at most; the rest is not waited for.
    pub max_body_bytes: u32,
    /// Keep the connection for the next probe? Off by default, so that a failing connect is seen.
    pub reuse_connection: bool,
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self {
            scheme: Scheme::Http,
            method: Method::Get,
            path: "/health".to_owned(),
            host: None,
            headers: Vec::new(),
            body: None,
            expected_status: StatusSet::default(),
            follow_redirects: false,
            max_redirects: 10,
            verify_tls: true,
            server_name: None,
            ca_file: None,
            client_cert_file: None,
            max_body_bytes: 64 * 1024,
            reuse_connection: false,
        }
    }
}

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

/// Limits of a check's settings; a peer's registration is held to them as well.
pub mod limits {
    use std::time::Duration;
    /// Shortest period.
    pub const MIN_PERIOD: Duration = Duration::from_millis(100);
    /// Shortest timeout.
    pub const MIN_TIMEOUT: Duration = Duration::from_millis(10);
    /// Longest of any duration.
    pub const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);
    /// Highest threshold.
    pub const MAX_THRESHOLD: u32 = 100;
    /// Most retries in one round.
    pub const MAX_RETRIES: u32 = 10;
    /// Most headers.
    pub const MAX_HEADERS: usize = 64;
    /// Bytes of one header, of the path, of a name or of a file's path.
    pub const MAX_TEXT_BYTES: usize = 4096;
    /// Bytes of a request body or of what is sent over TCP.
    pub const MAX_PAYLOAD_BYTES: usize = 16 * 1024;
    /// Bytes read of an answer.
    pub const MAX_READ_BYTES: u32 = 1024 * 1024;
    /// Most redirects followed.
    pub const MAX_REDIRECTS: u32 = 20;
    /// Bytes of a regular expression.
    pub const MAX_REGEX_BYTES: usize = 1024;
}

impl Check {
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
        match &self.kind {
            CheckKind::Http(http) => http.validate(&mut errors),
            CheckKind::Tcp(tcp) => tcp.validate(&mut errors),
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

impl HttpCheck {
    fn validate(&self, errors: &mut Errors) {
        errors.rule("path", self.path.starts_with('/'), || format!("{:?} must begin with `/`", clip(&self.path)));
        errors.rule("path", printable(&self.path) && !self.path.contains(' '), || {
            "holds a space or a control character; write it percent-encoded".to_owned()
        });
        errors.rule("headers", self.headers.len() <= limits::MAX_HEADERS, || {
            format!("{} headers are too many; at most {}", self.headers.len(), limits::MAX_HEADERS)
        });
        for (name, value) in &self.headers {
            errors.rule("headers", is_token(name) && name.len() <= limits::MAX_TEXT_BYTES, || {
                format!("{:?} is not a header name", clip(name))
            });
            let fine =
                value.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f)) && value.len() <= limits::MAX_TEXT_BYTES;
            errors.rule("headers", fine, || {
                format!("the value of {:?} holds a control character or is too long", clip(name))
            });
        }
        let texts =
            [("path", Some(&self.path)), ("host", self.host.as_ref()), ("server_name", self.server_name.as_ref())];
        let files = [("ca_file", self.ca_file.as_ref()), ("client_cert_file", self.client_cert_file.as_ref())];
        for (key, text) in texts.into_iter().chain(files) {
            let Some(text) = text else { continue };
            errors.rule(key, text.len() <= limits::MAX_TEXT_BYTES, || {
                format!("too long; at most {} bytes", limits::MAX_TEXT_BYTES)
            });
            errors.rule(key, !text.is_empty() && printable(text), || "empty, or holds a control character".to_owned());
        }
        errors.rule("body", self.body.as_ref().is_none_or(|b| b.len() <= limits::MAX_PAYLOAD_BYTES), || {
            format!("too long; at most {} bytes", limits::MAX_PAYLOAD_BYTES)
        });
        errors.rule("max_redirects", self.max_redirects <= limits::MAX_REDIRECTS, || {
            format!("{} is too many; at most {}", self.max_redirects, limits::MAX_REDIRECTS)
        });
        errors.rule("max_body_bytes", self.max_body_bytes <= limits::MAX_READ_BYTES, || {
            format!("{} is too many; at most {}", self.max_body_bytes, limits::MAX_READ_BYTES)
        });
    }
}

impl TcpCheck {
    fn validate(&self, errors: &mut Errors) {
        errors.rule("send", self.send.len() <= limits::MAX_PAYLOAD_BYTES, || {
            format!("too long; at most {} bytes", limits::MAX_PAYLOAD_BYTES)
        });
        errors.rule("max_read_bytes", (1..=limits::MAX_READ_BYTES).contains(&self.max_read_bytes), || {
            format!("{} is not allowed; use 1 to {}", self.max_read_bytes, limits::MAX_READ_BYTES)
        });
        match &self.expect {
            None => {}
            Some(Expect::Contains(bytes)) => {
                errors.rule("expect", !bytes.is_empty() && bytes.len() <= limits::MAX_PAYLOAD_BYTES, || {
                    "empty or too long; leave it out when the connection alone should pass".to_owned()
                });
            }
            Some(Expect::Regex(pattern)) => {
                errors.rule("expect_regex", !pattern.is_empty() && pattern.len() <= limits::MAX_REGEX_BYTES, || {
                    format!("empty or too long; at most {} bytes", limits::MAX_REGEX_BYTES)
                });
            }
        }
    }
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

//! HTTP and HTTPS checks.

use super::{Assertion, Errors, TlsOptions, Value, clip, file_or_name, is_token, limits, printable};
use crate::evidence::words;
use crate::status_set::StatusSet;
use serde::{Deserialize, Serialize};
use std::fmt;

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
    pub headers: Vec<(String, Value)>,
    /// Request body.
    pub body: Option<String>,
    /// Statuses that pass.
    pub expected_status: StatusSet,
    /// Follow `Location`? Each hop is within the same timeout.
    pub follow_redirects: bool,
    /// Hops at most, when redirects are followed.
    pub max_redirects: u32,
    /// How TLS is spoken, to an HTTPS target.
    pub tls: TlsOptions,
    /// Bytes of the body read at most; the rest is not waited for.
    pub max_body_bytes: u32,
    /// Keep the connection for the next probe? Off by default, so that a failing connect is seen.
    pub reuse_connection: bool,
    /// The version of HTTP.
    pub version: HttpVersion,
    /// Statuses that, unless expected, mean: healthy, and lets in nobody who does not identify himself. May be empty.
    pub protected_status: StatusSet,
    /// Statuses that, unless expected, are worth a warning. May be empty.
    pub degraded_status: StatusSet,
    /// Further conditions on an answer with an expected status.
    pub assertions: Vec<Assertion>,
}

words!(
    /// The version of HTTP a check speaks.
    HttpVersion {
        /// HTTP/2 where a TLS server offers it (ALPN), HTTP/1.1 otherwise.
        Auto = "auto",
        /// HTTP/1.1 (RFC 9112).
        Http1 = "1.1",
        /// HTTP/2 (RFC 9113); without TLS by prior knowledge.
        Http2 = "2",
    }
);

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
            tls: TlsOptions::default(),
            max_body_bytes: 64 * 1024,
            reuse_connection: false,
            version: HttpVersion::Http1,
            protected_status: StatusSet::of(&[401, 403]),
            degraded_status: StatusSet::of(&[429]),
            assertions: Vec::new(),
        }
    }
}

impl HttpCheck {
    pub(super) fn validate(&self, errors: &mut Errors) {
        errors.rule("path", self.path.starts_with('/'), || format!("{:?} must begin with `/`", clip(&self.path)));
        errors.rule("path", printable(&self.path) && !self.path.contains(' '), || {
            "holds a space or a control character; write it percent-encoded".to_owned()
        });
        validate_headers("headers", &self.headers, errors);
        file_or_name(errors, "path", Some(&self.path));
        file_or_name(errors, "host", self.host.as_ref());
        self.tls.validate(errors);
        errors.rule("expected_status_codes", !self.expected_status.is_empty(), || {
            "at least one expected status is needed, such as 200".to_owned()
        });
        errors.rule("assert", self.assertions.len() <= limits::MAX_ASSERTIONS, || {
            format!("{} assertions are too many; at most {}", self.assertions.len(), limits::MAX_ASSERTIONS)
        });
        for assertion in self.assertions.iter().take(limits::MAX_ASSERTIONS) {
            assertion.validate(errors);
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

/// Names and values that are sent along.
pub(super) fn validate_headers(key: &'static str, headers: &[(String, Value)], errors: &mut Errors) {
    errors.rule(key, headers.len() <= limits::MAX_HEADERS, || {
        format!("{} headers are too many; at most {}", headers.len(), limits::MAX_HEADERS)
    });
    for (name, value) in headers {
        errors.rule(key, is_token(name) && name.len() <= limits::MAX_TEXT_BYTES, || {
            format!("{:?} is not a header name", clip(name))
        });
        match value {
            Value::Plain(text) => {
                let plain = text.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f));
                errors.rule(key, plain && text.len() <= limits::MAX_TEXT_BYTES, || {
                    format!("the value of {:?} holds a control character or is too long", clip(name))
                });
            }
            Value::Secret(secret) => secret.validate(key, errors),
            Value::Basic(auth) => auth.validate(errors),
        }
    }
}

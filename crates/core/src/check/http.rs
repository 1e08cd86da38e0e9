//! HTTP and HTTPS checks.

use super::{Assertion, Errors, Subject, TlsOptions, Value, clip, file_or_name, is_token, limits};
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
        if let Some(found) = unsendable(&self.path) {
            errors.rule("path", false, || {
                format!("holds {found:?}, which cannot be sent; write %{:02X} instead", u32::from(found))
            });
        }
        validate_headers("headers", &self.headers, errors);
        let said = self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let by_password = self.headers.iter().any(|(_, value)| matches!(value, Value::Basic(_)));
        errors.rule("basic_auth", !by_password || said.count() < 2, || {
            "cannot stand beside the header `Authorization`, which says the same; keep one of them".to_owned()
        });
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
        let on_body = |assertion: &Assertion| matches!(assertion.subject, Subject::Body | Subject::Json(_));
        errors.rule("method", self.method != Method::Head || !self.assertions.iter().any(on_body), || {
            "HEAD is answered without a body, at which an assertion looks; use GET, or look at headers alone".to_owned()
        });
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

/// A character that cannot stand in a request as it is. The path and the query allow different ones.
fn unsendable(target: &str) -> Option<char> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let refused = |c: &char, one_more: char| c.is_ascii_control() || [' ', '<', '>', one_more].contains(c);
    path.chars().find(|c| refused(c, '`')).or_else(|| query.chars().find(|c| refused(c, '"')))
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

#[cfg(test)]
mod tests {
    use super::super::{BasicAuth, Condition, Secret, SecretSource};
    use super::*;
    use crate::outcome::Grade;

    fn faults(check: &HttpCheck) -> Vec<(&'static str, String)> {
        let mut errors = Errors(Vec::new());
        check.validate(&mut errors);
        errors.0.into_iter().map(|error| (error.key, error.message)).collect()
    }

    #[test]
    fn a_path_that_cannot_be_sent_is_refused_with_what_to_write_instead() {
        let of = |path: &str| faults(&HttpCheck { path: path.to_owned(), ..HttpCheck::default() });
        for good in ["/", "/a%20b", "/{\"a\"}", "/caf\u{e9}?q=`", "/a?b=c?d"] {
            assert!(of(good).is_empty(), "{good}");
        }
        for (bad, instead) in
            [("/a b", "%20"), ("/<a", "%3C"), ("/a>", "%3E"), ("/`", "%60"), ("/a?b=\"", "%22"), ("/a?<", "%3C")]
        {
            let found = of(bad);
            assert!(matches!(&found[..], [("path", message)] if message.contains(instead)), "{bad}: {found:?}");
        }
    }

    #[test]
    fn only_one_authorization_is_sent() {
        let password = Secret { prefix: String::new(), source: SecretSource::File("pass".into()) };
        let basic = ("Authorization".to_owned(), Value::Basic(BasicAuth { user: "me".into(), password }));
        let of = |headers: Vec<(String, Value)>| faults(&HttpCheck { headers, ..HttpCheck::default() });
        let bearer = ("authorization".to_owned(), Value::from("Bearer x"));
        assert!(of(vec![basic.clone()]).is_empty() && of(vec![bearer.clone()]).is_empty());
        let found = of(vec![bearer, basic]);
        assert!(matches!(&found[..], [("basic_auth", message)] if message.contains("keep one of them")), "{found:?}");
    }

    #[test]
    fn what_looks_at_a_body_needs_one() {
        let of = |method, subject| {
            let condition = Condition::Contains("x".into());
            let assertion = Assertion { subject, condition, negated: false, otherwise: Grade::Fail };
            let found = faults(&HttpCheck { method, assertions: vec![assertion], ..HttpCheck::default() });
            found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(of(Method::Head, Subject::Body), ["method"]);
        assert_eq!(of(Method::Head, Subject::Json("$.a".into())), ["method"]);
        assert!(of(Method::Head, Subject::Header("X-A".into())).is_empty());
        assert!(of(Method::Get, Subject::Body).is_empty());
    }
}

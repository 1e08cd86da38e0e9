//! From a check to one HTTP request: where it goes and what it says (RFC 9110, RFC 9112).

use crate::address::Authority;
use crate::failure::{Step, unprepared};
use crate::target::Target;
use crate::tls::TlsSettings;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Uri};
use quorate_core::{HttpCheck, Method, Scheme};

/// What the probes call themselves.
const USER_AGENT: &str = concat!("Quorate/", env!("CARGO_PKG_VERSION"));
const ACCEPT: &str = "application/json, text/plain, */*";
/// Characters of an instance's id that the far end is told.
const INSTANCE_CHARS: usize = 12;

/// Where a connection leads, and how it is secured: connections to equal endpoints are interchangeable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    pub(crate) authority: Authority,
    /// `None`: plain text.
    pub(crate) tls: Option<TlsSettings>,
}

/// One request of a probe: the first, or one a redirect asked for.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) method: Method,
    /// Is the check's body sent along?
    pub(crate) with_body: bool,
    /// Is this the place the check was written for? Elsewhere it sends no credentials and shows no client certificate.
    pub(crate) at_home: bool,
}

impl Hop {
    /// The request the check asks for.
    pub(crate) fn first(authority: Authority, check: &HttpCheck) -> Self {
        Self {
            scheme: check.scheme,
            authority,
            path: check.path.clone(),
            method: check.method,
            with_body: check.body.is_some(),
            at_home: true,
        }
    }

    /// Where it goes. At home the certificate must be for `server_name`, else for `host`, else for the address; elsewhere always for
    /// the host that the redirect names.
    pub(crate) fn endpoint(&self, check: &HttpCheck) -> Endpoint {
        let tls = match self.scheme {
            Scheme::Http => None,
            Scheme::Https => {
                let home = |text: &Option<String>| text.clone().filter(|_| self.at_home);
                let host = home(&check.host).and_then(|host| Authority::parse(&host, Some(443))).map(|a| a.host);
                Some(TlsSettings {
                    verify: check.verify_tls,
                    ca_file: check.ca_file.clone(),
                    client_cert_file: home(&check.client_cert_file),
                    server_name: home(&check.server_name).or(host).unwrap_or_else(|| self.authority.host.clone()),
                })
            }
        };
        Endpoint { authority: self.authority.clone(), tls }
    }

    /// The request itself. Its target is in origin form (RFC 9112, section 3.2.1).
    pub(crate) fn request(&self, target: &Target, check: &HttpCheck) -> Step<Request<Full<Bytes>>> {
        let uri: Uri = self.path.parse().map_err(|error| unprepared(format!("the path cannot be sent: {error}")))?;
        if !self.path.starts_with('/') {
            return Err(unprepared("the path must begin with `/`"));
        }
        let body = check.body.as_ref().filter(|_| self.with_body);
        let body = body.map_or_else(Bytes::new, |text| Bytes::copy_from_slice(text.as_bytes()));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = match self.method {
            Method::Get => hyper::Method::GET,
            Method::Post => hyper::Method::POST,
            Method::Put => hyper::Method::PUT,
            Method::Head => hyper::Method::HEAD,
        };
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers(target, check)?;
        Ok(request)
    }

    fn headers(&self, target: &Target, check: &HttpCheck) -> Step<HeaderMap> {
        let host = check.host.clone().filter(|_| self.at_home);
        let host = host.unwrap_or_else(|| self.authority.host_header(self.scheme));
        let instance: String = target.instance.as_str().chars().take(INSTANCE_CHARS).collect();
        let observer = target.observer.to_string();
        let built_in = [
            ("host", host.as_str()),
            ("user-agent", USER_AGENT),
            ("accept", ACCEPT),
            ("x-health-check", "true"),
            ("x-instance-id", &instance),
            ("x-app-name", target.service.as_str()),
            ("x-observer", &observer),
            ("connection", if check.reuse_connection { "keep-alive" } else { "close" }),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in built_in {
            headers.insert(HeaderName::from_static(name), value_of(name, value)?);
        }
        let own: Result<Vec<_>, _> = check.headers.iter().map(|(name, value)| parsed(name, value)).collect();
        let own: Vec<_> = own?.into_iter().filter(|(name, _)| self.may_send(name)).collect();
        // The user's header replaces ours; one that the user gives twice is sent twice.
        for (name, _) in &own {
            headers.remove(name);
        }
        for (name, value) in own {
            headers.append(name, value);
        }
        Ok(headers)
    }

    /// Framing is not the user's to decide, credentials stay at home, and what describes a body goes with it.
    fn may_send(&self, name: &HeaderName) -> bool {
        let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        let home_only = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION, header::HOST];
        let of_body = [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE];
        !framing.contains(name)
            && (self.at_home || !home_only.contains(name))
            && (self.with_body || !of_body.contains(name) || self.at_home)
    }
}

fn parsed(name: &str, value: &str) -> Step<(HeaderName, HeaderValue)> {
    let name: HeaderName = name.parse().map_err(|_| unprepared(format!("{name:?} is not a header name")))?;
    let value = value_of(name.as_str(), value)?;
    Ok((name, value))
}

fn value_of(name: &str, value: &str) -> Step<HeaderValue> {
    HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| unprepared(format!("the value of the header {name} cannot be sent")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn away_from_home_no_client_certificate_is_shown_and_the_hosts_own_name_is_expected() {
        let check = HttpCheck {
            scheme: Scheme::Https,
            host: Some("www.example".into()),
            client_cert_file: Some("client.pem".into()),
            ca_file: Some("ca.pem".into()),
            ..HttpCheck::default()
        };
        let home = Hop::first(Authority { host: "web".into(), port: 443 }, &check);
        let away = Hop { at_home: false, ..home.clone() };
        let shown = |hop: &Hop| {
            let tls = hop.endpoint(&check).tls.unwrap();
            (tls.client_cert_file, tls.ca_file, tls.server_name)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(shown(&home), (text("client.pem"), text("ca.pem"), "www.example".into()));
        assert_eq!(shown(&away), (None, text("ca.pem"), "web".into()));
    }
}

//! From a check to one HTTP request: where it goes and what it says (RFC 9110, RFC 9112).

use crate::address::Authority;
use crate::failure::{Step, unprepared};
use crate::own::Own;
use crate::target::Target;
use crate::tls::TlsSettings;
use bytes::Bytes;
use data_encoding::BASE64;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Uri};
use quorate_core::check::Value;
use quorate_core::{HttpCheck, HttpVersion, Method, Scheme};

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
    pub(crate) version: HttpVersion,
}

/// A header of the check, complete.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) name: HeaderName,
    pub(crate) value: HeaderValue,
    /// Is it meant for the place the check was written for, and for no other?
    home_only: bool,
}

/// The headers of a check, with what the observer adds to them.
pub(crate) async fn headers(own: &Own, check: &HttpCheck) -> Step<Vec<Header>> {
    values(own, &check.headers).await
}

/// Names with their values, the secret ones read here.
pub(crate) async fn values(own: &Own, all: &[(String, Value)]) -> Step<Vec<Header>> {
    let mut headers = Vec::with_capacity(all.len());
    for (name, value) in all {
        headers.push(match value {
            Value::Plain(text) => header(name, text, false)?,
            Value::Secret(secret) => header(name, &own.reveal(secret).await?, true)?,
            Value::Basic(auth) => {
                let pair = format!("{}:{}", auth.user, own.reveal(&auth.password).await?);
                header(name, &format!("Basic {}", BASE64.encode(pair.as_bytes())), true)?
            }
        });
    }
    Ok(headers)
}

fn header(name: &str, value: &str, secret: bool) -> Step<Header> {
    let (name, mut value) = parsed(name, value)?;
    value.set_sensitive(secret);
    let guarded = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION, header::HOST];
    let home_only = secret || guarded.contains(&name);
    Ok(Header { name, value, home_only })
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
                let server_name = home(&check.tls.server_name).or(host).unwrap_or_else(|| self.authority.host.clone());
                let alpn: &[&str] = match check.version {
                    HttpVersion::Auto => &["h2", "http/1.1"],
                    HttpVersion::Http1 => &["http/1.1"],
                    HttpVersion::Http2 => &["h2"],
                };
                let mut tls = TlsSettings::new(&check.tls, server_name, alpn);
                if !self.at_home {
                    tls.client_cert_file = None;
                }
                Some(tls)
            }
        };
        Endpoint { authority: self.authority.clone(), tls, version: check.version }
    }

    /// The request itself. Its target is in origin form (RFC 9112, section 3.2.1).
    pub(crate) fn request(&self, target: &Target, check: &HttpCheck, own: &[Header]) -> Step<Request<Full<Bytes>>> {
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
        *request.headers_mut() = self.headers(target, check, own)?;
        Ok(request)
    }

    fn headers(&self, target: &Target, check: &HttpCheck, own: &[Header]) -> Step<HeaderMap> {
        let host = check.host.clone().filter(|_| self.at_home);
        let host = host.unwrap_or_else(|| self.authority.host_header(self.scheme));
        let instance: String = target.instance.as_str().chars().take(INSTANCE_CHARS).collect();
        let observer = target.observer.to_string();
        let connection = if check.reuse_connection { "keep-alive" } else { "close" };
        let fixed = HeaderValue::from_static;
        let built_in = [
            ("host", value_of("host", &host)?),
            ("user-agent", fixed(USER_AGENT)),
            ("accept", fixed(ACCEPT)),
            ("x-health-check", fixed("true")),
            ("x-instance-id", value_of("x-instance-id", &instance)?),
            ("x-app-name", value_of("x-app-name", target.service.as_str())?),
            ("x-observer", value_of("x-observer", &observer)?),
            ("connection", fixed(connection)),
        ];
        let mut headers = HeaderMap::with_capacity(built_in.len() + own.len());
        for (name, value) in built_in {
            headers.insert(HeaderName::from_static(name), value);
        }
        let own: Vec<_> = own.iter().filter(|header| self.may_send(header)).collect();
        // The user's header replaces ours; one that the user gives twice is sent twice.
        for header in &own {
            headers.remove(&header.name);
        }
        for header in own {
            headers.append(header.name.clone(), header.value.clone());
        }
        Ok(headers)
    }

    /// Framing is not the user's to decide, credentials stay at home, and what describes a body goes with it.
    fn may_send(&self, header: &Header) -> bool {
        let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        let of_body = [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE];
        !framing.contains(&header.name)
            && (self.at_home || !header.home_only)
            && (self.with_body || !of_body.contains(&header.name) || self.at_home)
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
    use quorate_core::TlsOptions;

    #[test]
    fn away_from_home_no_client_certificate_is_shown_and_the_hosts_own_name_is_expected() {
        let check = HttpCheck {
            scheme: Scheme::Https,
            host: Some("www.example".into()),
            tls: TlsOptions {
                client_cert_file: Some("client.pem".into()),
                ca_file: Some("ca.pem".into()),
                ..TlsOptions::default()
            },
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

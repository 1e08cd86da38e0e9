//! Settings of HTTP and HTTPS checks.

use super::super::keys::ASSERT;
use super::super::reader::{Codes, Faults, Headers, Section};
use super::{assertion, choice, set, set_some, tls};
use quorate_core::check::{BasicAuth, Value};
use quorate_core::{HttpCheck, HttpVersion, Method, Scheme, StatusSet};

/// Fields that say how long a request is: not a check's to decide.
const FRAMING: [&str; 2] = ["Content-Length", "Transfer-Encoding"];

/// The name by which a server is asked for.
pub(super) fn host(section: &Section<'_>, faults: &mut Faults) -> Option<String> {
    let host = section.take::<String>("host", faults)?;
    if !host.value.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!("{:?} holds what no host's name can; write HOST or HOST:PORT", host.value);
        faults.add(host.at, section.key("host"), message);
    }
    Some(host.value)
}

/// Reads them.
pub(super) fn read(section: &Section<'_>, scheme: Scheme, faults: &mut Faults) -> HttpCheck {
    let mut http = HttpCheck { scheme, ..HttpCheck::default() };
    if let Some(method) = section.take::<String>("method", faults) {
        match method.value.to_uppercase().as_str() {
            "GET" => http.method = Method::Get,
            "POST" => http.method = Method::Post,
            "PUT" => http.method = Method::Put,
            "HEAD" => http.method = Method::Head,
            _ => {
                let message = format!("{:?} is not allowed; use GET, POST, PUT or HEAD", method.value);
                faults.add(method.at, section.key("method"), message);
            }
        }
    }
    for (key, target) in [
        ("expected_status_codes", &mut http.expected_status),
        ("protected_status_codes", &mut http.protected_status),
        ("degraded_status_codes", &mut http.degraded_status),
    ] {
        let Some(items) = section.take::<Codes>(key, faults) else { continue };
        let wrong = items.value.0.iter().filter_map(|item| Some((item.at, StatusSet::parse([&*item.value]).err()?)));
        let wrong: Vec<(usize, String)> = wrong.collect();
        if wrong.is_empty() {
            match StatusSet::parse(items.value.0.iter().map(|item| item.value.as_str())) {
                Ok(set) => *target = set,
                Err(message) => faults.add(items.at, section.key(key), message),
            }
        }
        wrong.into_iter().for_each(|(at, message)| faults.add(at, section.key(key), message));
    }
    set(&mut http.version, choice(section, "http_version", HttpVersion::ALL, HttpVersion::as_str, faults));
    for assertion in section.tables("assert", &ASSERT, faults) {
        http.assertions.extend(assertion::read(&assertion, faults));
    }
    if let Some(headers) = section.take::<Headers>("headers", faults) {
        for (name, _) in
            headers.value.0.iter().filter(|(name, _)| FRAMING.iter().any(|of| of.eq_ignore_ascii_case(name)))
        {
            let message = format!("{name:?} follows from the body and is written by the probe itself; take it out");
            faults.add(headers.at, section.key("headers"), message);
        }
        http.headers = headers.value.0;
    }
    if let Some(auth) = section.take::<BasicAuth>("basic_auth", faults) {
        http.headers.push(("Authorization".to_owned(), Value::Basic(auth.value)));
    }
    set(&mut http.path, section.take("path", faults));
    http.host = host(section, faults);
    set_some(&mut http.body, section.take("body", faults));
    set(&mut http.follow_redirects, section.take("follow_redirects", faults));
    set(&mut http.max_redirects, section.take("max_redirects", faults));
    tls::read(section, &mut http.tls, faults);
    set(&mut http.max_body_bytes, section.take("max_body_bytes", faults));
    set(&mut http.reuse_connection, section.take("reuse_connection", faults));
    http
}

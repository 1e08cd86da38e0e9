//! Redirects: where `Location` leads and what the next request looks like (RFC 9110, section 15.4; RFC 3986, section 5).

use crate::address::{Authority, default_port};
use crate::failure::Step;
use crate::request::Hop;
use hyper::header::LOCATION;
use hyper::{HeaderMap, StatusCode, Uri};
use quorate_core::{Cause, Method, Phase, ProbeFailure, Scheme};
use std::fmt::Write;

/// The hop an answer sends us to; `None` when it is no redirect. `home` is the check's own place.
pub(crate) fn next(home: &Hop, from: &Hop, status: StatusCode, headers: &HeaderMap) -> Step<Option<Hop>> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = headers.get(LOCATION) else { return Ok(None) };
    let refused = |why: &str| ProbeFailure::new(Phase::Assert, Cause::Protocol, format!("Invalid redirect: {why}"));
    let location = encoded(location.as_bytes().trim_ascii());
    let (scheme, authority, path) = resolve(from, &location).ok_or_else(|| refused(&location))?;
    // What no request can be made of is the far end's fault, not this host's.
    let whole = Uri::builder().scheme(scheme.as_str()).authority(authority.host_header(scheme).as_str());
    whole.path_and_query(path.as_str()).build().map_err(|error| refused(&error.to_string()))?;
    let (method, with_body) = match (status.as_u16(), from.method) {
        (303, Method::Post | Method::Put) | (301 | 302, Method::Post) => (Method::Get, false),
        (_, method) => (method, from.with_body),
    };
    let at_home = is_home(home, scheme, &authority);
    Ok(Some(Hop { scheme, authority, path, method, with_body, at_home }))
}

/// Percent-encodes what stands in no URI (RFC 3986, section 2); what is encoded already stays as it is.
fn encoded(location: &[u8]) -> String {
    let mut text = String::with_capacity(location.len());
    for byte in location {
        if byte.is_ascii_graphic() && !b"\"<>`{}|\\^".contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Credentials may go to the same host, over the same scheme and port or over a move from plain text to TLS; nowhere else.
fn is_home(home: &Hop, scheme: Scheme, authority: &Authority) -> bool {
    let same = scheme == home.scheme && authority.port == home.authority.port;
    let secured = home.scheme == Scheme::Http && scheme == Scheme::Https;
    authority.host == home.authority.host && (same || secured)
}

/// Resolves a reference against the request it answers.
fn resolve(from: &Hop, location: &str) -> Option<(Scheme, Authority, String)> {
    let location = location.split('#').next().unwrap_or_default().trim();
    let here = |path: String| Some((from.scheme, from.authority.clone(), path));
    if let Some((scheme, rest)) = absolute(location)? {
        return elsewhere(scheme, rest);
    }
    if let Some(rest) = location.strip_prefix("//") {
        return elsewhere(from.scheme, rest);
    }
    let base = from.path.split('?').next().unwrap_or("/");
    match location.bytes().next() {
        None => here(from.path.clone()),
        Some(b'/') => here(clean(location)),
        Some(b'?') => here(format!("{base}{location}")),
        Some(_) => {
            let folder = base.rfind('/').and_then(|end| base.get(..=end)).unwrap_or("/");
            here(clean(&format!("{folder}{location}")))
        }
    }
}

/// Splits `http://rest`. The outer `None`: another scheme, which is not followed. The inner: a relative reference.
#[allow(clippy::option_option)]
fn absolute(location: &str) -> Option<Option<(Scheme, &str)>> {
    let Some((scheme, rest)) = location.split_once(':') else { return Some(None) };
    let first = scheme.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    if !first || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) {
        return Some(None);
    }
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    Some(Some((scheme, rest.strip_prefix("//")?)))
}

fn elsewhere(scheme: Scheme, rest: &str) -> Option<(Scheme, Authority, String)> {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // A name and password in the location are not used.
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    // No name has an encoded part; in brackets it is the zone of an address, which means nothing elsewhere.
    if authority.contains('%') {
        return None;
    }
    let authority = Authority::parse(authority, Some(default_port(scheme)))?;
    let path = if path.starts_with('/') { clean(path) } else { format!("/{path}") };
    Some((scheme, authority, path))
}

/// Removes `.` and `..` (RFC 3986, section 5.2.4); the query stays as it is.
fn clean(path_and_query: &str) -> String {
    let (path, query) = match path_and_query.find('?') {
        Some(at) => path_and_query.split_at(at),
        None => (path_and_query, ""),
    };
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (i, segment) in segments.iter().enumerate() {
        let last = i + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(url_path: &str) -> Hop {
        let authority = Authority { host: "web".into(), port: 8000 };
        let (scheme, path) = (Scheme::Http, url_path.to_owned());
        Hop { scheme, authority, path, method: Method::Get, with_body: false, at_home: true }
    }

    #[test]
    fn locations_are_resolved() {
        let table = [
            ("/x", "http web:8000 /x"),
            ("x", "http web:8000 /a/x"),
            ("../x?y=/../z", "http web:8000 /x?y=/../z"),
            ("./", "http web:8000 /a/"),
            ("../../..", "http web:8000 /"),
            ("?q=1", "http web:8000 /a/b?q=1"),
            ("", "http web:8000 /a/b?c"),
            ("#f", "http web:8000 /a/b?c"),
            ("//other/p#f", "http other:80 /p"),
            ("https://other", "https other:443 /"),
            ("HTTP://u:p@Other:81?q", "http other:81 /?q"),
            ("http://[::1]:81/./x", "http [::1]:81 /x"),
            ("x:y", "none"),
            ("ftp://other/", "none"),
            ("http:/x", "none"),
            ("http://other:99999/", "none"),
            ("http:///x", "none"),
        ];
        for (location, expected) in table {
            let found = resolve(&hop("/a/b?c"), location).map_or("none".to_owned(), |(scheme, at, path)| {
                let host = if at.host.contains(':') { format!("[{}]", at.host) } else { at.host };
                format!("{} {host}:{} {path}", scheme.as_str(), at.port)
            });
            assert_eq!(found, expected, "{location:?}");
        }
    }

    #[test]
    fn what_stands_in_no_uri_is_encoded() {
        let led = |location: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, hyper::header::HeaderValue::from_bytes(location).unwrap());
            let next = next(&hop("/"), &hop("/a/b"), StatusCode::FOUND, &headers);
            next.map(|hop| hop.unwrap().path).map_err(|failure| (failure.phase, failure.cause))
        };
        let table: [(&[u8], &str); 6] = [
            (b"/x y", "/x%20y"),
            (b" /x ", "/x"),
            (b"x?q=<\"y\">", "/a/x?q=%3C%22y%22%3E"),
            (b"/{x}|\\^`", "/%7Bx%7D%7C%5C%5E%60"),
            (b"/caf\xc3\xa9", "/caf%C3%A9"),
            (b"http://other/%20?[x]'", "/%20?[x]'"),
        ];
        for (location, path) in table {
            assert_eq!(led(location), Ok(path.to_owned()), "{}", location.escape_ascii());
        }
        let long = format!("/{}", " x".repeat(20_000));
        for bad in [&b"http://b\xc3\xbccher/"[..], b"http://a b/", b"http://[fe80::1%25eth0]/", long.as_bytes()] {
            assert_eq!(led(bad), Err((Phase::Assert, Cause::Protocol)), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn only_the_same_place_or_its_secured_twin_is_home() {
        let home = hop("/");
        let at = |host: &str, port| Authority { host: host.into(), port };
        assert!(is_home(&home, Scheme::Http, &at("web", 8000)));
        assert!(is_home(&home, Scheme::Https, &at("web", 443)));
        assert!(!is_home(&home, Scheme::Http, &at("web", 8001)));
        assert!(!is_home(&home, Scheme::Http, &at("other", 8000)));
        let secured = Hop { scheme: Scheme::Https, ..hop("/") };
        assert!(!is_home(&secured, Scheme::Http, &at("web", 8000)));
    }

    proptest::proptest! {
        #[test]
        fn no_location_makes_it_panic(location in "(https?:)?//?.*|.*", path in "/.*") {
            let _ = resolve(&hop(&path), &location);
        }
    }
}

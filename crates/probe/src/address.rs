//! A host and a port, as they stand in a target's address, a URL or a `Host` header (RFC 3986, section 3.2).

use quorate_core::Scheme;
use std::net::{IpAddr, Ipv6Addr};

/// A host, without brackets and in lower case, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Authority {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Authority {
    /// Reads `host:port`; `default_port` stands in for a missing port. An IPv6 address must be in brackets.
    pub(crate) fn parse(text: &str, default_port: Option<u16>) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']')?;
                let address = host.split_once('%').map_or(host, |(address, _zone)| address);
                address.parse::<Ipv6Addr>().ok()?;
                match after {
                    "" => (host, None),
                    _ => (host, Some(after.strip_prefix(':')?)),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            None | Some("") => default_port?,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        let fine = host.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@\\[]\"<>".contains(&b));
        (fine && !host.is_empty() && port != 0).then(|| Self { host: host.to_ascii_lowercase(), port })
    }

    /// The address itself, when the host is one and not a name.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// As a `Host` header: the port is left out when it is the scheme's own (RFC 9110, sections 4.2 and 7.2).
    pub(crate) fn host_header(&self, scheme: Scheme) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default_port(scheme) { host } else { format!("{host}:{}", self.port) }
    }
}

/// 80 or 443.
pub(crate) fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_read() {
        let read = |text| Authority::parse(text, None).map(|a| (a.host, a.port));
        assert_eq!(read("Web.example:8000"), Some(("web.example".into(), 8000)));
        assert_eq!(read("10.0.0.1:80"), Some(("10.0.0.1".into(), 80)));
        assert_eq!(read("[::1]:80"), Some(("::1".into(), 80)));
        for bad in
            ["", ":80", "web", "web:", "web:0", "web:65536", "web:+1", "::1:80", "[::1", "[x]:1", "a b:1", "u@h:1"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(Authority::parse("web", Some(80)).map(|a| a.port), Some(80));
    }

    #[test]
    fn the_schemes_own_port_is_left_out_of_the_host_header() {
        let header = |text, scheme| Authority::parse(text, None).unwrap().host_header(scheme);
        assert_eq!(header("web:80", Scheme::Http), "web");
        assert_eq!(header("web:80", Scheme::Https), "web:80");
        assert_eq!(header("[::1]:443", Scheme::Https), "[::1]");
        assert_eq!(header("[::1]:8443", Scheme::Https), "[::1]:8443");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = Authority::parse(&text, Some(80));
        }
    }
}

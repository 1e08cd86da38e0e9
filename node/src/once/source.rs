//! Which check is meant: one of the configuration file, or one that a URL describes.

use crate::config;
use crate::spelling::nearest;
use crate::usage::usage;
use quorate_core::check::{DnsCheck, GrpcCheck, IcmpCheck, PostgresCheck, RedisCheck, TlsCheck, TlsOptions, UdpCheck};
use quorate_core::{Check, CheckKind, HttpCheck, InstanceId, Registration, Scheme, ServiceName, TcpCheck, quorum};
use quorate_probe::Own;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// The check that `name` means, and what of this host it may use.
pub fn find(name: &str, file: Option<&Path>) -> anyhow::Result<(Registration, Own)> {
    if name.contains("://") {
        return of_url(name).map(|made| (made, Own::default())).map_err(usage);
    }
    let Some(file) = file else {
        let message = format!(
            "{name:?} is no target such as http://127.0.0.1:8000/health; name the file it stands in with --config"
        );
        return Err(usage(message));
    };
    let settings = config::load(Some(file)).map_err(|errors| usage(errors.to_string()))?;
    let own = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let all: Vec<Registration> = settings.services.iter().flat_map(|service| service.registrations(own)).collect();
    let named = all.iter().find(|known| known.instance.as_str() == name);
    let of_service: Vec<_> = all.iter().filter(|known| known.service.as_str() == name).collect();
    match (named, of_service.as_slice()) {
        (Some(found), _) => Ok((found.clone(), settings.own)),
        (None, [found]) => Ok(((*found).clone(), settings.own)),
        (None, []) => {
            let names = all.iter().flat_map(|known| [known.instance.as_str(), known.service.as_str()]);
            let near = nearest(name, names, 1).first().map(|near| format!("; did you mean {near}?"));
            Err(usage(format!("no service and no instance {name:?} in {}{}", file.display(), near.unwrap_or_default())))
        }
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|known| known.instance.as_str()).collect();
            Err(usage(format!("{name} has several instances; name one: {}", names.join(", "))))
        }
    }
}

/// `scheme://host[:port][/path]` with the defaults of that protocol's check.
fn of_url(url: &str) -> Result<Registration, String> {
    let (scheme, rest) = url.split_once("://").ok_or("a target is written as SCHEME://HOST:PORT")?;
    // A query may follow the place at once (RFC 3986, section 3).
    let (place, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let http = |scheme| {
        let slash = if path.starts_with('/') { "" } else { "/" };
        HttpCheck { scheme, path: format!("{slash}{path}"), ..HttpCheck::default() }
    };
    let named = path.trim_start_matches('/').to_owned();
    let (kind, port, takes_path) = match scheme {
        "http" => (CheckKind::Http(http(Scheme::Http)), 80, true),
        "https" => (CheckKind::Http(http(Scheme::Https)), 443, true),
        "tcp" => (CheckKind::Tcp(TcpCheck::default()), 0, false),
        "udp" => (CheckKind::Udp(UdpCheck::default()), 0, false),
        "tls" => (CheckKind::Tls(TlsCheck::default()), 443, false),
        "redis" => (CheckKind::Redis(RedisCheck::default()), 6379, false),
        "postgres" => (CheckKind::Postgres(PostgresCheck::default()), 5432, false),
        "grpc" => (CheckKind::Grpc(GrpcCheck { service: named, ..GrpcCheck::default() }), 50051, true),
        "grpcs" => {
            let tls = Some(TlsOptions::default());
            (CheckKind::Grpc(GrpcCheck { service: named, tls, ..GrpcCheck::default() }), 443, true)
        }
        "icmp" => (CheckKind::Icmp(IcmpCheck::default()), 7, false),
        "dns" if named.is_empty() => return Err("write dns://SERVER/NAME, with the name to ask for".to_owned()),
        "dns" => (CheckKind::Dns(DnsCheck { name: named, ..DnsCheck::default() }), 53, true),
        other => {
            let known = ["http", "https", "tcp", "udp", "tls", "redis", "postgres", "grpc", "grpcs", "icmp", "dns"];
            let near = nearest(other, known, 1).first().map(|near| format!("did you mean {near}://?"));
            return Err(format!(
                "{other}:// is not known; {}",
                near.unwrap_or_else(|| format!("use one of {}", known.join(", ")))
            ));
        }
    };
    if !takes_path && !path.trim_matches('/').is_empty() {
        return Err(format!("{scheme}:// takes no path"));
    }
    registration(Check { kind, ..Check::default() }, &with_port(place, port))
}

/// The place with the port it names, or this one.
fn with_port(place: &str, port: u16) -> String {
    let inner = place.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(place);
    if inner.parse::<Ipv6Addr>().is_ok() {
        return format!("[{inner}]:{port}");
    }
    if place.contains(':') { place.to_owned() } else { format!("{place}:{port}") }
}

fn registration(check: Check, address: &str) -> Result<Registration, String> {
    let registration = Registration {
        instance: InstanceId::new(format!("target@{address}")).map_err(|error| error.to_string())?,
        service: ServiceName::new("target").map_err(|error| error.to_string())?,
        address: address.to_owned(),
        check: check.into(),
        observers: quorum::DEFAULT_OBSERVERS,
        placement: Default::default(),
    };
    let errors: Vec<String> = registration.validate().iter().map(ToString::to_string).collect();
    if errors.is_empty() { Ok(registration) } else { Err(errors.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_make_checks() {
        let made = |url: &str| of_url(url).map(|r| (r.check.kind.name(), r.address));
        let is = |name: &'static str, address: &str| Ok((name, address.to_owned()));
        assert_eq!(made("http://web/health?x=1"), is("http", "web:80"));
        assert_eq!(made("https://[::1]/"), is("https", "[::1]:443"));
        assert_eq!(made("tcp://127.0.0.1:22"), is("tcp", "127.0.0.1:22"));
        assert_eq!(made("dns://10.0.0.1/web.test"), is("dns", "10.0.0.1:53"));
        assert_eq!(made("icmp://::1"), is("icmp", "[::1]:7"));
        assert_eq!(made("grpcs://shop:8443/web.Shop"), is("grpc", "shop:8443"));
        let CheckKind::Http(http) = of_url("http://web/health?x=1").unwrap().check.kind.clone() else { panic!() };
        assert_eq!(http.path, "/health?x=1");
        for (url, path) in [("http://web", "/"), ("http://web?x=/1", "/?x=/1"), ("http://[::1]:81?x", "/?x")] {
            let CheckKind::Http(http) = of_url(url).unwrap().check.kind.clone() else { panic!() };
            assert_eq!(http.path, path, "{url}");
        }
        for bad in [
            "tcp://web",
            "tcp://web:1?x",
            "redis://a/b",
            "htp://web",
            "dns://a",
            "http://",
            "http://web:0/",
            "http://a b/",
        ] {
            assert!(of_url(bad).is_err(), "{bad}");
        }
        assert!(of_url("htp://web").unwrap_err().contains("did you mean http://?"));
    }

    #[test]
    fn names_are_those_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("q.toml");
        let text = "[[service]]\nname = \"web\"\n[[service.instance]]\n[[service]]\nname = \"db\"\ncheck = { protocol = \"tcp\" }\n\
            instance = [{ id = \"db-1\", address = \"a:1\" }, { address = \"b:2\" }]\n";
        std::fs::write(&file, text).unwrap();
        let address =
            |name: &str| find(name, Some(&file)).map(|found| found.0.address).map_err(|error| error.to_string());
        assert_eq!(address("web").as_deref(), Ok("127.0.0.1:8000"));
        assert_eq!(address("db-1").as_deref(), Ok("a:1"));
        assert_eq!(address("db@b:2").as_deref(), Ok("b:2"));
        assert!(address("db").unwrap_err().contains("db-1, db@b:2"));
        assert!(address("wbe").unwrap_err().contains("did you mean web?"));
        assert!(find("web", None).is_err());
    }
}

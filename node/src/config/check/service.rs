//! Settings of checks that speak one service's own protocol: Redis, PostgreSQL, DNS, gRPC, ICMP.

use super::super::reader::{Codes, Faults, Headers, Located, Section};
use super::exchange::one_of;
use super::{choice, http, set, set_some, tls};
use quorate_core::Expect;
use quorate_core::check::limits;
use quorate_core::check::{DnsCheck, DnsTransport, GrpcCheck, IcmpCheck, PostgresCheck, RecordType, RedisCheck};

/// Response codes by name (RFC 6895).
const RCODES: [(&str, u16); 6] =
    [("NOERROR", 0), ("FORMERR", 1), ("SERVFAIL", 2), ("NXDOMAIN", 3), ("NOTIMP", 4), ("REFUSED", 5)];

/// Reads them.
pub(super) fn redis(section: &Section<'_>, faults: &mut Faults) -> RedisCheck {
    let mut redis = RedisCheck { password: None, tls: tls::optional(section, false, faults) };
    set_some(&mut redis.password, section.take("password", faults));
    redis
}

/// Reads them.
pub(super) fn postgres(section: &Section<'_>, faults: &mut Faults) -> PostgresCheck {
    let mut postgres = PostgresCheck { tls: tls::optional(section, false, faults), ..PostgresCheck::default() };
    set(&mut postgres.user, section.take("user", faults));
    set(&mut postgres.database, section.take("database", faults));
    postgres
}

/// Reads them.
pub(super) fn grpc(section: &Section<'_>, faults: &mut Faults) -> GrpcCheck {
    let mut grpc = GrpcCheck { tls: tls::optional(section, false, faults), ..GrpcCheck::default() };
    set(&mut grpc.service, section.take("grpc_service", faults));
    grpc.host = http::host(section, faults);
    if let Some(metadata) = section.take::<Headers>("metadata", faults) {
        grpc.metadata = metadata.value.0;
    }
    grpc
}

/// Reads them.
pub(super) fn icmp(section: &Section<'_>, faults: &mut Faults) -> IcmpCheck {
    let mut icmp = IcmpCheck::default();
    if let Some(bytes) = section.take::<u32>("payload_bytes", faults) {
        match u16::try_from(bytes.value) {
            Ok(count) => icmp.payload_bytes = count,
            Err(_) => {
                let message = format!("{} is not allowed; use 16 to {}", bytes.value, limits::MAX_ECHO_BYTES);
                faults.add(bytes.at, section.key("payload_bytes"), message);
            }
        }
    }
    icmp
}

/// Reads them.
pub(super) fn dns(section: &Section<'_>, faults: &mut Faults) -> DnsCheck {
    let mut dns = DnsCheck::default();
    if !section.has("query_name") {
        faults.add(
            section.at,
            section.key("query_name"),
            "is missing; write the name to ask for, such as \"web.internal\"",
        );
    }
    set(&mut dns.name, section.take("query_name", faults));
    set(&mut dns.record_type, choice(section, "query_type", RecordType::ALL, RecordType::as_str, faults));
    set(&mut dns.transport, choice(section, "transport", DnsTransport::ALL, DnsTransport::as_str, faults));
    if let Some(items) = section.take::<Codes>("rcodes", faults) {
        let code = |item: &Located<String>| {
            let item = &item.value;
            let named = RCODES.iter().find(|(name, _)| name.eq_ignore_ascii_case(item)).map(|(_, code)| *code);
            named.or_else(|| item.parse().ok().filter(|code| *code < 4096))
        };
        for item in items.value.0.iter().filter(|item| code(item).is_none()) {
            let message = format!(
                "{:?} is not a response code; use NOERROR, SERVFAIL, NXDOMAIN, REFUSED or a number",
                item.value
            );
            faults.add(item.at, section.key("rcodes"), message);
        }
        let codes: Vec<u16> = items.value.0.iter().filter_map(code).collect();
        // If none can be read, that has been told.
        if !codes.is_empty() || items.value.0.is_empty() {
            dns.rcodes = codes;
        }
    }
    one_of(section, "expected_answer", "expected_answer_regex", faults);
    if let Some(text) = section.take::<String>("expected_answer", faults) {
        dns.expect = Some(Expect::Contains(text.value.into_bytes()));
    }
    if let Some(pattern) = section.take::<String>("expected_answer_regex", faults) {
        dns.expect = Some(Expect::Regex(pattern.value));
    }
    dns
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_authority_that_cannot_be_sent_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("q.toml");
        let told = |host: &str| {
            let check = format!("{{ protocol = \"grpc\", host = \"{host}\" }}");
            let text =
                format!("[[service]]\nname = \"shop\"\ncheck = {check}\n[[service.instance]]\naddress = \"a:1\"\n");
            std::fs::write(&file, text).unwrap();
            crate::config::load(Some(file.as_path())).err().map(|errors| errors.to_string())
        };
        assert_eq!(told("shop.internal:8443"), None);
        assert!(told("a b").is_some_and(|errors| errors.contains("check.host: \"a b\" holds what no host's name can")));
    }
}

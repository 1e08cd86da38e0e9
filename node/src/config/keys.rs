//! The catalogue of configuration keys: what may stand in each section, under which names.

use crate::spelling::nearest;

/// One key of a section.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Other names it may be given by.
    pub aliases: &'static [&'static str],
}

/// One section: the path of its header and its keys.
#[derive(Debug)]
pub struct SectionKeys {
    /// Such as `service.check`; empty for the top of the file.
    pub path: &'static str,
    /// What may stand in it.
    pub keys: &'static [Key],
}

const fn key(name: &'static str) -> Key {
    Key { name, aliases: &[] }
}

const fn alias(name: &'static str, aliases: &'static [&'static str]) -> Key {
    Key { name, aliases }
}

/// The top of the file.
pub const ROOT: SectionKeys =
    SectionKeys { path: "", keys: &[key("agent"), key("api"), key("probe"), key("log"), key("service")] };

/// `[agent]`
pub const AGENT: SectionKeys = SectionKeys {
    path: "agent",
    keys: &[key("name"), key("zone"), key("listen"), key("advertise"), key("api"), key("data_dir"), key("join")],
};

/// `[api]`
pub const API: SectionKeys = SectionKeys { path: "api", keys: &[key("listen"), key("allow_remote")] };

/// `[probe]`
pub const PROBE: SectionKeys = SectionKeys {
    path: "probe",
    keys: &[key("max_concurrent"), key("max_per_host"), key("dns_cache_ttl"), key("keepalive")],
};

/// `[log]`
pub const LOG: SectionKeys = SectionKeys { path: "log", keys: &[key("level"), key("format")] };

/// `[[service]]`
pub const SERVICE: SectionKeys =
    SectionKeys { path: "service", keys: &[key("name"), key("observers"), key("check"), key("instance")] };

/// `[[service.instance]]`
pub const INSTANCE: SectionKeys = SectionKeys { path: "service.instance", keys: &[key("address"), key("id")] };

/// `[service.check]`
pub const CHECK: SectionKeys = SectionKeys {
    path: "service.check",
    keys: &[
        key("protocol"),
        key("scheme"),
        key("path"),
        key("port"),
        key("host"),
        key("method"),
        key("headers"),
        key("body"),
        key("expected_status_codes"),
        alias("period", &["period_seconds"]),
        alias("timeout", &["timeout_seconds"]),
        alias("initial_delay", &["initial_delay_seconds"]),
        key("failure_threshold"),
        key("success_threshold"),
        key("max_retries"),
        key("enabled"),
        key("follow_redirects"),
        key("max_redirects"),
        alias("verify_ssl", &["verify_tls"]),
        key("server_name"),
        key("ca_file"),
        key("client_cert_file"),
        key("max_body_bytes"),
        key("reuse_connection"),
        alias("probe_data", &["send"]),
        key("probe_data_hex"),
        key("expected_response"),
        key("expected_regex"),
        key("max_read_bytes"),
    ],
};

/// Keys of `[service.check]` that mean something for HTTP alone.
pub const HTTP_ONLY: &[&str] = &[
    "scheme",
    "path",
    "host",
    "method",
    "headers",
    "body",
    "expected_status_codes",
    "follow_redirects",
    "max_redirects",
    "verify_ssl",
    "server_name",
    "ca_file",
    "client_cert_file",
    "max_body_bytes",
    "reuse_connection",
];

/// Keys of `[service.check]` that mean something for TCP alone.
pub const TCP_ONLY: &[&str] =
    &["probe_data", "probe_data_hex", "expected_response", "expected_regex", "max_read_bytes"];

const SECTIONS: &[&SectionKeys] = &[&AGENT, &API, &PROBE, &LOG, &SERVICE, &INSTANCE, &CHECK];

/// Every key that can be set, by its full path, aliases included; tables that only hold keys are left out.
pub fn all() -> Vec<String> {
    let full = |section: &SectionKeys, name: &str| format!("{}.{name}", section.path);
    let is_section = |path: &String| SECTIONS.iter().any(|section| section.path == path);
    SECTIONS
        .iter()
        .flat_map(|section| {
            let names = |key: &'static Key| std::iter::once(&key.name).chain(key.aliases);
            section.keys.iter().flat_map(names).map(|name| full(section, name))
        })
        .filter(|path| !is_section(path))
        .collect()
}

/// What to say to someone who wrote `found` in `section`, if anything comes near.
pub fn suggestion(section: &SectionKeys, found: &str) -> Option<String> {
    let names = section.keys.iter().flat_map(|key| std::iter::once(&key.name).chain(key.aliases)).copied();
    if let Some(name) = nearest(found, names, 1).first() {
        return Some(format!("did you mean `{name}`?"));
    }
    let elsewhere =
        SECTIONS.iter().find(|other| other.keys.iter().any(|key| key.name == found || key.aliases.contains(&found)))?;
    let brackets = if matches!(elsewhere.path, "service" | "service.instance") { ("[[", "]]") } else { ("[", "]") };
    Some(format!("it belongs in {}{}{}", brackets.0, elsewhere.path, brackets.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        assert_eq!(suggestion(&CHECK, "tiemout").as_deref(), Some("did you mean `timeout`?"));
        assert_eq!(suggestion(&SERVICE, "timeout").as_deref(), Some("it belongs in [service.check]"));
        assert_eq!(suggestion(&AGENT, "xyzzy"), None);
    }

    #[test]
    fn keys_of_one_protocol_exist() {
        for name in HTTP_ONLY.iter().chain(TCP_ONLY) {
            assert!(CHECK.keys.iter().any(|key| key.name == *name), "{name}");
        }
    }
}

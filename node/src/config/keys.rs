//! The catalogue of configuration keys: what may stand in each section, under which names.

use crate::spelling::nearest;

/// One key of a section.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Other names it may be given by.
    pub aliases: &'static [&'static str],
    /// Of a secret: the name by which the file that holds it is given instead.
    pub file: Option<&'static str>,
}

impl Key {
    /// Every name by which something is said of it.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied()).chain(self.file)
    }
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
    Key { name, aliases: &[], file: None }
}

const fn alias(name: &'static str, aliases: &'static [&'static str]) -> Key {
    Key { name, aliases, file: None }
}

const fn secret(name: &'static str, file: &'static str) -> Key {
    Key { name, aliases: &[], file: Some(file) }
}

/// The top of the file.
pub const ROOT: SectionKeys = SectionKeys {
    path: "",
    keys: &[
        key("agent"),
        key("api"),
        key("probe"),
        key("log"),
        key("record"),
        key("history"),
        key("dns"),
        key("metrics"),
        key("statsd"),
        key("otlp"),
        key("queue_board"),
        key("service"),
    ],
};

/// `[agent]`
pub const AGENT: SectionKeys = SectionKeys {
    path: "agent",
    keys: &[
        key("name"),
        key("zone"),
        key("environment"),
        key("listen"),
        key("advertise"),
        key("api"),
        key("data_dir"),
        key("join"),
        key("token_file"),
    ],
};

/// `[api]`
pub const API: SectionKeys = SectionKeys {
    path: "api",
    keys: &[
        key("listen"),
        key("agent_check"),
        key("agent_check_from"),
        key("health_listen"),
        key("tls_listen"),
        key("tls_cert_file"),
        key("tls_key_file"),
        key("rate_limit"),
    ],
};

/// `[probe]`
pub const PROBE: SectionKeys = SectionKeys {
    path: "probe",
    keys: &[
        key("max_concurrent"),
        key("max_per_host"),
        key("dns_cache_ttl"),
        key("keepalive"),
        key("secrets_dir"),
        key("container_socket"),
        key("dbus_socket"),
        key("allow_targets"),
    ],
};

/// `[log]`
pub const LOG: SectionKeys = SectionKeys {
    path: "log",
    keys: &[
        key("level"),
        key("format"),
        key("access"),
        key("file"),
        key("error_file"),
        key("max_bytes"),
        key("max_files"),
    ],
};

/// `[record]`
pub const RECORD: SectionKeys = SectionKeys { path: "record", keys: &[key("path"), key("max_bytes")] };

/// `[history]`
pub const HISTORY: SectionKeys = SectionKeys { path: "history", keys: &[key("enabled"), key("max_bytes")] };

/// `[dns]`
pub const DNS: SectionKeys = SectionKeys { path: "dns", keys: &[key("listen"), key("from")] };

/// `[metrics]`
pub const METRICS: SectionKeys = SectionKeys { path: "metrics", keys: &[key("prefix"), key("http_labels")] };

/// `[statsd]`
pub const STATSD: SectionKeys =
    SectionKeys { path: "statsd", keys: &[key("address"), key("prefix"), key("interval"), key("tags")] };

/// `[otlp]`
pub const OTLP: SectionKeys = SectionKeys {
    path: "otlp",
    keys: &[key("endpoint"), key("metrics"), key("traces"), key("interval"), key("token_file"), key("ca_file")],
};

/// `[queue_board]`
pub const QUEUE_BOARD: SectionKeys = SectionKeys {
    path: "queue_board",
    keys: &[key("basic_auth_enabled"), key("basic_auth_user"), key("basic_auth_password_file")],
};

/// `[[service]]`
pub const SERVICE: SectionKeys = SectionKeys {
    path: "service",
    keys: &[key("name"), key("observers"), key("slo"), key("check"), key("detection"), key("instance")],
};

/// `[service.slo]`
pub const SLO: SectionKeys = SectionKeys { path: "service.slo", keys: &[key("objective")] };

/// `[[service.instance]]`
pub const INSTANCE: SectionKeys = SectionKeys {
    path: "service.instance",
    keys: &[key("address"), key("id"), key("zone"), key("weight"), key("tags")],
};

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
        alias("period", &["period_seconds", "interval"]),
        alias("fast_interval", &["fast_interval_seconds"]),
        alias("down_interval", &["down_interval_seconds"]),
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
        key("expected_response_hex"),
        key("expected_regex"),
        key("step"),
        key("max_read_bytes"),
        key("http_version"),
        key("protected_status_codes"),
        key("degraded_status_codes"),
        key("assert"),
        alias("min_tls_version", &["min_ssl_version"]),
        key("certificate_warning"),
        key("certificate_critical"),
        key("max_response_time"),
        key("critical_response_time"),
        key("tls"),
        key("basic_auth"),
        secret("password", "password_file"),
        key("expect_answer"),
        key("user"),
        key("database"),
        key("query_name"),
        key("query_type"),
        key("transport"),
        key("rcodes"),
        key("expected_answer"),
        key("expected_answer_regex"),
        key("grpc_service"),
        key("metadata"),
        key("starttls"),
        key("payload_bytes"),
        key("json"),
        key("prometheus"),
        key("per_json"),
        key("per_prometheus"),
        key("preset"),
        key("bad"),
        key("warning"),
        key("critical"),
        key("command"),
        key("directory"),
        key("environment"),
        key("max_output_bytes"),
        key("socket"),
        key("container"),
        key("unit"),
        key("max_cpu_percent"),
        key("max_memory_percent"),
        key("max_restart_count"),
        key("restart_window"),
        alias("ttl", &["ttl_seconds"]),
        secret("token", "token_file"),
    ],
};

/// `[service.detection]`
pub const DETECTION: SectionKeys = SectionKeys {
    path: "service.detection",
    keys: &[
        alias("window", &["failure_rate_window"]),
        key("max_error_rate_percent"),
        key("min_volume"),
        key("consecutive_failure_limit"),
        key("deadlock_rounds"),
        key("memory_leak_window"),
        key("flap_percent"),
        key("severities"),
    ],
};

/// `[[service.check.assert]]`
pub const ASSERT: SectionKeys = SectionKeys {
    path: "service.check.assert",
    keys: &[
        key("header"),
        key("json"),
        key("exists"),
        key("equals"),
        key("contains"),
        key("matches"),
        key("above"),
        key("below"),
        key("negate"),
        key("severity"),
    ],
};

/// `[[service.check.step]]`
pub const STEP: SectionKeys = SectionKeys {
    path: "service.check.step",
    keys: &[
        alias("probe_data", &["send"]),
        key("probe_data_hex"),
        key("expected_response"),
        key("expected_response_hex"),
        key("expected_regex"),
        key("starttls"),
    ],
};

/// Keys of `[service.check]` that mean something for some protocols only.
const FAMILIES: &[(&[&str], &[&str])] = &[
    (
        &["http", "metric"],
        &[
            "scheme",
            "path",
            "method",
            "headers",
            "basic_auth",
            "body",
            "expected_status_codes",
            "protected_status_codes",
            "degraded_status_codes",
            "follow_redirects",
            "max_redirects",
            "max_body_bytes",
            "reuse_connection",
            "http_version",
            "assert",
        ],
    ),
    (&["http", "metric", "grpc"], &["host"]),
    (
        &["http", "metric", "tls", "tcp", "redis", "postgres", "grpc"],
        &[
            "verify_ssl",
            "server_name",
            "ca_file",
            "client_cert_file",
            "min_tls_version",
            "certificate_warning",
            "certificate_critical",
        ],
    ),
    (&["redis", "postgres", "grpc", "tcp"], &["tls"]),
    (
        &["tcp", "udp", "unix"],
        &[
            "probe_data",
            "probe_data_hex",
            "expected_response",
            "expected_response_hex",
            "expected_regex",
            "max_read_bytes",
        ],
    ),
    (&["udp"], &["expect_answer"]),
    (&["redis"], &["password"]),
    (&["postgres"], &["user", "database"]),
    (&["dns"], &["query_name", "query_type", "transport", "rcodes", "expected_answer", "expected_answer_regex"]),
    (&["grpc"], &["grpc_service", "metadata"]),
    (&["tcp"], &["step"]),
    (&["tls", "tcp"], &["starttls"]),
    (&["icmp"], &["payload_bytes"]),
    (
        &["metric", "exec"],
        &["json", "prometheus", "per_json", "per_prometheus", "preset", "bad", "warning", "critical"],
    ),
    (&["exec"], &["command", "directory", "environment", "max_output_bytes"]),
    (&["unix"], &["socket"]),
    (&["container"], &["container"]),
    (&["systemd"], &["unit"]),
    (&["container", "systemd"], &["max_cpu_percent", "max_memory_percent", "max_restart_count", "restart_window"]),
    (&["push"], &["ttl", "token"]),
];

/// Every such key, with its protocols.
pub fn only_for() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    FAMILIES.iter().flat_map(|(of, names)| names.iter().map(|name| (*name, *of)))
}

/// Every protocol; `https` is `http` with a scheme.
pub fn protocols() -> impl Iterator<Item = &'static str> {
    [
        "http",
        "tcp",
        "tls",
        "udp",
        "redis",
        "postgres",
        "dns",
        "grpc",
        "icmp",
        "metric",
        "exec",
        "unix",
        "container",
        "systemd",
        "push",
    ]
    .into_iter()
}

const SECTIONS: &[&SectionKeys] = &[
    &AGENT,
    &API,
    &PROBE,
    &LOG,
    &RECORD,
    &HISTORY,
    &DNS,
    &METRICS,
    &STATSD,
    &OTLP,
    &QUEUE_BOARD,
    &SERVICE,
    &SLO,
    &INSTANCE,
    &CHECK,
    &DETECTION,
    &ASSERT,
    &STEP,
];

/// Every section below the top.
pub fn sections() -> impl Iterator<Item = &'static SectionKeys> {
    SECTIONS.iter().copied()
}

/// Every key that can be set, by its full path, aliases included; tables that only hold keys are left out.
pub fn all() -> Vec<String> {
    let full = |section: &SectionKeys, name: &str| format!("{}.{name}", section.path);
    let is_section = |path: &String| SECTIONS.iter().any(|section| section.path == path);
    SECTIONS
        .iter()
        .flat_map(|section| section.keys.iter().flat_map(Key::names).map(|name| full(section, name)))
        .filter(|path| !is_section(path))
        .collect()
}

/// What to say to someone who wrote `found` in `section`, if anything comes near.
pub fn suggestion(section: &SectionKeys, found: &str) -> Option<String> {
    let names = section.keys.iter().flat_map(Key::names);
    if let Some(name) = nearest(found, names, 1).first() {
        return Some(format!("did you mean `{name}`?"));
    }
    let elsewhere = SECTIONS.iter().find(|other| other.keys.iter().any(|key| key.names().any(|name| name == found)))?;
    let brackets =
        if matches!(elsewhere.path, "service" | "service.instance" | "service.check.assert" | "service.check.step") {
            ("[[", "]]")
        } else {
            ("[", "]")
        };
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
        for (name, of) in only_for() {
            assert!(CHECK.keys.iter().any(|key| key.name == name), "{name}");
            assert!(of.iter().all(|one| protocols().any(|protocol| protocol == *one)), "{of:?}");
        }
    }
}

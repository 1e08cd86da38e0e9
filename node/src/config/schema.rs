//! `quorate config schema`: the catalogue of keys as a JSON Schema, for editors. It knows every name; of a value it says what its key alone
//! decides. What depends on other keys is told by `quorate config check`.

use super::keys::{ROOT, SectionKeys, sections};
use serde_json::{Map, Value, json};

/// What stands at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Flag,
    Count,
    Span,
    List,
    Number,
}

/// Keys by kind; of what is not here, nothing is said.
const KINDS: &[(Kind, &[&str])] = &[
    (
        Kind::Text,
        &[
            "agent.name",
            "agent.zone",
            "agent.environment",
            "agent.listen",
            "agent.advertise",
            "agent.api",
            "agent.data_dir",
            "agent.join",
            "agent.token_file",
            "api.listen",
            "api.agent_check",
            "api.health_listen",
            "api.tls_listen",
            "api.tls_cert_file",
            "api.tls_key_file",
            "probe.secrets_dir",
            "probe.container_socket",
            "probe.dbus_socket",
            "log.level",
            "log.format",
            "log.file",
            "log.error_file",
            "record.path",
            "dns.listen",
            "metrics.prefix",
            "metrics.http_labels",
            "statsd.address",
            "statsd.prefix",
            "statsd.tags",
            "otlp.endpoint",
            "otlp.token_file",
            "otlp.ca_file",
            "queue_board.basic_auth_user",
            "queue_board.basic_auth_password_file",
            "service.name",
            "service.instance.address",
            "service.instance.id",
            "service.instance.zone",
            "service.check.protocol",
            "service.check.scheme",
            "service.check.path",
            "service.check.host",
            "service.check.method",
            "service.check.body",
            "service.check.server_name",
            "service.check.ca_file",
            "service.check.client_cert_file",
            "service.check.expected_response",
            "service.check.expected_response_hex",
            "service.check.expected_regex",
            "service.check.user",
            "service.check.database",
            "service.check.query_name",
            "service.check.expected_answer",
            "service.check.grpc_service",
            "service.check.container",
            "service.check.unit",
        ],
    ),
    (
        Kind::Flag,
        &[
            "log.access",
            "history.enabled",
            "otlp.metrics",
            "otlp.traces",
            "queue_board.basic_auth_enabled",
            "service.check.enabled",
            "service.check.follow_redirects",
            "service.check.verify_ssl",
            "service.check.reuse_connection",
            "service.check.expect_answer",
            "service.check.tls",
        ],
    ),
    (
        Kind::Count,
        &[
            "api.rate_limit",
            "probe.max_concurrent",
            "probe.max_per_host",
            "log.max_bytes",
            "log.max_files",
            "record.max_bytes",
            "history.max_bytes",
            "service.observers",
            "service.instance.weight",
            "service.check.port",
            "service.check.failure_threshold",
            "service.check.success_threshold",
            "service.check.max_retries",
            "service.check.max_redirects",
            "service.check.max_body_bytes",
            "service.check.max_read_bytes",
            "service.check.payload_bytes",
        ],
    ),
    (
        Kind::Span,
        &[
            "probe.dns_cache_ttl",
            "probe.keepalive",
            "statsd.interval",
            "otlp.interval",
            "service.check.period",
            "service.check.fast_interval",
            "service.check.down_interval",
            "service.check.timeout",
            "service.check.initial_delay",
            "service.check.max_response_time",
            "service.check.critical_response_time",
            "service.check.certificate_warning",
            "service.check.certificate_critical",
        ],
    ),
    (
        Kind::List,
        &[
            "api.agent_check_from",
            "dns.from",
            "probe.allow_targets",
            "service.instance.tags",
            "service.check.expected_status_codes",
            "service.check.protected_status_codes",
            "service.check.degraded_status_codes",
            "service.check.rcodes",
        ],
    ),
    (Kind::Number, &["service.slo.objective", "service.check.warning", "service.check.critical"]),
];

/// The schema of a whole configuration.
pub fn schema() -> Value {
    let mut schema = object(&ROOT);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Configuration of a Quorate agent");
    schema
}

fn object(section: &SectionKeys) -> Value {
    let (mut properties, mut both) = (Map::new(), Vec::new());
    for key in section.keys {
        let path = if section.path.is_empty() { key.name.to_owned() } else { format!("{}.{}", section.path, key.name) };
        key.names().for_each(|name| drop(properties.insert(name.to_owned(), property(&path))));
        if let Some(file) = key.file {
            properties.insert(file.to_owned(), json!({ "type": "string" }));
        }
        // Of several names for the same, one.
        let names: Vec<_> = key.names().collect();
        for (index, one) in names.iter().enumerate() {
            both.extend(names[index + 1..].iter().map(|other| json!({ "not": { "required": [one, other] } })));
        }
    }
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !both.is_empty() {
        object["allOf"] = json!(both);
    }
    object
}

fn property(path: &str) -> Value {
    if let Some(section) = sections().find(|section| section.path == path) {
        let one = object(section);
        let several = ["service", "service.instance", "service.check.assert", "service.check.step"].contains(&path);
        return if several { json!({ "type": "array", "items": one }) } else { one };
    }
    let kind = KINDS.iter().find(|(_, paths)| paths.contains(&path)).map(|(kind, _)| *kind);
    match kind {
        Some(Kind::Text) => json!({ "type": "string" }),
        Some(Kind::Flag) => json!({ "type": "boolean" }),
        Some(Kind::Count) => json!({ "type": "integer", "minimum": 0 }),
        Some(Kind::Span) => {
            json!({ "type": ["string", "number"], "description": "A duration such as 30s, or seconds." })
        }
        Some(Kind::List) => json!({ "type": "array" }),
        Some(Kind::Number) => json!({ "type": "number" }),
        None => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::{Texts, as_table};
    use super::super::file::parse;
    use super::super::keys::only_for;
    use super::*;
    use std::path::Path;

    /// Where a value does not fit the schema.
    fn misfits(schema: &Value, value: &Value, place: &str) -> Vec<String> {
        let kinds = match &schema["type"] {
            Value::String(kind) => vec![kind.as_str()],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let fits = |kind: &&str| match *kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            _ => value.is_number(),
        };
        let mut found = Vec::new();
        if !kinds.is_empty() && !kinds.iter().any(fits) {
            found.push(format!("{place}: {value} is no {kinds:?}"));
        }
        for (key, value) in value.as_object().into_iter().flatten() {
            match schema["properties"].get(key) {
                Some(schema) => found.extend(misfits(schema, value, &format!("{place}.{key}"))),
                None if schema["additionalProperties"] == json!(false) => {
                    found.push(format!("{place}.{key} is not known"))
                }
                None => {}
            }
        }
        for item in value.as_array().into_iter().flatten().filter(|_| schema["items"].is_object()) {
            found.extend(misfits(&schema["items"], item, place));
        }
        found
    }

    #[test]
    fn every_valid_file_fits() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config/valid");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let texts = Texts::of("x", &text);
            let value = serde_json::to_value(as_table(&texts.document(|_| None).unwrap())).unwrap();
            assert_eq!(misfits(&schema(), &value, ""), Vec::<String>::new(), "{}", path.display());
        }
        let check = &schema()["properties"]["service"]["items"]["properties"]["check"];
        let both = json!({ "not": { "required": ["password", "password_file"] } });
        assert!(check["allOf"].as_array().unwrap().contains(&both), "{}", check["allOf"]);
        assert_eq!(misfits(&schema(), &json!({ "lgo": {}, "log": { "access": "yes" } }), "").len(), 2);
    }

    /// A file in which one key has a value.
    fn with(path: &str, value: &str) -> String {
        let (section, key) = path.rsplit_once('.').unwrap();
        let line = format!("{key} = {value}\n");
        if !section.starts_with("service") {
            return format!("[{section}]\n{line}");
        }
        let protocol = only_for().find(|(name, _)| *name == key).map_or("http", |(_, of)| of[0]);
        let part = |name: &str| if section == name { line.as_str() } else { "" };
        let name = if path == "service.name" { "" } else { "name = \"web\"\n" };
        let protocol =
            if path == "service.check.protocol" { String::new() } else { format!("protocol = \"{protocol}\"\n") };
        format!(
            "[[service]]\n{name}{}[service.slo]\n{}[service.check]\n{protocol}{}[[service.instance]]\n{}",
            part("service"),
            part("service.slo"),
            part("service.check"),
            part("service.instance")
        )
    }

    #[test]
    fn the_reader_agrees_with_every_kind() {
        for (kind, paths) in KINDS {
            let wrong = match kind {
                Kind::Text | Kind::List | Kind::Span => "true",
                Kind::Flag | Kind::Count | Kind::Number => "\"x\"",
            };
            for path in *paths {
                let errors =
                    parse("x", &with(path, wrong)).err().map(|errors| errors.said().to_vec()).unwrap_or_default();
                let said = errors.iter().map(|line| line.replace("[0]", ""));
                let told: Vec<_> = said.filter(|line| line.starts_with(&format!("{path}: must be "))).collect();
                assert!(!told.is_empty(), "{path} = {wrong}: {errors:?}");
            }
        }
    }
}

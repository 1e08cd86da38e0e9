//! The document at `/openapi.json` says what the API does: every path and status in it exists, and nothing else is answered.

use super::fixture::{Reply, ask, send, start, view};
use super::openapi::document;
use super::operations::OPERATIONS;
use crate::access::Scope;
use quorate_mesh::MeshView;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A path, the status it is to be answered with, what is asked, and with which further headers; `%` stands for the path's own tag, `%token` for
/// a token of an operator. What is not a `GET` has its method before the path, and
/// perhaps a body after it.
type Case = (&'static str, u16, &'static str, &'static [&'static str]);

const TAG: &str = "If-None-Match: W/\"0000000000000001-4-7\"";
const OPERATOR: &str = "Authorization: Bearer %token";
const CASES: &[Case] = &[
    ("/v1/health", 200, "/v1/health", &[]),
    ("/v1/health", 304, "/v1/health", &[TAG]),
    ("/v1/health", 400, "/v1/health?index=x", &[]),
    ("/v1/services", 200, "/v1/services?hosts=true&status=up,down&limit=1&after=a&index=3&wait=1s", &[]),
    ("/v1/services", 304, "/v1/services", &[TAG]),
    ("/v1/services", 400, "/v1/services?status=well", &[]),
    ("/v1/services/{service}", 200, "/v1/services/web", &[]),
    ("/v1/services/{service}", 304, "/v1/services/web", &[TAG]),
    ("/v1/services/{service}", 400, "/v1/services/web?x", &[]),
    ("/v1/services/{service}", 404, "/v1/services/wbe", &[]),
    ("/v1/instances", 200, "/v1/instances?hosts=true", &[]),
    ("/v1/instances", 304, "/v1/instances", &[TAG]),
    ("/v1/instances", 400, "/v1/instances?verdict=bad", &[]),
    ("/v1/instances/{instance}", 200, "/v1/instances/web@10.0.0.3:80", &[]),
    ("/v1/instances/{instance}", 304, "/v1/instances/web@10.0.0.1:80", &[TAG]),
    ("/v1/instances/{instance}", 400, "/v1/instances/web@10.0.0.3:80?x=1", &[]),
    ("/v1/instances/{instance}", 404, "/v1/instances/web", &[]),
    ("/v1/instances/{instance}/failures", 200, "/v1/instances/web@10.0.0.3:80/failures", &[]),
    ("/v1/instances/{instance}/failures", 200, "/v1/instances/web@10.0.0.1:80/failures", &[]),
    ("/v1/instances/{instance}/failures", 400, "/v1/instances/web@10.0.0.3:80/failures?x", &[]),
    ("/v1/instances/{instance}/failures", 404, "/v1/instances/web/failures", &[]),
    ("/v1/members", 200, "/v1/members", &[]),
    ("/v1/members", 304, "/v1/members", &[TAG]),
    ("/v1/members", 400, "/v1/members?state=odd", &[]),
    ("/v1/events", 200, "/v1/events?format=json&since=0&limit=5", &[]),
    ("/v1/events", 400, "/v1/events?since=x", &[]),
    ("/v1/reports/{service}", 200, "/v1/reports/web?hours=48", &[]),
    ("/v1/reports/{service}", 400, "/v1/reports/web?hours=0", &[]),
    ("/v1/reports/{service}", 404, "/v1/reports/wbe", &[]),
    (MEASURED, 200, "/v1/reports/web/metrics?minutes=60&type=health_check_status", &[]),
    (MEASURED, 400, "/v1/reports/web/metrics?type=x", &[]),
    (MEASURED, 404, "/v1/reports/wbe/metrics", &[]),
    ("/v1/badges/{service}/uptime.svg", 200, "/v1/badges/web/uptime.svg?window=7d", &[]),
    ("/v1/badges/{service}/uptime.svg", 400, "/v1/badges/web/uptime.svg?window=8d", &[]),
    ("/v1/badges/{service}/uptime.svg", 404, "/v1/badges/wbe/uptime.svg", &[]),
    ("/v1/badges/{service}/health.svg", 200, "/v1/badges/web/health.svg", &[]),
    ("/v1/badges/{service}/health.svg", 400, "/v1/badges/web/health.svg?x=1", &[]),
    ("/v1/badges/{service}/health.svg", 404, "/v1/badges/wbe/health.svg", &[]),
    ("/v1/agent", 200, "/v1/agent", &[]),
    ("/v1/agent", 400, "/v1/agent?x=1", &[]),
    ("/v1/votes", 200, "/v1/votes?hosts=true", &[]),
    ("/v1/votes", 304, "/v1/votes", &[TAG]),
    ("/v1/votes", 400, "/v1/votes?verdict=odd", &[]),
    ("/v1/services/{service}/pick", 200, "/v1/services/web/pick?near=a", &[]),
    ("/v1/services/{service}/pick", 400, "/v1/services/web/pick?x=1", &[]),
    ("/v1/services/{service}/pick", 404, "/v1/services/wbe/pick", &[]),
    ("/v1/breakers", 200, "/v1/breakers", &[]),
    ("/v1/breakers", 304, "/v1/breakers", &[TAG]),
    ("/v1/breakers", 400, "/v1/breakers?x=1", &[]),
    ("/v1/breakers/{service}", 200, "/v1/breakers/web", &[]),
    ("/v1/breakers/{service}", 304, "/v1/breakers/web", &[TAG]),
    ("/v1/breakers/{service}", 400, "/v1/breakers/web?x=1", &[]),
    ("/v1/breakers/{service}", 404, "/v1/breakers/wbe", &[]),
    (PERMIT, 200, "POST /v1/breakers/web/web@1/permit", &[]),
    (PERMIT, 400, "POST /v1/breakers/web/quorate-agent@0000000000000001/permit", &[]),
    (REPORT, 400, "POST /v1/breakers/web/web@1/report", &[]),
    (PUT, 400, "PUT /v1/breakers/web/web@1/override", &["Authorization: Bearer %token"]),
    (LIFT, 202, "DELETE /v1/breakers/web/web@10.0.0.1:80/override", &["Authorization: Bearer %token"]),
    (LIFT, 400, "DELETE /v1/breakers/web/quorate-agent@0000000000000001/override", &["Authorization: Bearer %token"]),
    (LIFT, 404, "DELETE /v1/breakers/web/web@2/override", &["Authorization: Bearer %token"]),
    (COUNT, 400, "POST /v1/metrics/a_total?x=1", &[OPERATOR]),
    ("/v1/sd/prometheus", 200, "/v1/sd/prometheus?service=web", &[]),
    ("/v1/sd/prometheus", 400, "/v1/sd/prometheus?x=1", &[]),
    ("/livez", 200, "/livez?anything=1", &[]),
    ("/livez", 200, "/livez?verbose&exclude=x", &[]),
    ("/livez", 400, "/livez?verbose=maybe", &[]),
    ("/health/live", 200, "/health/live", &[]),
    ("/health/live", 400, "/health/live?verbose=maybe", &[]),
    ("/healthz", 200, "/healthz", &[]),
    ("/healthz", 400, "/healthz?verbose=maybe", &[]),
    ("/livez/{check}", 200, "/livez/engine", &[]),
    ("/livez/{check}", 400, "/livez/engine?verbose=maybe", &[]),
    ("/livez/{check}", 404, "/livez/storage", &[]),
    ("/readyz", 200, "/readyz?verbose", &[]),
    ("/readyz", 400, "/readyz?verbose=maybe", &[]),
    ("/readyz/{check}", 200, "/readyz/storage", &[]),
    ("/readyz/{check}", 400, "/readyz/storage?verbose=maybe", &[]),
    ("/readyz/{check}", 404, "/readyz/none", &[]),
    ("/health", 200, "/health", &[]),
    ("/health", 200, "/health?format=openmetrics", &[]),
    ("/health", 200, "/health", &["Accept: application/health+json"]),
    ("/health", 400, "/health?format=odd", &[]),
    ("/api/health", 200, "/api/health", &[]),
    ("/api/health", 400, "/api/health?format=odd", &[]),
    ("/ready", 200, "/ready", &[]),
    ("/health/ready", 200, "/health/ready", &[]),
    ("/ops/queues", 200, "/ops/queues", &[]),
    ("/ops/status", 200, "/ops/status", &[]),
    ("/health/queues", 200, "/health/queues", &[]),
    ("/health/queues/{queue}", 200, "/health/queues/probes", &[]),
    ("/health/queues/{queue}", 404, "/health/queues/none", &[]),
    ("/health/cache", 200, "/health/cache", &[]),
    ("/health/catalog/cache", 200, "/health/catalog/cache", &[]),
    ("/health/integrations", 200, "/health/integrations?any=1", &[]),
    ("/auth/health-check", 200, "/auth/health-check", &[]),
    ("/api/metrics/pools", 200, "/api/metrics/pools", &[]),
    ("/api/metrics/db-pool", 200, "/api/metrics/db-pool", &[]),
    ("/metrics", 200, "/metrics", &[]),
    ("/metrics", 200, "/metrics", &["Accept: application/openmetrics-text"]),
    ("/metrics", 400, "/metrics?format=odd", &[]),
    ("/api/metrics", 200, "/api/metrics", &[]),
    ("/api/metrics", 400, "/api/metrics?format=odd", &[]),
    ("PUT /v1/push/{instance}", 400, "PUT /v1/push/nothing?status=well", &[]),
    ("PUT /v1/push/{instance}", 404, "PUT /v1/push/nothing", &[]),
    ("PUT /v1/instances/{instance}", 200, "PUT /v1/instances/api@1 {\"service\":\"api\"}", &[OPERATOR]),
    ("PUT /v1/instances/{instance}", 400, "PUT /v1/instances/api@1 {", &[OPERATOR]),
    ("PUT /v1/instances/{instance}", 409, "PUT /v1/instances/web@10.0.0.3:80 {\"service\":\"web\"}", &[OPERATOR]),
    ("PUT /v1/instances/{instance}", 422, "PUT /v1/instances/api@1 {}", &[OPERATOR]),
    ("DELETE /v1/instances/{instance}", 200, "DELETE /v1/instances/api@1", &[OPERATOR]),
    ("DELETE /v1/instances/{instance}", 400, "DELETE /v1/instances/api@1?x=1", &[OPERATOR]),
    ("DELETE /v1/instances/{instance}", 404, "DELETE /v1/instances/api@1", &[OPERATOR]),
    ("DELETE /v1/instances/{instance}", 409, "DELETE /v1/instances/web@10.0.0.1:80", &[OPERATOR]),
    (
        "PUT /v1/instances/{instance}/intent",
        200,
        "PUT /v1/instances/web@10.0.0.1:80/intent {\"kind\":\"draining\"}",
        &[OPERATOR],
    ),
    (
        "PUT /v1/instances/{instance}/intent",
        400,
        "PUT /v1/instances/web@10.0.0.1:80/intent {\"kind\":\"x\"}",
        &[OPERATOR],
    ),
    ("PUT /v1/instances/{instance}/intent", 404, "PUT /v1/instances/api@2/intent {\"kind\":\"draining\"}", &[OPERATOR]),
    (
        "PUT /v1/instances/{instance}/intent",
        409,
        "PUT /v1/instances/web@10.0.0.3:80/intent {\"kind\":\"draining\"}",
        &[OPERATOR],
    ),
    (
        "PUT /v1/instances/{instance}/intent",
        422,
        "PUT /v1/instances/web@10.0.0.1:80/intent {\"kind\":\"draining\",\"for\":\"x\"}",
        &[OPERATOR],
    ),
    ("DELETE /v1/instances/{instance}/intent", 200, "DELETE /v1/instances/web@10.0.0.1:80/intent", &[OPERATOR]),
    ("DELETE /v1/instances/{instance}/intent", 400, "DELETE /v1/instances/web@10.0.0.1:80/intent?x=1", &[OPERATOR]),
    ("DELETE /v1/instances/{instance}/intent", 404, "DELETE /v1/instances/api@2/intent", &[OPERATOR]),
    ("DELETE /v1/instances/{instance}/intent", 409, "DELETE /v1/instances/web@10.0.0.3:80/intent", &[OPERATOR]),
    ("DELETE /v1/members/{member}", 200, "DELETE /v1/members/host-3", &[OPERATOR]),
    ("DELETE /v1/members/{member}", 400, "DELETE /v1/members/host-3?x=1", &[OPERATOR]),
    ("DELETE /v1/members/{member}", 404, "DELETE /v1/members/host-9", &[OPERATOR]),
    ("DELETE /v1/members/{member}", 409, "DELETE /v1/members/host-1", &[OPERATOR]),
    (PROBE, 400, "POST /v1/instances/web@10.0.0.1:80/probe?x=1", &[OPERATOR]),
    (PROBE, 404, "POST /v1/instances/web/probe", &[OPERATOR]),
    (PROBE, 409, "POST /v1/instances/quorate-agent@0000000000000001/probe", &[OPERATOR]),
    ("POST /-/reload", 200, "POST /-/reload", &[OPERATOR]),
    ("POST /v1/agent/leave", 400, "POST /v1/agent/leave?x=1", &[OPERATOR]),
    ("/openapi.json", 200, "/openapi.json", &[]),
    ("/", 200, "/", &[]),
    ("/", 304, "/", &["If-None-Match: %"]),
    ("/page.css", 200, "/page.css", &[]),
    ("/page.css", 304, "/page.css", &["If-None-Match: %"]),
    ("/page.js", 200, "/page.js", &[]),
    ("/page.js", 304, "/page.js", &["If-None-Match: %"]),
];

const MEASURED: &str = "/v1/reports/{service}/metrics";
const COUNT: &str = "POST /v1/metrics/{name}";
const PROBE: &str = "POST /v1/instances/{instance}/probe";
const PERMIT: &str = "POST /v1/breakers/{service}/{instance}/permit";
const REPORT: &str = "POST /v1/breakers/{service}/{instance}/report";
const PUT: &str = "PUT /v1/breakers/{service}/{instance}/override";
const LIFT: &str = "DELETE /v1/breakers/{service}/{instance}/override";

/// What needs an agent in a certain state.
const ELSEWHERE: &[(&str, u16)] = &[
    ("/v1/sd/prometheus", 503),
    ("/v1/events", 503),
    ("/readyz", 503),
    ("/readyz/{check}", 503),
    ("/ready", 503),
    ("/health/ready", 503),
    ("POST /-/reload", 422),
    // It ends the agent: `registering_tests.rs`.
    ("POST /v1/agent/leave", 200),
    ("POST /v1/agent/leave", 409),
    // In the tests of probing, but for a check that takes long.
    (PROBE, 200),
    (PROBE, 408),
    (PROBE, 429),
    // In the tests of pushing; the last one where others ask in the clear.
    ("PUT /v1/push/{instance}", 200),
    ("PUT /v1/push/{instance}", 401),
    ("PUT /v1/push/{instance}", 403),
    // With a body: `breaker_tests.rs`.
    (REPORT, 200),
    (PUT, 202),
    // With a body: `counting.rs`.
    (COUNT, 200),
    (COUNT, 409),
    (COUNT, 422),
    // When the engine hangs.
    ("/livez", 503),
    ("/health/live", 503),
    ("/healthz", 503),
    ("/livez/{check}", 503),
    ("/health", 503),
    ("/api/health", 503),
];

fn documented() -> BTreeSet<(String, u16)> {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let mut documented = BTreeSet::new();
    for (path, methods) in paths {
        for (method, item) in methods.as_object().unwrap() {
            let responses = item["responses"].as_object().unwrap();
            assert!(responses.contains_key("default"), "{path}");
            let method = if method == "get" { String::new() } else { format!("{} ", method.to_uppercase()) };
            let statuses = responses.keys().filter(|key| *key != "default");
            documented.extend(statuses.map(|status| (format!("{method}{path}"), status.parse().unwrap())));
        }
    }
    documented
}

/// Is the answer one of those that the document gives for the path, in its form and with its fields?
pub(super) fn check(document: &Value, path: &str, reply: &Reply) {
    let (method, path) = path.split_once(' ').unwrap_or(("GET", path));
    let responses = &document["paths"][path][method.to_lowercase()]["responses"];
    let response = &responses[reply.status.to_string()];
    assert!(response.is_object(), "{path} is answered with {}, which is not documented", reply.status);
    if reply.status == 304 {
        return;
    }
    let media = reply.header("content-type").unwrap();
    let schema = &response["content"][media]["schema"];
    assert!(schema.is_object(), "{path}, {}: {media} is not documented: {response}", reply.status);
    if media.ends_with("json") {
        conforms(document, schema, &reply.json(), path);
    }
}

/// The part of JSON Schema that the document makes use of.
fn conforms(document: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/components/schemas/").unwrap();
        let target = &document["components"]["schemas"][name];
        assert!(target.is_object(), "{place}: there is no schema {name}");
        return conforms(document, target, value, place);
    }
    if let Some(alternatives) = schema["anyOf"].as_array() {
        let null = alternatives.iter().any(|schema| schema["type"] == "null");
        return match alternatives.iter().find(|schema| schema["type"] != "null") {
            Some(schema) if !(null && value.is_null()) => conforms(document, schema, value, place),
            _ => {}
        };
    }
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{place}: {value} is not one of {words:?}");
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    assert!(
        kinds.iter().any(|k| k.is_null() || k == kind || (k == "number" && kind == "integer")),
        "{place}: {value} is no {kinds:?}"
    );
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str()) {
        assert!(regex::Regex::new(pattern).unwrap().is_match(text), "{place}: {text} does not match {pattern}");
    }
    for item in value.as_array().into_iter().flatten() {
        if schema["items"].is_object() {
            conforms(document, &schema["items"], item, &format!("{place}[]"));
        }
    }
    let Some(object) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(object.contains_key(name.as_str().unwrap()), "{place} lacks {name}");
    }
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, value) in object {
        match properties.get(name) {
            Some(schema) => conforms(document, schema, value, &format!("{place}.{name}")),
            None if schema["additionalProperties"].is_object() => {
                conforms(document, &schema["additionalProperties"], value, &format!("{place}.{name}"));
            }
            None => assert!(schema["oneOf"].is_array(), "{place}.{name} is not documented"),
        }
    }
}

#[test]
fn every_documented_status_has_a_case() {
    let cases: BTreeSet<_> = CASES.iter().map(|(path, status, ..)| ((*path).to_owned(), *status)).collect();
    let elsewhere = ELSEWHERE.iter().map(|(path, status)| ((*path).to_owned(), *status));
    let all: BTreeSet<_> = cases.into_iter().chain(elsewhere).collect();
    assert_eq!(all, documented());
}

#[tokio::test]
async fn every_case_is_answered_as_documented() {
    let fixture = start(view());
    let token = fixture.token(Scope::Operate);
    let document = document();
    for (path, status, asked, headers) in CASES {
        let mut headers: Vec<String> = headers.iter().map(|header| header.replace("%token", &token)).collect();
        for header in &mut headers {
            if let Some(name) = header.strip_suffix('%') {
                let first = ask(fixture.api, &format!("GET {asked}"), &[]).await;
                *header = format!("{name}{}", first.header("etag").unwrap());
            }
        }
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let request = if asked.contains(' ') { (*asked).to_owned() } else { format!("GET {asked}") };
        let (line, body) = request
            .split_once(" {")
            .map_or((request.as_str(), String::new()), |(line, rest)| (line, format!("{{{rest}")));
        let reply = send(fixture.api, line, &headers, &body).await;
        assert_eq!(reply.status, *status, "{asked}: {}", reply.body);
        check(&document, path, &reply);
    }
}

#[tokio::test]
async fn answers_of_an_agent_in_trouble_are_documented_too() {
    let document = document();
    let fixture = start(MeshView { settled: false, ..view() });
    for (path, asked) in [
        ("/readyz", "/readyz"),
        ("/readyz", "/readyz?verbose"),
        ("/readyz/{check}", "/readyz/mesh"),
        ("/ready", "/ready"),
        ("/health/ready", "/health/ready"),
    ] {
        let reply = ask(fixture.api, &format!("GET {asked}"), &[]).await;
        assert_eq!(reply.status, 503, "{asked}");
        check(&document, path, &reply);
    }
    let mut streams = Vec::new();
    for _ in 0..fixture.few_streams() {
        streams.push(stream(fixture.api).await);
    }
    let reply = ask(fixture.api, "GET /v1/events", &[]).await;
    assert_eq!(reply.status, 503);
    check(&document, "/v1/events", &reply);
}

async fn stream(api: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(api).await.unwrap();
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

#[test]
fn names_are_unique_and_the_document_is_sound() {
    let names: BTreeSet<_> = OPERATIONS.iter().map(|operation| operation.name).collect();
    assert_eq!(names.len(), OPERATIONS.len());
    let text = document().to_string();
    let schemas = document()["components"]["schemas"].clone();
    for name in text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(schemas[name].is_object(), "there is no schema {name}");
    }
}

//! `/openapi.json`: the API described for programs, made from the table of operations and the types of the answers.

use super::limits::{MAX_NAME_CHARS, MAX_PARAMETER_CHARS};
use super::operations::{Answer, OPERATIONS, Operation};
use super::parameters::{Kind, Parameter, WAIT_PATTERN, ZONE_PATTERN};
use super::refusal::{Fault, PROBLEM};
use crate::access::Access;
use crate::answers::{ErrorAnswer, EventAnswer};
use axum::http::header;
use axum::response::IntoResponse;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// The document.
pub async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}

/// The document as a value.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let methods = paths.entry(operation.path).or_insert_with(|| json!({}));
        methods[operation.method.key()] = described(operation, &mut schemas);
    }
    let problem = schemas.subschema_for::<ErrorAnswer>();
    // The data of server-sent events; no answer as a whole is one.
    let _named = schemas.subschema_for::<EventAnswer>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Quorate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every agent of a mesh answers for the whole of it. Times are RFC 3339 in UTC.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": { "token": {
                "type": "http", "scheme": "bearer", "description": "A token of `quorate token create --scope SCOPE`.",
            }, "board": {
                "type": "http", "scheme": "basic", "description": "The user and the password of `[queue_board]`.",
            } },
            "responses": { "Problem": {
                "description": "Any other error",
                "content": { PROBLEM: { "schema": problem } },
            } },
        },
    })
}

fn described(operation: &Operation, schemas: &mut SchemaGenerator) -> Value {
    let in_path = operation.path_parameters().map(|name| {
        let mut schema = json!({ "type": "string", "minLength": 1, "maxLength": 128 });
        if let Some(pattern) = operation.path_pattern {
            schema["pattern"] = json!(pattern);
        }
        let description = format!("The {name}'s name.");
        json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
    });
    let in_query = operation.all_parameters().into_iter().map(parameter);
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let mut described = json!({
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses(operation, schemas),
        "security": security(operation.access),
    });
    if let Some(body) = operation.body {
        let schema = body(schemas).to_value();
        described["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    described
}

/// An empty requirement stands for none: reads need a token only where others can reach the agent.
fn security(access: Access) -> Value {
    match access {
        Access::Public => json!([]),
        Access::Read => json!([{}, { "token": ["read"] }]),
        Access::Board => json!([{}, { "token": ["read"] }, { "board": [] }]),
        Access::Call(scope) => json!([{}, { "token": [scope.as_str()] }]),
        Access::Change(scope) => json!([{ "token": [scope.as_str()] }]),
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let list = matches!(parameter.kind, Kind::Words(_) | Kind::Names);
    let schema = match parameter.kind {
        Kind::Text => json!({ "type": "string", "maxLength": MAX_PARAMETER_CHARS }),
        Kind::Zone => json!({ "type": "string", "pattern": ZONE_PATTERN }),
        Kind::Word(words) => json!({ "enum": words() }),
        Kind::Flag => json!({ "type": "boolean", "default": false }),
        Kind::Count(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Wait => json!({ "type": "string", "pattern": WAIT_PATTERN, "examples": ["30s"] }),
        Kind::Names => {
            json!({ "type": "array", "minItems": 1, "items": { "type": "string", "maxLength": MAX_NAME_CHARS } })
        }
        Kind::Words(words) => json!({ "type": "array", "minItems": 1, "items": { "enum": words() } }),
    };
    let mut value = json!({
        "name": parameter.name, "in": "query", "required": false, "description": parameter.help, "schema": schema,
    });
    if list {
        value["style"] = json!("form");
        value["explode"] = json!(false);
    }
    value
}

fn responses(operation: &Operation, schemas: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for answer in operation.answers {
        let response = responses
            .entry(answer.status.to_string())
            .or_insert_with(|| json!({ "description": answer.meaning, "content": {} }));
        response["content"][answer.media] = content(answer, schemas);
    }
    if operation.freshness.is_tagged() {
        responses.insert("304".to_owned(), json!({ "description": "What the reader has is still right" }));
        let tag = json!({ "description": "Ages aside, two answers with one tag say the same.",
                          "schema": { "type": "string" } });
        if let Some(answer) = responses.get_mut("200") {
            answer["headers"] = json!({ "ETag": tag });
        }
    }
    for (status, fault) in faults(operation) {
        let problem = json!({ "schema": schemas.subschema_for::<ErrorAnswer>() });
        responses.entry(status).or_insert_with(|| json!({ "description": fault, "content": { PROBLEM: problem } }));
    }
    responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Problem" }));
    Value::Object(responses)
}

/// The errors of an operation that depend on what is asked, by status.
pub fn faults(operation: &Operation) -> Vec<(String, &'static str)> {
    let may_be_wrong = operation.strict() || !operation.all_parameters().is_empty();
    let own = operation.faults.iter().copied();
    let all = own.chain(may_be_wrong.then_some(Fault::BadRequest));
    all.map(|fault| (fault.status().as_u16().to_string(), fault.title())).collect()
}

fn content(answer: &Answer, schemas: &mut SchemaGenerator) -> Value {
    let schema = match answer.schema {
        Some(schema) => schema(schemas).to_value(),
        None if answer.media == "application/json" => json!({ "type": "object" }),
        None => json!({ "type": "string" }),
    };
    json!({ "schema": schema })
}

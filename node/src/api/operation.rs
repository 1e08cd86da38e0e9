//! What one operation of the API is: how it is asked, by whom, and what it answers.

use super::Service;
use super::freshness::{Freshness, INDEX, WAIT};
use super::health_forms::HEALTH_JSON;
use super::parameters::Parameter;
use super::refusal::Fault;
use crate::access::Access;
use crate::answers::HealthJsonAnswer;
use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// What can be asked or changed with one method at one path.
pub struct Operation {
    /// How it is asked.
    pub method: Method,
    /// What it asks of its caller.
    pub access: Access,
    /// If it takes a token in any case: is each request noted in the audit log?
    pub audited: bool,
    /// What is sent with it.
    pub body: Option<fn(&mut SchemaGenerator) -> Schema>,
    /// The path, with names in braces; also its label in metrics.
    pub path: &'static str,
    /// What the names in the path look like, where not every name will do.
    pub path_pattern: Option<&'static str>,
    /// Its name, unique.
    pub name: &'static str,
    /// What it is for.
    pub summary: &'static str,
    /// Parameters in the query, besides those that its freshness brings.
    pub parameters: &'static [&'static Parameter],
    /// What the answer depends on.
    pub freshness: Freshness,
    /// The answers that are not errors.
    pub answers: &'static [Answer],
    /// The errors that are its own.
    pub faults: &'static [Fault],
    /// Who answers.
    pub handler: fn() -> MethodRouter<Service>,
}

/// How an operation is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`, and `HEAD` without a body.
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
}

impl Method {
    /// Does it answer requests of this method?
    pub fn answers(self, method: &axum::http::Method) -> bool {
        self.names().contains(&method.as_str())
    }

    /// Its names on the wire.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Get => &["GET", "HEAD"],
            Self::Post => &["POST"],
            Self::Put => &["PUT"],
            Self::Delete => &["DELETE"],
        }
    }

    /// Its name in the document.
    pub fn key(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }
}

/// What a question has unless it says otherwise.
pub const ASK: Operation = Operation {
    method: Method::Get,
    access: Access::Read,
    audited: true,
    body: None,
    path: "",
    path_pattern: None,
    name: "",
    summary: "",
    parameters: &[],
    freshness: Freshness::Momentary,
    answers: &[],
    faults: &[],
    handler: MethodRouter::new,
};

/// One answer of an operation.
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// When it is given.
    pub meaning: &'static str,
    /// Its media type.
    pub media: &'static str,
    /// Its schema; a text without one.
    pub schema: Option<fn(&mut SchemaGenerator) -> Schema>,
}

impl Operation {
    /// Every parameter in the query.
    pub fn all_parameters(&self) -> Vec<&'static Parameter> {
        let waits: &[&Parameter] = if self.freshness.waits() { &[&INDEX, &WAIT] } else { &[] };
        self.parameters.iter().chain(waits).copied().collect()
    }

    /// Are parameters that are not known refused? Not where others' programs ask, who add their own.
    pub fn strict(&self) -> bool {
        self.path.starts_with("/v1/")
    }

    /// Is it a health probe, which everyone may ask? Not what instances push.
    pub fn is_probe(&self) -> bool {
        self.access == Access::Public && (self.method == Method::Get || self.path.starts_with("/grpc."))
    }

    /// The names in braces.
    pub fn path_parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
    }
}

/// An answer in JSON.
pub const fn json<T: JsonSchema>(status: u16, meaning: &'static str) -> Answer {
    Answer { status, meaning, media: "application/json", schema: Some(|generator| generator.subschema_for::<T>()) }
}

/// An answer in the health check format.
pub const fn health_json(status: u16, meaning: &'static str) -> Answer {
    let schema: fn(&mut SchemaGenerator) -> Schema = |generator| generator.subschema_for::<HealthJsonAnswer>();
    Answer { status, meaning, media: HEALTH_JSON, schema: Some(schema) }
}

/// An answer that is a text.
pub const fn text(media: &'static str, meaning: &'static str) -> Answer {
    Answer { status: 200, meaning, media, schema: None }
}

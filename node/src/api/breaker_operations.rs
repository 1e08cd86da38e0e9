//! The operations about breakers, and about whom to call; part of the table in `operations.rs`.

use super::freshness::Freshness;
use super::operation::{ASK, Method, Operation, json};
use super::refusal::Fault;
use super::{breakers, pick};
use crate::access::{Access, Scope};
use crate::answers::{
    BreakersAnswer, CallReportAnswer, OverrideBody, PermitAnswer, PickAnswer, ReportBody, WishAnswer,
};
use axum::routing::{delete, get, post, put};

/// Whom to call.
pub const PICK: Operation = Operation {
    path: "/v1/services/{service}/pick",
    name: "pick",
    summary: "Whom to call: the instances that are healthy and that breakers admit, with weights",
    parameters: &[&pick::NEAR],
    answers: &[json::<PickAnswer>(200, "The instances, and one of them drawn by weight")],
    faults: &[Fault::UnknownService],
    handler: || get(pick::pick),
    ..ASK
};

/// Every breaker.
pub const BREAKERS: Operation = Operation {
    path: "/v1/breakers",
    name: "breakers",
    summary: "Every breaker that is used here, open for many, or overridden",
    freshness: Freshness::Picture,
    answers: &[json::<BreakersAnswer>(200, "The breakers, by service and instance")],
    handler: || get(breakers::breakers),
    ..ASK
};

/// Those of one service.
pub const OF_SERVICE: Operation = Operation {
    path: "/v1/breakers/{service}",
    name: "breakers_of_service",
    summary: "The breakers of one service",
    freshness: Freshness::Picture,
    answers: &[json::<BreakersAnswer>(200, "The breakers, by instance")],
    faults: &[Fault::UnknownBreaker],
    handler: || get(breakers::of_service),
    ..ASK
};

/// May a call be made?
pub const PERMIT: Operation = Operation {
    method: Method::Post,
    access: Access::Call(Scope::Register),
    path: "/v1/breakers/{service}/{instance}/permit",
    name: "permit",
    summary: "May this host call the instance now?",
    answers: &[json::<PermitAnswer>(200, "Yes, under a permit, or no, and why")],
    handler: || post(breakers::permit),
    ..ASK
};

/// What calls came to.
pub const REPORT: Operation = Operation {
    method: Method::Post,
    access: Access::Call(Scope::Register),
    path: "/v1/breakers/{service}/{instance}/report",
    name: "report_calls",
    summary: "What calls came to",
    body: Some(|generator| generator.subschema_for::<ReportBody>()),
    answers: &[json::<CallReportAnswer>(200, "How many of them counted")],
    handler: || post(breakers::report),
    ..ASK
};

/// A person decides.
pub const OVERRIDE: Operation = Operation {
    method: Method::Put,
    access: Access::Change(Scope::Operate),
    path: "/v1/breakers/{service}/{instance}/override",
    name: "override_breaker",
    summary: "Decide about a breaker in the machine's place, on all hosts",
    body: Some(|generator| generator.subschema_for::<OverrideBody>()),
    answers: &[json::<WishAnswer>(202, "It is on its way")],
    handler: || put(breakers::override_one),
    ..ASK
};

/// The machine decides again.
pub const LIFT: Operation = Operation {
    method: Method::Delete,
    access: Access::Change(Scope::Operate),
    path: "/v1/breakers/{service}/{instance}/override",
    name: "lift_override",
    summary: "Let the machine decide about a breaker again, on all hosts",
    answers: &[json::<WishAnswer>(202, "It is on its way")],
    faults: &[Fault::UnknownBreaker],
    handler: || delete(breakers::lift),
    ..ASK
};

//! `/livez`, `/readyz` and `/healthz` as Kubernetes asks them: the status says it all, `?verbose` names each check, `?exclude=` leaves some out,
//! and each check has a path of its own.

use super::Service;
use super::parameters::{Kind, Parameter, Parameters};
use super::refusal::{Fault, Refusal};
use crate::agent::published::SelfCheck;
use crate::answers::ProbeAnswer;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::fmt::Write;

/// The media type of what `verbose` brings.
pub const VERBOSE_TEXT: &str = "text/plain; charset=utf-8";

/// `verbose`
pub const VERBOSE: Parameter =
    Parameter { name: "verbose", kind: Kind::Flag, help: "Name each check, one per line, as plain text." };
/// `exclude`
pub const EXCLUDE: Parameter = Parameter {
    name: "exclude",
    kind: Kind::Names,
    help: "Checks to leave out, with commas between; may be given several times.",
};

/// Does the process work? Depends on nothing but this process.
pub async fn livez(State(service): State<Service>, parameters: Parameters) -> Response {
    answer("livez", vital(&service), &parameters)
}

/// The same by the older name.
pub async fn healthz(State(service): State<Service>, parameters: Parameters) -> Response {
    answer("healthz", vital(&service), &parameters)
}

/// May others rely on it?
pub async fn readyz(State(service): State<Service>, parameters: Parameters) -> Response {
    answer("readyz", service.0.published.checks(), &parameters)
}

/// One check of liveness.
pub async fn livez_check(
    State(service): State<Service>,
    name: Result<Path<String>, PathRejection>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    one("livez", vital(&service), &name?, &parameters)
}

/// One check of readiness.
pub async fn readyz_check(
    State(service): State<Service>,
    name: Result<Path<String>, PathRejection>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    one("readyz", service.0.published.checks(), &name?, &parameters)
}

fn vital(service: &Service) -> Vec<SelfCheck> {
    service.0.published.checks().into_iter().filter(|check| check.vital).collect()
}

fn one(probe: &str, mut checks: Vec<SelfCheck>, name: &str, parameters: &Parameters) -> Result<Response, Refusal> {
    let known: Vec<_> = checks.iter().map(|check| check.name).collect();
    checks.retain(|check| check.name == name);
    if checks.is_empty() {
        let detail = format!(
            "there is no check {:?}; there are {}",
            name.chars().take(64).collect::<String>(),
            known.join(", ")
        );
        return Err(Refusal::new(Fault::UnknownCheck, detail, &format!("GET /{probe}?verbose lists them")));
    }
    Ok(answer(probe, checks, parameters))
}

fn answer(probe: &str, mut checks: Vec<SelfCheck>, parameters: &Parameters) -> Response {
    let excluded = parameters.names(EXCLUDE.name);
    let unmatched: Vec<_> =
        excluded.iter().filter(|name| !checks.iter().any(|check| check.name == **name)).copied().collect();
    if parameters.flag(VERBOSE.name) {
        let passed = checks.iter().all(|check| check.fault.is_none() || excluded.contains(&check.name));
        let text = verbose(probe, &checks, &excluded, &unmatched, passed);
        return (code(passed), [(header::CONTENT_TYPE, VERBOSE_TEXT)], text).into_response();
    }
    checks.retain(|check| !excluded.contains(&check.name));
    let reasons: Vec<_> = checks.into_iter().filter_map(|check| check.fault).collect();
    let passed = reasons.is_empty();
    let status = if passed { "ok" } else { "failed" }.to_owned();
    (code(passed), Json(ProbeAnswer { status, reasons })).into_response()
}

fn code(passed: bool) -> StatusCode {
    if passed { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn verbose(probe: &str, checks: &[SelfCheck], excluded: &[&str], unmatched: &[&str], passed: bool) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        let _infallible = writeln!(text, "{words}");
    };
    for check in checks {
        match &check.fault {
            _ if excluded.contains(&check.name) => line(format!("[+]{} excluded: ok", check.name)),
            None => line(format!("[+]{} ok", check.name)),
            Some(fault) => line(format!("[-]{} failed: {fault}", check.name)),
        }
    }
    if !unmatched.is_empty() {
        line(format!("warn: some checks cannot be excluded: no matches for {}", unmatched.join(", ")));
    }
    line(format!("{probe} check {}", if passed { "passed" } else { "failed" }));
    text
}

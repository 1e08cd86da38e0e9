//! `/v1/metrics/{name}`: programs on this host count what they do, and the agent tells it with its own metrics.

use super::Service;
use super::body::Body;
use super::limits::Limit;
use super::operation::{ASK, Method, Operation, json};
use super::refusal::{Fault, Refusal};
use crate::access::{Access, Scope};
use crate::answers::{CountBody, CountedAnswer};
use crate::metrics::{NAME_PATTERN, NotCounted};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::routing::post;

/// Adds to a counter.
pub const COUNT: Operation = Operation {
    method: Method::Post,
    access: Access::Change(Scope::Register),
    audited: false,
    path: "/v1/metrics/{name}",
    path_pattern: Some(NAME_PATTERN),
    name: "count",
    summary: "Add to a counter of a program on this host, which the agent tells with its own metrics",
    body: Some(|generator| generator.subschema_for::<CountBody>()),
    answers: &[json::<CountedAnswer>(200, "It is counted")],
    faults: &[Fault::Conflict, Fault::Invalid],
    handler: || post(count),
    ..ASK
};

async fn count(
    State(service): State<Service>,
    name: Result<Path<String>, PathRejection>,
    Body(CountBody { value, labels }): Body<CountBody>,
) -> Result<Json<CountedAnswer>, Refusal> {
    let Path(name) = name?;
    match service.0.metrics.custom().add(&name, &labels, value.unwrap_or(1.0)) {
        Ok(total) => Ok(Json(CountedAnswer { name, labels, total })),
        Err(NotCounted::Invalid(detail)) => Err(Refusal::new(Fault::Invalid, detail, "nothing was counted")),
        Err(NotCounted::Conflict(detail)) => {
            Err(Refusal::new(Fault::Conflict, detail, "use another name, or the labels that the counter has"))
        }
        Err(NotCounted::Full(detail)) => {
            service.0.metrics.limit_hit(Limit::CustomSeries);
            Err(Refusal::new(Fault::Conflict, detail, "use labels with few values"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, Reply, ask, send, start, view};
    use super::*;
    use crate::answers::ErrorAnswer;

    const JSON: &str = "Content-Type: application/json";

    async fn post(fixture: &Fixture, path: &str, body: &str) -> Reply {
        let token = format!("Authorization: Bearer {}", fixture.token(Scope::Register));
        send(fixture.api, &format!("POST /v1/metrics/{path}"), &[JSON, &token], body).await
    }

    #[tokio::test]
    async fn it_takes_a_token_that_is_good_for_more_than_questions() {
        let fixture = start(view());
        let count = async |scope: Option<Scope>| {
            let token = scope.map(|scope| format!("Authorization: Bearer {}", fixture.token(scope)));
            let headers: Vec<&str> = token.as_deref().into_iter().chain([JSON]).collect();
            send(fixture.api, "POST /v1/metrics/a_total", &headers, "{}").await.status
        };
        assert_eq!((count(None).await, count(Some(Scope::Read)).await), (401, 403));
        assert!(!ask(fixture.api, "GET /metrics", &[]).await.body.contains("a_total"));
        assert_eq!((count(Some(Scope::Register)).await, count(Some(Scope::Operate)).await), (200, 200));
        assert!(ask(fixture.api, "GET /metrics", &[]).await.body.contains("\na_total 2\n"));
        let audit = std::fs::read_to_string(fixture.data.path().join(crate::agent::audit::FILE)).unwrap_or_default();
        assert!(!audit.contains("\"count\""), "a count is no change that somebody has to answer for: {audit}");
    }

    #[tokio::test]
    async fn programs_count_at_the_agent() {
        let fixture = start(view());
        let body = r#"{"labels":{"type":"login"}}"#;
        let first: CountedAnswer = post(&fixture, "business_sessions_created_total", body).await.json();
        let body = r#"{"value":2,"labels":{"type":"login"}}"#;
        let second: CountedAnswer = post(&fixture, "business_sessions_created_total", body).await.json();
        assert_eq!((first.total, second.total), (1.0, 3.0));
        let line = "business_sessions_created_total{type=\"login\"} 3\n";
        assert!(ask(fixture.api, "GET /metrics", &[]).await.body.contains(line));
        let open = ask(fixture.api, "GET /metrics?format=openmetrics", &[]).await.body;
        assert!(open.contains("# TYPE business_sessions_created counter\n") && open.contains(line), "{open}");
    }

    #[tokio::test]
    async fn what_is_not_counted_is_told_why() {
        let fixture = start(view());
        assert_eq!(post(&fixture, "a_total", r#"{"labels":{"type":"x"}}"#).await.status, 200);
        for (path, body, status) in [
            ("a_total", r#"{"labels":{"kind":"x"}}"#, 409),
            ("a_total", r#"{"value":-1,"labels":{"type":"x"}}"#, 422),
            ("http_requests_total", "{}", 422),
            ("health_check_status_total", "{}", 422),
            ("a_created_total", "{}", 409),
            ("http_requests_created_total", "{}", 422),
            ("a", "{}", 422),
            ("b_total", r#"{"amount":1}"#, 400),
            ("b_total", "", 400),
        ] {
            let reply = post(&fixture, path, body).await;
            assert_eq!(reply.status, status, "{path} {body}: {}", reply.body);
            let error: ErrorAnswer = reply.json();
            assert!(!error.detail.is_empty());
        }
        // Without the media type a page of a browser could have sent it.
        let token = format!("Authorization: Bearer {}", fixture.token(Scope::Register));
        assert_eq!(send(fixture.api, "POST /v1/metrics/a_total", &[&token], "{}").await.status, 400);
        for n in 0..crate::metrics::MAX_SERIES {
            let labels = [("n".to_owned(), n.to_string())].into();
            let _full = fixture.metrics.custom().add("many_total", &labels, 1.0);
        }
        assert_eq!(post(&fixture, "c_total", "{}").await.status, 409);
        assert_eq!(fixture.metrics.limit_hits(Limit::CustomSeries), 1);
    }
}

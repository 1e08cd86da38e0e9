//! Permits, reports and overrides, as callers and operators send them.

use super::fixture::{Reply, raw, start, view};
use crate::access::Scope;
use crate::answers::{BreakerMode, CallReportAnswer, ErrorAnswer, PermitAnswer, WishAnswer};
use std::net::SocketAddr;

async fn send(api: SocketAddr, request: &str, token: Option<&str>, body: &str) -> Reply {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let length = body.len();
    raw(
        api,
        &format!(
            "{request} HTTP/1.1\r\nHost: localhost\r\n{token}Content-Type: application/json\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        ),
    )
    .await
}

const ONE: &str = "/v1/breakers/api/api@1";

#[tokio::test]
async fn failures_that_are_reported_close_the_way() {
    let fixture = start(view());
    let permit = || send(fixture.api, "POST /v1/breakers/api/api@1/permit", None, "");
    let first: PermitAnswer = permit().await.json();
    assert!(first.admitted && !first.trial);
    let calls: Vec<_> = (0..5)
        .map(|n| {
            let permit =
                if n == 0 { format!(r#","permit":"{}""#, first.permit.clone().unwrap()) } else { String::new() };
            format!(r#"{{"outcome":"failure","fault":"answer","duration_ms":12,"operation":"get"{permit}}}"#)
        })
        .collect();
    let body = format!(r#"{{"calls":[{},{{"outcome":"neutral"}}]}}"#, calls.join(","));
    let reported: CallReportAnswer = send(fixture.api, &format!("POST {ONE}/report"), None, &body).await.json();
    assert_eq!((reported.counted, reported.void), (5, 1));
    let second: PermitAnswer = permit().await.json();
    assert_eq!((second.admitted, second.reason.as_deref()), (false, Some("open")));
    assert!(second.retry_after_ms.is_some_and(|ms| ms > 0 && ms <= 31_000));
    let page = super::fixture::ask(fixture.api, "GET /metrics", &[]).await.body;
    for line in [
        r#"circuit_breaker_state{service="api"} 2"#,
        r#"circuit_breaker_rejects_total{service="api"} 1"#,
        r#"external_calls_total{operation="get",service="api",status="error"} 5"#,
        r#"external_call_errors_total{error_type="error",operation="get",service="api"} 5"#,
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_before_anything_counts() {
    let fixture = start(view());
    for (body, word) in [
        (r#"{"calls":[{"outcome":"failure"},{"outcome":"bad"}]}"#, "outcome"),
        (r#"{"calls":[{"outcome":"success","fault":"answer"}]}"#, "fault"),
        (r#"{"calls":[{"outcome":"success","permit":"x"}]}"#, "permit"),
        (r#"{"calls":[{"outcome":"success","operation":""}]}"#, "operation"),
        ("", "EOF"),
    ] {
        let reply = send(fixture.api, &format!("POST {ONE}/report"), None, body).await;
        let error: ErrorAnswer = reply.json();
        assert!(reply.status == 400 && error.detail.contains(word), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn only_an_operator_overrides() {
    let fixture = start(view());
    let token = fixture.token(Scope::Operate);
    let body = r#"{"mode":"forced_open","reason":"an upgrade","seconds":600}"#;
    let put = |token, body| send(fixture.api, "PUT /v1/breakers/web/web@10.0.0.1:80/override", token, body);
    assert_eq!(put(None, body).await.status, 401);
    let reader = fixture.token(Scope::Read);
    assert_eq!(put(Some(reader.as_str()), body).await.status, 403);
    let reply = put(Some(token.as_str()), body).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    assert_eq!(reply.json::<WishAnswer>().mode, BreakerMode::ForcedOpen);
    for body in [
        r#"{"mode":"forced_open","reason":"","seconds":600}"#,
        r#"{"mode":"forced_open","reason":"x","seconds":0}"#,
        r#"{"mode":"automatic","reason":"x","seconds":9}"#,
    ] {
        assert_eq!(put(Some(token.as_str()), body).await.status, 400, "{body}");
    }
    for (path, known) in [("web/web@10.0.0.1:80", true), ("web/web@10.0.0.1:81", false), ("db/web@10.0.0.1:80", false)]
    {
        let reply = send(fixture.api, &format!("PUT /v1/breakers/{path}/override"), Some(token.as_str()), body).await;
        assert_eq!(reply.json::<WishAnswer>().known, known, "{path}");
    }
}

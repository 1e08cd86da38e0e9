//! What surrounds every request: ids, hosts, sizes, tags, waiting, pages.

use super::fixture::{ask, get, raw, start, view};
use super::limits::{Limit, MAX_WAITING};
use crate::access::Scope;
use crate::answers::{ErrorAnswer, HealthAnswer, InstancesAnswer, MembersAnswer, ServicesAnswer};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn every_answer_names_its_request() {
    let api = start(view()).api;
    let reply = ask(api, "GET /v1/health", &["X-Request-Id: mine-1"]).await;
    assert_eq!((reply.status, reply.header("x-request-id")), (200, Some("mine-1")));
    let reply = ask(api, "GET /v1/helth", &[]).await;
    let error: ErrorAnswer = reply.json();
    assert_eq!(reply.header("x-request-id"), Some(error.request_id.as_str()));
    assert!(error.request_id.len() > 16, "{error:?}");
}

#[tokio::test]
async fn errors_are_problem_details() {
    let api = start(view()).api;
    for (request, status, word) in [
        ("GET /v1/helth", 404, "unknown_path"),
        ("GET /v1/services/x", 404, "unknown_service"),
        ("GET /v1/instances/x", 404, "unknown_instance"),
        ("GET /v1/health?x=1", 400, "bad_request"),
        ("POST /v1/health", 405, "method_not_allowed"),
    ] {
        let reply = ask(api, request, &[]).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (status, Some("application/problem+json")),
            "{request}"
        );
        let error: ErrorAnswer = reply.json();
        assert_eq!((error.status, error.error.as_str()), (status, word), "{request}");
        assert_eq!(error.kind, format!("urn:quorate:problem:{word}"));
        assert!(!error.title.is_empty() && !error.detail.is_empty() && !error.remedy.is_empty(), "{error:?}");
    }
    let nearest = ask(api, "GET /v1/instances?servcie=web", &[]).await.json::<ErrorAnswer>().nearest;
    assert_eq!(nearest, ["service"]);
}

#[tokio::test]
async fn a_name_of_another_host_is_refused_on_loopback() {
    let api = start(view()).api;
    for host in ["localhost", "127.0.0.1:7701", "agent.localhost:7701", "[::1]"] {
        assert_eq!(ask(api, "GET /livez", &[&format!("Host: {host}")]).await.status, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:7701", ""] {
        let reply = ask(api, "GET /livez", &[&format!("Host: {host}")]).await;
        assert_eq!((reply.status, reply.json::<ErrorAnswer>().error.as_str()), (421, "misdirected"), "{host}");
    }
    let absolute =
        raw(api, "GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert_eq!(absolute.status, 421);
    assert_eq!(raw(api, "GET /livez HTTP/1.0\r\n\r\n").await.status, 200);
    let nameless = raw(api, "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert_eq!(nameless.status, 421);
    assert!(nameless.json::<ErrorAnswer>().detail.contains("does not say for which host"), "{}", nameless.body);
    let twice = "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(api, twice).await.status, 400);
}

#[tokio::test]
async fn a_method_that_nobody_knows_is_named() {
    let reply = ask(start(view()).api, "FROB /v1/health", &[]).await;
    assert_eq!((reply.status, reply.json::<ErrorAnswer>().detail.as_str()), (405, "FROB is not allowed here"));
}

#[tokio::test]
async fn no_tag_hides_a_refusal() {
    let api = start(view()).api;
    let tag = ask(api, "GET /v1/services", &[]).await.header("etag").unwrap().to_owned();
    for known in [tag.as_str(), "*"] {
        let known = format!("If-None-Match: {known}");
        for (path, status) in
            [("/v1/services/web", 304), ("/v1/services/nope", 404), ("/v1/instances/nope", 404), ("/v1/health", 304)]
        {
            assert_eq!(ask(api, &format!("GET {path}"), &[&known]).await.status, status, "{path}, {known}");
        }
    }
}

#[tokio::test]
async fn a_large_body_is_refused_unread() {
    let fixture = start(view());
    let reply = ask(fixture.api, "GET /v1/health", &["Content-Length: 70000"]).await;
    assert_eq!((reply.status, reply.json::<ErrorAnswer>().error.as_str()), (413, "body_too_large"));
    let counted = fixture.metrics.limit_hits(Limit::Body);
    let fine =
        raw(fixture.api, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
            .await;
    assert_eq!((fine.status, counted, fixture.metrics.limit_hits(Limit::Body)), (200, 1, 1));
    // One that does not say how long it is, is read so far and no further.
    let blank = " ".repeat(70_000);
    let reply = raw(
        fixture.api,
        &format!(
            "POST /v1/breakers/web/web@1/report HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\nf\r\n{{\"calls\":[     \r\n{:x}\r\n{blank}\r\n2\r\n]}}\r\n0\r\n\r\n",
            blank.len()
        ),
    )
    .await;
    assert_eq!((reply.status, reply.json::<ErrorAnswer>().error.as_str()), (413, "body_too_large"));
    assert_eq!(fixture.metrics.limit_hits(Limit::Body), 2);
}

#[tokio::test]
async fn a_body_is_an_object_and_says_that_it_is_json() {
    let fixture = start(view());
    let report = |kind: &str, body: &str| {
        let (length, api) = (body.len(), fixture.api);
        let text = format!(
            "POST /v1/breakers/web/web@1/report HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{kind}Content-Length: {length}\r\n\r\n{body}"
        );
        async move { raw(api, &text).await }
    };
    let json = "Content-Type: application/json; charset=utf-8\r\n";
    assert_eq!(report(json, "{\"calls\":[]}").await.status, 200);
    for (kind, body, word) in [
        (json, " [[]]", "object"),
        ("", "{\"calls\":[]}", "Content-Type"),
        ("Content-Type: text/plain\r\n", "{}", "Content-Type"),
    ] {
        let reply = report(kind, body).await;
        let detail = reply.json::<ErrorAnswer>().detail;
        assert!(reply.status == 400 && detail.contains(word), "{detail}");
    }
}

#[tokio::test]
async fn what_the_reader_has_is_not_sent_again() {
    let fixture = start(view());
    for path in [
        "/v1/health",
        "/v1/services",
        "/v1/services/web",
        "/v1/instances",
        "/v1/members",
        "/v1/instances/web@10.0.0.3:80",
    ] {
        let first = ask(fixture.api, &format!("GET {path}"), &[]).await;
        let tag = first.header("etag").unwrap_or_else(|| panic!("{path} has no tag")).to_owned();
        assert_eq!(first.header("cache-control"), Some("no-cache"), "{path}");
        let again = ask(fixture.api, &format!("GET {path}"), &[&format!("If-None-Match: \"x\", {tag}")]).await;
        assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(tag.as_str())), "{path}");
        let mut next = view();
        next.index = fixture.published.view().index + 1;
        fixture.published.replace(next);
        let anew = ask(fixture.api, &format!("GET {path}"), &[&format!("If-None-Match: {tag}")]).await;
        assert_eq!(anew.status, 200, "{path}");
    }
    assert_eq!(ask(fixture.api, "GET /v1/agent", &[]).await.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn waiting_as_long_as_one_wants_is_not_slowness() {
    let fixture = start(view());
    let path = format!("/v1/health?index={}&wait=1s", fixture.published.view().index);
    let begun = Instant::now();
    let _: HealthAnswer = get(fixture.api, &path, 200).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let page = ask(fixture.api, "GET /metrics", &[]).await.body;
    let sum = "http_request_duration_seconds_sum{method=\"GET\",route=\"/v1/health\",status_code=\"200\"} ";
    let sum = page.lines().find_map(|line| line.strip_prefix(sum)).unwrap_or_else(|| panic!("{page}"));
    assert!(sum.parse::<f64>().unwrap() < 1.0, "{sum}");
}

#[tokio::test]
async fn a_request_waits_for_news() {
    let fixture = start(view());
    let known = fixture.published.view().index;
    let api = fixture.api;
    let waiting =
        tokio::spawn(async move { get::<HealthAnswer>(api, &format!("/v1/health?index={known}&wait=40s"), 200).await });
    let begun = Instant::now();
    while !ask(api, "GET /metrics", &[]).await.body.contains("\nquorate_api_waiting 1\n") {
        assert!(begun.elapsed() < Duration::from_secs(10), "nobody waits");
    }
    let mut next = view();
    next.index = known + 1;
    fixture.published.replace(next);
    assert_eq!(waiting.await.unwrap().view.index, known + 1);
    assert!(begun.elapsed() < Duration::from_secs(20));
    // An index of an earlier run, and none at all, wait for nothing; time that runs out is an answer.
    for query in ["index=0", "index=999999", "wait=40s", &format!("index={}&wait=100ms", known + 1)] {
        let asked = Instant::now();
        let answer: HealthAnswer = get(api, &format!("/v1/health?{query}"), 200).await;
        assert_eq!(answer.view.index, known + 1);
        assert!(asked.elapsed() < Duration::from_secs(20), "{query}");
    }
    assert!(ask(api, "GET /metrics", &[]).await.body.contains("\nquorate_api_waiting 0\n"));
}

#[tokio::test]
async fn so_many_may_wait_and_no_more() {
    let fixture = start(view());
    let path = format!("/v1/members?index={}&wait=40s", fixture.published.view().index);
    let mut waiting = Vec::new();
    for _ in 0..MAX_WAITING {
        let mut stream = TcpStream::connect(fixture.api).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    let begun = Instant::now();
    let all = format!("\nquorate_api_waiting {MAX_WAITING}\n");
    while !ask(fixture.api, "GET /metrics", &[]).await.body.contains(&all) {
        assert!(begun.elapsed() < Duration::from_secs(20), "not all wait");
    }
    let refused: ErrorAnswer = get(fixture.api, &path, 503).await;
    assert_eq!((refused.error.as_str(), fixture.metrics.limit_hits(Limit::Waiting)), ("too_many_waiting", 1));
    drop(waiting);
    let none = "\nquorate_api_waiting 0\n";
    while !ask(fixture.api, "GET /metrics", &[]).await.body.contains(none) {
        assert!(begun.elapsed() < Duration::from_secs(40), "those that went away still wait");
    }
}

#[tokio::test]
async fn lists_are_filtered_and_come_in_pages() {
    let api = start(view()).api;
    let ids = |answer: &InstancesAnswer| answer.instances.iter().map(|i| i.instance.to_string()).collect::<Vec<_>>();
    let first: InstancesAnswer = get(api, "/v1/instances?limit=2", 200).await;
    assert_eq!((ids(&first), first.total), (vec!["db@10.0.0.2:5432".to_owned(), "web@10.0.0.1:80".to_owned()], 3));
    let after = first.next.unwrap();
    let second: InstancesAnswer = get(api, &format!("/v1/instances?limit=2&after={after}"), 200).await;
    assert_eq!((ids(&second), second.next), (vec!["web@10.0.0.3:80".to_owned()], None));
    for (query, count) in [
        ("verdict=up,unknown", 2),
        ("zone=default", 3),
        ("zone=elsewhere", 0),
        ("stale", 1),
        ("stale=false", 3),
        ("service=quorate-agent", 2),
        ("hosts=true", 5),
        ("home=0000000000000003", 1),
    ] {
        let found: InstancesAnswer = get(api, &format!("/v1/instances?{query}"), 200).await;
        assert_eq!((found.instances.len(), found.total), (count, count), "{query}");
    }
    let services: ServicesAnswer = get(api, "/v1/services?status=degraded", 200).await;
    assert_eq!((services.services.len(), services.services[0].service.as_str()), (1, "web"));
    let mut names = Vec::new();
    let mut query = "limit=1".to_owned();
    loop {
        let page: MembersAnswer = get(api, &format!("/v1/members?{query}"), 200).await;
        names.extend(page.members.iter().map(|member| member.name.clone()));
        let Some(next) = page.next else { break };
        query = format!("limit=1&after={}", next.replace('\t', "%09"));
    }
    assert_eq!(names, ["host-1", "host-2", "host-3"]);
    let failed: MembersAnswer = get(api, "/v1/members?state=failed,suspect", 200).await;
    assert_eq!((failed.members.len(), failed.counts.alive), (2, 1));
}

#[tokio::test]
async fn in_the_clear_from_elsewhere_there_are_health_probes_and_nothing_else() {
    let fixture = start(view());
    let token = format!("Authorization: Bearer {}", fixture.token(Scope::Operate));
    for path in ["/livez", "/livez/engine", "/readyz", "/healthz", "/health", "/ready", "/ops/status", "/health/queues"]
    {
        assert_eq!(ask(fixture.health, &format!("GET {path}"), &[]).await.status, 200, "{path}");
    }
    for request in [
        "GET /",
        "GET /metrics",
        "GET /api/metrics",
        "GET /v1/health",
        "GET /v1/instances",
        "GET /v1/events",
        "GET /v1/agent",
        "PUT /v1/push/web",
        "PUT /v1/instances/api@1",
        "POST /v1/breakers/web/web@10.0.0.1:80/permit",
        "POST /-/reload",
        "POST /v1/agent/leave",
    ] {
        let reply = ask(fixture.health, request, &[]).await;
        assert!(reply.status == 404 || reply.status == 403, "{request}: {} {}", reply.status, reply.body);
        let reply = ask(fixture.health, request, &[&token]).await;
        assert_eq!(reply.status, 403, "a token that comes so is not taken: {request}: {}", reply.body);
    }
    for path in ["/health?format=prometheus", "/health?format=openmetrics"] {
        let reply = ask(fixture.health, &format!("GET {path}"), &[]).await;
        assert_eq!(reply.status, 403, "metrics by another name: {}", reply.body);
    }
}

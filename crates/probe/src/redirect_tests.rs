//! Redirects, from the first request to the last.

use crate::testing::*;
use quorate_core::{Cause, Method, Phase};
use std::time::{Duration, Instant};

fn location(to: &str) -> String {
    format!("Location: {to}")
}

/// Answers `/health` with a redirect, all else with 200.
async fn redirecting(status: u16, to: &str) -> Server {
    let to = location(to);
    Server::http(move |request| {
        if request.contains(" /health ") { response(status, &[&to], "moved") } else { response(200, &[], "here") }
    })
    .await
}

#[tokio::test]
async fn they_are_followed_only_when_asked() {
    let server = redirecting(302, "/new").await;
    let outcome = probe(&server.target(), &http(|_| ())).await;
    assert_eq!(assert_fail(&outcome, Phase::Assert, Cause::Status), "Unexpected status code: 302");
    let outcome = probe(&server.target(), &http(|h| h.follow_redirects = true)).await;
    assert_pass(&outcome);
    assert_eq!((outcome.status_code, outcome.excerpt.as_str()), (Some(200), "here"));
}

#[tokio::test]
async fn a_location_with_odd_characters_is_followed() {
    let server = redirecting(302, "/new page?q=<x>").await;
    assert_pass(&probe(&server.target(), &http(|h| h.follow_redirects = true)).await);
    assert!(server.requests()[1].starts_with("GET /new%20page?q=%3Cx%3E HTTP/1.1"), "{}", server.requests()[1]);
}

#[tokio::test]
async fn an_absolute_location_leads_elsewhere_without_credentials() {
    let other = Server::http(|_| response(200, &[], "other")).await;
    for (host, keeps) in [("127.0.0.1", false), ("localhost", false)] {
        let server = redirecting(307, &format!("http://{host}:{}/x?y", other.addr.port())).await;
        let check = http(|h| {
            (h.follow_redirects, h.host) = (true, Some("www.example".into()));
            let own = [("Authorization", "secret"), ("Cookie", "secret"), ("X-Mine", "stays")];
            h.headers = own.map(|(name, value)| (name.to_owned(), value.into())).to_vec();
        });
        let outcome = probe(&server.target(), &check).await;
        assert_pass(&outcome);
        assert_eq!(outcome.peer, Some(other.addr.to_string()));
        assert!(server.requests()[0].contains("secret"));
        let request = other.requests().pop().unwrap();
        assert!(request.starts_with("GET /x?y HTTP/1.1"), "{request}");
        assert_eq!(request.contains("secret"), keeps, "{request}");
        assert!(request.contains("stays") && !request.contains("www.example"), "{request}");
    }
}

#[tokio::test]
async fn credentials_stay_on_the_same_host() {
    let server = redirecting(302, "/new").await;
    let check = http(|h| {
        h.follow_redirects = true;
        h.headers = vec![("Authorization".into(), "secret".into())];
    });
    assert_pass(&probe(&server.target(), &check).await);
    assert!(server.requests()[1].contains("secret"));
}

#[tokio::test]
async fn the_method_changes_as_the_status_says() {
    for (status, method, expected) in [
        (301, Method::Post, "GET /new "),
        (302, Method::Post, "GET /new "),
        (303, Method::Post, "GET /new "),
        (307, Method::Post, "POST /new "),
        (308, Method::Post, "POST /new "),
        (302, Method::Put, "PUT /new "),
        (303, Method::Put, "GET /new "),
        (303, Method::Head, "HEAD /new "),
    ] {
        let server = redirecting(status, "/new").await;
        let body = Some("data".to_owned()).filter(|_| method != Method::Head);
        let check = http(|h| (h.follow_redirects, h.method, h.body) = (true, method, body));
        assert_pass(&probe(&server.target(), &check).await);
        let request = &server.requests()[1];
        assert!(request.starts_with(expected), "{status} {request}");
        assert_eq!(request.ends_with("data"), expected.starts_with('P'), "{status} {request}");
    }
}

#[tokio::test]
async fn there_is_a_limit() {
    let server = Server::http(|_| response(302, &["Location: /health"], "")).await;
    let outcome = probe(&server.target(), &http(|h| (h.follow_redirects, h.max_redirects) = (true, 3))).await;
    assert_fail(&outcome, Phase::Assert, Cause::TooMuch);
    assert_eq!(server.requests().len(), 4);
    let outcome = probe(&server.target(), &http(|h| (h.follow_redirects, h.max_redirects) = (true, 0))).await;
    assert_fail(&outcome, Phase::Assert, Cause::TooMuch);
}

#[tokio::test]
async fn all_hops_share_one_timeout() {
    let server = Server::raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let answer = response(302, &["Location: /health"], "");
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &answer).await;
    })
    .await;
    let begun = Instant::now();
    let check = with_timeout(http(|h| (h.follow_redirects, h.max_redirects) = (true, 20)), 350);
    assert_fail(&probe(&server.target(), &check).await, Phase::FirstByte, Cause::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!((2..=4).contains(&server.connections()));
}

#[tokio::test]
async fn a_location_that_leads_nowhere_is_a_bad_answer() {
    for to in ["ftp://x/", "http://", "http://x:99999/"] {
        let server = redirecting(302, to).await;
        let outcome = probe(&server.target(), &http(|h| h.follow_redirects = true)).await;
        assert_fail(&outcome, Phase::Assert, Cause::Protocol);
    }
    let server = Server::http(|_| response(302, &[], "")).await;
    let outcome = probe(&server.target(), &http(|h| h.follow_redirects = true)).await;
    assert_fail(&outcome, Phase::Assert, Cause::Status);
}

/// Answers `/health` with a redirect, and knows nothing else.
async fn leading_nowhere(to: &str) -> Server {
    let to = location(to);
    Server::http(
        move |request| {
            if request.contains(" /health ") { response(302, &[&to], "") } else { response(404, &[], "lost") }
        },
    )
    .await
}

#[tokio::test]
async fn an_answer_that_is_not_accepted_says_which_path_gave_it() {
    let following = || http(|h| h.follow_redirects = true);
    let server = leading_nowhere("/new/page?token=secret").await;
    let detail = assert_fail(&probe(&server.target(), &following()).await, Phase::Assert, Cause::Status);
    assert_eq!(detail, "redirected to /new/page: Unexpected status code: 404");
    let server = leading_nowhere(&format!("/{}", "x".repeat(300))).await;
    let detail = assert_fail(&probe(&server.target(), &following()).await, Phase::Assert, Cause::Status);
    assert_eq!(detail, format!("redirected to /{}...: Unexpected status code: 404", "x".repeat(79)));
    let other = Server::http(|_| response(404, &[], "lost")).await;
    let server = leading_nowhere(&format!("http://{}/x", other.addr)).await;
    let detail = assert_fail(&probe(&server.target(), &following()).await, Phase::Assert, Cause::Status);
    assert_eq!(detail, format!("redirected to {}/x: Unexpected status code: 404", other.addr));
    let direct = assert_fail(&probe(&other.target(), &following()).await, Phase::Assert, Cause::Status);
    assert_eq!(direct, "Unexpected status code: 404");
}

#[tokio::test]
async fn a_failure_elsewhere_says_where() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = redirecting(302, &format!("http://localhost:{dead}/x")).await;
    let outcome = probe(&server.target(), &http(|h| h.follow_redirects = true)).await;
    let detail = assert_fail(&outcome, Phase::Connect, Cause::Refused);
    assert!(detail.starts_with(&format!("redirected to localhost:{dead}: ")), "{detail}");
    let server = redirecting(301, &format!("https://127.0.0.1:{dead}/x")).await;
    let outcome = probe(&server.target(), &http(|h| h.follow_redirects = true)).await;
    let detail = assert_fail(&outcome, Phase::Connect, Cause::Refused);
    assert!(
        detail.starts_with(&format!("redirected to 127.0.0.1:{dead}: ")),
        "the same host is no less elsewhere: {detail}"
    );
}

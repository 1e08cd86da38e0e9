//! HTTP: what is sent, what is judged, and what a bad far end makes of it.

use crate::testing::*;
use quorate_core::{Assertion, Cause, Condition, Grade, Method, Outcome, Phase, StatusSet, Subject};
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn has_line(request: &str, line: &str) -> bool {
    request.lines().any(|found| found.eq_ignore_ascii_case(line))
}

#[tokio::test]
async fn the_request_is_the_checks() {
    let server = Server::http(|_| response(200, &["X-Answer: 42"], "fine")).await;
    let outcome = probe(&server.target(), &http(|h| h.path = "/live?deep=1".into())).await;
    assert_pass(&outcome);
    let request = &server.requests()[0];
    assert!(request.starts_with("GET /live?deep=1 HTTP/1.1\r\n"), "{request}");
    for line in [
        &format!("Host: {}", server.addr),
        "X-Health-Check: true",
        "X-Instance-ID: web@10.0.0.1",
        "X-App-Name: web",
        "X-Observer: 00000000000000ab",
        &format!("User-Agent: Quorate/{}", env!("CARGO_PKG_VERSION")),
        "Accept: application/json, text/plain, */*",
        "Connection: close",
    ] {
        assert!(has_line(request, line), "{line} is missing in {request}");
    }
    assert_eq!((outcome.status_code, outcome.attempts), (Some(200), 1));
    assert_eq!(outcome.peer, Some(server.addr.to_string()));
    assert_eq!(outcome.excerpt, "fine");
    assert!(outcome.headers.contains(&("x-answer".into(), "42".into())));
}

#[tokio::test]
async fn methods_and_bodies_are_sent() {
    let server = Server::http(|_| response(200, &[], "")).await;
    for (method, body) in [(Method::Post, Some("{}")), (Method::Put, Some("xyz")), (Method::Head, None)] {
        let check = http(|h| (h.method, h.body) = (method, body.map(str::to_owned)));
        assert_pass(&probe(&server.target(), &check).await);
        let request = server.requests().pop().unwrap();
        assert!(request.starts_with(&format!("{} /health ", method.as_str())), "{request}");
        assert!(request.ends_with(&format!("\r\n\r\n{}", body.unwrap_or(""))), "{request}");
        if let Some(body) = body {
            assert!(has_line(&request, &format!("Content-Length: {}", body.len())), "{request}");
        }
    }
}

#[tokio::test]
async fn the_users_headers_win() {
    let server = Server::http(|_| response(200, &[], "")).await;
    let check = http(|h| {
        h.host = Some("www.example".into());
        let own = [("user-agent", "mine"), ("X-Two", "1"), ("X-Two", "2"), ("Content-Length", "99"), ("ACCEPT", "a/b")];
        h.headers = own.map(|(name, value)| (name.to_owned(), value.into())).to_vec();
    });
    assert_pass(&probe(&server.target(), &check).await);
    let request = server.requests().pop().unwrap();
    for line in ["Host: www.example", "User-Agent: mine", "X-Two: 1", "X-Two: 2", "Accept: a/b"] {
        assert!(has_line(&request, line), "{line} is missing in {request}");
    }
    assert!(!request.contains("Quorate/") && !request.contains("99"), "{request}");
}

#[tokio::test]
async fn the_status_is_judged() {
    let server = Server::http(|_| response(503, &[], "draining")).await;
    let outcome = probe(&server.target(), &http(|_| ())).await;
    assert_eq!(assert_fail(&outcome, Phase::Assert, Cause::Status), "Unexpected status code: 503");
    assert_eq!((outcome.status_code, outcome.excerpt.as_str()), (Some(503), "draining"));
    let check = http(|h| h.expected_status = StatusSet::parse(["5xx"]).unwrap());
    assert_pass(&probe(&server.target(), &check).await);
}

/// Whoever is asked to close after the answer and lingers is told at once that nobody listens any more.
#[tokio::test]
async fn a_connection_that_is_not_kept_leaves_nothing_behind() {
    let (ended, mut heard) = tokio::sync::mpsc::channel(2);
    let server = Server::raw(move |mut stream, _| {
        let ended = ended.clone();
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(&response(200, &[], "fine")).await;
            let end = stream.read(&mut [0; 1]).await.map_err(|error| error.kind());
            ended.send(end).await.unwrap();
        }
    })
    .await;
    let kept = http(|h| h.reuse_connection = true);
    for (check, end) in [(http(|_| ()), Err(ErrorKind::ConnectionReset)), (kept, Ok(0))] {
        assert_pass(&probe(&server.target(), &check).await);
        let heard = tokio::time::timeout(Duration::from_secs(10), heard.recv()).await;
        assert_eq!(heard.unwrap(), Some(end));
    }
}

#[tokio::test]
async fn an_unexpected_status_outweighs_a_broken_body() {
    let server = Server::once("HTTP/1.1 500 X\r\nContent-Length: 10\r\n\r\nabc").await;
    assert_fail(&probe(&server.target(), &http(|_| ())).await, Phase::Assert, Cause::Status);
}

#[tokio::test]
async fn phases_are_timed() {
    let server = Server::raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(80)).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").await;
        tokio::time::sleep(Duration::from_millis(120)).await;
        let _ = stream.write_all(b"cd").await;
    })
    .await;
    let outcome = probe(&server.target(), &http(|_| ())).await;
    assert_pass(&outcome);
    let timings = outcome.timings;
    assert_eq!((timings.resolve, timings.tls), (None, None), "an address needs no look-up");
    let (first, transfer) = (timings.first_byte.unwrap().as_millis(), timings.transfer.unwrap().as_millis());
    assert!(timings.connect.is_some() && (60..1000).contains(&first) && (100..1000).contains(&transfer), "{timings:?}");
    assert!(timings.total >= timings.first_byte.unwrap() + timings.transfer.unwrap());
    let named = probe(&target(format!("localhost:{}", server.addr.port())), &http(|_| ())).await;
    assert!(named.timings.resolve.is_some());
}

#[tokio::test]
async fn a_long_body_is_cut_and_is_no_failure() {
    let server = Server::raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while stream.write_all(&[b"400\r\n".as_slice(), &[b'x'; 1024], b"\r\n"].concat()).await.is_ok() {}
    })
    .await;
    let outcome = probe(&server.target(), &http(|h| h.max_body_bytes = 5000)).await;
    assert_pass(&outcome);
    assert_eq!(outcome.excerpt.len(), Outcome::MAX_EXCERPT_BYTES);
    let outcome = probe(&server.target(), &http(|h| h.max_body_bytes = 10)).await;
    assert_pass(&outcome);
    assert_eq!(outcome.excerpt.len(), 10);
    let outcome = probe(&server.target(), &http(|h| h.max_body_bytes = 0)).await;
    assert_eq!(outcome.excerpt.len(), 0);
}

#[tokio::test]
async fn what_was_cut_is_not_taken_for_the_whole() {
    let server = Server::http(|_| response(200, &[], "1234")).await;
    let equals = |text: &str, max| {
        let condition = Condition::Equals(text.to_owned());
        let assertion = Assertion { subject: Subject::Body, condition, negated: false, otherwise: Grade::Fail };
        http(|h| (h.max_body_bytes, h.assertions) = (max, vec![assertion]))
    };
    assert_pass(&probe(&server.target(), &equals("1234", 4)).await);
    let detail = assert_fail(&probe(&server.target(), &equals("12", 2)).await, Phase::Assert, Cause::Content);
    assert!(detail.contains("longer than `max_body_bytes`"), "{detail}");
}

#[tokio::test]
async fn a_body_that_ends_early_was_cut_off() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ] {
        let server = Server::once(answer).await;
        assert_fail(&probe(&server.target(), &http(|_| ())).await, Phase::Body, Cause::Reset);
        let enough = probe(&server.target(), &http(|h| h.max_body_bytes = 2)).await;
        assert_pass(&enough);
    }
    let server = Server::once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").await;
    assert_fail(&probe(&server.target(), &http(|_| ())).await, Phase::Body, Cause::Protocol);
    let server = Server::once("HTTP/1.0 200 OK\r\n\r\nall of it").await;
    assert_eq!(probe(&server.target(), &http(|_| ())).await.excerpt, "all of it");
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_failure() {
    for garbage in
        ["220 mail ready\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "\0\0\0\0\r\n\r\n"]
    {
        let server = Server::once(garbage).await;
        let detail = assert_fail(&probe(&server.target(), &http(|_| ())).await, Phase::FirstByte, Cause::Protocol);
        assert!(detail.starts_with("Invalid response"), "{detail}");
    }
}

#[tokio::test]
async fn a_flood_of_headers_is_bounded() {
    let many: String = (0..1000).map(|i| format!("X-{i}: v\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "v".repeat(300_000));
    for headers in [many, long] {
        let server = Server::once(format!("HTTP/1.1 200 OK\r\n{headers}\r\n")).await;
        assert_fail(&probe(&server.target(), &http(|_| ())).await, Phase::FirstByte, Cause::TooMuch);
    }
    let endless = Server::raw(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX-Long: ").await;
        while stream.write_all(&[b'v'; 1024]).await.is_ok() {}
    })
    .await;
    assert_fail(&probe(&endless.target(), &http(|_| ())).await, Phase::FirstByte, Cause::TooMuch);
}

#[tokio::test]
async fn closing_without_an_answer_is_a_reset() {
    for answer in ["", "HTTP/1.1 200"] {
        let server = Server::once(answer).await;
        assert_fail(&probe(&server.target(), &http(|_| ())).await, Phase::FirstByte, Cause::Reset);
    }
    let server = Server::raw(|stream, _| async move {
        // Closing with unread data makes the kernel send a reset.
        stream.readable().await.unwrap();
        drop(stream);
    })
    .await;
    let outcome = probe(&server.target(), &http(|_| ())).await;
    let detail = assert_fail(&outcome, Phase::FirstByte, Cause::Reset);
    assert!(detail.starts_with("Connection error: "), "{detail}");
}

#[tokio::test]
async fn a_closed_port_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let outcome = probe(&target(addr.to_string()), &http(|_| ())).await;
    let detail = assert_fail(&outcome, Phase::Connect, Cause::Refused);
    assert!(detail.starts_with("Connection error: "), "{detail}");
    assert_eq!(outcome.peer, Some(addr.to_string()));
    assert!(outcome.timings.connect.is_some() && outcome.timings.first_byte.is_none());
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    let server = Server::raw(|stream, _| drain(stream)).await;
    let begun = Instant::now();
    let outcome = probe(&server.target(), &with_timeout(http(|_| ()), 150)).await;
    assert_eq!(assert_fail(&outcome, Phase::FirstByte, Cause::Timeout), "Request timeout");
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(150) && took < Duration::from_millis(1000), "{took:?}");
    assert!(outcome.timings.total >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_slow_drip_ends_with_the_timeout() {
    for (begin, phase) in
        [("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", Phase::Body), ("HTTP/1.1 200 OK\r\nX: ", Phase::FirstByte)]
    {
        let server = Server::raw(move |mut stream, _| async move {
            let _ = stream.write_all(begin.as_bytes()).await;
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let begun = Instant::now();
        let outcome = probe(&server.target(), &with_timeout(http(|_| ()), 200)).await;
        assert_eq!(assert_fail(&outcome, phase, Cause::Timeout), "Request timeout");
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_far_end_that_does_not_read_leaves_the_probe_sending() {
    let server = Server::raw(|stream, _| async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        drop(stream);
    })
    .await;
    // Far beyond what a valid check sends: more than both kernels' buffers hold.
    let check = http(|h| (h.method, h.body) = (Method::Post, Some("x".repeat(32 * 1024 * 1024))));
    assert_fail(&probe(&server.target(), &with_timeout(check, 300)).await, Phase::Send, Cause::Timeout);
}

#[tokio::test]
async fn an_unusable_check_is_the_observers_fault() {
    let server = Server::http(|_| response(200, &[], "")).await;
    let bad = [
        http(|h| h.path = "no-slash".into()),
        http(|h| h.path = "/a b\r\nX: y".into()),
        http(|h| h.headers = vec![("Bad Name".into(), "x".into())]),
        http(|h| h.headers = vec![("X".into(), "a\r\nb".into())]),
        http(|h| h.host = Some("a\nb".into())),
    ];
    for check in bad {
        assert_fail(&probe(&server.target(), &check).await, Phase::Prepare, Cause::Local);
    }
    for address in ["", "web", "127.0.0.1", "127.0.0.1:0", "[::1]", "a b:80"] {
        assert_fail(&probe(&target(address), &http(|_| ())).await, Phase::Prepare, Cause::Local);
    }
    assert_eq!(server.connections(), 0, "nothing was connected to");
}

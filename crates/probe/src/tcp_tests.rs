//! TCP: connect, send, expect.

use crate::testing::*;
use quorate_core::{Cause, Expect, Grade, Outcome, Phase};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

fn contains(text: &str) -> Option<Expect> {
    Some(Expect::Contains(text.as_bytes().to_vec()))
}

fn regex(pattern: &str) -> Option<Expect> {
    Some(Expect::Regex(pattern.to_owned()))
}

/// Sends these pieces, 20 ms apart, then stays connected without a word or, with `close`, ends.
async fn saying(pieces: &'static [&'static str], close: bool) -> Server {
    Server::raw(move |mut stream, _| async move {
        for piece in pieces {
            let _ = stream.write_all(piece.as_bytes()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if close {
            let _ = stream.shutdown().await;
        }
        drain(stream).await;
    })
    .await
}

#[tokio::test]
async fn a_connection_alone_passes() {
    let server = saying(&[], false).await;
    let outcome = probe(&server.target(), &tcp(|_| ())).await;
    assert_pass(&outcome);
    assert_eq!((outcome.peer, outcome.status_code), (Some(server.addr.to_string()), None));
    assert!(outcome.timings.connect.is_some() && outcome.timings.first_byte.is_none());
}

#[tokio::test]
async fn a_closed_port_refuses() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let outcome = probe(&target(free.to_string()), &tcp(|_| ())).await;
    let detail = assert_fail(&outcome, Phase::Connect, Cause::Refused);
    assert!(detail.starts_with("Connection error: "), "{detail}");
}

#[tokio::test]
async fn what_is_sent_arrives() {
    let server = Server::raw(|mut stream, _| async move {
        let mut ping = [0; 6];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut ping).await.unwrap();
        let answer: &[u8] = if &ping == b"PING\r\n" { b"+PONG\r\n" } else { b"-ERR\r\n" };
        let _ = stream.write_all(answer).await;
        drain(stream).await;
    })
    .await;
    let ask = |send: &str| tcp(|t| (t.send, t.expect) = (send.as_bytes().to_vec(), contains("+PONG")));
    let outcome = probe(&server.target(), &ask("PING\r\n")).await;
    assert_pass(&outcome);
    assert_eq!(outcome.excerpt, "+PONG\r\n");
    assert!(outcome.timings.first_byte.is_some());
    let judged =
        |outcome: &Outcome| outcome.judgements.iter().map(|one| (one.what.clone(), one.grade)).collect::<Vec<_>>();
    assert_eq!(judged(&outcome), [("answer contains \"+PONG\"".to_owned(), Grade::Pass)]);
    let check = with_timeout(ask("PONG\r\n"), 200);
    let outcome = probe(&server.target(), &check).await;
    assert_eq!(assert_fail(&outcome, Phase::Assert, Cause::Content), "Unexpected response content");
    assert_eq!(judged(&outcome), [("answer contains \"+PONG\"".to_owned(), Grade::Fail)]);
}

#[tokio::test]
async fn an_answer_in_pieces_is_put_together() {
    let server = saying(&["22", "0 rea", "dy"], false).await;
    for expect in [contains("220 ready"), regex("^220 .*y$")] {
        let begun = Instant::now();
        assert_pass(&probe(&server.target(), &tcp(|t| t.expect = expect)).await);
        assert!(begun.elapsed() < Duration::from_secs(1), "a match ends the reading");
    }
}

#[tokio::test]
async fn what_does_not_match_by_the_end_is_a_bad_answer() {
    let server = saying(&["500 sorry"], true).await;
    for expect in [contains("220"), regex("^220")] {
        let outcome = probe(&server.target(), &tcp(|t| t.expect = expect)).await;
        assert_fail(&outcome, Phase::Assert, Cause::Content);
        assert_eq!(outcome.excerpt, "500 sorry");
    }
}

#[tokio::test]
async fn the_reading_is_limited() {
    let server = saying(&["0123456789ready"], false).await;
    for expect in [contains("ready"), regex("ready")] {
        let limited = tcp(|t| (t.expect, t.max_read_bytes) = (expect.clone(), 10));
        let begun = Instant::now();
        let detail = assert_fail(&probe(&server.target(), &limited).await, Phase::Assert, Cause::Content);
        assert_eq!(detail, "Unexpected response content within `max_read_bytes` (10)");
        assert!(begun.elapsed() < Duration::from_secs(1), "the limit ends the reading");
        assert_pass(&probe(&server.target(), &tcp(|t| (t.expect, t.max_read_bytes) = (expect, 15))).await);
    }
}

#[tokio::test]
async fn silence_is_told_from_a_bad_answer() {
    let begun = Instant::now();
    let silent = saying(&[], false).await;
    let check = with_timeout(tcp(|t| t.expect = contains("220")), 150);
    let detail = assert_fail(&probe(&silent.target(), &check).await, Phase::FirstByte, Cause::Timeout);
    assert_eq!(detail, "Request timeout");
    let talking = saying(&["hello"], false).await;
    assert_fail(&probe(&talking.target(), &check).await, Phase::Assert, Cause::Content);
    let closing = saying(&[], true).await;
    assert_fail(&probe(&closing.target(), &check).await, Phase::FirstByte, Cause::Reset);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn an_endless_drip_is_bounded_and_cheap() {
    let server = Server::raw(|mut stream, _| async move { while stream.write_all(b"x").await.is_ok() {} }).await;
    for expect in [contains("y"), regex("y$")] {
        let check = with_timeout(tcp(|t| (t.expect, t.max_read_bytes) = (expect, 1024 * 1024)), 300);
        let begun = Instant::now();
        assert_fail(&probe(&server.target(), &check).await, Phase::Assert, Cause::Content);
        assert!(begun.elapsed() < Duration::from_millis(1500));
    }
}

#[tokio::test]
async fn a_malformed_expression_is_the_observers_fault() {
    let server = saying(&["x"], false).await;
    let outcome = probe(&server.target(), &tcp(|t| t.expect = regex("("))).await;
    assert_fail(&outcome, Phase::Prepare, Cause::Local);
    assert_eq!(server.connections(), 0);
}

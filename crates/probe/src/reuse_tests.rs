//! Kept connections: only when asked, only while they live, and never the reason of a failure.

use crate::testing::*;
use crate::{Limits, Own, Prober, Target};
use quorate_core::{Cause, Check, Method, Phase};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

fn reusing() -> Check {
    http(|h| h.reuse_connection = true)
}

#[tokio::test]
async fn a_connection_is_kept_only_when_asked() {
    let server = Server::http(|_| response(200, &[], "fine")).await;
    let prober = Prober::default();
    for _ in 0..3 {
        assert_pass(&prober.run(&server.target(), &http(|_| ())).await);
    }
    assert_eq!((server.connections(), prober.idle_connections()), (3, 0));
    for _ in 0..3 {
        assert_pass(&prober.run(&server.target(), &reusing()).await);
    }
    assert_eq!((server.connections(), prober.idle_connections()), (4, 1));
    assert_eq!(prober.stats().reused_connections, 2);
    let outcome = prober.run(&server.target(), &reusing()).await;
    assert!(outcome.timings.connect.is_none() && outcome.timings.first_byte.is_some());
    assert_eq!(outcome.peer, Some(server.addr.to_string()));
    assert!(server.requests().pop().unwrap().to_ascii_lowercase().contains("connection: keep-alive"));
}

#[tokio::test]
async fn it_is_closed_after_its_time() {
    let server = Server::http(|_| response(200, &[], "fine")).await;
    let prober = Prober::new(Limits { keepalive: Duration::from_millis(50), ..Limits::default() }, Own::default());
    assert_pass(&prober.run(&server.target(), &reusing()).await);
    tokio::time::sleep(Duration::from_millis(80)).await;
    let elsewhere = Server::http(|_| response(200, &[], "")).await;
    prober.run(&elsewhere.target(), &http(|_| ())).await;
    assert_eq!(prober.idle_connections(), 0, "any probe closes what has expired");
    assert_pass(&prober.run(&server.target(), &reusing()).await);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn one_that_was_closed_meanwhile_is_replaced() {
    let server = Server::raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(&response(200, &[], "fine")).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _ = stream.shutdown().await;
    })
    .await;
    let prober = Prober::default();
    for wait in [0, 60, 60] {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        assert_pass(&prober.run(&server.target(), &reusing()).await);
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn one_that_closes_on_the_next_request_is_replaced() {
    let server = Server::raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(&response(200, &[], "fine")).await;
        read_request(&mut stream).await;
    })
    .await;
    let prober = Prober::default();
    for _ in 0..2 {
        let outcome = prober.run(&server.target(), &reusing()).await;
        assert_pass(&outcome);
        assert_eq!(outcome.attempts, 1);
    }
    assert_eq!((server.connections(), prober.stats().reused_connections), (2, 1));
}

#[tokio::test]
async fn a_failing_connect_is_seen_once_the_kept_one_is_gone() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = target(listener.local_addr().unwrap().to_string());
    let serve = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(&response(200, &[], "fine")).await.unwrap();
        drop(listener);
        stream.shutdown().await.unwrap();
        drain(stream).await;
    });
    let prober = Prober::default();
    assert_pass(&prober.run(&address, &reusing()).await);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_fail(&prober.run(&address, &reusing()).await, Phase::Connect, Cause::Refused);
    serve.await.unwrap();
}

#[tokio::test]
async fn a_connection_with_an_unread_rest_is_not_kept() {
    // More than arrives at once: what has been received anyway costs nothing to skip.
    let server = Server::http(|_| response(200, &[], &"x".repeat(8 * 1024 * 1024))).await;
    let prober = Prober::default();
    let check = http(|h| (h.reuse_connection, h.max_body_bytes) = (true, 4));
    for _ in 0..2 {
        assert_pass(&prober.run(&server.target(), &check).await);
    }
    assert_eq!((server.connections(), prober.idle_connections()), (2, 0));
}

#[tokio::test]
async fn a_connection_whose_answer_came_to_its_end_is_kept_although_it_was_cut() {
    let server = Server::http(|_| response(200, &[], "fine")).await;
    let prober = Prober::default();
    let check = http(|h| (h.reuse_connection, h.max_body_bytes) = (true, 2));
    for _ in 0..2 {
        assert_pass(&prober.run(&server.target(), &check).await);
    }
    assert_eq!((server.connections(), prober.idle_connections()), (1, 1));
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let posts = std::sync::Arc::new(AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&posts);
    let server = Server::raw(move |mut stream, _| {
        let count = std::sync::Arc::clone(&count);
        async move {
            while let Some(request) = read_request(&mut stream).await {
                if request.starts_with("POST") {
                    count.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                let _ = stream.write_all(&response(200, &[], "fine")).await;
            }
        }
    })
    .await;
    let prober = Prober::default();
    assert_pass(&prober.run(&server.target(), &reusing()).await);
    let post = http(|h| (h.reuse_connection, h.method) = (true, Method::Post));
    assert_fail(&prober.run(&server.target(), &post).await, Phase::FirstByte, Cause::Reset);
    assert_eq!(posts.load(Ordering::SeqCst), 1);
}

/// The key of a kept connection is where it leads, not who may send anything there.
#[tokio::test]
async fn one_that_was_opened_for_another_agents_target_is_not_a_way_around_what_is_allowed() {
    let server = Server::http(|_| response(200, &[], "fine")).await;
    let prober = Prober::default();
    assert_pass(&prober.run(&server.target(), &reusing()).await);
    let foreign = Target { home: Some(vec!["192.0.2.1".parse().unwrap()]), ..server.target() };
    assert_fail(&prober.run(&foreign, &reusing()).await, Phase::Prepare, Cause::Local);
    assert_eq!((server.requests().len(), prober.idle_connections()), (1, 1));
    let own = Target { home: Some(vec![server.addr.ip()]), ..server.target() };
    assert_pass(&prober.run(&own, &reusing()).await);
    assert_eq!((server.connections(), prober.stats().reused_connections), (1, 1));
}

#[tokio::test]
async fn the_pool_is_bounded() {
    let prober = Prober::new(Limits { max_concurrent: 3, ..Limits::default() }, Own::default());
    for _ in 0..5 {
        let server = Server::http(|_| response(200, &[], "")).await;
        assert_pass(&prober.run(&server.target(), &reusing()).await);
    }
    assert_eq!(prober.idle_connections(), 3);
}

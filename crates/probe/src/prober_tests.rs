//! Retries, names, and timeouts at their extremes.

use crate::resolve::Lookup;
use crate::testing::*;
use crate::{Limits, Own, Prober};
use quorate_core::{Cause, Check, Phase};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

/// Fails as often as given, then passes.
async fn failing(times: usize) -> Server {
    let failed = AtomicUsize::new(0);
    Server::http(move |_| {
        let status = if failed.fetch_add(1, Ordering::SeqCst) < times { 500 } else { 200 };
        response(status, &[], "")
    })
    .await
}

#[tokio::test]
async fn a_failure_is_tried_again_as_often_as_asked() {
    for (retries, attempts, passes) in [(0, 1, false), (1, 2, false), (2, 3, true), (5, 3, true)] {
        let server = failing(2).await;
        let outcome = probe(&server.target(), &Check { max_retries: retries, ..http(|_| ()) }).await;
        assert_eq!((outcome.attempts, server.requests().len()), (attempts, attempts as usize));
        if passes {
            assert_pass(&outcome);
        } else {
            assert_fail(&outcome, Phase::Assert, Cause::Status);
        }
    }
}

#[tokio::test]
async fn all_attempts_share_one_timeout_and_the_last_failure_is_told() {
    let server = Server::raw(|mut stream, n| async move {
        read_request(&mut stream).await;
        if n > 0 {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _ = stream.write_all(&response(500, &[], "")).await;
    })
    .await;
    let begun = Instant::now();
    let check = with_timeout(Check { max_retries: 9, ..http(|_| ()) }, 300);
    let outcome = probe(&server.target(), &check).await;
    assert_fail(&outcome, Phase::FirstByte, Cause::Timeout);
    assert_eq!((outcome.attempts, outcome.status_code), (2, None));
    assert!(outcome.timings.total >= Duration::from_millis(300));
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn the_observers_own_trouble_is_not_tried_again() {
    let outcome = probe(&target("nowhere"), &Check { max_retries: 5, ..http(|_| ()) }).await;
    assert_fail(&outcome, Phase::Prepare, Cause::Local);
    assert_eq!(outcome.attempts, 1);
}

fn answering(ips: Vec<IpAddr>, after: Duration) -> (Lookup, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let lookup: Lookup = Arc::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let ips = ips.clone();
        Box::pin(async move {
            tokio::time::sleep(after).await;
            Ok(ips)
        })
    });
    (lookup, asked)
}

#[tokio::test]
async fn names_are_kept_for_their_time_and_forgotten_when_connecting_fails() {
    let server = Server::http(|_| response(200, &[], "")).await;
    let named = target(format!("Web.Example:{}", server.addr.port()));
    for (ttl, lookups) in [(Duration::from_secs(300), 1), (Duration::ZERO, 3)] {
        let (lookup, asked) = answering(vec![server.addr.ip()], Duration::ZERO);
        let prober = Prober::with_lookup(Limits { dns_cache_ttl: ttl, ..Limits::default() }, Own::default(), lookup);
        for _ in 0..3 {
            let outcome = prober.run(&named, &http(|_| ())).await;
            assert_pass(&outcome);
            assert_eq!(outcome.peer, Some(server.addr.to_string()));
        }
        assert_eq!(asked.load(Ordering::SeqCst), lookups);
    }
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (lookup, asked) = answering(vec![free.ip()], Duration::ZERO);
    let prober = Prober::with_lookup(Limits::default(), Own::default(), lookup);
    for _ in 0..2 {
        let outcome = prober.run(&target(format!("web:{}", free.port())), &http(|_| ())).await;
        assert_fail(&outcome, Phase::Connect, Cause::Refused);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// All of 127.0.0.0/8 is this host, on Linux.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_service_that_has_moved_is_found_by_the_next_attempt() {
    use quorate_core::CheckKind;
    use quorate_core::check::UdpCheck;
    use tokio::net::UdpSocket;

    let (old, new) = (IpAddr::from([127, 0, 0, 2]), IpAddr::from([127, 0, 0, 1]));
    let moving = move || {
        let asked = AtomicUsize::new(0);
        let lookup: Lookup = Arc::new(move |_| {
            let ip = if asked.fetch_add(1, Ordering::SeqCst) == 0 { old } else { new };
            Box::pin(async move { Ok(vec![ip]) })
        });
        Prober::with_lookup(Limits::default(), Own::default(), lookup)
    };
    let there = UdpSocket::bind((new, 0)).await.unwrap();
    let port = there.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut asked = [0; 16];
        while let Ok((_, asker)) = there.recv_from(&mut asked).await {
            let _ = there.send_to(b"pong", asker).await;
        }
    });
    let named = target(format!("web:{port}"));
    let udp = checking(CheckKind::Udp(UdpCheck { send: b"ping".to_vec(), ..UdpCheck::default() }));
    let silent = UdpSocket::bind((old, port)).await.unwrap();
    let prober = moving();
    let outcome = prober.run(&named, &with_timeout(udp.clone(), 200)).await;
    assert_fail(&outcome, Phase::FirstByte, Cause::Timeout);
    assert_pass(&prober.run(&named, &udp).await);
    drop(silent);
    let outcome = moving().run(&named, &Check { max_retries: 1, ..udp }).await;
    assert_pass(&outcome);
    assert_eq!(outcome.attempts, 2, "refused at its old place");

    let server = Server::http(|_| response(200, &[], "")).await;
    let named = target(format!("web:{}", server.addr.port()));
    let _hung = std::net::TcpListener::bind((old, server.addr.port())).unwrap();
    let prober = moving();
    let outcome = prober.run(&named, &with_timeout(http(|_| ()), 200)).await;
    assert_fail(&outcome, Phase::FirstByte, Cause::Timeout);
    assert_pass(&prober.run(&named, &http(|_| ())).await);
}

#[tokio::test]
async fn a_name_without_address_or_without_answer_is_a_resolve_failure() {
    let (lookup, _) = answering(Vec::new(), Duration::ZERO);
    let outcome =
        Prober::with_lookup(Limits::default(), Own::default(), lookup).run(&target("web:80"), &tcp(|_| ())).await;
    assert_fail(&outcome, Phase::Resolve, Cause::NameNotFound);
    assert!(outcome.timings.resolve.is_some() && outcome.peer.is_none());
    let (lookup, _) = answering(Vec::new(), Duration::from_secs(5));
    let prober = Prober::with_lookup(Limits::default(), Own::default(), lookup);
    let outcome = prober.run(&target("web:80"), &with_timeout(tcp(|_| ()), 100)).await;
    assert_fail(&outcome, Phase::Resolve, Cause::Timeout);
}

#[tokio::test]
async fn a_full_backlog_ends_with_a_connection_timeout() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut held = Vec::new();
    for _ in 0..8 {
        let connecting = tokio::time::timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(addr));
        held.push(connecting.await);
    }
    assert!(held.iter().any(Result::is_err), "the backlog is full");
    for check in [http(|_| ()), tcp(|_| ())] {
        let outcome = probe(&target(addr.to_string()), &with_timeout(check, 150)).await;
        assert_eq!(assert_fail(&outcome, Phase::Connect, Cause::Timeout), "Connection timeout");
    }
}

#[tokio::test]
async fn timeouts_of_zero_or_without_end_do_no_harm() {
    let server = Server::http(|_| response(200, &[], "")).await;
    let endless = Check { timeout: Duration::MAX, ..http(|_| ()) };
    assert_pass(&probe(&server.target(), &endless).await);
    let silent = Server::raw(|stream, _| drain(stream)).await;
    let none = Check { timeout: Duration::ZERO, max_retries: 5, ..http(|_| ()) };
    let outcome = probe(&silent.target(), &none).await;
    assert!(matches!(outcome.result, quorate_core::ProbeResult::Fail(_)));
    assert!(outcome.attempts == 1 && outcome.timings.total < Duration::from_millis(200), "{outcome:?}");
}

#[test]
fn a_prober_can_be_shared_between_tasks() {
    fn shareable<T: Clone + Send + Sync + 'static>() {}
    fn sendable(_: impl Future + Send) {}
    shareable::<Prober>();
    sendable(async { probe(&target("web:80"), &http(|_| ())).await });
}

//! The gate: how many probes run, who waits, and that waiting is nobody's failure.

use crate::testing::*;
use crate::{Limits, Own, Prober};
use quorate_core::{Cause, Phase};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// Answers after 100 ms.
async fn slow() -> Server {
    Server::raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _ = stream.write_all(&response(200, &[], "")).await;
    })
    .await
}

#[tokio::test]
async fn waiting_for_a_permit_is_not_part_of_the_probe() {
    for limits in [Limits { max_concurrent: 1, ..Limits::default() }, Limits { max_per_host: 1, ..Limits::default() }] {
        let (server, prober) = (slow().await, Prober::new(limits, Own::default()));
        let (target, check) = (server.target(), with_timeout(http(|_| ()), 180));
        let (first, second) = tokio::join!(prober.run(&target, &check), prober.run(&target, &check));
        for outcome in [first, second] {
            assert_pass(&outcome);
            assert!(outcome.timings.total < Duration::from_millis(180), "{:?}", outcome.timings);
        }
        let stats = prober.stats();
        assert_eq!((stats.waited, stats.passed, stats.limit_reached), (1, 2, 0));
        assert!(stats.waited_total >= Duration::from_millis(80), "{stats:?}");
        assert_eq!((stats.in_flight, stats.waiting, prober.busy_hosts()), (0, 0, 0));
    }
}

#[tokio::test]
async fn other_hosts_do_not_wait_for_a_full_one() {
    let (server, prober) = (slow().await, Prober::new(Limits { max_per_host: 1, ..Limits::default() }, Own::default()));
    let (one, check) = (server.target(), http(|_| ()));
    let other = target(format!("localhost:{}", server.addr.port()));
    let (first, second) = tokio::join!(prober.run(&one, &check), prober.run(&other, &check));
    assert_pass(&first);
    assert_pass(&second);
    assert_eq!(prober.stats().waited, 0);
}

#[tokio::test]
async fn no_permit_within_the_timeout_proves_nothing() {
    let server = Server::raw(|stream, _| drain(stream)).await;
    let prober = Prober::new(Limits { max_concurrent: 1, ..Limits::default() }, Own::default());
    let (long, short) = (with_timeout(http(|_| ()), 400), with_timeout(http(|_| ()), 100));
    let target = server.target();
    let (first, second) = tokio::join!(prober.run(&target, &long), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(prober.stats().in_flight, 1);
        prober.run(&target, &short).await
    });
    assert_fail(&first, Phase::FirstByte, Cause::Timeout);
    assert_eq!(assert_fail(&second, Phase::Prepare, Cause::Local), "probe limit reached");
    let stats = prober.stats();
    assert_eq!((stats.limit_reached, stats.attempts, stats.failed, stats.timeouts), (1, 1, 2, 1));
    assert!(stats.failures_by_phase.contains(&(Phase::Prepare, 1)));
    assert!(stats.failures_by_phase.contains(&(Phase::FirstByte, 1)));
}

#[tokio::test]
async fn a_cancelled_probe_gives_its_permit_back() {
    let server = Server::raw(|stream, _| drain(stream)).await;
    let prober = Prober::new(Limits { max_concurrent: 1, max_per_host: 1, ..Limits::default() }, Own::default());
    let (target, check) = (server.target(), http(|_| ()));
    for _ in 0..3 {
        let both = async { tokio::join!(prober.run(&target, &check), prober.run(&target, &check)) };
        assert!(tokio::time::timeout(Duration::from_millis(50), both).await.is_err());
        let stats = prober.stats();
        assert_eq!((stats.in_flight, stats.waiting, prober.busy_hosts()), (0, 0, 0));
    }
}

#[tokio::test]
async fn limits_of_zero_or_without_end_still_work() {
    let server = Server::http(|_| response(200, &[], "")).await;
    for n in [0, usize::MAX] {
        let forever = Duration::MAX;
        let limits = Limits { max_concurrent: n, max_per_host: n, dns_cache_ttl: forever, keepalive: forever };
        assert_pass(
            &Prober::new(limits, Own::default()).run(&server.target(), &http(|h| h.reuse_connection = true)).await,
        );
    }
}

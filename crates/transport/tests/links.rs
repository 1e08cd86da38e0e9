//! Links between members: what they carry, and that there is one of them, however it came about.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // the lint spares test functions, not their helpers

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quorate_transport::{Identity, Incoming, SendError, TransportConfig, limits};
use support::{Agent, Mesh, VERSION, VERSIONS, eventually, loopback};
use tempfile::TempDir;

struct Pair {
    _dirs: Vec<TempDir>,
    identities: [Identity; 2],
}

/// Two members, the one with the lower id first.
async fn pair() -> Pair {
    let mesh = Mesh::new();
    let mut members = mesh.members(2).await;
    members.sort_by_key(|(_, identity)| identity.agent_id());
    let identities = [members[0].1.clone(), members[1].1.clone()];
    let mut dirs: Vec<TempDir> = members.into_iter().map(|(dir, _)| dir).collect();
    dirs.push(mesh.dir);
    Pair { _dirs: dirs, identities }
}

impl Pair {
    fn start(&self) -> [Agent; 2] {
        let agents = [0, 1].map(|index: usize| Agent::start(&self.identities[index], loopback(), 1));
        agents[0].transport.set_address(agents[1].id, agents[1].address);
        agents[1].transport.set_address(agents[0].id, agents[0].address);
        agents
    }
}

#[tokio::test]
async fn datagrams_and_messages_travel_both_ways() {
    let pair = pair().await;
    let [mut a, mut b] = pair.start();
    let largest = Bytes::from(vec![7; limits::MAX_DATAGRAM_BYTES]);
    a.transport.send_datagram(b.id, VERSION, largest.clone()).unwrap();
    assert_eq!(b.expect_datagram(a.id).await, largest);
    b.transport.send_datagram(a.id, VERSION, largest.clone()).unwrap();
    assert_eq!(a.expect_datagram(b.id).await, largest);

    let large = Bytes::from(vec![9; limits::MAX_MESSAGE_BYTES]);
    a.transport.send_message(b.id, VERSION, large.clone()).unwrap();
    assert_eq!(b.expect_message(a.id).await, large);
    b.transport.send_message(a.id, VERSION, Bytes::new()).unwrap();
    assert_eq!(a.expect_message(b.id).await, b"");

    let info = a.transport.links().remove(0);
    assert_eq!((info.peer, info.address, info.boot, info.dialled_by_us), (b.id, b.address, 1, true));
    assert_eq!(b.transport.links()[0].address, a.address, "one socket dials and accepts");
    let metrics = a.transport.metrics();
    assert_eq!((metrics.links, metrics.dials_ok, metrics.datagrams_out, metrics.datagrams_in), (1, 1, 1, 1));
    assert_eq!(metrics.message_bytes_out, limits::MAX_MESSAGE_BYTES as u64);
}

#[tokio::test]
async fn what_is_too_large_or_has_no_address_is_refused_and_counted() {
    let pair = pair().await;
    let [a, b] = pair.start();
    let error = a.transport.send_datagram(b.id, VERSION, vec![0; limits::MAX_DATAGRAM_BYTES + 1].into());
    assert!(matches!(error, Err(SendError::Oversize { length: 1151, limit: 1150 })), "{error:?}");
    let error = a.transport.send_message(b.id, VERSION, vec![0; limits::MAX_MESSAGE_BYTES + 1].into());
    assert!(matches!(error, Err(SendError::Oversize { .. })), "{error:?}");
    assert_eq!(a.transport.send_message(4711, VERSION, Bytes::new()), Err(SendError::NoAddress));
    a.transport.forget_peer(b.id);
    assert_eq!(a.transport.send_datagram(b.id, VERSION, Bytes::new()), Err(SendError::NoAddress));
    let metrics = a.transport.metrics();
    assert_eq!((metrics.dropped_oversize, metrics.dropped_no_address, metrics.links), (2, 2, 0));
}

#[tokio::test]
async fn simultaneous_dials_end_in_one_link_and_lose_nothing() {
    let pair = pair().await;
    for round in 0..5 {
        let [mut a, mut b] = pair.start();
        let send = |numbers: std::ops::Range<u8>| {
            for number in numbers {
                a.transport.send_message(b.id, VERSION, vec![number; 20_000].into()).unwrap();
                b.transport.send_message(a.id, VERSION, vec![number; 20_000].into()).unwrap();
            }
        };
        // The first ones make both sides dial, and go out on whichever link is up first.
        send(0..10);
        let (from_a, from_b) = tokio::join!(a.connect(b.address), b.connect(a.address));
        assert_eq!((from_a, from_b), (Ok(b.id), Ok(a.id)), "round {round}");
        send(10..20);
        let (a_id, b_id) = (a.id, b.id);
        for (agent, peer) in [(&mut a, b_id), (&mut b, a_id)] {
            let (mut missing, mut ups) = (20, 0);
            while missing > 0 || ups == 0 {
                agent
                    .expect("the messages", |event| {
                        match event {
                            Incoming::Message { from, .. } if from == peer => missing -= 1,
                            Incoming::Link { up, .. } => {
                                assert!(up.is_some(), "a duplicate's end is no event");
                                ups += 1;
                            }
                            _ => {}
                        }
                        Some(())
                    })
                    .await;
            }
            assert_eq!(ups, 1);
        }
        eventually("both agree on one link", || {
            let (of_a, of_b) = (a.transport.links(), b.transport.links());
            of_a.len() == 1 && of_b.len() == 1 && of_a[0].dialled_by_us != of_b[0].dialled_by_us
        })
        .await;
    }
}

#[tokio::test]
async fn a_vanished_peer_is_reported_and_found_again() {
    let pair = pair().await;
    let quick = |index: usize, listen| {
        let mut config = TransportConfig::new(pair.identities[index].clone(), listen, 1, VERSIONS);
        config.max_idle_timeout = Duration::from_secs(2);
        config.keep_alive_interval = Some(Duration::from_millis(500));
        config
    };
    let mut a = Agent::start_with(quick(0, loopback()));
    let b = Agent::start_with(quick(1, loopback()));
    let (b_id, b_address) = (b.id, b.address);
    assert_eq!(a.connect(b_address).await, Ok(b_id));
    a.expect_link(b_id, true).await;
    b.vanish();
    a.expect_link(b_id, false).await;
    a.transport.send_datagram(b_id, VERSION, Bytes::from_static(b"into the void")).unwrap();
    eventually("the dial has failed", || a.transport.metrics().dropped_unreachable == 1).await;
    assert_eq!(a.transport.metrics().dials_failed, 1);

    let mut config = quick(1, b_address);
    config.boot = 2;
    let mut b = Agent::start_with(config);
    let sender = a.transport.clone();
    let sending = tokio::spawn(async move {
        loop {
            let _ = sender.send_datagram(b_id, VERSION, Bytes::from_static(b"again"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert_eq!(b.expect_datagram(a.id).await, b"again");
    a.expect_link(b_id, true).await;
    sending.abort();
}

/// An agent whose links outlive the test's patience: what ends sooner, ended for another reason.
fn patient(pair: &Pair, index: usize, listen: SocketAddr, boot: u32) -> TransportConfig {
    let mut config = TransportConfig::new(pair.identities[index].clone(), listen, boot, VERSIONS);
    config.max_idle_timeout = Duration::from_secs(120);
    config
}

#[tokio::test]
async fn a_restarted_peer_replaces_its_old_link_at_once() {
    let pair = pair().await;
    let mut a = Agent::start_with(patient(&pair, 0, loopback(), 1));
    let b = Agent::start_with(patient(&pair, 1, loopback(), 1));
    let (b_id, b_address) = (b.id, b.address);
    b.connect(a.address).await.unwrap();
    a.expect_link(b_id, true).await;
    b.vanish();
    let mut b = Agent::start_with(patient(&pair, 1, b_address, 2));
    assert_eq!(b.connect(a.address).await, Ok(a.id));
    a.expect_link(b_id, false).await;
    a.expect_link(b_id, true).await;
    assert_eq!(a.transport.links()[0].boot, 2);
    a.transport.send_message(b_id, VERSION, Bytes::from_static(b"welcome back")).unwrap();
    assert_eq!(b.expect_message(a.id).await, b"welcome back");
    assert_eq!(a.transport.metrics().refused_cloned, 0);
}

#[tokio::test]
async fn a_restarted_process_ends_the_links_of_the_one_before_it() {
    let pair = pair().await;
    let mut a = Agent::start_with(patient(&pair, 0, loopback(), 1));
    let b = Agent::start_with(patient(&pair, 1, loopback(), 1));
    let (b_id, b_address) = (b.id, b.address);
    a.connect(b_address).await.unwrap();
    a.expect_link(b_id, true).await;
    b.vanish();
    let _b = Agent::start_with(patient(&pair, 1, b_address, 2));
    // Any packet to the old process is answered by a stateless reset; a keep-alive would do as well.
    a.transport.send_datagram(b_id, VERSION, Bytes::from_static(b"anybody there?")).unwrap();
    a.expect_link(b_id, false).await;
}

#[tokio::test]
async fn shutdown_flushes_and_says_goodbye() {
    let pair = pair().await;
    let [mut a, mut b] = pair.start();
    a.connect(b.address).await.unwrap();
    b.expect_link(a.id, true).await;
    for number in 0..50u8 {
        a.transport.send_message(b.id, VERSION, vec![number; 10_000].into()).unwrap();
    }
    a.transport.shutdown().await;
    assert_eq!(a.transport.send_message(b.id, VERSION, Bytes::new()), Err(SendError::ShuttingDown));
    let (mut messages, mut down) = (0, false);
    while messages < 50 || !down {
        b.expect("all messages and the end of the link", |event| {
            match event {
                Incoming::Message { .. } => messages += 1,
                Incoming::Link { up, .. } => down = up.is_none(),
                _ => {}
            }
            Some(())
        })
        .await;
    }
    a.expect_link(b.id, false).await;
}

#[tokio::test]
async fn closing_and_forgetting() {
    let pair = pair().await;
    let [mut a, mut b] = pair.start();
    a.connect(b.address).await.unwrap();
    b.expect_link(a.id, true).await;
    a.transport.close_link(b.id);
    a.expect_link(b.id, false).await;
    b.expect_link(a.id, false).await;
    b.transport.send_datagram(a.id, VERSION, Bytes::from_static(b"once more")).unwrap();
    assert_eq!(a.expect_datagram(b.id).await, b"once more");
    a.transport.forget_peer(b.id);
    b.expect_link(a.id, false).await;
    eventually("the link is gone", || a.transport.links().is_empty()).await;
    assert_eq!(a.transport.send_datagram(b.id, VERSION, Bytes::new()), Err(SendError::NoAddress));
}

#[tokio::test]
async fn an_owner_that_does_not_read_loses_datagrams_but_no_messages() {
    let pair = pair().await;
    let a = Agent::start(&pair.identities[0], loopback(), 1);
    let mut config = TransportConfig::new(pair.identities[1].clone(), loopback(), 1, VERSIONS);
    config.incoming_queue = 4;
    let mut b = Agent::start_with(config);
    a.connect(b.address).await.unwrap();
    eventually("datagrams are dropped", || {
        let _ = a.transport.send_datagram(b.id, VERSION, Bytes::from_static(b"d"));
        b.transport.metrics().dropped_incoming_full > 0
    })
    .await;
    for number in 0..40u8 {
        a.transport.send_message(b.id, VERSION, vec![number].into()).unwrap();
    }
    for _ in 0..40 {
        b.expect_message(a.id).await;
    }
}

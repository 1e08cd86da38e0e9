//! Agents of different releases: they speak the highest wire version of both, and where there is none, both learn why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // the lint spares test functions, not their helpers

mod support;

use bytes::Bytes;
use quorate_transport::{Identity, Incoming, LinkError, SendError, TransportConfig, VersionRange};
use support::{Agent, Mesh, loopback};

fn range(min: u16, max: u16) -> VersionRange {
    VersionRange { min, max }
}

fn start(identity: &Identity, versions: VersionRange) -> Agent {
    Agent::start_with(TransportConfig::new(identity.clone(), loopback(), 1, versions))
}

/// The version that `agent` is told when its link to `peer` comes up.
async fn told(agent: &mut Agent, peer: u64) -> u16 {
    agent
        .expect("a link", |event| match event {
            Incoming::Link { peer: found, up, .. } if found == peer => up,
            _ => None,
        })
        .await
}

#[tokio::test]
async fn both_ends_are_told_the_highest_common_version() {
    let mesh = Mesh::new();
    let (_dir, identity) = mesh.members(1).await.remove(0);
    for (dialler, accepter, common, older) in [
        (range(5, 6), range(5, 5), 5, (1, 0)),
        (range(5, 5), range(5, 6), 5, (0, 1)),
        (range(5, 7), range(6, 9), 7, (0, 1)),
        (range(5, 6), range(5, 6), 6, (0, 0)),
    ] {
        let (mut a, mut b) = (start(&mesh.identity, dialler), start(&identity, accepter));
        assert_eq!(a.connect(b.address).await, Ok(b.id));
        assert_eq!((told(&mut a, b.id).await, told(&mut b, a.id).await), (common, common));
        assert_eq!(a.transport.links()[0].version, common);
        let counted = [&a, &b].map(|agent| agent.transport.metrics().links_older_version);
        assert_eq!(counted, [older.0, older.1], "{dialler} and {accepter}");
    }
}

#[tokio::test]
async fn without_a_common_version_both_sides_learn_both_ranges_and_the_remedy() {
    let mesh = Mesh::new();
    let (_dir, identity) = mesh.members(1).await.remove(0);
    let old = start(&mesh.identity, range(5, 6));
    let mut new = start(&identity, range(8, 9));
    let warned = |ours: &Agent| ours.transport.metrics().refused_wrong_version;

    let refused = LinkError::WrongVersion { ours: range(5, 6), theirs: range(8, 9) };
    assert_eq!(old.connect(new.address).await, Err(refused.clone()));
    assert_eq!(refused.to_string(), "no common wire version: this agent speaks 5 to 6, the peer 8 to 9");
    assert!(refused.remedy().starts_with("upgrade this agent"), "{}", refused.remedy());
    assert_eq!((warned(&old), warned(&new)), (1, 1));

    // The other way round the owner of the refused agent hears of it.
    let refused = LinkError::WrongVersion { ours: range(8, 9), theirs: range(5, 6) };
    assert_eq!(new.connect(old.address).await, Err(refused.clone()));
    assert_eq!(new.expect_refusal().await, refused);
    assert!(refused.remedy().starts_with("upgrade the peer"), "{}", refused.remedy());
    assert_eq!((warned(&old), warned(&new)), (2, 2));
}

#[tokio::test]
async fn what_a_peer_cannot_read_is_not_sent_to_it() {
    let mesh = Mesh::new();
    let (_dir, identity) = mesh.members(1).await.remove(0);
    let (new, mut old) = (start(&mesh.identity, range(5, 6)), start(&identity, range(5, 5)));
    new.transport.set_address(old.id, old.address);
    // Which release the peer is turns out with the link, for which these wait.
    new.transport.send_datagram(old.id, 6, Bytes::from_static(b"unreadable")).unwrap();
    new.transport.send_message(old.id, 6, Bytes::from_static(b"unreadable")).unwrap();
    new.transport.send_message(old.id, 5, Bytes::from_static(b"readable")).unwrap();
    assert_eq!(old.expect_message(new.id).await, b"readable");
    for version in [4, 6] {
        let refused = Err(SendError::Unreadable(version));
        assert_eq!(new.transport.send_datagram(old.id, version, Bytes::from_static(b"d")), refused);
        assert_eq!(new.transport.send_message(old.id, version, Bytes::from_static(b"m")), refused);
    }
    let metrics = new.transport.metrics();
    assert_eq!((metrics.dropped_unreadable, metrics.datagrams_out), (6, 0));
}

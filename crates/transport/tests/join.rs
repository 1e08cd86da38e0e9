//! Joining a mesh: who is let in, who is not, and what each is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // the lint spares test functions, not their helpers

mod support;

use std::time::Duration;

use quorate_transport::{
    Admission, Identity, Incoming, JoinError, JoinRefusal, JoinToken, TokenStore, join, join_noting,
};
use support::{Agent, Mesh, PATIENCE, loopback, now_ms, refusal};
use tempfile::TempDir;

async fn try_join(agent: &Agent, token: &JoinToken) -> (TempDir, Result<quorate_transport::JoinOutcome, JoinError>) {
    let dir = TempDir::new().unwrap();
    let data_dir = dir.path().join("data");
    let result = join(&agent.address.to_string(), token, "newcomer", &data_dir, PATIENCE).await;
    if result.is_err() {
        assert!(!data_dir.exists(), "a failed join leaves nothing behind");
    }
    (dir, result)
}

#[tokio::test]
async fn a_token_admits_and_the_identity_lasts() {
    let mesh = Mesh::new();
    let agent = mesh.issuing_agent();
    let (dir, outcome) = try_join(&agent, &mesh.token()).await;
    let outcome = outcome.unwrap();
    assert_eq!(outcome.via, (mesh.identity.agent_id(), agent.address));
    assert_eq!(outcome.bootstrap, b"bootstrap");
    assert_eq!(outcome.identity.mesh_id(), mesh.identity.mesh_id());
    assert_eq!(outcome.identity.name(), "newcomer");
    assert!(outcome.identity.issuer().is_none(), "no key that admits others leaves the issuer");
    let loaded = Identity::load(&dir.path().join("data")).unwrap();
    assert_eq!(loaded.agent_id(), outcome.identity.agent_id());
    let admitted = mesh.identity.trust().admit(&loaded.credential()).unwrap();
    assert_eq!(admitted.agent_id, loaded.agent_id());
    assert_eq!(agent.transport.metrics().joins_granted, 1);
}

#[tokio::test]
async fn what_is_noted_is_there_before_the_identity() {
    let mesh = Mesh::new();
    let agent = mesh.issuing_agent();
    let dir = TempDir::new().unwrap();
    let address = agent.address.to_string();
    let unwritable = |_: &Admission<'_>| Err(std::io::Error::other("no"));
    let failed = join_noting(&address, &mesh.token(), "newcomer", dir.path(), PATIENCE, unwritable).await;
    assert!(matches!(failed, Err(JoinError::DataDir(_))), "{failed:?}");
    assert!(Identity::load(dir.path()).is_err());
    let note = |admission: &Admission<'_>| {
        assert!(Identity::load(dir.path()).is_err());
        std::fs::write(dir.path().join("note"), admission.bootstrap)
    };
    let outcome = join_noting(&address, &mesh.token(), "newcomer", dir.path(), PATIENCE, note).await.unwrap();
    assert_eq!(std::fs::read(dir.path().join("note")).unwrap(), outcome.bootstrap);
}

#[tokio::test]
async fn each_bad_token_has_its_own_refusal() {
    let mesh = Mesh::new();
    let agent = mesh.issuing_agent();
    let good = mesh.token().to_string();

    let mut wrong_secret = good.clone().into_bytes();
    let at = good.rfind('.').unwrap() + 1;
    wrong_secret[at] = if wrong_secret[at] == b'A' { b'B' } else { b'A' };
    let wrong_secret: JoinToken = String::from_utf8(wrong_secret).unwrap().parse().unwrap();
    assert_eq!(refusal(try_join(&agent, &wrong_secret).await.1.unwrap_err()), JoinRefusal::WrongSecret);

    let other_store = TempDir::new().unwrap();
    let other_store = TokenStore::open(other_store.path()).unwrap();
    let unknown = other_store.create(mesh.identity.mesh_id(), Duration::from_secs(60), 1, now_ms()).unwrap();
    assert_eq!(refusal(try_join(&agent, &unknown).await.1.unwrap_err()), JoinRefusal::UnknownToken);

    let long_ago = now_ms() - 120_000;
    let expired = mesh.store.create(mesh.identity.mesh_id(), Duration::from_secs(60), 1, long_ago).unwrap();
    assert_eq!(refusal(try_join(&agent, &expired).await.1.unwrap_err()), JoinRefusal::TokenExpired);

    let once = mesh.store.create(mesh.identity.mesh_id(), Duration::from_secs(60), 1, now_ms()).unwrap();
    let (_dir, first) = try_join(&agent, &once).await;
    first.unwrap();
    assert_eq!(refusal(try_join(&agent, &once).await.1.unwrap_err()), JoinRefusal::TokenUsed);

    let metrics = agent.transport.metrics();
    let counted = [
        metrics.join_refused_wrong_secret,
        metrics.join_refused_unknown_token,
        metrics.join_refused_token_expired,
        metrics.join_refused_token_used,
    ];
    assert_eq!(counted, [1; 4]);
}

#[tokio::test]
async fn a_token_of_another_mesh_is_refused_before_anything_is_sent() {
    let (mesh, other) = (Mesh::new(), Mesh::new());
    let agent = mesh.issuing_agent();
    match try_join(&agent, &other.token()).await.1.unwrap_err() {
        JoinError::OtherMesh { expected, found, .. } => {
            assert_eq!((expected, found), (other.identity.mesh_id(), mesh.identity.mesh_id()));
        }
        error => panic!("{error}"),
    }
    let metrics = agent.transport.metrics();
    assert_eq!(metrics.joins_granted + metrics.join_refused_unknown_token, 0);
}

#[tokio::test]
async fn a_directory_that_holds_an_identity_is_left_alone() {
    let (mesh, other) = (Mesh::new(), Mesh::new());
    let agent = mesh.issuing_agent();
    let error = join(&agent.address.to_string(), &mesh.token(), "again", other.dir.path(), PATIENCE).await.unwrap_err();
    assert_eq!(error.existing_mesh(), Some(other.identity.mesh_id()));
    assert_eq!(Identity::load(other.dir.path()).unwrap().agent_id(), other.identity.agent_id());
}

#[tokio::test]
async fn nobody_at_the_address() {
    let mesh = Mesh::new();
    // Bound, but it does not speak.
    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let dir = TempDir::new().unwrap();
    match join(&address, &mesh.token(), "lost", dir.path(), PATIENCE).await.unwrap_err() {
        JoinError::Unreachable { address: named, .. } => assert_eq!(named, address),
        error => panic!("{error}"),
    }
    let error = join(&address, &mesh.token(), "lost", dir.path(), Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, JoinError::Timeout(_)), "{error}");
}

#[tokio::test]
async fn a_member_that_cannot_sign_forwards_to_one_that_can() {
    let mesh = Mesh::new();
    let (_dir, identity) = mesh.members(1).await.remove(0);
    let issuer = mesh.issuing_agent();
    let mut member = Agent::start(&identity, loopback(), 1);
    member.transport.set_address(issuer.id, issuer.address);

    let (transport, issuer_id) = (member.transport.clone(), issuer.id);
    let token = mesh.token();
    let address = member.address.to_string();
    let dir = TempDir::new().unwrap();
    let joining = join(&address, &token, "newcomer", dir.path(), PATIENCE);
    let mut joining = std::pin::pin!(joining);
    let result = loop {
        tokio::select! {
            result = &mut joining => break result,
            event = member.events.recv() => {
                if let Some(Incoming::Join { request, reply }) = event {
                    let text = serde_json::to_string(&request).unwrap();
                    assert_eq!(serde_json::from_str::<quorate_transport::JoinRequest>(&text).unwrap(), request);
                    let _ = reply.send(transport.request_join_forward(issuer_id, request).await);
                }
            }
        }
    };
    let outcome = result.unwrap();
    assert_eq!(outcome.via.0, identity.agent_id());
    assert_eq!(outcome.identity.mesh_id(), mesh.identity.mesh_id());
}

#[tokio::test]
async fn without_an_issuer_in_reach_the_refusal_says_so() {
    let mesh = Mesh::new();
    let (_dir, identity) = mesh.members(1).await.remove(0);
    let member = Agent::start(&identity, loopback(), 1);
    let request = quorate_transport::JoinRequest {
        token_id: String::new(),
        csr: Vec::new(),
        name: String::new(),
        proof: Vec::new(),
        channel_binding: Vec::new(),
        remote: String::new(),
    };
    let answer = member.transport.request_join_forward(mesh.identity.agent_id(), request).await;
    assert!(matches!(answer, Err(JoinRefusal::NoIssuer(_))), "{answer:?}");
}

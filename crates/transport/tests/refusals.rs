//! Who does not get a link, and that both sides learn why: strangers, other meshes, impostors, clones, the outdated.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // the lint spares test functions, not their helpers

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use quorate_transport::{Identity, Incoming, LinkError, close_code, limits};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use rustls::{DigitallySignedStruct, SignatureScheme};
use support::{Agent, Mesh, VERSION, VERSIONS, copy_dir, eventually, loopback};

/// The first stream of a hand-made caller: the versions it claims, boot 1, a nonce.
fn hello(version_min: u16, version_max: u16) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend(version_min.to_le_bytes());
    bytes.extend(version_max.to_le_bytes());
    bytes.extend([1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    bytes
}

/// A hand-made caller, who believes any server.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

async fn raw_call(to: SocketAddr, from: Option<&Mesh>, alpn: &[u8]) -> Result<(Endpoint, Connection), ConnectionError> {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    let mut config = match from {
        Some(mesh) => {
            let key = PrivateKeyDer::from_pem_file(mesh.dir.path().join("identity.pem")).unwrap();
            builder.with_client_auth_cert(mesh.identity.chain().to_vec(), key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let endpoint = Endpoint::client(loopback()).unwrap();
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
    let connection = endpoint.connect_with(config, to, "any.agent.quorate").unwrap().await?;
    Ok((endpoint, connection))
}

fn assert_closed_with(error: ConnectionError, code: u32) {
    match error {
        ConnectionError::ApplicationClosed(close) => assert_eq!(close.error_code.into_inner(), u64::from(code)),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_stranger_without_a_certificate() {
    let mesh = Mesh::new();
    let agent = Agent::start(&mesh.identity, loopback(), 1);
    let (_endpoint, connection) = raw_call(agent.address, None, limits::ALPN_MESH).await.unwrap();
    assert_closed_with(connection.closed().await, close_code::STRANGER);
    assert_eq!(agent.transport.metrics().refused_stranger, 1);
}

#[tokio::test]
async fn a_member_of_another_mesh_that_believes_anything() {
    let (mesh, other) = (Mesh::new(), Mesh::new());
    let agent = Agent::start(&mesh.identity, loopback(), 1);
    let error = match raw_call(agent.address, Some(&other), limits::ALPN_MESH).await {
        Ok((_endpoint, connection)) => connection.closed().await,
        Err(error) => error,
    };
    match error {
        // TLS alert unknown_ca.
        ConnectionError::ConnectionClosed(close) => assert_eq!(u64::from(close.error_code), 0x100 + 48),
        other => panic!("{other}"),
    }
    eventually("it was counted", || agent.transport.metrics().refused_other_mesh == 1).await;
}

#[tokio::test]
async fn a_member_of_another_mesh_learns_so_and_so_does_the_other_side() {
    let (mesh, other) = (Mesh::new(), Mesh::new());
    let agent = Agent::start(&mesh.identity, loopback(), 1);
    let stranger = Agent::start(&other.identity, loopback(), 1);
    assert_eq!(stranger.connect(agent.address).await, Err(LinkError::OtherMesh));
    eventually("both have counted it", || {
        [&agent, &stranger].iter().all(|side| side.transport.metrics().refused_other_mesh == 1)
    })
    .await;
}

#[tokio::test]
async fn another_protocol_and_another_version() {
    let mesh = Mesh::new();
    let agent = Agent::start(&mesh.identity, loopback(), 1);
    assert!(raw_call(agent.address, Some(&mesh), b"h3").await.is_err());
    let other = mesh.members(1).await.remove(0);
    let agent = Agent::start(&other.1, loopback(), 1);
    let (_endpoint, connection) = raw_call(agent.address, Some(&mesh), limits::ALPN_MESH).await.unwrap();
    let mut stream = connection.open_uni().await.unwrap();
    // A hello: kind, versions 99 to 99, boot counter, nonce.
    stream.write_all(&hello(99, 99)).await.unwrap();
    stream.finish().unwrap();
    assert_closed_with(connection.closed().await, close_code::WRONG_VERSION);
    assert_eq!(agent.transport.metrics().refused_wrong_version, 1);
}

#[tokio::test]
async fn garbage_instead_of_a_hello_or_a_join() {
    let mesh = Mesh::new();
    let (_dir, identity) = mesh.members(1).await.remove(0);
    let agent = Agent::start(&identity, loopback(), 1);
    let (_endpoint, connection) = raw_call(agent.address, Some(&mesh), limits::ALPN_MESH).await.unwrap();
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(&[0xff; 300]).await.unwrap();
    stream.finish().unwrap();
    assert_closed_with(connection.closed().await, close_code::PROTOCOL);

    for garbage in [vec![b'{'; 100], vec![b'x'; limits::MAX_JOIN_REQUEST_BYTES + 1]] {
        let (_endpoint, connection) = raw_call(agent.address, None, limits::ALPN_JOIN).await.unwrap();
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        let _ = send.write_all(&garbage).await;
        let _ = send.finish();
        let answer = recv.read_to_end(1000).await.unwrap();
        assert_eq!(answer, br#"{"Err":"Malformed"}"#);
    }
    assert_eq!(agent.transport.metrics().join_refused_malformed, 2);
}

#[tokio::test]
async fn too_many_joins_at_once() {
    let mesh = Mesh::new();
    let agent = mesh.issuing_agent();
    let mut waiting = Vec::new();
    for _ in 0..limits::MAX_CONCURRENT_JOINS {
        waiting.push(raw_call(agent.address, None, limits::ALPN_JOIN).await.unwrap());
    }
    let dir = tempfile::TempDir::new().unwrap();
    let address = agent.address.to_string();
    let error = quorate_transport::join(&address, &mesh.token(), "late", dir.path(), support::PATIENCE).await;
    assert_eq!(support::refusal(error.unwrap_err()), quorate_transport::JoinRefusal::TooMany);
}

#[tokio::test]
async fn the_certificate_of_one_agent_where_another_is_expected() {
    let mesh = Mesh::new();
    let members = mesh.members(1).await;
    let impostor = Agent::start(&members[0].1, loopback(), 1);
    let dialler = Agent::start(&mesh.identity, loopback(), 1);
    let (_dir, absent) = mesh_member(&mesh).await;
    dialler.transport.set_address(absent.agent_id(), impostor.address);
    dialler.transport.send_message(absent.agent_id(), VERSION, Bytes::from_static(b"secret")).unwrap();
    eventually("both have counted it", || {
        [&dialler, &impostor].iter().all(|side| side.transport.metrics().refused_unexpected_peer == 1)
    })
    .await;
    assert_eq!(impostor.transport.metrics().messages_in, 0);
    assert!(dialler.transport.links().is_empty());
}

async fn mesh_member(mesh: &Mesh) -> (tempfile::TempDir, Identity) {
    mesh.members(1).await.remove(0)
}

#[tokio::test]
async fn a_copied_data_directory_is_found_out_and_the_original_keeps_its_link() {
    let mesh = Mesh::new();
    let (dir, identity) = mesh_member(&mesh).await;
    let mut peer = Agent::start(&mesh.identity, loopback(), 1);
    let original = Agent::start(&identity, loopback(), 1);
    original.connect(peer.address).await.unwrap();
    peer.expect_link(original.id, true).await;

    let copy = copy_dir(dir.path());
    let mut clone = Agent::start(&Identity::load(copy.path()).unwrap(), loopback(), 2);
    assert_eq!(clone.connect(peer.address).await, Err(LinkError::Cloned));
    assert_eq!(clone.expect_refusal().await, LinkError::Cloned);
    let agent = peer
        .expect("the conflict", |event| match event {
            Incoming::IdentityConflict { agent, .. } => Some(agent),
            _ => None,
        })
        .await;
    assert_eq!(agent, identity.agent_id());
    let links = peer.transport.links();
    assert_eq!((links.len(), links[0].address), (1, original.address));
}

#[tokio::test]
async fn a_clone_that_calls_its_original_and_an_agent_that_calls_itself() {
    let mesh = Mesh::new();
    let (dir, identity) = mesh_member(&mesh).await;
    let mut original = Agent::start(&identity, loopback(), 1);
    assert_eq!(original.connect(original.address).await, Err(LinkError::SelfDialled));
    assert_eq!(original.transport.metrics().identity_conflicts, 0);

    let copy = copy_dir(dir.path());
    let mut clone = Agent::start(&Identity::load(copy.path()).unwrap(), loopback(), 1);
    assert_eq!(clone.connect(original.address).await, Err(LinkError::Cloned));
    assert_eq!(clone.expect_refusal().await, LinkError::Cloned);
    let conflict = |event| match event {
        Incoming::IdentityConflict { agent, .. } => Some(agent),
        _ => None,
    };
    assert_eq!(original.expect("the conflict", conflict).await, original.id);
}

#[tokio::test]
async fn a_restored_backup_is_refused() {
    let mesh = Mesh::new();
    let (_dir, identity) = mesh_member(&mesh).await;
    let mut peer = Agent::start(&mesh.identity, loopback(), 1);
    let newest = Agent::start(&identity, loopback(), 5);
    newest.connect(peer.address).await.unwrap();
    peer.expect_link(newest.id, true).await;
    newest.vanish();
    let mut restored = Agent::start(&identity, loopback(), 3);
    assert_eq!(restored.connect(peer.address).await, Err(LinkError::StaleIdentity));
    assert_eq!(restored.expect_refusal().await, LinkError::StaleIdentity);
    assert_eq!(peer.transport.metrics().refused_stale_identity, 1);
    // A later start is welcome.
    restored.transport.set_boot(6);
    assert_eq!(restored.connect(peer.address).await, Ok(peer.id));
    peer.expect_link(restored.id, true).await;
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_cut_off_by_the_receiver() {
    let mesh = Mesh::new();
    let (_dir, identity) = mesh_member(&mesh).await;
    let mut agent = Agent::start(&identity, loopback(), 1);
    let (_endpoint, connection) = raw_call(agent.address, Some(&mesh), limits::ALPN_MESH).await.unwrap();
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(&hello(VERSIONS.min, VERSIONS.max)).await.unwrap();
    stream.finish().unwrap();
    agent.expect_link(mesh.identity.agent_id(), true).await;
    let mut stream = connection.open_uni().await.unwrap();
    let _ = stream.write_all(&[2]).await;
    let _ = stream.write_all(&vec![0; limits::MAX_MESSAGE_BYTES + 1]).await;
    let _ = stream.finish();
    eventually("it was counted", || agent.transport.metrics().refused_oversize_message == 1).await;
    // The link lives on.
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(b"\x02fine").await.unwrap();
    stream.finish().unwrap();
    assert_eq!(agent.expect_message(mesh.identity.agent_id()).await, b"fine");
}

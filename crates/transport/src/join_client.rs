//! The host's side of `quorate-join/1`: finds a member, checks it against the token, asks for a certificate.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, VarInt};
use ring::hmac;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring::default_provider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error as TlsError, PeerIncompatible, SignatureScheme};
use thiserror::Error;

use crate::certificate::{generate_agent_key, is_valid_name, make_request};
use crate::files::check_room;
use crate::forward::write_json;
use crate::identity::{Identity, IdentityError, ensure_vacant, store_identity};
use crate::issuer::proof_message;
use crate::join::{EXPORTER_LABEL, Grant, JoinAnswer, JoinCall, JoinRefusal};
use crate::limits::{ALPN_JOIN, DIAL_TIMEOUT, MAX_JOIN_REPLY_BYTES};
use crate::link_error::{LinkError, close_code};
use crate::mesh_id::MeshId;
use crate::tls::ANY_AGENT;
use crate::token::JoinToken;
use crate::trust::{CertificateFault, Trust};

/// How long the close of a finished join may take to be sent.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// A successful join.
#[derive(Debug)]
pub struct JoinOutcome {
    /// The new identity, already in the data directory.
    pub identity: Identity,
    /// Opaque bytes from the node that answered.
    pub bootstrap: Vec<u8>,
    /// The member it joined through: its id and address.
    pub via: (u64, SocketAddr),
}

/// What an admitted host is told.
#[derive(Debug)]
pub struct Admission<'a> {
    /// The id it was given.
    pub agent: u64,
    /// Opaque bytes from the node that answered.
    pub bootstrap: &'a [u8],
    /// The member it joined through: its id and address.
    pub via: (u64, SocketAddr),
}

type Note<'a> = &'a dyn Fn(&Admission<'_>) -> io::Result<()>;

/// Why a join failed. In every case the data directory is as it was.
#[derive(Debug, Error)]
pub enum JoinError {
    /// Nobody answers at the address.
    #[error("cannot reach {address} ({detail}): check that the agent runs and that its UDP port is open both ways")]
    Unreachable {
        /// What was dialled.
        address: String,
        /// The reason.
        detail: String,
    },
    /// The member is of another mesh than the token.
    #[error(
        "the agent at {address} belongs to another mesh ({found}) than the token ({expected}): check the address and the token"
    )]
    OtherMesh {
        /// What was dialled.
        address: SocketAddr,
        /// The mesh that the token pins.
        expected: MeshId,
        /// The mesh whose root the member showed.
        found: MeshId,
    },
    /// The member said no.
    #[error("the mesh refused: {0}")]
    Refused(JoinRefusal),
    /// The member's certificate, or the one it made for us, is wrong.
    #[error("bad certificate: {0}")]
    BadCertificate(CertificateFault),
    /// The data directory already holds an identity, or cannot be used.
    #[error(transparent)]
    DataDir(#[from] IdentityError),
    /// It took too long.
    #[error("no answer within {0:?}: try again, or give more time")]
    Timeout(Duration),
    /// The member does not speak as expected.
    #[error("the agent at {address} does not speak the join protocol as expected: {detail}")]
    Protocol {
        /// What was dialled.
        address: SocketAddr,
        /// The reason.
        detail: String,
    },
}

impl JoinError {
    /// The mesh the data directory is already a member of, if that is the reason.
    pub fn existing_mesh(&self) -> Option<MeshId> {
        match self {
            Self::DataDir(IdentityError::AlreadyExists { mesh, .. }) => Some(*mesh),
            _ => None,
        }
    }
}

/// Joins the mesh of `token` through the member at `address` ("host:port"), under `name`, and writes the identity to
/// `data_dir`. The whole takes at most `timeout`.
///
/// # Errors
/// [`JoinError`]; the directory is written to only on success.
pub async fn join(
    address: &str,
    token: &JoinToken,
    name: &str,
    data_dir: &Path,
    timeout: Duration,
) -> Result<JoinOutcome, JoinError> {
    join_noting(address, token, name, data_dir, timeout, |_| Ok(())).await
}

/// [`join`], with a `note` to be taken once the host is admitted and before its identity is stored: whoever finds the identity, even after
/// a crash, finds what was noted.
///
/// # Errors
/// [`JoinError`], also when the note could not be taken.
pub async fn join_noting(
    address: &str,
    token: &JoinToken,
    name: &str,
    data_dir: &Path,
    timeout: Duration,
    note: impl Fn(&Admission<'_>) -> io::Result<()>,
) -> Result<JoinOutcome, JoinError> {
    if !is_valid_name(name) {
        return Err(IdentityError::InvalidName { name: name.to_owned() }.into());
    }
    ensure_vacant(data_dir)?;
    check_room(data_dir)?;
    let attempt = join_any(address, token, name, data_dir, &note);
    tokio::time::timeout(timeout, attempt).await.unwrap_or(Err(JoinError::Timeout(timeout)))
}

/// Tries every address the name stands for; goes on to the next only while nobody answers.
async fn join_any(
    address: &str,
    token: &JoinToken,
    name: &str,
    data_dir: &Path,
    note: Note<'_>,
) -> Result<JoinOutcome, JoinError> {
    let unreachable = |detail: String| JoinError::Unreachable { address: address.to_owned(), detail };
    let found = tokio::net::lookup_host(address).await.map_err(|error| unreachable(error.to_string()))?;
    let mut failure = unreachable("the name has no address".to_owned());
    for candidate in found {
        match join_at(candidate, token, name, data_dir, note).await {
            Err(JoinError::Unreachable { detail, .. }) => failure = unreachable(detail),
            result => return result,
        }
    }
    Err(failure)
}

async fn join_at(
    address: SocketAddr,
    token: &JoinToken,
    name: &str,
    data_dir: &Path,
    note: Note<'_>,
) -> Result<JoinOutcome, JoinError> {
    let verifier = Arc::new(PinVerifier::new(token.mesh_id()));
    let local: SocketAddr =
        if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let unreachable = |detail: String| JoinError::Unreachable { address: address.to_string(), detail };
    let endpoint = Endpoint::client(local).map_err(|error| unreachable(error.to_string()))?;
    let connection = connect(&endpoint, address, &verifier).await?;
    let protocol = |detail: &str| JoinError::Protocol { address, detail: detail.to_owned() };
    let Some((trust, via)) = verifier.verified() else { return Err(protocol("it showed no certificate")) };

    let (key, agent) = generate_agent_key().map_err(IdentityError::from)?;
    let csr = make_request(&key).map_err(IdentityError::from)?.to_vec();
    let call = sign_call(&connection, token, name, csr).ok_or_else(|| protocol("no channel binding"))?;
    let grant = exchange(&connection, &call).await.map_err(|error| match error {
        Exchange::Refused(refusal) => JoinError::Refused(refusal),
        Exchange::Broken(detail) => JoinError::Protocol { address, detail },
    })?;
    // Stored before anything else: the token is spent, and a process that ends now would have lost what it was spent for.
    let admission = Admission { agent, bootstrap: &grant.bootstrap, via: (via, address) };
    let stored = check_grant(&trust, &grant, agent)
        .map_err(JoinError::BadCertificate)
        .and_then(|chain| store_grant(data_dir, &key, &chain, || note(&admission)));
    connection.close(VarInt::from_u32(close_code::CLOSED), b"");
    // Sends the close, so that the member need not wait for it; the caller need not wait either.
    tokio::spawn(async move { tokio::time::timeout(CLOSE_TIMEOUT, endpoint.wait_idle()).await });
    stored?;
    Ok(JoinOutcome { identity: Identity::load(data_dir)?, bootstrap: grant.bootstrap, via: (via, address) })
}

fn store_grant(
    data_dir: &Path,
    key: &rcgen::KeyPair,
    chain: &[CertificateDer<'static>; 3],
    note: impl FnOnce() -> io::Result<()>,
) -> Result<(), JoinError> {
    crate::files::create_private_dir(data_dir)?;
    ensure_vacant(data_dir)?;
    note().map_err(|source| IdentityError::Io { path: data_dir.to_path_buf(), source })?;
    Ok(store_identity(data_dir, key, [&chain[0], &chain[1], &chain[2]])?)
}

async fn connect(
    endpoint: &Endpoint,
    address: SocketAddr,
    verifier: &Arc<PinVerifier>,
) -> Result<Connection, JoinError> {
    let protocol = |detail: String| JoinError::Protocol { address, detail };
    let config = client_config(verifier).map_err(|error| protocol(error.to_string()))?;
    let connecting = endpoint.connect_with(config, address, ANY_AGENT).map_err(|error| protocol(error.to_string()))?;
    let unreachable = || JoinError::Unreachable { address: address.to_string(), detail: "no answer".to_owned() };
    let connected = tokio::time::timeout(2 * DIAL_TIMEOUT, connecting).await.map_err(|_| unreachable())?;
    connected.map_err(|error| match (verifier.fault(), error) {
        (Some(PinFault::OtherMesh(found)), _) => JoinError::OtherMesh { address, expected: verifier.pin, found },
        (Some(PinFault::Certificate(fault)), _) => JoinError::BadCertificate(fault),
        (None, ConnectionError::TimedOut) => unreachable(),
        (None, error) => match LinkError::from_connection(&error, address) {
            LinkError::TooMany => JoinError::Refused(JoinRefusal::TooMany),
            error => protocol(error.to_string()),
        },
    })
}

fn client_config(verifier: &Arc<PinVerifier>) -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_JOIN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(ClientConfig::new(Arc::new(QuicClientConfig::try_from(config)?)))
}

fn sign_call(connection: &Connection, token: &JoinToken, name: &str, csr: Vec<u8>) -> Option<JoinCall> {
    let mut binding = [0; 32];
    connection.export_keying_material(&mut binding, EXPORTER_LABEL, b"").ok()?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &token.proof_key());
    let proof = hmac::sign(&key, &proof_message(&binding, &csr)).as_ref().to_vec();
    Some(JoinCall { token_id: token.id().to_owned(), csr, name: name.to_owned(), proof })
}

enum Exchange {
    Refused(JoinRefusal),
    Broken(String),
}

async fn exchange(connection: &Connection, call: &JoinCall) -> Result<Grant, Exchange> {
    let broken = |detail: &str| match connection.close_reason() {
        Some(error) => match LinkError::from_connection(&error, connection.remote_address()) {
            LinkError::TooMany => Exchange::Refused(JoinRefusal::TooMany),
            error => Exchange::Broken(error.to_string()),
        },
        None => Exchange::Broken(detail.to_owned()),
    };
    let (mut send, mut recv) = connection.open_bi().await.map_err(|_| broken("it hung up"))?;
    // The answer may come, as a refusal, before all of the request was taken.
    let _ = write_json(&mut send, call).await;
    let bytes = recv.read_to_end(MAX_JOIN_REPLY_BYTES).await.map_err(|_| broken("it gave no answer"))?;
    let answer = serde_json::from_slice::<JoinAnswer>(&bytes).map_err(|_| broken("its answer cannot be read"))?;
    answer.map_err(Exchange::Refused)
}

/// The certificates of a grant, if they are for our key and of the pinned mesh.
fn check_grant(trust: &Trust, grant: &Grant, agent: u64) -> Result<[CertificateDer<'static>; 3], CertificateFault> {
    let chain = [&grant.leaf, &grant.issuing, &grant.root].map(|der| CertificateDer::from(der.clone()));
    if chain[2] != *trust.root_der() {
        return Err(CertificateFault::OtherMesh);
    }
    let found = trust.check(&chain[0], &chain[1..2], UnixTime::now())?.agent_id;
    if found != agent {
        return Err(CertificateFault::UnexpectedAgent { expected: agent, found });
    }
    Ok(chain)
}

#[derive(Clone, Debug)]
enum PinFault {
    OtherMesh(MeshId),
    Certificate(CertificateFault),
}

/// Accepts a chain whose last certificate is the root that the token pins. There is no trust on first use.
#[derive(Debug)]
struct PinVerifier {
    pin: MeshId,
    provider: CryptoProvider,
    found: Mutex<Option<Result<(Trust, u64), PinFault>>>,
}

impl PinVerifier {
    fn new(pin: MeshId) -> Self {
        Self { pin, provider: default_provider(), found: Mutex::new(None) }
    }

    fn examine(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(Trust, u64), PinFault> {
        let root = rest.last().ok_or(PinFault::Certificate(CertificateFault::Malformed))?;
        let trust = Trust::new(root.clone().into_owned()).map_err(PinFault::Certificate)?;
        if trust.mesh_id() != self.pin {
            return Err(PinFault::OtherMesh(trust.mesh_id()));
        }
        let agent = trust.check(leaf, rest, now).map_err(PinFault::Certificate)?.agent_id;
        Ok((trust, agent))
    }

    fn take_result(&self) -> Option<Result<(Trust, u64), PinFault>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn verified(&self) -> Option<(Trust, u64)> {
        self.take_result()?.ok()
    }

    fn fault(&self) -> Option<PinFault> {
        self.take_result()?.err()
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let result = self.examine(end_entity, intermediates, now);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(result.clone());
        match result {
            Ok(_) => Ok(ServerCertVerified::assertion()),
            Err(PinFault::OtherMesh(_)) => Err(CertificateFault::OtherMesh.into()),
            Err(PinFault::Certificate(fault)) => Err(fault.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

//! Whom to believe: does a certificate chain to this mesh's root, and does its id follow from its key?

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ring::signature::{ED25519, UnparsedPublicKey};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error as TlsError};
use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::limits::{MAX_CACHED_CREDENTIALS, MAX_CREDENTIAL_BYTES};
use crate::mesh_id::{MeshId, agent_dns_name, agent_id_of_spki, agent_uri, sha256};

/// DER of an Ed25519 SubjectPublicKeyInfo up to the 32 bytes of the key (RFC 8410 section 4).
const ED25519_SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const CREDENTIAL_VERSION: u8 = 1;

/// What is wrong with a certificate or a credential.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateFault {
    /// The bytes are no certificate, or no credential.
    #[error("it cannot be parsed")]
    Malformed,
    /// It was issued by somebody else's root.
    #[error("it belongs to another mesh")]
    OtherMesh,
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// It is not valid yet; one of the two clocks is wrong.
    #[error("it is not valid yet (is a clock wrong?)")]
    NotYetValid,
    /// Its names do not follow from its key: it speaks for somebody else.
    #[error("the names in it do not match its key")]
    NameMismatch,
    /// It is an agent's certificate, but not that of the agent that was expected.
    #[error("it is the certificate of agent {found:016x}, not of agent {expected:016x}")]
    UnexpectedAgent {
        /// Whom the dialler wanted.
        expected: u64,
        /// Whom it met.
        found: u64,
    },
    /// It is not meant for agents (wrong key type, or usage).
    #[error("it is no agent's certificate")]
    WrongPurpose,
}

impl From<TlsError> for CertificateFault {
    fn from(error: TlsError) -> Self {
        let TlsError::InvalidCertificate(error) = error else { return Self::Malformed };
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::BadEncoding | CertificateError::UnhandledCriticalExtension => Self::Malformed,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Self::WrongPurpose,
            // A signature that does not verify is as good as a signature by a stranger.
            _ => Self::OtherMesh,
        }
    }
}

impl From<CertificateFault> for TlsError {
    /// Chooses the alert, by which the other side learns the reason (RFC 8446 section 6.2).
    fn from(fault: CertificateFault) -> Self {
        Self::InvalidCertificate(match fault {
            CertificateFault::Malformed => CertificateError::BadEncoding,
            CertificateFault::OtherMesh => CertificateError::UnknownIssuer,
            CertificateFault::Expired => CertificateError::Expired,
            CertificateFault::NotYetValid => CertificateError::NotValidYet,
            CertificateFault::NameMismatch => CertificateError::ApplicationVerificationFailure,
            CertificateFault::UnexpectedAgent { .. } => CertificateError::NotValidForName,
            CertificateFault::WrongPurpose => CertificateError::InvalidPurpose,
        })
    }
}

/// A member whose certificate was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Its id.
    pub agent_id: u64,
    /// Its Ed25519 public key.
    pub public_key: [u8; 32],
    /// First second its certificate is valid, unix time.
    pub not_before_unix_s: i64,
    /// Last second its certificate is valid, unix time.
    pub not_after_unix_s: i64,
}

impl Admitted {
    /// Is `signature` this member's, over `bytes`?
    pub fn verify(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public_key[..]).verify(bytes, signature).is_ok()
    }

    fn is_valid_at(&self, now: UnixTime) -> Result<(), CertificateFault> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match (now < self.not_before_unix_s, now > self.not_after_unix_s) {
            (true, _) => Err(CertificateFault::NotYetValid),
            (_, true) => Err(CertificateFault::Expired),
            _ => Ok(()),
        }
    }
}

/// A mesh's root, and what was verified against it. Cheap to clone; clones share the cache.
#[derive(Clone)]
pub struct Trust {
    inner: Arc<Inner>,
}

struct Inner {
    root: CertificateDer<'static>,
    mesh_id: MeshId,
    roots: RootCertStore,
    cache: Mutex<HashMap<[u8; 32], Admitted>>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("mesh_id", &self.inner.mesh_id).finish_non_exhaustive()
    }
}

impl Trust {
    /// Trusts the mesh of this root certificate (DER).
    ///
    /// # Errors
    /// [`CertificateFault::Malformed`] when it is no certificate.
    pub fn new(root: CertificateDer<'static>) -> Result<Self, CertificateFault> {
        let mesh_id = MeshId::of_spki(&spki(&root)?);
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).map_err(|_| CertificateFault::Malformed)?;
        let inner = Inner { root, mesh_id, roots, cache: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The mesh it stands for.
    pub fn mesh_id(&self) -> MeshId {
        self.inner.mesh_id
    }

    /// The root certificate, DER.
    pub fn root_der(&self) -> &CertificateDer<'static> {
        &self.inner.root
    }

    /// Verifies a credential (see [`crate::Identity::credential`]) met in gossip. Any bytes may be given. Results are
    /// remembered, so that the second look costs a hash.
    ///
    /// # Errors
    /// The reason why it proves nothing.
    pub fn admit(&self, credential: &[u8]) -> Result<Admitted, CertificateFault> {
        if credential.len() > MAX_CREDENTIAL_BYTES {
            return Err(CertificateFault::Malformed);
        }
        let now = UnixTime::now();
        let digest = sha256(credential);
        let cached = self.cache().get(&digest).copied();
        if let Some(admitted) = cached {
            return admitted.is_valid_at(now).map(|()| admitted);
        }
        let (leaf, issuing) = decode_credential(credential).ok_or(CertificateFault::Malformed)?;
        let admitted = self.check(&leaf, &[issuing], now)?;
        let mut cache = self.cache();
        if cache.len() >= MAX_CACHED_CREDENTIALS {
            cache.clear();
        }
        cache.insert(digest, admitted);
        Ok(admitted)
    }

    /// Verifies a leaf with the certificates that came with it.
    ///
    /// # Errors
    /// The reason why it is not to be believed.
    pub fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Admitted, CertificateFault> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let provider = rustls::crypto::ring::default_provider();
        let algorithms = provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.inner.roots, intermediates, now, algorithms)?;
        self.agent_of(leaf)
    }

    /// As [`Trust::check`], at a moment when the leaf itself was valid: for one's own expired certificate.
    pub(crate) fn check_ignoring_time(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<Admitted, CertificateFault> {
        let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| CertificateFault::Malformed)?;
        let moment = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
        self.check(leaf, intermediates, UnixTime::since_unix_epoch(Duration::from_secs(moment)))
    }

    /// The id that follows from the key, provided that the names in the certificate say the same.
    pub(crate) fn agent_of(&self, leaf: &CertificateDer<'_>) -> Result<Admitted, CertificateFault> {
        let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| CertificateFault::Malformed)?;
        let spki = certificate.public_key().raw;
        let public_key: [u8; 32] = spki
            .strip_prefix(&ED25519_SPKI_PREFIX)
            .and_then(|key| key.try_into().ok())
            .ok_or(CertificateFault::WrongPurpose)?;
        let agent_id = agent_id_of_spki(spki).ok_or(CertificateFault::NameMismatch)?;
        let usage = certificate.extended_key_usage().ok().flatten().ok_or(CertificateFault::WrongPurpose)?;
        if !(usage.value.client_auth && usage.value.server_auth) {
            return Err(CertificateFault::WrongPurpose);
        }
        let names = certificate.subject_alternative_name().ok().flatten().ok_or(CertificateFault::NameMismatch)?;
        let (dns, uri) = (agent_dns_name(agent_id), agent_uri(&self.inner.mesh_id, agent_id));
        let as_expected = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => *name == dns,
            GeneralName::URI(name) => *name == uri,
            _ => false,
        };
        let names = &names.value.general_names;
        if names.len() != 2 || !names.iter().all(as_expected) {
            return Err(CertificateFault::NameMismatch);
        }
        let validity = certificate.validity();
        Ok(Admitted {
            agent_id,
            public_key,
            not_before_unix_s: validity.not_before.timestamp(),
            not_after_unix_s: validity.not_after.timestamp(),
        })
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Admitted>> {
        self.inner.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Is `signature` over `bytes` by the key of this leaf certificate? Does not verify the certificate itself.
pub fn verify(leaf_der: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(leaf_der) else { return false };
    let Some(key) = certificate.public_key().raw.strip_prefix(&ED25519_SPKI_PREFIX) else { return false };
    UnparsedPublicKey::new(&ED25519, key).verify(bytes, signature).is_ok()
}

/// A credential: version, then leaf and issuing certificate, each after its length (u16, little-endian).
pub(crate) fn encode_credential(leaf: &[u8], issuing: &[u8]) -> Vec<u8> {
    let mut out = vec![CREDENTIAL_VERSION];
    for part in [leaf, issuing] {
        out.extend_from_slice(&u16::try_from(part.len()).unwrap_or(0).to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}

fn decode_credential(bytes: &[u8]) -> Option<(CertificateDer<'_>, CertificateDer<'_>)> {
    let (version, rest) = bytes.split_first()?;
    let (leaf, rest) = split_part(rest)?;
    let (issuing, rest) = split_part(rest)?;
    (*version == CREDENTIAL_VERSION && rest.is_empty()).then(|| (leaf.into(), issuing.into()))
}

fn split_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

/// The SubjectPublicKeyInfo of a certificate.
pub(crate) fn spki(der: &[u8]) -> Result<Vec<u8>, CertificateFault> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateFault::Malformed)?;
    Ok(certificate.public_key().raw.to_vec())
}

pub(crate) fn common_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

pub(crate) fn not_after_unix_s(der: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

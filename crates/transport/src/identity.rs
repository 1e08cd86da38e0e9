//! Who an agent is: its key, its certificate chain, and the files that hold them.
//!
//! `identity.pem` holds the leaf key and the chain leaf, issuing, root; it is one file so that it appears as a whole.
//! `issuer.pem` holds the issuing key, on agents that may admit others. `root.pem` holds the root key, on the first agent
//! only; it is needed to make further issuing certificates and may be moved offline.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::KeyPair;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use thiserror::Error;

use crate::certificate::{Certified, generate_agent_key, is_valid_name, load_key, make_issuing, make_leaf, make_root};
use crate::encoding::pem;
use crate::files::{create_private_dir, read_private, write_private};
use crate::issuer::Issuer;
use crate::mesh_id::MeshId;
use crate::trust::{Trust, encode_credential};

const IDENTITY_FILE: &str = "identity.pem";
const ISSUER_FILE: &str = "issuer.pem";
const ROOT_FILE: &str = "root.pem";

/// Why there is no usable identity.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The directory holds none.
    #[error("{} holds no identity: run `quorate init`, or join a mesh with --token", data_dir.display())]
    Missing {
        /// The directory.
        data_dir: PathBuf,
    },
    /// The directory already holds one; it was left as it was.
    #[error("{} already holds an identity, of agent {agent:016x} in mesh {mesh}; use another directory, or remove it first", data_dir.display())]
    AlreadyExists {
        /// The directory.
        data_dir: PathBuf,
        /// The agent it belongs to.
        agent: u64,
        /// The mesh it belongs to.
        mesh: MeshId,
    },
    /// A file is there and cannot be used.
    #[error("{} is damaged ({detail}): restore it from a backup, or remove the directory and join again", path.display())]
    Corrupted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Another process runs on the directory.
    #[error("{} is in use by another process: one agent per data directory; stop the other, or choose another directory", data_dir.display())]
    Locked {
        /// The directory.
        data_dir: PathBuf,
    },
    /// The name cannot go into a certificate.
    #[error("{name:?} is no agent name: 1 to 64 bytes, not blank, no control characters")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// Keys or certificates could not be made.
    #[error("cannot make keys or certificates: {detail}")]
    Crypto {
        /// The reason.
        detail: String,
    },
}

impl From<rcgen::Error> for IdentityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Crypto { detail: error.to_string() }
    }
}

/// An agent's identity in one mesh. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    agent_id: u64,
    name: String,
    /// Leaf, issuing, root.
    chain: [CertificateDer<'static>; 3],
    pkcs8: Vec<u8>,
    signing: Ed25519KeyPair,
    trust: Trust,
    issuer: Option<Issuer>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("agent_id", &format_args!("{:016x}", self.agent_id()))
            .field("mesh_id", &self.mesh_id())
            .field("issuer", &self.issuer().is_some())
            .finish_non_exhaustive()
    }
}

/// Creates a mesh: root, issuing certificate, and the first agent's identity, called `name`. The directory is created
/// (0700) when missing.
///
/// # Errors
/// [`IdentityError::AlreadyExists`] when the directory holds an identity; it is left as it was.
pub fn init_mesh(data_dir: &Path, name: &str) -> Result<Identity, IdentityError> {
    if !is_valid_name(name) {
        return Err(IdentityError::InvalidName { name: name.to_owned() });
    }
    create_private_dir(data_dir)?;
    ensure_vacant(data_dir)?;
    let root = make_root()?;
    let trust = Trust::new(root.der.clone()).map_err(|fault| IdentityError::Crypto { detail: fault.to_string() })?;
    let mesh = trust.mesh_id();
    let issuing = make_issuing(&root, &mesh)?;
    let (key, agent) = generate_agent_key()?;
    let leaf = make_leaf(&key, agent, name, &mesh, &issuing.der, &issuing.key)?;
    write_private(&data_dir.join(ROOT_FILE), certified_pem(&root).as_bytes())?;
    write_private(&data_dir.join(ISSUER_FILE), certified_pem(&issuing).as_bytes())?;
    store_identity(data_dir, &key, [&leaf, &issuing.der, &root.der])?;
    Identity::load(data_dir)
}

/// Fails when the directory holds an identity, even a damaged one.
pub(crate) fn ensure_vacant(data_dir: &Path) -> Result<(), IdentityError> {
    match Identity::load(data_dir) {
        Err(IdentityError::Missing { .. }) => Ok(()),
        Ok(found) => Err(IdentityError::AlreadyExists {
            data_dir: data_dir.to_path_buf(),
            agent: found.agent_id(),
            mesh: found.mesh_id(),
        }),
        Err(error) => Err(error),
    }
}

/// Writes `identity.pem`.
pub(crate) fn store_identity(
    data_dir: &Path,
    key: &KeyPair,
    chain: [&CertificateDer<'_>; 3],
) -> Result<(), IdentityError> {
    let mut text = pem("PRIVATE KEY", key.serialized_der());
    for certificate in chain {
        text.push_str(&pem("CERTIFICATE", certificate));
    }
    write_private(&data_dir.join(IDENTITY_FILE), text.as_bytes())
}

fn certified_pem(certified: &Certified) -> String {
    pem("PRIVATE KEY", certified.key.serialized_der()) + &pem("CERTIFICATE", &certified.der)
}

/// A key (PKCS#8) and the certificates that follow it in a PEM file.
fn parse_pem(path: &Path, contents: &[u8]) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), IdentityError> {
    let corrupted = |detail: &str| IdentityError::Corrupted { path: path.to_path_buf(), detail: detail.to_owned() };
    let key = PrivatePkcs8KeyDer::from_pem_slice(contents).map_err(|_| corrupted("no private key in it"))?;
    let certificates = CertificateDer::pem_slice_iter(contents)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| corrupted("a certificate in it cannot be read"))?;
    Ok((key.secret_pkcs8_der().to_vec(), certificates))
}

impl Identity {
    /// Reads the identity of a data directory and checks it: the chain must verify and the key must be the leaf's. An
    /// expired leaf loads, so that the error appears where it can be remedied; peers refuse it.
    ///
    /// # Errors
    /// [`IdentityError::Missing`], [`IdentityError::Corrupted`], [`IdentityError::Io`].
    pub fn load(data_dir: &Path) -> Result<Self, IdentityError> {
        let path = data_dir.join(IDENTITY_FILE);
        let Some(contents) = read_private(&path)? else {
            return Err(IdentityError::Missing { data_dir: data_dir.to_path_buf() });
        };
        let corrupted = |detail: String| IdentityError::Corrupted { path: path.clone(), detail };
        let (pkcs8, certificates) = parse_pem(&path, &contents)?;
        let chain: [CertificateDer<'static>; 3] = certificates
            .try_into()
            .map_err(|found: Vec<_>| corrupted(format!("{} certificates instead of 3", found.len())))?;
        let trust = Trust::new(chain[2].clone()).map_err(|fault| corrupted(fault.to_string()))?;
        let issuer = load_issuer(data_dir, &trust)?;
        Self::assemble(pkcs8, chain, trust, issuer).map_err(corrupted)
    }

    fn assemble(
        pkcs8: Vec<u8>,
        chain: [CertificateDer<'static>; 3],
        trust: Trust,
        issuer: Option<Issuer>,
    ) -> Result<Self, String> {
        let signing = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| "the private key cannot be read".to_owned())?;
        let admitted =
            trust.check_ignoring_time(&chain[0], &chain[1..2]).map_err(|fault| format!("its certificate: {fault}"))?;
        if admitted.public_key[..] != *signing.public_key().as_ref() {
            return Err("the private key is not the certificate's".to_owned());
        }
        let name = crate::trust::common_name(&chain[0]).unwrap_or_default();
        let inner = Inner { agent_id: admitted.agent_id, name, chain, pkcs8, signing, trust, issuer };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// This agent's id.
    pub fn agent_id(&self) -> u64 {
        self.inner.agent_id
    }

    /// The name given at `init` or `join`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The mesh it belongs to.
    pub fn mesh_id(&self) -> MeshId {
        self.inner.trust.mesh_id()
    }

    /// Certificates in DER: leaf, issuing, root.
    pub fn chain(&self) -> &[CertificateDer<'static>; 3] {
        &self.inner.chain
    }

    /// The root certificate in DER.
    pub fn root_der(&self) -> &CertificateDer<'static> {
        &self.inner.chain[2]
    }

    /// What verifies other members.
    pub fn trust(&self) -> &Trust {
        &self.inner.trust
    }

    /// What admits new members, if this agent may.
    pub fn issuer(&self) -> Option<&Issuer> {
        self.inner.issuer.as_ref()
    }

    /// Leaf and issuing certificate in one value, for others to [`Trust::admit`].
    pub fn credential(&self) -> Vec<u8> {
        encode_credential(&self.inner.chain[0], &self.inner.chain[1])
    }

    /// The signer of this agent's statements.
    pub fn signer(&self) -> Signer {
        Signer { identity: self.clone() }
    }

    /// When the leaf expires, unix seconds.
    pub fn expires_unix_s(&self) -> i64 {
        crate::trust::not_after_unix_s(&self.inner.chain[0]).unwrap_or(0)
    }

    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.inner.pkcs8
    }
}

fn load_issuer(data_dir: &Path, trust: &Trust) -> Result<Option<Issuer>, IdentityError> {
    let path = data_dir.join(ISSUER_FILE);
    let Some(contents) = read_private(&path)? else { return Ok(None) };
    let corrupted = |detail: String| IdentityError::Corrupted { path: path.clone(), detail };
    let (pkcs8, certificates) = parse_pem(&path, &contents)?;
    let Some(der) = certificates.into_iter().next() else {
        return Err(corrupted("no certificate in it".to_owned()));
    };
    let key = load_key(&pkcs8).map_err(|_| corrupted("the private key cannot be read".to_owned()))?;
    Issuer::new(key, der, trust.clone()).map(Some).map_err(|fault| corrupted(fault.to_string()))
}

/// Signs with the leaf key (Ed25519, RFC 8032). Cheap to clone.
#[derive(Clone, Debug)]
pub struct Signer {
    identity: Identity,
}

impl Signer {
    /// The agent that signs.
    pub fn agent_id(&self) -> u64 {
        self.identity.agent_id()
    }

    /// The signature over `bytes`, 64 bytes.
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        let mut out = [0; 64];
        let signature = self.identity.inner.signing.sign(bytes);
        if let Some(source) = signature.as_ref().first_chunk() {
            out = *source;
        }
        out
    }
}

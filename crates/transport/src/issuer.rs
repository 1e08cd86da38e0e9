//! Admitting a new agent: a token's proof is checked, then a leaf certificate is made for the key in the request.

use std::fmt;

use rcgen::{CertificateSigningRequestParams, KeyPair, PKCS_ED25519, PublicKeyData};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, UnixTime};

use crate::certificate::{is_valid_name, make_leaf};
use crate::join::{Grant, JoinRefusal, JoinRequest};
use crate::mesh_id::agent_id_of_spki;
use crate::token_store::{TokenFault, TokenStore};
use crate::trust::{CertificateFault, Trust, spki};

/// The issuing key and certificate of an agent that may admit others.
pub struct Issuer {
    key: KeyPair,
    der: CertificateDer<'static>,
    trust: Trust,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("mesh_id", &self.trust.mesh_id()).finish_non_exhaustive()
    }
}

impl From<TokenFault> for JoinRefusal {
    fn from(fault: TokenFault) -> Self {
        match fault {
            TokenFault::Unknown => Self::UnknownToken,
            TokenFault::WrongProof => Self::WrongSecret,
            TokenFault::UsedUp => Self::TokenUsed,
            TokenFault::Expired => Self::TokenExpired,
        }
    }
}

impl Issuer {
    pub(crate) fn new(key: KeyPair, der: CertificateDer<'static>, trust: Trust) -> Result<Self, CertificateFault> {
        if spki(&der)? != key.subject_public_key_info() {
            return Err(CertificateFault::NameMismatch);
        }
        Ok(Self { key, der, trust })
    }

    /// Decides a join request against the tokens in `store`. The grant's `bootstrap` is empty: the caller fills it. Blocks
    /// on the file for a moment. A use of the token is spent only when a certificate was made.
    ///
    /// # Errors
    /// The refusal to send back.
    pub fn grant(&self, request: &JoinRequest, store: &TokenStore, now_unix_ms: u64) -> Result<Grant, JoinRefusal> {
        if !is_valid_name(&request.name) {
            return Err(JoinRefusal::Malformed);
        }
        let message = proof_message(&request.channel_binding, &request.csr);
        let work = || self.issue(request);
        match store.redeem(&request.token_id, &message, &request.proof, now_unix_ms, work) {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, "a join was refused: the token store does not work");
                Err(JoinRefusal::Internal)
            }
        }
    }

    fn issue(&self, request: &JoinRequest) -> Result<Grant, JoinRefusal> {
        let csr = CertificateSigningRequestDer::from(&request.csr[..]);
        let csr = CertificateSigningRequestParams::from_der(&csr).map_err(|_| JoinRefusal::Malformed)?;
        if *csr.public_key.algorithm() != PKCS_ED25519 {
            return Err(JoinRefusal::Malformed);
        }
        let agent = agent_id_of_spki(&csr.public_key.subject_public_key_info()).ok_or(JoinRefusal::Malformed)?;
        let mesh = self.trust.mesh_id();
        let failed = |error: &dyn fmt::Display| {
            tracing::error!(%error, "a join was refused: the leaf certificate could not be made");
            JoinRefusal::Internal
        };
        let leaf = make_leaf(&csr.public_key, agent, &request.name, &mesh, &self.der, &self.key)
            .map_err(|error| failed(&error))?;
        // An expired issuing certificate would make leaves that nobody believes.
        self.trust.check(&leaf, std::slice::from_ref(&self.der), UnixTime::now()).map_err(|fault| failed(&fault))?;
        Ok(Grant {
            leaf: leaf.to_vec(),
            issuing: self.der.to_vec(),
            root: self.trust.root_der().to_vec(),
            mesh_id: mesh,
            bootstrap: Vec::new(),
        })
    }
}

/// What the proof of a join is made over: the TLS exporter of the joiner's connection, then the signing request.
pub(crate) fn proof_message(channel_binding: &[u8], csr: &[u8]) -> Vec<u8> {
    [channel_binding, csr].concat()
}

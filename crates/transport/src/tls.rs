//! TLS 1.3 as the mesh wants it: both sides show certificates of the mesh; no resumption, no 0-RTT.
//!
//! One socket serves members and joiners. A joiner has no certificate yet, and TLS asks for one before it is known which
//! protocol was chosen; so the server asks for a certificate, verifies any that is shown, and closes a mesh connection
//! without one before a byte of it is read.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring::default_provider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error as TlsError, PeerIncompatible, SignatureScheme};

use crate::identity::Identity;
use crate::limits::{ALPN_JOIN, ALPN_MESH};
use crate::mesh_id::agent_of_dns_name;
use crate::transport::BindError;
use crate::trust::{CertificateFault, Trust};

/// Server name of a dial whose peer is not known yet.
pub(crate) const ANY_AGENT: &str = "any.agent.quorate";

/// Verifies the certificates of members, in both directions.
#[derive(Debug)]
struct MeshVerifier {
    trust: Trust,
    provider: CryptoProvider,
}

impl ServerCertVerifier for MeshVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let found = self.trust.check(end_entity, intermediates, now)?.agent_id;
        match agent_of_dns_name(&server_name.to_str()) {
            Some(expected) if expected != found => Err(CertificateFault::UnexpectedAgent { expected, found }.into()),
            Some(_) => Ok(ServerCertVerified::assertion()),
            None if server_name.to_str() == ANY_AGENT => Ok(ServerCertVerified::assertion()),
            None => Err(CertificateFault::NameMismatch.into()),
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

impl ClientCertVerifier for MeshVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        self.trust.check(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        ServerCertVerifier::verify_tls12_signature(self, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        ServerCertVerifier::verify_tls13_signature(self, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }
}

fn key_of(identity: &Identity) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(identity.pkcs8().to_vec()).into()
}

pub(crate) fn server_config(identity: &Identity) -> Result<QuicServerConfig, BindError> {
    let provider = default_provider();
    let verifier = Arc::new(MeshVerifier { trust: identity.trust().clone(), provider: provider.clone() });
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(BindError::tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain().to_vec(), key_of(identity))
        .map_err(BindError::tls)?;
    config.alpn_protocols = vec![ALPN_MESH.to_vec(), ALPN_JOIN.to_vec()];
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    QuicServerConfig::try_from(config).map_err(BindError::tls)
}

pub(crate) fn client_config(identity: &Identity) -> Result<QuicClientConfig, BindError> {
    let provider = default_provider();
    let verifier = Arc::new(MeshVerifier { trust: identity.trust().clone(), provider: provider.clone() });
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(BindError::tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(identity.chain()[..2].to_vec(), key_of(identity))
        .map_err(BindError::tls)?;
    config.alpn_protocols = vec![ALPN_MESH.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    QuicClientConfig::try_from(config).map_err(BindError::tls)
}

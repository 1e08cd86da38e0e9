//! TLS for an agent's HTTP API: an agent shows its certificate of the mesh to whoever asks, and who asks believes any agent of a mesh
//! whose root it was given.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, OtherError, RootCertStore, ServerConfig,
    SignatureScheme,
};

use crate::identity::Identity;
use crate::mesh_id::agent_of_dns_name;
use crate::trust::{CertificateFault, Trust};

/// What the API speaks above TLS; gRPC needs the second.
const ALPN_HTTP: &[u8] = b"http/1.1";
const ALPN_HTTP2: &[u8] = b"h2";

/// The API's side, with the agent's own certificate. Its name is `<agent id>.agent.quorate`, its root the mesh's.
///
/// # Errors
/// When TLS cannot use the certificate.
pub fn api_server(identity: &Identity) -> Result<ServerConfig, TlsError> {
    let [leaf, issuing, _] = identity.chain().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.pkcs8().to_vec()));
    api_server_with(vec![leaf, issuing], key)
}

/// The API's side, with a certificate of the operator's own.
///
/// # Errors
/// When the key is not the certificate's, or TLS cannot use them.
pub fn api_server_with(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let mut config =
        builder.with_safe_default_protocol_versions()?.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP.to_vec()];
    Ok(config)
}

/// The side of who asks an API. Believes certificates that chain to one of `roots` and bear the name asked for, and agents of a mesh whose
/// root is among them, whatever name or address they were reached by: each of them answers for the whole mesh. A root that the server itself shows
/// is believed too, if it bears the name: what `openssl req -x509` makes is an authority and a server's certificate in one.
///
/// # Errors
/// When none of `roots` can be used.
pub fn api_client(roots: Vec<CertificateDer<'static>>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(default_provider());
    let meshes = roots.iter().filter_map(|root| Trust::new(root.clone()).ok()).collect();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let names = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider)).build();
    let names = names.map_err(|error| TlsError::General(error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let verifier = Arc::new(ApiVerifier { names, meshes, roots });
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
    Ok(config)
}

#[derive(Debug)]
struct ApiVerifier {
    names: Arc<WebPkiServerVerifier>,
    meshes: Vec<Trust>,
    roots: Vec<CertificateDer<'static>>,
}

impl ApiVerifier {
    /// Is nothing wrong with the certificate but that it is one of the roots? Its time and its place in the chain were looked at, in this order.
    fn is_root(&self, end_entity: &CertificateDer<'_>, error: &TlsError) -> bool {
        let TlsError::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error else { return false };
        cause.to_string() == "CaUsedAsEndEntity" && self.roots.iter().any(|root| root == end_entity)
    }
}

impl ServerCertVerifier for ApiVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let by_name = self.names.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let Err(error) = by_name else { return by_name };
        if self.is_root(end_entity, &error) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let admitted = self.meshes.iter().find_map(|mesh| mesh.check(end_entity, intermediates, now).ok());
        let Some(found) = admitted.map(|admitted| admitted.agent_id) else { return Err(error) };
        match agent_of_dns_name(&server_name.to_str()) {
            Some(expected) if expected != found => Err(CertificateFault::UnexpectedAgent { expected, found }.into()),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.names.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.names.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.names.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::init_mesh;
    use rustls::{ClientConnection, ServerConnection};

    /// Shakes hands in memory.
    fn shake(server: ServerConfig, client: ClientConfig, name: &str) -> Result<(), TlsError> {
        let mut server = ServerConnection::new(Arc::new(server))?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut client = ClientConnection::new(Arc::new(client), name)?;
        for _ in 0..10 {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).expect("to memory");
            }
            server.read_tls(&mut &bytes[..]).expect("from memory");
            server.process_new_packets()?;
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).expect("to memory");
            }
            client.read_tls(&mut &bytes[..]).expect("from memory");
            client.process_new_packets()?;
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        Ok(())
    }

    #[test]
    fn any_agent_of_the_mesh_is_believed_and_nobody_else() {
        let (dir, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let identity = init_mesh(dir.path(), "a").expect("a mesh");
        let stranger = init_mesh(other.path(), "b").expect("a mesh");
        let client = || api_client(vec![identity.root_der().clone()]).expect("a client");
        let own_name = crate::mesh_id::agent_dns_name(identity.agent_id());
        for name in ["10.0.0.1", "host-a.internal", own_name.as_str()] {
            shake(api_server(&identity).expect("a server"), client(), name).expect(name);
        }
        let another = crate::mesh_id::agent_dns_name(identity.agent_id() ^ 1);
        assert!(shake(api_server(&identity).expect("a server"), client(), &another).is_err());
        assert!(shake(api_server(&stranger).expect("a server"), client(), "10.0.0.1").is_err());
    }

    #[test]
    fn a_certificate_of_the_operators_own_must_bear_the_name() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["health.example".to_owned()]).expect("a name");
        let root = params.self_signed(&key).expect("a certificate").der().clone();
        let server = || {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            api_server_with(vec![root.clone()], key).expect("a server")
        };
        let client = || api_client(vec![root.clone()]).expect("a client");
        shake(server(), client(), "health.example").expect("its name");
        assert!(shake(server(), client(), "other.example").is_err());
    }

    #[test]
    fn a_root_may_be_the_servers_own_certificate() {
        let made = |not_after: Option<i32>| {
            let key = rcgen::KeyPair::generate().expect("a key");
            let mut params = rcgen::CertificateParams::new(vec!["health.example".to_owned()]).expect("a name");
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            if let Some(year) = not_after {
                params.not_after = rcgen::date_time_ymd(year, 1, 1);
            }
            let root = params.self_signed(&key).expect("a certificate").der().clone();
            let server = {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
                api_server_with(vec![root.clone()], key).expect("a server")
            };
            (root, server)
        };
        let ((root, server), (other, stranger), (old, outdated)) = (made(None), made(None), made(Some(2001)));
        let client = |root: &CertificateDer<'static>| api_client(vec![root.clone()]).expect("a client");
        shake(server.clone(), client(&root), "health.example").expect("what is shown is what is believed");
        assert!(shake(server.clone(), client(&root), "other.example").is_err(), "another name");
        assert!(shake(server, client(&other), "health.example").is_err(), "another certificate");
        assert!(shake(stranger, client(&root), "health.example").is_err(), "another certificate");
        assert!(shake(outdated, client(&old), "health.example").is_err(), "its time is over");
    }
}

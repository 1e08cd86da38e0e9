//! TLS settings of checks, made once and kept, and the TLS phase itself. TLS 1.2 (RFC 5246) and 1.3 (RFC 8446).
//!
//! Sessions are never resumed: a resumed handshake shows no certificate, so an expired one would go unseen.
//! A changed file is noticed by its modification time and size, so rotated certificates need no restart.

use crate::failure::{Step, of_io, unprepared, within};
use crate::findings::{Findings, add};
use crate::meter::Stream;
use quorate_core::Phase;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

/// Bytes of a certificate file at most.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Settings kept at most.
const MAX_CONFIGS: usize = 256;

/// What of a check decides its TLS settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TlsSettings {
    pub(crate) verify: bool,
    pub(crate) ca_file: Option<String>,
    pub(crate) client_cert_file: Option<String>,
    /// The name expected in the certificate, and sent as SNI when it is not an address.
    pub(crate) server_name: String,
}

type Key = (bool, Option<String>, Option<String>);
type Stamp = (Option<SystemTime>, u64);
type Made = HashMap<Key, (Vec<Stamp>, Arc<ClientConfig>)>;

/// The settings made so far, and from which state of the files.
#[derive(Default)]
pub(crate) struct TlsConfigs {
    made: Mutex<Made>,
}

/// A TLS connection in the making: everything local is done.
pub(crate) struct Prepared {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsConfigs {
    /// Reads the files, or finds them read already.
    pub(crate) async fn prepare(&self, settings: &TlsSettings, deadline: Instant) -> Step<Prepared> {
        let name = ServerName::try_from(settings.server_name.clone())
            .map_err(|_| unprepared(format!("{:?} is not a server name", settings.server_name)))?;
        let config = within(deadline, Phase::Prepare, self.config(settings)).await??;
        Ok(Prepared { connector: TlsConnector::from(config), name })
    }

    async fn config(&self, settings: &TlsSettings) -> Step<Arc<ClientConfig>> {
        // With verification off, the authorities do not matter; a broken file must still be told.
        let key: Key = (settings.verify, settings.ca_file.clone(), settings.client_cert_file.clone());
        let mut stamps = Vec::new();
        for path in [&key.1, &key.2].into_iter().flatten() {
            stamps.push(stamp(path).await?);
        }
        if let Some((_, config)) = self.lock().get(&key).filter(|(known, _)| *known == stamps) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(make(&key).await?);
        let mut made = self.lock();
        if made.len() >= MAX_CONFIGS {
            made.clear();
        }
        made.insert(key, (stamps, Arc::clone(&config)));
        Ok(config)
    }

    fn lock(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prepared {
    /// The handshake over an open connection.
    pub(crate) async fn handshake(
        self,
        tcp: TcpStream,
        deadline: Instant,
        findings: &mut Findings,
    ) -> Step<Box<dyn Stream>> {
        let begun = Instant::now();
        let done = within(deadline, Phase::Tls, self.connector.connect(self.name, tcp)).await;
        add(&mut findings.timings.tls, begun.elapsed());
        let stream = done?.map_err(|error| of_io(Phase::Tls, &error))?;
        Ok(Box::new(stream))
    }
}

async fn stamp(path: &str) -> Step<Stamp> {
    let about = tokio::fs::metadata(path).await.map_err(|error| unprepared(format!("cannot read {path}: {error}")))?;
    if !about.is_file() || about.len() > MAX_FILE_BYTES {
        return Err(unprepared(format!("cannot read {path}: not a file of at most {MAX_FILE_BYTES} bytes")));
    }
    Ok((about.modified().ok(), about.len()))
}

async fn read(path: &str) -> Step<Vec<u8>> {
    let failed = |error: std::io::Error| unprepared(format!("cannot read {path}: {error}"));
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).await.map_err(failed)?;
    Ok(bytes)
}

async fn make((verify, ca_file, client_cert_file): &Key) -> Step<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            for certificate in certificates(path, &read(path).await?)? {
                let added = roots.add(certificate);
                added.map_err(|error| unprepared(format!("{path} holds an unusable certificate: {error}")))?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unprepared(format!("TLS is not available: {error}")))?;
    let builder = if *verify {
        builder.with_root_certificates(roots)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    };
    let mut config = match client_cert_file {
        Some(path) => {
            let pem = read(path).await?;
            let chain = certificates(path, &pem)?;
            let key = PrivateKeyDer::from_pem_slice(&pem)
                .map_err(|error| unprepared(format!("{path} holds no usable private key: {error}")))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unprepared(format!("{path} cannot be used: {error}")))?
        }
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Every certificate of a PEM file (RFC 7468); at least one.
fn certificates(path: &str, pem: &[u8]) -> Step<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(unprepared(format!("{path} holds no certificate"))),
        Ok(found) => Ok(found),
        Err(error) => Err(unprepared(format!("{path} is not a PEM file: {error}"))),
    }
}

/// Takes any certificate, as `verify_tls = false` asks; the handshake must still be signed with its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

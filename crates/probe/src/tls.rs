//! TLS settings of checks, made once and kept, and the TLS phase itself. TLS 1.2 (RFC 5246) and 1.3 (RFC 8446).
//!
//! Sessions are never resumed: a resumed handshake shows no certificate, so an expired one would go unseen.
//! The certificates shown are kept before they are judged, so that an outcome describes one that was refused, too.
//! A changed file is noticed by its modification time and size, so rotated certificates need no restart.

use crate::certificate;
use crate::failure::{Step, of_io, unprepared, within};
use crate::findings::{Findings, add};
use crate::meter::Stream;
use crate::tls_check;
use quorate_core::{Phase, TlsOptions, TlsVersion};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::io::AsyncReadExt;
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
    /// Application protocols offered, the preferred first.
    pub(crate) alpn: &'static [&'static str],
    pub(crate) min_version: TlsVersion,
    pub(crate) expiry_warning: Option<Duration>,
    pub(crate) expiry_critical: Option<Duration>,
}

impl TlsSettings {
    /// Those of a check, for a server of this name.
    pub(crate) fn new(options: &TlsOptions, server_name: String, alpn: &'static [&'static str]) -> Self {
        Self {
            verify: options.verify,
            ca_file: options.ca_file.clone(),
            client_cert_file: options.client_cert_file.clone(),
            server_name,
            alpn,
            min_version: options.min_version,
            expiry_warning: options.expiry_warning,
            expiry_critical: options.expiry_critical,
        }
    }
}

/// The settings, less what differs between servers.
type Key = (bool, Option<String>, Option<String>, &'static [&'static str]);
type Stamp = (Option<SystemTime>, u64);
type Made = HashMap<Key, (Vec<Stamp>, Basis)>;

/// What a handshake starts from: the settings, and who judges certificates.
#[derive(Clone)]
struct Basis {
    config: Arc<ClientConfig>,
    judge: Arc<dyn ServerCertVerifier>,
}

/// The settings made so far, and from which state of the files.
#[derive(Default)]
pub(crate) struct TlsConfigs {
    made: Mutex<Made>,
}

/// A TLS connection in the making: everything local is done.
pub(crate) struct Prepared {
    basis: Basis,
    name: ServerName<'static>,
    settings: TlsSettings,
}

impl TlsConfigs {
    /// Reads the files, or finds them read already.
    pub(crate) async fn prepare(&self, settings: &TlsSettings, deadline: Instant) -> Step<Prepared> {
        let name = ServerName::try_from(settings.server_name.clone())
            .map_err(|_| unprepared(format!("{:?} is not a server name", settings.server_name)))?;
        let basis = within(deadline, Phase::Prepare, self.basis(settings)).await??;
        Ok(Prepared { basis, name, settings: settings.clone() })
    }

    async fn basis(&self, settings: &TlsSettings) -> Step<Basis> {
        // With verification off, the authorities do not matter; a broken file must still be told.
        let key: Key = (settings.verify, settings.ca_file.clone(), settings.client_cert_file.clone(), settings.alpn);
        let mut stamps = Vec::new();
        for path in [&key.1, &key.2].into_iter().flatten() {
            stamps.push(stamp(path).await?);
        }
        if let Some((_, basis)) = self.lock().get(&key).filter(|(known, _)| *known == stamps) {
            return Ok(basis.clone());
        }
        let basis = make(&key).await?;
        let mut made = self.lock();
        if made.len() >= MAX_CONFIGS {
            made.clear();
        }
        made.insert(key, (stamps, basis.clone()));
        Ok(basis)
    }

    fn lock(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prepared {
    /// The handshake over an open connection, and what is to be said of the certificate.
    pub(crate) async fn handshake(
        self,
        tcp: impl Stream + 'static,
        deadline: Instant,
        findings: &mut Findings,
    ) -> Step<Box<dyn Stream>> {
        let begun = Instant::now();
        let shown = Arc::default();
        let mut config = ClientConfig::clone(&self.basis.config);
        let judge = Keeping { judge: self.basis.judge, shown: Arc::clone(&shown) };
        config.dangerous().set_certificate_verifier(Arc::new(judge));
        let connector = TlsConnector::from(Arc::new(config));
        let done = within(deadline, Phase::Tls, connector.connect(self.name, tcp)).await;
        add(&mut findings.timings.tls, begun.elapsed());
        let chain = std::mem::take(&mut *shown.lock().unwrap_or_else(PoisonError::into_inner));
        let mut facts = (!chain.is_empty()).then(|| certificate::facts(&chain));
        if let (Some(facts), Ok(Ok(stream))) = (&mut facts, &done) {
            let session = stream.get_ref().1;
            facts.version =
                session.protocol_version().and_then(|version| version.as_str()).map(|name| name.replace("_", "."));
            facts.cipher =
                session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).map(str::to_owned);
            facts.alpn = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        }
        findings.tls = facts.map(Box::new);
        let stream = done?.map_err(|error| of_io(Phase::Tls, &error))?;
        tls_check::judge(&self.settings, findings)?;
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

async fn make((verify, ca_file, client_cert_file, alpn): &Key) -> Step<Basis> {
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
    let judge: Arc<dyn ServerCertVerifier> = if *verify {
        let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        judge.map_err(|error| unprepared(format!("TLS is not available: {error}")))?
    } else {
        Arc::new(AnyCertificate(provider))
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::clone(&judge));
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
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Basis { config: Arc::new(config), judge })
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

/// Judges as another does, and keeps what it was shown.
#[derive(Debug)]
struct Keeping {
    judge: Arc<dyn ServerCertVerifier>,
    shown: Arc<Mutex<Vec<CertificateDer<'static>>>>,
}

impl ServerCertVerifier for Keeping {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates).map(|shown| shown.clone().into_owned()).collect();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        self.judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.judge.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[rustls::DistinguishedName]> {
        self.judge.root_hint_subjects()
    }
}

/// Takes any certificate, as `verify_tls = false` asks. Whoever takes any learns nothing from a signature with its key, and certificates of devices may be of
/// a version, or have a key, that this library does not read.
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
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.0.signature_verification_algorithms.supported_schemes();
        schemes.extend([SignatureScheme::ECDSA_NISTP521_SHA512, SignatureScheme::RSA_PKCS1_SHA1]);
        schemes
    }
}

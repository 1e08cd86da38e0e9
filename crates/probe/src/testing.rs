//! Far ends for the tests: small servers on a free local port, and an authority that signs their certificates.

use crate::{Prober, Target};
use quorate_core::{
    AgentId, Cause, Check, CheckKind, HttpCheck, InstanceId, Outcome, Phase, ProbeResult, ServiceName, TcpCheck,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A server that runs until the test ends.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    pub(crate) connections: Arc<AtomicUsize>,
}

type Answer = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

impl Server {
    /// Gives each connection, with its number, to `handle`.
    pub(crate) async fn raw<F, Fut>(handle: F) -> Self
    where
        F: Fn(TcpStream, usize) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(handle(stream, counter.fetch_add(1, Ordering::SeqCst)));
            }
        });
        Self { addr, requests: Arc::default(), connections }
    }

    /// Answers HTTP requests with the bytes `answer` makes of them.
    pub(crate) async fn http(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let (requests, answer): (Arc<Mutex<Vec<String>>>, Answer) = (Arc::default(), Arc::new(answer));
        let seen = Arc::clone(&requests);
        let server = Self::raw(move |stream, _| converse(stream, Arc::clone(&seen), Arc::clone(&answer))).await;
        Self { requests, ..server }
    }

    /// The same over TLS.
    pub(crate) async fn https(config: ServerConfig, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let (requests, answer): (Arc<Mutex<Vec<String>>>, Answer) = (Arc::default(), Arc::new(answer));
        let (seen, acceptor) = (Arc::clone(&requests), TlsAcceptor::from(Arc::new(config)));
        let server = Self::raw(move |stream, _| {
            let (seen, answer, accepting) = (Arc::clone(&seen), Arc::clone(&answer), acceptor.accept(stream));
            async move {
                if let Ok(stream) = accepting.await {
                    converse(stream, seen, answer).await;
                }
            }
        })
        .await;
        Self { requests, ..server }
    }

    /// Answers every connection's first request with these bytes, then closes.
    pub(crate) async fn once(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Vec<u8> = answer.into();
        Self::raw(move |mut stream, _| {
            let answer = answer.clone();
            async move {
                read_request(&mut stream).await;
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
                drain(stream).await;
            }
        })
        .await
    }

    /// Hears something on every connection, says this, and then closes or waits.
    pub(crate) async fn saying(said: &'static [u8], closes: bool) -> Self {
        Self::raw(move |mut stream, _| async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(said).await;
            if closes {
                let _ = stream.shutdown().await;
            }
            drain(stream).await;
        })
        .await
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn target(&self) -> Target {
        target(self.addr.to_string())
    }
}

/// Reads what is left, so that closing does not reset the connection.
pub(crate) async fn drain(mut stream: TcpStream) {
    let mut rest = [0; 1024];
    while matches!(stream.read(&mut rest).await, Ok(n) if n > 0) {}
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, seen: Arc<Mutex<Vec<String>>>, answer: Answer) {
    while let Some(request) = read_request(&mut stream).await {
        seen.lock().unwrap().push(request.clone());
        if stream.write_all(&answer(&request)).await.is_err() {
            return;
        }
        if request.to_ascii_lowercase().contains("connection: close") {
            let _ = stream.shutdown().await;
        }
    }
}

/// One request: its head and as much of a body as `Content-Length` says.
pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&piece[..n]),
            _ => return None,
        }
    }
}

/// `HTTP/1.1 <status>` with further header lines and a body.
pub(crate) fn response(status: u16, headers: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    format!("{text}\r\n{body}").into_bytes()
}

pub(crate) fn target(address: impl Into<String>) -> Target {
    Target {
        instance: InstanceId::new("web@10.0.0.1:8080").unwrap(),
        service: ServiceName::new("web").unwrap(),
        address: address.into(),
        home: None,
        observer: AgentId(0xab),
    }
}

/// An HTTP check with a timeout of two seconds.
pub(crate) fn http(set: impl FnOnce(&mut HttpCheck)) -> Check {
    let mut http = HttpCheck::default();
    set(&mut http);
    Check { kind: CheckKind::Http(http), timeout: Duration::from_secs(2), ..Check::default() }
}

/// A TCP check with a timeout of two seconds.
pub(crate) fn tcp(set: impl FnOnce(&mut TcpCheck)) -> Check {
    let mut tcp = TcpCheck::default();
    set(&mut tcp);
    Check { kind: CheckKind::Tcp(tcp), timeout: Duration::from_secs(2), ..Check::default() }
}

/// The same check with another timeout.
pub(crate) fn with_timeout(check: Check, millis: u64) -> Check {
    Check { timeout: Duration::from_millis(millis), ..check }
}

/// Runs a check with a fresh prober.
pub(crate) async fn probe(target: &Target, check: &Check) -> Outcome {
    Prober::default().run(target, check).await
}

/// A check of this kind, asked once.
pub(crate) fn checking(kind: CheckKind) -> Check {
    Check { kind, max_retries: 0, timeout: Duration::from_secs(2), ..Check::default() }
}

/// Runs a check that is to fail: `at_once`, long before its time is over, or by its end, which is near.
pub(crate) async fn failing(target: &Target, kind: CheckKind, at_once: bool) -> Outcome {
    let timeout = if at_once { Duration::from_secs(10) } else { Duration::from_millis(400) };
    let outcome = probe(target, &Check { timeout, ..checking(kind) }).await;
    assert!(!at_once || outcome.timings.total < timeout, "it waited: {outcome:?}");
    outcome
}

#[track_caller]
pub(crate) fn assert_pass(outcome: &Outcome) {
    assert_eq!(outcome.result, ProbeResult::Pass);
}

/// Asserts a failure and returns its detail.
#[track_caller]
pub(crate) fn assert_fail(outcome: &Outcome, phase: Phase, cause: Cause) -> String {
    match &outcome.result {
        ProbeResult::Fail(failure) if (failure.phase, failure.cause) == (phase, cause) => failure.detail.clone(),
        other => panic!("expected {phase:?} {cause:?}, got {other:?}"),
    }
}

/// An authority with a file that holds its certificate.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) folder: tempfile::TempDir,
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        static AUTHORITIES: AtomicUsize = AtomicUsize::new(0);
        let number = AUTHORITIES.fetch_add(1, Ordering::SeqCst);
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: tempfile::tempdir().unwrap() }
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The file to trust.
    pub(crate) fn ca_file(&self) -> String {
        self.file("ca.pem", &self.issuer.pem())
    }

    pub(crate) fn sign(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            pem: format!("{}{}", certificate.pem(), key.serialize_pem()),
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }

    /// Settings of a server; with `ask_client`, one that demands a client certificate of this authority.
    pub(crate) fn server(
        &self,
        identity: &Identity,
        versions: &[&'static SupportedProtocolVersion],
        ask_client: bool,
    ) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
        let builder = if ask_client {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        builder.with_single_cert(identity.chain.clone(), identity.key.clone_key()).unwrap()
    }
}

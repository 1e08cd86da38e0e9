//! Hands bodies to a receiver of OTLP over HTTP: one request per connection, in the clear or by TLS, within bounds of time and size.

use crate::config::OtlpSettings;
use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Longest time for one request, connecting included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes read of an answer.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Where bodies go.
#[derive(Debug)]
pub struct Endpoint {
    authority: String,
    host: String,
    port: u16,
    /// What stands before `/v1/metrics`.
    prefix: String,
    tls: Option<Arc<ClientConfig>>,
    token_file: Option<PathBuf>,
}

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There was no whole answer.
    #[error("{0}")]
    Broken(String),
    /// The answer is a refusal.
    #[error("status {0}: {1}")]
    Refused(StatusCode, String),
}

impl Fault {
    /// May it go better later? (The statuses are those of the specification.)
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Broken(_) => true,
            Self::Refused(status, _) => [429, 502, 503, 504].contains(&status.as_u16()),
        }
    }
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Endpoint {
    /// The configured one.
    ///
    /// # Errors
    /// When the address or the roots cannot be used.
    pub fn new(settings: &OtlpSettings) -> anyhow::Result<Self> {
        let uri: Uri = settings.endpoint.parse().context("otlp.endpoint")?;
        let (host, authority) = (uri.host().context("otlp.endpoint names no host")?, uri.authority());
        let authority = authority.map(ToString::to_string).unwrap_or_default();
        let tls = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => Some(Arc::new(client_config(settings)?)),
            _ => bail!("otlp.endpoint: an address with http:// or https:// is needed"),
        };
        let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let host = host.trim_matches(['[', ']']).to_owned();
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { authority, host, port, prefix, tls, token_file: settings.token_file.clone() })
    }

    /// Hands over a body in JSON.
    ///
    /// # Errors
    /// When it was not taken.
    pub async fn post(&self, path: &str, body: String) -> Result<(), Fault> {
        match timeout(TIMEOUT, self.attempt(path, body)).await {
            Ok(ended) => ended,
            Err(_) => Err(Fault::Broken(format!("{} did not answer within {} s", self.authority, TIMEOUT.as_secs()))),
        }
    }

    async fn attempt(&self, path: &str, body: String) -> Result<(), Fault> {
        let broken = |error: &dyn std::fmt::Display| Fault::Broken(format!("{}: {error}", self.authority));
        let stream = self.connect().await.map_err(|error| broken(&format!("{error:#}")))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        // It ends with the sender, at the end of this attempt.
        tokio::spawn(connection);
        let mut request = Request::post(format!("{}{path}", self.prefix))
            .header("host", &self.authority)
            .header("user-agent", concat!("quorate/", env!("CARGO_PKG_VERSION")))
            .header("content-type", "application/json");
        if let Some(file) = &self.token_file {
            // Read each time, so that a new one needs no restart.
            let token =
                std::fs::read_to_string(file).map_err(|error| broken(&format!("{}: {error}", file.display())))?;
            request = request.header("authorization", format!("Bearer {}", token.trim()));
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| broken(&error))?;
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        if status.is_success() {
            return Ok(());
        }
        let answer = answer.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let words = String::from_utf8_lossy(&answer).chars().filter(|c| !c.is_control()).take(200).collect();
        Err(Fault::Refused(status, words))
    }

    async fn connect(&self) -> anyhow::Result<Box<dyn Wire>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.host.clone())?;
        Ok(Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?))
    }
}

/// Believes the operator's roots if there are any, else the public ones.
fn client_config(settings: &OtlpSettings) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match &settings.ca_file {
        Some(path) => {
            let failed = || format!("otlp.ca_file: {}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).with_context(failed)? {
                roots.add(certificate.with_context(failed)?).with_context(failed)?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
}

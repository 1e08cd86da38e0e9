//! The certificate that the API shows: files of the operator's own, or the agent's certificate of the mesh.

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use quorate_transport::{Identity, api_server, api_server_with};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Where a certificate comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// PEM files: the chain, leaf first, and its key.
    Files {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The agent's own, of the mesh.
    Mesh(Identity),
}

/// The certificate in use; it can be read anew while connections go on.
#[derive(Debug)]
pub struct Certificates {
    source: Source,
    config: ArcSwap<ServerConfig>,
}

impl Certificates {
    /// Reads it.
    ///
    /// # Errors
    /// When it cannot be read or used.
    pub fn load(source: Source) -> anyhow::Result<Self> {
        let config = ArcSwap::from_pointee(read(&source)?);
        Ok(Self { source, config })
    }

    /// Reads it again, and says whether there are files to read. The former one stays in use when that fails.
    ///
    /// # Errors
    /// As [`Certificates::load`].
    pub fn reload(&self) -> anyhow::Result<bool> {
        self.config.store(Arc::new(read(&self.source)?));
        Ok(matches!(self.source, Source::Files { .. }))
    }

    /// Shakes hands with it.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }
}

fn read(source: &Source) -> anyhow::Result<ServerConfig> {
    match source {
        Source::Mesh(identity) => api_server(identity).context("the agent's certificate cannot be used for the API"),
        Source::Files { certificate, key } => {
            let chain = chain(certificate)?;
            let key_der = PrivateKeyDer::from_pem_file(key).with_context(|| {
                format!("api.tls_key_file: {} holds no private key that can be read", key.display())
            })?;
            api_server_with(chain, key_der).with_context(|| {
                format!("api.tls_cert_file: {} and {} do not go together", certificate.display(), key.display())
            })
        }
    }
}

/// The certificates of a PEM file.
///
/// # Errors
/// When there is none in it, or one cannot be read.
pub fn chain(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let shown = || format!("{} holds no certificate that can be read", path.display());
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).with_context(shown)?.collect();
    let certificates = certificates.with_context(shown)?;
    if certificates.is_empty() {
        bail!(shown());
    }
    Ok(certificates)
}

//! What a command shows to an agent elsewhere, and whom it believes there.

use crate::access::token::ApiToken;
use crate::api::tls::chain;
use crate::usage::usage;
use anyhow::Context;
use quorate_transport::{Identity, api_client};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Flags that every command understands.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Agents elsewhere")]
pub struct Credentials {
    /// File with a token of the API; QUORATE_API_TOKEN may hold the token itself
    #[arg(long, global = true, value_name = "FILE", env = "QUORATE_API_TOKEN_FILE")]
    api_token_file: Option<PathBuf>,
    /// Whom to believe over https: a PEM file of roots, or an agent's data directory for the agents of its mesh [default:
    /// the public authorities]
    #[arg(long, global = true, value_name = "PATH", env = "QUORATE_CA")]
    ca: Option<PathBuf>,
}

static GIVEN: OnceLock<Credentials> = OnceLock::new();

impl Credentials {
    /// Keeps what the command line gave, for every question of this process.
    pub fn keep(self) {
        // Only the first counts; there is one command line.
        let _ = GIVEN.set(self);
    }
}

/// The token to show, if there is one.
///
/// # Errors
/// When the file cannot be read, or holds no token.
pub fn token() -> anyhow::Result<Option<String>> {
    let found = match GIVEN.get().and_then(|given| given.api_token_file.as_deref()) {
        Some(path) => Some(std::fs::read_to_string(path).with_context(|| path.display().to_string())?),
        None => std::env::var("QUORATE_API_TOKEN").ok().filter(|text| !text.is_empty()),
    };
    let Some(text) = found else { return Ok(None) };
    let text = text.trim();
    if ApiToken::parse(text).is_none() {
        return Err(usage(
            "that is no token of the API; it begins with QRA1. and comes from `quorate token create --scope`"
                .to_owned(),
        ));
    }
    Ok(Some(text.to_owned()))
}

/// TLS towards an agent.
///
/// # Errors
/// When the roots cannot be read.
pub fn tls() -> anyhow::Result<Arc<ClientConfig>> {
    let config = match GIVEN.get().and_then(|given| given.ca.as_deref()) {
        Some(path) => api_client(roots(path)?),
        None => {
            let public = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            builder.map(|builder| builder.with_root_certificates(public).with_no_client_auth())
        }
    };
    Ok(Arc::new(config.context("--ca")?))
}

fn roots(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    if path.is_dir() {
        return Ok(vec![Identity::load(path)?.root_der().clone()]);
    }
    chain(path)
}

//! How a check speaks TLS: whom it trusts, as whom it goes, and what it thinks of certificates that will expire.

use super::{Errors, file_or_name, limits};
use crate::evidence::words;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Settings of every check that speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsOptions {
    /// Verify the certificate?
    pub verify: bool,
    /// Name expected in the certificate, and sent as SNI, when it is not the host.
    pub server_name: Option<String>,
    /// PEM file with the authorities to trust instead of the public ones; read on the observer's own host.
    pub ca_file: Option<String>,
    /// PEM file with a client certificate and its key; read on the observer's own host.
    pub client_cert_file: Option<String>,
    /// The oldest version that passes.
    pub min_version: TlsVersion,
    /// A certificate that ends sooner than this is worth a warning.
    pub expiry_warning: Option<Duration>,
    /// One that ends sooner than this fails the probe.
    pub expiry_critical: Option<Duration>,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            verify: true,
            server_name: None,
            ca_file: None,
            client_cert_file: None,
            min_version: TlsVersion::V1_2,
            expiry_warning: None,
            expiry_critical: None,
        }
    }
}

words!(
    /// A version of TLS. Older ones are not spoken at all.
    TlsVersion {
        /// RFC 5246.
        V1_2 = "1.2",
        /// RFC 8446.
        V1_3 = "1.3",
    }
);

impl TlsOptions {
    pub(super) fn validate(&self, errors: &mut Errors) {
        for (key, text) in [
            ("server_name", self.server_name.as_ref()),
            ("ca_file", self.ca_file.as_ref()),
            ("client_cert_file", self.client_cert_file.as_ref()),
        ] {
            file_or_name(errors, key, text);
        }
        for (key, span) in
            [("certificate_warning", self.expiry_warning), ("certificate_critical", self.expiry_critical)]
        {
            errors
                .rule(key, span.is_none_or(|span| span <= limits::MAX_EXPIRY), || "too long; at most 3650 days".into());
        }
        if let (Some(warning), Some(critical)) = (self.expiry_warning, self.expiry_critical) {
            let days = |span: Duration| span.as_secs_f64() / 86_400.0;
            errors.rule("certificate_critical", critical <= warning, || {
                format!(
                    "{} days must be at most `certificate_warning` ({} days): a certificate grows worse as its end comes nearer",
                    days(critical),
                    days(warning)
                )
            });
        }
    }
}

/// A check of a TLS server and its certificate; nothing is said once the handshake is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsCheck {
    /// How TLS is spoken. Unlike elsewhere, the end of a certificate is watched by default: 21 and 7 days before.
    pub tls: TlsOptions,
    /// What is spoken before TLS begins; none: TLS from the first byte.
    pub starttls: Option<StartTls>,
}

words!(
    /// A protocol that begins in plain text and is asked for TLS.
    StartTls {
        /// Mail being sent (RFC 3207).
        Smtp = "smtp",
        /// Mail being read (RFC 9051).
        Imap = "imap",
        /// Mail being fetched (RFC 2595).
        Pop3 = "pop3",
        /// PostgreSQL's `SSLRequest`.
        Postgres = "postgres",
    }
);

impl Default for TlsCheck {
    fn default() -> Self {
        let days = |n: u64| Some(Duration::from_secs(n * 24 * 3600));
        Self {
            tls: TlsOptions { expiry_warning: days(21), expiry_critical: days(7), ..TlsOptions::default() },
            starttls: None,
        }
    }
}

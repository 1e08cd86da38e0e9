//! From the errors of TLS to typed failures, in words an operator can act on.

use quorate_core::{Cause, Phase, ProbeFailure};
use rustls::{AlertDescription, CertificateError, Error};
use std::io;

/// The TLS error inside of an I/O error, if there is one.
pub(crate) fn inside(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}

/// The failure behind a TLS error. Always of the TLS phase: with TLS 1.3 (RFC 8446, section 4.4.2.4) a server refuses a client's
/// certificate only after the client thinks itself done, so the refusal may be read where the answer should be.
pub(crate) fn of_tls(error: &Error) -> ProbeFailure {
    let (cause, detail) = match error {
        Error::InvalidCertificate(why) => (Cause::Certificate, of_certificate(why)),
        Error::NoCertificatesPresented => (Cause::Certificate, "Certificate missing".to_owned()),
        Error::AlertReceived(alert) if is_about_certificate(*alert) => {
            (Cause::Certificate, format!("The server refused the client certificate, or the lack of one: {alert:?}"))
        }
        Error::AlertReceived(alert) => (Cause::Protocol, format!("TLS error: the server sent the alert {alert:?}")),
        Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes | Error::InconsistentKeys(_) => {
            (Cause::Local, format!("TLS error on this host: {error}"))
        }
        _ => (Cause::Protocol, format!("TLS error: {error}")),
    };
    ProbeFailure::new(Phase::Tls, cause, detail)
}

fn of_certificate(why: &CertificateError) -> String {
    let error = || Error::InvalidCertificate(why.clone());
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("Certificate expired: {}", error())
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("Certificate not valid yet: {}", error())
        }
        CertificateError::UnknownIssuer => "Certificate of an unknown issuer".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("Certificate for another name: {}", error())
        }
        CertificateError::BadSignature => "Certificate not signed by the issuer it names".to_owned(),
        CertificateError::Revoked => "Certificate revoked".to_owned(),
        // The library has no word of its own for it.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "The server shows a CA certificate as its own (self-signed with CA:TRUE); one made with \
             `-addext basicConstraints=critical,CA:FALSE` can be trusted by `ca_file`"
                .to_owned()
        }
        _ => format!("Certificate not acceptable: {}", error()),
    }
}

fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
    )
}

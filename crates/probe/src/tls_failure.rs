//! From the errors of TLS to typed failures, in words an operator can act on.

use quorate_core::{Cause, Phase, ProbeFailure};
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
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
        Error::AlertReceived(alert) => {
            (Cause::Protocol, format!("TLS error: the server sent the alert {alert:?}{}", behind(*alert)))
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            (Cause::Protocol, "TLS error: what came back is no TLS; perhaps the port speaks plain text".to_owned())
        }
        Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes | Error::InconsistentKeys(_) => {
            (Cause::Local, format!("TLS error on this host: {error}"))
        }
        _ => (Cause::Protocol, format!("TLS error: {error}")),
    };
    ProbeFailure::new(Phase::Tls, cause, detail)
}

/// What usually is behind an alert that does not say so itself.
fn behind(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::HandshakeFailure => {
            "; it shares no cipher with us, or wants a client certificate (`client_cert_file`)"
        }
        AlertDescription::ProtocolVersion => "; it speaks neither TLS 1.2 nor 1.3",
        AlertDescription::UnrecognisedName => "; it does not know the name that it was asked for (`server_name`)",
        _ => "",
    }
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
        CertificateError::Other(other) if format!("{other:?}").contains("UnsupportedCertVersion") => {
            "The server shows a certificate of X.509 version 1, in which no name can be checked; make one of version 3 with a \
             `subjectAltName` (`openssl x509 -req -extfile`)"
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::OtherError;
    use std::fmt;
    use std::sync::Arc;

    /// As the library calls it.
    #[derive(Debug)]
    struct UnsupportedCertVersion;

    impl fmt::Display for UnsupportedCertVersion {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("version")
        }
    }

    impl std::error::Error for UnsupportedCertVersion {}

    #[test]
    fn what_an_operator_meets_often_is_told_with_what_to_look_at() {
        let told = |error: Error| {
            let failure = of_tls(&error);
            assert_eq!(failure.phase, Phase::Tls);
            (failure.cause, failure.detail)
        };
        let old = CertificateError::Other(OtherError(Arc::new(UnsupportedCertVersion)));
        let table = [
            (Error::AlertReceived(AlertDescription::HandshakeFailure), Cause::Protocol, "`client_cert_file`"),
            (Error::AlertReceived(AlertDescription::ProtocolVersion), Cause::Protocol, "neither TLS 1.2 nor 1.3"),
            (Error::AlertReceived(AlertDescription::UnrecognisedName), Cause::Protocol, "`server_name`"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), Cause::Protocol, "plain text"),
            (Error::InvalidCertificate(old), Cause::Certificate, "`subjectAltName`"),
        ];
        for (error, cause, words) in table {
            let (found, detail) = told(error);
            assert!(found == cause && detail.contains(words), "{detail}");
        }
        let (_, plain) = told(Error::AlertReceived(AlertDescription::InternalError));
        assert_eq!(plain, "TLS error: the server sent the alert InternalError");
    }
}

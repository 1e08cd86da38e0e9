//! What a chain of certificates says (RFC 5280), read for people and for thresholds. What cannot be read is left out.

use data_encoding::HEXLOWER;
use quorate_core::outcome::clip;
use quorate_core::{CertificateFacts, TlsFacts, UnixMs};
use rustls::pki_types::CertificateDer;
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

/// Certificates of a chain looked at.
const MAX_CHAIN: usize = 16;

/// The part of the facts that the certificates tell.
pub(crate) fn facts(chain: &[CertificateDer<'_>]) -> TlsFacts {
    let read = |der: &CertificateDer<'_>| {
        X509Certificate::from_der(der).ok().map(|(_, read)| millis(read.validity().not_after))
    };
    TlsFacts {
        version: None,
        cipher: None,
        alpn: None,
        chain: u32::try_from(chain.len()).unwrap_or(u32::MAX),
        earliest_not_after: chain.iter().take(MAX_CHAIN).filter_map(read).min(),
        certificate: chain.first().and_then(certificate),
    }
}

fn certificate(der: &CertificateDer<'_>) -> Option<CertificateFacts> {
    let (_, read) = X509Certificate::from_der(der).ok()?;
    let short = |text: String| clip(text, CertificateFacts::MAX_TEXT_BYTES);
    let names = read.subject_alternative_name().ok().flatten().map(|found| &found.value.general_names);
    let names = names.into_iter().flatten().take(CertificateFacts::MAX_NAMES).filter_map(name).map(short).collect();
    Some(CertificateFacts {
        subject: short(read.subject().to_string()),
        issuer: short(read.issuer().to_string()),
        names,
        serial: short(HEXLOWER.encode(&read.serial.to_bytes_be())),
        sha256: HEXLOWER.encode(ring::digest::digest(&ring::digest::SHA256, der).as_ref()),
        not_before: millis(read.validity().not_before),
        not_after: millis(read.validity().not_after),
    })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| Ipv4Addr::from(octets).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|octets| Ipv6Addr::from(octets).to_string()),
        },
        _ => None,
    }
}

/// Times before 1970 are those of 1970.
fn millis(time: ASN1Time) -> UnixMs {
    UnixMs(u64::try_from(time.timestamp()).unwrap_or(0).saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Authority;

    #[test]
    fn a_certificate_is_read() {
        let authority = Authority::new();
        let identity = authority.sign(&["web.test", "127.0.0.1", "::1"], |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 2);
            params.not_after = rcgen::date_time_ymd(2030, 1, 2);
        });
        let facts = facts(&identity.chain);
        assert_eq!((facts.chain, facts.earliest_not_after), (1, Some(UnixMs(1_893_542_400_000))));
        let leaf = facts.certificate.unwrap();
        assert_eq!(leaf.names, ["web.test", "127.0.0.1", "::1"]);
        assert!(leaf.issuer.starts_with("CN=authority"), "{}", leaf.issuer);
        assert_eq!((leaf.not_before, leaf.not_after), (UnixMs(1_577_923_200_000), UnixMs(1_893_542_400_000)));
        assert_eq!(leaf.sha256.len(), 64);
    }

    proptest::proptest! {
        /// The far end chooses these bytes: a real certificate with some of them changed, or cut short.
        #[test]
        fn no_certificate_makes_it_panic(
            changes in proptest::collection::vec((0usize..2000, proptest::num::u8::ANY), 0..8),
            end in 0usize..2000,
        ) {
            static REAL: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
            let real = REAL.get_or_init(|| Authority::new().sign(&["web.test", "127.0.0.1"], |_| {}).chain[0].to_vec());
            let mut bytes = real.clone();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            bytes.truncate(end);
            let _ = facts(&[CertificateDer::from(bytes)]);
        }
    }
}

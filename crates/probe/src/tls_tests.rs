//! TLS: which certificates are accepted, and how each refusal is told.

use crate::Prober;
use crate::testing::*;
use quorate_core::{Cause, Check, Evidence, Phase, ProbeResult, Scheme};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ServerConfig, SupportedProtocolVersion};
use std::sync::Arc;
use std::time::Duration;

async fn serving(authority: &Authority, identity: &Identity, ask_client: bool) -> Server {
    Server::https(authority.server(identity, ALL_VERSIONS, ask_client), |_| response(200, &[], "secured")).await
}

fn trusting(authority: &Authority) -> Check {
    https(|h| h.tls.ca_file = Some(authority.ca_file()))
}

fn https(set: impl FnOnce(&mut quorate_core::HttpCheck)) -> Check {
    http(|h| {
        h.scheme = Scheme::Https;
        set(h);
    })
}

#[tokio::test]
async fn a_trusted_certificate_passes_with_both_versions() {
    let authority = Authority::new();
    let identity = authority.sign(&["127.0.0.1"], |_| ());
    let versions: [&'static SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
    for version in versions {
        let server = Server::https(authority.server(&identity, &[version], false), |_| response(200, &[], "ok")).await;
        let outcome = probe(&server.target(), &trusting(&authority)).await;
        assert_pass(&outcome);
        assert!(outcome.timings.tls.is_some());
        assert_eq!(outcome.excerpt, "ok");
    }
}

#[tokio::test]
async fn an_unknown_issuer_is_refused_unless_verification_is_off() {
    let authority = Authority::new();
    let server = serving(&authority, &authority.sign(&["127.0.0.1"], |_| ()), false).await;
    for check in [https(|_| ()), trusting(&Authority::new())] {
        let detail = assert_fail(&probe(&server.target(), &check).await, Phase::Tls, Cause::Certificate);
        assert_eq!(detail, "Certificate of an unknown issuer");
    }
    assert_pass(&probe(&server.target(), &https(|h| h.tls.verify = false)).await);
    assert_eq!(server.requests().len(), 1, "no request goes to an unverified server");
}

/// Certificates of devices may be of a kind that cannot even be read.
#[tokio::test]
async fn without_verification_any_certificate_will_do() {
    let authority = Authority::new();
    let identity = authority.sign(&["device"], |_| ());
    for version in [&TLS12, &TLS13] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = provider.key_provider.load_private_key(identity.key.clone_key()).unwrap();
        let odd = CertifiedKey::new(vec![b"of another time".to_vec().into()], key);
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let config = builder.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(odd)));
        let server = Server::https(config, |_| response(200, &[], "ok")).await;
        assert_pass(&probe(&server.target(), &https(|h| h.tls.verify = false)).await);
        assert_fail(&probe(&server.target(), &trusting(&authority)).await, Phase::Tls, Cause::Certificate);
    }
}

#[tokio::test]
async fn an_expired_certificate_is_told() {
    let authority = Authority::new();
    let old = authority.sign(&["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    });
    let server = serving(&authority, &old, false).await;
    let detail = assert_fail(&probe(&server.target(), &trusting(&authority)).await, Phase::Tls, Cause::Certificate);
    assert!(detail.starts_with("Certificate expired"), "{detail}");
    let early = authority.sign(&["127.0.0.1"], |params| params.not_before = rcgen::date_time_ymd(2090, 1, 1));
    let server = serving(&authority, &early, false).await;
    let detail = assert_fail(&probe(&server.target(), &trusting(&authority)).await, Phase::Tls, Cause::Certificate);
    assert!(detail.starts_with("Certificate not valid yet"), "{detail}");
}

#[tokio::test]
async fn an_expired_certificate_is_told_without_verification_too() {
    let authority = Authority::new();
    let old = authority.sign(&["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    });
    let server = serving(&authority, &old, false).await;
    for limit in [Duration::ZERO, Duration::from_secs(7 * 24 * 3600)] {
        let check = https(|h| (h.tls.verify, h.tls.expiry_critical) = (false, Some(limit)));
        let detail = assert_fail(&probe(&server.target(), &check).await, Phase::Assert, Cause::Certificate);
        assert!(detail.starts_with("Certificate expired ") && detail.ends_with(" days ago"), "{detail}");
    }
}

#[tokio::test]
async fn a_certificate_of_an_authority_that_is_shown_as_a_servers_own_is_told() {
    let authority = Authority::new();
    let own = authority.sign(&["127.0.0.1"], |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    let server = serving(&authority, &own, false).await;
    let detail = assert_fail(&probe(&server.target(), &trusting(&authority)).await, Phase::Tls, Cause::Certificate);
    assert!(detail.contains("CA:TRUE") && detail.ends_with("can be trusted by `ca_file`"), "{detail}");
}

#[tokio::test]
async fn the_name_is_the_servers_name_else_the_host_else_the_address() {
    let authority = Authority::new();
    let server = serving(&authority, &authority.sign(&["www.example"], |_| ()), false).await;
    let detail = assert_fail(&probe(&server.target(), &trusting(&authority)).await, Phase::Tls, Cause::Certificate);
    assert!(detail.starts_with("Certificate for another name"), "{detail}");
    let ca_file = Some(authority.ca_file());
    let named = |server_name: Option<&str>, host: Option<&str>| {
        https(|h| {
            h.tls.ca_file.clone_from(&ca_file);
            (h.tls.server_name, h.host) = (server_name.map(str::to_owned), host.map(str::to_owned));
        })
    };
    assert_pass(&probe(&server.target(), &named(Some("www.example"), Some("other.example"))).await);
    assert_pass(&probe(&server.target(), &named(None, Some("www.example:8443"))).await);
    let wrong = probe(&server.target(), &named(Some("other.example"), Some("www.example"))).await;
    assert_fail(&wrong, Phase::Tls, Cause::Certificate);
    let unusable = probe(&server.target(), &named(Some("not a name"), None)).await;
    assert_fail(&unusable, Phase::Prepare, Cause::Local);
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let authority = Authority::new();
    let own = authority.sign(&["observer"], |_| ());
    for version in [&TLS12, &TLS13] {
        let config = authority.server(&authority.sign(&["127.0.0.1"], |_| ()), &[version], true);
        let server = Server::https(config, |_| response(200, &[], "")).await;
        let detail = assert_fail(&probe(&server.target(), &trusting(&authority)).await, Phase::Tls, Cause::Certificate);
        assert!(detail.contains("client certificate"), "{detail}");
        let check = https(|h| {
            h.tls.ca_file = Some(authority.ca_file());
            h.tls.client_cert_file = Some(authority.file("client.pem", &own.pem));
        });
        assert_pass(&probe(&server.target(), &check).await);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_proves_nothing_about_the_far_end() {
    let authority = Authority::new();
    let server = serving(&authority, &authority.sign(&["127.0.0.1"], |_| ()), false).await;
    let certificate_only = authority.ca_file();
    let broken = authority.file("broken.pem", "-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n");
    let not_a_certificate = authority.file("odd.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let files = [
        "/nonexistent/ca.pem".to_owned(),
        "/dev/zero".to_owned(),
        authority.folder.path().to_str().unwrap().to_owned(),
        authority.file("empty.pem", "nothing here"),
        broken,
        not_a_certificate,
    ];
    let mut checks: Vec<_> = files.iter().map(|file| https(|h| h.tls.ca_file = Some(file.clone()))).collect();
    checks.extend(files.iter().map(|file| https(|h| h.tls.client_cert_file = Some(file.clone()))));
    checks.push(https(|h| h.tls.client_cert_file = Some(certificate_only)));
    for check in checks {
        let outcome = probe(&server.target(), &check).await;
        assert_fail(&outcome, Phase::Prepare, Cause::Local);
        let ProbeResult::Fail(failure) = outcome.result else { continue };
        assert_eq!(failure.evidence(), Evidence::Inconclusive);
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_replaced_file_is_noticed() {
    let authority = Authority::new();
    let server = serving(&authority, &authority.sign(&["127.0.0.1"], |_| ()), false).await;
    let (prober, check) = (Prober::default(), trusting(&authority));
    assert_pass(&prober.run(&server.target(), &check).await);
    authority.file("ca.pem", "no longer a certificate");
    assert_fail(&prober.run(&server.target(), &check).await, Phase::Prepare, Cause::Local);
}

#[tokio::test]
async fn a_server_without_tls_does_not_speak_the_protocol() {
    let server = Server::raw(|mut stream, _| async move {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &response(400, &[], "plain")).await;
        drain(stream).await;
    })
    .await;
    let detail = assert_fail(&probe(&server.target(), &https(|_| ())).await, Phase::Tls, Cause::Protocol);
    assert!(detail.ends_with("plain text"), "{detail}");
    let closing = Server::raw(|mut stream, _| async move {
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
        drain(stream).await;
    })
    .await;
    assert_fail(&probe(&closing.target(), &https(|_| ())).await, Phase::Tls, Cause::Reset);
    let silent = Server::raw(|stream, _| drain(stream)).await;
    let outcome = probe(&silent.target(), &with_timeout(https(|_| ()), 150)).await;
    assert_eq!(assert_fail(&outcome, Phase::Tls, Cause::Timeout), "TLS handshake timeout");
}

#[tokio::test]
async fn redirects_cross_between_plain_text_and_tls() {
    let authority = Authority::new();
    let secured = serving(&authority, &authority.sign(&["127.0.0.1"], |_| ()), false).await;
    let to = format!("Location: https://{}/x", secured.addr);
    let plain = Server::http(move |_| response(301, &[&to], "")).await;
    let check = http(|h| (h.follow_redirects, h.tls.ca_file) = (true, Some(authority.ca_file())));
    let outcome = probe(&plain.target(), &check).await;
    assert_pass(&outcome);
    assert_eq!(outcome.excerpt, "secured");
    assert!(outcome.timings.tls.is_some());
    let unverified = http(|h| h.follow_redirects = true);
    assert_fail(&probe(&plain.target(), &unverified).await, Phase::Tls, Cause::Certificate);
}

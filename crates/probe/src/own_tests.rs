//! Secrets stay where they belong, and nobody aims an observer at a third party.

use crate::testing::{Server, assert_fail, assert_pass, http, response};
use crate::{Allowed, Limits, Own, Prober, Target};
use quorate_core::check::{BasicAuth, Secret, SecretSource, Value};
use quorate_core::{Cause, Phase};

fn secret(name: &str) -> Secret {
    Secret { prefix: "Bearer ".into(), source: SecretSource::File(name.into()) }
}

/// A prober with one secret, `token`, and a folder that lives as long as it is used.
fn prober() -> (Prober, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "s3cret\n").unwrap();
    let own = Own { secrets_dir: Some(folder.path().to_path_buf()), ..Own::default() };
    (Prober::new(Limits::default(), own), folder)
}

#[tokio::test]
async fn a_secret_is_added_here_and_its_absence_accuses_nobody() {
    let (prober, _folder) = prober();
    let server = Server::http(|_| response(200, &[], "")).await;
    let with = |name: &str| http(|h| h.headers = vec![("X-Token".into(), Value::Secret(secret(name)))]);
    assert_pass(&prober.run(&server.target(), &with("token")).await);
    assert!(server.requests()[0].contains("X-Token: Bearer s3cret\r\n"), "{}", server.requests()[0]);
    let detail = assert_fail(&prober.run(&server.target(), &with("other")).await, Phase::Prepare, Cause::Local);
    assert!(detail.contains("the secret other is not on this host"), "{detail}");
    assert_eq!(server.connections(), 1, "nothing was asked without it");
    let basic = http(|h| {
        let password = Secret { prefix: String::new(), ..secret("token") };
        h.headers = vec![("Authorization".into(), Value::Basic(BasicAuth { user: "me".into(), password }))];
    });
    assert_pass(&prober.run(&server.target(), &basic).await);
    assert!(server.requests()[1].contains("Authorization: Basic bWU6czNjcmV0\r\n"), "{}", server.requests()[1]);
}

#[tokio::test]
async fn a_secret_does_not_follow_a_redirect_to_elsewhere() {
    let (prober, _folder) = prober();
    let other = Server::http(|_| response(200, &[], "")).await;
    let location = format!("Location: http://{}/", other.addr);
    let server = Server::http(move |_| response(302, &[&location], "")).await;
    let check = http(|h| {
        h.follow_redirects = true;
        h.headers = vec![("X-Token".into(), Value::Secret(secret("token"))), ("X-Plain".into(), "p".into())];
    });
    assert_pass(&prober.run(&server.target(), &check).await);
    assert!(server.requests()[0].contains("s3cret"));
    assert!(other.requests()[0].contains("X-Plain: p") && !other.requests()[0].contains("s3cret"));
}

#[tokio::test]
async fn others_registrations_are_probed_at_their_own_address_or_where_it_is_allowed() {
    let server = Server::http(|_| response(200, &[], "")).await;
    let of = |home: &str| Target { home: Some(vec![home.parse().unwrap()]), ..server.target() };
    let strict = Prober::default();
    assert_pass(&strict.run(&of("127.0.0.1"), &http(|_| {})).await);
    assert_eq!(server.connections(), 1);
    let detail = assert_fail(&strict.run(&of("10.0.0.1"), &http(|_| {})).await, Phase::Prepare, Cause::Local);
    assert!(detail.contains("probe.allow_targets"), "{detail}");
    assert_eq!(server.connections(), 1, "it was not even connected to");
    let own = Own { allowed: vec![Allowed::parse("127.0.0.0/8").unwrap()], ..Own::default() };
    assert_pass(&Prober::new(Limits::default(), own).run(&of("10.0.0.1"), &http(|_| {})).await);
}

#[tokio::test]
async fn a_redirect_leads_no_observer_to_a_third_party() {
    let server = Server::http(|_| response(302, &["Location: http://127.0.0.2:1/"], "")).await;
    let target = Target { home: Some(vec![server.addr.ip()]), ..server.target() };
    let following = http(|h| h.follow_redirects = true);
    assert_fail(&Prober::default().run(&target, &following).await, Phase::Prepare, Cause::Local);
    // Its home agent itself may go anywhere.
    let home = Target { home: None, ..target };
    assert_fail(&Prober::default().run(&home, &following).await, Phase::Connect, Cause::Refused);
}

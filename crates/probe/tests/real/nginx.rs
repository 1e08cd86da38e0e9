//! HTTP and TLS checks against nginx: every setting is seen to matter.

use crate::server::{
    Authority, Running, assert_fail, assert_pass, assert_warn, check, find, free_port, listens, probe,
};
use quorate_core::{
    Assertion, Cause, Check, CheckKind, Condition, Grade, HttpCheck, HttpVersion, Level, Method, Phase, ProbeResult,
    Scheme, StatusSet, Subject, TlsCheck, TlsOptions, TlsVersion,
};
use std::process::Command;
use std::time::Duration;

struct Nginx {
    _running: Running,
    authority: Authority,
    client: String,
    plain: u16,
    h2c: u16,
    tls: u16,
    old: u16,
    mutual: u16,
    ending: u16,
}

/// One nginx with a port per way of listening; `None` when it is not installed.
fn nginx() -> Option<Nginx> {
    let program = find("nginx")?;
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let (good, ending) = (authority.sign("server", 100), authority.sign("ending", 10));
    let client = authority.sign("client", 100);
    let [plain, h2c, tls, old, mutual, ending_port] = std::array::from_fn(|_| free_port());
    let (root, ca) = (folder.path().to_str().unwrap().to_owned(), authority.ca_file());
    std::fs::write(folder.path().join("long"), "x".repeat(200_000)).unwrap();
    let pair = |file: &str| format!("ssl_certificate {file}; ssl_certificate_key {file};");
    let (good, ending) = (pair(&good), pair(&ending));
    let config = format!(
        r#"daemon off; master_process off; pid {root}/pid; error_log stderr;
        events {{ worker_connections 64; }}
        http {{
            ssl_protocols TLSv1.2 TLSv1.3; access_log off; client_body_temp_path {root}; proxy_temp_path {root}; fastcgi_temp_path {root};
            uwsgi_temp_path {root}; scgi_temp_path {root};
            server {{
                listen 127.0.0.1:{plain}; listen 127.0.0.1:{h2c} http2; listen 127.0.0.1:{tls} ssl http2; {good}
                location /health {{ add_header X-Service web; return 200 '{{"status":"ok","depth":12,"made":"$request_method $http_x_health_check $server_protocol"}}'; }}
                location /401 {{ return 401; }} location /403 {{ return 403; }} location /429 {{ return 429; }}
                location /404 {{ return 404; }} location /204 {{ return 204; }}
                location /moved {{ return 302 /health; }} location /loop {{ return 302 /loop; }}
                location /long {{ root {root}; limit_rate 20k; }}
                location /name {{ return 200 $ssl_server_name; }}
            }}
            server {{ listen 127.0.0.1:{old} ssl; ssl_protocols TLSv1.2; {good} return 200 "$ssl_protocol"; }}
            server {{ listen 127.0.0.1:{mutual} ssl; ssl_client_certificate {ca}; ssl_verify_client on; {good} return 200 "in"; }}
            server {{ listen 127.0.0.1:{ending_port} ssl; {ending} return 200 "ok"; }}
        }}"#
    );
    std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
    let mut command = Command::new(program);
    command.arg("-p").arg(folder.path()).arg("-c").arg(folder.path().join("nginx.conf")).arg("-e").arg("stderr");
    let running = Running::start(command, folder, || listens(ending_port));
    Some(Nginx { _running: running, authority, client, plain, h2c, tls, old, mutual, ending: ending_port })
}

impl Nginx {
    fn tls(&self) -> TlsOptions {
        TlsOptions { ca_file: Some(self.authority.ca_file()), ..TlsOptions::default() }
    }

    fn https(&self, set: impl FnOnce(&mut HttpCheck)) -> Check {
        http(|h| {
            (h.scheme, h.tls) = (Scheme::Https, self.tls());
            set(h);
        })
    }
}

fn http(set: impl FnOnce(&mut HttpCheck)) -> Check {
    let mut http = HttpCheck::default();
    set(&mut http);
    check(CheckKind::Http(http))
}

fn path(path: &str) -> Check {
    http(|h| h.path = path.to_owned())
}

fn assertion(subject: Subject, condition: Condition, otherwise: Grade) -> Assertion {
    Assertion { subject, condition, negated: false, otherwise }
}

#[tokio::test]
async fn statuses_pass_fail_protect_and_degrade() {
    let Some(nginx) = nginx() else { return };
    let outcome = probe(nginx.plain, &path("/health")).await;
    assert_pass(&outcome);
    assert_eq!((outcome.status_code, outcome.attempts), (Some(200), 1));
    assert!(outcome.excerpt.contains("GET true HTTP/1.1"), "{}", outcome.excerpt);
    assert_eq!(
        assert_fail(&probe(nginx.plain, &path("/404")).await, Phase::Assert, Cause::Status),
        "Unexpected status code: 404"
    );
    for guarded in ["/401", "/403"] {
        let outcome = probe(nginx.plain, &path(guarded)).await;
        assert!(matches!(outcome.result, ProbeResult::Protected(_)), "{outcome:?}");
        let open = http(|h| (h.path, h.protected_status) = (guarded.to_owned(), StatusSet::of(&[])));
        assert_fail(&probe(nginx.plain, &open).await, Phase::Assert, Cause::Status);
    }
    assert_warn(&probe(nginx.plain, &path("/429")).await, Cause::Status);
    let strict = http(|h| (h.path, h.degraded_status) = ("/429".to_owned(), StatusSet::of(&[])));
    assert_fail(&probe(nginx.plain, &strict).await, Phase::Assert, Cause::Status);
    for (items, passes) in
        [(vec!["204"], true), (vec!["200-299"], true), (vec!["2xx"], true), (vec!["200", "3xx"], false)]
    {
        let expected = StatusSet::parse(items.iter().copied()).unwrap();
        let outcome = probe(nginx.plain, &http(|h| (h.path, h.expected_status) = ("/204".to_owned(), expected))).await;
        assert_eq!(outcome.result == ProbeResult::Pass, passes, "{items:?}");
    }
    // Expected beats protected.
    let expected = http(|h| (h.path, h.expected_status) = ("/401".to_owned(), StatusSet::of(&[401])));
    assert_pass(&probe(nginx.plain, &expected).await);
}

#[tokio::test]
async fn assertions_judge_body_header_and_json() {
    let Some(nginx) = nginx() else { return };
    let json = |path: &str| Subject::Json(path.to_owned());
    let header = Subject::Header("x-service".to_owned());
    let met = vec![
        assertion(Subject::Body, Condition::Contains("\"ok\"".into()), Grade::Fail),
        assertion(Subject::Body, Condition::Matches("depth\":\\s*1\\d".into()), Grade::Fail),
        assertion(header.clone(), Condition::Equals("web".into()), Grade::Fail),
        assertion(json("$.status"), Condition::Equals("ok".into()), Grade::Fail),
        assertion(json("$.depth"), Condition::Below(Level::new(50.0).unwrap()), Grade::Fail),
    ];
    let outcome = probe(nginx.plain, &http(|h| h.assertions.clone_from(&met))).await;
    assert_pass(&outcome);
    assert_eq!(outcome.judgements.len(), 6, "the status and five assertions: {:?}", outcome.judgements);
    for unmet in met {
        let check = http(|h| h.assertions = vec![Assertion { negated: true, ..unmet.clone() }]);
        assert_fail(&probe(nginx.plain, &check).await, Phase::Assert, Cause::Content);
        let check = http(|h| h.assertions = vec![Assertion { negated: true, otherwise: Grade::Warn, ..unmet }]);
        assert_warn(&probe(nginx.plain, &check).await, Cause::Content);
    }
}

#[tokio::test]
async fn methods_bodies_and_redirects() {
    let Some(nginx) = nginx() else { return };
    for (method, word) in [(Method::Get, "GET"), (Method::Put, "PUT"), (Method::Post, "POST")] {
        let outcome = probe(nginx.plain, &http(|h| (h.method, h.body) = (method, Some("x=1".into())))).await;
        assert!(outcome.excerpt.contains(word), "{outcome:?}");
    }
    let outcome = probe(nginx.plain, &http(|h| h.method = Method::Head)).await;
    assert_pass(&outcome);
    assert_eq!(outcome.excerpt, "");
    assert_fail(&probe(nginx.plain, &path("/moved")).await, Phase::Assert, Cause::Status);
    assert_pass(&probe(nginx.plain, &http(|h| (h.path, h.follow_redirects) = ("/moved".into(), true))).await);
    let looping = http(|h| (h.path, h.follow_redirects, h.max_redirects) = ("/loop".into(), true, 3));
    assert_fail(&probe(nginx.plain, &looping).await, Phase::Assert, Cause::TooMuch);
}

#[tokio::test]
async fn http2_is_spoken_when_asked_for() {
    let Some(nginx) = nginx() else { return };
    let spoken = |version| nginx.https(move |h| h.version = version);
    for (version, word, alpn) in [
        (HttpVersion::Auto, "HTTP/2.0", Some("h2")),
        (HttpVersion::Http2, "HTTP/2.0", Some("h2")),
        (HttpVersion::Http1, "HTTP/1.1", Some("http/1.1")),
    ] {
        let outcome = probe(nginx.tls, &spoken(version)).await;
        assert_pass(&outcome);
        assert!(outcome.excerpt.contains(word), "{version}: {}", outcome.excerpt);
        assert_eq!(outcome.tls.unwrap().alpn.as_deref(), alpn);
        assert!(outcome.timings.first_byte.is_some() && outcome.timings.tls.is_some());
    }
    let prior = probe(nginx.h2c, &http(|h| h.version = HttpVersion::Http2)).await;
    assert_pass(&prior);
    assert!(prior.excerpt.contains("HTTP/2.0"), "{}", prior.excerpt);
    let failure = probe(nginx.old, &spoken(HttpVersion::Http2)).await;
    assert_fail(&failure, Phase::Tls, Cause::Protocol);
    // One that speaks HTTP/1.1 alone where HTTP/2 is expected.
    assert!(matches!(probe(nginx.plain, &http(|h| h.version = HttpVersion::Http2)).await.result, ProbeResult::Fail(_)));
}

#[tokio::test]
async fn certificates_versions_and_names() {
    let Some(nginx) = nginx() else { return };
    let outcome = probe(nginx.tls, &nginx.https(|_| {})).await;
    let facts = outcome.tls.clone().unwrap();
    assert_pass(&outcome);
    assert_eq!(facts.version.as_deref(), Some("TLSv1.3"));
    assert_eq!(facts.certificate.unwrap().names, ["web.test", "127.0.0.1"]);
    // Its own authority, or none: the certificate is refused, and told all the same.
    let refused = probe(nginx.tls, &nginx.https(|h| h.tls.ca_file = None)).await;
    assert_fail(&refused, Phase::Tls, Cause::Certificate);
    assert!(refused.tls.unwrap().certificate.is_some());
    assert_pass(&probe(nginx.tls, &nginx.https(|h| (h.tls.ca_file, h.tls.verify) = (None, false))).await);
    let name = |name: &str| nginx.https(|h| (h.path, h.tls.server_name) = ("/name".into(), Some(name.to_owned())));
    let named = probe(nginx.tls, &name("web.test")).await;
    assert_eq!(named.excerpt, "web.test", "the server name is sent");
    assert_fail(&probe(nginx.tls, &name("other.test")).await, Phase::Tls, Cause::Certificate);
    // The oldest version that passes.
    assert_pass(&probe(nginx.old, &nginx.https(|_| {})).await);
    let newer = nginx.https(|h| h.tls.min_version = TlsVersion::V1_3);
    assert_fail(&probe(nginx.old, &newer).await, Phase::Assert, Cause::Protocol);
    // A client's own certificate.
    let failure = probe(nginx.mutual, &nginx.https(|_| {})).await;
    assert_eq!(failure.status_code, Some(400), "{failure:?}");
    assert_pass(&probe(nginx.mutual, &nginx.https(|h| h.tls.client_cert_file = Some(nginx.client.clone()))).await);
}

#[tokio::test]
async fn the_end_of_a_certificate_is_seen_coming() {
    let Some(nginx) = nginx() else { return };
    let days = |n: u64| Some(Duration::from_secs(n * 24 * 3600));
    let tls = |warning, critical| {
        let tls = TlsOptions { expiry_warning: warning, expiry_critical: critical, ..nginx.tls() };
        check(CheckKind::Tls(TlsCheck { tls, starttls: None }))
    };
    assert_pass(&probe(nginx.ending, &tls(None, None)).await);
    assert_pass(&probe(nginx.ending, &tls(days(9), days(7))).await);
    assert_eq!(
        assert_warn(&probe(nginx.ending, &tls(days(21), days(7))).await, Cause::Certificate),
        "Certificate expires in 10 days"
    );
    assert_fail(&probe(nginx.ending, &tls(days(21), days(14))).await, Phase::Assert, Cause::Certificate);
    let default = check(CheckKind::Tls(TlsCheck {
        tls: TlsOptions { ca_file: nginx.tls().ca_file, ..TlsCheck::default().tls },
        starttls: None,
    }));
    assert_warn(&probe(nginx.ending, &default).await, Cause::Certificate);
    assert_warn(&probe(nginx.ending, &nginx.https(|h| h.tls.expiry_warning = days(21))).await, Cause::Certificate);
    // What listens there speaks no TLS.
    assert_fail(&probe(nginx.plain, &tls(None, None)).await, Phase::Tls, Cause::Protocol);
}

#[tokio::test]
async fn slow_answers_warn_then_fail_and_too_slow_ones_time_out() {
    let Some(nginx) = nginx() else { return };
    // 200 kB at 20 kB a second: ten seconds and more, of which the limit of bytes takes some.
    let slow = |max_response_time, critical_response_time, timeout| Check {
        max_response_time: Duration::from_millis(max_response_time),
        critical_response_time: Some(Duration::from_millis(critical_response_time)),
        timeout: Duration::from_millis(timeout),
        ..http(|h| (h.path, h.max_body_bytes) = ("/long".into(), 50_000))
    };
    assert_pass(&probe(nginx.plain, &slow(20_000, 20_000, 20_000)).await);
    let detail = assert_warn(&probe(nginx.plain, &slow(500, 20_000, 20_000)).await, Cause::Slow);
    assert!(detail.starts_with("High response time: "), "{detail}");
    let failure = probe(nginx.plain, &slow(500, 600, 20_000)).await;
    assert_fail(&failure, Phase::Assert, Cause::Slow);
    assert!(failure.timings.transfer.unwrap() > Duration::from_millis(500));
    assert_fail(&probe(nginx.plain, &slow(500, 600, 700)).await, Phase::Body, Cause::Timeout);
}

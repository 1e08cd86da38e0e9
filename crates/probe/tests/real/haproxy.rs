//! HTTP, TCP and metric checks against HAProxy, which has health pages and an exporter of its own.

use crate::server::{Running, assert_fail, assert_pass, assert_warn, check, find, free_port, listens, probe};
use quorate_core::check::{Bad, Measure, MetricCheck, Reading};
use quorate_core::{Cause, CheckKind, HttpCheck, Level, Phase, StatusSet, TcpCheck};
use std::process::Command;

/// A front door on `port`, and behind it a server that nobody has started.
fn haproxy() -> Option<(Running, u16)> {
    let (program, port, dead) = (find("haproxy")?, free_port(), free_port());
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "global\n  maxconn 100\ndefaults\n  mode http\n  timeout connect 1s\n  timeout client 5s\n  timeout server 5s\n\
         frontend door\n  bind 127.0.0.1:{port}\n  monitor-uri /alive\n  http-request return status 429 if {{ path /busy }}\n\
         \x20 http-request return status 200 content-type application/json string '{{\"sessions\":7}}' if {{ path /json }}\n\
         \x20 stats enable\n  stats uri /stats\n  default_backend behind\n\
         backend behind\n  server one 127.0.0.1:{dead}\n"
    );
    let file = folder.path().join("haproxy.cfg");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(file);
    Some((Running::start(command, folder, || listens(port)), port))
}

fn http(path: &str, set: impl FnOnce(&mut HttpCheck)) -> quorate_core::Check {
    let mut http = HttpCheck { path: path.to_owned(), ..HttpCheck::default() };
    set(&mut http);
    check(CheckKind::Http(http))
}

#[tokio::test]
async fn what_stands_in_front_is_told_from_what_is_behind() {
    let Some((_running, port)) = haproxy() else { return };
    assert_pass(&probe(port, &http("/alive", |_| ())).await);
    assert_pass(&probe(port, &check(CheckKind::Tcp(TcpCheck::default()))).await);
    let behind = probe(port, &http("/health", |_| ())).await;
    assert_eq!(assert_fail(&behind, Phase::Assert, Cause::Status), "Unexpected status code: 503");
    assert_warn(&probe(port, &http("/busy", |_| ())).await, Cause::Status);
    let any = |http: &mut HttpCheck| http.expected_status = StatusSet::parse(["2xx", "503"]).unwrap();
    assert_pass(&probe(port, &http("/health", any)).await);
}

#[tokio::test]
async fn a_number_is_read_from_it() {
    let Some((_running, port)) = haproxy() else { return };
    let metric = |critical: f64| {
        let measure = Measure {
            reading: Reading::Json("$.sessions".to_owned()),
            per: None,
            bad: Bad::High,
            warning: None,
            critical: Level::new(critical),
        };
        let http = HttpCheck { path: "/json".to_owned(), ..HttpCheck::default() };
        check(CheckKind::Metric(MetricCheck { http, measure }))
    };
    assert_pass(&probe(port, &metric(10.0)).await);
    assert_fail(&probe(port, &metric(5.0)).await, Phase::Assert, Cause::Threshold);
}

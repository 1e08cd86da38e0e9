//! Metric checks against the answers of nginx.

use crate::server::{Running, assert_fail, assert_pass, assert_warn, check, find, free_port, listens, probe};
use quorate_core::check::{Bad, Measure, MetricCheck, Reading};
use quorate_core::{Cause, CheckKind, HttpCheck, Level, Phase};
use std::process::Command;

fn nginx() -> Option<(Running, u16)> {
    let (program, port) = (find("nginx")?, free_port());
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap().to_owned();
    let text = "# TYPE depth gauge\ndepth{queue=\"mail\"} 30\ndepth{queue=\"log\"} 4\nhits 70\nasked 100\n";
    let config = format!(
        r#"daemon off; master_process off; pid {root}/pid; events {{}}
        http {{ access_log off; client_body_temp_path {root}; proxy_temp_path {root}; fastcgi_temp_path {root};
            uwsgi_temp_path {root}; scgi_temp_path {root};
            server {{ listen 127.0.0.1:{port};
                location /metrics {{ root {root}; }}
                location /json {{ return 200 '{{"queue":{{"depth":30}},"of":40}}'; }} }} }}"#
    );
    std::fs::write(folder.path().join("metrics"), text).unwrap();
    std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
    let mut command = Command::new(program);
    command.arg("-p").arg(folder.path()).arg("-c").arg(folder.path().join("nginx.conf")).arg("-e").arg("stderr");
    Some((Running::start(command, folder, || listens(port)), port))
}

fn metric(path: &str, reading: Reading, set: impl FnOnce(&mut Measure)) -> quorate_core::Check {
    let http = HttpCheck { path: path.to_owned(), ..HttpCheck::default() };
    let (warning, critical) = (Level::new(10.0), Level::new(50.0));
    let mut measure = Measure { reading, per: None, bad: Bad::High, warning, critical };
    set(&mut measure);
    check(CheckKind::Metric(MetricCheck { http, measure }))
}

#[tokio::test]
async fn numbers_are_read_from_json_and_from_prometheus_text() {
    let Some((_running, port)) = nginx() else { return };
    let json = || Reading::Json("$.queue.depth".into());
    let sample = |text: &str| Reading::Prometheus(text.to_owned());
    assert_eq!(assert_warn(&probe(port, &metric("/json", json(), |_| {})).await, Cause::Threshold), "30 is above 10");
    assert_pass(&probe(port, &metric("/json", json(), |m| m.warning = Level::new(30.0))).await);
    let critical = metric("/json", json(), |m| m.critical = Level::new(20.0));
    assert_eq!(assert_fail(&probe(port, &critical).await, Phase::Assert, Cause::Threshold), "30 is above 20");
    assert_warn(&probe(port, &metric("/metrics", sample("depth"), |_| {})).await, Cause::Threshold);
    assert_pass(&probe(port, &metric("/metrics", sample("depth{queue=\"log\"}"), |_| {})).await);
    let share = |bad| {
        metric("/metrics", sample("hits"), |m| {
            (m.per, m.bad) = (Some(sample("asked")), bad);
            (m.warning, m.critical) = (Level::new(0.8), Level::new(0.6));
        })
    };
    assert_warn(&probe(port, &share(Bad::Low)).await, Cause::Threshold);
    assert_fail(&probe(port, &share(Bad::High)).await, Phase::Assert, Cause::Threshold);
    assert_fail(&probe(port, &metric("/metrics", sample("missing"), |_| {})).await, Phase::Assert, Cause::Content);
    assert_fail(&probe(port, &metric("/missing", json(), |_| {})).await, Phase::Assert, Cause::Status);
}

//! Redis, TCP and metric-free exchanges against redis-server.

use crate::server::{Running, assert_fail, assert_pass, check, find, free_port, listens, probe, probe_with};
use quorate_core::check::{RedisCheck, Secret, SecretSource, TlsOptions};
use quorate_core::{Cause, CheckKind, Expect, Phase, ProbeResult, TcpCheck};
use quorate_probe::Own;
use std::process::Command;

/// One server; with a password if `guarded`.
fn redis(guarded: bool) -> Option<(Running, u16)> {
    let (program, port) = (find("redis-server")?, free_port());
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir"]).arg(folder.path());
    if guarded {
        command.args(["--requirepass", "made-for-a-test"]);
    }
    Some((Running::start(command, folder, || listens(port)), port))
}

#[tokio::test]
async fn ping_is_answered() {
    let Some((_running, port)) = redis(false) else { return };
    let outcome = probe(port, &check(CheckKind::Redis(RedisCheck::default()))).await;
    assert_pass(&outcome);
    assert_eq!(outcome.excerpt, "+PONG\r\n");
    let tls = RedisCheck { tls: Some(TlsOptions::default()), ..RedisCheck::default() };
    assert!(
        matches!(probe(port, &check(CheckKind::Redis(tls))).await.result, ProbeResult::Fail(_)),
        "it speaks no TLS"
    );
}

#[tokio::test]
async fn one_that_asks_for_a_password_is_protected() {
    let Some((_running, port)) = redis(true) else { return };
    let outcome = probe(port, &check(CheckKind::Redis(RedisCheck::default()))).await;
    assert!(matches!(&outcome.result, ProbeResult::Protected(why) if why.contains("NOAUTH")), "{outcome:?}");
}

#[tokio::test]
async fn a_password_from_this_host_lets_in() {
    let Some((_running, port)) = redis(true) else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("right"), "made-for-a-test\n").unwrap();
    std::fs::write(folder.path().join("wrong"), "guessed\n").unwrap();
    let own = Own { secrets_dir: Some(folder.path().to_path_buf()), ..Own::default() };
    let with = |name: &str| {
        let password = Some(Secret { prefix: String::new(), source: SecretSource::File(name.into()) });
        check(CheckKind::Redis(RedisCheck { password, tls: None }))
    };
    assert_pass(&probe_with(own.clone(), port, &with("right")).await);
    let detail = assert_fail(&probe_with(own.clone(), port, &with("wrong")).await, Phase::Assert, Cause::Content);
    assert!(detail.contains("WRONGPASS"), "{detail}");
    assert_fail(&probe_with(own, port, &with("absent")).await, Phase::Prepare, Cause::Local);
}

#[tokio::test]
async fn tcp_says_and_expects() {
    let Some((_running, port)) = redis(false) else { return };
    let tcp = |expect: Expect| {
        let tcp = TcpCheck { send: b"PING\r\n".to_vec(), expect: Some(expect), ..TcpCheck::default() };
        check(CheckKind::Tcp(tcp))
    };
    assert_pass(&probe(port, &tcp(Expect::Contains(b"PONG".to_vec()))).await);
    assert_pass(&probe(port, &tcp(Expect::Regex("^\\+P.NG".into()))).await);
    let quick = |check| quorate_core::Check { timeout: std::time::Duration::from_millis(500), ..check };
    assert_fail(&probe(port, &quick(tcp(Expect::Contains(b"PANG".to_vec())))).await, Phase::Assert, Cause::Content);
}

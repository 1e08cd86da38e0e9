//! PostgreSQL checks against a real server.

use crate::server::{Authority, Running, assert_fail, assert_pass, check, find, free_port, listens, probe};
use quorate_core::check::{PostgresCheck, TlsOptions};
use quorate_core::{Cause, CheckKind, Phase, ProbeResult};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Neither program runs as root; then they run as the user `nobody`.
const NOBODY: u32 = 65534;

fn as_nobody(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("HOME", folder);
    if is_root(folder) {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn is_root(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(folder).unwrap().uid();
    owner == 0 || owner == NOBODY
}

/// A server that asks for passwords and speaks TLS; the rules of who may come are `hba`.
fn postgres(hba: &str) -> Option<(Running, u16, Authority)> {
    let (initdb, program, port) = (find("initdb")?, find("postgres")?, free_port());
    let folder = tempfile::tempdir().unwrap();
    let (path, authority) = (folder.path().to_path_buf(), Authority::new(folder.path()));
    let pem = authority.sign("server", 100);
    if is_root(&path) {
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        chown(&pem, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&pem, std::fs::Permissions::from_mode(0o600)).unwrap();
    let data = path.join("data");
    let made = as_nobody(&initdb, &path).args(["--no-sync", "-U", "postgres", "-D"]).arg(&data).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::write(data.join("pg_hba.conf"), hba).unwrap();
    let mut command = as_nobody(&program, &path);
    command.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k", ""]).args(["-c", "fsync=off"]);
    command.args(["-c", "ssl=on", "-c", &format!("ssl_cert_file={pem}"), "-c", &format!("ssl_key_file={pem}")]);
    Some((Running::start(command, folder, || listens(port)), port, authority))
}

fn with(set: impl FnOnce(&mut PostgresCheck)) -> quorate_core::Check {
    let mut postgres = PostgresCheck::default();
    set(&mut postgres);
    check(CheckKind::Postgres(postgres))
}

#[tokio::test]
async fn a_server_asks_who_is_there() {
    let Some((_running, port, authority)) = postgres("host all all 127.0.0.1/32 scram-sha-256\n") else { return };
    // A server that has just begun to listen may still be starting up (57P03).
    let begun = std::time::Instant::now();
    while probe(port, &with(|_| {})).await.result != ProbeResult::Pass && begun.elapsed().as_secs() < 20 {}
    assert_pass(&probe(port, &with(|_| {})).await);
    let tls = TlsOptions { ca_file: Some(authority.ca_file()), ..TlsOptions::default() };
    let outcome = probe(port, &with(|p| p.tls = Some(tls))).await;
    assert_pass(&outcome);
    assert!(outcome.tls.unwrap().certificate.is_some());
    let refused = probe(port, &with(|p| p.tls = Some(TlsOptions::default()))).await;
    assert_fail(&refused, Phase::Tls, Cause::Certificate);
}

#[tokio::test]
async fn who_may_come_and_to_what_is_told_apart() {
    let rules = "host postgres quorate 127.0.0.1/32 trust\nhost all postgres 127.0.0.1/32 trust\n";
    let Some((_running, port, _authority)) = postgres(rules) else { return };
    let begun = std::time::Instant::now();
    let admitted = with(|p| p.user = "postgres".into());
    while probe(port, &admitted).await.result != ProbeResult::Pass && begun.elapsed().as_secs() < 20 {}
    assert_pass(&probe(port, &admitted).await);
    // Not in the list: it is well, and lets nobody in.
    let outcome = probe(port, &with(|p| p.user = "stranger".into())).await;
    assert!(matches!(&outcome.result, ProbeResult::Protected(why) if why.contains("28000")), "{outcome:?}");
    let missing = with(|p| (p.user, p.database) = ("postgres".into(), "missing".into()));
    let outcome = probe(port, &missing).await;
    assert!(outcome.result != ProbeResult::Pass || outcome.excerpt.starts_with('R'), "{outcome:?}");
}

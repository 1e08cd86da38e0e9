//! Containers of a real engine, from an image `FROM scratch` with one small program.

use crate::server::{assert_fail, assert_pass, check, find, probe_with};
use quorate_core::check::{ContainerCheck, UsageLimits};
use quorate_core::{Cause, Check, CheckKind, Outcome, Phase, ProbeResult};
use quorate_probe::Own;
use std::process::{Command, Stdio};
use std::time::Duration;

const SOCKET: &str = "/var/run/docker.sock";
const PROGRAM: &str = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n";

/// An image and a container of it; both go with the test.
struct Container {
    name: String,
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = docker(&["rm", "-f", &self.name]);
        let _ = docker(&["rmi", "-f", &self.name]);
    }
}

fn docker(words: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(words).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A container that runs and waits. An engine is no Debian package to be installed for a test: without one this is always skipped.
fn started() -> Option<Container> {
    if docker(&["version"]).is_none() || !std::path::Path::new(SOCKET).exists() {
        eprintln!("skipped: no container engine answers at {SOCKET}");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wait.c"), PROGRAM).unwrap();
    let compiler = find("cc")?;
    let mut compiling = Command::new(compiler);
    compiling.args(["-static", "-Os", "-o", "wait", "wait.c"]).current_dir(folder.path());
    let compiled = compiling.output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let file = "FROM scratch\nCOPY wait /wait\nCMD [\"/wait\"]\n";
    std::fs::write(folder.path().join("Dockerfile"), file).unwrap();
    let name = format!("quorate-test-{}", std::process::id());
    let container = Container { name: name.clone() };
    let build = docker(&["build", "-q", "-t", &name, folder.path().to_str().unwrap()]);
    assert!(build.is_some(), "the image cannot be built");
    let run = docker(&["run", "-d", "--network", "none", "--memory", "32m", "--name", &name, &name]);
    assert!(run.is_some(), "the container cannot be started");
    Some(container)
}

async fn probe(container: &str) -> Outcome {
    let kind = CheckKind::Container(ContainerCheck { container: container.to_owned(), limits: UsageLimits::default() });
    let check = Check { timeout: Duration::from_secs(30), ..check(kind) };
    probe_with(Own { container_socket: Some(SOCKET.into()), ..Own::default() }, 1, &check).await
}

#[tokio::test]
async fn a_container_runs_stops_and_is_gone() {
    let Some(container) = started() else { return };
    let outcome = probe(&container.name).await;
    assert_pass(&outcome);
    let usage = outcome.usage.unwrap();
    assert!(usage.memory_bytes.is_some_and(|bytes| bytes < 32 << 20) && usage.restarts == 0, "{usage:?}");
    docker(&["pause", &container.name]).unwrap();
    assert!(assert_fail(&probe(&container.name).await, Phase::Assert, Cause::Stopped).contains("paused"));
    docker(&["unpause", &container.name]).unwrap();
    docker(&["kill", &container.name]).unwrap();
    let detail = assert_fail(&probe(&container.name).await, Phase::Assert, Cause::Stopped);
    assert!(detail.contains("exited") && detail.contains("137"), "{detail}");
    let gone = probe("quorate-test-surely-absent").await;
    assert!(matches!(gone.result, ProbeResult::Fail(failure) if failure.cause == Cause::Stopped));
}

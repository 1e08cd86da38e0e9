//! Containers as an engine made for the test tells of them.

use super::*;
use crate::testing::{assert_fail, assert_pass, target};
use crate::{Limits, Own, Prober};
use quorate_core::check::UsageLimits;
use quorate_core::{Check, CheckKind, Outcome, ProbeResult};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

/// An engine that knows one container, `web`, and what it uses.
struct Engine {
    socket: std::path::PathBuf,
    container: Arc<Mutex<Value>>,
    stats: Arc<Mutex<Value>>,
    _folder: tempfile::TempDir,
}

fn running() -> Value {
    json!({ "Id": "abc", "RestartCount": 0, "State": { "Status": "running", "OOMKilled": false, "ExitCode": 0 } })
}

fn stats(own_s: u64, system_s: u64, memory: u64) -> Value {
    json!({
        "cpu_stats": {
            "cpu_usage": { "total_usage": own_s * 1_000_000_000 }, "system_cpu_usage": system_s * 1_000_000_000, "online_cpus": 4
        },
        "memory_stats": { "usage": memory + 500, "limit": 10_000, "stats": { "inactive_file": 500 } }
    })
}

impl Engine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine");
        let listener = UnixListener::bind(&socket).unwrap();
        let (container, told) = (Arc::new(Mutex::new(running())), Arc::new(Mutex::new(stats(10, 100, 1000))));
        let (known, usage) = (Arc::clone(&container), Arc::clone(&told));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 2048];
                let count = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..count]).into_owned();
                let (status, body) = match request.split(' ').nth(1) {
                    Some("/containers/web/json") => (200, known.lock().unwrap().to_string()),
                    Some("/containers/abc/stats?stream=false&one-shot=true") => {
                        (200, usage.lock().unwrap().to_string())
                    }
                    Some("/version") => (200, json!({ "ApiVersion": "1.43" }).to_string()),
                    _ => (404, "{}".to_owned()),
                };
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        Self { socket, container, stats: told, _folder: folder }
    }

    fn prober(&self) -> Prober {
        Prober::new(Limits::default(), Own { container_socket: Some(self.socket.clone()), ..Own::default() })
    }

    fn is(&self, set: impl FnOnce(&mut Value)) {
        set(&mut self.container.lock().unwrap());
    }

    /// A probe by a prober that has seen nothing yet.
    async fn probed(&self, set: impl FnOnce(&mut Value)) -> Outcome {
        *self.container.lock().unwrap() = running();
        self.is(set);
        probe(&self.prober(), "web").await
    }
}

async fn probe(prober: &Prober, name: &str) -> Outcome {
    let kind = CheckKind::Container(ContainerCheck { container: name.to_owned(), limits: UsageLimits::default() });
    let check = Check { kind, timeout: Duration::from_secs(5), ..Check::default() };
    assert_eq!(check.validate(), []);
    prober.run(&target("127.0.0.1:1"), &check).await
}

fn warned(outcome: &Outcome) -> (Cause, &str) {
    let ProbeResult::Warn(warning) = &outcome.result else { panic!("{:?}", outcome.result) };
    (warning.cause, &warning.detail)
}

#[tokio::test]
async fn each_state_has_its_cause() {
    let engine = Engine::new();
    assert_pass(&engine.probed(|_| ()).await);
    for status in ["exited", "dead", "paused", "created", "restarting"] {
        let outcome = engine.probed(|it| it["State"]["Status"] = json!(status)).await;
        assert!(assert_fail(&outcome, Phase::Assert, Cause::Stopped).contains(status));
    }
    let killed =
        engine.probed(|it| it["State"] = json!({ "Status": "exited", "OOMKilled": true, "ExitCode": 137 })).await;
    assert_fail(&killed, Phase::Assert, Cause::OutOfMemory);
    assert_eq!(warned(&engine.probed(|it| it["State"]["OOMKilled"] = json!(true)).await).0, Cause::OutOfMemory);
    assert_fail(&probe(&engine.prober(), "other").await, Phase::Assert, Cause::Stopped);
}

#[tokio::test]
async fn its_own_health_check_counts() {
    let engine = Engine::new();
    for (health, cause) in [("healthy", None), ("none", None), ("starting", Some(Cause::Status))] {
        let outcome = engine.probed(|it| it["State"]["Health"] = json!({ "Status": health })).await;
        match cause {
            None => assert_pass(&outcome),
            Some(cause) => assert_eq!(warned(&outcome).0, cause, "{health}"),
        }
    }
    let outcome = engine.probed(|it| it["State"]["Health"] = json!({ "Status": "unhealthy" })).await;
    assert_fail(&outcome, Phase::Assert, Cause::Status);
}

#[tokio::test]
async fn restarts_are_counted_from_the_first_look_on() {
    let engine = Engine::new();
    let prober = engine.prober();
    for (count, loops) in [(40, false), (45, false), (46, true)] {
        engine.is(|it| it["RestartCount"] = json!(count));
        let outcome = probe(&prober, "web").await;
        assert_eq!(outcome.usage.unwrap().restarts, count);
        if loops {
            assert_fail(&outcome, Phase::Assert, Cause::RestartLoop);
        } else {
            assert_pass(&outcome);
        }
    }
    engine.is(|it| (it["Id"], it["State"]["Status"]) = (json!("new"), json!("exited")));
    assert_fail(&probe(&prober, "web").await, Phase::Assert, Cause::Stopped);
}

#[tokio::test]
async fn what_it_uses_is_held_to_its_limits() {
    let engine = Engine::new();
    let prober = engine.prober();
    let told = |own, system, memory| *engine.stats.lock().unwrap() = stats(own, system, memory);
    told(10, 100, 9000);
    let first = probe(&prober, "web").await;
    assert_pass(&first);
    let usage = first.usage.unwrap();
    assert_eq!((usage.cpu_per_mille, usage.memory_per_mille, usage.memory_bytes), (None, Some(900), Some(9000)));
    told(19, 110, 9000);
    let outcome = probe(&prober, "web").await;
    assert_pass(&outcome);
    assert_eq!(outcome.usage.unwrap().cpu_per_mille, Some(900), "90 % is not above 90 %");
    told(29, 120, 9100);
    let outcome = probe(&prober, "web").await;
    assert_eq!(warned(&outcome), (Cause::Resources, "High CPU usage: 100.0%"));
    told(29, 130, 9100);
    assert_eq!(warned(&probe(&prober, "web").await), (Cause::Resources, "High memory usage: 91.0%"));
    engine.is(|it| it["HostConfig"] = json!({ "NanoCpus": 500_000_000 }));
    told(30, 140, 1000);
    let outcome = probe(&prober, "web").await;
    assert_eq!(outcome.usage.unwrap().cpu_per_mille, Some(800), "0.4 cores of the 0.5 that it may use");
}

#[tokio::test]
async fn its_share_is_one_of_the_processors_that_it_may_use() {
    let engine = Engine::new();
    let prober = engine.prober();
    let told = |own, system| *engine.stats.lock().unwrap() = stats(own, system, 1000);
    told(10, 100);
    assert_pass(&probe(&prober, "web").await);
    let table = [
        (json!({}), 100),
        (json!({ "NanoCpus": 0, "CpuQuota": -1, "CpuPeriod": 0, "CpusetCpus": "" }), 100),
        (json!({ "CpuQuota": 50_000, "CpuPeriod": 100_000 }), 800),
        (json!({ "CpuQuota": 50_000 }), 800),
        (json!({ "CpusetCpus": "0" }), 400),
        (json!({ "CpusetCpus": "0-1,3" }), 133),
        (json!({ "CpusetCpus": "3-0" }), 100),
        (json!({ "CpusetCpus": "0,x" }), 100),
        (json!({ "NanoCpus": 2_000_000_000, "CpuQuota": 200_000, "CpusetCpus": "0" }), 400),
        (json!({ "NanoCpus": 500_000_000, "CpuQuota": 200_000, "CpusetCpus": "0-3" }), 800),
        (json!({ "CpuQuota": 1, "CpuPeriod": u64::MAX }), 100),
    ];
    for (n, (host, share)) in (1..).zip(table) {
        engine.is(|it| it["HostConfig"] = host.clone());
        told(10 + n, 100 + 10 * n);
        let outcome = probe(&prober, "web").await;
        assert_eq!(outcome.usage.unwrap().cpu_per_mille, Some(share), "0.4 of 4 processors, {host}");
    }
}

#[tokio::test]
async fn the_engines_own_trouble_accuses_no_container() {
    assert_fail(&probe(&Prober::default(), "web").await, Phase::Prepare, Cause::Local);
    let engine = Engine::new();
    engine.is(|it| *it = json!("nonsense"));
    assert_fail(&probe(&engine.prober(), "web").await, Phase::Prepare, Cause::Local);
    let engine = Engine::new();
    *engine.stats.lock().unwrap() = json!("nonsense");
    assert_fail(&probe(&engine.prober(), "web").await, Phase::Prepare, Cause::Local);
    engine.is(|it| it["State"]["Health"] = json!({ "Status": "unhealthy" }));
    let outcome = probe(&engine.prober(), "web").await;
    assert_fail(&outcome, Phase::Assert, Cause::Status);
    let nobody = Own { container_socket: Some("/nowhere/engine".into()), ..Own::default() };
    assert_fail(&probe(&Prober::new(Limits::default(), nobody), "web").await, Phase::Prepare, Cause::Local);
}

#[tokio::test]
async fn the_engine_is_asked_whether_it_is_there() {
    let engine = Engine::new();
    assert_eq!(engine.prober().ask_container_engine().await, Some(Ok(())));
    assert_eq!(Prober::default().ask_container_engine().await, None, "none is configured");
    let own = Own { container_socket: Some("/nonexistent/engine".into()), ..Own::default() };
    let failed = Prober::new(Limits::default(), own).ask_container_engine().await.unwrap().unwrap_err();
    assert!(failed.cause == Cause::Local && failed.detail.contains("/nonexistent/engine"), "{failed:?}");
}

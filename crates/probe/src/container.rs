//! Container checks through the API of Docker's engine (podman speaks it too): state, health, memory kills, restarts, processor and memory.
//!
//! Two requests over the engine's Unix socket, both of which only read: `GET /containers/{name}/json` and, while it runs,
//! `GET /containers/{name}/stats`. What is wrong with the engine is the observer's own trouble and accuses no container.

use crate::failure::{Step, unprepared, within};
use crate::findings::Findings;
use crate::prober::Tools;
use crate::target::Target;
use crate::usage::{self, Restarts};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use quorate_core::check::ContainerCheck;
use quorate_core::{Cause, Grade, Phase, ProbeFailure, Usage};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::pin::pin;
use tokio::net::UnixStream;
use tokio::time::Instant;

/// Bytes of an answer of the engine at most.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// One processor, in billionths.
const PROCESSOR: u128 = 1_000_000_000;
/// Microseconds of the period in which a quota of processor time is given, unless another one is set.
const DEFAULT_PERIOD: u64 = 100_000;

/// What was seen of a container before.
#[derive(Debug, Default)]
pub(crate) struct Past {
    id: String,
    restarts: Restarts,
    /// Processor time of the container and of the host.
    cpu: Option<(u64, u64)>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    restart_count: u64,
    state: State,
    #[serde(default)]
    host_config: HostConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    #[serde(default, rename = "OOMKilled")]
    oom_killed: bool,
    #[serde(default)]
    exit_code: i64,
    health: Option<Health>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    nano_cpus: u64,
    /// Microseconds of each period; none or less: no limit.
    #[serde(default)]
    cpu_quota: i64,
    #[serde(default)]
    cpu_period: u64,
    #[serde(default)]
    cpuset_cpus: String,
}

impl HostConfig {
    /// Processors it may use, in billionths: the least that is set. `None`: all.
    fn allowed(&self) -> Option<u128> {
        let period = if self.cpu_period == 0 { DEFAULT_PERIOD } else { self.cpu_period };
        let quota = u128::try_from(self.cpu_quota).unwrap_or(0) * PROCESSOR / u128::from(period);
        let set = processors(&self.cpuset_cpus).unwrap_or(0) * PROCESSOR;
        [u128::from(self.nano_cpus), quota, set].into_iter().filter(|limit| *limit > 0).min()
    }
}

/// How many processors a list such as `0-3,7` names; `None` if it is none.
fn processors(list: &str) -> Option<u128> {
    let count = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        Some(u128::from(last.checked_sub(first)?) + 1)
    };
    list.split(',').map(count).sum()
}

#[derive(Debug, Default, Deserialize)]
struct Stats {
    #[serde(default)]
    cpu_stats: CpuStats,
    #[serde(default)]
    memory_stats: MemoryStats,
}

#[derive(Debug, Default, Deserialize)]
struct CpuStats {
    #[serde(default)]
    cpu_usage: CpuUsage,
    #[serde(default)]
    system_cpu_usage: u64,
    #[serde(default)]
    online_cpus: u64,
}

#[derive(Debug, Default, Deserialize)]
struct CpuUsage {
    #[serde(default)]
    total_usage: u64,
}

#[derive(Debug, Default, Deserialize)]
struct MemoryStats {
    #[serde(default)]
    usage: u64,
    #[serde(default)]
    limit: u64,
    #[serde(default)]
    stats: BTreeMap<String, u64>,
}

/// One attempt.
pub(crate) async fn probe(
    tools: &Tools,
    target: &Target,
    check: &ContainerCheck,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    let socket = tools.own.container_socket.as_deref();
    let socket = socket.ok_or_else(|| unprepared("no container engine is configured: set `probe.container_socket`"))?;
    let path = format!("/containers/{}/json", check.container);
    let asked = within(deadline, Phase::Prepare, get::<Inspected>(socket, &path)).await.map_err(engine_late)??;
    let Some(inspected) = asked else {
        let detail = format!("there is no container {}", check.container);
        return findings.judge("the container is there", "none", Grade::Fail, (Cause::Stopped, &detail));
    };
    let stats = if inspected.state.status == "running" {
        let path = format!("/containers/{}/stats?stream=false&one-shot=true", inspected.id);
        let asked = within(deadline, Phase::Prepare, get::<Stats>(socket, &path)).await;
        asked.map_err(engine_late).and_then(|answer| answer)
    } else {
        Ok(None)
    };
    // A state that is bad is known without what it uses.
    let known = stats.as_ref().ok().and_then(Option::as_ref);
    tools.containers.with(&target.instance, |past| judge(check, &inspected, known, past, findings))?;
    stats.map(drop)
}

fn engine_late(_: ProbeFailure) -> ProbeFailure {
    unprepared("the container engine does not answer in time")
}

/// Does the engine answer?
pub(crate) async fn ask(socket: &Path) -> Step<()> {
    match get::<IgnoredAny>(socket, "/version").await? {
        Some(_) => Ok(()),
        None => Err(unprepared(format!("what listens at {} is no container engine", socket.display()))),
    }
}

/// Asks the engine; `None` when it knows no such thing.
async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Step<Option<T>> {
    let trouble =
        |what: &dyn std::fmt::Display| unprepared(format!("the container engine at {}: {what}", socket.display()));
    let wrong = |error: hyper::Error| trouble(&error);
    let stream = UnixStream::connect(socket).await.map_err(|error| trouble(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(wrong)?;
    let request = Request::get(path).header("host", "engine").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| trouble(&error))?;
    let mut connection = pin!(connection);
    let mut asking = pin!(async {
        let answer = sender.send_request(request).await.map_err(wrong)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error: Box<dyn Error + Send + Sync>| trouble(&error))?;
        Ok((status, body.to_bytes()))
    });
    let answered = tokio::select! {
        biased;
        answered = &mut asking => answered,
        // Its end ends the answer, too.
        _ = &mut connection => asking.await,
    };
    let (status, body) = answered?;
    match status.as_u16() {
        404 => Ok(None),
        200 => serde_json::from_slice(&body).map(Some).map_err(|error| trouble(&error)),
        status => Err(trouble(&format!("status {status}"))),
    }
}

fn judge(
    check: &ContainerCheck,
    inspected: &Inspected,
    stats: Option<&Stats>,
    past: &mut Past,
    findings: &mut Findings,
) -> Step<()> {
    let state = &inspected.state;
    if past.id != inspected.id {
        *past = Past { id: inspected.id.clone(), ..Past::default() };
    }
    let restarts = past.restarts.within(&check.limits, inspected.restart_count, Instant::now());
    let mut usage = Usage { restarts: inspected.restart_count, ..Usage::default() };
    if let Some(stats) = stats {
        usage = stats.usage(past, inspected.host_config.allowed(), usage);
    }
    findings.usage = Some(usage);
    let running = state.status == "running";
    usage::judge_restarts(&check.limits, restarts, findings)?;
    if state.oom_killed {
        let grade = if running { Grade::Warn } else { Grade::Fail };
        let detail = "it was killed because memory ran out";
        findings.judge("it was not killed for memory", "it was", grade, (Cause::OutOfMemory, detail))?;
    }
    let detail = format!("the container is {}, exit status {}", state.status, state.exit_code);
    let grade = if running { Grade::Pass } else { Grade::Fail };
    findings.judge("the container is running", state.status.as_str(), grade, (Cause::Stopped, &detail))?;
    if let Some(health) = state.health.as_ref().filter(|health| health.status != "none") {
        let grade = match health.status.as_str() {
            "healthy" => Grade::Pass,
            "unhealthy" => Grade::Fail,
            _ => Grade::Warn,
        };
        let detail = format!("its own health check says {}", health.status);
        findings.judge("its own health check passes", health.status.as_str(), grade, (Cause::Status, &detail))?;
    }
    usage::judge_resources(&check.limits, usage, findings)
}

impl Stats {
    /// As `docker stats` reckons: processor time beside the host's since the time before, memory without the page cache that can go at once.
    fn usage(&self, past: &mut Past, allowed: Option<u128>, usage: Usage) -> Usage {
        let (own, system) = (self.cpu_stats.cpu_usage.total_usage, self.cpu_stats.system_cpu_usage);
        let before = past.cpu.replace((own, system));
        let cpu_per_mille = before.and_then(|(own_before, system_before)| {
            let (own, system) = (own.checked_sub(own_before)?, system.checked_sub(system_before)?);
            let cores = u128::from(self.cpu_stats.online_cpus.max(1));
            let share = u128::from(own) * cores * PROCESSOR * 1000 / allowed.unwrap_or(cores * PROCESSOR);
            u32::try_from(share.checked_div(u128::from(system))?).ok()
        });
        let memory = &self.memory_stats;
        let cache = ["inactive_file", "total_inactive_file"].iter().find_map(|name| memory.stats.get(*name));
        let used = memory.usage.saturating_sub(cache.copied().unwrap_or(0));
        let per_mille = (u128::from(used) * 1000).checked_div(u128::from(memory.limit));
        Usage {
            cpu_per_mille,
            memory_per_mille: per_mille.and_then(|share| u32::try_from(share).ok()),
            memory_bytes: (memory.usage > 0).then_some(used),
            ..usage
        }
    }
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;

//! Checks of systemd units over D-Bus: state, why a service ended, restarts, memory kills, processor and memory
//! (org.freedesktop.systemd1(5)).
//!
//! Nothing but `LoadUnit`, which reads the unit's file if nothing has yet, and `Properties.Get` is called, which the policy of the system bus lets
//! everyone do. What is wrong with the bus or the manager is the observer's own trouble and accuses no unit.

use crate::failure::{Step, unprepared, within};
use crate::findings::Findings;
use crate::prober::Tools;
use crate::target::Target;
use crate::usage::{self, Restarts};
use nix::unistd::{SysconfVar, sysconf};
use quorate_core::check::SystemdCheck;
use quorate_core::{Cause, Grade, Phase, Usage};
use std::fmt::Display;
use std::path::Path;
use tokio::net::UnixStream;
use tokio::time::Instant;
use zbus::connection::Builder;
use zbus::wire::{OwnedObjectPath, OwnedVariant, Variant};
use zbus::{Connection, Error};

/// The bus of the system, where nothing else is configured (D-Bus specification).
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
const MANAGER: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// What was seen of a unit before.
#[derive(Debug, Default)]
pub(crate) struct Past {
    restarts: Restarts,
    /// When it was looked at, and its processor time by then in nanoseconds.
    cpu: Option<(Instant, u64)>,
}

/// What the manager says of a unit.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    load: String,
    active: String,
    sub: String,
    service: Option<Service>,
}

/// What it says of a service besides. What it does not count is absent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Service {
    result: String,
    restarts: u64,
    memory: Option<u64>,
    memory_max: Option<u64>,
    cpu_ns: Option<u64>,
}

/// One attempt.
pub(crate) async fn probe(
    tools: &Tools,
    target: &Target,
    check: &SystemdCheck,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    let socket = tools.own.dbus_socket.as_deref().unwrap_or(SYSTEM_BUS.as_ref());
    let told = within(deadline, Phase::Prepare, ask(socket, check)).await;
    let told = told.map_err(|_| unprepared("systemd does not answer in time"))??;
    tools.units.with(&target.instance, |past| judge(check, &told, past, Instant::now(), findings))
}

async fn ask(socket: &Path, check: &SystemdCheck) -> Step<Told> {
    let of_bus = |what: &dyn Display| unprepared(format!("the bus at {}: {what}", socket.display()));
    let stream = UnixStream::connect(socket).await.and_then(UnixStream::into_std).map_err(|error| of_bus(&error))?;
    let bus = Builder::unix_stream(stream).build().await.map_err(|error| of_bus(&error))?;
    let refused = |error: Error| unprepared(format!("systemd does not tell of {}: {error}", check.unit));
    let loaded = bus
        .call_method(Some(MANAGER), MANAGER_PATH, Some(MANAGER_INTERFACE), "LoadUnit", &(check.unit.as_str(),))
        .await;
    let path = loaded.and_then(|answer| answer.body().deserialize::<OwnedObjectPath>()).map_err(refused)?;
    let unit = Unit { bus: &bus, path: &path };
    let (load, active, sub) =
        tokio::try_join!(unit.word(UNIT, "LoadState"), unit.word(UNIT, "ActiveState"), unit.word(UNIT, "SubState"))
            .map_err(refused)?;
    let service =
        if check.is_service() && load == "loaded" { Some(unit.service().await.map_err(refused)?) } else { None };
    Ok(Told { load, active, sub, service })
}

/// A unit that the manager has loaded.
struct Unit<'a> {
    bus: &'a Connection,
    path: &'a OwnedObjectPath,
}

impl Unit<'_> {
    async fn service(&self) -> Result<Service, Error> {
        let (result, restarts, memory, memory_max, cpu_ns) = tokio::try_join!(
            self.word(SERVICE, "Result"),
            self.number("NRestarts"),
            self.number("MemoryCurrent"),
            self.number("MemoryMax"),
            self.number("CPUUsageNSec"),
        )?;
        Ok(Service { result, restarts: restarts.unwrap_or(0), memory, memory_max, cpu_ns })
    }

    async fn word(&self, interface: &str, name: &str) -> Result<String, Error> {
        String::try_from(self.property(interface, name).await?)
    }

    /// A count of a service; `None` when the manager does not know it, or when there is no limit: both are all ones.
    async fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        let found = match self.property(SERVICE, name).await {
            Ok(found) => found,
            // An older systemd, or one that does not let us see it.
            Err(Error::FDO(_) | Error::MethodError(..)) => return Ok(None),
            Err(error) => return Err(error),
        };
        match &*found {
            Variant::U32(number) => Ok(Some((*number).into())),
            Variant::U64(number) => Ok(Some(*number).filter(|number| *number != u64::MAX)),
            _ => Err(Error::IncorrectType),
        }
    }

    async fn property(&self, interface: &str, name: &str) -> Result<OwnedVariant, Error> {
        let answer =
            self.bus.call_method(Some(MANAGER), self.path, Some(PROPERTIES), "Get", &(interface, name)).await?;
        answer.body().deserialize::<OwnedVariant>()
    }
}

fn judge(check: &SystemdCheck, told: &Told, past: &mut Past, now: Instant, findings: &mut Findings) -> Step<()> {
    let unit = &check.unit;
    let there = if told.load == "loaded" { Grade::Pass } else { Grade::Fail };
    let detail = match told.load.as_str() {
        "not-found" => format!("there is no unit {unit}"),
        other => format!("systemd has not loaded {unit}: {other}"),
    };
    findings.judge("the unit is loaded", told.load.as_str(), there, (Cause::Stopped, &detail))?;
    let running = running(told);
    if let Some(service) = &told.service {
        let used = service.usage(past, now);
        findings.usage = Some(used);
        usage::judge_restarts(&check.limits, past.restarts.within(&check.limits, used.restarts, now), findings)?;
        if service.result == "oom-kill" {
            let grade = if running == Grade::Fail { Grade::Fail } else { Grade::Warn };
            let detail = "it was killed because memory ran out";
            findings.judge("it was not killed for memory", "it was", grade, (Cause::OutOfMemory, detail))?;
        }
    }
    let state = format!("{} ({})", told.active, told.sub);
    let ended = told.service.as_ref().map(|service| service.result.as_str()).filter(|result| *result != "success");
    let detail = format!("{unit} is {state}{}", ended.map_or(String::new(), |result| format!(", result {result}")));
    let cause = if running == Grade::Warn { Cause::Status } else { Cause::Stopped };
    findings.judge("the unit is active", state, running, (cause, &detail))?;
    usage::judge_resources(&check.limits, findings.usage.unwrap_or_default(), findings)
}

/// On the way up is worth a warning, unless it is only waiting to be started once more.
fn running(told: &Told) -> Grade {
    match (told.active.as_str(), told.sub.as_str()) {
        ("active" | "reloading" | "refreshing", _) => Grade::Pass,
        ("activating", sub) if !sub.starts_with("auto-restart") => Grade::Warn,
        _ => Grade::Fail,
    }
}

impl Service {
    /// Processor time beside that of all cores since the time before, and memory beside the unit's own limit, if it has one.
    fn usage(&self, past: &mut Past, now: Instant) -> Usage {
        let before = std::mem::replace(&mut past.cpu, self.cpu_ns.map(|cpu| (now, cpu)));
        let cpu_per_mille = before.zip(self.cpu_ns).and_then(|((then, before), cpu)| {
            let could = now.saturating_duration_since(then).as_nanos() * cores();
            u32::try_from((u128::from(cpu.checked_sub(before)?) * 1000).checked_div(could)?).ok()
        });
        let share = self.memory.zip(self.memory_max);
        let memory_per_mille =
            share.and_then(|(used, max)| u32::try_from((u128::from(used) * 1000).checked_div(u128::from(max))?).ok());
        Usage { cpu_per_mille, memory_per_mille, memory_bytes: self.memory, restarts: self.restarts }
    }
}

/// The cores of this host: those that this process may use could be fewer.
fn cores() -> u128 {
    let online = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    online.and_then(|count| u128::try_from(count).ok()).unwrap_or(1).max(1)
}

#[cfg(test)]
#[path = "systemd_tests.rs"]
mod tests;

//! Units of systemd, told by a manager that the test plays on a real bus of its own.

use crate::server::{Running, assert_fail, assert_pass, assert_warn, check, find, probe_with};
use quorate_core::check::{SystemdCheck, UsageLimits};
use quorate_core::{Cause, CheckKind, Outcome, Phase};
use quorate_probe::Own;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use tokio::net::UnixStream;
use zbus::fdo;
use zbus::wire::OwnedObjectPath;

/// Whoever connects may own any name and say anything.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path=SOCKET</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"#;

/// What the manager says of a unit.
#[derive(Debug, Clone)]
struct State {
    load: &'static str,
    active: &'static str,
    sub: &'static str,
    result: &'static str,
    restarts: u32,
    memory: u64,
    memory_max: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            load: "loaded",
            active: "active",
            sub: "running",
            result: "success",
            restarts: 0,
            memory: 4096,
            memory_max: u64::MAX,
        }
    }
}

type Shared = Arc<Mutex<State>>;

struct Manager(BTreeMap<&'static str, OwnedObjectPath>);
struct Unit(Shared);
struct Service(Shared);

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn load_unit(&self, name: &str) -> fdo::Result<OwnedObjectPath> {
        let missing = || fdo::Error::InvalidArgs(format!("Unit name {name} is not valid."));
        self.0.get(name).cloned().ok_or_else(missing)
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn load_state(&self) -> String {
        self.0.lock().unwrap().load.to_owned()
    }

    #[zbus(property)]
    fn active_state(&self) -> String {
        self.0.lock().unwrap().active.to_owned()
    }

    #[zbus(property)]
    fn sub_state(&self) -> String {
        self.0.lock().unwrap().sub.to_owned()
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property)]
    fn result(&self) -> String {
        self.0.lock().unwrap().result.to_owned()
    }

    #[zbus(property, name = "NRestarts")]
    fn restarts(&self) -> u32 {
        self.0.lock().unwrap().restarts
    }

    #[zbus(property)]
    fn memory_current(&self) -> u64 {
        self.0.lock().unwrap().memory
    }

    #[zbus(property)]
    fn memory_max(&self) -> u64 {
        self.0.lock().unwrap().memory_max
    }

    // No `CPUUsageNSec`: a systemd that keeps no account of it.
}

/// A bus, and on it, if asked for, a manager with a service `web.service` and a timer `web.timer`.
struct Scene {
    own: Own,
    service: Shared,
    timer: Shared,
    _manager: Option<zbus::Connection>,
    _bus: Running,
}

async fn scene(managed: bool) -> Option<Scene> {
    let program = find("dbus-daemon")?;
    let folder = tempfile::tempdir().unwrap();
    let (socket, config) = (folder.path().join("bus"), folder.path().join("bus.conf"));
    std::fs::write(&config, BUS.replace("SOCKET", socket.to_str().unwrap())).unwrap();
    let mut command = Command::new(program);
    command.args(["--nofork", "--nopidfile", "--nosyslog", "--config-file"]).arg(&config);
    let bus = Running::start(command, folder, || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let (service, timer) = (Shared::default(), Shared::default());
    let manager = if managed { Some(manager(&socket, &service, &timer).await) } else { None };
    let own = Own { dbus_socket: Some(socket), ..Own::default() };
    Some(Scene { own, service, timer, _manager: manager, _bus: bus })
}

async fn manager(socket: &PathBuf, service: &Shared, timer: &Shared) -> zbus::Connection {
    let path = |name: &str| OwnedObjectPath::try_from(format!("/org/freedesktop/systemd1/unit/{name}")).unwrap();
    let units = BTreeMap::from([("web.service", path("web_2eservice")), ("web.timer", path("web_2etimer"))]);
    let stream = UnixStream::connect(socket).await.unwrap().into_std().unwrap();
    let (of_service, of_timer) = (units["web.service"].clone(), units["web.timer"].clone());
    zbus::connection::Builder::unix_stream(stream)
        .serve_at("/org/freedesktop/systemd1", Manager(units))
        .serve_at(&of_service, Unit(Arc::clone(service)))
        .serve_at(&of_service, Service(Arc::clone(service)))
        .serve_at(&of_timer, Unit(Arc::clone(timer)))
        .name("org.freedesktop.systemd1")
        .build()
        .await
        .unwrap()
}

impl Scene {
    async fn probed(&self, unit: &str, set: impl FnOnce(&mut State)) -> Outcome {
        let mut state = State::default();
        set(&mut state);
        *if unit == "web.timer" { &self.timer } else { &self.service }.lock().unwrap() = state;
        let kind = CheckKind::Systemd(SystemdCheck { unit: unit.to_owned(), limits: UsageLimits::default() });
        let check = check(kind);
        assert_eq!(check.validate(), []);
        probe_with(self.own.clone(), 1, &check).await
    }
}

#[tokio::test]
async fn a_unit_is_what_systemd_says() {
    let Some(scene) = scene(true).await else { return };
    let outcome = scene.probed("web.service", |_| ()).await;
    assert_pass(&outcome);
    let usage = outcome.usage.unwrap();
    assert_eq!((usage.memory_bytes, usage.memory_per_mille, usage.cpu_per_mille), (Some(4096), None, None));
    let failed = |state: &mut State| (state.active, state.sub, state.result) = ("failed", "failed", "exit-code");
    let detail = assert_fail(&scene.probed("web.service", failed).await, Phase::Assert, Cause::Stopped);
    assert_eq!(detail, "web.service is failed (failed), result exit-code");
    let killed = |state: &mut State| (state.active, state.sub, state.result) = ("failed", "failed", "oom-kill");
    assert_fail(&scene.probed("web.service", killed).await, Phase::Assert, Cause::OutOfMemory);
    let starting = |state: &mut State| (state.active, state.sub) = ("activating", "start");
    assert_warn(&scene.probed("web.service", starting).await, Cause::Status);
    let absent = scene.probed("web.service", |state| state.load = "not-found").await;
    assert_eq!(assert_fail(&absent, Phase::Assert, Cause::Stopped), "there is no unit web.service");
    let full = |state: &mut State| (state.memory, state.memory_max, state.restarts) = (95, 100, 3);
    let outcome = scene.probed("web.service", full).await;
    assert_eq!(assert_warn(&outcome, Cause::Resources), "High memory usage: 95.0%");
    assert_eq!(outcome.usage.unwrap().restarts, 3);
    let timer = scene.probed("web.timer", |state| state.sub = "waiting").await;
    assert_pass(&timer);
    assert_eq!(timer.usage, None, "of what is no service only the state is known");
}

#[tokio::test]
async fn a_bus_without_systemd_accuses_no_unit() {
    let Some(mut scene) = scene(false).await else { return };
    let detail = assert_fail(&scene.probed("web.service", |_| ()).await, Phase::Prepare, Cause::Local);
    assert!(detail.contains("web.service"), "{detail}");
    scene.own.dbus_socket = Some("/nowhere/bus".into());
    let detail = assert_fail(&scene.probed("web.service", |_| ()).await, Phase::Prepare, Cause::Local);
    assert!(detail.contains("/nowhere/bus"), "{detail}");
}

#[tokio::test]
async fn a_name_that_systemd_refuses_is_no_failure_of_a_unit() {
    let Some(scene) = scene(true).await else { return };
    let detail = assert_fail(&scene.probed("other.service", |_| ()).await, Phase::Prepare, Cause::Local);
    assert!(detail.contains("is not valid"), "{detail}");
}

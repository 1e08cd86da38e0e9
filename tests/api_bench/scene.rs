//! What is measured: an agent on one core with so many instances, and nginx beside it.

use crate::load::{Load, Outcome, request, run};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use quorate_tests::{Process, agent_binary, eventually, free_tcp_port, free_udp_port, get};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// The core that servers run on.
const SERVER_CORE: usize = 1;
/// The kernel's clock ticks per second, by which `/proc` counts (`sysconf(_SC_CLK_TCK)`; 100 on every Linux of today).
const TICKS: f64 = 100.0;
const PATIENCE: Duration = Duration::from_secs(180);

/// Instances of one service.
#[derive(Debug, Clone)]
pub struct Service {
    pub name: String,
    pub instances: usize,
    /// How often each is probed.
    pub period: &'static str,
}

/// An agent under measurement.
pub struct Agent {
    process: Process,
    pub api: SocketAddr,
    mesh: SocketAddr,
    data: PathBuf,
    target: Target,
    _folder: TempDir,
}

impl Agent {
    /// Starts one on one core, home to these services, whose instances accept and hang up. It has a mesh of its own.
    pub fn start(services: &[Service]) -> Self {
        Self::launch(services, None, true)
    }

    /// Starts one on all cores.
    pub fn start_on_all(services: &[Service]) -> Self {
        Self::launch(services, None, false)
    }

    /// Starts one more in the mesh of this one, on any core: it is not what is measured.
    pub fn another_aside(&self, services: &[Service]) -> Self {
        Self::launch(services, Some(self), false)
    }

    fn launch(services: &[Service], member: Option<&Self>, measured: bool) -> Self {
        let folder = quorate_tests::folder();
        let target = Target::start();
        let api = SocketAddr::from((Ipv4Addr::LOCALHOST, free_tcp_port()));
        let mesh = SocketAddr::from((Ipv4Addr::LOCALHOST, free_udp_port()));
        let config = folder.path().join("quorate.toml");
        std::fs::write(&config, configuration(services, target.address, mesh, api)).expect("the configuration");
        let data = folder.path().join("data");
        let program = || OsString::from(agent_binary());
        let in_dir = |dir: &Path| [OsString::from("--data-dir"), dir.into()];
        let mut words = if measured { on_one_core() } else { Vec::new() };
        words.extend([program(), "agent".into(), "--config".into(), config.into()].into_iter().chain(in_dir(&data)));
        match member {
            None => {
                let _ = quorate_tests::run([program(), "init".into()].into_iter().chain(in_dir(&data))).success();
            }
            Some(member) => {
                let create = [program(), "token".into(), "create".into()].into_iter().chain(in_dir(&member.data));
                let token = quorate_tests::run(create).success();
                let member = member.mesh.to_string();
                words.extend(["--join".into(), member.into(), "--token".into(), token.trim().into()]);
            }
        }
        let log = folder.path().join("log");
        let mut process = Process::start("agent", &words, &log);
        eventually("the agent has entered its mesh", PATIENCE, || {
            // A mesh that has much to do may put a newcomer off; it is to try again.
            if process.ended().is_some() {
                process = Process::start("agent", &words, &log);
            }
            get(api, "/livez").map(drop).map_err(|error| error.to_string())
        });
        let agent = Self { process, api, mesh, data, target, _folder: folder };
        agent.await_instances(services.iter().map(|service| service.instances).sum());
        agent
    }

    /// Waits until it knows that many.
    pub fn await_instances(&self, count: usize) {
        eventually("the agent knows the instances", PATIENCE, || {
            let health = get(self.api, "/v1/health").map_err(|error| error.to_string())?.json()?;
            let verdicts = health["verdicts"].as_object().into_iter().flatten();
            let known: u64 = verdicts.filter_map(|(_, count)| count.as_u64()).sum();
            if known >= count as u64 { Ok(()) } else { Err(format!("{known} of {count}")) }
        });
    }

    /// Waits until it holds that many `up`.
    pub fn await_up(&self, count: usize) {
        eventually("the agent has decided", PATIENCE * 4, || {
            let health = get(self.api, "/v1/health").map_err(|error| error.to_string())?.json()?;
            let up = health["verdicts"]["up"].as_u64().unwrap_or(0);
            if up >= count as u64 { Ok(()) } else { Err(format!("{up} of {count}")) }
        });
    }

    /// Processor time that it has used.
    pub fn processor_time(&self) -> f64 {
        processor_seconds(self.process.id())
    }

    /// Memory that it holds (resident set).
    pub fn memory_bytes(&self) -> f64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
        kib * 1024.0
    }

    /// Makes every instance fail from now on.
    pub fn fail(&self) {
        self.target.stop();
    }

    /// The body at a path.
    pub fn text(&self, path: &str) -> String {
        get(self.api, path).expect("an answer").body
    }
}

fn on_one_core() -> Vec<OsString> {
    ["taskset".into(), "--cpu-list".into(), SERVER_CORE.to_string().into()].to_vec()
}

/// What stands for every instance: it accepts and hangs up.
struct Target {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Target {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let stopped = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stopped);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                drop(stream);
                if ends.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        Self { address, stopped }
    }

    /// Nothing listens there any more after the next connection.
    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// As many descriptors as the system allows: each client takes one.
pub fn raise_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the limit is raised");
}

fn configuration(services: &[Service], target: SocketAddr, mesh: SocketAddr, api: SocketAddr) -> String {
    let mut text = format!("[agent]\nname = \"bench\"\nlisten = \"{mesh}\"\napi = \"{api}\"\n");
    for Service { name, instances, period } in services {
        let _ = write!(
            text,
            "\n[[service]]\nname = \"{name}\"\n[service.check]\nprotocol = \"tcp\"\ninitial_delay = \"0s\"\ntimeout = \"1s\"\nperiod = \"{period}\"\n"
        );
        for number in 0..*instances {
            let _ = write!(text, "[[service.instance]]\nid = \"{name}@{number}\"\naddress = \"{target}\"\n");
        }
    }
    text
}

/// What a process and its children that it waited for have used.
fn processor_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields = stat.rsplit_once(") ").expect("its name").1;
    let ticks = |index: usize| fields.split(' ').nth(index).and_then(|field| field.parse::<f64>().ok()).expect("ticks");
    (ticks(11) + ticks(12)) / TICKS
}

/// nginx with one worker on the same core, serving a file of so many bytes from memory.
pub struct Nginx {
    process: Process,
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it; nothing where there is none.
    pub fn start(body_bytes: usize) -> Option<Self> {
        let nginx = quorate_tests::optional("nginx")?;
        let folder = quorate_tests::folder();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_tcp_port()));
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file.json"), vec![b'x'; body_bytes]).expect("a file");
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};\n", path(kind).display()))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {}; error_log stderr error;\nevents {{ worker_connections 1024; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; open_file_cache max=10;\n{temporary}\
             types {{ application/json json; }}\nserver {{ listen {address}; root {}; }} }}\n",
            path("pid").display(),
            folder.path().display()
        );
        std::fs::write(path("nginx.conf"), config).expect("a configuration");
        make_readable(folder.path());
        let mut words = on_one_core();
        words.extend([nginx.into(), "-p".into(), folder.path().into(), "-c".into(), path("nginx.conf").into()]);
        let process = Process::start("nginx", &words, &path("log"));
        eventually("nginx answers", PATIENCE, || match get(address, "/file.json") {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        });
        Some(Self { process, address, _folder: folder })
    }

    /// Processor time that it has used.
    pub fn processor_time(&self) -> f64 {
        processor_seconds(self.process.id())
    }
}

/// nginx may serve as another user.
fn make_readable(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("permissions");
}

/// A load, and how much processor time the server spent on it.
pub struct Measured {
    pub outcome: Outcome,
    /// Answers per second of the server's processor time: what one core gives when nothing else wants it.
    pub per_core: f64,
}

/// Measures a load after a short one of its kind.
pub fn measure(load: &Load, processor_time: impl Fn() -> f64) -> Measured {
    let warm = Load { time: Duration::from_millis(500), ..load.clone() };
    run(&warm).expect("the load");
    let before = processor_time();
    let outcome = run(load).expect("the load");
    let used = processor_time() - before;
    Measured { per_core: outcome.answers as f64 / used.max(1.0 / TICKS), outcome }
}

/// `GET` over so many connections.
pub fn get_load(address: SocketAddr, path: &str, time: Duration) -> Load {
    Load { address, request: request("GET", path, ""), status: 200, connections: 32, pipelined: 1, time }
}

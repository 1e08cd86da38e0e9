//! What one HTTP probe costs in processor time, beside HAProxy's own checks and prometheus-blackbox-exporter, against the same nginx in one run:
//! `cargo bench -p quorate-probe --bench http_cost`. A fresh connection each; whoever is not installed is left out, with a line that says so.
//!
//! Processor time is the kernel's account of the process (`/proc/PID/schedstat`, nanoseconds), and probes are counted by nginx, not by whoever makes
//! them. nginx's own time is nobody's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use quorate_core::{AgentId, Check, CheckKind, HttpCheck, InstanceId, ProbeResult, ServiceName};
use quorate_probe::{Limits, Own, Prober, Target};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Probes of ours, and of the exporter.
const PROBES: usize = 20_000;
/// Ours are made by so many at once, as an agent makes them.
const AT_ONCE: usize = 20;
/// How long HAProxy is watched, and how many servers it checks how often.
const WATCHED: Duration = Duration::from_secs(5);
const SERVERS: usize = 100;
const INTERVAL_MS: usize = 20;

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(program: &str, words: &[&str], port: u16) -> Option<Self> {
        let path = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
        let path = path.iter().map(|folder| PathBuf::from(folder).join(program)).find(|path| path.is_file());
        let Some(path) = path else {
            println!("{program:<34} not installed");
            return None;
        };
        let child = Command::new(path).args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let process = Self(child);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{program} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(process)
    }

    fn cpu(&self) -> Duration {
        cpu_of(&self.0.id().to_string())
    }
}

/// All threads of a process.
fn cpu_of(pid: &str) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let one = |path: PathBuf| -> u64 {
        let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
    };
    Duration::from_nanos(threads.flatten().map(|thread| one(thread.path())).sum())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// Requests that nginx has answered, this one included.
fn served(port: u16) -> usize {
    let answer = get(port, "/status");
    let line = answer.lines().find(|line| line.trim().starts_with(|c: char| c.is_ascii_digit())).unwrap_or_default();
    line.split_whitespace().nth(2).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

fn tell(who: &str, cpu: Duration, probes: usize) {
    println!("{who:<34} {:>7.1} us a probe   ({probes} probes)", cpu.as_secs_f64() * 1e6 / probes as f64);
}

fn ours(nginx: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let prober = Prober::new(Limits { max_per_host: AT_ONCE, ..Limits::default() }, Own::default());
    let target = Target {
        instance: InstanceId::new("web@127.0.0.1").unwrap(),
        service: ServiceName::new("web").unwrap(),
        address: format!("127.0.0.1:{nginx}"),
        home: None,
        observer: AgentId(1),
    };
    let check = Check { kind: CheckKind::Http(HttpCheck::default()), ..Check::default() };
    let (before, cpu) = (served(nginx), cpu_of("self"));
    runtime.block_on(async {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let (prober, target, check) = (prober.clone(), target.clone(), check.clone());
            all.spawn(async move {
                for _ in 0..PROBES / AT_ONCE {
                    assert_eq!(prober.run(&target, &check).await.result, ProbeResult::Pass);
                }
            });
        }
        while let Some(ended) = all.join_next().await {
            ended.unwrap();
        }
    });
    let cpu = cpu_of("self") - cpu;
    tell("quorate", cpu, served(nginx) - before - 1);
}

fn haproxy(nginx: u16, folder: &std::path::Path) {
    let port = free_port();
    let servers: String =
        (0..SERVERS).map(|n| format!("  server s{n} 127.0.0.1:{nginx} check inter {INTERVAL_MS}ms\n")).collect();
    let config = format!(
        "global\n  nbthread 1\n  maxconn 100\ndefaults\n  mode http\n  timeout connect 1s\n  timeout client 5s\n  timeout server 5s\n\
         \x20 timeout check 1s\nfrontend door\n  bind 127.0.0.1:{port}\n  default_backend all\nbackend all\n\
         \x20 option httpchk GET /health\n{servers}"
    );
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, config).unwrap();
    let Some(process) = Process::start("haproxy", &["-db", "-f", file.to_str().unwrap()], port) else { return };
    std::thread::sleep(Duration::from_secs(1));
    let (before, cpu) = (served(nginx), process.cpu());
    std::thread::sleep(WATCHED);
    let cpu = process.cpu() - cpu;
    tell("haproxy, httpchk", cpu, served(nginx) - before - 1);
}

fn blackbox(nginx: u16, folder: &std::path::Path) {
    let port = free_port();
    let file = folder.join("blackbox.yml");
    std::fs::write(&file, "modules:\n  http:\n    prober: http\n    http:\n      preferred_ip_protocol: ip4\n")
        .unwrap();
    let listen = format!("--web.listen-address=127.0.0.1:{port}");
    let config = format!("--config.file={}", file.display());
    let Some(process) = Process::start("prometheus-blackbox-exporter", &[&listen, &config], port) else { return };
    let (before, cpu) = (served(nginx), process.cpu());
    for _ in 0..PROBES / 10 {
        get(port, &format!("/probe?module=http&target=http://127.0.0.1:{nginx}/health"));
    }
    let cpu = process.cpu() - cpu;
    tell("prometheus-blackbox-exporter", cpu, served(nginx) - before - 1);
}

fn main() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let root = folder.path().display();
    let config = format!(
        "daemon off; master_process off; pid {root}/pid; events {{ worker_connections 4096; }}\n\
         http {{ access_log off; client_body_temp_path {root}; proxy_temp_path {root}; fastcgi_temp_path {root}; uwsgi_temp_path {root};\n\
         scgi_temp_path {root}; server {{ listen 127.0.0.1:{port} backlog=4096;\n\
         location /health {{ return 200 'ok'; }} location /status {{ stub_status; }} }} }}"
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let (prefix, file) = (root.to_string(), file.display().to_string());
    let Some(_nginx) = Process::start("nginx", &["-p", &prefix, "-c", &file, "-e", "stderr"], port) else { return };
    ours(port);
    haproxy(port, folder.path());
    blackbox(port, folder.path());
}

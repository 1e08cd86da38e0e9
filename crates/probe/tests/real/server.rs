//! Programs that the tests start and end, and the checks they run against them.

use quorate_core::{AgentId, Cause, Check, CheckKind, InstanceId, Outcome, Phase, ProbeResult, ServiceName};
use quorate_probe::{Limits, Own, Prober, Target};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a program is; `None`, and a line that says so, when it is not installed.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let postgres = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(postgres.map(|version| version.path().join("bin")));
    let found = folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        let required = std::env::var_os("QUORATE_TEST_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!required, "{program} is not installed, and QUORATE_TEST_REQUIRE_ALL demands it");
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// A port that nobody uses.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running program; it ends with the test.
pub struct Running {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts `command` and waits until `ready`.
    pub fn start(mut command: Command, folder: tempfile::TempDir, ready: impl Fn() -> bool) -> Self {
        let log = folder.path().join("log");
        let output = std::fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut child = command.spawn().unwrap();
        let begun = Instant::now();
        while !ready() {
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(status) = child.try_wait().unwrap() {
                panic!("{command:?} ended with {status}:\n{}", said());
            }
            assert!(begun.elapsed() < PATIENCE, "{command:?} does not listen:\n{}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, _folder: folder }
    }
}

/// Does something listen there?
pub fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// An authority, its certificate in `ca.pem`, and what it signs, in a folder.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    pub fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "made for a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder: folder.to_path_buf() }
    }

    pub fn ca_file(&self) -> String {
        self.folder.join("ca.pem").to_str().unwrap().to_owned()
    }

    /// Writes `<name>.pem`, certificate and key, good for `days`, for `web.test` and 127.0.0.1.
    pub fn sign(&self, name: &str, days: u64) -> String {
        let mut params = CertificateParams::new(vec!["web.test".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let now = std::time::SystemTime::now();
        params.not_before = (now - Duration::from_secs(3600)).into();
        params.not_after = (now + Duration::from_secs(days * 24 * 3600 + 3600)).into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = self.folder.join(format!("{name}.pem"));
        std::fs::write(&path, format!("{}{}", certificate.pem(), key.serialize_pem())).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// A check of this kind, with a timeout that a busy machine keeps.
pub fn check(kind: CheckKind) -> Check {
    Check { kind, timeout: Duration::from_secs(10), ..Check::default() }
}

pub async fn probe(port: u16, check: &Check) -> Outcome {
    probe_with(Own::default(), port, check).await
}

/// The same on a host with secrets.
pub async fn probe_with(own: Own, port: u16, check: &Check) -> Outcome {
    let target = Target {
        instance: InstanceId::new("web@127.0.0.1").unwrap(),
        service: ServiceName::new("web").unwrap(),
        address: format!("127.0.0.1:{port}"),
        home: None,
        observer: AgentId(1),
    };
    Prober::new(Limits::default(), own).run(&target, check).await
}

#[track_caller]
pub fn assert_pass(outcome: &Outcome) {
    assert_eq!(outcome.result, ProbeResult::Pass, "{outcome:?}");
}

/// Asserts a failure and returns its detail.
#[track_caller]
pub fn assert_fail(outcome: &Outcome, phase: Phase, cause: Cause) -> String {
    match &outcome.result {
        ProbeResult::Fail(failure) if (failure.phase, failure.cause) == (phase, cause) => failure.detail.clone(),
        other => panic!("expected {phase:?} {cause:?}, got {other:?}"),
    }
}

/// Asserts a warning and returns its detail.
#[track_caller]
pub fn assert_warn(outcome: &Outcome, cause: Cause) -> String {
    match &outcome.result {
        ProbeResult::Warn(warning) if warning.cause == cause => warning.detail.clone(),
        other => panic!("expected a warning of {cause:?}, got {other:?}"),
    }
}

//! A small real service that agents probe, and what can happen to it.

use crate::agent::Host;
use crate::binary::tool;
use crate::process::Process;
use crate::{http, wait};
use nix::sys::signal::Signal;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A service's process.
#[derive(Debug)]
pub struct Target {
    kind: &'static str,
    address: SocketAddr,
    host: Host,
    log: PathBuf,
    process: Process,
}

impl Target {
    /// Starts a service of a kind, `http` or `tcp`, on a host; returns when it answers.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(kind: &'static str, host: &Host, folder: &Path) -> Self {
        let address = SocketAddr::new(host.address(), host.free_service_port());
        let log = folder.join(format!("target-{}-{}.log", address.ip(), address.port()));
        let process = Self::launch(kind, host, address, &log);
        Self { kind, address, host: host.clone(), log, process }
    }

    fn launch(kind: &str, host: &Host, address: SocketAddr, log: &Path) -> Process {
        let words = [tool("target-service").into_os_string(), kind.into(), address.to_string().into()];
        let mut process = Process::start(&format!("target-service {address}"), &host.inside(&words), log);
        wait::eventually("the service listens", Duration::from_secs(10), || match process.ended() {
            Some(status) => panic!("the service at {address} ended with {status}: {}", process.log()),
            None => TcpStream::connect_timeout(&address, Duration::from_secs(1))
                .map(drop)
                .map_err(|error| error.to_string()),
        });
        process
    }

    /// `http` or `tcp`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it as `kill -9` does: connections are refused from now on.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it anew at the same address.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = Self::launch(self.kind, &self.host, self.address, &self.log);
    }

    /// Stops it without closing anything: the kernel still accepts, nobody answers.
    pub fn hang(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Lets it run on.
    pub fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// From now on it answers every `GET` with `status`.
    ///
    /// # Panics
    /// When it cannot be told.
    pub fn answer_with(&self, status: u16) {
        let answer = http::put(self.address, &format!("/status/{status}")).expect("the service answers");
        assert_eq!(answer.status, 200);
    }
}

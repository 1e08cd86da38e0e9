//! One agent: its data directory, its configuration, its process, and what it answers.

use crate::binary::{agent_binary, tool};
use crate::process::{Finished, Process, run};
use crate::reading::{Health, Instance, Member, list};
use crate::target::Target;
use crate::{http, ports, wait};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// The recording within the data directory.
const RECORDING: &str = "recording";

/// Where programs run: on this machine's loopback, or in a network namespace with an address of its own.
#[derive(Debug, Clone)]
pub struct Host {
    address: IpAddr,
    /// The words in front of a command that make it run there.
    enter: Vec<OsString>,
    /// The next port in a namespace; on loopback free ones are looked for.
    next_port: Option<Arc<AtomicU16>>,
}

impl Host {
    /// This machine.
    #[must_use]
    pub fn loopback() -> Self {
        Self { address: Ipv4Addr::LOCALHOST.into(), enter: Vec::new(), next_port: None }
    }

    /// The network namespace of process `holder`, where `address` is set up.
    #[must_use]
    pub fn in_namespace_of(holder: u32, address: IpAddr) -> Self {
        let enter = ["nsenter", "--net", "--target", &holder.to_string()].map(OsString::from).to_vec();
        Self { address, enter, next_port: Some(Arc::new(AtomicU16::new(8000))) }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The command, as it runs there.
    #[must_use]
    pub fn inside(&self, words: &[OsString]) -> Vec<OsString> {
        self.enter.iter().chain(words).cloned().collect()
    }

    pub(crate) fn free_service_port(&self) -> u16 {
        self.next_port.as_ref().map_or_else(ports::free_tcp_port, |next| next.fetch_add(1, Ordering::Relaxed))
    }

    /// The ports of mesh and API: the usual ones where the agent is alone.
    fn agent_ports(&self) -> (u16, u16) {
        if self.next_port.is_some() { (7700, 7701) } else { (ports::free_udp_port(), ports::free_tcp_port()) }
    }
}

/// What an agent is to be like.
#[derive(Debug, Clone)]
pub struct AgentSetup {
    /// Its name.
    pub name: String,
    /// Its failure domain.
    pub zone: String,
    /// Where it runs.
    pub host: Host,
    /// Service, kind of check, and the addresses of its instances here.
    services: Vec<(String, &'static str, Vec<SocketAddr>)>,
    /// Does it record its engine's inputs?
    recorded: bool,
    /// Further lines of `[agent]`.
    agent: String,
    /// Further lines of `[api]`.
    api: String,
}

impl AgentSetup {
    /// An agent without services.
    #[must_use]
    pub fn new(name: impl Into<String>, host: Host) -> Self {
        Self {
            name: name.into(),
            zone: "default".to_owned(),
            host,
            services: Vec::new(),
            recorded: false,
            agent: String::new(),
            api: String::new(),
        }
    }

    /// Makes it home to one instance, which is `target`: probed each second, down after three failures.
    #[must_use]
    pub fn serving(mut self, service: &str, target: &Target) -> Self {
        match self.services.iter_mut().find(|(name, kind, _)| name == service && *kind == target.kind()) {
            Some((_, _, instances)) => instances.push(target.address()),
            None => self.services.push((service.to_owned(), target.kind(), vec![target.address()])),
        }
        self
    }

    /// Makes it record its engine's inputs, to [`Agent::recording`].
    #[must_use]
    pub fn recorded(mut self) -> Self {
        self.recorded = true;
        self
    }

    /// Adds lines to the section `[agent]` of its configuration.
    #[must_use]
    pub fn agent(mut self, lines: &str) -> Self {
        self.agent.push_str(lines);
        self.agent.push('\n');
        self
    }

    /// Adds lines to the section `[api]` of its configuration.
    #[must_use]
    pub fn api(mut self, lines: &str) -> Self {
        self.api.push_str(lines);
        self.api.push('\n');
        self
    }

    /// The configuration file.
    fn config(&self, mesh: SocketAddr, api: SocketAddr) -> String {
        let mut text = format!(
            "[agent]\nname = \"{}\"\nzone = \"{}\"\nlisten = \"{mesh}\"\n{}\n[api]\nlisten = \"{api}\"\n{}",
            self.name, self.zone, self.agent, self.api
        );
        if self.recorded {
            text.push_str(&format!("\n[record]\npath = \"{RECORDING}\"\n"));
        }
        for (service, kind, instances) in &self.services {
            text.push_str(&format!(
                "\n[[service]]\nname = \"{service}\"\n[service.check]\nprotocol = \"{kind}\"\ninitial_delay = \"0s\"\n\
                 period = \"1s\"\ntimeout = \"500ms\"\nfailure_threshold = 3\nsuccess_threshold = 1\n"
            ));
            instances.iter().for_each(|at| text.push_str(&format!("[[service.instance]]\naddress = \"{at}\"\n")));
        }
        text
    }
}

/// The id that an instance gets when none is configured.
#[must_use]
pub fn instance_id(service: &str, target: &Target) -> String {
    format!("{service}@{}", target.address())
}

/// The token in what a command printed.
fn token_in(printed: &str) -> String {
    let token = printed.split_whitespace().map(|word| word.trim_matches(['"', '\'', '`']));
    let token = token.into_iter().find(|word| word.starts_with("QRT1."));
    token.unwrap_or_else(|| panic!("no token in {printed:?}")).to_owned()
}

/// An agent, running or not.
#[derive(Debug)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// Where its mesh port is.
    pub mesh: SocketAddr,
    /// Where its API is reached from the test.
    pub api: SocketAddr,
    host: Host,
    data_dir: PathBuf,
    config: PathBuf,
    log: PathBuf,
    program: PathBuf,
    process: Option<Process>,
    /// Passes questions on to the loopback of its namespace, if it is in one.
    _relay: Option<Process>,
}

impl Agent {
    /// Writes the configuration below `folder`; nothing runs yet.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn new(setup: &AgentSetup, folder: &Path) -> Self {
        let (mesh_port, api_port) = setup.host.agent_ports();
        let mesh = SocketAddr::new(setup.host.address(), mesh_port);
        let api = SocketAddr::new(setup.host.address(), api_port);
        // In the clear an API listens on loopback alone.
        let own = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), api_port);
        let config = folder.join(format!("{}.toml", setup.name));
        std::fs::write(&config, setup.config(mesh, own)).expect("the configuration is written");
        let relay = (own != api).then(|| {
            let words = [tool("relay").into_os_string(), api.to_string().into(), own.to_string().into()];
            let name = format!("relay of {}", setup.name);
            Process::start(&name, &setup.host.inside(&words), &folder.join(format!("{}.relay.log", setup.name)))
        });
        Self {
            name: setup.name.clone(),
            mesh,
            api,
            host: setup.host.clone(),
            data_dir: folder.join(&setup.name),
            config,
            log: folder.join(format!("{}.log", setup.name)),
            program: agent_binary().to_path_buf(),
            process: None,
            _relay: relay,
        }
    }

    /// Where its state is.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// What it has recorded, if it was told to.
    #[must_use]
    pub fn recording(&self) -> PathBuf {
        self.data_dir.join(RECORDING)
    }

    fn words(&self, command: &[&str]) -> Vec<OsString> {
        let mut words = vec![self.program.clone().into()];
        words.extend(command.iter().map(OsString::from));
        words.extend(["--data-dir".into(), self.data_dir.clone().into_os_string()]);
        words
    }

    /// Makes a new mesh; this agent is its first. Returns the token in the line that joins another host.
    ///
    /// # Panics
    /// When that fails.
    pub fn init(&self) -> String {
        token_in(&run(self.words(&["init", "--name", &self.name])).success())
    }

    /// A new token, with further arguments for `quorate token create`.
    ///
    /// # Panics
    /// When none is made.
    #[must_use]
    pub fn token(&self, arguments: &[&str]) -> String {
        token_in(&run(self.words(&[&["token", "create"], arguments].concat())).success())
    }

    /// A new token of its API, with further arguments for `quorate token create`.
    ///
    /// # Panics
    /// When none is made.
    #[must_use]
    pub fn api_token(&self, arguments: &[&str]) -> String {
        run(self.words(&[&["token", "create"], arguments].concat())).success().trim().to_owned()
    }

    fn agent_words(&self, member: Option<SocketAddr>, token: Option<&str>) -> Vec<OsString> {
        let mut words = self.words(&["agent", "--config"]);
        words.insert(3, self.config.clone().into_os_string());
        if let Some(member) = member {
            words.extend(["--join".into(), member.to_string().into()]);
        }
        if let Some(token) = token {
            words.extend(["--token".into(), token.into()]);
        }
        self.host.inside(&words)
    }

    /// Makes it run another program from its next start on.
    pub fn upgrade_to(&mut self, program: &Path) {
        self.program = program.to_path_buf();
    }

    /// Starts it.
    pub fn start(&mut self) {
        self.process = Some(Process::start(&self.name, &self.agent_words(None, None), &self.log));
    }

    /// Starts it for the first time, to join by a member.
    pub fn start_joining(&mut self, member: SocketAddr, token: &str) {
        self.process = Some(Process::start(&self.name, &self.agent_words(Some(member), Some(token)), &self.log));
    }

    /// Starts it for the first time, to join by a member with the token in a file.
    pub fn start_joining_by_file(&mut self, member: SocketAddr, token: &Path) {
        let mut words = self.agent_words(Some(member), None);
        words.extend(["--token-file".into(), token.into()]);
        self.process = Some(Process::start(&self.name, &words, &self.log));
    }

    /// Starts it, a member already, with the address of an agent to make contact with.
    pub fn start_towards(&mut self, other: SocketAddr) {
        self.process = Some(Process::start(&self.name, &self.agent_words(Some(other), None), &self.log));
    }

    /// Runs it to its end, which must come soon: for joins that are refused.
    #[must_use]
    pub fn run_joining(&self, member: SocketAddr, token: &str) -> Finished {
        run(self.agent_words(Some(member), Some(token)))
    }

    /// The running process.
    ///
    /// # Panics
    /// When it was not started.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap_or_else(|| panic!("{} was not started", self.name))
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process().kill();
        self.process = None;
    }

    /// Ends it as a service manager does, and waits; it leaves the mesh.
    pub fn leave(&mut self) -> ExitStatus {
        self.process().signal(Signal::SIGTERM);
        let status = self.process().wait(Duration::from_secs(20));
        self.process = None;
        status
    }

    /// Was it started, and not ended by the test since?
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Everything it has logged, over all its runs.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// When it ends, or is not ready within half a minute.
    pub fn await_ready(&mut self) {
        let api = self.api;
        let name = self.name.clone();
        let process = self.process();
        wait::eventually(&format!("{name} is ready"), Duration::from_secs(30), || {
            if let Some(status) = process.ended() {
                panic!("{name} ended with {status}");
            }
            let answer = http::get(api, "/readyz").map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(answer.body) }
        });
    }

    /// An answer in JSON.
    ///
    /// # Errors
    /// When there is none.
    pub fn ask(&self, path: &str) -> Result<Value, String> {
        http::get(self.api, path).map_err(|error| format!("{}: {error}", self.name))?.json()
    }

    /// `GET /v1/health`.
    ///
    /// # Errors
    /// When it does not answer as documented.
    pub fn health(&self) -> Result<Health, String> {
        Health::read(&self.ask("/v1/health")?)
    }

    /// `GET /v1/members`.
    ///
    /// # Errors
    /// As [`Agent::health`].
    pub fn members(&self) -> Result<Vec<Member>, String> {
        list(&self.ask("/v1/members")?, "members", Member::read)
    }

    /// The member of that name.
    ///
    /// # Errors
    /// When it is not known, or as [`Agent::health`].
    pub fn member(&self, name: &str) -> Result<Member, String> {
        let members = self.members()?;
        members.iter().find(|member| member.name == name).cloned().ok_or_else(|| format!("no {name} in {members:?}"))
    }

    /// `GET /v1/instances`, hosts included.
    ///
    /// # Errors
    /// As [`Agent::health`].
    pub fn instances(&self) -> Result<Vec<Instance>, String> {
        list(&self.ask("/v1/instances?hosts=true")?, "instances", Instance::read)
    }

    /// `GET /v1/instances/{id}`.
    ///
    /// # Errors
    /// As [`Agent::health`].
    pub fn instance(&self, id: &str) -> Result<Instance, String> {
        Instance::read(&self.ask(&format!("/v1/instances/{id}"))?)
    }

    /// This agent's id, as it says itself.
    ///
    /// # Errors
    /// As [`Agent::health`].
    pub fn id(&self) -> Result<String, String> {
        Ok(self.health()?.agent)
    }

    /// The sum of a metric over all its labels that include `labels`, such as `reason="expired"`; zero when it is not there.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn metric(&self, name: &str, labels: &str) -> Result<f64, String> {
        let answer = http::get(self.api, "/metrics").map_err(|error| error.to_string())?;
        let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
        let mut sum = 0.0;
        for line in lines {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let (metric, rest) = series.split_once('{').unwrap_or((series, ""));
            if metric == name && rest.contains(labels) {
                sum += value.parse::<f64>().map_err(|error| format!("{line}: {error}"))?;
            }
        }
        Ok(sum)
    }
}

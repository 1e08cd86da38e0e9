//! The resolved settings of an agent, and every default in one place.

use super::api::{ApiSettings, Restricted, in_the_clear};
use super::exports::{MetricNames, OtlpSettings, StatsdSettings};
use super::flags::Flags;
use super::queue_board::QueueBoardSettings;
use super::services::Service;
use crate::usage::usage;
use anyhow::Context;
use quorate_core::Zone;
use quorate_core::registration::host_and_port;
use quorate_probe::Own;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Everything an agent needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name for people, when one was given.
    pub name: Option<String>,
    /// Its failure domain.
    pub zone: Zone,
    /// What it is part of, such as `production`.
    pub environment: Option<String>,
    /// UDP address for the mesh.
    pub listen: SocketAddr,
    /// `HOST[:PORT]` where others dial it; found out by itself when absent.
    pub advertise: Option<String>,
    /// TCP address of the HTTP API.
    pub api: SocketAddr,
    /// How the API is reached otherwise, and who is let in.
    pub api_access: ApiSettings,
    /// TCP address that answers HAProxy's agent-checks, if any.
    pub agent_check: Option<Restricted>,
    /// Where identity and state are kept.
    pub data_dir: PathBuf,
    /// `HOST:PORT` of a member.
    pub join: Option<String>,
    /// The file with the token that admits this host, if it is given by one.
    pub token_file: Option<PathBuf>,
    /// Limits of the probes.
    pub probe: ProbeSettings,
    /// What of this host the probes may use.
    pub own: Own,
    /// UDP and TCP address of the name server, if any.
    pub dns: Option<Restricted>,
    /// How metrics are called at `/metrics`.
    pub metrics: MetricNames,
    /// Metrics by StatsD, if they are told so.
    pub statsd: Option<StatsdSettings>,
    /// Metrics and traces by OTLP, likewise.
    pub otlp: Option<OtlpSettings>,
    /// Whom the page of the queues lets in, if it asks.
    pub queue_board: Option<QueueBoardSettings>,
    /// How large the history may become, if one is kept.
    pub history_bytes: Option<u64>,
    /// The recording of the engine's inputs, if there is to be one.
    pub record: Option<RecordSettings>,
    /// Services with an instance here.
    pub services: Vec<Service>,
    /// What the files and the environment said.
    pub document: toml::Table,
    /// The file all this came from.
    pub config_file: Option<PathBuf>,
}

/// Limits of the probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeSettings {
    /// Probes at once.
    pub max_concurrent: u32,
    /// Probes of one host at once.
    pub max_per_host: u32,
    /// How long a looked-up name holds.
    pub dns_cache_ttl: Duration,
    /// How long an idle connection is kept, where connections are kept.
    pub keepalive: Duration,
}

/// A recording of the engine's inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSettings {
    /// Where; when it is relative, within the data directory.
    pub path: PathBuf,
    /// How large it may become, both files together.
    pub max_bytes: u64,
}

impl RecordSettings {
    /// Hours to days of a small mesh.
    pub const DEFAULT_BYTES: u64 = 64 * 1024 * 1024;
    /// Room for the state of a small mesh and what happens within minutes.
    pub const LEAST_BYTES: u64 = 1024 * 1024;
    /// A replay reads a file whole.
    pub const MOST_BYTES: u64 = 4 * 1024 * 1024 * 1024;
}

/// How logs are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or directives of `tracing`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
    /// Are there lines about requests?
    pub access: bool,
    /// Where lines go; standard error when absent.
    pub file: Option<PathBuf>,
    /// Where errors go besides.
    pub error_file: Option<PathBuf>,
    /// How large a file may become.
    pub max_bytes: u64,
    /// How many full files are kept.
    pub max_files: u32,
    /// What the agent is part of, told in each line.
    pub environment: Option<String>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: `time`, `level`, `msg`, `request_id`.
    Json,
    /// For machines, under the names of Pino: `timestamp`, `level` as a number, `message`, `correlationId`.
    Pino,
}

/// The limits of the monitoring guide the project began from.
impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            max_concurrent: 100,
            max_per_host: 20,
            dns_cache_ttl: Duration::from_secs(300),
            keepalive: Duration::from_secs(30),
        }
    }
}

impl ProbeSettings {
    /// As the prober takes them.
    pub fn limits(self) -> quorate_probe::Limits {
        let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        quorate_probe::Limits {
            max_concurrent: count(self.max_concurrent),
            max_per_host: count(self.max_per_host),
            dns_cache_ttl: self.dns_cache_ttl,
            keepalive: self.keepalive,
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
            access: false,
            file: None,
            error_file: None,
            // Ten megabytes, and twenty of them: as the project's forerunners had it.
            max_bytes: 10 * 1024 * 1024,
            max_files: 20,
            environment: None,
        }
    }
}

/// All interfaces: others must be able to reach it.
pub const DEFAULT_LISTEN: &str = "0.0.0.0:7700";
/// Loopback alone: whoever reaches it may read.
pub const DEFAULT_API: &str = "127.0.0.1:7701";

/// Every default of the sections that stand once, by its key.
pub fn defaults() -> toml::Table {
    let (probe, log, access) = (ProbeSettings::default(), LogSettings::default(), ApiSettings::default());
    let span = |span: Duration| humantime::format_duration(span).to_string();
    let defaults = serde_json::json!({
        "agent": {
            "name": host_name(), "zone": Zone::default().as_str(), "listen": DEFAULT_LISTEN,
            "data_dir": default_data_dir().display().to_string(),
        },
        "api": { "listen": DEFAULT_API, "rate_limit": access.rate_limit },
        "probe": {
            "max_concurrent": probe.max_concurrent, "max_per_host": probe.max_per_host,
            "dns_cache_ttl": span(probe.dns_cache_ttl), "keepalive": span(probe.keepalive), "allow_targets": [],
        },
        "log": {
            "level": log.level, "format": "text", "access": log.access, "max_bytes": log.max_bytes,
            "max_files": log.max_files,
        },
    });
    toml::Table::try_from(defaults).unwrap_or_default()
}

/// What the file says, checked; absent where it says nothing.
#[derive(Debug, Default)]
pub struct FileSettings {
    /// `agent.name`
    pub name: Option<String>,
    /// `agent.zone`
    pub zone: Option<Zone>,
    /// `agent.environment`
    pub environment: Option<String>,
    /// `agent.listen`
    pub listen: Option<SocketAddr>,
    /// `agent.advertise`
    pub advertise: Option<String>,
    /// `agent.data_dir`
    pub data_dir: Option<PathBuf>,
    /// `agent.join`
    pub join: Option<String>,
    /// `agent.token_file`
    pub token_file: Option<PathBuf>,
    /// `api.listen`
    pub api: Option<SocketAddr>,
    /// `api.agent_check`
    pub agent_check: Option<Restricted>,
    /// The rest of `[api]`
    pub api_access: ApiSettings,
    /// `[probe]`
    pub probe: ProbeSettings,
    /// What of this host the probes may use.
    pub own: Own,
    /// `[log]`
    pub log: LogSettings,
    /// `[dns]`
    pub dns: Option<Restricted>,
    /// `[metrics]`
    pub metrics: MetricNames,
    /// `[statsd]`
    pub statsd: Option<StatsdSettings>,
    /// `[otlp]`
    pub otlp: Option<OtlpSettings>,
    /// `[queue_board]`
    pub queue_board: Option<QueueBoardSettings>,
    /// `[history]`
    pub history_bytes: Option<u64>,
    /// `[record]`
    pub record: Option<RecordSettings>,
    /// `[[service]]`
    pub services: Vec<Service>,
    /// All of it, as it was said.
    pub document: toml::Table,
    /// Where it was read.
    pub path: Option<PathBuf>,
}

impl Settings {
    /// Flags and environment over the file over the defaults.
    ///
    /// # Errors
    /// When what results is not allowed: an API for strangers, an unusable name.
    pub fn resolve(file: FileSettings, flags: &Flags) -> anyhow::Result<Self> {
        let default = |text: &str| text.parse::<SocketAddr>().with_context(|| text.to_owned());
        let api = match flags.api.or(file.api) {
            Some(address) => address,
            None => default(DEFAULT_API)?,
        };
        if !api.ip().is_loopback() {
            return Err(usage(in_the_clear(api)));
        }
        let listen = match flags.listen.or(file.listen) {
            Some(address) => address,
            None => default(DEFAULT_LISTEN)?,
        };
        let name = flags.name.clone().or(file.name);
        if let Some(name) = &name {
            check_name(name).map_err(|rule| usage(format!("the name {name:?} {rule}")))?;
        }
        let environment = flags.environment.clone().or(file.environment);
        if let Some(environment) = &environment {
            check_environment(environment).map_err(|rule| usage(format!("the environment {environment:?} {rule}")))?;
        }
        if let Some(join) = &flags.join {
            check_join(join).map_err(|rule| usage(format!("--join {rule}")))?;
        }
        if let Some(advertise) = &flags.advertise {
            check_advertised(advertise).map_err(|rule| usage(format!("--advertise {rule}")))?;
        }
        if flags.token.is_some() && flags.token_file.is_some() {
            return Err(usage(
                "--token and --token-file (or QUORATE_TOKEN and QUORATE_TOKEN_FILE) say the same; keep one of them",
            ));
        }
        // What the command line says of the token goes before the file, whichever way it says it.
        let token_file = flags.token_file.clone().or(file.token_file.filter(|_| flags.token.is_none()));
        Ok(Self {
            name,
            zone: flags.zone.clone().or(file.zone).unwrap_or_default(),
            environment,
            listen,
            advertise: flags.advertise.clone().or(file.advertise),
            api,
            api_access: file.api_access,
            agent_check: file.agent_check,
            data_dir: flags.data_dir.clone().or(file.data_dir).unwrap_or_else(default_data_dir),
            join: flags.join.clone().or(file.join),
            token_file,
            probe: file.probe,
            own: file.own,
            dns: file.dns,
            metrics: file.metrics,
            statsd: file.statsd,
            otlp: file.otlp,
            queue_board: file.queue_board,
            history_bytes: file.history_bytes,
            record: file.record,
            services: file.services,
            document: file.document,
            config_file: file.path,
        })
    }
}

impl LogSettings {
    /// Flags and environment over the file over the defaults.
    pub fn resolve(file: &FileSettings, flags: &Flags) -> Self {
        let environment = flags.environment.clone().or(file.environment.clone());
        let file = file.log.clone();
        let (level, format) = (flags.log.clone().unwrap_or(file.level), flags.log_format.unwrap_or(file.format));
        Self { level, format, environment, ..file }
    }
}

/// Is this a name that fits into a certificate?
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let fits = !name.trim().is_empty() && name.len() <= 64 && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err("is not allowed; use 1 to 64 bytes without control characters") }
}

/// Is this the word for an environment? It becomes a label of metrics and a tag of `StatsD`, where other characters would have a meaning.
pub fn check_environment(word: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let fits = (1..=64).contains(&word.len()) && word.chars().all(allowed);
    if fits { Ok(()) } else { Err("is not allowed; use 1 to 64 letters, digits, `_` and `-`") }
}

/// Is this the address of a member?
pub fn check_join(text: &str) -> Result<(), String> {
    let rule = || format!("{text:?} is not HOST:PORT of a member, such as \"host-a:7700\"");
    host_and_port(text).map(|_| ()).ok_or_else(rule)
}

/// May others be told to dial this? `HOST` or `HOST:PORT`, and not the address that stands for any.
pub fn check_advertised(text: &str) -> Result<(), String> {
    let host = match text.parse::<IpAddr>() {
        Ok(_) => text,
        Err(_) if !text.contains(':') => text,
        Err(_) => {
            host_and_port(text).map(|(host, _)| host).ok_or_else(|| format!("{text:?} is not HOST or HOST:PORT"))?
        }
    };
    if host.is_empty() || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        return Err(format!("{text:?} cannot be dialled; write the address at which others reach this host"));
    }
    Ok(())
}

/// The host's name, cut to what a certificate takes.
pub fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    // A character has at most four bytes, a name in a certificate at most 64.
    let limit = if name.is_ascii() { 64 } else { 16 };
    let name: String = name.chars().filter(|c| !c.is_control()).take(limit).collect();
    if name.trim().is_empty() { "agent".to_owned() } else { name }
}

/// The system's directory for root, the user's own for anybody else.
pub fn default_data_dir() -> PathBuf {
    if nix::unistd::Uid::effective().is_root() {
        return PathBuf::from("/var/lib/quorate");
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.unwrap_or_else(std::env::temp_dir).join("quorate")
}

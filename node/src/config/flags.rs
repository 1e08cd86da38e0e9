//! What the command line and the environment may say over the file.

use super::settings::LogFormat;
use quorate_core::Zone;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Flags of `quorate agent`; each has an environment variable.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// Configuration file (TOML, or YAML by its name), or a directory of them; none is needed
    #[arg(long, value_name = "PATH", env = "QUORATE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where identity and state are kept [default: /var/lib/quorate for root, else ~/.local/state/quorate]
    #[arg(long, value_name = "DIR", env = "QUORATE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Join the mesh through this member, any of them
    #[arg(long, value_name = "HOST:PORT", env = "QUORATE_JOIN")]
    pub join: Option<String>,
    /// The token that admits this host, from `quorate token create`
    #[arg(long, value_name = "TOKEN", env = "QUORATE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The file that holds this token
    #[arg(long, value_name = "FILE", env = "QUORATE_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// This agent's name for people [default: the host's]
    #[arg(long, env = "QUORATE_NAME")]
    pub name: Option<String>,
    /// Its failure domain: a rack, a room, a region [default: default]
    #[arg(long, env = "QUORATE_ZONE")]
    pub zone: Option<Zone>,
    /// What it is part of, such as production; told with every metric and log line
    #[arg(long, env = "QUORATE_ENVIRONMENT")]
    pub environment: Option<String>,
    /// UDP address for the mesh [default: 0.0.0.0:7700]
    #[arg(long, value_name = "IP:PORT", env = "QUORATE_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Where others reach it [default: the address of the interface that leads to the others]
    #[arg(long, value_name = "HOST[:PORT]", env = "QUORATE_ADVERTISE")]
    pub advertise: Option<String>,
    /// TCP address of the HTTP API [default: 127.0.0.1:7701]
    #[arg(long, value_name = "IP:PORT", env = "QUORATE_API")]
    pub api: Option<SocketAddr>,
    /// Log level, or directives such as `info,quorate=debug` [default: info]
    #[arg(long, value_name = "LEVEL", env = "QUORATE_LOG")]
    pub log: Option<String>,
    /// How log lines look [default: text]
    #[arg(long, env = "QUORATE_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}

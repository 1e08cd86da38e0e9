//! `quorate init`, and the tokens that admit other hosts to a mesh.

use crate::agent::advertised_address;
use crate::agent::clock::wall;
use crate::agent::store::Store;
use crate::cli::question::print;
use crate::cli::span;
use crate::config::{check_advertised, default_data_dir, host_name};
use crate::usage::usage;
use anyhow::Context;
use quorate_core::AgentId;
use quorate_transport::{Identity, JoinToken, TokenStore, init_mesh};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The mesh's port where none was given.
const DEFAULT_PORT: u16 = 7700;

/// How long a token admits hosts.
const JOIN_TTL: Duration = Duration::from_secs(3600);

/// Settings of a token.
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    /// How long the token is good [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub ttl: Option<Duration>,
    /// How many hosts it admits
    #[arg(long, value_name = "N", default_value_t = 1)]
    uses: u32,
    /// Where others reach this agent, for the printed line [default: as when it last ran, else the address of
    /// the interface that leads to the others]
    #[arg(long, value_name = "HOST[:PORT]", env = "QUORATE_ADVERTISE")]
    advertise: Option<String>,
    /// UDP address on which this agent is to listen, for the printed line [default: 0.0.0.0:7700]
    #[arg(long, value_name = "IP:PORT", env = "QUORATE_LISTEN")]
    listen: Option<SocketAddr>,
    /// Where identity and state are kept [default: /var/lib/quorate for root, else ~/.local/state/quorate]
    #[arg(long, value_name = "DIR", env = "QUORATE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
}

/// Begin a mesh.
#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// The first agent's name for people [default: the host's]
    #[arg(long, env = "QUORATE_NAME")]
    name: Option<String>,
    #[command(flatten)]
    token: TokenArgs,
}

/// Makes a mesh's root, its issuing key and the first agent's certificate, and prints the line that joins another host.
///
/// # Errors
/// When the directory holds an identity already, or cannot be written.
pub fn init(args: InitArgs) -> anyhow::Result<ExitCode> {
    let dir = args.token.data_dir.clone().unwrap_or_else(default_data_dir);
    let name = args.name.unwrap_or_else(host_name);
    // Whatever is wrong is said before there is a mesh.
    check(&args.token)?;
    let address = join_address(&args.token)?;
    Store::new(&dir).check_format()?;
    let identity = init_mesh(&dir, &name)?;
    let token = create(&dir, &identity, &args.token)?;
    eprintln!("mesh {} begun; this host is agent {} ({name})", identity.mesh_id(), AgentId(identity.agent_id()));
    let own = own_flags(&args.token);
    eprintln!("start it:           quorate agent{}{own}", data_dir_flag(&args.token));
    eprintln!(
        "join another host:  (the token admits {}, within {})",
        hosts(args.token.uses),
        span::words(u64::try_from(ttl(&args.token).as_millis()).unwrap_or(u64::MAX))
    );
    print(&format!("{}\n", join_line(&args.token, &address, &token)))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a fresh token on standard output, and the line that uses it on standard error.
///
/// # Errors
/// When this agent cannot admit members, or the tokens cannot be written.
pub fn create_join_token(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let dir = args.data_dir.clone().unwrap_or_else(default_data_dir);
    check(args)?;
    Store::new(&dir).check_format()?;
    let identity = Identity::load(&dir)?;
    let address = join_address(args)?;
    let token = create(&dir, &identity, args)?;
    eprintln!("join a host:  {}", join_line(args, &address, &token));
    print(&format!("{token}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn create(dir: &Path, identity: &Identity, args: &TokenArgs) -> anyhow::Result<JoinToken> {
    identity.issuer().context(
        "this agent cannot admit members: make the token on the agent where `quorate init` was run; the host may then join through any \
         member",
    )?;
    Ok(TokenStore::open(dir)?.create(identity.mesh_id(), ttl(args), args.uses, wall().0)?)
}

fn ttl(args: &TokenArgs) -> Duration {
    args.ttl.unwrap_or(JOIN_TTL)
}

fn check(args: &TokenArgs) -> anyhow::Result<()> {
    TokenStore::check(ttl(args), args.uses).map_err(|error| usage(error.to_string()))
}

/// Where another host reaches this agent.
fn join_address(args: &TokenArgs) -> anyhow::Result<String> {
    if let Some(asked) = &args.advertise {
        check_advertised(asked).map_err(|rule| usage(format!("--advertise {rule}")))?;
    }
    let dir = args.data_dir.clone().unwrap_or_else(default_data_dir);
    let listen = args.listen.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)));
    let last = Store::new(&dir).address().filter(|_| args.listen.is_none());
    Ok(match (args.advertise.as_deref(), last) {
        // As given: a name may mean more to the other host than its address means here.
        (Some(asked), _) if asked.parse::<Ipv6Addr>().is_err() && asked.contains(':') => asked.to_owned(),
        (Some(asked), _) if asked.parse::<Ipv6Addr>().is_err() => format!("{asked}:{}", listen.port()),
        (None, Some(last)) => last.to_string(),
        (asked, _) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(advertised_address(asked, listen, &[]))?.to_string()
        }
    })
}

/// The command that joins another host through this agent.
/// Where this agent is to listen and how it is reached, as it was said.
fn own_flags(args: &TokenArgs) -> String {
    let listen = args.listen.map(|listen| format!(" --listen {listen}"));
    let advertise = args.advertise.as_ref().map(|advertise| format!(" --advertise {advertise}"));
    [listen, advertise].into_iter().flatten().collect()
}

fn join_line(args: &TokenArgs, address: &str, token: &JoinToken) -> String {
    format!("quorate agent{} --join {address} --token {token}", data_dir_flag(args))
}

fn data_dir_flag(args: &TokenArgs) -> String {
    let quoted = |dir: &PathBuf| format!(" --data-dir '{}'", dir.display().to_string().replace('\'', "'\\''"));
    let plain = |dir: &PathBuf| {
        dir.to_str().is_some_and(|text| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b)))
    };
    match &args.data_dir {
        Some(dir) if plain(dir) => format!(" --data-dir {}", dir.display()),
        Some(dir) => quoted(dir),
        None => String::new(),
    }
}

fn hosts(uses: u32) -> String {
    if uses == 1 { "one host".to_owned() } else { format!("{uses} hosts") }
}

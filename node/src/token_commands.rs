//! `quorate token`: makes, lists and revokes tokens, on the files of a data directory; the agent may be running.

use crate::access::Scope;
use crate::access::addresses::Network;
use crate::access::token::ApiToken;
use crate::access::tokens::{Entries, Entry, TokenFile, Wanted};
use crate::agent::audit::{Audit, By, Change};
use crate::agent::clock::wall;
use crate::cli::question::print;
use crate::cli::span;
use crate::config::default_data_dir;
use crate::mesh_commands::{TokenArgs, create_join_token};
use crate::usage::usage;
use anyhow::{Context, bail};
use comfy_table::{Table, presets};
use jiff::Timestamp;
use quorate_transport::{Identity, IdentityError, TokenInfo, TokenStore};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long a token of the API is good that is made without a time: a quarter.
const API_TTL: Duration = Duration::from_secs(90 * 24 * 3600);

/// Work with tokens.
#[derive(Debug, clap::Args)]
pub struct TokenCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a token that admits a host, on the agent where the mesh was begun; or with --scope one for the API of this agent. The agent may be
    /// running.
    #[command(mut_arg("ttl", |arg| arg.help("How long the token is good [default: 1h; with --scope 90d]")))]
    Create {
        #[command(flatten)]
        join: Box<TokenArgs>,
        /// Make a token for this agent's API instead, good for this; what is said of joining then does not matter
        #[arg(long, value_enum, conflicts_with = "uses")]
        scope: Option<Scope>,
        /// What a token of the API is for, for people [default: the scope]
        #[arg(long = "for", value_name = "TEXT", requires = "scope")]
        purpose: Option<String>,
        /// Networks or addresses from which a token of the API may be used, with commas between [default: any]
        #[arg(long, value_name = "NETWORK", value_delimiter = ',', requires = "scope")]
        from: Vec<Network>,
        /// Honour the token in this file, which was made for another agent, instead of making a new one: so whoever asks many agents, such as
        /// Prometheus, needs one
        #[arg(long, value_name = "FILE", requires = "scope")]
        same_as: Option<PathBuf>,
    },
    /// List the tokens, without their secrets.
    List {
        /// Where identity and state are kept [default: /var/lib/quorate for root, else ~/.local/state/quorate]
        #[arg(long, value_name = "DIR", env = "QUORATE_DATA_DIR")]
        data_dir: Option<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token; it is refused from the next request on.
    Revoke {
        /// Its id, as listed
        #[arg(allow_hyphen_values = true)]
        id: String,
        /// Where identity and state are kept [default: /var/lib/quorate for root, else ~/.local/state/quorate]
        #[arg(long, value_name = "DIR", env = "QUORATE_DATA_DIR")]
        data_dir: Option<PathBuf>,
    },
}

/// Does it.
///
/// # Errors
/// When the tokens cannot be read or written, or there is none with that id.
pub fn run(command: TokenCommand) -> anyhow::Result<ExitCode> {
    match command.action {
        Action::Create { join, scope: None, .. } => create_join_token(&join),
        Action::Create { join, scope: Some(scope), purpose, from, same_as } => {
            let name = purpose.unwrap_or_else(|| scope.as_str().to_owned());
            let ttl = join.ttl.unwrap_or(API_TTL);
            create(join.data_dir, Wanted { name, scope, ttl, addresses: from }, same_as.as_deref())
        }
        Action::List { data_dir, json } => list(data_dir, json),
        Action::Revoke { id, data_dir } => revoke(&id, data_dir),
    }
}

fn create(dir: Option<PathBuf>, wanted: Wanted, same_as: Option<&Path>) -> anyhow::Result<ExitCode> {
    wanted.check().map_err(usage)?;
    let dir = dir.unwrap_or_else(default_data_dir);
    inhabited(&dir)?;
    let file = TokenFile::new(&dir);
    let token = match same_as {
        Some(path) => file.add(read_token(path)?, &wanted, wall().0)?,
        None => file.create(&wanted, wall().0)?,
    };
    note(&dir, "token_create", &token.id)?;
    let ttl = span::words(u64::try_from(wanted.ttl.as_millis()).unwrap_or(u64::MAX));
    eprintln!("token {} for the API of the agent in {}: {}, for {ttl}", token.id, dir.display(), wanted.scope.as_str());
    eprintln!("send it as `Authorization: Bearer TOKEN`, or put it into QUORATE_API_TOKEN");
    print(&format!("{token}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses a directory that is no agent's, before anything is written there: nobody would honour its tokens.
fn inhabited(dir: &Path) -> anyhow::Result<()> {
    match Identity::load(dir) {
        Err(IdentityError::Missing { .. }) => bail!(
            "no agent has run in {}; name the data directory of the agent by --data-dir or QUORATE_DATA_DIR, or begin a mesh with `quorate init`",
            dir.display()
        ),
        found => found.map(drop).map_err(Into::into),
    }
}

/// The token of the API in a file.
fn read_token(path: &Path) -> anyhow::Result<ApiToken> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let token = ApiToken::parse(text.trim());
    token.ok_or_else(|| {
        usage(format!(
            "{} holds no token of the API, such as `quorate token create --scope read` prints",
            path.display()
        ))
    })
}

/// Notes in the audit log what this user did.
fn note(dir: &Path, action: &str, id: &str) -> anyhow::Result<()> {
    let audit =
        Audit::open(dir, None).with_context(|| format!("the audit log in {} cannot be written", dir.display()))?;
    let by = By::User(nix::unistd::Uid::current().as_raw());
    audit.note(&Change { action, target: id, by, done: true, status: None, request_id: None });
    Ok(())
}

/// What is said of a token, whatever it is for.
struct Row {
    id: String,
    kind: &'static str,
    name: String,
    state: &'static str,
    good_for: String,
    expires_unix_ms: u64,
    from: Vec<String>,
}

impl Row {
    fn of_api(id: String, entry: &Entry, now: u64) -> Self {
        let state = match () {
            () if entry.revoked_unix_ms.is_some() => "revoked",
            () if entry.expires_unix_ms <= now => "expired",
            () => "good",
        };
        Self {
            id,
            kind: "api",
            name: entry.name.clone(),
            state,
            good_for: entry.scope.as_str().to_owned(),
            expires_unix_ms: entry.expires_unix_ms,
            from: entry.addresses.iter().map(ToString::to_string).collect(),
        }
    }

    fn of_join(info: TokenInfo, now: u64) -> Self {
        let state = match () {
            () if info.expires_unix_ms <= now => "expired",
            () if info.uses_left == 0 => "used",
            () => "good",
        };
        Self {
            id: info.id,
            kind: "join",
            name: String::new(),
            state,
            good_for: format!("{} join{}", info.uses_left, if info.uses_left == 1 { "" } else { "s" }),
            expires_unix_ms: info.expires_unix_ms,
            from: Vec::new(),
        }
    }
}

fn time(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(String::new, |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn list(dir: Option<PathBuf>, as_json: bool) -> anyhow::Result<ExitCode> {
    let dir = dir.unwrap_or_else(default_data_dir);
    let now = wall().0;
    let api: Entries = TokenFile::new(&dir).entries()?;
    let joins = if dir.is_dir() { TokenStore::open(&dir)?.list()? } else { Vec::new() };
    let rows = api.iter().map(|(id, entry)| Row::of_api(id.clone(), entry, now));
    let rows: Vec<Row> = rows.chain(joins.into_iter().map(|info| Row::of_join(info, now))).collect();
    let text = if as_json { in_json(&rows) } else { in_a_table(&rows) };
    print(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn in_json(rows: &[Row]) -> String {
    let rows = rows.iter().map(|row| {
        json!({ "id": row.id, "kind": row.kind, "name": row.name, "state": row.state, "good_for": row.good_for,
                "expires_at": time(row.expires_unix_ms), "from": row.from })
    });
    json!({ "tokens": rows.collect::<Vec<_>>() }).to_string()
}

fn in_a_table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no tokens".to_owned();
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["ID", "KIND", "NAME", "STATE", "GOOD FOR", "EXPIRES", "FROM"]);
    for row in rows {
        let from = if row.from.is_empty() { "anywhere".to_owned() } else { row.from.join(",") };
        let expires = time(row.expires_unix_ms);
        table.add_row([&row.id, row.kind, &row.name, row.state, &row.good_for, &expires, &from]);
    }
    table.trim_fmt()
}

fn revoke(id: &str, dir: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let dir = dir.unwrap_or_else(default_data_dir);
    inhabited(&dir)?;
    let named = TokenFile::new(&dir).revoke(id, wall().0)?;
    if named.is_none() && !TokenStore::open(&dir)?.revoke(id)? {
        bail!("there is no token {id:?} in {}; `quorate token list` shows them", dir.display());
    }
    note(&dir, "token_revoke", id)?;
    eprintln!("token {id} is revoked");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_an_agent_gets_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("wrong");
        let (name, scope, ttl) = ("grafana".to_owned(), Scope::Read, API_TTL);
        let wanted = Wanted { name, scope, ttl, addresses: Vec::new() };
        let refused = create(Some(dir.clone()), wanted, None).unwrap_err().to_string();
        assert!(refused.contains("no agent has run in"), "{refused}");
        let refused = revoke("x", Some(dir.clone())).unwrap_err().to_string();
        assert!(refused.contains("no agent has run in"), "{refused}");
        assert!(!dir.exists(), "nothing is made there");
    }
}

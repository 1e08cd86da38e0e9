//! The API's tokens, in `api_tokens.json` of the data directory, without their secrets. The command line writes the file under a lock; the
//! agent reads it again whenever it is another one, so that a revocation holds with the next request.

use super::addresses::Network;
use super::scope::Scope;
use super::token::ApiToken;
use crate::agent::store::replace;
use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const FILE: &str = "api_tokens.json";
const LOCK: &str = "api_tokens.lock";
/// Tokens that are good for something, at most.
const MAX_TOKENS: usize = 1024;
/// Networks of one token at most.
pub const MAX_NETWORKS: usize = 64;
/// Longest life of a token.
pub const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 3600);
/// Expired and revoked tokens are remembered this long, so that their bearer hears which it is.
const KEEP_MS: u64 = 30 * 24 * 3600 * 1000;

/// What is stored of one token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// What it is for, in the operator's words.
    pub name: String,
    /// What it is good for.
    pub scope: Scope,
    /// [`ApiToken::digest`]
    digest: String,
    /// When it was made, Unix milliseconds.
    pub created_unix_ms: u64,
    /// When it ends, Unix milliseconds.
    pub expires_unix_ms: u64,
    /// When it was revoked, Unix milliseconds.
    pub revoked_unix_ms: Option<u64>,
    /// From where it may be used; from anywhere when empty.
    pub addresses: Vec<Network>,
}

/// All of them, by id.
pub type Entries = BTreeMap<String, Entry>;

/// Why a token is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// There is none like it.
    Invalid,
    /// It was revoked.
    Revoked,
    /// Its time is over.
    Expired,
    /// It may not be used from there.
    IpBlocked,
}

impl TokenFault {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Invalid, Self::Revoked, Self::Expired, Self::IpBlocked];

    /// Its word in metrics and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::IpBlocked => "ip_blocked",
        }
    }
}

/// Is the token good at `now`, from `address`? Only who knows the secret learns more than that it is invalid.
///
/// # Errors
/// Why it is not.
pub fn examine<'a>(
    entries: &'a Entries,
    token: &ApiToken,
    address: Option<IpAddr>,
    now_unix_ms: u64,
) -> Result<&'a Entry, TokenFault> {
    let entry = entries.get(&token.id).ok_or(TokenFault::Invalid)?;
    let digest = BASE64.decode(entry.digest.as_bytes()).unwrap_or_default();
    if !token.has(&digest) {
        return Err(TokenFault::Invalid);
    }
    if entry.revoked_unix_ms.is_some() {
        return Err(TokenFault::Revoked);
    }
    if entry.expires_unix_ms <= now_unix_ms {
        return Err(TokenFault::Expired);
    }
    let admits = |address: IpAddr| entry.addresses.iter().any(|network| network.contains(address));
    if !entry.addresses.is_empty() && !address.is_some_and(admits) {
        return Err(TokenFault::IpBlocked);
    }
    Ok(entry)
}

/// What a token is to be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it is for.
    pub name: String,
    /// What it is good for.
    pub scope: Scope,
    /// How long.
    pub ttl: Duration,
    /// From where; from anywhere when empty.
    pub addresses: Vec<Network>,
}

impl Wanted {
    /// May there be such a token?
    ///
    /// # Errors
    /// What is out of range.
    pub fn check(&self) -> Result<(), String> {
        let name = self.name.trim();
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            return Err("its name has 1 to 64 bytes and no control characters".to_owned());
        }
        if self.ttl < Duration::from_secs(1) || self.ttl > MAX_TTL {
            return Err("a token of the API lives at least a second and at most 366 days".to_owned());
        }
        if self.addresses.len() > MAX_NETWORKS {
            return Err(format!("a token has at most {MAX_NETWORKS} networks"));
        }
        Ok(())
    }
}

/// The file in one data directory, as the command line works on it.
#[derive(Debug, Clone)]
pub struct TokenFile {
    dir: PathBuf,
}

impl TokenFile {
    /// The file in `dir`, which need not exist yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// Makes a token.
    ///
    /// # Errors
    /// When there are too many, or the file cannot be written; then no token was made.
    pub fn create(&self, wanted: &Wanted, now_unix_ms: u64) -> anyhow::Result<ApiToken> {
        self.add(ApiToken::generate(), wanted, now_unix_ms)
    }

    /// Honours a token that was made for another agent, as if it had been made here. One that is known is good for what is wanted now.
    ///
    /// # Errors
    /// As [`TokenFile::create`], and when it was revoked here.
    pub fn add(&self, token: ApiToken, wanted: &Wanted, now_unix_ms: u64) -> anyhow::Result<ApiToken> {
        let ttl_ms = u64::try_from(wanted.ttl.as_millis()).unwrap_or(u64::MAX);
        let entry = Entry {
            name: wanted.name.trim().to_owned(),
            scope: wanted.scope,
            digest: BASE64.encode(&token.digest()),
            created_unix_ms: now_unix_ms,
            expires_unix_ms: now_unix_ms.saturating_add(ttl_ms),
            revoked_unix_ms: None,
            addresses: wanted.addresses.clone(),
        };
        self.change(|entries| {
            if entries.get(&token.id).is_some_and(|entry| entry.revoked_unix_ms.is_some()) {
                bail!("the token {} was revoked here, and stays so; create a new one", token.id);
            }
            let ended = |entry: &Entry| entry.revoked_unix_ms.unwrap_or(u64::MAX).min(entry.expires_unix_ms);
            entries.retain(|_, entry| ended(entry).saturating_add(KEEP_MS) > now_unix_ms);
            if entries.len() >= MAX_TOKENS {
                entries.retain(|_, entry| ended(entry) > now_unix_ms);
            }
            if entries.len() >= MAX_TOKENS {
                bail!("there are already {MAX_TOKENS} tokens; revoke some with `quorate token revoke ID`");
            }
            entries.insert(token.id.clone(), entry);
            Ok(())
        })?;
        Ok(token)
    }

    /// Revokes a token. `None`: there is no such token; else its name.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn revoke(&self, id: &str, now_unix_ms: u64) -> anyhow::Result<Option<String>> {
        self.change(|entries| {
            Ok(entries.get_mut(id).map(|entry| {
                entry.revoked_unix_ms.get_or_insert(now_unix_ms);
                entry.name.clone()
            }))
        })
    }

    /// All that are remembered.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn entries(&self) -> anyhow::Result<Entries> {
        let path = self.path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Entries::new()),
            Err(error) => return Err(error).context(path.display().to_string()),
        };
        serde_json::from_slice(&bytes).with_context(|| {
            format!(
                "{} is damaged: restore it, or remove this one file; all tokens made so far are then void",
                path.display()
            )
        })
    }

    fn change<T>(&self, work: impl FnOnce(&mut Entries) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let failed = || self.path().display().to_string();
        if !self.dir.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).with_context(failed)?;
        }
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(self.dir.join(LOCK));
        let lock = lock.with_context(failed)?;
        lock.lock().with_context(failed)?;
        let mut entries = self.entries()?;
        let result = work(&mut entries)?;
        replace(&self.path(), &serde_json::to_vec_pretty(&entries)?).with_context(failed)?;
        Ok(result)
    }
}

/// Tells one state of a file from another.
type Mark = Option<(u64, u64, i64, i64)>;

/// The tokens as a running agent knows them.
#[derive(Debug)]
pub struct Tokens {
    file: TokenFile,
    known: ArcSwap<(Mark, Entries)>,
}

impl Tokens {
    /// The tokens in a data directory.
    pub fn new(dir: &Path) -> Self {
        Self { file: TokenFile::new(dir), known: ArcSwap::from_pointee((None, Entries::new())) }
    }

    /// As they are now. What cannot be read admits nobody.
    pub fn current(&self) -> Arc<(Mark, Entries)> {
        let known = self.known.load_full();
        let mark = self.mark();
        if mark == known.0 {
            return known;
        }
        let entries = self.file.entries().unwrap_or_else(|error| {
            tracing::error!(error = format!("{error:#}"), "the API's tokens cannot be read; none is honoured");
            Entries::new()
        });
        let fresh = Arc::new((mark, entries));
        self.known.store(Arc::clone(&fresh));
        fresh
    }

    fn mark(&self) -> Mark {
        let metadata = fs::metadata(self.file.path()).ok()?;
        Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(addresses: &[&str]) -> Wanted {
        Wanted {
            name: "grafana".to_owned(),
            scope: Scope::Read,
            ttl: Duration::from_secs(60),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn each_fault_has_its_word_and_only_the_bearer_hears_it() {
        let dir = tempfile::tempdir().unwrap();
        let (file, tokens) = (TokenFile::new(dir.path()), Tokens::new(dir.path()));
        let token = file.create(&wanted(&["10.0.0.0/8"]), 1000).unwrap();
        let ask = |token: &ApiToken, from: &str, now| {
            let current = tokens.current();
            let address = Some(from.parse().unwrap());
            examine(&current.1, token, address, now).map(|entry| entry.scope)
        };
        assert_eq!(ask(&token, "10.0.0.1", 2000), Ok(Scope::Read));
        assert_eq!(ask(&token, "11.0.0.1", 2000), Err(TokenFault::IpBlocked));
        assert_eq!(ask(&token, "10.0.0.1", 61_000), Err(TokenFault::Expired));
        assert_eq!(examine(&tokens.current().1, &token, None, 2000).unwrap_err(), TokenFault::IpBlocked);
        assert_eq!(ask(&ApiToken::generate(), "10.0.0.1", 2000), Err(TokenFault::Invalid));
        let mut stolen = ApiToken::generate();
        stolen.id = token.id.clone();
        assert_eq!(ask(&stolen, "10.0.0.1", 61_000), Err(TokenFault::Invalid));
        assert_eq!(file.revoke(&token.id, 3000).unwrap().as_deref(), Some("grafana"));
        assert_eq!(ask(&token, "11.0.0.1", 61_000), Err(TokenFault::Revoked));
        let again = file.add(token.clone(), &wanted(&[]), 4000).unwrap_err().to_string();
        assert!(again.contains("was revoked here"), "{again}");
        assert_eq!(ask(&token, "10.0.0.1", 5000), Err(TokenFault::Revoked));
        assert_eq!(file.revoke("nobody", 3000).unwrap(), None);
        assert!(!fs::read_to_string(dir.path().join(FILE)).unwrap().contains(&token.to_string()[14..]), "the secret");
    }

    #[test]
    fn a_damaged_file_admits_nobody_and_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (file, tokens) = (TokenFile::new(dir.path()), Tokens::new(dir.path()));
        let token = file.create(&wanted(&[]), 1000).unwrap();
        assert!(examine(&tokens.current().1, &token, None, 2000).is_ok());
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(tokens.current().1.is_empty());
        assert!(file.create(&wanted(&[]), 1000).unwrap_err().to_string().contains("is damaged"));
        assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), "{");
    }

    #[test]
    fn dead_tokens_make_room_and_live_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = TokenFile::new(dir.path());
        let first = file.create(&wanted(&[]), 1000).unwrap();
        let full: Entries = (0..MAX_TOKENS - 1)
            .map(|n| (n.to_string(), file.entries().unwrap()[&first.id].clone()))
            .chain([(first.id.clone(), file.entries().unwrap()[&first.id].clone())])
            .collect();
        fs::write(dir.path().join(FILE), serde_json::to_vec(&full).unwrap()).unwrap();
        assert!(file.create(&wanted(&[]), 2000).unwrap_err().to_string().contains("already 1024"));
        file.create(&wanted(&[]), 61_000).unwrap();
        assert_eq!(file.entries().unwrap().len(), 1);
    }

    #[test]
    fn what_is_out_of_range_is_said() {
        assert!(wanted(&[]).check().is_ok());
        assert!(Wanted { name: " ".to_owned(), ..wanted(&[]) }.check().is_err());
        assert!(Wanted { ttl: MAX_TTL + Duration::from_secs(1), ..wanted(&[]) }.check().is_err());
        assert!(Wanted { ttl: Duration::ZERO, ..wanted(&[]) }.check().is_err());
    }
}

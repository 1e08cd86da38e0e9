//! The tokens an issuer honours, in `tokens.json`. Every operation reads and rewrites the file under a file lock, so that
//! the command line can create tokens while the agent runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::hmac;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::encoding::base64_bytes;
use crate::files::{create_private_dir, read_private, with_lock, write_private};
use crate::identity::IdentityError;
use crate::limits::{MAX_TOKEN_TTL, MAX_TOKEN_USES, MAX_TOKENS};
use crate::mesh_id::MeshId;
use crate::token::JoinToken;

/// Expired tokens are remembered this long, so that their bearer hears "expired" and not "unknown".
const KEEP_EXPIRED_MS: u64 = 7 * 24 * 3600 * 1000;

/// Why the store could not do as asked.
#[derive(Debug, Error)]
pub enum TokenStoreError {
    /// The file cannot be read, parsed or written.
    #[error(transparent)]
    File(#[from] IdentityError),
    /// The file is there and means nothing.
    #[error("{} is damaged ({detail}): restore it from a backup, or remove this one file; all tokens made so far are then void", path.display())]
    Corrupted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// It holds [`MAX_TOKENS`] live tokens.
    #[error("there are already {MAX_TOKENS} live tokens; revoke some, or let them expire")]
    Full,
    /// A lifetime or a number of uses out of range.
    #[error("a token lives at most 30 days and has 1 to {MAX_TOKEN_USES} uses")]
    OutOfRange,
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// Why a token did not admit its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// No token has this id.
    Unknown,
    /// The proof was not made with this token's secret.
    WrongProof,
    /// All its uses are spent.
    UsedUp,
    /// Its time is over.
    Expired,
}

/// What the store tells of a token; the secret is not among it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// Public id.
    pub id: String,
    /// How often it can still be used.
    pub uses_left: u32,
    /// When it ends, unix milliseconds.
    pub expires_unix_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(with = "base64_bytes")]
    proof_key: Vec<u8>,
    uses_left: u32,
    expires_unix_ms: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Contents {
    tokens: BTreeMap<String, Entry>,
}

/// The store in one data directory. Holds nothing in memory.
#[derive(Clone, Debug)]
pub struct TokenStore {
    path: PathBuf,
    lock_path: PathBuf,
}

impl TokenStore {
    /// The store in `data_dir`; its file appears with the first token.
    ///
    /// # Errors
    /// When the directory is missing and cannot be made.
    pub fn open(data_dir: &Path) -> Result<Self, TokenStoreError> {
        create_private_dir(data_dir)?;
        Ok(Self { path: data_dir.join("tokens.json"), lock_path: data_dir.join("tokens.lock") })
    }

    /// May a token live this long and have so many uses?
    ///
    /// # Errors
    /// [`TokenStoreError::OutOfRange`].
    pub fn check(ttl: Duration, uses: u32) -> Result<(), TokenStoreError> {
        let fits = !ttl.is_zero() && ttl <= MAX_TOKEN_TTL && (1..=MAX_TOKEN_USES).contains(&uses);
        if fits { Ok(()) } else { Err(TokenStoreError::OutOfRange) }
    }

    /// Makes a token for `mesh`, good for `uses` joins during `ttl` from `now_unix_ms`. Forgets long expired ones.
    ///
    /// # Errors
    /// [`TokenStoreError::Full`], [`TokenStoreError::OutOfRange`], or the file's trouble; then no token exists.
    pub fn create(
        &self,
        mesh: MeshId,
        ttl: Duration,
        uses: u32,
        now_unix_ms: u64,
    ) -> Result<JoinToken, TokenStoreError> {
        Self::check(ttl, uses)?;
        let token = JoinToken::generate(mesh).map_err(|_| TokenStoreError::Random)?;
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let entry = Entry {
            proof_key: token.proof_key().to_vec(),
            uses_left: uses,
            expires_unix_ms: now_unix_ms.saturating_add(ttl_ms),
        };
        with_lock(&self.lock_path, || {
            let mut contents = self.read()?;
            purge(&mut contents, now_unix_ms);
            if contents.tokens.len() >= MAX_TOKENS {
                contents.tokens.retain(|_, entry| entry.uses_left > 0 && entry.expires_unix_ms > now_unix_ms);
            }
            if contents.tokens.len() >= MAX_TOKENS {
                return Err(TokenStoreError::Full);
            }
            contents.tokens.insert(token.id().to_owned(), entry);
            self.write(&contents)
        })??;
        Ok(token)
    }

    /// Uses a token once: checks that `proof` is the HMAC-SHA256 of `message` under the token's proof key, in constant
    /// time, runs `work`, and counts the use only if that succeeded. A wrong proof is told before "expired" or "used up",
    /// so that a stranger learns nothing about a token.
    ///
    /// # Errors
    /// Outer: the file's trouble. Then the fault of the token, or what `work` returned; neither costs a use.
    pub fn redeem<T, E: From<TokenFault>>(
        &self,
        id: &str,
        message: &[u8],
        proof: &[u8],
        now_unix_ms: u64,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<Result<T, E>, TokenStoreError> {
        with_lock(&self.lock_path, || {
            let mut contents = self.read()?;
            let Some(entry) = contents.tokens.get_mut(id) else { return Ok(Err(TokenFault::Unknown.into())) };
            if let Err(fault) = examine(entry, message, proof, now_unix_ms) {
                return Ok(Err(fault.into()));
            }
            let result = work();
            if result.is_ok() {
                entry.uses_left -= 1;
                self.write(&contents)?;
            }
            Ok(result)
        })?
    }

    /// [`TokenStore::redeem`] with nothing to do in between.
    ///
    /// # Errors
    /// As there.
    pub fn consume(
        &self,
        id: &str,
        message: &[u8],
        proof: &[u8],
        now_unix_ms: u64,
    ) -> Result<Result<(), TokenFault>, TokenStoreError> {
        self.redeem(id, message, proof, now_unix_ms, || Ok(()))
    }

    /// Removes a token; says whether there was one.
    ///
    /// # Errors
    /// The file's trouble.
    pub fn revoke(&self, id: &str) -> Result<bool, TokenStoreError> {
        with_lock(&self.lock_path, || {
            let mut contents = self.read()?;
            let found = contents.tokens.remove(id).is_some();
            if found {
                self.write(&contents)?;
            }
            Ok(found)
        })?
    }

    /// All tokens it remembers, spent and expired ones included.
    ///
    /// # Errors
    /// The file's trouble.
    pub fn list(&self) -> Result<Vec<TokenInfo>, TokenStoreError> {
        let contents = self.read()?;
        let info = |(id, entry): (String, Entry)| TokenInfo {
            id,
            uses_left: entry.uses_left,
            expires_unix_ms: entry.expires_unix_ms,
        };
        Ok(contents.tokens.into_iter().map(info).collect())
    }

    /// Forgets tokens that expired more than a week ago.
    ///
    /// # Errors
    /// The file's trouble.
    pub fn purge_expired(&self, now_unix_ms: u64) -> Result<(), TokenStoreError> {
        with_lock(&self.lock_path, || {
            let mut contents = self.read()?;
            let before = contents.tokens.len();
            purge(&mut contents, now_unix_ms);
            if contents.tokens.len() < before { self.write(&contents) } else { Ok(()) }
        })?
    }

    fn read(&self) -> Result<Contents, TokenStoreError> {
        let Some(bytes) = read_private(&self.path)? else { return Ok(Contents::default()) };
        serde_json::from_slice(&bytes).map_err(|error| self.corrupted(&error))
    }

    fn write(&self, contents: &Contents) -> Result<(), TokenStoreError> {
        let bytes = serde_json::to_vec_pretty(contents).map_err(|error| self.corrupted(&error))?;
        Ok(write_private(&self.path, &bytes)?)
    }

    fn corrupted(&self, error: &serde_json::Error) -> TokenStoreError {
        TokenStoreError::Corrupted { path: self.path.clone(), detail: error.to_string() }
    }
}

fn purge(contents: &mut Contents, now_unix_ms: u64) {
    contents.tokens.retain(|_, entry| entry.expires_unix_ms.saturating_add(KEEP_EXPIRED_MS) > now_unix_ms);
}

fn examine(entry: &Entry, message: &[u8], proof: &[u8], now_unix_ms: u64) -> Result<(), TokenFault> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &entry.proof_key);
    hmac::verify(&key, message, proof).map_err(|_| TokenFault::WrongProof)?;
    if entry.expires_unix_ms <= now_unix_ms {
        return Err(TokenFault::Expired);
    }
    if entry.uses_left == 0 {
        return Err(TokenFault::UsedUp);
    }
    Ok(())
}

//! Checks that speak the first words of a database: Redis and PostgreSQL.

use super::{Errors, Secret, TlsOptions, limits, printable};
use serde::{Deserialize, Serialize};

/// Settings of a Redis check: `PING` is answered with `PONG`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RedisCheck {
    /// The password, read on the observer's own host.
    pub password: Option<Secret>,
    /// Over TLS, how.
    pub tls: Option<TlsOptions>,
}

/// Settings of a PostgreSQL check: the server answers a start-up message by asking who is there, or by letting in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresCheck {
    /// The role asked for; it need not exist.
    pub user: String,
    /// The database asked for.
    pub database: String,
    /// Over TLS (`SSLRequest`), how.
    pub tls: Option<TlsOptions>,
}

impl Default for PostgresCheck {
    fn default() -> Self {
        Self { user: "quorate".to_owned(), database: "postgres".to_owned(), tls: None }
    }
}

impl RedisCheck {
    pub(super) fn validate(&self, errors: &mut Errors) {
        self.password.iter().for_each(|password| password.validate("password", errors));
        self.tls.iter().for_each(|tls| tls.validate(errors));
    }
}

impl PostgresCheck {
    pub(super) fn validate(&self, errors: &mut Errors) {
        for (key, text) in [("user", &self.user), ("database", &self.database)] {
            errors.rule(key, !text.is_empty() && text.len() <= limits::MAX_NAME_BYTES && printable(text), || {
                format!("empty, longer than {} bytes, or holds a control character", limits::MAX_NAME_BYTES)
            });
        }
        self.tls.iter().for_each(|tls| tls.validate(errors));
    }
}

//! Values of which a part is never told to the mesh: each observer adds it from its own host.

use super::{Errors, clip, limits, printable};
use serde::{Deserialize, Serialize};

/// A value as a check carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// This text.
    Plain(String),
    /// One that each observer completes.
    Secret(Secret),
    /// A name and a password, as RFC 7617 writes them for `Authorization`.
    Basic(BasicAuth),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Plain(text.to_owned())
    }
}

/// A text that each observer reads on its own host. Where it is absent, the observer cannot run the check, and abstains.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Secret {
    /// What stands before it, such as `Bearer `.
    pub prefix: String,
    /// Where it is.
    pub source: SecretSource,
}

/// Where a secret is. A check says which, never where on the disk or in the environment: it may come from another host, and whoever could
/// name a file of the observer's could have it sent to himself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SecretSource {
    /// A file of this name in the observer's folder of secrets; its last line break is left out.
    File(String),
    /// The variable of the agent's environment that is named `QUORATE_SECRET_` and this.
    Env(String),
}

impl Secret {
    /// What the names of variables begin with.
    pub const ENV_PREFIX: &'static str = "QUORATE_SECRET_";

    pub(super) fn validate(&self, key: &'static str, errors: &mut Errors) {
        let (name, fine): (&str, fn(u8) -> bool) = match &self.source {
            SecretSource::File(name) => (name, |b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)),
            SecretSource::Env(name) => (name, |b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'),
        };
        let plain = (1..=64).contains(&name.len()) && name.bytes().all(fine) && !name.starts_with('.');
        errors.rule(key, plain, || {
            let what = match &self.source {
                SecretSource::File(_) => "a file in the folder of secrets: letters, digits, `-`, `_` and `.`, no path",
                SecretSource::Env(_) => "a variable after `QUORATE_SECRET_`: capital letters, digits and `_`",
            };
            format!("{:?} does not name {what}; 1 to 64 bytes", clip(name))
        });
        errors.rule(key, self.prefix.len() <= limits::MAX_TEXT_BYTES && printable(&self.prefix), || {
            "the prefix is too long, or holds a control character".to_owned()
        });
    }
}

/// A name and a password (RFC 7617).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasicAuth {
    /// The name.
    pub user: String,
    /// The password, read on the observer's own host.
    pub password: Secret,
}

impl BasicAuth {
    pub(super) fn validate(&self, errors: &mut Errors) {
        let fine = self.user.len() <= limits::MAX_NAME_BYTES && printable(&self.user) && !self.user.contains(':');
        errors.rule("basic_auth", fine, || {
            format!("the user holds a colon or a control character, or is longer than {} bytes", limits::MAX_NAME_BYTES)
        });
        self.password.validate("basic_auth", errors);
    }
}

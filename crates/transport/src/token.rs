//! The join token: one string that pins the mesh and proves the right to join it.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use thiserror::Error;

use crate::mesh_id::{MeshId, sha256};

const PREFIX: &str = "QRT1";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 24;

/// `QRT1.<mesh pin>.<id>.<secret>`, each part base64url: SHA-256 of the root's SubjectPublicKeyInfo (32 bytes), the
/// token's id (6 bytes, public) and its secret (24 bytes). Its `Debug` hides the secret; its `Display` does not.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    mesh: MeshId,
    id: String,
    secret: [u8; SECRET_BYTES],
}

/// Why a string is no join token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenParseError {
    /// It begins with something else.
    #[error("a join token begins with `{PREFIX}.`; copy the whole string that `quorate token create` printed")]
    Prefix,
    /// Parts are missing or left over.
    #[error("a join token has 4 parts separated by dots, this one has {found}; was it cut off?")]
    Parts {
        /// How many there are.
        found: usize,
    },
    /// One part is damaged.
    #[error("the token's {part} is damaged; copy the token again")]
    Part {
        /// Which part.
        part: &'static str,
    },
}

impl JoinToken {
    /// A new token for a mesh.
    pub(crate) fn generate(mesh: MeshId) -> Result<Self, ring::error::Unspecified> {
        let mut id = [0; ID_BYTES];
        let mut secret = [0; SECRET_BYTES];
        let random = ring::rand::SystemRandom::new();
        ring::rand::SecureRandom::fill(&random, &mut id)?;
        ring::rand::SecureRandom::fill(&random, &mut secret)?;
        Ok(Self { mesh, id: BASE64URL_NOPAD.encode(&id), secret })
    }

    /// The mesh it admits to.
    pub fn mesh_id(&self) -> MeshId {
        self.mesh
    }

    /// Its public id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key of its proofs: SHA-256 of the secret. This, never the secret, is what the issuer stores.
    pub(crate) fn proof_key(&self) -> [u8; 32] {
        sha256(&self.secret)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mesh, secret) = (BASE64URL_NOPAD.encode(&self.mesh.0), BASE64URL_NOPAD.encode(&self.secret));
        write!(f, "{PREFIX}.{mesh}.{}.{secret}", self.id)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}, mesh {})", self.id, self.mesh)
    }
}

impl FromStr for JoinToken {
    type Err = TokenParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        if parts.first() != Some(&PREFIX) {
            return Err(TokenParseError::Prefix);
        }
        let [_, mesh, id, secret] = parts[..] else { return Err(TokenParseError::Parts { found: parts.len() }) };
        let mesh = MeshId(decode_part(mesh, "mesh pin")?);
        let id_bytes: [u8; ID_BYTES] = decode_part(id, "id")?;
        let secret = decode_part(secret, "secret")?;
        Ok(Self { mesh, id: BASE64URL_NOPAD.encode(&id_bytes), secret })
    }
}

fn decode_part<const N: usize>(text: &str, part: &'static str) -> Result<[u8; N], TokenParseError> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| TokenParseError::Part { part })?;
    bytes.try_into().map_err(|_| TokenParseError::Part { part })
}

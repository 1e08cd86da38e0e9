//! Names that follow from keys: the mesh id from the root key, the agent id from the leaf key.

use std::fmt;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// SHA-256 of the mesh root's public key (SubjectPublicKeyInfo). Displayed as its first 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MeshId(pub [u8; 32]);

impl MeshId {
    /// The id of the mesh whose root has this SubjectPublicKeyInfo (DER).
    pub fn of_spki(spki_der: &[u8]) -> Self {
        Self(sha256(spki_der))
    }

    /// All 64 hex digits.
    pub fn to_hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// Parses all 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0[..8]))
    }
}

impl fmt::Debug for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeshId({self})")
    }
}

/// The agent id of a leaf key: the first 8 bytes, big-endian, of SHA-256 over its SubjectPublicKeyInfo (DER).
/// Zero is no id; a key that hashes to it is refused.
pub fn agent_id_of_spki(spki_der: &[u8]) -> Option<u64> {
    let hash = sha256(spki_der);
    let head: [u8; 8] = hash.first_chunk().copied()?;
    Some(u64::from_be_bytes(head)).filter(|id| *id != 0)
}

/// The DNS name in an agent's certificate, and the server name used to dial it.
pub fn agent_dns_name(agent: u64) -> String {
    format!("{agent:016x}.agent.quorate")
}

/// The agent an `agent_dns_name` speaks of.
pub(crate) fn agent_of_dns_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".agent.quorate").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// The SPIFFE-shaped URI in an agent's certificate.
pub fn agent_uri(mesh: &MeshId, agent: u64) -> String {
    format!("spiffe://{}/agent/{agent:016x}", mesh.to_hex())
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

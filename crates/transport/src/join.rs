//! The words of a join: request, grant, refusal. `quorate-join/1` carries one request and one answer, both JSON, on one
//! bidirectional stream; members forward them to one another inside `quorate-mesh/1`.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::encoding::base64_bytes;
use crate::limits::MAX_CONCURRENT_JOINS;
use crate::mesh_id::MeshId;

/// Label of the TLS exporter that binds a proof to its connection (RFC 5705, RFC 8446 section 7.5). 32 bytes, no context.
pub const EXPORTER_LABEL: &[u8] = b"quorate-join";

/// A host's request to join, as the member that received it hands it on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Public id of the token.
    pub token_id: String,
    /// Certificate signing request, DER (RFC 2986). Only its key is used.
    #[serde(with = "base64_bytes")]
    pub csr: Vec<u8>,
    /// The name the agent wishes to bear.
    pub name: String,
    /// HMAC-SHA256 over channel binding and CSR, under SHA-256 of the token's secret.
    #[serde(with = "base64_bytes")]
    pub proof: Vec<u8>,
    /// TLS exporter of the joiner's connection, added by the member that received it.
    #[serde(with = "base64_bytes")]
    pub channel_binding: Vec<u8>,
    /// Address the joiner was seen at, added by the member that received it.
    pub remote: String,
}

/// What the joiner itself sends.
#[derive(Serialize, Deserialize)]
pub(crate) struct JoinCall {
    pub(crate) token_id: String,
    #[serde(with = "base64_bytes")]
    pub(crate) csr: Vec<u8>,
    pub(crate) name: String,
    #[serde(with = "base64_bytes")]
    pub(crate) proof: Vec<u8>,
}

/// A new agent's certificates, and what the node wishes it to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Leaf certificate, DER.
    #[serde(with = "base64_bytes")]
    pub leaf: Vec<u8>,
    /// Issuing certificate, DER.
    #[serde(with = "base64_bytes")]
    pub issuing: Vec<u8>,
    /// Root certificate, DER.
    #[serde(with = "base64_bytes")]
    pub root: Vec<u8>,
    /// The mesh.
    pub mesh_id: MeshId,
    /// Opaque bytes of the node that answers, at most [`crate::limits::MAX_BOOTSTRAP_BYTES`].
    #[serde(with = "base64_bytes")]
    pub bootstrap: Vec<u8>,
}

/// Why a join was refused. The text says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum JoinRefusal {
    /// No such token.
    #[error(
        "the mesh does not know this token: it was revoked, or made on another issuer; create one with `quorate token create`"
    )]
    UnknownToken,
    /// The proof does not match.
    #[error("the token's secret is wrong: copy the whole token again")]
    WrongSecret,
    /// No uses left.
    #[error("the token has been used up: create one with `quorate token create` (more joins per token: --uses)")]
    TokenUsed,
    /// Too late.
    #[error(
        "the token has expired: create one with `quorate token create` (longer life: --ttl), and check both clocks"
    )]
    TokenExpired,
    /// The mesh cannot agree on a new member now.
    #[error("the mesh has no quorum to admit a member ({0}): bring agents back, then try again")]
    NoQuorum(String),
    /// No agent that can sign is within reach.
    #[error("no agent that may admit members can be reached ({0}): start an issuer, or join through its address")]
    NoIssuer(String),
    /// The request made no sense.
    #[error("the request was malformed: the two agents may be of different versions")]
    Malformed,
    /// Too many at once.
    #[error("more than {MAX_CONCURRENT_JOINS} hosts are joining at once: try again in a few seconds")]
    TooMany,
    /// Trouble at the other end.
    #[error("the answering agent failed; its log says why")]
    Internal,
}

impl JoinRefusal {
    /// A word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownToken => "unknown_token",
            Self::WrongSecret => "wrong_secret",
            Self::TokenUsed => "token_used",
            Self::TokenExpired => "token_expired",
            Self::NoQuorum(_) => "no_quorum",
            Self::NoIssuer(_) => "no_issuer",
            Self::Malformed => "malformed",
            Self::TooMany => "too_many",
            Self::Internal => "internal",
        }
    }
}

/// The answer, as it travels.
pub(crate) type JoinAnswer = Result<Grant, JoinRefusal>;

//! QUIC transport and agent identity. It moves bytes between named peers and knows nothing of health.
//!
//! A *mesh* is a root key; an *agent* is a leaf key whose id follows from it, so that one can speak only for oneself.
//! [`init_mesh`] makes a mesh, [`join`] enters one with a [`JoinToken`], [`Identity::load`] reads what either left behind.
//! [`Transport::bind`] opens one UDP socket for everything: links to members (`quorate-mesh/1`, mutual TLS) and hosts that
//! ask to join (`quorate-join/1`). Between two agents there is one link; sending never waits, and what cannot be sent is
//! dropped and counted.
//!
//! Deliberately absent: names of services, retries of messages, and any opinion on whether a peer is alive.

mod accept;
mod admission;
mod certificate;
mod dial;
mod encoding;
mod files;
mod forward;
mod hello;
mod https;
mod identity;
mod incoming;
mod issuer;
mod join;
mod join_client;
mod join_server;
pub mod limits;
mod link;
mod link_error;
mod mesh_id;
mod metrics;
mod peers;
mod tls;
mod token;
mod token_store;
mod transport;
mod trust;
mod warnings;

#[cfg(test)]
mod tests;

pub use files::DataDirLock;
pub use hello::VersionRange;
pub use https::{api_client, api_server, api_server_with};
pub use identity::{Identity, IdentityError, Signer, init_mesh};
pub use incoming::Incoming;
pub use issuer::Issuer;
pub use join::{EXPORTER_LABEL, Grant, JoinRefusal, JoinRequest};
pub use join_client::{Admission, JoinError, JoinOutcome, join, join_noting};
pub use link_error::{LinkError, close_code};
pub use mesh_id::{MeshId, agent_dns_name, agent_id_of_spki, agent_uri};
pub use metrics::TransportMetrics;
pub use token::{JoinToken, TokenParseError};
pub use token_store::{TokenFault, TokenInfo, TokenStore, TokenStoreError};
pub use transport::{BindError, LinkInfo, SendError, Transport, TransportConfig};
pub use trust::{Admitted, CertificateFault, Trust, verify};

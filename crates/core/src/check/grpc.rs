//! gRPC checks: the server's own health service (`grpc.health.v1.Health/Check`) says that it serves.

use super::http::validate_headers;
use super::{Errors, TlsOptions, Value, file_or_name, limits, printable};
use serde::{Deserialize, Serialize};

/// Settings of a gRPC check.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GrpcCheck {
    /// The service asked about; empty for the server as a whole.
    pub service: String,
    /// The authority, when it is not the target's address.
    pub host: Option<String>,
    /// Metadata sent with the call, beside what the protocol needs.
    pub metadata: Vec<(String, Value)>,
    /// Over TLS, how.
    pub tls: Option<TlsOptions>,
}

impl GrpcCheck {
    pub(super) fn validate(&self, errors: &mut Errors) {
        errors.rule("grpc_service", self.service.len() <= limits::MAX_NAME_BYTES && printable(&self.service), || {
            format!("longer than {} bytes, or holds a control character", limits::MAX_NAME_BYTES)
        });
        file_or_name(errors, "host", self.host.as_ref());
        validate_headers("metadata", &self.metadata, errors);
        self.tls.iter().for_each(|tls| tls.validate(errors));
    }
}

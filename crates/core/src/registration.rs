//! An instance as its home agent registers it.

use crate::check::{Check, CheckError};
use crate::id::{InstanceId, ServiceName};
use crate::placement::Placement;
use crate::quorum;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One instance: its name, where it is, and how it is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The instance's name, unique in the mesh.
    pub instance: InstanceId,
    /// The service it is a copy of.
    pub service: ServiceName,
    /// `host:port` to probe; the host is a name or an address.
    pub address: String,
    /// How it is probed. The instances of a service mostly have one check, which they share.
    pub check: Arc<Check>,
    /// How many observers it should have; fewer when the mesh is smaller.
    pub observers: u32,
    /// What is told about it beside its health.
    pub placement: Placement,
}

impl Registration {
    /// Longest `host:port`, in bytes.
    pub const MAX_ADDRESS_BYTES: usize = 300;

    /// How many observers it should have: one, its home agent, if only its own host can check it.
    #[must_use]
    pub fn wanted_observers(&self) -> u32 {
        if self.check.kind.home_only() { 1 } else { self.observers }
    }

    /// Returns every rule it breaks; none when it is valid. A peer's registration is held to the same rules as a file's.
    #[must_use]
    pub fn validate(&self) -> Vec<CheckError> {
        let mut errors = self.check.validate();
        errors.extend(self.placement.validate());
        if host_and_port(&self.address).is_none() {
            let message = format!("{:?} is not HOST:PORT with a port from 1 to 65535", self.address);
            errors.push(CheckError { key: "address", message });
        }
        if !(1..=quorum::MAX_OBSERVERS).contains(&self.observers) {
            let message = format!("{} is not allowed; use 1 to {}", self.observers, quorum::MAX_OBSERVERS);
            errors.push(CheckError { key: "observers", message });
        }
        if self.service == ServiceName::agents() || self.instance.resembles_host() {
            let message = "the name is taken by the built-in service of hosts".to_owned();
            errors.push(CheckError { key: "name", message });
        }
        errors
    }
}

/// Splits `host:port` or `[v6]:port`; the host without brackets. `None` when it is not one.
#[must_use]
pub fn host_and_port(address: &str) -> Option<(&str, u16)> {
    if address.len() > Registration::MAX_ADDRESS_BYTES {
        return None;
    }
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())?,
        None => host,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:%".contains(&b);
    (!host.is_empty() && host.bytes().all(plain)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(host_and_port("10.0.0.1:80"), Some(("10.0.0.1", 80)));
        assert_eq!(host_and_port("[::1]:80"), Some(("::1", 80)));
        assert_eq!(host_and_port("web.internal:8080"), Some(("web.internal", 8080)));
        for bad in ["", ":80", "host", "host:0", "host:65536", "[x]:80", "a b:80", "h/ost:80"] {
            assert_eq!(host_and_port(bad), None, "{bad}");
        }
    }
}

//! What is probed, and on whose behalf.

use quorate_core::{AgentId, InstanceId, ServiceName};
use std::net::IpAddr;

/// One instance to probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The instance; its first twelve characters are told to the far end as `X-Instance-ID`.
    pub instance: InstanceId,
    /// Its service; told to the far end as `X-App-Name`.
    pub service: ServiceName,
    /// Where it listens: `host:port`. The host is a name, an IPv4 address or an IPv6 address in brackets.
    pub address: String,
    /// Addresses of the agent that registered it: it may be probed only there, or where [`Own`](crate::Own) allows it. None: the check is the
    /// observer's own, and may be aimed anywhere.
    pub home: Option<Vec<IpAddr>>,
    /// The agent that probes; told to the far end as `X-Observer`. Zero: a process that is no agent.
    pub observer: AgentId,
}

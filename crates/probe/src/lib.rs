//! Executes checks: one probe is one run of a check against a target, and its result is an [`Outcome`](quorate_core::Outcome).
//!
//! A probe which fails is a value, never an `Err`, and nothing the far end sends and nothing a check says makes this crate panic. Every
//! phase (resolve, connect, TLS, send, first byte, body, judging) is walked by hand, so that each failure carries the phase it reached
//! and a typed cause, and each phase its own duration. One file per protocol; what they share is beside them.
//!
//! Deliberately absent: scheduling, thresholds and votes (the engine's), and any state of an instance. The only things a [`Prober`]
//! remembers between probes are resolved names, TLS settings, compiled patterns and, when a check asks for it, idle connections.

mod address;
mod certificate;
mod connect;
mod container;
mod dialogue;
#[cfg(feature = "dns")]
mod dns;
mod exec;
mod expect;
mod exposition;
mod failure;
mod findings;
mod grpc;
pub mod grpc_health;
mod http;
mod icmp;
mod json_path;
mod judge;
mod limits;
mod line;
mod link;
mod meter;
mod metric;
mod own;
mod pool;
mod postgres;
mod prober;
mod push;
mod redirect;
mod redis;
mod request;
mod resolve;
mod starttls;
mod stats;
#[cfg(feature = "systemd")]
mod systemd;
mod target;
mod tcp;
mod tls;
mod tls_check;
mod tls_failure;
mod udp;
mod unix;
mod usage;

#[cfg(test)]
#[cfg(feature = "dns")]
mod dns_tests;
#[cfg(test)]
mod http_tests;
#[cfg(test)]
mod limits_tests;
#[cfg(test)]
mod own_tests;
#[cfg(test)]
mod prober_tests;
#[cfg(test)]
mod redirect_tests;
#[cfg(test)]
mod reuse_tests;
#[cfg(test)]
mod tcp_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tls_tests;

pub use exec::Program;
pub use expect::validate_patterns;
pub use limits::Limits;
pub use own::{Allowed, Own};
pub use prober::Prober;
pub use push::{Pushed, Pushes};
pub use stats::ProbeStats;
pub use target::Target;

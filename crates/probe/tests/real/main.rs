//! Checks against real servers, started by the tests on loopback. A server that is not installed is named and its test skipped, unless
//! `QUORATE_TEST_REQUIRE_ALL=1` demands that nothing is.

#![allow(clippy::unwrap_used, clippy::panic)]

mod dns;
mod docker;
mod grpc;
mod haproxy;
mod icmp;
mod metric;
mod nginx;
mod postgres;
mod redis;
mod server;
#[cfg(feature = "systemd")]
mod systemd;

//! End to end: real agents, real QUIC, real HTTP and TCP services, real signals, on loopback.
//!
//! Each test has a mesh of its own, waits for conditions with a bound, and prints what it measured.

mod access;
mod answers;
mod breakers;
mod configuration;
mod events;
mod grpc;
mod hosts;
mod instances;
mod joining;
mod kubernetes;
mod leaving;
mod logs;
mod memory;
mod minority;
mod monitoring;
mod names;
mod operators;
mod page;
mod probing;
mod recording;
mod reports;
mod strangers;
mod tokens;
mod upgrades;

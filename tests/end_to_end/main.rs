//! End to end: real agents, real QUIC, real HTTP and TCP services, real signals, on loopback.
//!
//! Each test has a mesh of its own, waits for conditions with a bound, and prints what it measured.

mod answers;
mod configuration;
mod events;
mod hosts;
mod instances;
mod joining;
mod minority;
mod strangers;
mod tokens;

//! The harness: starts real agents and real services, asks them over HTTP, and waits for conditions.
//!
//! Nothing here knows the inside of an agent. A test reads as a story: a [`Mesh`] is set up, something is done to it, and every agent is
//! asked until it says what it should, or the time given is over.

mod agent;
mod binary;
mod browser;
mod event_stream;
mod http;
mod mesh;
mod ports;
mod process;
mod reading;
mod target;
mod wait;

pub use agent::{Agent, AgentSetup, Host, instance_id};
pub use binary::{agent_binary, next_agent_binary, optional, simulator_binary, tool};
pub use browser::Browser;
pub use event_stream::{EventStream, StreamedEvent};
pub use http::{Answer, get, put, send};
pub use mesh::{Mesh, Spread, among, complete, folder, states};
pub use ports::{free_tcp_port, free_udp_port};
pub use process::{Finished, Process, run, run_within};
pub use reading::{Certificate, Health, Instance, Member, Vote};
pub use target::Target;
pub use wait::{MEASURED, Stopwatch, eventually, holds_for, measured, tell};

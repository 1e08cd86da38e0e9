//! The engine: one agent's whole behaviour, without IO.
//!
//! The agent and the simulator drive the same engine the same way: [`Engine::handle`] an [`Input`], take every [`Output`] with
//! [`Engine::poll_output`] until there is none, then sleep until [`Engine::next_wakeup`] or the next input. [`Engine::view`] reads.
//! There is no clock, no socket, no task and no global randomness in here: time is an argument, the seed is configuration.

mod api;
mod breakers;
mod config;
mod engine;
mod gossip;
mod namespace;
pub mod recording;
mod sabotage;
mod swim;
mod view;

pub use api::{
    Command, Event, EventKind, Input, Keys, LinkEvent, MemberState, Output, OverrideWish, ProbeId, ProbeRequest,
    StartError, Ticket, VerdictChange,
};
pub use breakers::{
    BreakerCause, BreakerKey, BreakerOverride, BreakerReport, BreakerState, BreakerView, CallCounts, OverrideMode,
    OverrideView,
};
pub use config::{EngineConfig, Timing};
pub use engine::limits::{MAX_INSTANCES, MAX_INSTANCES_PER_HOME};
pub use engine::{Acquaintance, Engine, Formation, Testimony};
#[cfg(feature = "sabotage")]
pub use sabotage::Defect;
/// Versions of the packet format that this build speaks, for the handshake.
pub const WIRE_VERSIONS: std::ops::RangeInclusive<u8> = quorate_wire::OLDEST_VERSION..=quorate_wire::VERSION;
/// In which of them a packet that the engine puts out is written.
pub use quorate_wire::version_of;

pub use view::{Glance, InstanceView, MemberView, MeshView, ObserverView, Standing, Standings, Stats};

/// Does whoever sends this packet want to know whether its receiver is there? Of what is not a packet: no.
#[must_use]
pub fn is_ping(bytes: &[u8]) -> bool {
    use quorate_wire::Packet;
    match quorate_wire::decode(bytes) {
        Ok(Packet::Swim(packet)) => swim::is_ping(&packet),
        Ok(packet) => matches!(packet, Packet::Ping { .. }),
        Err(_) => false,
    }
}

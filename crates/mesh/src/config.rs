//! The engine's settings; every interval in one place with its reason.

use quorate_core::{AgentId, Registration, Zone};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// Who this agent is and how it behaves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EngineConfig {
    /// Its identity, as in its certificate.
    pub agent: AgentId,
    /// Its name for people; at most 255 bytes.
    pub name: String,
    /// Its failure domain.
    pub zone: Zone,
    /// Where others dial it.
    pub address: SocketAddr,
    /// Where its API is, for people; empty when unknown.
    pub api_address: String,
    /// The software's version, for people.
    pub version: String,
    /// What proves its admission to others; see [`crate::Keys::admit`].
    pub credential: Vec<u8>,
    /// May it be alone in its mesh? Only the agent that began the mesh may: any other that finds no roster in its stored state has lost it,
    /// and decides nothing before it has found the others.
    pub founder: bool,
    /// The highest boot counter known from elsewhere than the stored state: an agent that has lost its state must still count on, or its
    /// peers take it for an outdated copy.
    pub boot_floor: u32,
    /// Instances it is home to.
    pub registrations: Vec<Registration>,
    /// Seed of all its random choices.
    pub seed: u64,
    /// Intervals.
    pub timing: Timing,
}

/// Intervals and limits of the protocol. The defaults suit a local network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// SWIM's protocol period.
    pub swim_period: Duration,
    /// How long SWIM waits for a direct answer before it asks others.
    pub swim_rtt: Duration,
    /// Added to that when the link had to be dialled first: a handshake is one to two round trips.
    pub dial_allowance: Duration,
    /// Gossip tick.
    pub gossip_interval: Duration,
    /// Members told per tick.
    pub gossip_fanout: usize,
    /// Digests are compared with a random member this often.
    pub sync_interval: Duration,
    /// A failed member is tried again this often, one at a time.
    pub reconnect_interval: Duration,
    /// How long a roll call collects answers.
    pub roll_call_wait: Duration,
    /// How long a roll call holds, from its start.
    pub roll_call_life: Duration,
    /// A timer handled later than this means the agent was held up.
    pub stall_threshold: Duration,
    /// Host pings, while a host is in doubt.
    pub host_ping_interval: Duration,
    /// How long a host ping may take.
    pub host_ping_timeout: Duration,
    /// Host pings that must fail in a row.
    pub host_failures: u32,
    /// A proposer asks again after this time; when it has asked twice in vain after more each time, up to sixteen times as much.
    pub propose_interval: Duration,
    /// Each rank of observers waits this much longer before it proposes.
    pub rank_delay: Duration,
    /// After a start and after a heal, an observer signs and proposes nothing for this long.
    pub settle: Duration,
    /// Changes of verdict within this time are published as one cut.
    pub cut_delay: Duration,
    /// The stored state is written at most this often.
    pub persist_interval: Duration,
    /// Window in which changes of one verdict count as flapping.
    pub flap_window: Duration,
    /// Changes in that window from which an instance is flapping; a host from half as many, rounded up.
    pub flap_threshold: u32,
    /// Longest hold-down of a flapping instance.
    pub max_hold_down: Duration,
    /// A member whose host has been down, by quorum, for this long no longer counts.
    pub forget_after: Duration,
    /// Share of a service, in percent, that may be down before a further `down` needs all observers but one.
    pub max_down_percent: u32,
}

impl Default for Timing {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            swim_period: ms(1000),
            swim_rtt: ms(500),
            dial_allowance: ms(200),
            gossip_interval: ms(200),
            gossip_fanout: 3,
            sync_interval: ms(5000),
            reconnect_interval: ms(1000),
            roll_call_wait: ms(250),
            roll_call_life: ms(1000),
            stall_threshold: ms(500),
            host_ping_interval: ms(200),
            host_ping_timeout: ms(500),
            host_failures: 3,
            propose_interval: ms(200),
            rank_delay: ms(100),
            settle: ms(1500),
            cut_delay: ms(150),
            persist_interval: ms(1000),
            flap_window: Duration::from_secs(600),
            flap_threshold: 6,
            max_hold_down: Duration::from_secs(300),
            forget_after: Duration::from_secs(600),
            max_down_percent: 50,
        }
    }
}

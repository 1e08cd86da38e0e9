//! What travels on links, and what becomes of them.

use crate::plan::Only;
use crate::time::SimTime;

/// Unreliable or reliable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A datagram.
    Datagram,
    /// A message on a stream of its own.
    Message,
}

impl Class {
    /// As faults name it.
    pub fn kind(self) -> Only {
        match self {
            Self::Datagram => Only::Datagram,
            Self::Message => Only::Message,
        }
    }
}

/// Bytes on their way.
#[derive(Debug, Clone)]
pub struct Packet {
    /// How.
    pub class: Class,
    /// What.
    pub bytes: Vec<u8>,
    /// Its digest, taken when it was sent.
    pub digest: u64,
}

/// What the network wants to happen later, or at once.
#[derive(Debug)]
pub enum Step {
    /// One more try of a dial.
    Dial { from: usize, to: usize, dial: u64, attempt: u32 },
    /// A dial is given up.
    GiveUp { from: usize, to: usize, dial: u64 },
    /// The answer to a handshake is back at the dialler.
    Established { from: usize, to: usize, dial: u64 },
    /// The accepting end may send.
    Accepted { at: usize, peer: usize, generation: u64, replaced: bool },
    /// Has the end at `at` heard nothing since `since`?
    Idle { at: usize, peer: usize, generation: u64, since: SimTime },
    /// The peer closed the link, or does not know it any more.
    Closed { at: usize, peer: usize, generation: u64 },
    /// Bytes arrive.
    Arrive { from: usize, to: usize, generation: u64, packet: Packet },
}

/// What an agent is told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A link came up.
    Up(usize, usize),
    /// A link is gone.
    Down(usize, usize),
}

/// Counters of the whole run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Packets put on the wire, not counting those sent again.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets lost by chance or by a cut.
    pub lost: u64,
    /// Packets dropped because too many waited for a link, or no address was known.
    pub dropped: u64,
    /// Most packets that waited for one link.
    pub most_waiting: usize,
    /// Dials begun.
    pub dials: u64,
    /// Ends of links that died of silence.
    pub idle_deaths: u64,
}

//! How the SWIM library names agents, and how its packets are encoded.

use super::claims::Claims;
use bytes::{Buf, BufMut};
use foca::{Header, Identity, Member, Message, State};
use quorate_core::AgentId;
use quorate_wire::{decode_prefix, encode_value};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};

/// An agent as the SWIM library names it: 16 bytes, `Copy`. The counter is the boot counter in its upper half and identity renewals in
/// its lower one, so that it only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SwimId {
    pub agent: AgentId,
    pub counter: u64,
}

impl SwimId {
    pub fn first(agent: AgentId, boot: u32) -> Self {
        Self { agent, counter: u64::from(boot) << 32 }
    }

    /// How often the agent has been started.
    #[allow(clippy::cast_possible_truncation, reason = "the upper half")]
    pub fn boot(self) -> u32 {
        (self.counter >> 32) as u32
    }

    /// How often it has renewed its identity since.
    #[allow(clippy::cast_possible_truncation, reason = "the lower half")]
    pub fn renewals(self) -> u32 {
        self.counter as u32
    }
}

impl Identity for SwimId {
    type Addr = u64;

    fn renew(&self) -> Option<Self> {
        self.counter.checked_add(1).map(|counter| Self { counter, ..*self })
    }

    #[inline]
    fn addr(&self) -> u64 {
        self.agent.0
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        self.counter > other.counter
    }
}

/// Boot and renewals apart, because two small numbers encode shorter than a large one.
#[derive(Serialize, Deserialize)]
struct WireId(u64, u32, u32);

impl Serialize for SwimId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WireId(self.agent.0, self.boot(), self.renewals()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SwimId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let WireId(agent, boot, renewals) = WireId::deserialize(deserializer)?;
        Ok(Self { agent: AgentId(agent), counter: (u64::from(boot) << 32) | u64::from(renewals) })
    }
}

/// Is this packet of the library's a ping, on behalf of its sender or of another member?
pub(crate) fn is_ping(bytes: &[u8]) -> bool {
    let header = decode_prefix::<Header<SwimId>>(bytes);
    header.is_ok_and(|(header, _)| matches!(header.message, Message::Ping(_) | Message::IndirectPing { .. }))
}

/// The roster as the codec sees it.
pub(crate) type Known = Arc<Mutex<Claims>>;

pub(crate) struct Codec {
    pub known: Known,
    pub me: SwimId,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("no room")]
    Full,
    #[error(transparent)]
    Malformed(#[from] quorate_wire::DecodeError),
}

fn put(bytes: &[u8], mut buf: impl BufMut) -> Result<(), CodecError> {
    if buf.remaining_mut() < bytes.len() {
        return Err(CodecError::Full);
    }
    buf.put_slice(bytes);
    Ok(())
}

fn take<T: serde::de::DeserializeOwned>(mut buf: impl Buf) -> Result<T, CodecError> {
    let (value, used) = decode_prefix(buf.chunk())?;
    buf.advance(used);
    Ok(value)
}

impl foca::Codec<SwimId> for Codec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<SwimId>, buf: impl BufMut) -> Result<(), CodecError> {
        put(&encode_value(header), buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<SwimId>, CodecError> {
        take(buf)
    }

    fn encode_member(&mut self, member: &Member<SwimId>, buf: impl BufMut) -> Result<(), CodecError> {
        put(&encode_value(member), buf)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<SwimId>, CodecError> {
        let member: Member<SwimId> = take(buf)?;
        let id = *member.id();
        // "We are alive" is news to nobody: the one update that the library takes without any effect.
        let Ok(mut known) = self.known.lock() else { return Ok(Member::alive(self.me)) };
        if id.agent == self.me.agent {
            known.hear_of_us(id.counter);
        }
        Ok(match member.state() {
            _ if !known.believable(id) => Member::alive(self.me),
            State::Down if known.spares(id.agent) => Member::new(id, member.incarnation(), State::Suspect),
            _ => member,
        })
    }
}

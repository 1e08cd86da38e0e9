//! How plain foca names agents, and the bytes of its packets: fixed widths, little end first.

use bytes::{Buf, BufMut};
use foca::{Header, Identity, Member, Message, State};
use quorate_core::AgentId;
use std::fmt;

/// An agent and how often it had to take a new identity: twelve bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainId {
    /// Who.
    pub agent: AgentId,
    renewals: u32,
}

impl PlainId {
    /// The identity an agent starts with.
    pub fn first(agent: AgentId) -> Self {
        Self { agent, renewals: 0 }
    }
}

impl Identity for PlainId {
    type Addr = u64;

    fn renew(&self) -> Option<Self> {
        self.renewals.checked_add(1).map(|renewals| Self { renewals, ..*self })
    }

    fn addr(&self) -> u64 {
        self.agent.0
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        self.renewals > other.renewals
    }
}

/// The codec.
pub struct Bytes;

/// What does not fit or cannot be read.
#[derive(Debug)]
pub struct Unfit;

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes do not fit")
    }
}

impl std::error::Error for Unfit {}

const ID_BYTES: usize = 12;
const MEMBER_BYTES: usize = ID_BYTES + 3;
/// Two identities, an incarnation, a tag; with some messages another identity and a number.
const MAX_HEADER_BYTES: usize = 3 * ID_BYTES + 4;

fn put_id(buf: &mut impl BufMut, id: &PlainId) {
    buf.put_u64_le(id.agent.0);
    buf.put_u32_le(id.renewals);
}

fn take_id(buf: &mut impl Buf) -> Result<PlainId, Unfit> {
    let agent = AgentId(buf.try_get_u64_le().map_err(|_| Unfit)?);
    Ok(PlainId { agent, renewals: buf.try_get_u32_le().map_err(|_| Unfit)? })
}

fn take_u8(buf: &mut impl Buf) -> Result<u8, Unfit> {
    buf.try_get_u8().map_err(|_| Unfit)
}

fn take_u16(buf: &mut impl Buf) -> Result<u16, Unfit> {
    buf.try_get_u16_le().map_err(|_| Unfit)
}

fn put_message(buf: &mut impl BufMut, message: &Message<PlainId>) {
    let (tag, number, about) = match message {
        Message::Ping(number) => (0, Some(*number), None),
        Message::Ack(number) => (1, Some(*number), None),
        Message::PingReq { target, probe_number } => (2, Some(*probe_number), Some(target)),
        Message::IndirectPing { origin, probe_number } => (3, Some(*probe_number), Some(origin)),
        Message::IndirectAck { target, probe_number } => (4, Some(*probe_number), Some(target)),
        Message::ForwardedAck { origin, probe_number } => (5, Some(*probe_number), Some(origin)),
        Message::Announce => (6, None, None),
        Message::Feed => (7, None, None),
        Message::Gossip => (8, None, None),
        Message::Broadcast => (9, None, None),
        Message::TurnUndead => (10, None, None),
    };
    buf.put_u8(tag);
    if let Some(number) = number {
        buf.put_u8(number);
    }
    if let Some(id) = about {
        put_id(buf, id);
    }
}

fn take_message(buf: &mut impl Buf) -> Result<Message<PlainId>, Unfit> {
    Ok(match take_u8(buf)? {
        0 => Message::Ping(take_u8(buf)?),
        1 => Message::Ack(take_u8(buf)?),
        tag @ 2..=5 => {
            let probe_number = take_u8(buf)?;
            let id = take_id(buf)?;
            match tag {
                2 => Message::PingReq { target: id, probe_number },
                3 => Message::IndirectPing { origin: id, probe_number },
                4 => Message::IndirectAck { target: id, probe_number },
                _ => Message::ForwardedAck { origin: id, probe_number },
            }
        }
        6 => Message::Announce,
        7 => Message::Feed,
        8 => Message::Gossip,
        9 => Message::Broadcast,
        10 => Message::TurnUndead,
        _ => return Err(Unfit),
    })
}

impl foca::Codec<PlainId> for Bytes {
    type Error = Unfit;

    fn encode_header(&mut self, header: &Header<PlainId>, mut buf: impl BufMut) -> Result<(), Unfit> {
        if buf.remaining_mut() < MAX_HEADER_BYTES {
            return Err(Unfit);
        }
        put_id(&mut buf, &header.src);
        buf.put_u16_le(header.src_incarnation);
        put_id(&mut buf, &header.dst);
        put_message(&mut buf, &header.message);
        Ok(())
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<PlainId>, Unfit> {
        Ok(Header {
            src: take_id(&mut buf)?,
            src_incarnation: take_u16(&mut buf)?,
            dst: take_id(&mut buf)?,
            message: take_message(&mut buf)?,
        })
    }

    fn encode_member(&mut self, member: &Member<PlainId>, mut buf: impl BufMut) -> Result<(), Unfit> {
        if buf.remaining_mut() < MEMBER_BYTES {
            return Err(Unfit);
        }
        put_id(&mut buf, member.id());
        buf.put_u16_le(member.incarnation());
        buf.put_u8(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        Ok(())
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<PlainId>, Unfit> {
        let (id, incarnation) = (take_id(&mut buf)?, take_u16(&mut buf)?);
        let state = match take_u8(&mut buf)? {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            _ => return Err(Unfit),
        };
        Ok(Member::new(id, incarnation, state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Codec;

    fn id(n: u64) -> PlainId {
        PlainId { agent: AgentId(n), renewals: 3 }
    }

    #[test]
    fn what_is_written_is_read() {
        let (target, origin, probe_number) = (id(7), id(8), 9);
        let messages = [
            Message::Ping(1),
            Message::Ack(2),
            Message::PingReq { target, probe_number },
            Message::IndirectPing { origin, probe_number },
            Message::IndirectAck { target, probe_number },
            Message::ForwardedAck { origin, probe_number },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ];
        for message in messages {
            let header = Header { src: id(1), src_incarnation: 300, dst: id(u64::MAX), message };
            let mut bytes = Vec::new();
            Bytes.encode_header(&header, &mut bytes).unwrap();
            assert!(bytes.len() <= MAX_HEADER_BYTES);
            let mut rest = bytes.as_slice();
            assert_eq!(Bytes.decode_header(&mut rest).unwrap(), header);
            assert!(rest.is_empty());
            assert!(Bytes.decode_header(&bytes[..bytes.len() - 1]).is_err());
        }
        for state in [State::Alive, State::Suspect, State::Down] {
            let member = Member::new(id(4), 65_535, state);
            let mut bytes = Vec::new();
            Bytes.encode_member(&member, &mut bytes).unwrap();
            assert_eq!(bytes.len(), MEMBER_BYTES);
            assert_eq!(Bytes.decode_member(bytes.as_slice()).unwrap(), member);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut small = [0u8; MEMBER_BYTES - 1];
        assert!(Bytes.encode_member(&Member::alive(id(1)), small.as_mut_slice()).is_err());
        assert!(Bytes.decode_member([0u8; 3].as_slice()).is_err());
    }
}

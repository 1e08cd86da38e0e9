//! ICMP echo checks (RFC 792, RFC 4443): the unprivileged socket of the kernel first, a raw one where that is not allowed.
//!
//! An answer is known by the random bytes it brings back; the identifier is the kernel's to choose on an unprivileged socket.

use crate::connect;
use crate::failure::{Step, of_io, unprepared, within};
use crate::findings::Findings;
use crate::line;
use crate::prober::Tools;
use crate::target::Target;
use quorate_core::check::IcmpCheck;
use quorate_core::{Cause, Phase, ProbeFailure};
use ring::rand::{SecureRandom, SystemRandom};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use tokio::net::UdpSocket;
use tokio::time::Instant;

const HEADER_BYTES: usize = 8;
const NONCE_BYTES: usize = 16;
/// The longest header of IPv4, before the answer on a raw socket.
const MAX_IP_HEADER_BYTES: usize = 60;

/// One attempt.
pub(crate) async fn probe(
    tools: &Tools,
    target: &Target,
    check: &IcmpCheck,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    let authority = line::authority(target)?;
    let mut nonce = [0; NONCE_BYTES];
    SystemRandom::new().fill(&mut nonce).map_err(|_| unprepared("no random bytes"))?;
    let peer = connect::resolve(tools, target, &authority, deadline, findings).await?;
    let socket = open(peer).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => unprepared(
            "ICMP is not allowed to this agent: let its group use unprivileged echo (net.ipv4.ping_group_range), or give it CAP_NET_RAW",
        ),
        _ => of_io(Phase::Connect, &error),
    })?;
    let request = request(peer.is_ipv6(), &nonce, usize::from(check.payload_bytes));
    let asked = Instant::now();
    let sent = within(deadline, Phase::Send, socket.send(&request)).await?;
    sent.map_err(|error| rejected(Phase::Send, &error))?;
    findings.timings.send = Some(asked.elapsed());
    let sent_at = Instant::now();
    let mut answer = vec![0; MAX_IP_HEADER_BYTES + request.len()];
    loop {
        let heard = within(deadline, Phase::FirstByte, socket.recv(&mut answer)).await?;
        let length = heard.map_err(|error| rejected(Phase::FirstByte, &error))?;
        // A raw socket hears everything of its peer.
        if is_answer(peer.is_ipv6(), answer.get(..length).unwrap_or_default(), &nonce) {
            findings.timings.first_byte = Some(sent_at.elapsed());
            return Ok(());
        }
    }
}

/// The failure behind an error of the socket. A request has no port: "refused" is what a packet filter on the way says.
fn rejected(phase: Phase, error: &io::Error) -> ProbeFailure {
    let failure = of_io(phase, error);
    if failure.cause != Cause::Refused {
        return failure;
    }
    let detail = format!("The echo request was rejected, as a packet filter does: {error}");
    ProbeFailure::new(phase, Cause::Unreachable, detail)
}

fn open(peer: SocketAddr) -> io::Result<UdpSocket> {
    let (domain, protocol) =
        if peer.is_ipv6() { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
    let socket = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Socket::new(domain, Type::RAW, Some(protocol))?,
        made => made?,
    };
    socket.set_nonblocking(true)?;
    socket.connect(&SocketAddr::new(peer.ip(), 0).into())?;
    UdpSocket::from_std(socket.into())
}

/// An echo request; the kernel fills in the checksum of ICMPv6.
fn request(v6: bool, nonce: &[u8; NONCE_BYTES], payload: usize) -> Vec<u8> {
    let mut packet = vec![if v6 { 128 } else { 8 }, 0, 0, 0];
    packet.extend_from_slice(nonce.get(..4).unwrap_or_default());
    packet.extend_from_slice(nonce);
    packet.resize(HEADER_BYTES + payload.max(NONCE_BYTES), 0);
    if !v6 {
        let sum = checksum(&packet);
        if let Some(place) = packet.get_mut(2..4) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
    }
    packet
}

/// RFC 1071.
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let sum = words.fold(0u32, u32::wrapping_add);
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

/// Is it the echo of our request? A raw IPv4 socket gives the IP header first.
fn is_answer(v6: bool, heard: &[u8], nonce: &[u8; NONCE_BYTES]) -> bool {
    let skip = match heard.first() {
        Some(first) if !v6 && first >> 4 == 4 => usize::from(first & 15) * 4,
        _ => 0,
    };
    let echo = if v6 { 129 } else { 0 };
    let packet = heard.get(skip..).unwrap_or_default();
    packet.first() == Some(&echo) && packet.get(HEADER_BYTES..HEADER_BYTES + NONCE_BYTES) == Some(nonce.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers() {
        let nonce = [7; NONCE_BYTES];
        let sent = request(false, &nonce, 56);
        assert_eq!((sent.len(), sent[0], checksum(&sent)), (64, 8, 0));
        let mut answer = sent.clone();
        answer[0] = 0;
        assert!(is_answer(false, &answer, &nonce) && !is_answer(false, &sent, &nonce));
        assert!(!is_answer(false, &answer, &[8; NONCE_BYTES]), "another's");
        let mut raw = vec![0x45; 20];
        raw.extend_from_slice(&answer);
        assert!(is_answer(false, &raw, &nonce));
        assert_eq!(request(true, &nonce, 0).len(), HEADER_BYTES + NONCE_BYTES);
    }

    #[test]
    fn a_rejected_request_accuses_no_port() {
        let cause = |errno| rejected(Phase::FirstByte, &io::Error::from_raw_os_error(errno)).cause;
        assert_eq!((cause(111), cause(113), cause(1)), (Cause::Unreachable, Cause::Unreachable, Cause::Local));
    }

    proptest::proptest! {
        #[test]
        fn no_packet_makes_it_panic(heard in proptest::collection::vec(proptest::num::u8::ANY, 0..100), v6: bool) {
            let _ = (is_answer(v6, &heard, &[0; NONCE_BYTES]), checksum(&heard));
        }
    }
}

//! Loopback ports that nobody uses.
//!
//! A port is taken from below the range from which the kernel picks ports for outgoing connections, so that no client socket of this
//! machine takes it between the choice and its use. Each is tried for both protocols and handed out once per test process; processes begin
//! at different places.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A free loopback port for TCP.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_tcp_port() -> u16 {
    free_port()
}

/// A free loopback port for UDP.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_udp_port() -> u16 {
    free_port()
}

fn free_port() -> u16 {
    let offset = u16::try_from(u64::from(std::process::id()) * 211 % u64::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + offset.wrapping_add(step) % COUNT;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        if tcp.is_ok() && udp.is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

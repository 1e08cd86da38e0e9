//! The first two phases of every probe: the name becomes an address, the address a TCP connection.

use crate::address::Authority;
use crate::failure::{Step, of_io, within};
use crate::findings::{Findings, add};
use crate::prober::Tools;
use crate::target::Target;
use quorate_core::{Cause, Phase, ProbeFailure};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

/// The address to ask: one, the first; the observer's vote is about that one. Nobody aims an observer at a third party: the address must be
/// one of the home agent's, or allowed here.
pub(crate) async fn resolve(
    tools: &Tools,
    target: &Target,
    authority: &Authority,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<SocketAddr> {
    let ip = match authority.ip() {
        Some(ip) => ip,
        None => {
            let begun = Instant::now();
            let asked =
                within(deadline, Phase::Resolve, tools.resolver.resolve(&authority.host, &tools.counters)).await;
            add(&mut findings.timings.resolve, begun.elapsed());
            asked??
        }
    };
    tools.own.admit(&authority.host, ip, target.home.as_deref())?;
    let peer = SocketAddr::new(ip, authority.port);
    findings.peer = Some(peer);
    Ok(peer)
}

/// Who speaks first on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// The probe, as soon as the connection is open.
    We,
    /// The far end, or nobody at all.
    They,
}

/// Resolves and connects.
pub(crate) async fn open(
    tools: &Tools,
    target: &Target,
    authority: &Authority,
    first: First,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<TcpStream> {
    let peer = resolve(tools, target, authority, deadline, findings).await?;
    let begun = Instant::now();
    let connected = within(deadline, Phase::Connect, dial(peer, first)).await;
    add(&mut findings.timings.connect, begun.elapsed());
    let connected = connected.and_then(|result| result.map_err(|error| of_io(Phase::Connect, &error)));
    // It may be the host of a redirect, which whoever called the probe does not know.
    let stream = connected.inspect_err(|_| tools.resolver.forget(&authority.host))?;
    // A probe of a free local port can meet itself (RFC 9293, section 3.5: simultaneous open). Nobody listens there.
    if stream.local_addr().is_ok_and(|own| own == peer) {
        return Err(ProbeFailure::new(Phase::Connect, Cause::Refused, "Connection error: nothing listens there"));
    }
    Ok(stream)
}

/// Where the probe speaks first, the last acknowledgement of the handshake travels with what it says: a packet less each way through the stack.
async fn dial(peer: SocketAddr, first: First) -> io::Result<TcpStream> {
    let socket = if peer.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Only a matter of delay; a socket that refuses an option still works.
    let _ = socket.set_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if first == First::We {
        let _ = socket2::SockRef::from(&socket).set_tcp_quickack(false);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = first;
    socket.connect(peer).await
}

/// Ends a connection by a reset when it is dropped: for one that the far end has been asked to close after its answer. There is nothing left to
/// send, and neither side keeps a port in `TIME-WAIT` (RFC 9293, section 3.6) for each probe. HAProxy ends its checks so.
pub(crate) fn leave_by_reset(stream: &TcpStream) {
    // A socket that refuses an option still works.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server learns of a connection by that acknowledgement: at once, or with the first word.
    #[tokio::test]
    async fn the_handshake_ends_with_the_first_word_of_whoever_speaks_first() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let peer = listener.local_addr().unwrap();
        let mut waited = 0;
        for _ in 0..20 {
            let stream = dial(peer, First::We).await.unwrap();
            waited += usize::from(listener.accept().is_err());
            stream.try_write(b"x").unwrap();
            // Some have been acknowledged by the clock, on a machine that is slow.
            let _ = listener.accept();
        }
        assert!(waited > 0, "each was acknowledged at once");
        while listener.accept().is_ok() {}
        let _stream = dial(peer, First::They).await.unwrap();
        assert!(listener.accept().is_ok());
    }
}

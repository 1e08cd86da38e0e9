//! The first two phases of every probe: the name becomes an address, the address a TCP connection.

use crate::address::Authority;
use crate::failure::{Step, of_io, within};
use crate::findings::{Findings, add};
use crate::prober::Tools;
use quorate_core::{Cause, Phase, ProbeFailure};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Resolves and connects. One address is tried, the first: the observer's vote is about that one.
pub(crate) async fn open(
    tools: &Tools,
    authority: &Authority,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<TcpStream> {
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
    let peer = SocketAddr::new(ip, authority.port);
    findings.peer = Some(peer);
    let begun = Instant::now();
    let connected = within(deadline, Phase::Connect, TcpStream::connect(peer)).await;
    add(&mut findings.timings.connect, begun.elapsed());
    let connected = connected.and_then(|result| result.map_err(|error| of_io(Phase::Connect, &error)));
    let stream = connected.inspect_err(|_| tools.resolver.forget(&authority.host))?;
    // A probe of a free local port can meet itself (RFC 9293, section 3.5: simultaneous open). Nobody listens there.
    if stream.local_addr().is_ok_and(|own| own == peer) {
        return Err(ProbeFailure::new(Phase::Connect, Cause::Refused, "Connection error: nothing listens there"));
    }
    // Only a matter of delay; a socket that refuses the option still works.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

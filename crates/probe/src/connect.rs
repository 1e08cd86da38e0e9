//! The first two phases of every probe: the name becomes an address, the address a TCP connection.

use crate::address::Authority;
use crate::failure::{Step, of_io, within};
use crate::findings::{Findings, add};
use crate::prober::Tools;
use crate::target::Target;
use quorate_core::{Cause, Phase, ProbeFailure};
use std::net::SocketAddr;
use tokio::net::TcpStream;
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

/// Resolves and connects.
pub(crate) async fn open(
    tools: &Tools,
    target: &Target,
    authority: &Authority,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<TcpStream> {
    let peer = resolve(tools, target, authority, deadline, findings).await?;
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

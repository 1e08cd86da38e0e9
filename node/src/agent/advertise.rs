//! The address at which others are told to dial this agent.

use crate::usage::usage;
use anyhow::Context;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use quorate_core::registration::host_and_port;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// An address for documentation (RFC 5737): whichever interface leads there leads to the rest of the world. Nothing is sent to it.
const ELSEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// The address to advertise: the one that was asked for; else the one listened on, if it is one; else that of the interface which leads
/// to `peers`, or to the rest of the world; else any that is not loopback.
///
/// # Errors
/// When the one asked for has no address, or cannot be dialled.
pub async fn address(asked: Option<&str>, listen: SocketAddr, peers: &[SocketAddr]) -> anyhow::Result<SocketAddr> {
    if let Some(asked) = asked {
        return resolve(asked, listen).await;
    }
    if !listen.ip().is_unspecified() {
        return Ok(listen);
    }
    let leading = || peers.iter().chain([&ELSEWHERE]).find_map(|peer| source_towards(*peer));
    let ip = match leading().or_else(|| any_interface(listen.is_ipv6())) {
        Some(ip) => ip,
        None => {
            tracing::warn!("no interface but loopback: agents on other hosts cannot reach this one; use --advertise");
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        }
    };
    Ok(SocketAddr::new(ip, listen.port()))
}

async fn resolve(asked: &str, listen: SocketAddr) -> anyhow::Result<SocketAddr> {
    let (host, port) = match asked.parse::<IpAddr>() {
        Ok(_) => (asked.to_owned(), listen.port()),
        Err(_) if !asked.contains(':') => (asked.to_owned(), listen.port()),
        Err(_) => {
            let parts =
                host_and_port(asked).with_context(|| format!("--advertise {asked:?} is not HOST or HOST:PORT"))?;
            (parts.0.to_owned(), parts.1)
        }
    };
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let found: Vec<_> = found.with_context(|| format!("--advertise {host:?} has no address"))?.collect();
    let fitting = found.iter().find(|address| address.is_ipv4() == listen.is_ipv4()).or(found.first());
    let address = *fitting.with_context(|| format!("--advertise {host:?} has no address"))?;
    if address.ip().is_unspecified() {
        return Err(usage(format!(
            "--advertise {asked} cannot be dialled; name the address at which others reach this host"
        )));
    }
    Ok(address)
}

/// The address from which packets to `peer` would leave. Connecting a UDP socket sends nothing.
pub fn source_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}

/// The first address of an interface that is up and not loopback; IPv4 before IPv6, which is taken only where it is listened on.
fn any_interface(with_v6: bool) -> Option<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for interface in getifaddrs().ok()? {
        let usable =
            interface.flags.contains(InterfaceFlags::IFF_UP) && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let Some(address) = interface.address.filter(|_| usable) else { continue };
        found.extend(address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip())));
        let v6 = address.as_sockaddr_in6().map(|v6| v6.ip()).filter(|ip| with_v6 && !ip.is_unicast_link_local());
        found.extend(v6.map(IpAddr::V6));
    }
    found.iter().find(|ip| ip.is_ipv4()).or(found.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[tokio::test]
    async fn what_is_asked_for_and_what_is_listened_on() {
        let any = SocketAddr::from(([0, 0, 0, 0], 7700));
        assert_eq!(address(Some("127.0.0.1"), any, &[]).await.unwrap(), local(7700));
        assert_eq!(address(Some("localhost:99"), any, &[]).await.unwrap(), local(99));
        assert_eq!(address(None, local(5), &[]).await.unwrap(), local(5));
        assert_eq!(address(None, any, &[local(1)]).await.unwrap(), local(7700));
        for bad in ["0.0.0.0", "0.0.0.0:7700", "a b:1"] {
            assert!(address(Some(bad), any, &[]).await.is_err(), "{bad}");
        }
    }
}

//! `[api]`: where the API listens, and who is let in.

use super::file::{parsed, socket_address};
use super::keys::{AGENT, API};
use super::reader::{Faults, Section};
use super::settings::FileSettings;
use crate::access::addresses::Network;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The API's settings beside its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// TCP address that speaks TLS, if any.
    pub tls_listen: Option<SocketAddr>,
    /// TCP address that answers health probes in the clear, wherever they come from, and nothing else; if any.
    pub health_listen: Option<SocketAddr>,
    /// Certificate chain and key; the agent's own certificate of the mesh when absent.
    pub tls_files: Option<(PathBuf, PathBuf)>,
    /// Requests within a minute of each client that is held to a rate; zero for no limit.
    pub rate_limit: u32,
}

/// Where something listens that knows neither TLS nor tokens, and whom it answers besides this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restricted {
    /// The address.
    pub address: SocketAddr,
    /// Who may ask.
    pub from: Vec<Network>,
}

impl Restricted {
    /// Is somebody at this address answered?
    pub fn admits(&self, address: IpAddr) -> bool {
        address.to_canonical().is_loopback() || self.from.iter().any(|network| network.contains(address))
    }
}

/// A hundred requests a second: many dashboards, and no flood.
const DEFAULT_RATE_LIMIT: u32 = 6000;

impl Default for ApiSettings {
    fn default() -> Self {
        Self { tls_listen: None, health_listen: None, tls_files: None, rate_limit: DEFAULT_RATE_LIMIT }
    }
}

/// Reads the section.
pub fn read(root: &Section<'_>, settings: &mut FileSettings, faults: &mut Faults) {
    let mut place = root.table("agent", &AGENT, &mut Faults::default()).map(|agent| agent.place("api"));
    if let Some(section) = root.table("api", &API, faults) {
        if section.has("listen") {
            if settings.api.is_some() {
                let message = "says the same as `agent.api`; keep one of them";
                faults.add(section.key_place("listen"), section.key("listen"), message);
            }
            settings.api = parsed(&section, "listen", faults, socket_address);
            place = Some(section.place("listen"));
        }
        settings.agent_check = restricted(&section, "agent_check", "agent_check_from", faults);
        settings.api_access = access(&section, faults);
    }
    if let (Some(address), Some((at, key))) = (settings.api, place)
        && !address.ip().is_loopback()
    {
        faults.add(at, key, in_the_clear(address));
    }
}

/// Why nothing listens there.
pub fn in_the_clear(address: SocketAddr) -> String {
    format!(
        "{address} is not a loopback address, and what listens here asks for no token and speaks no TLS. Use `tls_listen` under [api], with \
         a token of `quorate token create --scope read`; for health probes alone there is `health_listen`"
    )
}

/// An address of something that knows neither TLS nor tokens: off loopback it answers the networks that are named, and nobody else.
pub fn restricted(section: &Section<'_>, listen: &str, from: &str, faults: &mut Faults) -> Option<Restricted> {
    let address = parsed(section, listen, faults, socket_address);
    let mut networks = Vec::new();
    if let Some(found) = section.take::<Vec<String>>(from, faults) {
        for text in found.value {
            match text.parse() {
                Ok(network) => networks.push(network),
                Err(message) => faults.add(found.at, section.key(from), message),
            }
        }
        if !section.has(listen) {
            let message = format!("is for `{listen}`, which is not set");
            faults.add(section.key_place(from), section.key(from), message);
        }
    }
    let address = address?;
    if !address.ip().is_loopback() && !section.has(from) {
        let (at, key) = section.place(listen);
        let message = format!(
            "{address} is not a loopback address, and what is asked there knows neither tokens nor TLS; name who may ask with `{from}`, \
             such as [\"10.0.0.5\", \"10.1.0.0/16\"]"
        );
        faults.add(at, key, message);
    }
    Some(Restricted { address, from: networks })
}

fn access(section: &Section<'_>, faults: &mut Faults) -> ApiSettings {
    let mut access =
        ApiSettings { tls_listen: parsed(section, "tls_listen", faults, socket_address), ..Default::default() };
    access.health_listen = parsed(section, "health_listen", faults, socket_address);
    let path = |name, faults: &mut Faults| section.take::<String>(name, faults).map(|found| PathBuf::from(found.value));
    match (path("tls_cert_file", faults), path("tls_key_file", faults)) {
        (Some(certificate), Some(key)) => access.tls_files = Some((certificate, key)),
        (None, None) => {}
        (found, _) => {
            let (has, lacks) =
                if found.is_some() { ("tls_cert_file", "tls_key_file") } else { ("tls_key_file", "tls_cert_file") };
            let (at, key) = section.place(has);
            faults.add(at, key, format!("goes together with `{lacks}`; name both files, or neither"));
        }
    }
    if section.has("tls_cert_file") && !section.has("tls_listen") {
        let (at, key) = section.place("tls_cert_file");
        faults.add(at, key, "is for `tls_listen`, which is not set");
    }
    if let Some(found) = section.take("rate_limit", faults) {
        access.rate_limit = found.value;
    }
    access
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_answered_without_a_token() {
        let address = "0.0.0.0:53".parse().unwrap();
        let from = ["10.0.0.0/8", "fd00::1"].map(|network| network.parse().unwrap()).to_vec();
        let whom = Restricted { address, from };
        for (ip, admitted) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.9.9.9", true),
            ("::ffff:10.9.9.9", true),
            ("fd00::1", true),
            ("fd00::2", false),
            ("192.0.2.1", false),
        ] {
            assert_eq!(whom.admits(ip.parse().unwrap()), admitted, "{ip}");
        }
        assert!(!Restricted { address, from: Vec::new() }.admits("192.0.2.1".parse().unwrap()));
    }
}

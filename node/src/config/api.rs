//! `[api]`: where the API listens, and who is let in.

use super::file::{parsed, socket_address};
use super::keys::{AGENT, API};
use super::reader::{Faults, Section};
use super::settings::FileSettings;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The API's settings beside its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// TCP address that speaks TLS, if any.
    pub tls_listen: Option<SocketAddr>,
    /// Certificate chain and key; the agent's own certificate of the mesh when absent.
    pub tls_files: Option<(PathBuf, PathBuf)>,
    /// Requests within a minute of each client that is held to a rate; zero for no limit.
    pub rate_limit: u32,
}

/// A hundred requests a second: many dashboards, and no flood.
const DEFAULT_RATE_LIMIT: u32 = 6000;

impl Default for ApiSettings {
    fn default() -> Self {
        Self { tls_listen: None, tls_files: None, rate_limit: DEFAULT_RATE_LIMIT }
    }
}

/// Reads the section.
pub fn read(root: &Section<'_>, settings: &mut FileSettings, faults: &mut Faults) {
    let mut place = root.table("agent", &AGENT, &mut Faults::default()).map(|agent| agent.place("api"));
    let mut check_place = None;
    if let Some(section) = root.table("api", &API, faults) {
        settings.allow_remote = section.take("allow_remote", faults).is_some_and(|found| found.value);
        if section.has("listen") {
            if settings.api.is_some() {
                let message = "says the same as `agent.api`; keep one of them";
                faults.add(section.key_place("listen"), section.key("listen"), message);
            }
            settings.api = parsed(&section, "listen", faults, socket_address);
            place = Some(section.place("listen"));
        }
        settings.agent_check = parsed(&section, "agent_check", faults, socket_address);
        check_place = Some(section.place("agent_check"));
        settings.api_access = access(&section, faults);
    }
    for (address, place) in [(settings.api, place), (settings.agent_check, check_place)] {
        let (Some(address), Some((at, key))) = (address, place) else { continue };
        if !address.ip().is_loopback() && !settings.allow_remote {
            faults.add(at, key, in_the_clear(address));
        }
    }
}

/// Why nothing listens there.
pub fn in_the_clear(address: SocketAddr) -> String {
    format!(
        "{address} is not a loopback address, and what listens here asks for no token and speaks no TLS. Use `tls_listen` under [api], or, \
         if everyone who can reach the address may read everything, set `allow_remote = true` there"
    )
}

fn access(section: &Section<'_>, faults: &mut Faults) -> ApiSettings {
    let mut access =
        ApiSettings { tls_listen: parsed(section, "tls_listen", faults, socket_address), ..Default::default() };
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

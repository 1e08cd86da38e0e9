//! What belongs to the observer's own host: the secrets it adds to checks, and the targets it lets others aim it at.

use crate::exec::Program;
use crate::failure::{Step, unprepared};
use quorate_core::ProbeFailure;
use quorate_core::check::{Secret, SecretSource};
use std::collections::BTreeMap;
use std::env::VarError;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::PathBuf;
use tokio::io::AsyncReadExt;

/// Bytes of a secret at most.
const MAX_SECRET_BYTES: u64 = 8 * 1024;

/// What of its host an observer uses for checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// The folder of secrets; none: checks that need a file abstain.
    pub secrets_dir: Option<PathBuf>,
    /// Targets that may be probed although they are not at their home's own address.
    pub allowed: Vec<Allowed>,
    /// Programs that its own checks run, by their keys.
    pub programs: BTreeMap<u64, Program>,
    /// The socket of its container engine; none: checks of containers abstain.
    pub container_socket: Option<PathBuf>,
    /// The socket of the D-Bus on which systemd is asked; none: the system's, `/run/dbus/system_bus_socket`.
    pub dbus_socket: Option<PathBuf>,
}

/// A target that may be probed wherever its registration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// Addresses of a network: its address, and how many bits of it count.
    Network(IpAddr, u8),
    /// A name, or with a leading dot every name below it.
    Name(String),
}

impl Allowed {
    /// Reads `10.0.0.0/8`, `10.0.0.1`, `web.internal` or `.internal`.
    ///
    /// # Errors
    /// Says what it should be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a network (10.0.0.0/8), an address or a name (web.internal, .internal)");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        match (address.parse::<IpAddr>(), bits) {
            (Ok(ip), bits) => {
                let all = if ip.is_ipv4() { 32 } else { 128 };
                let bits = bits.map_or(Some(all), |bits| bits.parse().ok().filter(|bits| *bits <= all));
                bits.map(|bits| Self::Network(ip, bits)).ok_or_else(wrong)
            }
            (Err(_), None) => {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
                let is_name = !text.is_empty() && text.len() <= 253 && text.bytes().all(plain) && text != ".";
                if is_name { Ok(Self::Name(text.to_ascii_lowercase())) } else { Err(wrong()) }
            }
            (Err(_), Some(_)) => Err(wrong()),
        }
    }

    fn admits(&self, host: &str, ip: IpAddr) -> bool {
        match self {
            Self::Network(network, bits) => in_network(*network, *bits, ip),
            Self::Name(name) if name.starts_with('.') => host.ends_with(name.as_str()),
            Self::Name(name) => host == name,
        }
    }
}

fn in_network(network: IpAddr, bits: u8, ip: IpAddr) -> bool {
    let same = |a: u128, b: u128, all: u32| u32::from(bits) == 0 || (a ^ b) >> (all - u32::from(bits).min(all)) == 0;
    match (network.to_canonical(), ip.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

impl Own {
    /// May a target at `ip`, named `host`, be asked on behalf of an agent that speaks for `home`?
    pub(crate) fn admit(&self, host: &str, ip: IpAddr, home: Option<&[IpAddr]>) -> Step<()> {
        let Some(home) = home else { return Ok(()) };
        let its_own = home.iter().any(|own| own.to_canonical() == ip.to_canonical());
        if its_own || self.allowed.iter().any(|allowed| allowed.admits(host, ip)) {
            return Ok(());
        }
        let at = if host == ip.to_string() { host.to_owned() } else { format!("{host} ({ip})") };
        Err(unprepared(format!(
            "{at} is not an address of the agent that registered it; allow it here with `probe.allow_targets`"
        )))
    }

    /// The whole value of a secret.
    pub(crate) async fn reveal(&self, secret: &Secret) -> Step<String> {
        let found = match &secret.source {
            SecretSource::Env(name) => {
                let name = format!("{}{name}", Secret::ENV_PREFIX);
                let found = std::env::var(&name).map_err(|error| match error {
                    VarError::NotPresent => unprepared(format!("the secret {name} is not in this agent's environment")),
                    VarError::NotUnicode(_) => unusable(&name, "it is not UTF-8"),
                })?;
                bounded(&name, found)?
            }
            SecretSource::File(name) => self.read(name).await?,
        };
        Ok(format!("{}{found}", secret.prefix))
    }

    async fn read(&self, name: &str) -> Step<String> {
        let absent = |why: String| unprepared(format!("the secret {name} is not on this host: {why}"));
        let folder = self.secrets_dir.as_ref().ok_or_else(|| absent("`probe.secrets_dir` is not set".to_owned()))?;
        // The rule of checks, kept here too: nothing but a name in that folder.
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Err(absent("not a name".to_owned()));
        }
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => absent(error.to_string()),
            ErrorKind::InvalidData => unusable(name, "it is not UTF-8"),
            _ => unusable(name, &error.to_string()),
        };
        let path = folder.join(name);
        // To open a pipe takes until somebody writes to it, and a thread of the agent for each probe.
        if !tokio::fs::metadata(&path).await.map_err(failed)?.is_file() {
            return Err(unusable(name, "it is no file"));
        }
        let file = tokio::fs::File::open(path).await.map_err(failed)?;
        let mut text = String::new();
        let length = file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text).await.map_err(failed)?;
        if u64::try_from(length).is_ok_and(|length| length > MAX_SECRET_BYTES) {
            return Err(too_long(name));
        }
        let end = text.trim_end_matches(['\r', '\n']).len();
        text.truncate(end);
        Ok(text)
    }
}

/// A secret of the environment is as long as one of a file may be.
fn bounded(name: &str, secret: String) -> Step<String> {
    if u64::try_from(secret.len()).is_ok_and(|length| length > MAX_SECRET_BYTES) {
        return Err(too_long(name));
    }
    Ok(secret)
}

fn too_long(name: &str) -> ProbeFailure {
    unusable(name, &format!("it is longer than {MAX_SECRET_BYTES} bytes"))
}

/// A secret that is there.
fn unusable(name: &str, why: &str) -> ProbeFailure {
    unprepared(format!("the secret {name} cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_their_homes_own_or_allowed() {
        let own = |allowed: &[&str]| Own {
            allowed: allowed.iter().map(|text| Allowed::parse(text).unwrap()).collect(),
            ..Own::default()
        };
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let home = [ip("10.0.0.1")];
        let admitted = |own: &Own, host: &str, at: &str| own.admit(host, ip(at), Some(&home)).is_ok();
        assert!(admitted(&own(&[]), "10.0.0.1", "10.0.0.1") && admitted(&own(&[]), "web", "::ffff:10.0.0.1"));
        assert!(!admitted(&own(&[]), "127.0.0.1", "127.0.0.1"), "the observer itself");
        assert!(!admitted(&own(&[]), "10.0.0.2", "10.0.0.2"));
        assert!(own(&[]).admit("10.0.0.2", ip("10.0.0.2"), None).is_ok(), "one's own registration");
        let table = [
            ("10.0.0.0/8", "web", "10.9.9.9", true),
            ("10.0.0.0/8", "web", "11.0.0.1", false),
            ("10.0.0.2", "web", "10.0.0.2", true),
            ("10.0.0.2", "web", "10.0.0.3", false),
            ("0.0.0.0/0", "web", "192.0.2.1", true),
            ("0.0.0.0/0", "web", "2001:db8::1", false),
            ("2001:db8::/32", "web", "2001:db8:9::1", true),
            ("web.internal", "web.internal", "192.0.2.1", true),
            ("web.internal", "a.web.internal", "192.0.2.1", false),
            (".internal", "a.web.internal", "192.0.2.1", true),
            (".internal", "internal", "192.0.2.1", false),
        ];
        for (allowed, host, at, admits) in table {
            assert_eq!(admitted(&own(&[allowed]), host, at), admits, "{allowed} {host} {at}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0.0/x", "a b", "web/8", ".", "::/129"] {
            assert!(Allowed::parse(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn secrets_are_read_from_their_folder_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("secrets")).unwrap();
        std::fs::write(folder.path().join("secrets/token"), "abc\n").unwrap();
        std::fs::write(folder.path().join("outside"), "no").unwrap();
        std::fs::write(folder.path().join("secrets/long"), "x".repeat(10_000)).unwrap();
        let own = Own { secrets_dir: Some(folder.path().join("secrets")), ..Own::default() };
        let file = |name: &str| Secret { prefix: "Bearer ".into(), source: SecretSource::File(name.into()) };
        assert_eq!(own.reveal(&file("token")).await.unwrap(), "Bearer abc");
        for absent in ["other", "../outside", "long", "", ".", ".."] {
            let failure = own.reveal(&file(absent)).await.unwrap_err();
            assert_eq!(failure.cause, quorate_core::Cause::Local, "{absent}: it accuses nobody");
        }
        assert!(Own::default().reveal(&file("token")).await.is_err());
        std::fs::write(folder.path().join("secrets/bytes"), [0xff, 0xfe]).unwrap();
        std::fs::create_dir(folder.path().join("secrets/folder")).unwrap();
        nix::unistd::mkfifo(&folder.path().join("secrets/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for there in ["long", "bytes", "folder", "pipe"] {
            let detail = own.reveal(&file(there)).await.unwrap_err().detail;
            assert!(detail.starts_with(&format!("the secret {there} cannot be used: ")), "{detail}");
        }
        let detail = own.reveal(&file("other")).await.unwrap_err().detail;
        assert!(detail.starts_with("the secret other is not on this host: "), "{detail}");
        assert!(bounded("x", "x".repeat(8192)).is_ok() && bounded("x", "x".repeat(8193)).is_err());
        let env = |name: &str| Secret { prefix: String::new(), source: SecretSource::Env(name.into()) };
        assert!(own.reveal(&env("SURELY_ABSENT")).await.is_err());
        assert!(own.reveal(&env("PATH")).await.is_err(), "no other variable is read");
    }
}

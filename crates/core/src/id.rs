//! Names of agents, services, instances and zones.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// An agent's identity in the mesh: the first eight bytes of the hash of its public key, so that a certificate proves it.
///
/// Shown as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AgentId(pub u64);

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for AgentId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match u64::from_str_radix(text, 16) {
            Ok(id) if digits => Ok(Self(id)),
            _ => Err(NameError { what: "agent id", text: clip(text), rule: "16 hexadecimal digits" }),
        }
    }
}

impl Serialize for AgentId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_u64(self.0) }
    }
}

impl<'de> Deserialize<'de> for AgentId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            u64::deserialize(deserializer).map(Self)
        }
    }
}

/// A name that does not follow its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameError {
    /// What was being named.
    pub what: &'static str,
    /// The text given, cut to 64 characters.
    pub text: String,
    /// What it should have been.
    pub rule: &'static str,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a valid {}: use {}", self.text, self.what, self.rule)
    }
}

impl std::error::Error for NameError {}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Is `text` a name of at most `max` bytes, of letters, digits and what else is allowed?
fn checked<'a>(
    what: &'static str,
    text: &'a str,
    max: usize,
    rule: &'static str,
    extra: &[u8],
) -> Result<&'a str, NameError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || extra.contains(&b);
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'[');
    if first && text.len() <= max && text.bytes().all(allowed) {
        Ok(text)
    } else {
        Err(NameError { what, text: clip(text), rule })
    }
}

/// Names are written and read as text.
macro_rules! as_text {
    ($type:ident, $what:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;
                impl serde::de::Visitor<'_> for Reader {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a ", $what))
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        $type::new(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Reader)
            }
        }
    };
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $max:literal, $rule:literal, $extra:literal) => {
        $(#[$doc])*
        ///
        /// Cheap to clone.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// The longest name allowed, in bytes.
            pub const MAX_BYTES: usize = $max;

            /// Checks `text` and takes it as a name.
            ///
            /// # Errors
            /// When it is empty, too long, or holds a character outside the rule.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                checked($what, text.as_ref(), $max, $rule, $extra).map(|text| Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        as_text!($type, $what);
    };
}

name!(
    /// The name of a service, such as `web`.
    ServiceName, "service name", 63, "1 to 63 letters, digits, `-`, `_` or `.`, beginning with a letter or digit", b"-_."
);
name!(
    /// A failure domain: a rack, a room, a region. Observers of one instance are spread over zones.
    Zone, "zone", 63, "1 to 63 letters, digits, `-`, `_` or `.`, beginning with a letter or digit", b"-_."
);

/// The built-in service of which every agent's host is an instance.
pub const AGENT_SERVICE: &str = "quorate-agent";

/// The name of one running copy of a service, unique in the mesh, such as `web@10.0.0.1:8080`.
///
/// Cheap to clone. Those that stand for hosts are made and compared without touching the heap: an engine does so all the time.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct InstanceId(Name);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    /// An agent's host. Whatever has such a name is here, and never below.
    Host([u8; HOST_BYTES]),
    Given(Arc<str>),
}

/// What the names of hosts begin with.
const HOST_PREFIX: &str = "quorate-agent@";
const HOST_BYTES: usize = HOST_PREFIX.len() + 16;

as_text!(InstanceId, "instance id");

impl InstanceId {
    /// The longest name allowed, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Checks `text` and takes it as a name.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a character outside the rule.
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        let text = text.as_ref();
        if let Some(agent) = host_named(text) {
            return Ok(Self::host(agent));
        }
        const RULE: &str = "1 to 128 letters, digits or `-_.:@[]`, beginning with a letter or digit";
        checked("instance id", text, Self::MAX_BYTES, RULE, b"-_.:@[]").map(|text| Self(Name::Given(text.into())))
    }

    /// The instance that stands for an agent's host: `quorate-agent@<agent id>`.
    #[must_use]
    pub fn host(agent: AgentId) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut name = [0; HOST_BYTES];
        let (prefix, digits) = name.split_at_mut(HOST_PREFIX.len());
        prefix.copy_from_slice(HOST_PREFIX.as_bytes());
        for (place, digit) in digits.iter_mut().enumerate() {
            *digit = DIGITS[(agent.0 >> (60 - 4 * place)) as usize & 0xf];
        }
        Self(Name::Host(name))
    }

    /// The agent whose host this instance stands for, if it is one.
    #[must_use]
    pub fn host_of(&self) -> Option<AgentId> {
        match &self.0 {
            Name::Host(name) => Some(AgentId(name[HOST_PREFIX.len()..].iter().fold(0, with_digit))),
            Name::Given(_) => None,
        }
    }

    /// Would people take it for the name of a host?
    #[must_use]
    pub fn resembles_host(&self) -> bool {
        self.as_str().strip_prefix(HOST_PREFIX).is_some_and(|digits| digits.parse::<AgentId>().is_ok())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Host(name) => str::from_utf8(name).unwrap_or(HOST_PREFIX),
            Name::Given(name) => name,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Name::Host(name) => name,
            Name::Given(name) => name.as_bytes(),
        }
    }

    /// A portable hash of the name.
    #[must_use]
    pub fn hash64(&self) -> u64 {
        crate::hash::bytes(self.as_bytes())
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InstanceId").field(&self.as_str()).finish()
    }
}

/// As their names are ordered.
impl Ord for InstanceId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (&self.0, &other.0) {
            // What most comparisons are of: here only the digits differ, and they fill a register.
            (Name::Host(name), Name::Host(others)) => digits(name).cmp(&digits(others)),
            _ => self.as_bytes().cmp(other.as_bytes()),
        }
    }
}

impl PartialOrd for InstanceId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A number with one more hexadecimal digit, of those that [`InstanceId::host`] writes.
fn with_digit(number: u64, digit: &u8) -> u64 {
    let value = if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 };
    number << 4 | u64::from(value)
}

/// The digits of a host's name as one number: the lower, the sooner the name.
fn digits(name: &[u8; HOST_BYTES]) -> u128 {
    name[HOST_PREFIX.len()..].iter().fold(0, |number, digit| number << 8 | u128::from(*digit))
}

fn host_named(text: &str) -> Option<AgentId> {
    // Capital digits make another name.
    let agent = text.strip_prefix(HOST_PREFIX)?.parse().ok()?;
    (InstanceId::host(agent).as_bytes() == text.as_bytes()).then_some(agent)
}

impl ServiceName {
    /// The built-in service of hosts.
    #[must_use]
    pub fn agents() -> Self {
        Self(AGENT_SERVICE.into())
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self("default".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rules() {
        assert!(ServiceName::new("web-1").is_ok());
        for bad in ["", "-web", "we b", "wëb", &"x".repeat(64)] {
            assert!(ServiceName::new(bad).is_err(), "{bad}");
        }
        assert!(InstanceId::new("web@[::1]:80").is_ok());
        assert!(InstanceId::new("web/1").is_err());
    }

    #[test]
    fn hosts_are_instances() {
        let agent = AgentId(0xab);
        let host = InstanceId::host(agent);
        assert_eq!(host.as_str(), "quorate-agent@00000000000000ab");
        for agent in [agent, AgentId(0), AgentId(u64::MAX), AgentId(0x0123_4567_89ab_cdef)] {
            assert_eq!(InstanceId::host(agent).host_of(), Some(agent));
        }
        assert_eq!(InstanceId::new("quorate-agent@x").unwrap().host_of(), None);
        assert!("+0000000000000ab".parse::<AgentId>().is_err());
        assert_eq!(InstanceId::new("quorate-agent@00000000000000ab").unwrap(), host);
        let capital = InstanceId::new("quorate-agent@00000000000000AB").unwrap();
        assert_eq!((capital.as_str(), capital.host_of()), ("quorate-agent@00000000000000AB", None));
        assert!(capital.resembles_host() && host.resembles_host() && capital != host);
    }

    #[test]
    fn instances_are_ordered_as_their_names() {
        let given =
            ["a", "quorate-agent@", "quorate-agent@00000000000000AB", "quorate-agent@0000000000000fff0", "web@1"];
        let hosts = [0, 0xab, 0xfff, u64::MAX].map(|agent| InstanceId::host(AgentId(agent)));
        let mut all: Vec<_> = given.map(|name| InstanceId::new(name).unwrap()).into_iter().chain(hosts).collect();
        all.sort();
        let mut names: Vec<_> = all.iter().map(|id| id.as_str().to_owned()).collect();
        assert!(names.is_sorted(), "{names:?}");
        names.dedup();
        assert_eq!(names.len(), 9);
    }
}

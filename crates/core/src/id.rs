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
                let text = text.as_ref();
                let allowed = |b: u8| b.is_ascii_alphanumeric() || $extra.contains(&b);
                let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'[');
                if first && text.len() <= $max && text.bytes().all(allowed) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError { what: $what, text: clip(text), rule: $rule })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
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
                serializer.serialize_str(&self.0)
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

name!(
    /// The name of a service, such as `web`.
    ServiceName, "service name", 63, "1 to 63 letters, digits, `-`, `_` or `.`, beginning with a letter or digit", b"-_."
);
name!(
    /// The name of one running copy of a service, unique in the mesh, such as `web@10.0.0.1:8080`.
    InstanceId, "instance id", 128, "1 to 128 letters, digits or `-_.:@[]`, beginning with a letter or digit", b"-_.:@[]"
);
name!(
    /// A failure domain: a rack, a room, a region. Observers of one instance are spread over zones.
    Zone, "zone", 63, "1 to 63 letters, digits, `-`, `_` or `.`, beginning with a letter or digit", b"-_."
);

/// The built-in service of which every agent's host is an instance.
pub const AGENT_SERVICE: &str = "quorate-agent";

impl InstanceId {
    /// The instance that stands for an agent's host: `quorate-agent@<agent id>`.
    #[must_use]
    pub fn host(agent: AgentId) -> Self {
        // Asked for so often that formatting would be felt.
        let mut name = String::with_capacity(AGENT_SERVICE.len() + 17);
        name.push_str(AGENT_SERVICE);
        name.push('@');
        let digits = (0..16).rev().map(|place| (agent.0 >> (4 * place)) as u32 & 0xf);
        name.extend(digits.filter_map(|digit| char::from_digit(digit, 16)));
        Self(name.into())
    }

    /// The agent whose host this instance stands for, if it is one.
    #[must_use]
    pub fn host_of(&self) -> Option<AgentId> {
        self.0.strip_prefix(AGENT_SERVICE)?.strip_prefix('@')?.parse().ok()
    }

    /// A portable hash of the name.
    #[must_use]
    pub fn hash64(&self) -> u64 {
        crate::hash::bytes(self.0.as_bytes())
    }
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
        assert_eq!(host.host_of(), Some(agent));
        assert_eq!(InstanceId::new("quorate-agent@x").unwrap().host_of(), None);
        assert!("+0000000000000ab".parse::<AgentId>().is_err());
    }
}

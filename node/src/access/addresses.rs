//! The addresses from which a token may be used.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    /// Is the address in it? An IPv4 address in IPv6 clothing is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(|network| Self(network.trunc())).map_err(|_| {
            let shown: String = text.chars().take(64).collect();
            format!("{shown:?} is not a network such as 10.0.0.0/8, nor an address")
        })
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_addresses() {
        let contains = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().contains(address.parse::<IpAddr>().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.9.9.9") && contains("10.1.2.3/8", "::ffff:10.9.9.9"));
        assert!(contains("fd00::/8", "fd00::1") && contains("127.0.0.1", "127.0.0.1"));
        assert!(
            !contains("10.0.0.0/8", "11.0.0.1") && !contains("127.0.0.1", "127.0.0.2") && !contains("::/0", "1.2.3.4")
        );
        for bad in ["", "10.0.0.0/33", "host", "10.0.0"] {
            assert!(bad.parse::<Network>().unwrap_err().contains("not a network"), "{bad}");
        }
        assert_eq!("10.1.2.3/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
    }
}

//! Checks over datagrams: UDP, and ICMP echo.

use super::exchange::{Expect, payload, reading};
use super::{Errors, limits};
use serde::{Deserialize, Serialize};

/// Settings of a UDP check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpCheck {
    /// The datagram sent.
    pub send: Vec<u8>,
    /// Must something come back? If not, only a refusal (ICMP port unreachable) fails the probe.
    pub expect_answer: bool,
    /// What the answer must hold; none: any answer passes.
    pub expect: Option<Expect>,
    /// Bytes of an answer read at most.
    pub max_read_bytes: u32,
}

impl Default for UdpCheck {
    fn default() -> Self {
        Self { send: Vec::new(), expect_answer: true, expect: None, max_read_bytes: 1024 }
    }
}

impl UdpCheck {
    /// Bytes that fit one datagram over IPv4.
    pub const MAX_DATAGRAM_BYTES: usize = 65_507;

    pub(super) fn validate(&self, errors: &mut Errors) {
        payload(errors, &self.send);
        reading(errors, self.expect.as_ref(), self.max_read_bytes);
        errors.rule("expect_answer", self.expect_answer || self.expect.is_none(), || {
            "is off, but an answer is described; take one of them out".to_owned()
        });
    }
}

/// Settings of an ICMP echo check (RFC 792, RFC 4443). The port of the instance's address is not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IcmpCheck {
    /// Bytes of data in each echo request.
    pub payload_bytes: u16,
}

impl Default for IcmpCheck {
    /// 56 bytes, as `ping` sends.
    fn default() -> Self {
        Self { payload_bytes: 56 }
    }
}

impl IcmpCheck {
    pub(super) fn validate(&self, errors: &mut Errors) {
        errors.rule("payload_bytes", (16..=limits::MAX_ECHO_BYTES).contains(&self.payload_bytes), || {
            format!("{} is not allowed; use 16 to {}", self.payload_bytes, limits::MAX_ECHO_BYTES)
        });
    }
}

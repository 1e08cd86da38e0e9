//! DNS checks: the instance is a name server, and answers a question as it should.

use super::exchange::Expect;
use super::{Errors, clip, limits};
use crate::evidence::words;
use serde::{Deserialize, Serialize};
use std::fmt;

words!(
    /// A type of record to ask for (RFC 1035, RFC 3596, RFC 2782).
    RecordType {
        /// IPv4 addresses.
        A = "A",
        /// IPv6 addresses.
        Aaaa = "AAAA",
        /// Another name.
        Cname = "CNAME",
        /// Mail servers.
        Mx = "MX",
        /// Name servers.
        Ns = "NS",
        /// A name for an address.
        Ptr = "PTR",
        /// A zone's own data.
        Soa = "SOA",
        /// Where a service is.
        Srv = "SRV",
        /// Text.
        Txt = "TXT",
    }
);

words!(
    /// How a question is carried.
    DnsTransport {
        /// By datagram; again by TCP if the answer was cut.
        Udp = "udp",
        /// By TCP.
        Tcp = "tcp",
    }
);

/// Settings of a DNS check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsCheck {
    /// The name asked for.
    pub name: String,
    /// The type asked for.
    pub record_type: RecordType,
    /// How.
    pub transport: DnsTransport,
    /// Response codes that pass, by their number (RFC 6895): 0 is NOERROR, 3 is NXDOMAIN.
    pub rcodes: Vec<u16>,
    /// What one record of the answer must be: its data as in a zone file. None: with NOERROR, there must be any record of the type.
    pub expect: Option<Expect>,
}

impl Default for DnsCheck {
    fn default() -> Self {
        Self {
            name: ".".to_owned(),
            record_type: RecordType::A,
            transport: DnsTransport::Udp,
            rcodes: vec![0],
            expect: None,
        }
    }
}

impl DnsCheck {
    /// Most response codes in one check.
    pub const MAX_RCODES: usize = 32;

    pub(super) fn validate(&self, errors: &mut Errors) {
        let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_graphic());
        let name = self.name.strip_suffix('.').unwrap_or(&self.name);
        errors.rule("query_name", name.len() <= 253 && (name.is_empty() || name.split('.').all(label)), || {
            format!("{:?} is not a domain name", clip(&self.name))
        });
        errors.rule("rcodes", (1..=Self::MAX_RCODES).contains(&self.rcodes.len()), || {
            format!("at least one response code is needed, such as \"NOERROR\", and at most {}", Self::MAX_RCODES)
        });
        match &self.expect {
            Some(Expect::Contains(text)) => {
                errors.rule("expected_answer", !text.is_empty() && text.len() <= limits::MAX_TEXT_BYTES, || {
                    "empty or too long".to_owned()
                });
            }
            Some(Expect::Regex(pattern)) => {
                errors.rule(
                    "expected_answer_regex",
                    !pattern.is_empty() && pattern.len() <= limits::MAX_REGEX_BYTES,
                    || format!("empty or too long; at most {} bytes", limits::MAX_REGEX_BYTES),
                );
            }
            None => {}
        }
    }
}

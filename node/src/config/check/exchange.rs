//! Settings of checks that say something and listen: TCP and UDP.

use super::super::reader::{Faults, Section};
use super::set;
use data_encoding::HEXLOWER_PERMISSIVE;
use quorate_core::check::UdpCheck;
use quorate_core::{Expect, TcpCheck};

/// Reads those of a TCP check.
pub(super) fn tcp(section: &Section<'_>, faults: &mut Faults) -> TcpCheck {
    let mut tcp = TcpCheck { send: payload(section, faults), expect: expect(section, faults), ..TcpCheck::default() };
    set(&mut tcp.max_read_bytes, section.take("max_read_bytes", faults));
    tcp
}

/// Reads those of a UDP check.
pub(super) fn udp(section: &Section<'_>, faults: &mut Faults) -> UdpCheck {
    let mut udp = UdpCheck { send: payload(section, faults), expect: expect(section, faults), ..UdpCheck::default() };
    set(&mut udp.max_read_bytes, section.take("max_read_bytes", faults));
    set(&mut udp.expect_answer, section.take("expect_answer", faults));
    udp
}

fn payload(section: &Section<'_>, faults: &mut Faults) -> Vec<u8> {
    one_of(section, "probe_data", "probe_data_hex", faults);
    if let Some(hex) = section.take::<String>("probe_data_hex", faults) {
        let digits: String = hex.value.chars().filter(|c| !c.is_whitespace()).collect();
        return HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).unwrap_or_else(|_| {
            let message = "is not hexadecimal; write two digits a byte, such as \"0d0a\"";
            faults.add(hex.at, section.key("probe_data_hex"), message);
            Vec::new()
        });
    }
    section.take::<String>("probe_data", faults).map_or_else(Vec::new, |text| text.value.into_bytes())
}

fn expect(section: &Section<'_>, faults: &mut Faults) -> Option<Expect> {
    one_of(section, "expected_response", "expected_regex", faults);
    let pattern = section.take::<String>("expected_regex", faults).map(|pattern| Expect::Regex(pattern.value));
    let text = section.take::<String>("expected_response", faults);
    pattern.or(text.map(|text| Expect::Contains(text.value.into_bytes())))
}

/// Notes that `second` stands beside `first`.
pub(super) fn one_of(section: &Section<'_>, first: &str, second: &str, faults: &mut Faults) {
    if section.has(first) && section.has(second) {
        let message = format!("cannot stand beside `{first}`; keep one of them");
        faults.add(section.key_place(second), section.key(second), message);
    }
}

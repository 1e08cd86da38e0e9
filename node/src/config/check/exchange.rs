//! Settings of checks that say something and listen: TCP and UDP.

use super::super::keys::STEP;
use super::super::reader::{Faults, Section};
use super::{broken, choice, one_line, set, tls, written};
use data_encoding::HEXLOWER_PERMISSIVE;
use quorate_core::check::{DialogueCheck, DialogueStep, StartTls, UdpCheck, limits};
use quorate_core::{Check, CheckKind, Expect, TcpCheck};

/// Reads those of a TCP check.
pub(super) fn tcp(section: &Section<'_>, faults: &mut Faults) -> TcpCheck {
    let mut tcp = TcpCheck { send: payload(section, faults), expect: expect(section, faults), ..TcpCheck::default() };
    set(&mut tcp.max_read_bytes, section.take("max_read_bytes", faults));
    tcp
}

/// Reads those of a TCP check, plain and of one step, or a dialogue.
pub(super) fn kind(section: &Section<'_>, faults: &mut Faults) -> CheckKind {
    let sections = section.tables("step", &STEP, faults);
    let steps: Vec<DialogueStep> = sections.iter().filter_map(|section| step(section, faults)).collect();
    let starttls = choice(section, "starttls", StartTls::ALL, StartTls::as_str, faults).map(|found| found.value);
    let later = steps.contains(&DialogueStep::StartTls);
    let tls = tls::optional(section, later || starttls.is_some(), faults);
    let TcpCheck { send, expect, max_read_bytes } = tcp(section, faults);
    if !section.has("step") && tls.is_none() {
        return CheckKind::Tcp(TcpCheck { send, expect, max_read_bytes });
    }
    let single = ["probe_data", "probe_data_hex", "expected_response", "expected_response_hex", "expected_regex"];
    for name in single.iter().filter(|name| section.has("step") && section.has(name)) {
        let message = "cannot stand beside `step`; make it a step";
        faults.add(section.key_place(name), section.place(name).1, message);
    }
    let speaks = !send.is_empty() || expect.is_some();
    let one = (speaks && !section.has("step")).then_some(DialogueStep::Turn { send, expect });
    CheckKind::Dialogue(DialogueCheck { steps: steps.into_iter().chain(one).collect(), tls, starttls, max_read_bytes })
}

/// Reads one step; nothing when it is none that can be used.
fn step(section: &Section<'_>, faults: &mut Faults) -> Option<DialogueStep> {
    let begins_tls = section.take::<bool>("starttls", faults).is_some_and(|found| found.value);
    let turn = DialogueStep::Turn { send: payload(section, faults), expect: expect(section, faults) };
    if begins_tls {
        let alone = turn == DialogueStep::Turn { send: Vec::new(), expect: None };
        if !alone {
            faults.add(section.at, section.path.clone(), "begins TLS, and so neither says nor expects anything itself");
        }
        return alone.then_some(DialogueStep::StartTls);
    }
    // What all answers have in common is examined once, with the whole check.
    let max_read_bytes = limits::MAX_READ_BYTES;
    let alone = DialogueCheck { steps: vec![turn.clone()], tls: None, starttls: None, max_read_bytes };
    let check = Check { kind: CheckKind::Dialogue(alone), ..Check::default() };
    let errors = broken(&check);
    for error in &errors {
        let (at, key) = match written(section, error.key) {
            name if section.has(name) => section.place(name),
            _ => (section.at, section.path.clone()),
        };
        faults.add(at, key, one_line(error.message.clone()));
    }
    errors.is_empty().then_some(turn)
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
    if let Some(bytes) = hexadecimal(section, "probe_data_hex", faults) {
        return bytes;
    }
    section.take::<String>("probe_data", faults).map_or_else(Vec::new, |text| text.value.into_bytes())
}

fn hexadecimal(section: &Section<'_>, name: &str, faults: &mut Faults) -> Option<Vec<u8>> {
    let hex = section.take::<String>(name, faults)?;
    let digits: String = hex.value.chars().filter(|c| !c.is_whitespace()).collect();
    let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes());
    Some(bytes.unwrap_or_else(|_| {
        faults.add(hex.at, section.key(name), "is not hexadecimal; write two digits a byte, such as \"0d0a\"");
        Vec::new()
    }))
}

fn expect(section: &Section<'_>, faults: &mut Faults) -> Option<Expect> {
    one_of(section, "expected_response", "expected_regex", faults);
    one_of(section, "expected_response", "expected_response_hex", faults);
    one_of(section, "expected_regex", "expected_response_hex", faults);
    if let Some(bytes) = hexadecimal(section, "expected_response_hex", faults) {
        return Some(Expect::Contains(bytes));
    }
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

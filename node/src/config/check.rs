//! Reads `[service.check]`.

use super::keys::{HTTP_ONLY, TCP_ONLY};
use super::reader::{Faults, Headers, Located, Section, StatusItems};
use data_encoding::HEXLOWER_PERMISSIVE;
use quorate_core::{Check, CheckKind, Expect, HttpCheck, Method, Scheme, StatusSet, TcpCheck};

/// The port of an instance that does not name one.
pub const DEFAULT_PORT: u16 = 8000;

/// A check as read, and the port of instances that do not name one.
#[derive(Debug, Clone)]
pub struct ReadCheck {
    /// The check.
    pub check: Check,
    /// The port.
    pub port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http(Scheme),
    Tcp,
}

/// Reads the section; everything that is absent has the default of [`Check`]. Faults are noted, the rules of [`Check::validate`] too.
pub fn read(section: &Section<'_>, faults: &mut Faults) -> ReadCheck {
    let protocol = protocol(section, faults);
    let kind = match protocol {
        Protocol::Http(scheme) => CheckKind::Http(http(section, scheme, faults)),
        Protocol::Tcp => CheckKind::Tcp(tcp(section, faults)),
    };
    let foreign = if protocol == Protocol::Tcp { (HTTP_ONLY, "http") } else { (TCP_ONLY, "tcp") };
    for name in foreign.0.iter().filter(|name| section.has(name)) {
        let (_, key) = section.place(name);
        let message =
            format!("means something for protocol = \"{}\" only; take it out, or change `protocol`", foreign.1);
        faults.add(section.key_place(name), key, message);
    }
    let mut check = Check { kind, ..Check::default() };
    set(&mut check.enabled, section.take("enabled", faults));
    set(&mut check.initial_delay, section.take("initial_delay", faults));
    set(&mut check.period, section.take("period", faults));
    set(&mut check.timeout, section.take("timeout", faults));
    set(&mut check.failure_threshold, section.take("failure_threshold", faults));
    set(&mut check.success_threshold, section.take("success_threshold", faults));
    set(&mut check.max_retries, section.take("max_retries", faults));
    let mut port = DEFAULT_PORT;
    set(&mut port, section.take("port", faults));
    rules(section, &check, faults);
    ReadCheck { check, port }
}

fn set<T>(target: &mut T, found: Option<Located<T>>) {
    if let Some(found) = found {
        *target = found.value;
    }
}

fn set_some<T>(target: &mut Option<T>, found: Option<Located<T>>) {
    if let Some(found) = found {
        *target = Some(found.value);
    }
}

fn protocol(section: &Section<'_>, faults: &mut Faults) -> Protocol {
    let protocol = section.take::<String>("protocol", faults);
    let scheme =
        section.take::<String>("scheme", faults).and_then(|scheme| match scheme.value.to_lowercase().as_str() {
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            _ => {
                faults.add(
                    scheme.at,
                    section.key("scheme"),
                    format!("{:?} is not a scheme; use \"http\" or \"https\"", scheme.value),
                );
                None
            }
        });
    let Some(protocol) = protocol else { return Protocol::Http(scheme.unwrap_or(Scheme::Http)) };
    match protocol.value.to_lowercase().as_str() {
        "http" => Protocol::Http(scheme.unwrap_or(Scheme::Http)),
        "https" => {
            if scheme == Some(Scheme::Http) {
                let message = "contradicts protocol = \"https\"; keep one of them";
                faults.add(section.place("scheme").0, section.key("scheme"), message);
            }
            Protocol::Http(Scheme::Https)
        }
        "tcp" => Protocol::Tcp,
        _ => {
            let message = format!("{:?} is not a protocol; use \"http\", \"https\" or \"tcp\"", protocol.value);
            faults.add(protocol.at, section.key("protocol"), message);
            Protocol::Http(scheme.unwrap_or(Scheme::Http))
        }
    }
}

fn http(section: &Section<'_>, scheme: Scheme, faults: &mut Faults) -> HttpCheck {
    let mut http = HttpCheck { scheme, ..HttpCheck::default() };
    if let Some(method) = section.take::<String>("method", faults) {
        match method.value.to_uppercase().as_str() {
            "GET" => http.method = Method::Get,
            "POST" => http.method = Method::Post,
            "PUT" => http.method = Method::Put,
            "HEAD" => http.method = Method::Head,
            _ => {
                let message = format!("{:?} is not allowed; use GET, POST, PUT or HEAD", method.value);
                faults.add(method.at, section.key("method"), message);
            }
        }
    }
    if let Some(items) = section.take::<StatusItems>("expected_status_codes", faults) {
        match StatusSet::parse(items.value.0.iter().map(String::as_str)) {
            Ok(set) => http.expected_status = set,
            Err(message) => faults.add(items.at, section.key("expected_status_codes"), message),
        }
    }
    if let Some(headers) = section.take::<Headers>("headers", faults) {
        http.headers = headers.value.0;
    }
    set(&mut http.path, section.take("path", faults));
    set_some(&mut http.host, section.take("host", faults));
    set_some(&mut http.body, section.take("body", faults));
    set(&mut http.follow_redirects, section.take("follow_redirects", faults));
    set(&mut http.max_redirects, section.take("max_redirects", faults));
    set(&mut http.verify_tls, section.take("verify_ssl", faults));
    set_some(&mut http.server_name, section.take("server_name", faults));
    set_some(&mut http.ca_file, section.take("ca_file", faults));
    set_some(&mut http.client_cert_file, section.take("client_cert_file", faults));
    set(&mut http.max_body_bytes, section.take("max_body_bytes", faults));
    set(&mut http.reuse_connection, section.take("reuse_connection", faults));
    http
}

fn tcp(section: &Section<'_>, faults: &mut Faults) -> TcpCheck {
    let mut tcp = TcpCheck::default();
    for (first, second) in [("probe_data", "probe_data_hex"), ("expected_response", "expected_regex")] {
        if section.has(first) && section.has(second) {
            let message = format!("cannot stand beside `{first}`; keep one of them");
            faults.add(section.key_place(second), section.key(second), message);
        }
    }
    if let Some(text) = section.take::<String>("probe_data", faults) {
        tcp.send = text.value.into_bytes();
    }
    if let Some(hex) = section.take::<String>("probe_data_hex", faults) {
        let digits: String = hex.value.chars().filter(|c| !c.is_whitespace()).collect();
        match HEXLOWER_PERMISSIVE.decode(digits.as_bytes()) {
            Ok(bytes) => tcp.send = bytes,
            Err(_) => {
                let message = "is not hexadecimal; write two digits a byte, such as \"0d0a\"";
                faults.add(hex.at, section.key("probe_data_hex"), message);
            }
        }
    }
    if let Some(text) = section.take::<String>("expected_response", faults) {
        tcp.expect = Some(Expect::Contains(text.value.into_bytes()));
    }
    if let Some(pattern) = section.take::<String>("expected_regex", faults) {
        tcp.expect = Some(Expect::Regex(pattern.value));
    }
    set(&mut tcp.max_read_bytes, section.take("max_read_bytes", faults));
    tcp
}

/// The rules of the check as a whole, each told at the key that breaks it.
fn rules(section: &Section<'_>, check: &Check, faults: &mut Faults) {
    let readable =
        |name: &str| !section.has(name) || section.take::<std::time::Duration>(name, &mut Faults::default()).is_some();
    let comparable = readable("period") && readable("timeout");
    for error in check.validate().into_iter().chain(quorate_probe::validate_regex(check)) {
        if error.key == "period" && !comparable {
            continue;
        }
        let name = match error.key {
            "send" if section.has("probe_data_hex") => "probe_data_hex",
            "send" => "probe_data",
            "expect" => "expected_response",
            "expect_regex" => "expected_regex",
            // A default period under a long timeout: the timeout is what the file says.
            "period" if !section.has("period") && section.has("timeout") => "timeout",
            key => key,
        };
        let (at, key) = section.place(name);
        let message = if name == "timeout" && error.key == "period" {
            format!("{:?} is longer than the period ({:?}); set `period` as well", check.timeout, check.period)
        } else {
            one_line(error.message)
        };
        faults.add(at, key, message);
    }
}

/// A compiler of patterns draws pictures over several lines; the last one says what is wrong.
fn one_line(message: String) -> String {
    match message.trim_end().rsplit_once('\n') {
        Some((_, last)) => format!("is not a regular expression: {}", last.trim().trim_start_matches("error: ")),
        None => message,
    }
}

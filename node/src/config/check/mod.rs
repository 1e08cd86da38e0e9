//! Reads `[service.check]`.

mod assertion;
mod exchange;
mod home;
mod http;
mod metric;
mod service;
mod tls;

use super::keys::{only_for, protocols};
use super::reader::{Faults, Located, Section};
use crate::spelling::nearest;
use quorate_core::check::{CheckError, StartTls};
use quorate_core::{Check, CheckKind, Scheme, TlsCheck};
use quorate_probe::Program;

/// The port of an instance that does not name one: the protocol's own, if it has one.
fn default_port(protocol: &str) -> u16 {
    match protocol {
        "tls" => 443,
        "redis" => 6379,
        "postgres" => 5432,
        "dns" => 53,
        _ => 8000,
    }
}

/// A check as read, and the port of instances that do not name one.
#[derive(Debug, Clone)]
pub struct ReadCheck {
    /// The check.
    pub check: Check,
    /// The port.
    pub port: u16,
    /// The program it runs, if it does.
    pub program: Option<Program>,
}

/// Reads the section; everything that is absent has the default of [`Check`]. Faults are noted, the rules of [`Check::validate`] too.
pub fn read(section: &Section<'_>, faults: &mut Faults) -> ReadCheck {
    let (protocol, scheme) = protocol(section, faults);
    let mut program = None;
    let kind = match protocol {
        "exec" => {
            let (check, found) = home::exec(section, faults);
            program = Some(found);
            CheckKind::Exec(check)
        }
        "unix" => CheckKind::Unix(home::unix(section, faults)),
        "container" => CheckKind::Container(home::container(section, faults)),
        "systemd" => CheckKind::Systemd(home::systemd(section, faults)),
        "push" => CheckKind::Push(home::push(section, faults)),
        "tcp" => exchange::kind(section, faults),
        "udp" => CheckKind::Udp(exchange::udp(section, faults)),
        "redis" => CheckKind::Redis(service::redis(section, faults)),
        "postgres" => CheckKind::Postgres(service::postgres(section, faults)),
        "dns" => CheckKind::Dns(service::dns(section, faults)),
        "grpc" => CheckKind::Grpc(service::grpc(section, faults)),
        "icmp" => CheckKind::Icmp(service::icmp(section, faults)),
        "metric" => CheckKind::Metric(metric::read(section, scheme, faults)),
        "tls" => {
            let mut check = TlsCheck::default();
            tls::read(section, &mut check.tls, faults);
            set_some(&mut check.starttls, choice(section, "starttls", StartTls::ALL, StartTls::as_str, faults));
            CheckKind::Tls(check)
        }
        _ => CheckKind::Http(http::read(section, scheme, faults)),
    };
    for (name, of) in only_for().filter(|(name, of)| section.has(name) && !of.contains(&protocol)) {
        let (_, key) = section.place(name);
        let of: Vec<String> = of.iter().map(|protocol| format!("\"{protocol}\"")).collect();
        let message =
            format!("means something for protocol = {} only; take it out, or change `protocol`", of.join(" or "));
        faults.add(section.key_place(name), key, message);
    }
    let mut check = Check { kind, ..Check::default() };
    set(&mut check.enabled, section.take("enabled", faults));
    set(&mut check.initial_delay, section.take("initial_delay", faults));
    set(&mut check.period, section.take("period", faults));
    set_some(&mut check.fast_interval, section.take("fast_interval", faults));
    set_some(&mut check.down_interval, section.take("down_interval", faults));
    set(&mut check.timeout, section.take("timeout", faults));
    set(&mut check.failure_threshold, section.take("failure_threshold", faults));
    set(&mut check.success_threshold, section.take("success_threshold", faults));
    set(&mut check.max_retries, section.take("max_retries", faults));
    set(&mut check.max_response_time, section.take("max_response_time", faults));
    set_some(&mut check.critical_response_time, section.take("critical_response_time", faults));
    let mut port = default_port(protocol);
    set(&mut port, section.take("port", faults));
    rules(section, &check, faults);
    ReadCheck { check, port, program }
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

/// One of the words of a setting that has few.
fn choice<T: Copy>(
    section: &Section<'_>,
    name: &str,
    all: &[T],
    word: fn(T) -> &'static str,
    faults: &mut Faults,
) -> Option<Located<T>> {
    let found = section.take::<String>(name, faults)?;
    let chosen = all.iter().copied().find(|one| word(*one).eq_ignore_ascii_case(&found.value));
    if chosen.is_none() {
        let words: Vec<String> = all.iter().map(|one| format!("\"{}\"", word(*one))).collect();
        let (last, first) =
            words.split_last().map_or((String::new(), String::new()), |(l, f)| (l.clone(), f.join(", ")));
        let message = format!("{:?} is not allowed; use {first} or {last}", found.value);
        faults.add(found.at, section.key(name), message);
    }
    chosen.map(|value| Located { value, at: found.at })
}

/// The protocol, one of [`protocols`], and of HTTP the scheme.
fn protocol(section: &Section<'_>, faults: &mut Faults) -> (&'static str, Scheme) {
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
    let http = ("http", scheme.unwrap_or(Scheme::Http));
    let Some(protocol) = protocol else { return http };
    let written = protocol.value.to_lowercase();
    if written == "https" {
        if scheme == Some(Scheme::Http) {
            let message = "contradicts protocol = \"https\"; keep one of them";
            faults.add(section.place("scheme").0, section.key("scheme"), message);
        }
        return ("http", Scheme::Https);
    }
    match protocols().find(|known| *known == written) {
        Some(known) => (known, http.1),
        None => {
            let near = nearest(&written, protocols(), 1).first().map(|near| format!("; did you mean \"{near}\"?"));
            let known: Vec<String> = protocols().map(|known| format!("\"{known}\"")).collect();
            let known = format!("; use \"https\" or one of {}", known.join(", "));
            let message = format!("{:?} is not a protocol{}", protocol.value, near.unwrap_or(known));
            faults.add(protocol.at, section.key("protocol"), message);
            http
        }
    }
}

/// The rules of the check as a whole, each told at the key that breaks it.
fn rules(section: &Section<'_>, check: &Check, faults: &mut Faults) {
    let readable =
        |name: &str| !section.has(name) || section.take::<std::time::Duration>(name, &mut Faults::default()).is_some();
    let comparable = readable("period") && readable("timeout");
    for error in check.validate().into_iter().chain(quorate_probe::validate_patterns(check)) {
        if error.key == "period" && !comparable {
            continue;
        }
        let name = match written(section, error.key) {
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
    // What is not written is not held to it: who shortens the timeout alone says nothing of response times.
    let limits = [
        ("max_response_time", Some(check.max_response_time)),
        ("critical_response_time", check.critical_response_time),
    ];
    for (name, limit) in limits {
        let comparable = section.has(name) && readable(name) && readable("timeout");
        let Some(limit) = limit.filter(|limit| comparable && *limit > check.timeout) else { continue };
        let (at, key) = section.place(name);
        let message = format!(
            "{limit:?} is longer than the timeout ({:?}), at which a probe ends, and never applies; shorten it, or set a longer `timeout`",
            check.timeout
        );
        faults.add(at, key, message);
    }
}

/// Under which key the section says what the rules of a check call so.
fn written(section: &Section<'_>, rule: &'static str) -> &'static str {
    match rule {
        "send" if section.has("probe_data_hex") => "probe_data_hex",
        "send" => "probe_data",
        "expect" if section.has("expected_response_hex") => "expected_response_hex",
        "expect" => "expected_response",
        "expect_regex" => "expected_regex",
        key => key,
    }
}

/// What is wrong with a part of a check, its patterns only if nothing else is.
fn broken(check: &Check) -> Vec<CheckError> {
    let errors = check.validate();
    if errors.is_empty() { quorate_probe::validate_patterns(check) } else { errors }
}

/// A compiler of patterns draws pictures over several lines; the last one says what is wrong.
fn one_line(message: String) -> String {
    match message.trim_end().rsplit_once('\n') {
        Some((_, last)) => format!("is not a regular expression: {}", last.trim().trim_start_matches("error: ")),
        None => message,
    }
}

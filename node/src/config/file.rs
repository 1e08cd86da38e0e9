//! Reads a configuration file.

use super::errors::{ConfigError, ConfigErrors};
use super::keys::{AGENT, API, LOG, PROBE, ROOT};
use super::reader::{Faults, Section};
use super::services;
use super::settings::{FileSettings, LogFormat, ProbeSettings, check_advertised, check_join, check_name};
use quorate_core::Zone;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use toml::de::DeTable;
use tracing_subscriber::EnvFilter;

/// Largest file.
pub const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Reads and checks a file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<FileSettings, ConfigErrors> {
    let shown = path.display().to_string();
    let whole = |message: &dyn std::fmt::Display| ConfigErrors::whole(&shown, message);
    // Not by its size: a device or a pipe has none.
    let mut text = String::new();
    let file = File::open(path).map_err(|error| whole(&error))?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| whole(&error))?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_FILE_BYTES) {
        return Err(whole(&format!("is too large; at most {MAX_FILE_BYTES} bytes")));
    }
    let mut settings = parse(&shown, &text)?;
    settings.path = Some(path.to_path_buf());
    Ok(settings)
}

/// Reads and checks the text of a file shown as `file`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(file: &str, text: &str) -> Result<FileSettings, ConfigErrors> {
    let (document, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        let error = |error: &toml::de::Error| ConfigError {
            offset: error.span().map_or(0, |span| span.start),
            key: String::new(),
            message: error.message().to_owned(),
        };
        return Err(ConfigErrors::new(file, text, syntax.iter().map(error).collect()));
    }
    let mut faults = Faults::default();
    let root = Section::open("", 0, document.get_ref(), &ROOT, &mut faults);
    let mut settings = FileSettings::default();
    agent(&root, &mut settings, &mut faults);
    api(&root, &mut settings, &mut faults);
    probe(&root, &mut settings.probe, &mut faults);
    log(&root, &mut settings, &mut faults);
    settings.services = services::read(&root, &mut faults);
    let faults = faults.into_inner();
    if faults.is_empty() { Ok(settings) } else { Err(ConfigErrors::new(file, text, faults)) }
}

/// A text of the section that `read` understands; what it says against it is noted.
fn parsed<T>(
    section: &Section<'_>,
    name: &str,
    faults: &mut Faults,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let found = section.take::<String>(name, faults)?;
    match read(&found.value) {
        Ok(value) => Some(value),
        Err(message) => {
            faults.add(found.at, section.key(name), message);
            None
        }
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not IP:PORT, such as \"0.0.0.0:7700\""))
}

fn agent(root: &Section<'_>, settings: &mut FileSettings, faults: &mut Faults) {
    let Some(section) = root.table("agent", &AGENT, faults) else { return };
    settings.name = parsed(&section, "name", faults, |text| match check_name(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(rule) => Err(format!("{text:?} {rule}")),
    });
    settings.zone = parsed(&section, "zone", faults, |text| Zone::new(text).map_err(|error| error.to_string()));
    settings.listen = parsed(&section, "listen", faults, socket_address);
    settings.advertise = parsed(&section, "advertise", faults, |text| check_advertised(text).map(|()| text.to_owned()));
    settings.api = parsed(&section, "api", faults, socket_address);
    settings.data_dir = section.take::<String>("data_dir", faults).map(|found| found.value.into());
    settings.join = parsed(&section, "join", faults, |text| check_join(text).map(|()| text.to_owned()));
}

fn api(root: &Section<'_>, settings: &mut FileSettings, faults: &mut Faults) {
    let mut place = root.table("agent", &AGENT, &mut Faults::default()).map(|agent| agent.place("api"));
    if let Some(section) = root.table("api", &API, faults) {
        settings.allow_remote = section.take("allow_remote", faults).is_some_and(|found| found.value);
        if section.has("listen") {
            if settings.api.is_some() {
                let message = "says the same as `agent.api`; keep one of them";
                faults.add(section.key_place("listen"), section.key("listen"), message);
            }
            settings.api = parsed(&section, "listen", faults, socket_address);
            place = Some(section.place("listen"));
        }
    }
    if let (Some(address), Some((at, key))) = (settings.api, place)
        && !address.ip().is_loopback()
        && !settings.allow_remote
    {
        let message = format!(
            "{address} is not a loopback address, and the API has no authentication yet; if only trusted hosts reach it, \
             set `allow_remote = true` under [api]"
        );
        faults.add(at, key, message);
    }
}

fn probe(root: &Section<'_>, probe: &mut ProbeSettings, faults: &mut Faults) {
    let Some(section) = root.table("probe", &PROBE, faults) else { return };
    for (name, target) in [("max_concurrent", &mut probe.max_concurrent), ("max_per_host", &mut probe.max_per_host)] {
        let Some(found) = section.take::<u32>(name, faults) else { continue };
        if (1..=MAX_PROBES).contains(&found.value) {
            *target = found.value;
        } else {
            faults.add(found.at, section.key(name), format!("{} is not allowed; use 1 to {MAX_PROBES}", found.value));
        }
    }
    if let Some(found) = section.take("dns_cache_ttl", faults) {
        probe.dns_cache_ttl = found.value;
    }
    if let Some(found) = section.take("keepalive", faults) {
        probe.keepalive = found.value;
    }
}

/// Most probes at once: each holds a socket.
const MAX_PROBES: u32 = 10_000;

fn log(root: &Section<'_>, settings: &mut FileSettings, faults: &mut Faults) {
    let Some(section) = root.table("log", &LOG, faults) else { return };
    settings.log_level = parsed(&section, "level", faults, |text| check_level(text).map(|()| text.to_owned()));
    settings.log_format = parsed(&section, "format", faults, |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is not a format; use \"text\" or \"json\"")),
    });
}

/// A level, or directives as `tracing` reads them: `target=level`, with commas between.
pub fn check_level(text: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let fine = |part: &str| part.contains('=') || LEVELS.contains(&part.trim().to_lowercase().as_str());
    if text.split(',').all(fine) && EnvFilter::builder().parse(text).is_ok() {
        return Ok(());
    }
    Err(format!("{text:?} is not a level; use error, warn, info, debug or trace, or such as \"info,quorate=debug\""))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;

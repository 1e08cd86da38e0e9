//! Reads a configuration.

use super::api;
use super::document::{Texts, as_table};
use super::errors::ConfigErrors;
use super::exports;
use super::keys::{AGENT, DNS, HISTORY, PROBE, RECORD, ROOT};
use super::log;
use super::queue_board;
use super::reader::{Faults, Section, Targets};
use super::services;
use super::settings::{FileSettings, RecordSettings, check_advertised, check_environment, check_join, check_name};
use quorate_core::Zone;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// Reads and checks a file, or the files of a directory, and what the environment says of single keys.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: Option<&Path>) -> Result<FileSettings, ConfigErrors> {
    let texts = path.map_or_else(|| Ok(Texts::default()), Texts::read)?.environment(std::env::vars());
    let document = texts.document(|name| std::env::var(name).ok())?;
    let mut settings = settings(&texts, &document)?;
    settings.path = path.map(Path::to_path_buf);
    Ok(settings)
}

/// Reads and checks a text shown as `file`; variables in it stay as they are written.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(file: &str, text: &str) -> Result<FileSettings, ConfigErrors> {
    let texts = Texts::of(file, text);
    let document = texts.literal()?;
    settings(&texts, &document)
}

fn settings(texts: &Texts, document: &DeTable<'_>) -> Result<FileSettings, ConfigErrors> {
    let mut faults = Faults::default();
    let root = Section::open("", 0, document, &ROOT, &mut faults);
    let mut settings = FileSettings { document: as_table(document), ..FileSettings::default() };
    agent(&root, &mut settings, &mut faults);
    api::read(&root, &mut settings, &mut faults);
    probe(&root, &mut settings, &mut faults);
    settings.log = log::read(&root, &mut faults);
    record(&root, &mut settings, &mut faults);
    settings.dns =
        root.table("dns", &DNS, &mut faults).and_then(|dns| api::restricted(&dns, "listen", "from", &mut faults));
    settings.metrics = exports::metrics(&root, &mut faults);
    settings.statsd = exports::statsd(&root, &mut faults);
    settings.otlp = exports::otlp(&root, &mut faults);
    settings.queue_board = queue_board::read(&root, &mut faults);
    settings.history_bytes = history(&root, &mut faults);
    settings.services = services::read(&root, &mut faults);
    let programs = settings.services.iter().filter_map(|service| service.program.clone());
    settings.own.programs = programs.map(|program| (program.key(), program)).collect();
    let faults = faults.into_inner();
    if faults.is_empty() { Ok(settings) } else { Err(texts.errors(faults)) }
}

/// The name of a file or a directory.
pub fn path(section: &Section<'_>, name: &str, faults: &mut Faults) -> Option<PathBuf> {
    parsed(section, name, faults, |text| match text {
        "" => Err("is empty; name a path, or take it out".to_owned()),
        text => Ok(text.into()),
    })
}

/// A whole number of the section, if it is one of these.
pub fn within<T: TryFrom<i128> + PartialOrd + Display>(
    section: &Section<'_>,
    name: &str,
    allowed: RangeInclusive<T>,
    faults: &mut Faults,
) -> Option<T> {
    let found = section.take::<i128>(name, faults)?;
    let number = T::try_from(found.value).ok().filter(|number| allowed.contains(number));
    if number.is_none() {
        let message = format!("{} is not allowed; use {} to {}", found.value, allowed.start(), allowed.end());
        faults.add(found.at, section.key(name), message);
    }
    number
}

/// A text of the section that `read` understands; what it says against it is noted.
pub fn parsed<T>(
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

/// `IP:PORT`.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not IP:PORT, such as \"0.0.0.0:7700\""))
}

fn agent(root: &Section<'_>, settings: &mut FileSettings, faults: &mut Faults) {
    let Some(section) = root.table("agent", &AGENT, faults) else { return };
    settings.name = parsed(&section, "name", faults, |text| match check_name(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(rule) => Err(format!("{text:?} {rule}")),
    });
    settings.zone = parsed(&section, "zone", faults, |text| Zone::new(text).map_err(|error| error.to_string()));
    settings.environment = parsed(&section, "environment", faults, |text| match check_environment(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(rule) => Err(format!("{text:?} {rule}")),
    });
    settings.listen = parsed(&section, "listen", faults, socket_address);
    settings.advertise = parsed(&section, "advertise", faults, |text| check_advertised(text).map(|()| text.to_owned()));
    settings.api = parsed(&section, "api", faults, socket_address);
    settings.data_dir = path(&section, "data_dir", faults);
    settings.token_file = path(&section, "token_file", faults);
    settings.join = parsed(&section, "join", faults, |text| check_join(text).map(|()| text.to_owned()));
}

fn probe(root: &Section<'_>, settings: &mut FileSettings, faults: &mut Faults) {
    let Some(section) = root.table("probe", &PROBE, faults) else { return };
    let (probe, own) = (&mut settings.probe, &mut settings.own);
    own.secrets_dir = path(&section, "secrets_dir", faults);
    own.container_socket = path(&section, "container_socket", faults);
    own.dbus_socket = path(&section, "dbus_socket", faults);
    if let Some(found) = section.take::<Targets>("allow_targets", faults) {
        own.allowed = found.value.0;
    }
    for (name, target) in [("max_concurrent", &mut probe.max_concurrent), ("max_per_host", &mut probe.max_per_host)] {
        *target = within(&section, name, 1..=MAX_PROBES, faults).unwrap_or(*target);
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

/// Sizes of the history's file.
const HISTORY_BYTES: RangeInclusive<u64> = 1024 * 1024..=64 * 1024 * 1024 * 1024;
/// Months of hundreds of instances.
const DEFAULT_HISTORY_BYTES: u64 = 256 * 1024 * 1024;

fn history(root: &Section<'_>, faults: &mut Faults) -> Option<u64> {
    let Some(section) = root.table("history", &HISTORY, faults) else { return Some(DEFAULT_HISTORY_BYTES) };
    let enabled = section.take::<bool>("enabled", faults).is_none_or(|found| found.value);
    let bytes = within(&section, "max_bytes", HISTORY_BYTES, faults).unwrap_or(DEFAULT_HISTORY_BYTES);
    enabled.then_some(bytes)
}

fn record(root: &Section<'_>, settings: &mut FileSettings, faults: &mut Faults) {
    let Some(section) = root.table("record", &RECORD, faults) else { return };
    let path = parsed(&section, "path", faults, |text| match Path::new(text).file_name() {
        Some(_) => Ok(text.into()),
        None => Err(format!("{text:?} is not the name of a file")),
    });
    let allowed = RecordSettings::LEAST_BYTES..=RecordSettings::MOST_BYTES;
    let max_bytes = within(&section, "max_bytes", allowed, faults).unwrap_or(RecordSettings::DEFAULT_BYTES);
    if !section.has("path") {
        faults.add(section.at, section.key("path"), "is missing; name the file to record to, such as \"recording\"");
    }
    settings.record = path.map(|path| RecordSettings { path, max_bytes });
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;

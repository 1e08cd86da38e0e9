//! `[log]`: how much is logged, how it looks, and where it goes.

use super::file::{parsed, path};
use super::keys::LOG;
use super::reader::{Faults, Section};
use super::settings::{LogFormat, LogSettings};
use std::ops::RangeInclusive;
use tracing_subscriber::EnvFilter;

/// Sizes of one file.
const BYTES: RangeInclusive<u64> = 64 * 1024..=4 * 1024 * 1024 * 1024;
/// Full files that may be kept.
const MAX_FILES: u32 = 1000;

/// Reads the section.
pub fn read(root: &Section<'_>, faults: &mut Faults) -> LogSettings {
    let mut settings = LogSettings::default();
    let Some(section) = root.table("log", &LOG, faults) else { return settings };
    if let Some(level) = parsed(&section, "level", faults, |text| check_level(text).map(|()| text.to_owned())) {
        settings.level = level;
    }
    let format = parsed(&section, "format", faults, |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        "pino" => Ok(LogFormat::Pino),
        _ => Err(format!("{text:?} is not a format; use \"text\", \"json\" or \"pino\"")),
    });
    settings.format = format.unwrap_or(settings.format);
    settings.access = section.take("access", faults).is_some_and(|found| found.value);
    settings.file = path(&section, "file", faults);
    settings.error_file = path(&section, "error_file", faults);
    if let Some(found) = section.take::<i128>("max_bytes", faults) {
        match u64::try_from(found.value).ok().filter(|bytes| BYTES.contains(bytes)) {
            Some(bytes) => settings.max_bytes = bytes,
            None => {
                let message = format!("{} is not allowed; use {} to {}", found.value, BYTES.start(), BYTES.end());
                faults.add(found.at, section.key("max_bytes"), message);
            }
        }
    }
    if let Some(found) = section.take::<u32>("max_files", faults) {
        if found.value <= MAX_FILES {
            settings.max_files = found.value;
        } else {
            let message = format!("{} is not allowed; use 0 to {MAX_FILES}", found.value);
            faults.add(found.at, section.key("max_files"), message);
        }
    }
    settings
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

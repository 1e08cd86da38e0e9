//! `[log]`: how much is logged, how it looks, and where it goes.

use super::file::{parsed, path, within};
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
    settings.max_bytes = within(&section, "max_bytes", BYTES, faults).unwrap_or(settings.max_bytes);
    settings.max_files = within(&section, "max_files", 0..=MAX_FILES, faults).unwrap_or(settings.max_files);
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

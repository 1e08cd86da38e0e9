//! Logs go to standard error, as text or JSON; standard output is for answers.

use crate::config::{LogFormat, LogSettings};
use crate::usage::usage;
use anyhow::Context;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging. Must be called once.
///
/// # Errors
/// When the level is not one.
pub fn start(settings: &LogSettings) -> anyhow::Result<()> {
    crate::config::check_level(&settings.level).map_err(|rule| usage(format!("--log {rule}")))?;
    let filter = EnvFilter::builder().parse(&settings.level).context("--log")?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

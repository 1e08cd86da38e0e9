//! `quorate agent`: one agent, from its settings to its end.

mod advertise;
pub mod claims;
pub mod clock;
mod drive;
mod entry;
pub mod event_log;
mod joins;
mod mesh_keys;
pub mod probes;
pub mod published;
mod start;
mod stop;
pub mod store;

pub use advertise::address as advertised_address;

use crate::config::{self, FileSettings, Flags, LogSettings, Settings};
use crate::logging;
use crate::usage::usage;
use std::process::ExitCode;

/// Runs an agent until it is told to stop.
///
/// # Errors
/// Why it could not start, with what to do.
pub fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    let file = match &flags.config {
        Some(path) => match config::load(path) {
            Ok(file) => file,
            Err(errors) => {
                eprintln!("{errors}");
                let count = errors.count();
                return Err(usage(format!(
                    "the configuration has {count} error{}; nothing was started",
                    plural(count)
                )));
            }
        },
        None => FileSettings::default(),
    };
    logging::start(&LogSettings::resolve(&file, &flags))?;
    let settings = Settings::resolve(file, &flags)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(worker_threads()).enable_all().build()?;
    runtime.block_on(start::run(settings, flags.token.as_deref()))
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Enough for the engine beside the network; more would only cost memory.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4))
}

//! `quorate agent`: one agent, from its settings to its end.

mod advertise;
mod agent_check;
pub mod audit;
pub mod callers;
pub mod claims;
pub mod clock;
mod dns;
pub mod drive;
mod entry;
pub mod event_log;
pub mod failures;
mod joins;
mod mesh_keys;
pub mod probes;
pub mod published;
pub mod pushes;
mod recorder;
pub mod registrar;
pub mod reload;
mod start;
pub mod stop;
pub mod store;

pub use advertise::address as advertised_address;

use crate::config::{self, Flags, LogSettings, Settings};
use crate::logging;
use crate::usage::usage;
use std::process::ExitCode;

/// Runs an agent until it is told to stop.
///
/// # Errors
/// Why it could not start, with what to do.
pub fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    let file = match config::load(flags.config.as_deref()) {
        Ok(file) => file,
        Err(errors) => {
            eprintln!("{errors}");
            let count = errors.count();
            return Err(usage(format!("the configuration has {count} error{}; nothing was started", plural(count))));
        }
    };
    let level = logging::start(&LogSettings::resolve(&file, &flags))?;
    let settings = Settings::resolve(file, &flags)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(worker_threads()).enable_all().build()?;
    runtime.block_on(start::run(settings, flags, level))
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Enough for the engine beside the network; more would only cost memory.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4))
}

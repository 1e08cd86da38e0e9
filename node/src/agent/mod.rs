//! `quorate agent`: one agent, from its settings to its end.

mod addresses;
mod advertise;
mod agent_check;
pub mod audit;
pub mod by_hand;
pub mod callers;
pub mod claims;
pub mod clock;
mod dns;
pub mod drive;
mod entry;
pub mod event_log;
pub mod failures;
mod joins;
mod memory;
mod mesh_keys;
pub mod persisting;
pub mod probes;
pub mod published;
pub mod pushes;
mod recorder;
pub mod registrar;
pub mod reload;
mod start;
pub mod stop;
pub mod store;
pub mod storing;

pub use advertise::address as advertised_address;

use crate::api::Threads;
use crate::config::{self, Flags, LogSettings, Settings};
use crate::logging;
use crate::usage::usage;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::process::ExitCode;
use std::time::Duration;

/// How long the process stays, once stopped, for files that are still written. One that hangs, as on a server that is gone, holds up no end.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Runs an agent until it is told to stop.
///
/// # Errors
/// Why it could not start, with what to do.
pub fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    memory::share_arenas();
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
    let api = runtime("api", READERS_STAND_BACK)?;
    let threads = Threads { runtime: api.handle().clone(), descriptors: descriptors() };
    let agent = runtime("agent", 0)?;
    let ended = agent.block_on(start::run(settings, (flags, level), threads));
    api.shutdown_background();
    agent.shutdown_timeout(LAST_WRITES);
    ended
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// By how much the API's threads are nicer than the others: with all processors busy the engine has about nine times their share.
const READERS_STAND_BACK: i32 = 10;

fn runtime(name: &str, nicer: i32) -> std::io::Result<tokio::runtime::Runtime> {
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    // On Linux, of the calling thread alone. Where that is not allowed the threads are as all others are.
    threads.on_thread_start(move || {
        let _ = rustix::process::nice(nicer);
    });
    threads.worker_threads(worker_threads()).thread_name(name).enable_all().build()
}

/// Most descriptors that are asked for: links, probes and readers together need fewer.
const MAX_DESCRIPTORS: u64 = 65_536;

/// How many descriptors the process may have, once it has asked for more than most systems give at first.
fn descriptors() -> usize {
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    let raised = limits.and_then(|(soft, hard)| {
        let wanted = soft.max(hard.min(MAX_DESCRIPTORS));
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map(|()| wanted).or(Ok(soft))
    });
    // Without an answer: what POSIX systems give at least in practice.
    usize::try_from(raised.unwrap_or(1024)).unwrap_or(usize::MAX)
}

/// Enough for the engine beside the network; more would only cost memory.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4))
}

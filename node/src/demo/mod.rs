//! A whole mesh on one machine, of real processes: to be shown, and to be measured.

mod board;
mod cluster;
mod figures;
mod machine;
mod observe;
mod process;
mod service;
mod story;

use std::process::ExitCode;

/// Commands that run a whole mesh.
#[derive(Debug, clap::Subcommand)]
pub enum Show {
    /// Run a whole mesh on this machine, kill a service in it and watch the quorum decide
    Demo(story::Args),
    /// Measure a whole mesh on this machine: detection, recovery, start and idle cost
    Figures(figures::Args),
    /// One of the services of the demonstration
    #[command(hide = true)]
    #[command(name = "demo-service")]
    Service(service::Args),
    /// Run another command of this program that ends when the starter ends
    #[command(hide = true)]
    #[command(name = "demo-tether")]
    Tether(process::TetherArgs),
}

/// Runs it.
///
/// # Errors
/// When a process of it cannot be started, or something that must be observed is not.
pub fn run(command: Show) -> anyhow::Result<ExitCode> {
    // One thread: the children are told to end with the thread that started them, which is therefore this one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Show::Demo(args) => runtime.block_on(story::run(&args)),
        Show::Figures(args) => runtime.block_on(figures::run(&args)),
        Show::Service(args) => runtime.block_on(service::run(&args)),
        Show::Tether(args) => process::tether(&args),
    }
}

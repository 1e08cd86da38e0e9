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
pub enum Demo {
    /// Run a whole mesh on this machine, kill a service in it and watch the quorum decide
    Demo(story::Args),
    /// Measure a whole mesh on this machine: detection, recovery, start and idle cost
    Figures(figures::Args),
    /// One of the services of the demonstration
    #[command(hide = true)]
    DemoService(service::Args),
    /// Run another command of this program that ends when the starter ends
    #[command(hide = true)]
    DemoTether(process::TetherArgs),
}

/// Runs it.
///
/// # Errors
/// When a process of it cannot be started, or something that must be observed is not.
pub fn run(command: Demo) -> anyhow::Result<ExitCode> {
    // One thread: the children are told to end with the thread that started them, which is therefore this one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Demo::Demo(args) => runtime.block_on(story::run(&args)),
        Demo::Figures(args) => runtime.block_on(figures::run(&args)),
        Demo::DemoService(args) => runtime.block_on(service::run(&args)),
        Demo::DemoTether(args) => process::tether(&args),
    }
}

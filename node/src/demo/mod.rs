//! A whole mesh on one machine.

use std::process::ExitCode;

/// Settings of the demonstration.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
///
/// # Errors
/// When a process of it cannot be started.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("{args:?}: the demonstration is not there yet")
}

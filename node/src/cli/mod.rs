//! The commands that ask a running agent.

use clap::Subcommand;
use std::process::ExitCode;

/// A question to a running agent.
#[derive(Debug, Subcommand)]
pub enum Ask {
    /// The health of the whole mesh in one answer.
    Health,
}

/// Asks and prints.
///
/// # Errors
/// When the agent cannot be reached or does not answer.
pub fn run(ask: Ask) -> anyhow::Result<ExitCode> {
    anyhow::bail!("{ask:?} is not there yet")
}

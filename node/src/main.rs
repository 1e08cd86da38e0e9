//! The Quorate agent and its command line. Every command is one module with a `run`.

mod answers;
mod cli;
mod config;
mod demo;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A distributed health mesh: agents probe services from several places and call one down only when a quorum agrees.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Ask(cli::Ask),
    /// Work with configuration files.
    Config(config::Args),
    /// Run a whole mesh on this machine, break something in it and watch the quorum decide.
    Demo(demo::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Ask(ask) => cli::run(ask),
        Command::Config(args) => config::run(args),
        Command::Demo(args) => demo::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

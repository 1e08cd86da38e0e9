//! The Quorate agent and its command line. Every command is one module with a `run`.

mod agent;
mod answers;
mod api;
mod cli;
mod config;
mod demo;
mod logging;
mod mesh_commands;
mod metrics;
mod spelling;
mod usage;

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
    /// Begin a mesh: make its keys and this host's identity, and print the line that joins another host.
    Init(mesh_commands::InitArgs),
    /// Make tokens that admit other hosts.
    Token(mesh_commands::TokenCommand),
    /// Run an agent.
    Agent(Box<config::Flags>),
    #[command(flatten)]
    Ask(cli::Ask),
    /// Work with configuration files.
    Config(config::Args),
    /// Work with metrics.
    #[command(hide = true)]
    Metrics(metrics::Args),
    #[command(flatten)]
    Show(demo::Show),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Init(args) => mesh_commands::init(args),
        Command::Token(command) => mesh_commands::token(command),
        Command::Agent(flags) => agent::run(*flags),
        Command::Metrics(args) => metrics::run(args),
        Command::Ask(ask) => cli::run(ask),
        Command::Config(args) => config::run(args),
        Command::Show(show) => demo::run(show),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", usage::sentence(&error));
        if error.is::<usage::Usage>() { ExitCode::from(usage::CODE) } else { ExitCode::FAILURE }
    })
}

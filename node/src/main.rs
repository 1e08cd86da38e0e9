//! The Quorate agent and its command line. Every command is one module with a `run`.
// A reader of standard output may go away: `cli::question::print` ends then, these macros panic.
#![deny(clippy::print_stdout)]

mod access;
mod agent;
mod answers;
mod api;
mod cli;
mod config;
mod demo;
#[cfg_attr(not(all(feature = "statsd", feature = "otlp")), allow(dead_code, reason = "what all outputs share"))]
mod export;
mod history;
mod logging;
mod mesh_commands;
mod metrics;
mod once;
mod spelling;
mod token_commands;
mod usage;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// A distributed health mesh: agents probe services from several places and call one down only when a quorum agrees.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    credentials: cli::credentials::Credentials,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin a mesh: make its keys and this host's identity, and print the line that joins another host.
    Init(mesh_commands::InitArgs),
    /// Make, list and revoke tokens: those that admit other hosts, and those of the API.
    Token(token_commands::TokenCommand),
    /// Run an agent.
    Agent(Box<config::Flags>),
    #[command(flatten)]
    Ask(cli::Ask),
    /// Probe by hand.
    Probe(once::Args),
    /// Work with configuration files.
    Config(config::Args),
    /// Print the names of metrics, and rules and the dashboard for them.
    Metrics(metrics::Args),
    #[command(flatten)]
    Show(demo::Show),
    /// Print the completions of a shell
    Completions(cli::shell::CompletionArgs),
    /// Print the man page, or write one for each command
    Man(cli::shell::ManArgs),
}

/// Reads the command line and the environment, where a variable that is empty counts as not set.
fn read() -> Result<Cli, clap::Error> {
    let mut matches = without_empty_variables(Cli::command()).try_get_matches()?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut Cli::command()))
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let arg = |arg: clap::Arg| {
        let empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        if empty { arg.env(None::<&'static str>) } else { arg }
    };
    command.mut_args(arg).mut_subcommands(without_empty_variables)
}

fn main() -> ExitCode {
    let line = read().unwrap_or_else(|error| {
        // For a plug-in of other monitoring two is an alarm, and a slip of the pen is none.
        let code =
            if error.use_stderr() && std::env::args().any(|word| word == "--nagios") { 3 } else { error.exit_code() };
        let _ = error.print();
        std::process::exit(code)
    });
    line.credentials.keep();
    let result = match line.command {
        Command::Init(args) => mesh_commands::init(args),
        Command::Token(command) => token_commands::run(command),
        Command::Agent(flags) => agent::run(*flags),
        Command::Metrics(args) => metrics::run(args),
        Command::Ask(ask) => cli::run(ask),
        Command::Config(args) => config::run(args),
        Command::Probe(args) => once::run(args),
        Command::Show(show) => demo::run(show),
        Command::Completions(args) => cli::shell::completions(&args, Cli::command()),
        Command::Man(args) => cli::shell::man(&args, Cli::command()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", usage::sentence(&error));
        if error.is::<usage::Usage>() { ExitCode::from(usage::CODE) } else { ExitCode::FAILURE }
    })
}

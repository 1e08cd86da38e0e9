//! A deterministic simulator of the health mesh: the very engine of the agent, under a virtual clock and network, with every promise
//! checked against the ground truth.
//!
//! A [`plan`] and a seed become a [`scenario`]; the [`world`] drives one engine per [`host`] through it, over a [`network`]; the [`truth`] is
//! what was really the case, and the [`invariants`] compare the engines' words with it. [`swarm`] draws plans, [`runner`] runs them.

mod admission;
mod carry;
mod checks;
mod cli;
mod commands;
mod digest;
mod draw;
mod host;
mod invariants;
mod keys;
mod library;
mod network;
mod node;
mod plan;
mod queue;
mod report;
mod runner;
mod scenario;
mod swarm;
mod time;
mod timeline;
mod trace;
mod truth;
mod world;
#[cfg(test)]
mod world_tests;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => commands::run(&args),
        Command::Fuzz(args) => commands::fuzz(&args),
        Command::Split(args) => commands::split(&args),
        Command::Plans { output } => commands::plans(output),
        Command::Determinism(args) => commands::determinism(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("quorate-sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

//! A deterministic simulator of the health mesh: the very engine of the agent, under a virtual clock and network, with every promise
//! checked against the ground truth.
//!
//! A [`plan`] and a seed become a [`scenario`]; the [`world`] drives one engine per [`host`] through it, over a [`network`]; the [`truth`] is
//! what was really the case, and the [`invariants`] compare the engines' words with it. [`swarm`] draws plans, [`runner`] runs them.

mod admission;
mod calls;
mod carry;
mod checks;
mod cli;
mod clock;
mod commands;
mod digest;
mod draw;
mod driving;
mod faulty;
#[cfg(test)]
mod found_tests;
#[cfg(test)]
mod golden_tests;
mod host;
mod invariants;
mod keys;
mod latency;
mod ledger;
mod library;
mod network;
mod node;
#[cfg(test)]
mod pacing_tests;
mod page;
mod papers;
#[cfg(test)]
mod partial_tests;
mod plain;
mod plan;
mod plan_table;
#[cfg(test)]
mod process_tests;
mod queue;
#[cfg(test)]
mod renaming_tests;
mod replay;
mod report;
mod rosters;
mod runner;
mod sabotage;
mod scenario;
mod shrink;
mod sometimes;
mod stop;
mod swarm;
mod swarm_calls;
mod swarm_members;
mod telling;
mod time;
mod timeline;
mod timing;
mod trace;
mod truth;
mod weather;
mod world;
#[cfg(test)]
mod world_tests;

use clap::Parser;
use cli::Cli;
use commands::output::tell;
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::parse().command.execute() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tell(&format!("quorate-sim: {error:#}"));
            ExitCode::from(2)
        }
    }
}

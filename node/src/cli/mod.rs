//! The commands that ask a running agent.

mod advice;
pub mod client;
mod events;
mod explain;
mod lists;
pub mod question;
pub mod span;
mod sse;
pub mod style;
pub mod table;

#[cfg(test)]
pub mod fabricated;
#[cfg(test)]
mod list_tests;

use clap::Subcommand;
use question::{Source, Watch, ask};
use quorate_core::{ServiceName, Verdict};
use std::process::ExitCode;

/// A question to a running agent.
#[derive(Debug, Subcommand)]
pub enum Ask {
    /// The health of the whole mesh in one answer
    #[command(
        after_help = "Exit codes:\n  0  everything is up, degraded or partial\n  1  something is down, unknown or still \
                            starting, the agent is not quorate, or it cannot be reached\n  2  usage"
    )]
    Health {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        watch: Watch,
    },
    /// Every service
    Services {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        watch: Watch,
    },
    /// Every instance
    Instances {
        /// Only of this service
        #[arg(long, value_name = "SERVICE")]
        service: Option<ServiceName>,
        /// Only with this verdict: up, degraded, partial, down, unknown, starting, draining or maintenance
        #[arg(long, value_name = "VERDICT", value_parser = verdict)]
        verdict: Option<Verdict>,
        /// Hosts too
        #[arg(long)]
        hosts: bool,
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        watch: Watch,
    },
    /// Every agent
    Members {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        watch: Watch,
    },
    /// Why an instance is down, or what else it is: votes, causes, times and signatures in sentences
    Explain {
        /// An instance, the beginning of one, a service with one instance, or an agent's name for its host
        id: String,
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        watch: Watch,
    },
    /// Follow what happens, as the agent sees it; Ctrl-C ends with 0
    Events(events::Args),
}

/// Asks and prints.
///
/// # Errors
/// When the agent cannot be reached or does not answer.
pub fn run(question: Ask) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match question {
            Ask::Health { source, watch } => ask(&lists::Health, &source, watch).await,
            Ask::Services { source, watch } => ask(&lists::Services, &source, watch).await,
            Ask::Instances { service, verdict, hosts, source, watch } => {
                ask(&lists::Instances { service, verdict, hosts }, &source, watch).await
            }
            Ask::Members { source, watch } => ask(&lists::Members, &source, watch).await,
            Ask::Explain { id, source, watch } => {
                let question = explain::find(&source.addr, &id).await?;
                ask(&question, &source, watch).await
            }
            Ask::Events(args) => events::run(&args).await,
        }
    })
}

fn verdict(word: &str) -> Result<Verdict, String> {
    let known = Verdict::ALL.iter().find(|verdict| verdict.as_str() == word);
    known.copied().ok_or_else(|| {
        let words: Vec<_> = Verdict::ALL.iter().map(|verdict| verdict.as_str()).collect();
        format!("use one of {}", words.join(", "))
    })
}

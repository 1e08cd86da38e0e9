//! The commands that ask a running agent.

mod advice;
mod breakers;
mod check;
pub mod client;
pub mod credentials;
mod doctor;
mod events;
pub mod explain;
mod leave;
mod lists;
mod operate;
pub mod question;
mod reload;
mod report;
pub mod shell;
pub mod span;
mod sse;
pub mod style;
pub mod table;
mod top;
mod wait;

#[cfg(test)]
pub mod fabricated;
#[cfg(test)]
mod list_tests;

use crate::answers::Wish;
use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use operate::Maintenance;
use question::{Source, Watch, ask};
use quorate_core::{ServiceName, Verdict};
use std::process::ExitCode;

/// How lists are read by people and by programs.
const LISTS: &str = "Examples:\n  -o wide                 with more columns\n  -o name | xargs -n1     one name per line\n  -o json | jq .          \
                     as the API gave it\n  -w                      again whenever it changes\n\nColour appears on terminals, and not where NO_COLOR is set.\n\n\
                     Exit codes:\n  0  told\n  1  the agent cannot be reached\n  2  usage";

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
    #[command(after_help = LISTS)]
    Services {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        watch: Watch,
    },
    /// Every instance
    #[command(after_help = LISTS)]
    Instances {
        /// Only of this service
        #[arg(long, value_name = "SERVICE")]
        service: Option<ServiceName>,
        /// Only with this verdict; several with commas between
        #[arg(long = "verdict", value_name = "VERDICT", value_delimiter = ',', value_parser = verdict())]
        verdicts: Vec<Verdict>,
        /// Hosts too
        #[arg(long)]
        hosts: bool,
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        watch: Watch,
    },
    /// Every agent
    #[command(after_help = LISTS)]
    Members {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        watch: Watch,
    },
    /// Breakers that callers share: what stands open, why, and who may try
    Breakers {
        /// Only of this service
        service: Option<ServiceName>,
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        watch: Watch,
    },
    /// Trip, reset or disable a breaker on all hosts; takes a token with the scope `operate`
    Breaker(breakers::Args),
    /// Why an instance is down, or what else it is: votes, causes, times and signatures in sentences
    #[command(
        after_help = "Examples:\n  quorate explain web                  the one instance of a service\n  quorate explain \
                            web@10.0.0.1:8080    an instance\n  quorate explain host-a               the host of an agent\n\n\
                            Exit codes:\n  0  told\n  1  there is no such thing, or the agent cannot be reached\n  2  usage"
    )]
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
    /// Wait until a service or an instance is as wished
    Wait(wait::Args),
    /// One service in one line and an exit code, for other monitoring
    Check(check::Args),
    /// Go through what must be right for the mesh to be relied on
    Doctor(doctor::Args),
    /// The mesh at a glance, drawn again and again; Ctrl-C ends with 0
    Top(top::Args),
    /// What has been of a service: uptime, probes, incidents
    Report(report::Args),
    /// Take instances out of service: no new traffic, what runs may end
    #[command(after_help = operate::DRAINS)]
    Drain {
        #[command(flatten)]
        which: operate::Which,
        #[command(flatten)]
        why: operate::Why,
    },
    /// Put drained instances back into service
    #[command(after_help = operate::DRAINS)]
    Undrain {
        #[command(flatten)]
        which: operate::Which,
    },
    /// Say that instances are worked on, or no longer are
    Maintenance {
        #[command(subcommand)]
        action: operate::Maintenance,
    },
    /// Give up an agent that failed and will not come back: it no longer counts
    #[command(after_help = operate::FORGETS)]
    Forget {
        /// Its id or name
        agent: String,
        #[command(flatten)]
        at: operate::At,
    },
    /// Have this host's agent leave its mesh for good, and end
    Leave(leave::Args),
    /// Have an agent read its certificate and configuration anew; takes a token with the scope `operate`
    Reload(reload::Args),
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
            Ask::Instances { service, verdicts, hosts, source, watch } => {
                ask(&lists::Instances { service, verdicts, hosts }, &source, watch).await
            }
            Ask::Members { source, watch } => ask(&lists::Members, &source, watch).await,
            Ask::Breakers { service, source, watch } => ask(&breakers::Breakers { service }, &source, watch).await,
            Ask::Breaker(args) => breakers::run(args).await,
            Ask::Explain { id, source, watch } => {
                let question = explain::find(&source.addr, &id).await?;
                ask(&question, &source, watch).await
            }
            Ask::Events(args) => events::run(&args).await,
            Ask::Wait(args) => wait::run(&args).await,
            Ask::Check(args) => check::run(&args).await,
            Ask::Doctor(args) => doctor::run(&args).await,
            Ask::Top(args) => top::run(&args).await,
            Ask::Report(args) => report::run(&args).await,
            Ask::Drain { which, why } => operate::want(&which, Wish::Draining, &why).await,
            Ask::Undrain { which } => operate::want_no_more(&which, Wish::Draining).await,
            Ask::Maintenance { action: Maintenance::On { which, why } } => {
                operate::want(&which, Wish::Maintenance, &why).await
            }
            Ask::Maintenance { action: Maintenance::Off { which } } => {
                operate::want_no_more(&which, Wish::Maintenance).await
            }
            Ask::Forget { agent, at } => operate::forget(&agent, &at).await,
            Ask::Leave(args) => leave::run(&args).await,
            Ask::Reload(args) => reload::run(&args).await,
        }
    })
}

/// The word of a verdict; shells complete it.
fn verdict() -> impl TypedValueParser<Value = Verdict> {
    let words = PossibleValuesParser::new(Verdict::ALL.iter().map(|verdict| verdict.as_str()));
    words.try_map(|word| {
        let known = Verdict::ALL.iter().find(|verdict| verdict.as_str() == word);
        known.copied().ok_or_else(|| format!("{word:?} is no verdict"))
    })
}

//! `quorate probe run`: one probe, from this host or by an agent, and everything that came of it.

mod from;
mod report;
mod source;

use crate::answers::LocalProbe;
use crate::api::probed::{probed, target};
use crate::cli::client::Client;
use crate::cli::question::print;
use crate::cli::style;
use quorate_core::AgentId;
use quorate_probe::{Limits, Prober, Target};
use std::path::PathBuf;
use std::process::ExitCode;

/// Probe by hand.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Run one check, from this host or by an agent, and tell what came of it
    #[command(
        after_help = "Exit codes:\n  0  it passed, be it with a warning\n  1  it failed, or could not be run\n  2  usage"
    )]
    Run(RunArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// A service or an instance of the configuration file, or a target: http://HOST:PORT/PATH, https://, tcp://HOST:PORT, tls://,
    /// redis://, postgres://, grpc://, grpcs://, icmp://HOST, dns://SERVER/NAME. With --from an instance or a service that the agent knows
    check: String,
    /// Have this agent probe instead, by the check that it knows: its name or id, or the address of its API (HOST:PORT, https://HOST:PORT).
    /// Takes a token with the scope `operate`
    #[arg(long, value_name = "AGENT")]
    from: Option<String>,
    /// The API of an agent that knows where the one of --from is
    #[arg(long, value_name = "HOST:PORT", env = "QUORATE_ADDR", default_value = "127.0.0.1:7701", value_parser = Client::new)]
    addr: Client,
    /// The configuration file that names it
    #[arg(long, env = "QUORATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Show each phase, condition, certificate and header
    #[arg(long)]
    explain: bool,
    /// `text`, or `json`: the fields of `local` in the API; with --from the agent's whole answer
    #[arg(long, short, value_enum, default_value_t = Form::Text)]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Text,
    Json,
}

/// Runs the command.
///
/// # Errors
/// When there is no such check, or nothing could be started.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Action::Run(args) = args.action;
    if let Some(agent) = &args.from {
        return from::run(&args, agent);
    }
    let (registration, own) = source::find(&args.check, args.config.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let aimed = Target {
        instance: registration.instance.clone(),
        service: registration.service.clone(),
        address: registration.address.clone(),
        home: None,
        observer: AgentId(0),
    };
    let outcome = runtime.block_on(Prober::new(Limits::default(), own).run(&aimed, &registration.check));
    // A look-up that nobody waits for any more must not keep the process.
    runtime.shutdown_background();
    let mut answer = probed(registration.check.kind.name(), &outcome);
    answer.timestamp = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    match args.output {
        Form::Json => print(&format!("{}\n", serde_json::to_string_pretty(&answer)?))?,
        Form::Text => tell(&report::text(&target(&registration), &answer, args.explain))?,
    }
    Ok(code(&answer))
}

fn tell(text: &str) -> anyhow::Result<()> {
    print(&format!("{}\n", style::render(text, style::colour_wanted()).trim_end()))
}

fn code(answer: &LocalProbe) -> ExitCode {
    if answer.is_healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

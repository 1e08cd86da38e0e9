//! `quorate probe run`: one probe from this host, and everything that came of it.

mod report;
mod source;

use crate::api::probed::probed;
use crate::cli::style;
use quorate_core::{AgentId, ProbeResult};
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
    /// Run one check from this host and tell what came of it
    #[command(
        after_help = "Exit codes:\n  0  it passed, be it with a warning\n  1  it failed, or this host could not run it\n  2  usage"
    )]
    Run(RunArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// A service or an instance of the configuration file, or a target: http://HOST:PORT/PATH, https://, tcp://HOST:PORT, tls://,
    /// redis://, postgres://, grpc://, grpcs://, icmp://HOST, dns://SERVER/NAME
    check: String,
    /// The configuration file that names it
    #[arg(long, env = "QUORATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Show each phase, condition, certificate and header
    #[arg(long)]
    explain: bool,
    /// `text`, or `json`: the fields of `local` in the API
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
    let (registration, own) = source::find(&args.check, args.config.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let target = Target {
        instance: registration.instance.clone(),
        service: registration.service.clone(),
        address: registration.address.clone(),
        home: None,
        observer: AgentId(0),
    };
    let outcome = runtime.block_on(Prober::new(Limits::default(), own).run(&target, &registration.check));
    // A look-up that nobody waits for any more must not keep the process.
    runtime.shutdown_background();
    let mut answer = probed(registration.check.kind.name(), &outcome);
    answer.timestamp = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    let text = match args.output {
        Form::Json => serde_json::to_string_pretty(&answer)?,
        Form::Text => {
            style::render(&report::text(&registration, &outcome, &answer, args.explain), style::colour_wanted())
        }
    };
    println!("{}", text.trim_end());
    Ok(if matches!(outcome.result, ProbeResult::Fail(_)) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

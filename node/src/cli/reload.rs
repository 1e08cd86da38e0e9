//! `quorate reload`: has an agent read anew what can be read anew.

use super::client::Client;
use super::question::print;
use crate::answers::ReloadAnswer;
use hyper::Method;
use std::process::ExitCode;

/// Which agent.
#[derive(Debug, clap::Args)]
#[command(after_help = super::operate::OPERATES)]
pub struct Args {
    /// The agent's API
    #[arg(long, value_name = "HOST:PORT", env = "QUORATE_ADDR", default_value = "127.0.0.1:7701", value_parser = Client::new)]
    addr: Client,
}

/// Asks and tells.
///
/// # Errors
/// When the agent cannot be reached, refuses, or cannot use what is new.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let answer = args.addr.change::<ReloadAnswer>(Method::POST, "/-/reload", String::new()).await?.answer;
    if answer.applied.is_empty() {
        print("nothing to read anew\n")?;
    } else {
        print(&format!("read anew: {}\n", answer.applied.join(", ")))?;
    }
    if !answer.restart.is_empty() {
        eprintln!("these take a new start of the agent: {}", answer.restart.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

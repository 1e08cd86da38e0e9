//! `quorate config`: checks a file, lists the keys.

use super::{file, keys};
use std::path::PathBuf;
use std::process::ExitCode;

/// What to do with configuration.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Check a configuration file and tell every error in it.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// List every key.
    #[command(hide = true)]
    Keys,
}

/// Runs the command.
///
/// # Errors
/// None of its own: a file that is wrong is an answer.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Check { file } => Ok(check(&file)),
        Action::Keys => {
            keys::all().iter().for_each(|key| println!("{key}"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(path: &std::path::Path) -> ExitCode {
    match file::load(path) {
        Ok(settings) => {
            let instances: usize = settings.services.iter().map(|service| service.instances.len()).sum();
            println!("{}: ok, {} services, {instances} instances", path.display(), settings.services.len());
            ExitCode::SUCCESS
        }
        Err(errors) => {
            eprintln!("{errors}");
            let count = errors.count();
            eprintln!("{count} error{}", if count == 1 { "" } else { "s" });
            ExitCode::FAILURE
        }
    }
}

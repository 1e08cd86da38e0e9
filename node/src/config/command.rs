//! `quorate config`: checks and shows a configuration, lists the keys.

use super::document::{Texts, as_table};
use super::settings::defaults;
use super::{file, keys};
use crate::cli::question::print;
use crate::usage::usage;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toml::{Table, Value};

/// What to do with configuration.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Check a configuration and tell every error in it.
    Check {
        /// The file, or a directory of files.
        file: PathBuf,
    },
    /// Show what the files and the environment say together. Variables in texts stay as they are written: they may hold secrets.
    Show {
        /// The file, or a directory of files.
        #[arg(env = "QUORATE_CONFIG")]
        file: Option<PathBuf>,
        /// With the defaults of all that they do not say.
        #[arg(long)]
        resolved: bool,
    },
    /// Print a JSON Schema of configurations, for editors.
    Schema,
    /// List every key.
    #[command(hide = true)]
    Keys,
}

/// Runs the command.
///
/// # Errors
/// When there is nothing to show: a file that is wrong is an answer.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Check { file } => check(&file),
        Action::Show { file, resolved } => show(file.as_deref(), resolved),
        Action::Schema => {
            print(&format!("{:#}\n", super::schema::schema()))?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Keys => {
            print(&keys::all().iter().map(|key| format!("{key}\n")).collect::<String>())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(path: &Path) -> anyhow::Result<ExitCode> {
    match file::load(Some(path)) {
        Ok(settings) => {
            crate::export::check(settings.statsd.as_ref(), settings.otlp.as_ref())?;
            let instances: usize = settings.services.iter().map(|service| service.instances.len()).sum();
            let count = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
            let (services, instances) = (count(settings.services.len(), "service"), count(instances, "instance"));
            print(&format!("{}: ok, {services}, {instances}\n", path.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            eprintln!("{errors}");
            let count = errors.count();
            eprintln!("{count} error{}", if count == 1 { "" } else { "s" });
            Ok(ExitCode::FAILURE)
        }
    }
}

fn show(path: Option<&Path>, resolved: bool) -> anyhow::Result<ExitCode> {
    let wrong = |errors: super::errors::ConfigErrors| usage(errors.to_string());
    let texts = path.map_or_else(|| Ok(Texts::default()), Texts::read).map_err(wrong)?.environment(std::env::vars());
    // Not what the variables hold.
    let said = as_table(&texts.literal().map_err(wrong)?);
    let mut shown = if resolved { defaults() } else { Table::new() };
    // Two names for one setting: the default goes with the one that is said.
    if said.get("agent").is_some_and(|agent| agent.get("api").is_some()) {
        shown.get_mut("api").and_then(Value::as_table_mut).map(|api| api.remove("listen"));
    }
    overlay(&mut shown, said);
    print(&toml::to_string_pretty(&shown)?)?;
    Ok(ExitCode::SUCCESS)
}

fn overlay(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => overlay(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

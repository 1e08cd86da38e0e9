//! `quorate completions` and `quorate man`: what a package puts beside the program, made from the command line itself.

use super::question::print;
use anyhow::Context;
use clap::Command;
use clap_complete::Shell;
use std::path::PathBuf;
use std::process::ExitCode;

/// For which shell.
#[derive(Debug, clap::Args)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completions of a shell.
///
/// # Errors
/// When they cannot be written.
pub fn completions(args: &CompletionArgs, mut command: Command) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "quorate", &mut text);
    print(&String::from_utf8(text)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Where to put man pages.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write a page for the program and one for each command into this folder, instead of printing the first
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Prints the program's man page, or writes all of them.
///
/// # Errors
/// When they cannot be written.
pub fn man(args: &ManArgs, command: Command) -> anyhow::Result<ExitCode> {
    match &args.folder {
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            clap_mangen::generate_to(command, folder).with_context(|| folder.display().to_string())?;
        }
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(command).render(&mut text)?;
            print(&String::from_utf8(text)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

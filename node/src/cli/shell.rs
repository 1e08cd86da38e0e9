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
pub fn completions(args: &CompletionArgs, command: Command) -> anyhow::Result<ExitCode> {
    print(&String::from_utf8(of_shell(args.shell, &command))?)?;
    Ok(ExitCode::SUCCESS)
}

fn of_shell(shell: Shell, command: &Command) -> Vec<u8> {
    let mut command = shown(command).version(env!("CARGO_PKG_VERSION")).propagate_version(true);
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "quorate", &mut text);
    text
}

/// The same commands without those that are hidden, as far as completions tell of them.
fn shown(command: &Command) -> Command {
    // A name lasts as long as the process, which ends soon.
    let name: &'static str = Box::leak(command.get_name().to_owned().into_boxed_str());
    let copy = Command::new(name)
        .args(command.get_arguments().cloned())
        .groups(command.get_groups().cloned())
        .subcommands(command.get_subcommands().filter(|one| !one.is_hide_set()).map(shown));
    match command.get_about() {
        Some(about) => copy.about(about.clone()),
        None => copy,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn completions_offer_what_the_help_shows() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = String::from_utf8(of_shell(shell, &crate::Cli::command())).unwrap();
            for part in ["undrain", "api-token-file", "maintenance"] {
                assert!(text.contains(part), "{shell}: {part}");
            }
            assert!(!text.contains("demo-service") && !text.contains("demo-tether"), "{shell}");
        }
    }
}

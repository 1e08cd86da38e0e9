//! Which plan a command is about: one in a file, one of the library, or one drawn from a seed; with some keys changed.

use crate::cli::agent_count;
use crate::library;
use crate::plan::Plan;
use crate::plan_table;
use crate::swarm::{self, Profile};
use anyhow::bail;
use std::fmt::Write as _;
use std::path::Path;

/// Arguments that name a plan and a seed.
#[derive(Debug, Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub struct SourceArgs {
    /// A TOML file, or the name of a plan that comes with the program.
    #[arg(group = "source")]
    pub plan: Option<String>,
    /// Decides everything that is random.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "from_seed")]
    pub seed: u64,
    /// Instead of PLAN: the plan that `fuzz` draws from this seed, with this seed.
    #[arg(long, value_name = "N", group = "source")]
    pub from_seed: Option<u64>,
    /// What kind of plan is drawn from it.
    #[arg(long, value_enum, default_value_t = Profile::Swarm, requires = "from_seed", conflicts_with = "plan")]
    pub profile: Profile,
    /// How many agents it has; drawn when absent.
    #[arg(long, value_name = "N", value_parser = agent_count, requires = "from_seed", conflicts_with = "plan")]
    pub agents: Option<usize>,
    /// Change a key of the plan, such as network.loss_per_mille=50. May be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub with: Vec<String>,
}

/// A plan and its seed.
#[derive(Debug)]
pub struct Source {
    /// The plan's name.
    pub name: String,
    /// The seed.
    pub seed: u64,
    /// The plan.
    pub plan: Plan,
    /// The arguments that name it again.
    pub words: String,
}

impl SourceArgs {
    /// The file that holds the plan, if it is none of the library or drawn.
    pub fn file(&self) -> Option<&Path> {
        self.plan.as_deref().filter(|plan| library::text(plan).is_none()).map(Path::new)
    }

    /// Finds the plan.
    ///
    /// # Errors
    /// When there is none, it is wrong, or has not the keys that are to be changed.
    pub fn load(&self) -> anyhow::Result<Source> {
        let (name, seed, plan, mut words) = match (self.from_seed, &self.plan) {
            (Some(seed), _) => {
                let (name, plan) = (self.profile.word(), swarm::plan(self.profile, seed, self.agents));
                (format!("{name}-{seed}"), seed, plan, drawn(self.profile, self.agents, seed))
            }
            (None, Some(plan)) => {
                let (name, plan) = library::load(plan)?;
                let words = format!("{} --seed {}", quoted(&name), self.seed);
                (name, self.seed, plan, words)
            }
            (None, None) => bail!("name a plan, or a seed with --from-seed"),
        };
        let plan = plan_table::changed(plan, &self.with)?;
        for change in &self.with {
            // Writing to a string cannot fail.
            let _ = write!(words, " --with {}", quoted(change));
        }
        Ok(Source { name, seed, plan, words })
    }
}

/// A word as a shell takes it: in quotes when it needs them.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if word.starts_with('-') && word.len() > 1 {
        // A file, and no option.
        quoted(&format!("./{word}"))
    } else if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The arguments that name the plan drawn from a seed.
pub fn drawn(profile: Profile, agents: Option<usize>, seed: u64) -> String {
    let profile = if profile == Profile::Swarm { String::new() } else { format!(" --profile {}", profile.word()) };
    let agents = agents.map(|agents| format!(" --agents {agents}")).unwrap_or_default();
    format!("--from-seed {seed}{profile}{agents}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::commands::Command;
    use clap::Parser;

    fn load(arguments: &str) -> Source {
        let words = format!("quorate-sim run {arguments}").replace('\'', "");
        let Command::Run(args) = Cli::parse_from(words.split_whitespace()).command else { panic!("not run") };
        args.source.load().unwrap()
    }

    #[test]
    fn the_words_name_the_same_plan_again() {
        for arguments in [
            "killed-instance --seed 7 --with network.loss_per_mille=50",
            "--from-seed 9 --profile split --agents 6",
            "--from-seed 9 --with timing.settle=2s",
            "regions --seed 2 --with mesh.zones=2 --with 'network.between_zones_us=[[0,1],[1,0]]'",
        ] {
            let first = load(arguments);
            let again = load(&first.words);
            assert_eq!((first.plan, first.seed, &first.words), (again.plan, again.seed, &again.words), "{arguments}");
        }
    }

    #[test]
    fn a_word_is_quoted_when_it_needs_that() {
        assert_eq!(quoted("sim/plans/my-plan.toml"), "sim/plans/my-plan.toml");
        assert_eq!(quoted("my plan.toml"), "'my plan.toml'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("-x.toml"), "./-x.toml");
    }

    #[test]
    fn what_a_drawn_plan_is_like_cannot_be_said_of_a_named_one() {
        let parse = |arguments: &str| {
            Cli::try_parse_from(format!("quorate-sim run {arguments}").split_whitespace()).map(|_| ())
        };
        for arguments in ["steady --agents 7", "steady --profile split", "--agents 7"] {
            assert!(parse(arguments).is_err(), "{arguments}");
        }
        assert!(parse("steady --from-seed 7").is_err());
        let nothing = parse("").unwrap_err().to_string();
        assert!(nothing.contains("PLAN") && nothing.contains("--from-seed"), "{nothing}");
        parse("--from-seed 1 --profile split --agents 7").unwrap();
        parse("steady --seed 7").unwrap();
    }
}

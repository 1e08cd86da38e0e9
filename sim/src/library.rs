//! The plans that come with the program, each a question with an answer.

use crate::plan::Plan;
use anyhow::{Context, bail, ensure};
use std::fs::File;
use std::io::Read as _;

macro_rules! plans {
    ($($name:literal),* $(,)?) => {
        /// Names and texts of the plans.
        pub const PLANS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../plans/", $name, ".toml")))),*];
    };
}

plans!(
    "steady",
    "killed-instance",
    "hung-instance",
    "erroring-instance",
    "whole-service",
    "brief-outage",
    "flapping-instance",
    "seen-by-few",
    "killed-host",
    "dead-agent",
    "split-3-2",
    "split-zones",
    "one-way-cut",
    "bridge",
    "bridge-of-zones",
    "isolated-agent",
    "restart",
    "restart-empty",
    "forgotten-copies",
    "restart-stale",
    "restart-all",
    "five-return",
    "pause",
    "pause-timers-first",
    "leave-and-return",
    "cold-join",
    "copies-of-two",
    "lossy",
    "slow-network",
    "one-agent",
    "two-agents",
    "few-observers",
    "lost-observers",
    "lost-zone",
    "lost-majority",
    "heal-50",
    "ring",
    "lossy-agent",
    "flapping-ingress",
    "delayed",
    "narrow-line",
    "broken-links",
    "regions",
    "slow-process",
    "withdrawn-while-split",
    "wrong-clocks",
    "cloned-identity",
    "rolling-restart",
    "replaced-agents",
    "growth",
    "join-storm",
    "mass-leave",
    "slow-instance",
    "overloaded-instance",
    "second-opinion",
    "home-checks",
    "core-heals",
    "faulty-always-down",
    "faulty-always-up",
    "faulty-random",
    "faulty-replayer",
    "faulty-forger",
    "faulty-inflater",
    "faulty-garbage",
    "calls-dead",
    "calls-hung",
    "calls-a-third-fails",
    "calls-a-third-of-callers",
    "calls-slow",
    "calls-one-broken-caller",
    "calls-one-zones-path",
    "calls-liar",
    "calls-flapping",
    "calls-partition",
    "calls-word-against-verdict",
    "calls-word-survives",
    "calls-restart-while-open",
    "calls-late-results",
    "calls-recovery-of-many",
);

/// The longest plan. One of the largest mesh with a long list in each of many faults fits many times.
const MAX_PLAN_BYTES: u64 = 16 << 20;

/// The text of a plan of the library.
pub fn text(name: &str) -> Option<&'static str> {
    PLANS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The plan in a file, or of that name in the library; and its name.
///
/// # Errors
/// When there is neither, or the plan is wrong.
pub fn load(what: &str) -> anyhow::Result<(String, Plan)> {
    if let Some(text) = text(what) {
        return Ok((what.to_owned(), Plan::parse(text).with_context(|| format!("the plan {what} is wrong"))?));
    }
    if !std::path::Path::new(what).exists() {
        let near = nearest(what).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        bail!("there is no file {what:?} and no plan of that name{near}; `quorate-sim plans` lists them");
    }
    let unread = || format!("{what} cannot be read");
    let mut text = String::new();
    let file = File::open(what).with_context(unread)?;
    let length = file.take(MAX_PLAN_BYTES + 1).read_to_string(&mut text).with_context(unread)?;
    ensure!(length as u64 <= MAX_PLAN_BYTES, "{what} is longer than any plan: {MAX_PLAN_BYTES} bytes are the most");
    Ok((what.to_owned(), Plan::parse(&text).with_context(|| format!("{what} is not a plan"))?))
}

/// The plan whose name comes nearest, if it is within a third of its length.
fn nearest(what: &str) -> Option<&'static str> {
    let apart = |name: &str| strsim::osa_distance(what, name);
    // Longer ones are no slip of the pen, and take long to compare.
    let alike = |name: &&str| what.len() < 2 * name.len() && apart(name) <= name.len() / 3;
    PLANS.iter().map(|(name, _)| *name).filter(alike).min_by_key(|name| apart(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_of_the_folder_is_in_the_list() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/plans")).unwrap();
        let files: BTreeSet<String> = folder.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let listed: BTreeSet<String> = PLANS.iter().map(|(name, _)| format!("{name}.toml")).collect();
        assert_eq!(files, listed);
    }

    #[test]
    fn a_plan_that_is_not_there_may_be_one_with_a_name_like_it() {
        for (wrong, near) in
            [("kiled-instance", Some("killed-instance")), ("split-2-3", Some("split-3-2")), ("x", None)]
        {
            assert_eq!(nearest(wrong), near);
        }
        assert!(load("stedy").unwrap_err().to_string().contains("did you mean steady?"));
    }
}

//! Tests the checker: an engine that is broken on purpose must be found out, and for the right reason, within a stated number of seeds.
//!
//! Each [`Case`] names a defect, the ground on which it shows, and the invariants that are there to notice it. The same seeds of the same
//! ground are then run with the engine as it is: nothing may be found there.

mod cases;
#[cfg(test)]
mod tests;

use crate::checks::Violation;
use crate::node::{self, AnyStarter};
use crate::plan::Plan;
use crate::runner::{self, Manner, stopwatch};
use crate::stop::Stop;
use crate::{library, report::rounded};
use anyhow::Context;
use quorate_mesh::Defect;
use serde::Serialize;

pub use cases::CASES;

/// The first seed that is tried.
const FIRST_SEED: u64 = 1;

/// Where a defect shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// A plan of the library.
    Library(&'static str),
    /// A plan made for one defect: its name and text.
    Own(&'static str, &'static str),
}

impl Ground {
    /// What it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Library(name) | Self::Own(name, _) => name,
        }
    }

    /// The plan.
    ///
    /// # Errors
    /// When it is wrong.
    pub fn plan(self) -> anyhow::Result<Plan> {
        match self {
            Self::Library(name) => Ok(library::load(name)?.1),
            Self::Own(name, text) => Plan::parse(text).with_context(|| format!("the plan {name} is wrong")),
        }
    }
}

/// One defect, and how it is to be found.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What is broken.
    pub defect: Defect,
    /// Which promise that breaks, by number and name.
    pub promise: &'static str,
    /// Where it shows.
    pub ground: Ground,
    /// Within how many seeds.
    pub seeds: u64,
    /// Which invariants may be the ones to find it; any other means that something else is wrong.
    pub found_by: &'static [&'static str],
}

/// What became of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Found, by an invariant that is there for it.
    Caught,
    /// Found, by an invariant that has nothing to do with it.
    Mistaken,
    /// Not found within the seeds allowed.
    Survived,
    /// The engine as it is breaks a promise on the same seeds.
    ControlBroken,
}

/// The outcome of one case.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The defect's name.
    pub defect: &'static str,
    /// The promise it breaks.
    pub promise: &'static str,
    /// The plan on which it shows.
    pub plan: &'static str,
    /// How it ended.
    pub ending: Ending,
    /// The invariants that are there for it.
    pub expected: &'static [&'static str],
    /// The invariant that found it.
    pub caught_by: Option<&'static str>,
    /// Seeds run until then.
    pub seeds_needed: u64,
    /// Seeds allowed.
    pub seeds_allowed: u64,
    /// Time simulated until then, in all runs together.
    pub simulated_s: f64,
    /// How long that took, without the control.
    pub wall_s: f64,
    /// What was found.
    pub violation: Option<Violation>,
    /// What was found in the engine as it is.
    pub control: Option<Violation>,
    /// How to see it again.
    pub reproduce: String,
}

impl Case {
    /// Runs the case: seed after seed until the defect is found, then the same seeds without it.
    ///
    /// # Errors
    /// When the plan is wrong.
    pub fn run(&self) -> anyhow::Result<Outcome> {
        let began = stopwatch();
        let (mut simulated_s, mut seeds_needed, mut found) = (0.0, 0, Vec::new());
        while found.is_empty() && seeds_needed < self.seeds {
            let (seconds, violations) = self.seed(FIRST_SEED + seeds_needed, node::broken(self.defect))?;
            seeds_needed += 1;
            simulated_s += seconds;
            found = violations;
        }
        let wall_s = rounded(began.elapsed().as_secs_f64());
        let right = found.iter().find(|violation| self.found_by.contains(&violation.invariant));
        let violation = right.or(found.first()).cloned();
        let control = self.control(seeds_needed)?;
        let ending = match (&violation, &control) {
            (_, Some(_)) => Ending::ControlBroken,
            (None, _) => Ending::Survived,
            (Some(_), _) if right.is_some() => Ending::Caught,
            (Some(_), _) => Ending::Mistaken,
        };
        Ok(Outcome {
            defect: self.defect.name(),
            promise: self.promise,
            plan: self.ground.name(),
            ending,
            expected: self.found_by,
            caught_by: violation.as_ref().map(|violation| violation.invariant),
            seeds_needed,
            seeds_allowed: self.seeds,
            simulated_s: rounded(simulated_s),
            wall_s,
            violation,
            control,
            reproduce: format!("quorate-sim sabotage --only {}", self.defect.name()),
        })
    }

    /// What is found first in the engine as it is, on the first `seeds` seeds.
    fn control(&self, seeds: u64) -> anyhow::Result<Option<Violation>> {
        for seed in FIRST_SEED..FIRST_SEED + seeds {
            let (_, violations) = self.seed(seed, Box::new(node::engine))?;
            if let Some(violation) = violations.into_iter().next() {
                return Ok(Some(violation));
            }
        }
        Ok(None)
    }

    fn seed(&self, seed: u64, starter: Box<AnyStarter>) -> anyhow::Result<(f64, Vec<Violation>)> {
        let manner = Manner { starter, stop: Stop::AtFirst, ..Manner::default() };
        let (report, _) = runner::run(self.ground.name(), &self.ground.plan()?, seed, manner)?;
        Ok((report.simulated_s, report.violations))
    }
}

/// Runs `cases`, `jobs` at a time, telling `watch` of each as it ends. The outcomes come in the order of the cases.
///
/// # Errors
/// The first that a case has.
pub fn run(cases: &[Case], jobs: usize, watch: impl Fn(&Outcome) + Sync) -> anyhow::Result<Vec<Outcome>> {
    runner::for_each_seed((0, cases.len() as u64), jobs, |number| {
        let outcome = cases[number as usize].run()?;
        watch(&outcome);
        Ok(outcome)
    })
}

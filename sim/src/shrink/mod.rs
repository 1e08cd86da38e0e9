//! The smallest plan that still breaks the same promise.
//!
//! Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002) over what a plan lists: its faults
//! first, since they decide how long a run takes, then its agents and its services; after that times are shortened and numbers lowered.
//! Everything is tried again until nothing helps any more. Draws are stateless, so a plan with one fault less differs by that fault only.
//!
//! What a plan lists is found by the shape of its TOML, not by the kinds of fault: an edit that makes no valid plan is not tried.

mod agents;
mod ddmin;
mod shorter;

use crate::plan::Plan;
use crate::plan_table::{self, At};
use crate::time::SimTime;
use ddmin::ddmin;
use std::collections::BTreeSet;
use std::time::Duration;
use toml::{Table, Value};

/// A later failure than the best one's by this much is another one: it would only make runs longer.
const LATER: Duration = Duration::from_secs(5);
/// Rounds over everything; a round that changes nothing is the last.
const ROUNDS: usize = 6;

/// How large a plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    /// Faults.
    pub faults: usize,
    /// Agents.
    pub agents: usize,
    /// Instances.
    pub instances: usize,
}

impl Size {
    /// That of `plan`.
    pub fn of(plan: &Plan) -> Self {
        Self { faults: plan.faults.len(), agents: plan.mesh.agents, instances: plan.instances().count() }
    }
}

/// Runs a plan, no further than to the given moment, and tells when the promise in question was broken, if it was.
pub type Trial<'a> = &'a mut dyn FnMut(&Plan, SimTime) -> Option<SimTime>;

/// A search in progress.
pub struct Search<'a> {
    trial: Trial<'a>,
    /// Asked before each run: may there be another?
    more: &'a mut dyn FnMut(usize) -> bool,
    /// Told of each smaller plan, with the runs so far.
    progress: &'a mut dyn FnMut(&Plan, usize),
    best: Table,
    failed_at: SimTime,
    tried: BTreeSet<String>,
    runs: usize,
    exhausted: bool,
}

/// What a search came to.
#[derive(Debug)]
pub struct Found {
    /// The smallest plan.
    pub plan: Plan,
    /// Runs that were needed.
    pub runs: usize,
    /// Did a limit end it?
    pub exhausted: bool,
}

impl<'a> Search<'a> {
    /// A search that begins with `plan`, which breaks the promise at `failed_at`.
    ///
    /// # Errors
    /// When the plan cannot be written.
    pub fn new(
        plan: &Plan,
        failed_at: SimTime,
        trial: Trial<'a>,
        more: &'a mut dyn FnMut(usize) -> bool,
        progress: &'a mut dyn FnMut(&Plan, usize),
    ) -> anyhow::Result<Self> {
        let best = plan_table::shortest(plan)?;
        let tried = BTreeSet::from([best.to_string()]);
        Ok(Self { trial, more, progress, best, failed_at, tried, runs: 0, exhausted: false })
    }

    /// Searches to the end, or until there may be no further run.
    ///
    /// # Errors
    /// Never, but for a plan that cannot be read back.
    pub fn run(mut self) -> anyhow::Result<Found> {
        let lists: [fn(&mut Self); 4] =
            [Self::without_faults, Self::without_agents, Self::without_services, Self::without_elements];
        let rest: [fn(&mut Self); 3] = [Self::shorter_times, Self::without_keys, Self::lower_numbers];
        self.repeated(&lists);
        self.repeated(&[lists.as_slice(), rest.as_slice()].concat());
        Ok(Found { plan: plan_table::read(self.best)?, runs: self.runs, exhausted: self.exhausted })
    }

    /// Takes all steps in turn, until none of them helps any more.
    fn repeated(&mut self, steps: &[fn(&mut Self)]) {
        for _ in 0..ROUNDS {
            let before = self.best.clone();
            steps.iter().for_each(|step| step(self));
            if self.exhausted || self.best == before {
                return;
            }
        }
    }

    /// Takes `candidate` for the best plan if it still fails. One that is no plan, or was tried before, does not.
    fn take(&mut self, candidate: Table) -> bool {
        let Ok(plan) = plan_table::read(candidate.clone()) else { return false };
        if self.exhausted || !self.tried.insert(candidate.to_string()) {
            return false;
        }
        if !(self.more)(self.runs) {
            self.exhausted = true;
            return false;
        }
        self.runs += 1;
        let Some(failed_at) = (self.trial)(&plan, self.failed_at.plus(LATER)) else { return false };
        (self.best, self.failed_at) = (candidate, failed_at);
        (self.progress)(&plan, self.runs);
        true
    }

    /// Drops as many elements as it can from the list that `get` finds, `put` making a candidate of what is left.
    fn fewer<T: Clone>(&mut self, list: Vec<T>, put: impl Fn(&Table, &[T]) -> Option<Table>) {
        let base = self.best.clone();
        ddmin(list, &mut |kept| put(&base, kept).is_some_and(|candidate| self.take(candidate)));
    }

    fn without_faults(&mut self) {
        self.fewer(list(&self.best, "faults"), |base, kept| Some(with_list(base, "faults", kept)));
    }

    fn without_services(&mut self) {
        self.fewer(list(&self.best, "services"), |base, kept| {
            Some(agents::without_dangling(with_list(base, "services", kept)))
        });
    }

    fn without_agents(&mut self) {
        let count = agents::count(&self.best);
        self.fewer((0..count).collect(), agents::keep);
    }

    /// Drops elements from the lists inside of faults and services: who is cut off from whom, where the instances are.
    fn without_elements(&mut self) {
        for path in plan_table::paths(&self.best) {
            let inside = matches!(path.first(), Some(At::Key(key)) if key == "faults" || key == "services");
            let Some(Value::Array(elements)) = plan_table::find(&mut self.best, &path).cloned() else { continue };
            if !inside || path.len() < 3 {
                continue;
            }
            self.fewer(elements.clone(), |base, kept| {
                let mut candidate = base.clone();
                *plan_table::find(&mut candidate, &path)? = Value::Array(kept.to_vec());
                Some(agents::without_dangling(candidate))
            });
        }
    }
}

fn list(table: &Table, key: &str) -> Vec<Value> {
    table.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn with_list(table: &Table, key: &str, list: &[Value]) -> Table {
    let mut table = table.clone();
    if list.is_empty() {
        table.remove(key);
    } else {
        table.insert(key.to_owned(), Value::Array(list.to_vec()));
    }
    table
}

#[cfg(test)]
mod tests;

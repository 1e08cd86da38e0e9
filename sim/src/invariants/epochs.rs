//! Promise 2, its second half: the roster of each epoch is decided once, so that at most one side can be quorate.

use super::{Finding, Invariant, Sight};
use crate::plan::Disk;
use crate::scenario::Action;
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::quorum;
use std::collections::BTreeMap;

/// The invariant, with the first digest shown for each epoch.
#[derive(Default)]
pub struct Epochs {
    digests: BTreeMap<u64, (u64, usize)>,
}

impl Invariant for Epochs {
    fn name(&self) -> &'static str {
        "one roster per epoch"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        let Sight::Survey { views } = sight else { return };
        for (agent, view) in views.iter().enumerate() {
            let Some(view) = view.filter(|view| view.epoch > 0 && !truth.scenario.suspect(agent, truth.now)) else {
                continue;
            };
            let (digest, first) = *self.digests.entry(view.epoch).or_insert((view.roster_digest, agent));
            if digest != view.roster_digest && !forgotten(truth, view.epoch) {
                let first = truth.scenario.agent_name(first);
                let detail = format!("its roster of epoch {} is another than that of {first}", view.epoch);
                found.push(Finding::new(Some(agent), detail));
            }
        }
    }
}

/// Has `agent` come back without its disk, or with an older state of it, by `at`, or has there been another of it, which does not know what the first has
/// agreed to?
fn forgets(truth: &Truth, agent: usize, at: SimTime) -> bool {
    let forgets = |action: &Action| matches!(action, Action::Restart(who, Disk::Stale | Disk::Lose) if *who == agent);
    let cloned = truth.scenario.doubles.iter().any(|double| double.agent == agent && double.when.from <= at);
    cloned || truth.scenario.actions.iter().any(|(when, action)| *when <= at && forgets(action))
}

/// May all of those who took the decision have forgotten it, or left?
pub fn forgotten(truth: &Truth, epoch: u64) -> bool {
    let Some(deciders) = truth.rosters.of(epoch.saturating_sub(1)) else { return false };
    let forgot = |agent: &&usize| forgets(truth, **agent, truth.now) || !truth.member(**agent, truth.now);
    quorum::majority(deciders.iter().filter(forgot).count(), deciders.len())
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;

    #[test]
    fn two_rosters_of_one_epoch_are_found() {
        let bench = Bench::new("");
        let mut invariant = Epochs::default();
        let view = bench.mesh_view(0, true, &[]);
        assert_eq!(bench.survey(&mut invariant, &[&view]), Vec::<String>::new());
        let mut other = bench.mesh_view(1, true, &[]);
        assert_eq!(bench.survey(&mut invariant, &[&other]), Vec::<String>::new());
        other.roster_digest ^= 1;
        assert!(bench.survey(&mut invariant, &[&other])[0].contains("another than that of a0"));
        other.epoch += 1;
        assert_eq!(bench.survey(&mut invariant, &[&other]), Vec::<String>::new());
    }
}

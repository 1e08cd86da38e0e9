//! Promise 2, its second half: the roster of each epoch is decided once, so that at most one side can be quorate.

use super::{Finding, Invariant, Sight};
use crate::truth::Truth;
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
            if digest != view.roster_digest {
                let first = truth.scenario.agent_name(first);
                let detail = format!("its roster of epoch {} is another than that of {first}", view.epoch);
                found.push(Finding::new(Some(agent), detail));
            }
        }
    }
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

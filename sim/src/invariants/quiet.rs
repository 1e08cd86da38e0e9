//! Nothing without a cause, which follows from promises 3 and 5: before anything goes wrong no verdict changes once it is decided, and
//! while no link and no process that goes on is disturbed nobody has to renew its identity.

use super::{Finding, Invariant, Sight};
use crate::scenario::Subject;
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::Verdict;
use std::collections::BTreeMap;

/// The invariant.
#[derive(Default)]
pub struct Quiet {
    /// Renewals that each agent last told of.
    renewals: BTreeMap<usize, u64>,
}

impl Invariant for Quiet {
    fn name(&self) -> &'static str {
        "nothing without a cause"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        match sight {
            Sight::Instance { agent, before: Some(before), after } => {
                let decided = before.decided != Verdict::Starting && before.decided != after.decided;
                let calm = truth.now < truth.scenario.first_fault && !truth.scenario.lossy(truth.now, truth.now);
                // A check may allow less time than the way takes.
                let passed = |index| truth.seen_well_throughout(index, SimTime::START, truth.now);
                let well = match truth.scenario.subject(&after.instance) {
                    Some(Subject::Instance(index)) => passed(index),
                    _ => true,
                };
                if decided && calm && well {
                    let (from, to, what) = (before.decided, after.decided, &after.instance);
                    let detail = format!("{what} goes from {from} to {to}, and nothing has gone wrong yet");
                    found.push(Finding::new(Some(*agent), detail));
                }
            }
            Sight::Survey { views } if truth.scenario.smooth => {
                for (agent, view) in views.iter().enumerate() {
                    let Some(renewals) = view.map(|view| view.stats.renewals) else { continue };
                    let known = self.renewals.insert(agent, renewals).unwrap_or(0);
                    if renewals > known && !truth.scenario.crashes.iter().any(|crash| crash.agent == agent) {
                        found.push(Finding::new(Some(agent), "it had to renew its identity, and nothing disturbed it"));
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::{Bench, SPLIT};
    use super::*;

    const DEAD: &str = "[[faults]]\nkind = \"target\"\ninstance = \"web@0\"\nmode = \"dead\"\nfrom = \"20s\"\n";

    #[test]
    fn a_change_before_the_first_fault_is_found() {
        let mut bench = Bench::new(DEAD);
        bench.at(19);
        let view = |bench: &Bench, verdict| bench.instance_view("web@0", verdict, 2, None);
        let (starting, up, down) =
            (view(&bench, Verdict::Starting), view(&bench, Verdict::Up), view(&bench, Verdict::Down));
        let look = |bench: &Bench, before, after| {
            bench.look(&mut Quiet::default(), &Sight::Instance { agent: 1, before: Some(before), after })
        };
        assert!(look(&bench, &up, &down)[0].contains("web@0 goes from up to down"));
        assert!(look(&bench, &starting, &up).is_empty());
        bench.at(20);
        assert!(look(&bench, &up, &down).is_empty());
    }

    #[test]
    fn a_renewal_needs_a_cause() {
        let renewed = |faults: &str| {
            let mut bench = Bench::new(faults);
            bench.at(30);
            let mut quiet = Quiet::default();
            let mut view = bench.mesh_view(2, true, &[]);
            assert_eq!(bench.survey(&mut quiet, &[&view]), Vec::<String>::new());
            view.stats.renewals = 1;
            bench.survey(&mut quiet, &[&view])
        };
        assert!(renewed(DEAD)[0].contains("renew its identity"));
        assert!(renewed(SPLIT).is_empty(), "a cut is a cause");
    }
}

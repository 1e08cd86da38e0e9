//! No call is rejected without a cause: somebody's call of the same callee has failed, or said to have, or an agent has held the callee down, not long ago.
//! A breaker that stays shut against a callee that is well takes it out of service just as a false verdict does.

use crate::calls::CallSight;
use crate::invariants::{Finding, Invariant, Sight};
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A cause is good for so long: the waits before an attempt, the attempt, and a full ramp, each for those who come to it late.
const GOOD_FOR: Duration = Duration::from_secs(120);

/// The invariant. By the number of the calls.
#[derive(Default)]
pub struct Unprovoked {
    /// When a call failed last, or the last agent gave up that the callee is down.
    caused: BTreeMap<usize, SimTime>,
    /// Who holds the callee down.
    held_down: BTreeMap<usize, BTreeSet<usize>>,
}

impl Invariant for Unprovoked {
    fn name(&self) -> &'static str {
        "unprovoked rejections"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        match sight {
            Sight::Instance { agent, after, .. } => {
                for (number, calls) in truth.scenario.calls.iter().enumerate() {
                    if calls.key.instance == after.instance {
                        self.verdict(truth.now, number, *agent, after.verdict == Verdict::Down);
                    }
                }
            }
            Sight::Call { calls, call: CallSight::Ended { failed: true, .. }, .. } => {
                self.caused.insert(*calls, truth.now);
            }
            Sight::Call { agent, calls, call: CallSight::Rejected } => {
                let asked = &truth.scenario.calls[*calls];
                let down = self.held_down.get(calls).is_some_and(|agents| !agents.is_empty());
                let caused = self.caused.get(calls).is_some_and(|at| truth.now.since(*at) <= GOOD_FOR);
                if asked.plan.words.is_empty() && !down && !caused {
                    let detail =
                        format!("a call of {} is rejected, and none has failed for {GOOD_FOR:?}", asked.key.instance);
                    found.push(Finding::new(Some(*agent), detail));
                }
            }
            _ => {}
        }
    }
}

impl Unprovoked {
    fn verdict(&mut self, now: SimTime, number: usize, agent: usize, down: bool) {
        let holders = self.held_down.entry(number).or_default();
        if down {
            holders.insert(agent);
        } else if holders.remove(&agent) {
            self.caused.insert(number, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::bench::Bench;

    const ENDED: CallSight = CallSight::Ended { failed: true, counted: true, stale: false };

    #[test]
    fn a_rejection_needs_a_cause_that_is_not_long_ago() {
        let mut bench = Bench::new("[[calls]]\ninstance = \"web@0\"\nfrom = \"20s\"\nto = \"900s\"\n");
        let mut invariant = Unprovoked::default();
        let mut rejected = |bench: &Bench, invariant: &mut Unprovoked| {
            bench.look(invariant, &Sight::Call { agent: 1, calls: 0, call: CallSight::Rejected }).len()
        };
        bench.at(30);
        assert_eq!(rejected(&bench, &mut invariant), 1);
        bench.look(&mut invariant, &Sight::Call { agent: 2, calls: 0, call: ENDED });
        bench.at(150);
        assert_eq!(rejected(&bench, &mut invariant), 0);
        bench.at(151);
        assert_eq!(rejected(&bench, &mut invariant), 1);

        let (down, up) =
            (bench.instance_view("web@0", Verdict::Down, 1, None), bench.instance_view("web@0", Verdict::Up, 2, None));
        bench.look(&mut invariant, &Sight::Instance { agent: 3, before: None, after: &down });
        bench.at(400);
        assert_eq!(rejected(&bench, &mut invariant), 0);
        bench.look(&mut invariant, &Sight::Instance { agent: 3, before: Some(&down), after: &up });
        bench.at(520);
        assert_eq!(rejected(&bench, &mut invariant), 0);
        bench.at(521);
        assert_eq!(rejected(&bench, &mut invariant), 1);
    }

    #[test]
    fn where_a_person_has_spoken_nothing_is_asked() {
        let mut bench = Bench::with_calls();
        bench.at(100);
        let call = Sight::Call { agent: 1, calls: 0, call: CallSight::Rejected };
        assert!(bench.look(&mut Unprovoked::default(), &call).is_empty());
    }
}

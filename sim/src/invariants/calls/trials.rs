//! Trials of a callee that is open for many are bounded: within any window of places no more than two windows' budgets, on each side of a cut. The
//! number does not grow with the callers.

use crate::calls::CallSight;
use crate::invariants::{Finding, Invariant, Sight};
use crate::plan::{CallMode, CallTrouble};
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_breaker::pooled::Budget;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long those who may try hold their places.
const WINDOW: Duration = Duration::from_secs(5);
/// Agents that were apart, or away, agree again after so long.
const NEWS: Duration = Duration::from_secs(30);
/// Where results come late, an attempt lasts longer, and they agree with the attempt after the next.
const LATE_NEWS: Duration = Duration::from_secs(90);

/// The invariant.
#[derive(Default)]
pub struct BoundedTrials {
    lent: BTreeMap<usize, VecDeque<SimTime>>,
}

impl Invariant for BoundedTrials {
    fn name(&self) -> &'static str {
        "bounded trials"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        let Sight::Call { agent, calls, call: CallSight::Admitted { lent: true } } = sight else { return };
        let now = truth.now;
        if truth.scenario.suspect(*agent, now) {
            return;
        }
        let lent = self.lent.entry(*calls).or_default();
        lent.push_back(now);
        while lent.front().is_some_and(|at| now.since(*at) > WINDOW) {
            lent.pop_front();
        }
        // While agents do not hear of each other, each group has a budget of its own.
        let late = |trouble: &CallTrouble| trouble.mode == CallMode::Late;
        let news = if truth.scenario.calls[*calls].plan.troubles.iter().any(late) { LATE_NEWS } else { NEWS };
        let apart = truth.scenario.abandoned.iter().any(|(_, since)| *since <= now);
        let calm = !apart && truth.scenario.quiet_but_calls(now.minus(news), now);
        let budget = 2 * Budget::default().trials * if calm { 1 } else { truth.agents().min(4) };
        if lent.len() > budget {
            let instance = &truth.scenario.calls[*calls].key.instance;
            let detail = format!("{} trials of {instance} within {WINDOW:?}; {budget} are allowed", lent.len());
            found.push(Finding::new(Some(*agent), detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::bench::Bench;

    #[test]
    fn the_seventh_trial_within_a_window_is_found() {
        let mut bench = Bench::with_calls();
        let mut invariant = BoundedTrials::default();
        let mut found = 0;
        for trial in 0..7 {
            bench.at(60);
            found += bench
                .look(
                    &mut invariant,
                    &Sight::Call { agent: trial % 3, calls: 0, call: CallSight::Admitted { lent: true } },
                )
                .len();
            assert_eq!(found, usize::from(trial == 6));
        }
        bench.at(70);
        let later = Sight::Call { agent: 0, calls: 0, call: CallSight::Admitted { lent: true } };
        assert!(bench.look(&mut invariant, &later).is_empty());
    }
}

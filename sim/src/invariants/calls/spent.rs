//! An outage that is over does not begin again by what led to it: where a breaker has closed, callers' failures open it for many only if a call has
//! failed since.

use crate::calls::CallSight;
use crate::invariants::{Finding, Invariant, Sight};
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::InstanceId;
use quorate_mesh::{BreakerCause, BreakerState, EventKind};
use std::collections::BTreeMap;
use std::time::Duration;

/// A failure of so short a time before is still on its way as the breaker closes.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// The invariant.
#[derive(Default)]
pub struct Spent {
    /// When a call of each instance last failed, by any caller's word.
    failed: BTreeMap<InstanceId, SimTime>,
    /// Where each agent's breaker has closed, and when.
    closed: BTreeMap<(usize, InstanceId), SimTime>,
}

impl Invariant for Spent {
    fn name(&self) -> &'static str {
        "spent evidence"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        match sight {
            Sight::Call { calls, call: CallSight::Ended { failed: true, .. }, .. } => {
                self.failed.insert(truth.scenario.calls[*calls].key.instance.clone(), truth.now);
            }
            Sight::Event { agent, kind: EventKind::Breaker { instance, state, cause, .. } } => {
                let of = (*agent, instance.clone());
                if *state == BreakerState::Closed {
                    self.closed.insert(of, truth.now);
                    return;
                }
                let Some(closed) = self.closed.remove(&of) else { return };
                let by_calls = matches!(cause, BreakerCause::CallersAnswered | BreakerCause::CallersSilent);
                let from = closed.minus(ON_ITS_WAY);
                let failed = self.failed.get(instance).is_some_and(|at| *at >= from);
                // Else it may have come late.
                let prompt = truth.scenario.quiet_but_calls(from, truth.now) && !truth.scenario.lossy(from, truth.now);
                if by_calls && prompt && !failed {
                    let detail = format!(
                        "the breaker of {instance} closed at {closed} and opens again ({cause:?}); no call has failed since"
                    );
                    found.push(Finding::new(Some(*agent), detail));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::bench::Bench;
    use quorate_core::AgentId;

    #[test]
    fn a_breaker_that_has_closed_opens_again_by_new_failures_alone() {
        let mut bench = Bench::with_calls();
        let mut spent = Spent::default();
        let key = bench.truth.scenario.calls[0].key.clone();
        let mut turns = |bench: &mut Bench, second, state, cause| {
            bench.at(second);
            let (service, instance) = (key.service.clone(), key.instance.clone());
            let kind = EventKind::Breaker { service, instance, state, cause, first: AgentId(1), zone: None };
            if second == 40 {
                let call = CallSight::Ended { failed: true, counted: true, stale: false };
                bench.look(&mut spent, &Sight::Call { agent: 1, calls: 0, call });
            }
            bench.look(&mut spent, &Sight::Event { agent: 3, kind: &kind }).len()
        };
        let answered = BreakerCause::CallersAnswered;
        assert_eq!(turns(&mut bench, 40, BreakerState::Open, answered), 0, "it has never closed");
        assert_eq!(turns(&mut bench, 50, BreakerState::Closed, answered), 0);
        assert_eq!(turns(&mut bench, 51, BreakerState::Open, BreakerCause::Verdict), 0, "the mesh has decided that");
        assert_eq!(turns(&mut bench, 60, BreakerState::Closed, answered), 0);
        assert_eq!(turns(&mut bench, 61, BreakerState::Open, answered), 1);
        assert_eq!(turns(&mut bench, 41, BreakerState::Closed, answered), 0);
        assert_eq!(turns(&mut bench, 42, BreakerState::Open, answered), 0, "a failure that was on its way");
    }
}

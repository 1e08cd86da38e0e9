//! Fewer than three callers with failed calls open a breaker for nobody else, whatever they claim; a verdict may.

use crate::calls::CallSight;
use crate::invariants::{Finding, Invariant, Sight};
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_breaker::pooled::Pooling;
use quorate_core::InstanceId;
use quorate_mesh::{BreakerCause, BreakerState, EventKind};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a failed call may still be spoken of: as evidence, by those who follow it, and in attempts to recover.
const SPOKEN_OF: Duration = Duration::from_secs(120);

/// The invariant.
#[derive(Default)]
pub struct OneCaller {
    /// When each caller's calls last failed, by its own word.
    failed: BTreeMap<(usize, usize), SimTime>,
    /// When a verdict last opened a breaker: others may follow those that it opened.
    held: BTreeMap<usize, SimTime>,
}

impl Invariant for OneCaller {
    fn name(&self) -> &'static str {
        "one caller"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        match sight {
            Sight::Call { agent, calls, call: CallSight::Ended { failed: true, .. } } => {
                self.failed.insert((*calls, *agent), truth.now);
            }
            Sight::Event { agent, kind: EventKind::Breaker { instance, state: BreakerState::Open, cause, .. } }
                if matches!(
                    cause,
                    BreakerCause::CallersAnswered | BreakerCause::CallersSilent | BreakerCause::Peers
                ) =>
            {
                let number = number_of(truth, instance);
                let held = number.and_then(|number| self.held.get(&number));
                if *cause == BreakerCause::Peers && held.is_some_and(|at| truth.now.since(*at) < SPOKEN_OF) {
                    return;
                }
                let recent = |((calls, _), at): &(&(usize, usize), &SimTime)| {
                    Some(*calls) == number && truth.now.since(**at) < SPOKEN_OF
                };
                let failing = self.failed.iter().filter(recent).count();
                if failing < Pooling::default().callers {
                    let detail = format!(
                        "the breaker of {instance} opens for all ({cause:?}), and {failing} callers saw failures"
                    );
                    found.push(Finding::new(Some(*agent), detail));
                }
            }
            Sight::Event { kind: EventKind::Breaker { instance, cause: BreakerCause::Verdict, .. }, .. } => {
                self.held.extend(number_of(truth, instance).map(|number| (number, truth.now)));
            }
            _ => {}
        }
    }
}

fn number_of(truth: &Truth, instance: &InstanceId) -> Option<usize> {
    truth.scenario.calls.iter().position(|calls| calls.key.instance == *instance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::bench::Bench;
    use quorate_core::AgentId;

    #[test]
    fn two_failing_callers_are_too_few() {
        let bench = Bench::with_calls();
        let mut invariant = OneCaller::default();
        let key = bench.truth.scenario.calls[0].key.clone();
        let kind = EventKind::Breaker {
            service: key.service,
            instance: key.instance,
            state: BreakerState::Open,
            cause: BreakerCause::CallersAnswered,
            first: AgentId(1),
            zone: None,
        };
        for agent in 0..3 {
            assert_eq!(bench.look(&mut invariant, &Sight::Event { agent: 3, kind: &kind }).len(), 1, "{agent} fail");
            let call = CallSight::Ended { failed: true, counted: true, stale: false };
            bench.look(&mut invariant, &Sight::Call { agent, calls: 0, call });
        }
        assert!(bench.look(&mut invariant, &Sight::Event { agent: 3, kind: &kind }).is_empty());
    }
}

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

/// How long a failed call, or an open breaker, may still be spoken of: as evidence, by those who follow it, and in attempts to recover.
const SPOKEN_OF: Duration = Duration::from_secs(120);

/// The invariant.
#[derive(Default)]
pub struct OneCaller {
    /// When each caller's calls last failed, by its own word.
    failed: BTreeMap<(usize, usize), SimTime>,
    /// Breakers that enough callers, or a verdict, have opened, and when one of them was last closed: others may follow those that are open. While
    /// nobody calls, none is tried.
    opened: BTreeMap<usize, Option<SimTime>>,
    /// What became last of each agent's breaker, and when.
    states: BTreeMap<(usize, usize), (BreakerState, SimTime)>,
}

impl OneCaller {
    /// A breaker turns: was it half-open in the same process? Then an attempt to recover has failed, and nothing is opened that was not.
    fn tried(&mut self, truth: &Truth, agent: usize, sight: &Sight<'_>) -> bool {
        let Sight::Event { kind: EventKind::Breaker { instance, state, .. }, .. } = sight else { return false };
        let Some(number) = number_of(truth, instance) else { return false };
        let before = self.states.insert((agent, number), (*state, truth.now));
        let began = truth.began(agent, truth.now);
        before.is_some_and(|(state, at)| state == BreakerState::HalfOpen && began.is_some_and(|began| began <= at))
    }
}

impl Invariant for OneCaller {
    fn name(&self) -> &'static str {
        "one caller"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        let tried = if let Sight::Event { agent, .. } = sight { self.tried(truth, *agent, sight) } else { false };
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
                let Some(number) = number_of(truth, instance) else { return };
                let recent = |at: SimTime| truth.now.since(at) < SPOKEN_OF;
                let followed = self.opened.get(&number).is_some_and(|closed| closed.is_none_or(recent));
                if tried || *cause == BreakerCause::Peers && followed {
                    return;
                }
                let failing = self.failed.iter().filter(|((calls, _), at)| *calls == number && recent(**at)).count();
                if failing < Pooling::default().callers {
                    let detail = format!(
                        "the breaker of {instance} opens for all ({cause:?}), and {failing} callers saw failures"
                    );
                    found.push(Finding::new(Some(*agent), detail));
                } else {
                    self.opened.insert(number, None);
                }
            }
            Sight::Event {
                kind:
                    EventKind::Breaker {
                        instance,
                        state: BreakerState::Open,
                        cause: BreakerCause::Verdict | BreakerCause::Released,
                        ..
                    },
                ..
            } => {
                self.opened.extend(number_of(truth, instance).map(|number| (number, None)));
            }
            Sight::Event { kind: EventKind::Breaker { instance, state: BreakerState::Closed, .. }, .. } => {
                let opened = number_of(truth, instance).and_then(|number| self.opened.get_mut(&number));
                opened.into_iter().for_each(|closed| *closed = Some(truth.now));
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

    #[test]
    fn whoever_comes_late_follows_a_breaker_that_nobody_has_tried() {
        let mut bench = Bench::with_calls();
        let mut invariant = OneCaller::default();
        let key = bench.truth.scenario.calls[0].key.clone();
        let event = |state, cause| EventKind::Breaker {
            service: key.service.clone(),
            instance: key.instance.clone(),
            state,
            cause,
            first: AgentId(1),
            zone: None,
        };
        let follows = event(BreakerState::Open, BreakerCause::Peers);
        let mut see = |second, kind: &EventKind| {
            bench.at(second);
            bench.look(&mut invariant, &Sight::Event { agent: 3, kind }).len()
        };
        assert_eq!(see(20, &follows), 1, "nobody has opened it");
        assert_eq!(see(30, &event(BreakerState::Open, BreakerCause::Verdict)), 0);
        assert_eq!(see(300, &follows), 0);
        assert_eq!(see(310, &event(BreakerState::Closed, BreakerCause::OwnCalls)), 0);
        assert_eq!((see(320, &follows), see(500, &follows)), (0, 1), "old news, and too old");
    }
}

//! A result that comes after the breaker has turned is inert: it counts for nothing and moves nothing.

use crate::calls::CallSight;
use crate::invariants::{Finding, Invariant, Sight};
use crate::truth::Truth;

/// The invariant.
#[derive(Debug)]
pub struct LateResults;

impl Invariant for LateResults {
    fn name(&self) -> &'static str {
        "late results"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        if let Sight::Call { agent, calls, call: CallSight::Ended { counted: true, stale: true, .. } } = sight {
            let instance = &truth.scenario.calls[*calls].key.instance;
            found.push(Finding::new(
                Some(*agent),
                format!("a result of {instance} from before its breaker turned counted"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::bench::Bench;

    #[test]
    fn only_a_stale_result_that_counts_is_found() {
        let bench = Bench::with_calls();
        let look = |counted, stale| {
            let call = CallSight::Ended { failed: true, counted, stale };
            bench.look(&mut LateResults, &Sight::Call { agent: 0, calls: 0, call }).len()
        };
        assert_eq!((look(true, false), look(false, true), look(true, true)), (0, 0, 1));
    }
}

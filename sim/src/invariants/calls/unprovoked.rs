//! No call is rejected where nothing has gone wrong for long: a breaker that stays shut against a callee that is well takes it out of service just as
//! a false verdict does.

use crate::calls::CallSight;
use crate::invariants::{Finding, Invariant, Sight};
use crate::time::SimTime;
use crate::truth::Truth;
use std::time::Duration;

/// Whatever has gone wrong is over for callers so long after the verdict on the instance may be `up` again: the waits before an attempt, the attempt, and a
/// full ramp, each for those who come to it late.
const OVER_AFTER: Duration = Duration::from_secs(120);
/// So many callers that agree in their trials decide an attempt, and so may prolong an outage.
const AGREEING: usize = 2;

/// The invariant.
#[derive(Debug)]
pub struct Unprovoked;

impl Invariant for Unprovoked {
    fn name(&self) -> &'static str {
        "unprovoked rejections"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        let Sight::Call { agent, calls, call: CallSight::Rejected } = sight else { return };
        let (plan, instance) = (&truth.scenario.calls[*calls].plan, truth.scenario.calls[*calls].instance);
        let checked = |instance: usize| truth.scenario.instances[instance].registration.check.recovery_span();
        let over_after = OVER_AFTER + instance.map_or(Duration::ZERO, checked);
        let from = truth.now.minus(over_after);
        // Some are lost or dead for good.
        let lost = instance.is_some_and(|instance| {
            let home = truth.scenario.instances[instance].home;
            let reached = truth.parts(truth.now).of(*agent).is_some_and(|part| part[home]);
            let there = reached && truth.awake(home, truth.now) && truth.member(home, truth.now);
            !(there && truth.well_throughout(instance, from, truth.now))
        });
        let faulty = truth.scenario.anyone_faulty(truth.now);
        // A caller that finds failures where there are none is kept from calling by its own.
        let lied_to = plan.liars.contains(agent) || plan.liars.len() >= AGREEING;
        let troubles = plan.troubles.iter().map(|trouble| trouble.to.moment());
        let over = troubles.fold(truth.scenario.faults_end.max(truth.scenario.formed_by), SimTime::max);
        let quiet = truth.now.since(over) > over_after;
        if quiet && plan.words.is_empty() && !(lied_to || lost || faulty) {
            let detail =
                format!("a call of {} is rejected, and nothing has gone wrong for {over_after:?}", plan.instance);
            found.push(Finding::new(Some(*agent), detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::bench::Bench;

    #[test]
    fn a_rejection_needs_a_cause_that_is_not_long_ago() {
        let calls = "[[calls]]\ninstance = \"web@0\"\nfrom = \"20s\"\nto = \"900s\"\nliars = [2]\n";
        let fault =
            "[[faults]]\nkind = \"target\"\ninstance = \"web@0\"\nmode = \"dead\"\nfrom = \"300s\"\nto = \"310s\"\n";
        let mut bench = Bench::new(&format!("{calls}{fault}"));
        let checked = bench.truth.scenario.instances[0].registration.check.recovery_span().as_secs();
        let over = 310 + OVER_AFTER.as_secs() + checked;
        let mut rejected = |agent, secs| {
            bench.at(secs);
            bench.look(&mut Unprovoked, &Sight::Call { agent, calls: 0, call: CallSight::Rejected }).len()
        };
        assert!(checked > 0, "its check has to pass again first");
        assert_eq!((rejected(1, 305), rejected(1, over), rejected(1, over + 1)), (0, 0, 1));
        assert_eq!(rejected(2, 450), 0, "its own failures keep a liar from calling");

        let for_good = fault.replace("to = \"310s\"\n", "");
        let mut bench = Bench::new(&format!("{calls}{for_good}"));
        bench.at(450);
        let call = Sight::Call { agent: 1, calls: 0, call: CallSight::Rejected };
        assert!(bench.look(&mut Unprovoked, &call).is_empty(), "it is still dead");
    }

    #[test]
    fn where_a_person_has_spoken_nothing_is_asked() {
        let mut bench = Bench::with_calls();
        bench.at(900);
        let call = Sight::Call { agent: 1, calls: 0, call: CallSight::Rejected };
        assert!(bench.look(&mut Unprovoked, &call).is_empty());
    }
}

//! Part of promise 8: within one run of its process, an agent sees an instance's verdicts in the order of their terms, none twice; and of
//! two certificates of one term it never goes back to the one that yields.

use super::{Finding, Invariant, Sight};
use crate::plan::Disk;
use crate::scenario::Action;
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::{AgentId, InstanceId};
use quorate_mesh::{EventKind, InstanceView};
use std::collections::BTreeMap;
use std::time::Duration;

/// The invariant.
#[derive(Default)]
pub struct Order {
    /// By agent and instance: what it has shown last. What is forgotten and known again goes on from there.
    shown: BTreeMap<(usize, InstanceId), Shown>,
}

struct Shown {
    /// When the agent's process began.
    began: Option<SimTime>,
    rank: Rank,
    home: AgentId,
    /// Has the agent counted by another roster since?
    roster_changed: bool,
    /// Has the home been forgotten since?
    forgotten: bool,
}

/// Of a home that has returned everything is decided anew within this time, where nothing is in the way; otherwise an agent believes after it what others
/// hold, as they may know of a later time than it did when it forgot.
const DECIDED_ANEW: Duration = Duration::from_secs(30);

/// Incarnation, term, standing, signers.
type Rank = (u64, u64, u8, u64);

impl Invariant for Order {
    fn name(&self) -> &'static str {
        "order of terms"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        if let Sight::Event { agent, kind: EventKind::Roster { removed, .. } } = sight {
            for (_, shown) in self.shown.iter_mut().filter(|((who, _), _)| who == agent) {
                shown.roster_changed = true;
                shown.forgotten |= removed.contains(&shown.home);
            }
        }
        let Sight::Instance { agent, before: last, after } = sight else { return };
        let (Some(new), began) = (rank(after), truth.began(*agent, truth.now)) else { return };
        let now = Shown { began, rank: new, home: after.home, roster_changed: false, forgotten: false };
        let before = self.shown.insert((*agent, after.instance.clone()), now);
        let Some(before) = before.filter(|before| before.began == began) else { return };
        let old = before.rank;
        if before.forgotten && !truth.scenario.quiet(truth.now.minus(DECIDED_ANEW), truth.now) {
            return;
        }
        // Who has let go of a certificate, be it since the roster changed and it had become too thin, may be told of one of the same standing.
        let held_on = last.and_then(rank).is_some() && !before.roster_changed;
        let backwards = if held_on { new < old } else { (new.0, new.1, new.2) < (old.0, old.1, old.2) };
        if backwards
            && !(returned_to_the_past(truth, &after.instance)
                && (new.0 < old.0 || was_withdrawn(truth, &after.instance)))
        {
            let detail = format!(
                "{}: incarnation, term and standing go from {:?} back to {:?}",
                after.instance,
                (old.0, old.1, old.2),
                (new.0, new.1, new.2)
            );
            found.push(Finding::new(Some(*agent), detail));
        }
    }
}

/// Has its home come back with an old disk? From that it registers the copy of that time, until it hears that there has been another. A clone of it does so
/// as well.
pub(super) fn returned_to_the_past(truth: &Truth, id: &InstanceId) -> bool {
    let home = truth.scenario.instance(id).map(|index| truth.scenario.instances[index].home);
    let returned = |agent: usize| {
        let stale = |(at, action): &(SimTime, Action)| {
            *at <= truth.now && matches!(action, Action::Restart(who, Disk::Stale) if *who == agent)
        };
        truth.scenario.actions.iter().any(stale) || truth.scenario.doubles.iter().any(|double| double.agent == agent)
    };
    home.is_some_and(returned)
}

/// Was it withdrawn before? What was decided of it until then is forgotten, but for an old disk.
fn was_withdrawn(truth: &Truth, id: &InstanceId) -> bool {
    let index = truth.scenario.instance(id);
    index.is_some_and(|index| !truth.scenario.registered_throughout(index, SimTime::START, truth.now))
}

fn rank(view: &InstanceView) -> Option<Rank> {
    view.certificate.as_ref().map(|certificate| certificate.rank())
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use quorate_core::Verdict;

    #[test]
    fn a_term_or_a_standing_that_goes_back_is_found() {
        let mut bench = Bench::new("");
        bench.at(30);
        let view = |verdict, term| {
            let mut certificate = bench.certificate("web@0", verdict, &[0, 1, 2], 29_000);
            certificate.decision.term = term;
            bench.instance_view("web@0", verdict, term, Some(certificate))
        };
        let (third, second, down) = (view(Verdict::Up, 3), view(Verdict::Up, 2), view(Verdict::Down, 2));
        let look = |first, then| {
            let mut order = Order::default();
            let mut show = |after| bench.look(&mut order, &Sight::Instance { agent: 1, before: None, after });
            assert!(show(first).is_empty());
            show(then)
        };
        assert!(look(&third, &second)[0].contains("(0, 3, 3) back to (0, 2, 3)"));
        assert!(look(&second, &down)[0].contains("(0, 2, 3) back to (0, 2, 0)"));
        assert!(look(&second, &third).is_empty() && look(&down, &second).is_empty());

        let mut fewer = bench.certificate("web@0", Verdict::Up, &[0, 1], 29_000);
        fewer.decision.term = 2;
        let fewer = bench.instance_view("web@0", Verdict::Up, 2, Some(fewer));
        let yields = |before| {
            let mut order = Order::default();
            bench.look(&mut order, &Sight::Instance { agent: 1, before: None, after: &second });
            bench.look(&mut order, &Sight::Instance { agent: 1, before, after: &fewer }).len()
        };
        assert_eq!((yields(Some(&second)), yields(None)), (1, 0), "who has let go of it may be told of another");

        let roster = EventKind::Roster { epoch: 2, roster: 3, admitted: Vec::new(), removed: Vec::new() };
        let mut order = Order::default();
        bench.look(&mut order, &Sight::Instance { agent: 1, before: None, after: &second });
        bench.look(&mut order, &Sight::Event { agent: 1, kind: &roster });
        let then = bench.look(&mut order, &Sight::Instance { agent: 1, before: Some(&second), after: &fewer });
        assert!(then.is_empty(), "when the roster changes, what has become too thin is let go of");

        let after_forgetting = |secs, removed| {
            let mut bench = Bench::new("[[faults]]\nkind = \"crash\"\nagent = 4\nat = \"60s\"\nrestart_at = \"61s\"\n");
            bench.at(50);
            let mut order = Order::default();
            bench.look(&mut order, &Sight::Instance { agent: 1, before: None, after: &third });
            let roster = EventKind::Roster { epoch: 2, roster: 3, admitted: Vec::new(), removed };
            bench.look(&mut order, &Sight::Event { agent: 1, kind: &roster });
            bench.at(secs);
            bench.look(&mut order, &Sight::Instance { agent: 1, before: None, after: &second }).len()
        };
        assert_eq!((after_forgetting(62, vec![third.home]), after_forgetting(62, Vec::new())), (0, 1));
        assert_eq!(after_forgetting(92, vec![third.home]), 1, "nothing was in the way of deciding anew");
    }
}

//! Promise 4, No stale health: an instance whose observers are all gone is `unknown`, never `up`.

use super::{Finding, Invariant, Sight};
use crate::time::SimTime;
use crate::truth::{Parts, Truth};
use quorate_core::Verdict;
use quorate_mesh::{Glance, InstanceView};
use std::rc::Rc;
use std::time::Duration;

/// Looked at in every fifth survey: once a second.
const EVERY_NS: u64 = 1_000_000_000;

/// An agent that has just come back to the larger side is still being told what it missed, and must find out for itself that whoever ended meanwhile does
/// not answer: what it is told of others' failures is a suspicion, and who heard nobody for long doubts itself first and probes seldom.
const SETTLED_MS: u64 = 15_000;

/// How densely the past is looked at: paths that come and go must not be missed each time, whatever their cycle.
const STEP: Duration = Duration::from_millis(97);

/// The invariant.
pub struct Unwatched;

impl Invariant for Unwatched {
    fn name(&self) -> &'static str {
        "no stale health"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        let Sight::Survey { views } = sight else { return };
        let cut = || truth.scenario.cuts.iter().any(|cut| cut.when.holds(truth.now));
        let gone = || (0..views.len()).any(|agent| !truth.awake(agent, truth.now));
        if !truth.now.0.is_multiple_of(EVERY_NS) || !(cut() || gone()) {
            return;
        }
        let from = truth.now.minus(truth.scenario.bounds.unwatched.0);
        // Every agent looks back at the same moments, and most of these are alike.
        let mut past: Vec<Rc<Parts>> = moments(from, truth.now).map(|at| truth.parts(at)).collect();
        past.dedup_by(|a, b| Rc::ptr_eq(a, b));
        for (agent, view) in views.iter().enumerate() {
            if let Some(view) = view
                && view.quorate
                && view.at.0.saturating_sub(view.quorate_since.0) >= SETTLED_MS
                && truth.awake_throughout(agent, from, truth.now)
                && !truth.scenario.suspect(agent, truth.now)
            {
                judge(truth, agent, view, &past, found);
            }
        }
    }
}

/// From `to` back to `from`, both included.
fn moments(from: SimTime, to: SimTime) -> impl Iterator<Item = SimTime> {
    std::iter::successors(Some(to), move |at| (*at > from).then(|| at.minus(STEP).max(from)))
}

fn judge(truth: &Truth, agent: usize, view: &Glance, past: &[Rc<Parts>], found: &mut Vec<Finding>) {
    for instance in view.instances.values().filter(|instance| instance.verdict == Verdict::Up) {
        // Hosts are not watched while nothing is wrong; membership does that.
        if instance.instance.host_of().is_none() && gone(truth, agent, instance, past) {
            let detail = format!("{} is reported up, but all its observers are out of reach", instance.instance);
            found.push(Finding::new(Some(agent), detail));
        }
    }
}

/// Has nobody who watches `instance` been within reach of `agent` in all that time?
fn gone(truth: &Truth, agent: usize, instance: &InstanceView, past: &[Rc<Parts>]) -> bool {
    let watchers: Vec<usize> = instance.observers.iter().filter_map(|o| truth.scenario.agent(o.agent)).collect();
    // News travels over others, so whoever is connected over any number of hops can be heard.
    let reach = |parts: &Parts| parts.of(agent).is_some_and(|part| watchers.iter().any(|other| part[*other]));
    // Of who has begun within that time, one may have been told by a path that leads only here, and has as long to find out.
    let from = truth.now.minus(truth.scenario.bounds.unwatched.0);
    let began = |watcher: &usize| truth.began(*watcher, truth.now).is_some_and(|began| began > from);
    !watchers.is_empty()
        && !watchers.contains(&agent)
        && !watchers.iter().any(began)
        && !past.iter().any(|parts| reach(parts))
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;

    #[test]
    fn up_without_living_observers_is_found_after_the_bound() {
        let mut bench = Bench::new("");
        bench.at(20);
        bench.truth.ended(3);
        bench.truth.ended(4);
        let mut watched = bench.instance_view("web@0", Verdict::Up, 1, None);
        watched.observers.retain(|observer| bench.number(observer.agent) >= 3);
        let view = bench.mesh_view(0, true, &[watched.clone()]);
        bench.at(40);
        assert_eq!(bench.survey(&mut Unwatched, &[&view]), Vec::<String>::new());
        bench.at(51);
        assert!(bench.survey(&mut Unwatched, &[&view])[0].contains("all its observers are out of reach"));
        watched.verdict = Verdict::Unknown;
        let honest = bench.mesh_view(0, true, &[watched]);
        assert_eq!(bench.survey(&mut Unwatched, &[&honest]), Vec::<String>::new());
    }

    #[test]
    fn who_began_within_the_bound_may_have_been_heard_one_way() {
        let fault = "[[faults]]\nkind = \"partition\"\ngroups = [[0, 1, 2], [3, 4]]\nfrom = \"20s\"\nto = \"200s\"\n";
        let mut bench = Bench::new(fault);
        bench.at(20);
        bench.truth.ended(4);
        let mut watched = bench.instance_view("web@0", Verdict::Up, 1, None);
        watched.observers.retain(|observer| bench.number(observer.agent) == 4);
        let view = bench.mesh_view(0, true, &[watched]);
        bench.at(60);
        bench.truth.started(4);
        bench.at(80);
        assert_eq!(bench.survey(&mut Unwatched, &[&view]), Vec::<String>::new());
        bench.at(91);
        assert!(bench.survey(&mut Unwatched, &[&view])[0].contains("all its observers are out of reach"));
    }

    #[test]
    fn observers_heard_now_and_then_are_within_reach() {
        let cycle = "cycle = { on = \"1247ms\", off = \"768ms\" }\n";
        let fault =
            "[[faults]]\nkind = \"partition\"\ngroups = [[0, 1, 2], [3, 4]]\nfrom = \"17653ms\"\nto = \"60s\"\n";
        let mut bench = Bench::new(&format!("{fault}{cycle}"));
        let mut watched = bench.instance_view("web@0", Verdict::Up, 1, None);
        watched.observers.retain(|observer| bench.number(observer.agent) >= 3);
        let view = bench.mesh_view(0, true, &[watched]);
        for second in 40..60 {
            bench.at(second);
            assert_eq!(bench.survey(&mut Unwatched, &[&view]), Vec::<String>::new(), "{second}");
        }
    }
}

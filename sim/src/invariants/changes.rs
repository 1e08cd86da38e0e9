//! Where nothing else goes wrong, an instance changes its verdict no more often than there is a cause: once when it fails and once when it is well again,
//! and at most twice whenever a cut begins or ends. Each change more wakes somebody, and a few of them hold the instance down.

use super::{Finding, Invariant, Sight};
use crate::plan::TargetMode;
use crate::scenario::{Scenario, Subject};
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::{InstanceId, Verdict};
use std::collections::BTreeMap;

/// Whoever sees more or less of others than its fellows decides after them.
const CHANGES_OF_A_CUT: usize = 2;

/// The invariant.
#[derive(Default)]
pub struct Changes {
    /// By copy: what was decided in each term.
    decided: BTreeMap<(InstanceId, u64), BTreeMap<u64, Verdict>>,
    /// Changes beyond their causes that a check is the cause of which allows less time than the way takes.
    excused: BTreeMap<(InstanceId, u64), usize>,
}

impl Invariant for Changes {
    fn name(&self) -> &'static str {
        "one change a cause"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        let Sight::Certificate { certificate, .. } = sight else { return };
        let decision = &certificate.decision;
        let Some(causes) = causes(&truth.scenario, &decision.instance, truth.now) else { return };
        let copy = (decision.instance.clone(), decision.incarnation);
        let excused = self.excused.entry(copy.clone()).or_default();
        let terms = self.decided.entry(copy).or_default();
        terms.insert(decision.term, decision.verdict);
        let verdicts: Vec<Verdict> = terms.values().copied().collect();
        let changes = verdicts.windows(2).filter(|pair| pair[0] != pair[1]).count();
        // A host is not decided about until it is doubted.
        let changes = changes + usize::from(decision.instance.host_of().is_some());
        if changes <= causes + *excused {
            return;
        }
        if way_too_long(truth, &decision.instance) {
            *excused = changes - causes;
        } else {
            let id = &decision.instance;
            let detail = format!("{id} has changed {changes} times, as {verdicts:?}; there was cause for {causes}");
            found.push(Finding::new(None, detail));
        }
    }
}

/// How often an instance may have changed by now; nothing where more has happened than that instances fail and paths are cut.
fn causes(scenario: &Scenario, id: &InstanceId, now: SimTime) -> Option<usize> {
    let only_these = scenario.network.loss_per_mille == 0
        && scenario.harms.is_empty()
        && scenario.throttles.is_empty()
        && scenario.resets.is_empty()
        && scenario.crashes.is_empty()
        && scenario.pauses.is_empty()
        && scenario.abandoned.is_empty()
        && scenario.withdrawals.is_empty()
        && scenario.faulty.is_empty()
        && scenario.loads.is_empty()
        && scenario.doubles.is_empty()
        && scenario.drifts.is_empty()
        && scenario.changes.is_empty()
        && scenario.targets.iter().all(|target| target.kills() && target.mode != TargetMode::Silent);
    // In a ring an instance is down for some and up for others, and who observes it, and is heard, depends on whom one asks.
    if !only_these || scenario.cuts.iter().any(|cut| cut.is_ring() && cut.when.edges().any(|at| at <= now)) {
        return None;
    }
    let past = |edges: &mut dyn Iterator<Item = SimTime>| edges.filter(|at| *at <= now).count();
    let own = scenario.targets.iter().filter(|target| scenario.instances[target.instance].id == *id);
    let fails: usize = own.map(|target| past(&mut [target.when.from, target.when.to].into_iter())).sum();
    let cuts: usize = scenario.cuts.iter().map(|cut| past(&mut cut.when.edges())).sum();
    Some(fails + CHANGES_OF_A_CUT * cuts)
}

/// Has a probe failed lately although the instance was well and the path open? Then its check allows less time than the way takes.
fn way_too_long(truth: &Truth, id: &InstanceId) -> bool {
    let Some(Subject::Instance(index)) = truth.scenario.subject(id) else { return false };
    let home = truth.scenario.instances[index].home;
    (0..truth.agents()).any(|observer| {
        truth.probes(observer, index).any(|probe| {
            let clear = truth.path_clear(observer, home, probe.started, probe.finished);
            !probe.passed && clear && truth.well_throughout(index, probe.started, probe.finished)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;

    const DEAD: &str =
        "[[faults]]\nkind = \"target\"\ninstance = \"web@0\"\nmode = \"dead\"\nfrom = \"30s\"\nto = \"50s\"\n";
    const CUT: &str = "[[faults]]\nkind = \"isolate\"\nagents = [1]\nfrom = \"31s\"\nto = \"52s\"\n";
    const RING: &str =
        "[[faults]]\nkind = \"ring\"\nagents = [0, 1, 2, 3, 4]\nreach = 1\nfrom = \"31s\"\nto = \"52s\"\n";
    const SLOW: &str = "[[faults]]\nkind = \"slow\"\nagents = [4]\nper_input = \"1ms\"\nfrom = \"31s\"\nto = \"52s\"\n";

    /// How often too many changes are found, of verdicts that are decided one after the other at 60 s.
    fn found(faults: &str, verdicts: &[Verdict]) -> usize {
        let mut bench = Bench::new(faults);
        bench.at(60);
        let mut invariant = Changes::default();
        let mut found = 0;
        for (term, verdict) in (1..).zip(verdicts) {
            let mut certificate = bench.certificate("web@0", *verdict, &[0, 1, 2], 59_000);
            certificate.decision.term = term;
            let instance = bench.instance_view("web@0", *verdict, term, None);
            let sight = Sight::Certificate { holder: 1, instance: &instance, certificate: &certificate };
            found += bench.look(&mut invariant, &sight).len();
        }
        found
    }

    #[test]
    fn changes_beyond_their_causes_are_found() {
        let (up, down, partial) = (Verdict::Up, Verdict::Down, Verdict::Partial);
        assert_eq!(found(DEAD, &[up, down, up]), 0);
        assert_eq!(found(DEAD, &[up, down, partial, down]), 1);
        assert_eq!(found("", &[up, up]), 0, "decided anew, for new observers, it is the same");
        assert_eq!(found("", &[up, down]), 1);
        let both = format!("{DEAD}{CUT}");
        assert_eq!(found(&both, &[up, down, partial, down, up]), 0);
        assert_eq!(found(&format!("{DEAD}{SLOW}"), &[up, down, partial, down]), 0, "more has happened");
        assert_eq!(found(RING, &[up, down, up, down, up, down]), 0, "whose word counts depends on whom one asks");
    }

    #[test]
    fn a_check_that_is_too_short_for_the_way_excuses_what_it_has_caused_and_no_more() {
        let mut bench = Bench::new("");
        bench.at(60);
        let mut invariant = Changes::default();
        let mut look = |bench: &Bench, term, verdict| {
            let mut certificate = bench.certificate("web@0", verdict, &[0, 1, 2], 59_000);
            certificate.decision.term = term;
            let instance = bench.instance_view("web@0", verdict, term, None);
            bench
                .look(&mut invariant, &Sight::Certificate { holder: 1, instance: &instance, certificate: &certificate })
                .len()
        };
        bench.probe(2, 0, 59_500, false);
        assert_eq!((look(&bench, 1, Verdict::Up), look(&bench, 2, Verdict::Partial)), (0, 0));
        (0..100).for_each(|nth| bench.probe(2, 0, 59_600 + nth, true));
        assert_eq!(look(&bench, 2, Verdict::Partial), 0, "seen at another agent, after the probe has been forgotten");
        assert_eq!(look(&bench, 3, Verdict::Up), 1);
    }
}

//! The second half of promise 2: at most one side is quorate at any time. Of two agents of which neither can reach the other, over any
//! number of hops, only one may sign anything at a time, and only one may hold itself quorate for longer than it takes to find out.

use super::{Finding, Invariant, Sight};
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::verdict::Certificate;
use quorate_mesh::Glance;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Apart for so long, two agents are on two sides: a roll call and a signature each count for a second.
const APART: Duration = Duration::from_secs(3);
/// Signatures this close together are of the same time.
const TOGETHER: Duration = Duration::from_secs(1);
/// Signatures remembered.
const KEPT: usize = 64;
/// Looked at once a second.
const EVERY_NS: u64 = 1_000_000_000;

/// The invariant.
#[derive(Default)]
pub struct OneSide {
    /// Who signed lately, and when.
    signed: VecDeque<(usize, SimTime)>,
    /// Since when each agent has held itself quorate.
    quorate: BTreeMap<usize, SimTime>,
}

impl Invariant for OneSide {
    fn name(&self) -> &'static str {
        "one side"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        match sight {
            Sight::Certificate { holder, certificate, .. } => self.note(truth, *holder, certificate, found),
            Sight::Survey { views } if truth.now.0.is_multiple_of(EVERY_NS) => self.survey(truth, views, found),
            _ => {}
        }
    }
}

impl OneSide {
    fn note(&mut self, truth: &Truth, holder: usize, certificate: &Certificate, found: &mut Vec<Finding>) {
        for endorsement in &certificate.endorsements {
            let signer = truth.scenario.agent(endorsement.agent);
            let Some(signer) = signer.filter(|signer| !truth.scenario.suspect(*signer, truth.now)) else { continue };
            let at = truth.moment_of(signer, endorsement.signed_at.0);
            let elsewhere = self.signed.iter().find(|(other, then)| {
                let (here, there) = ((signer, at), (*other, *then));
                let (first, last) = if at < *then { (here, there) } else { (there, here) };
                last.1.since(first.1) <= TOGETHER
                    && truth.apart_throughout(signer, *other, first.1.minus(APART), last.1)
                    && !truth.handed_over(first, last, TOGETHER)
            });
            if let Some((other, then)) = elsewhere {
                let names = (truth.scenario.agent_name(signer), truth.scenario.agent_name(*other));
                let detail = format!("{} signs at {at} and {} at {then}, with no path between them", names.0, names.1);
                found.push(Finding::about(truth, certificate, Some(holder), detail));
            }
            if self.signed.len() == KEPT {
                self.signed.pop_front();
            }
            self.signed.push_back((signer, at));
        }
    }

    fn survey(&mut self, truth: &Truth, views: &[Option<&Glance>], found: &mut Vec<Finding>) {
        let now = truth.now;
        for (agent, view) in views.iter().enumerate() {
            let honest = !truth.scenario.suspect(agent, now) && truth.awake(agent, now);
            if honest && view.is_some_and(|view| view.quorate) {
                self.quorate.entry(agent).or_insert(now);
            } else {
                self.quorate.remove(&agent);
            }
        }
        let bound = truth.scenario.bounds.quorate.0;
        let from = now.minus(bound);
        let long: Vec<usize> = self.quorate.iter().filter(|(_, since)| **since <= from).map(|(who, _)| *who).collect();
        // Whoever is connected with the first of them is on its side.
        let Some(first) = long.first().copied() else { return };
        if let Some(other) = long.into_iter().find(|other| truth.apart_throughout(first, *other, from, now)) {
            let names = (truth.scenario.agent_name(first), truth.scenario.agent_name(other));
            let detail = format!("{} and {} hold themselves quorate, apart for {bound:?}", names.0, names.1);
            found.push(Finding::new(Some(other), detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::{Bench, SPLIT};
    use super::*;
    use quorate_core::Verdict;

    #[test]
    fn two_sides_that_sign_at_once_are_found() {
        let mut bench = Bench::new(SPLIT);
        bench.at(35);
        let mut sides = OneSide::default();
        let here = bench.certificate("web@0", Verdict::Up, &[0, 1, 2], 30_000);
        assert_eq!(bench.shown(&mut sides, &here), Vec::<String>::new());
        let much_later = bench.certificate("web@4", Verdict::Up, &[3, 4], 31_500);
        assert_eq!(bench.shown(&mut sides, &much_later), Vec::<String>::new());
        let there = bench.certificate("web@4", Verdict::Up, &[3, 4], 30_600);
        assert!(bench.shown(&mut sides, &there)[0].contains("a3 signs at 30.600000s and a0 at 30.000000s"));
        let mut fresh = OneSide::default();
        let early = |signers: &[usize]| bench.certificate("web@0", Verdict::Up, signers, 22_500);
        assert!(bench.shown(&mut fresh, &early(&[0, 1, 2])).is_empty());
        assert!(bench.shown(&mut fresh, &early(&[3, 4])).is_empty(), "apart for less than three seconds");
    }

    #[test]
    fn a_majority_that_follows_on_another_is_fine() {
        let part = |groups: &str, from: &str, to: &str| {
            format!("[[faults]]\nkind = \"partition\"\ngroups = {groups}\nfrom = \"{from}\"\nto = \"{to}\"\n")
        };
        let faults = part("[[0, 1, 2], [3, 4]]", "20s", "30s") + &part("[[0], [1, 2, 3, 4]]", "29900ms", "40s");
        let mut bench = Bench::new(&faults);
        bench.at(35);
        let mut sides = OneSide::default();
        let before = bench.certificate("web@0", Verdict::Up, &[0, 1, 2], 29_800);
        let after = bench.certificate("web@4", Verdict::Up, &[1, 2, 4], 30_500);
        assert!(bench.shown(&mut sides, &before).is_empty());
        assert_eq!(bench.shown(&mut sides, &after), Vec::<String>::new(), "0 and 4 never met, but both met 1");
    }

    #[test]
    fn two_sides_that_hold_themselves_quorate_are_found_after_the_bound() {
        let mut bench = Bench::new(&format!("{SPLIT}[bounds]\nquorate = \"10s\"\n"));
        let mut sides = OneSide::default();
        let mut found = Vec::new();
        for second in 18..=30 {
            bench.at(second);
            let views = [bench.mesh_view(0, true, &[]), bench.mesh_view(1, true, &[]), bench.mesh_view(4, true, &[])];
            let all: Vec<&Glance> = views.iter().collect();
            let now = bench.survey(&mut sides, &all);
            found.extend(now.into_iter().map(|detail| (second, detail)));
        }
        assert!(matches!(found.as_slice(), [(30, detail)] if detail.contains("a0 and a4")), "{found:?}");
    }
}

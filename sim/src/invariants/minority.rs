//! Promise 2, Minority silence: agents that reach half of the roster or less start no new `down`, and at most one side holds itself quorate.

use super::{Finding, Invariant, Sight};
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::Verdict;
use std::collections::BTreeMap;
use std::time::Duration;

/// An agent cut off for this long signs no `down`.
const SILENCE: Duration = Duration::from_secs(2);

/// The invariant.
#[derive(Default)]
pub struct Minority {
    /// Since when each agent that does holds itself quorate.
    claims: BTreeMap<usize, SimTime>,
}

impl Invariant for Minority {
    fn name(&self) -> &'static str {
        "minority silence"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        match sight {
            Sight::Certificate { holder, certificate, .. } if certificate.decision.verdict == Verdict::Down => {
                for endorsement in &certificate.endorsements {
                    let Some(signer) = truth.scenario.agent(endorsement.agent) else { continue };
                    let at = truth.moment_of(signer, endorsement.signed_at.0);
                    if !truth.scenario.suspect(signer, truth.now)
                        && truth.minority_throughout(signer, at.minus(SILENCE), at)
                    {
                        let name = truth.scenario.agent_name(signer);
                        let detail = format!("{name} signs while it reaches half of the roster or less");
                        found.push(Finding::about(truth, certificate, Some(*holder), detail));
                    }
                }
            }
            Sight::Survey { views } => {
                let bound = truth.scenario.bounds.quorate.0;
                let now = truth.now;
                // Without a cut all that are awake are in one part.
                let parted = truth.scenario.cuts.iter().any(|cut| cut.when.holds(now));
                let mut whole = None;
                let mut cornered = |agent: usize| match parted {
                    true => truth.cornered(agent, now),
                    false => *whole.get_or_insert_with(|| truth.cornered(agent, now)),
                };
                for (agent, view) in views.iter().enumerate().filter(|(agent, _)| !truth.scenario.suspect(*agent, now))
                {
                    if view.is_none_or(|view| !view.quorate) {
                        self.claims.remove(&agent);
                        continue;
                    }
                    let since = *self.claims.entry(agent).or_insert(now);
                    let claims = now.since(since) >= bound && truth.awake_throughout(agent, now.minus(bound), now);
                    if claims && cornered(agent) && truth.cornered_throughout(agent, now.minus(bound), now) {
                        let detail = format!("it holds itself quorate on the smaller side for {bound:?}");
                        found.push(Finding::new(Some(agent), detail));
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::{Bench, SPLIT};
    use super::*;
    use quorate_mesh::Glance;

    #[test]
    fn a_signer_of_the_smaller_side_is_found_and_one_of_the_greater_is_not() {
        let mut bench = Bench::new(SPLIT);
        bench.at(35);
        let greater = bench.certificate("web@0", Verdict::Down, &[0, 1, 2], 30_000);
        assert_eq!(bench.shown(&mut Minority::default(), &greater), Vec::<String>::new());
        let smaller = bench.certificate("web@0", Verdict::Down, &[0, 1, 3], 30_000);
        assert!(bench.shown(&mut Minority::default(), &smaller)[0].contains("a3 signs while it reaches half"));
        let before = bench.certificate("web@0", Verdict::Down, &[0, 1, 3], 21_500);
        assert_eq!(
            bench.shown(&mut Minority::default(), &before),
            Vec::<String>::new(),
            "the cut is too fresh to be known"
        );
    }

    #[test]
    fn a_quorate_agent_on_the_smaller_side_is_found_after_the_bound() {
        let mut bench = Bench::new(&format!("{SPLIT}[bounds]\nquorate = \"10s\"\n"));
        let mut minority = Minority::default();
        let [claims, silent, greater] =
            [(4, true), (4, false), (0, true)].map(|(a, quorate)| bench.mesh_view(a, quorate, &[]));
        let mut survey = |second, views: &[&Glance]| {
            bench.at(second);
            bench.survey(&mut minority, views)
        };
        for second in [15, 20, 25, 29] {
            assert_eq!(survey(second, &[&claims]), Vec::<String>::new());
        }
        assert!(survey(31, &[&claims])[0].contains("holds itself quorate"));
        // One that has known better in between has as long again.
        assert_eq!(survey(32, &[&silent]), Vec::<String>::new());
        assert_eq!(survey(33, &[&claims]), Vec::<String>::new());
        assert_eq!(survey(34, &[&greater]), Vec::<String>::new());
    }
}

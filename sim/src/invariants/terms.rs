//! Part of promise 1: nobody signs two verdicts in one term, as long as the first signature can matter. Two quorums of the same observers share a
//! member, so one term cannot hold two verdicts of theirs. Where two sides have replaced each other's observers it can; the rank of certificates
//! then tells which holds.

use super::order::returned_to_the_past;
use super::{Finding, Invariant, Sight};
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::signing::MEMORY;
use quorate_core::{InstanceId, Verdict};
use std::collections::BTreeMap;

/// An instance, one of its incarnations, a term of that, and a signer by number.
type Word = (InstanceId, u64, u64, usize);

/// The invariant.
#[derive(Default)]
pub struct OneWord {
    given: BTreeMap<Word, (Verdict, SimTime)>,
}

impl Invariant for OneWord {
    fn name(&self) -> &'static str {
        "one word a term"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        let Sight::Certificate { holder, certificate, .. } = sight else { return };
        let decision = &certificate.decision;
        for endorsement in &certificate.endorsements {
            let Some(signer) = truth.scenario.agent(endorsement.agent) else { continue };
            let at = truth.moment_of(signer, endorsement.signed_at.0);
            let word = (decision.instance.clone(), decision.incarnation, decision.term, signer);
            let Some((verdict, then)) = self.given.insert(word, (decision.verdict, at)) else { continue };
            // A restarted agent has forgotten; by the time it signs again, what it signed before counts no longer.
            let (from, to) = (then.min(at), then.max(at));
            let bound = to.since(from) < MEMORY && truth.running_throughout(signer, from, to);
            // A copy that was replaced and is stated again, by who has forgotten that, is a new one to all others.
            let stands = !returned_to_the_past(truth, &decision.instance);
            if verdict != decision.verdict && bound && stands && !truth.scenario.suspect(signer, truth.now) {
                let name = truth.scenario.agent_name(signer);
                let detail = format!("{name} signed {verdict} in the same term at {then}");
                found.push(Finding::about(truth, certificate, Some(*holder), detail));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;

    #[test]
    fn a_second_verdict_in_a_term_is_found_while_the_first_binds() {
        let mut bench = Bench::new("");
        bench.at(60);
        let down = bench.certificate("web@0", Verdict::Down, &[1, 2, 3], 30_000);
        let contrary = |ms| bench.certificate("web@0", Verdict::Up, &[3, 4, 0], ms);
        let mut soon = OneWord::default();
        assert!(bench.shown(&mut soon, &down).is_empty() && bench.shown(&mut soon, &down).is_empty());
        assert!(bench.shown(&mut soon, &contrary(39_000))[0].contains("a3 signed down in the same term"));
        let mut late = OneWord::default();
        assert!(bench.shown(&mut late, &down).is_empty() && bench.shown(&mut late, &contrary(41_000)).is_empty());
    }

    #[test]
    fn a_restart_in_between_frees_the_signer() {
        let mut bench = Bench::new("");
        let mut invariant = OneWord::default();
        bench.at(31);
        let down = bench.certificate("web@0", Verdict::Down, &[1, 2, 3], 30_000);
        assert!(bench.shown(&mut invariant, &down).is_empty());
        bench.truth.ended(3);
        bench.at(33);
        bench.truth.started(3);
        bench.at(36);
        let up = bench.certificate("web@0", Verdict::Up, &[3, 4, 0], 35_000);
        assert!(bench.shown(&mut invariant, &up).is_empty());
    }
}

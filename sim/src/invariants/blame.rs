//! Promise 3, No blame for one's own trouble: an agent that stood still or was cut off does not accuse.

use super::{Finding, Invariant, Sight};
use crate::scenario::Subject;
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::InstanceId;
use quorate_core::Verdict;
use quorate_mesh::EventKind;
use std::collections::BTreeSet;
use std::time::Duration;

/// A roll call holds for a second: whoever has been cut off for longer has no valid vantage.
const VANTAGE: Duration = Duration::from_secs(1);
/// Pauses shorter than this need not be noticed.
const NOTICEABLE: Duration = Duration::from_secs(1);
/// A vote against a host takes at least this long to form after a pause.
const HOST_VOTE: Duration = Duration::from_millis(300);
/// Cut off for so long, an agent turns no vote to `fail`.
const ISOLATED: Duration = Duration::from_secs(2);

/// The invariant.
#[derive(Default)]
pub struct Blame {
    /// Votes that were `fail` when last heard of.
    failing: BTreeSet<(usize, InstanceId)>,
}

impl Invariant for Blame {
    fn name(&self) -> &'static str {
        "no blame"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        match sight {
            Sight::Certificate { holder, certificate, .. } if certificate.decision.verdict == Verdict::Down => {
                let Some(subject) = truth.scenario.subject(&certificate.decision.instance) else { return };
                for endorsement in &certificate.endorsements {
                    let signer = truth.scenario.agent(endorsement.agent);
                    let Some(signer) = signer.filter(|signer| !truth.scenario.suspect(*signer, truth.now)) else {
                        continue;
                    };
                    let at = truth.moment_of(signer, endorsement.signed_at.0);
                    if let Some(wrong) = vantage(truth, subject, signer, at) {
                        let detail = format!("{} {wrong}", truth.scenario.agent_name(signer));
                        found.push(Finding::about(truth, certificate, Some(*holder), detail));
                    }
                }
            }
            Sight::Event { agent, kind: EventKind::Vote { instance, observation } } => {
                let vote = (*agent, instance.clone());
                if !observation.vote.fails() {
                    self.failing.remove(&vote);
                } else if self.failing.insert(vote)
                    && truth.minority_throughout(*agent, truth.now.minus(ISOLATED), truth.now)
                    && truth.minority_in_sum(*agent, truth.now.minus(VANTAGE), truth.now)
                {
                    let detail = format!("it votes {} on {instance} while cut off", observation.vote);
                    found.push(Finding::new(Some(*agent), detail));
                }
            }
            _ => {}
        }
    }
}

/// What is wrong with the position of `signer` at `at`, if anything.
fn vantage(truth: &Truth, subject: Subject, signer: usize, at: SimTime) -> Option<&'static str> {
    // Wall clocks show milliseconds, so the signature may be a little later than `at`.
    let latest = at.plus(Duration::from_millis(1));
    if truth.scenario.doubled(signer, at.minus(VANTAGE), latest) {
        return None;
    }
    if !truth.awake(signer, at) && !truth.awake(signer, latest) {
        return Some("signs while it stands still");
    }
    let before = at.minus(VANTAGE);
    if truth.minority_throughout(signer, before, latest) && truth.minority_in_sum(signer, before, latest) {
        return Some("signs without having reached more than half of the roster for a second");
    }
    let pause = truth.last_pause(signer, latest).filter(|pause| pause.to.since(pause.from) >= NOTICEABLE)?;
    let fresh = match subject {
        Subject::Host(_) => latest.since(pause.to) >= HOST_VOTE,
        Subject::Instance(index) => {
            truth.probes(signer, index).any(|p| !p.passed && p.started >= pause.to && p.finished <= latest)
        }
    };
    (!fresh).then_some("signs on what it saw before it stood still")
}

#[cfg(test)]
mod tests {
    use super::super::bench::{Bench, SPLIT};
    use super::*;
    use quorate_core::{Cause, Observation, Phase, UnixMs, Vote};

    #[test]
    fn a_signer_without_fresh_evidence_after_a_pause_is_found() {
        let mut bench = Bench::new("");
        bench.at(20);
        bench.truth.paused(1);
        bench.at(29);
        bench.truth.resumed(1);
        (0..5).for_each(|observer| bench.probe(observer, 0, 28_900, false));
        let certificate = bench.certificate("web@0", Verdict::Down, &[1, 2, 3], 29_200);
        assert!(bench.shown(&mut Blame::default(), &certificate)[0].contains("a1 signs on what it saw before"));
        bench.probe(1, 0, 29_800, false);
        let certificate = bench.certificate("web@0", Verdict::Down, &[1, 2, 3], 29_900);
        assert_eq!(bench.shown(&mut Blame::default(), &certificate), Vec::<String>::new());
    }

    #[test]
    fn a_signer_that_stands_still_or_is_cut_off_is_found() {
        let mut bench = Bench::new(SPLIT);
        bench.at(15);
        bench.truth.paused(1);
        bench.at(30);
        let asleep = bench.certificate("web@0", Verdict::Down, &[0, 1, 2], 18_000);
        assert!(bench.shown(&mut Blame::default(), &asleep)[0].contains("a1 signs while it stands still"));
        let cut_off = bench.certificate("web@0", Verdict::Down, &[0, 2, 4], 21_200);
        assert!(bench.shown(&mut Blame::default(), &cut_off)[0].contains("for a second"));
    }

    #[test]
    fn an_accusation_by_a_cut_off_agent_is_found() {
        let mut bench = Bench::new(SPLIT);
        bench.at(25);
        let vote = Vote::Fail { phase: Phase::Connect, cause: Cause::Timeout };
        let observation = Observation { vote, detail: String::new(), since: UnixMs(0) };
        let kind = EventKind::Vote { instance: bench.id("web@0"), observation };
        assert!(
            bench.look(&mut Blame::default(), &Sight::Event { agent: 3, kind: &kind })[0].contains("while cut off")
        );
        assert!(bench.look(&mut Blame::default(), &Sight::Event { agent: 0, kind: &kind }).is_empty());
    }
}

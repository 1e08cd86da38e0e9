//! Promise 1, Quorum: no agent reports `down` without a certificate of more than half of the assigned observers, each of which saw the
//! failure itself at that moment.

use super::{Finding, Invariant, MOMENT, Sight};
use crate::scenario::Subject;
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::signing::SIGNATURE_LIFE;
use quorate_core::verdict::{Certificate, Endorsement};
use quorate_core::{Verdict, quorum};
use std::collections::BTreeSet;
use std::time::Duration;

/// A certificate is seen this soon after it was signed; the roster may have changed in between.
const MOMENT_OF_SIGNING: Duration = Duration::from_secs(2);

/// Added to an instance's period and timeout: how old a failed probe may be that supports a vote.
const SLACK: Duration = Duration::from_secs(2);
/// Wall clocks show milliseconds.
const CLOCK: Duration = Duration::from_millis(1);
/// How long ago a host must at the latest have been silent for a vote against it.
const HOST_MEMORY: Duration = Duration::from_secs(3);

/// The invariant.
pub struct Quorum;

impl Invariant for Quorum {
    fn name(&self) -> &'static str {
        "quorum"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        match sight {
            Sight::Instance { agent, after, .. } if after.decided == Verdict::Down => {
                let proof = after.certificate.as_deref().map(|certificate| &certificate.decision);
                let proved = proof.is_some_and(|d| d.verdict == Verdict::Down && d.instance == after.instance);
                if !proved {
                    let detail = format!("{} is reported down without a certificate that says so", after.instance);
                    found.push(Finding::new(Some(*agent), detail));
                }
            }
            Sight::Certificate { holder, certificate, .. } if certificate.decision.verdict == Verdict::Down => {
                if let Err(wrong) = examine(truth, certificate) {
                    found.push(Finding::about(truth, certificate, Some(*holder), wrong));
                }
            }
            _ => {}
        }
    }
}

fn examine(truth: &Truth, certificate: &Certificate) -> Result<(), String> {
    let observers = certificate.decision.observers;
    let signers: BTreeSet<_> = certificate.endorsements.iter().map(|e| e.agent).collect();
    let needed = observers / 2 + 1;
    if (signers.len() as u64) < u64::from(needed) {
        return Err(format!("{} distinct signers; {needed} of {observers} observers are needed", signers.len()));
    }
    let Some(subject) = truth.scenario.subject(&certificate.decision.instance) else {
        return Err("the instance does not exist".to_owned());
    };
    let assigned = assigned(truth, subject);
    if observers < assigned {
        return Err(format!("it counts {observers} observers where {assigned} are assigned"));
    }
    one_moment(truth, certificate)?;
    // What a faulty member sees, or whether it answers, is for it to say.
    if matches!(subject, Subject::Host(agent) if truth.scenario.suspect(agent, truth.now)) {
        return Ok(());
    }
    let honest =
        |e: &&Endorsement| truth.scenario.agent(e.agent).is_none_or(|agent| !truth.scenario.suspect(agent, truth.now));
    certificate.endorsements.iter().filter(honest).try_for_each(|endorsement| supported(truth, subject, endorsement))
}

/// A signature counts for a second from when its proposer asked for it, so that no two in one certificate are further apart.
fn one_moment(truth: &Truth, certificate: &Certificate) -> Result<(), String> {
    let honest = |agent: &usize| !truth.scenario.suspect(*agent, truth.now);
    let moments = certificate.endorsements.iter().filter_map(|endorsement| {
        let agent = truth.scenario.agent(endorsement.agent).filter(honest)?;
        Some(truth.moment_of(agent, endorsement.signed_at.0))
    });
    let (mut first, mut last) = (SimTime::NEVER, SimTime::START);
    for moment in moments {
        (first, last) = (first.min(moment), last.max(moment));
    }
    let apart = last.since(first.min(last));
    if apart > SIGNATURE_LIFE + CLOCK { Err(format!("its signatures are {apart:?} apart")) } else { Ok(()) }
}

/// How many observers are assigned at least: as many as wanted, or the others that counted a moment ago.
fn assigned(truth: &Truth, subject: Subject) -> u32 {
    let (wanted, itself) = match subject {
        Subject::Instance(index) => (truth.scenario.instances[index].registration.wanted_observers(), None),
        Subject::Host(agent) => (quorum::DEFAULT_OBSERVERS, Some(agent)),
    };
    let recent = truth.rosters.between(truth.now.minus(MOMENT_OF_SIGNING), truth.now);
    let others = recent.map(|roster| roster.iter().filter(|agent| Some(**agent) != itself).count()).min();
    let others = others.unwrap_or_else(|| {
        (0..truth.agents()).filter(|a| Some(*a) != itself && truth.settled_member(*a, truth.now)).count()
    });
    wanted.min(u32::try_from(others).unwrap_or(u32::MAX))
}

fn supported(truth: &Truth, subject: Subject, endorsement: &Endorsement) -> Result<(), String> {
    let Some(signer) = truth.scenario.agent(endorsement.agent) else {
        return Err(format!("{} signs, who does not exist", endorsement.agent));
    };
    let name = truth.scenario.agent_name(signer);
    if !endorsement.vote.fails() {
        return Err(format!("{name} signs with the vote {}", endorsement.vote));
    }
    let at = truth.moment_of(signer, endorsement.signed_at.0);
    if saw_failure(truth, subject, signer, at) { Ok(()) } else { Err(format!("{name} did not see it fail itself")) }
}

/// Did `observer` itself see `subject` fail shortly before `at`?
fn saw_failure(truth: &Truth, subject: Subject, observer: usize, at: SimTime) -> bool {
    match subject {
        Subject::Host(agent) => !truth.answers_throughout(observer, agent, at.minus(HOST_MEMORY), at),
        Subject::Instance(index) => {
            let check = &truth.scenario.instances[index].registration.check;
            let oldest = at.minus((check.period + check.timeout).min(MOMENT + 2 * check.timeout) + SLACK);
            // Wall clocks show milliseconds: what happened in the signature's own millisecond may have come after it.
            let two = truth.scenario.doubled(observer, oldest, at);
            let probes: Vec<_> = match two {
                true => truth.probes_by_any(observer, index).collect(),
                false => truth.probes_known(observer, index, at).collect(),
            };
            let known = |to: SimTime| probes.iter().filter(move |probe| probe.finished <= to);
            let latest = at.plus(CLOCK);
            let failed = known(latest).any(|probe| !probe.passed && probe.finished >= oldest);
            let passed_last = |to| known(to).next_back().is_some_and(|probe| probe.passed);
            // Of two processes with one identity each has its own last probe.
            failed && (two || !(passed_last(at) && passed_last(latest) && check.success_threshold == 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use quorate_core::Vote;

    fn bench() -> Bench {
        let mut bench = Bench::new("");
        bench.at(30);
        for observer in 0..5 {
            bench.probe(observer, 0, 29_500, false);
        }
        bench
    }

    #[test]
    fn an_honest_certificate_passes() {
        let bench = bench();
        let certificate = bench.certificate("web@0", Verdict::Down, &[1, 2, 3], 29_900);
        assert_eq!(bench.shown(&mut Quorum, &certificate), Vec::<String>::new());
    }

    #[test]
    fn too_few_or_repeated_signers_are_found() {
        let bench = bench();
        for signers in [&[1, 2][..], &[1, 2, 2]] {
            let certificate = bench.certificate("web@0", Verdict::Down, signers, 29_900);
            assert!(bench.shown(&mut Quorum, &certificate)[0].contains("2 distinct signers; 3 of 5"));
        }
    }

    #[test]
    fn a_smaller_denominator_is_found() {
        let bench = bench();
        let mut certificate = bench.certificate("web@0", Verdict::Down, &[1, 2], 29_900);
        certificate.decision.observers = 3;
        assert!(bench.shown(&mut Quorum, &certificate)[0].contains("counts 3 observers where 5"));
    }

    #[test]
    fn a_signer_that_saw_no_failure_is_found() {
        let mut bench = bench();
        bench.probe(3, 0, 29_800, true);
        let certificate = bench.certificate("web@0", Verdict::Down, &[1, 2, 3], 29_900);
        assert!(bench.shown(&mut Quorum, &certificate)[0].contains("a3 did not see it fail"));
        let mut certificate = bench.certificate("web@0", Verdict::Down, &[1, 2, 4], 29_900);
        certificate.endorsements[0].vote = Vote::Pass;
        assert!(bench.shown(&mut Quorum, &certificate)[0].contains("signs with the vote pass"));
        let old = bench.certificate("web@0", Verdict::Down, &[1, 2, 4], 40_000);
        assert!(bench.shown(&mut Quorum, &old)[0].contains("did not see it fail"));
    }

    #[test]
    fn a_vote_against_a_host_that_answers_is_found() {
        let bench = bench();
        let certificate = bench.host_certificate(4, Verdict::Down, &[0, 1, 2], 29_900);
        assert!(bench.shown(&mut Quorum, &certificate)[0].contains("did not see it fail"));
    }

    #[test]
    fn down_without_a_certificate_is_found() {
        let bench = bench();
        let view = bench.instance_view("web@0", Verdict::Down, 1, None);
        let sight = Sight::Instance { agent: 2, before: None, after: &view };
        assert!(bench.look(&mut Quorum, &sight)[0].contains("without a certificate"));
    }
}

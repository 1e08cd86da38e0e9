//! Promise 5, Truth wins: what a majority of its observers reaches is never `down`.
//!
//! An observer counts when the signers could hear it all along: those on the other side of a split are replaced, and may well reach what is
//! lost to everybody else.

use super::{Finding, Invariant, MOMENT, Sight};
use crate::scenario::Subject;
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::verdict::Certificate;
use quorate_core::{Verdict, quorum};
use quorate_mesh::InstanceView;
use std::collections::BTreeSet;
use std::time::Duration;

/// Whoever reaches an instance for this long, or for a probe and a second, must know it.
const KNOWN: Duration = Duration::from_secs(3);

/// When more packets than this are lost, of a thousand, whoever reaches an instance may be heard by nobody. The home agent, which reaches it
/// without a network, counts only when none are.
const LOST_WORDS: u32 = 50;

/// The invariant.
pub struct TruthWins;

impl Invariant for TruthWins {
    fn name(&self) -> &'static str {
        "truth wins"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        if let Sight::Certificate { holder, instance, certificate } = sight
            && certificate.decision.verdict == Verdict::Down
        {
            let reach = reaching(truth, instance, certificate);
            let watching = watching(instance, certificate);
            if reach >= quorum::of(watching) {
                let detail = format!("{reach} of its {watching} observers reach it all along");
                found.push(Finding::about(truth, certificate, Some(*holder), detail));
            }
            // A sole observer decides by what it alone sees: that was asked for.
            let several = certificate.decision.observers > 1;
            if several && false_down(truth, certificate) && plain(truth, certificate) {
                let detail = "it is well, and more than half of the roster reaches it".to_owned();
                found.push(Finding::about(truth, certificate, Some(*holder), detail));
            }
        }
    }
}

/// When the first signature was given.
fn decided(truth: &Truth, certificate: &Certificate) -> SimTime {
    let signed = certificate.endorsements.iter().filter_map(|endorsement| {
        truth.scenario.agent(endorsement.agent).map(|agent| truth.moment_of(agent, endorsement.signed_at.0))
    });
    signed.min().unwrap_or(truth.now).min(truth.now)
}

fn home(truth: &Truth, subject: Subject) -> usize {
    match subject {
        Subject::Instance(index) => truth.scenario.instances[index].home,
        Subject::Host(agent) => agent,
    }
}

fn window(truth: &Truth, subject: Subject) -> Duration {
    match subject {
        Subject::Host(_) => KNOWN,
        Subject::Instance(index) => {
            let check = &truth.scenario.instances[index].registration.check;
            let round = check.period + check.timeout;
            KNOWN.max(round.min(MOMENT + 2 * check.timeout) + Duration::from_secs(1))
        }
    }
}

fn reaches(truth: &Truth, observer: usize, subject: Subject, from: SimTime, to: SimTime) -> bool {
    match subject {
        Subject::Instance(index) => {
            truth.reaches_throughout(observer, index, from, to) && !too_far(truth, observer, index)
        }
        Subject::Host(agent) => truth.answers_throughout(observer, agent, from, to),
    }
}

/// Is it plain who reaches whom? Where paths are cut in part, a quorum of observers may be unable to reach what most agents reach.
fn plain(truth: &Truth, certificate: &Certificate) -> bool {
    let to = decided(truth, certificate);
    let Some(subject) = truth.scenario.subject(&certificate.decision.instance) else { return false };
    let (from, home) = (to.minus(window(truth, subject)), home(truth, subject));
    // A host whose agent stands still has paths, too.
    let same = |agent: usize| truth.path_clear(agent, home, from, to) || truth.path_cut(agent, home, from, to);
    truth.split_clean(from, to) && (truth.awake(home, to) || (0..truth.agents()).all(same))
}

/// How many watch: those assigned, the home agent, which watches in addition, former observers whose votes are held, and whoever signed as an
/// observer in the eyes of its proposer, if no more in those of the holder.
fn watching(instance: &InstanceView, certificate: &Certificate) -> u32 {
    let held = instance.observers.iter().map(|observer| observer.agent);
    let all: BTreeSet<_> = held.chain(certificate.endorsements.iter().map(|e| e.agent)).collect();
    certificate.decision.observers.max(u32::try_from(all.len()).unwrap_or(u32::MAX))
}

/// How many of the observers, as the first holder of the certificate names them, reached the subject all along.
fn reaching(truth: &Truth, instance: &InstanceView, certificate: &Certificate) -> u32 {
    let Some(subject) = truth.scenario.subject(&certificate.decision.instance) else { return 0 };
    if of_a_faulty_host(truth, subject) {
        return 0;
    }
    let to = decided(truth, certificate);
    let from = to.minus(window(truth, subject));
    let signers: Vec<usize> = certificate.endorsements.iter().filter_map(|e| truth.scenario.agent(e.agent)).collect();
    let lossy = truth.scenario.lossy(from, to);
    let heard = |observer: usize| {
        let certain = !lossy || home(truth, subject) != observer;
        let clear = |signer: usize| {
            truth.path_clear(observer, signer, from, to)
                && truth.scenario.worst_between(observer, signer, from, to) <= LOST_WORDS
        };
        certain && signers.iter().all(|signer| clear(*signer))
    };
    let assigned = instance.observers.iter().filter_map(|observer| truth.scenario.agent(observer.agent));
    let reaching = assigned
        .filter(|observer| !truth.scenario.suspect(*observer, truth.now))
        .filter(|observer| heard(*observer) && reaches(truth, *observer, subject, from, to));
    u32::try_from(reaching.count()).unwrap_or(u32::MAX)
}

/// A faulty member may condemn its own host: nobody is harmed but itself.
fn of_a_faulty_host(truth: &Truth, subject: Subject) -> bool {
    matches!(subject, Subject::Host(agent) if truth.scenario.suspect(agent, truth.now))
}

/// Does the certificate call something down that was well and within reach of more than half of the roster?
pub fn false_down(truth: &Truth, certificate: &Certificate) -> bool {
    let Some(subject) = truth.scenario.subject(&certificate.decision.instance) else { return false };
    if certificate.decision.verdict != Verdict::Down {
        return false;
    }
    let to = decided(truth, certificate);
    let from = to.minus(window(truth, subject));
    let home = home(truth, subject);
    // Nor whoever signs against an instance of its own.
    let home_id = truth.scenario.agents[home].id;
    let by_itself =
        truth.scenario.suspect(home, truth.now) && certificate.endorsements.iter().any(|e| e.agent == home_id);
    if of_a_faulty_host(truth, subject) || by_itself {
        return false;
    }
    let well = match subject {
        Subject::Instance(index) => {
            let near = (0..truth.agents()).all(|observer| !too_far(truth, observer, index));
            near && truth.well_throughout(index, from, to)
        }
        Subject::Host(agent) => truth.awake_throughout(agent, from, to),
    };
    let members = (0..truth.agents()).filter(|agent| truth.counts(*agent, to));
    let (mut roster, mut reach) = (0, 0);
    for member in members {
        roster += 1;
        reach += usize::from(member == home || reaches(truth, member, subject, from, to));
    }
    well && !truth.scenario.lossy(from, to) && quorum::majority(reach, roster)
}

/// May `observer`'s probe of a well instance on a clear path take longer than its check allows?
fn too_far(truth: &Truth, observer: usize, index: usize) -> bool {
    let instance = &truth.scenario.instances[index];
    let way = |from, to| truth.scenario.latency.longest_us(from, to);
    // A connection, and a request with its answer.
    let takes = 2 * (way(observer, instance.home) + way(instance.home, observer));
    Duration::from_micros(takes) >= instance.registration.check.timeout
}

#[cfg(test)]
mod tests {
    use super::super::bench::{Bench, SPLIT};
    use super::*;

    #[test]
    fn down_against_a_reaching_majority_is_found() {
        let mut bench = Bench::new("");
        bench.at(30);
        bench.probe(1, 0, 29_500, false);
        bench.probe(2, 0, 29_500, false);
        let certificate = bench.certificate("web@0", Verdict::Down, &[1, 2, 3], 29_900);
        let found = bench.shown(&mut TruthWins, &certificate);
        assert!(found[0].contains("3 of its 5 observers reach it"), "{found:?}");
        assert!(found[1].contains("more than half of the roster"));
        bench.probe(3, 0, 29_500, false);
        assert_eq!(bench.shown(&mut TruthWins, &certificate), Vec::<String>::new());
    }

    #[test]
    fn a_host_on_the_greater_side_is_not_down_and_one_on_the_smaller_may_be() {
        let mut bench = Bench::new(SPLIT);
        bench.at(35);
        let wrong = bench.host_certificate(0, Verdict::Down, &[2, 3, 4], 30_000);
        assert!(false_down(&bench.truth, &wrong));
        let right = bench.host_certificate(4, Verdict::Down, &[0, 1, 2], 30_000);
        assert!(!false_down(&bench.truth, &right));
    }
}

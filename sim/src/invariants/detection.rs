//! Promise 7, Detection: what is dead is `down` on every agent within `failure_threshold x period + timeout + dissemination`;
//! with a fast interval, that counts for the period between failures. A host is not probed by anyone in particular: when the first of its
//! peers happens to ping it is chance, and time is counted from that ping, which must come soon. A member that lies can put a verdict off once more for as long as a promise holds.

use super::Finding;
use super::identity::was_put_out;
use crate::scenario::{Interval, Subject};
use crate::time::SimTime;
use crate::timeline::{Timeline, Trial, trials};
use crate::truth::Truth;
use quorate_core::signing::MEMORY;
use quorate_core::{Verdict, quorum};
use std::time::Duration;

/// Its name in reports.
pub const NAME: &str = "detection";

/// A dead host is pinged by somebody within so long: of 20 agents that ping one of the others each second, in turn, none happens to within 15 s once
/// in 10^13 crashes ((1 - 15/19)^19).
const FIRST_PING: Duration = Duration::from_secs(15);

/// When the failure of a trial is known at the latest, if it lasts so long.
pub fn deadline(truth: &Truth, trial: &Trial) -> Option<SimTime> {
    let first_look = if trial.dark.is_some() { FIRST_PING } else { Duration::ZERO };
    let by = trial.when.from.plus(first_look + bound(truth, trial) + put_off(truth, trial.when.from));
    (by < trial.when.to).then_some(by)
}

/// What was not detected in time, of the faults that happened with nothing else wrong.
pub fn late(truth: &Truth, timeline: &Timeline) -> Vec<Finding> {
    let mut found = Vec::new();
    for trial in trials(truth) {
        let began = trial.when.from;
        let bound = bound(truth, &trial) + put_off(truth, began);
        let pinged =
            trial.dark.map(|dark| truth.first_missed(dark, began).unwrap_or(truth.now).min(began.plus(FIRST_PING)));
        let by = pinged.unwrap_or(began).plus(bound);
        // What only its own host can check is not seen any more when that host is gone.
        let unseen = |index: usize| truth.scenario.instances[index].registration.check.kind.home_only();
        if trial.dark.is_some() && matches!(trial.subject, Subject::Instance(index) if unseen(index)) {
            continue;
        }
        // Nor is what was forgotten with its home before it could be found down.
        let (home, held_up) = match trial.subject {
            Subject::Host(agent) => (agent, false),
            Subject::Instance(index) => {
                let when = Interval { from: began.minus(bound), to: by };
                (truth.scenario.instances[index].home, held_up_by_lies(truth, index, when))
            }
        };
        if by >= trial.when.to
            || by > truth.now
            || was_put_out(truth, &[home], (began, by))
            || held_up
            || !trial.undisturbed(truth, began, by)
            || !majority_left(truth, &trial)
        {
            continue;
        }
        for agent in 0..truth.agents() {
            let honest = !truth.scenario.suspect(agent, truth.now);
            let watched = honest && truth.settled_member(agent, began) && truth.awake_throughout(agent, began, by);
            if !watched || !timeline.held_well(trial.subject, agent, began) {
                continue;
            }
            let at = timeline.reached(trial.subject, agent, Verdict::Down, Interval { from: began, to: trial.when.to });
            if at.is_none_or(|at| at > by) {
                let when = at.map_or("never".to_owned(), |at| format!("after {:?}", at.since(began)));
                let what = describe(truth, trial.subject);
                let pinged = pinged.map_or(String::new(), |at| format!(" and first pinged at {at}"));
                found.push(Finding::new(
                    Some(agent),
                    format!("{what}, dead at {began}{pinged}, is down {when}; {bound:?} is allowed"),
                ));
            }
        }
    }
    found
}

/// The name of a subject.
pub fn describe(truth: &Truth, subject: Subject) -> String {
    match subject {
        Subject::Host(agent) => format!("the host of {}", truth.scenario.agent_name(agent)),
        Subject::Instance(index) => truth.scenario.instances[index].id.to_string(),
    }
}

fn bound(truth: &Truth, trial: &Trial) -> Duration {
    let bounds = &truth.scenario.bounds;
    let probes = match trial.subject {
        Subject::Host(_) => return bounds.host_detection.0,
        Subject::Instance(index) => truth.scenario.instances[index].registration.check.detection_span(),
    };
    probes + if trial.dark.is_some() { bounds.host_detection.0 } else { bounds.detection.0 }
}

/// For how long a liar can put off what is to be decided from `from` on: whoever has signed for it in the highest term allowed has promised to sign nothing
/// else for so long.
pub fn put_off(truth: &Truth, from: SimTime) -> Duration {
    let lately = |when: &Interval| when.from <= from && when.to > from.minus(MEMORY);
    let lied = truth.scenario.faulty.iter().any(|(_, when, _)| lately(when));
    if lied { MEMORY } else { Duration::ZERO }
}

/// After the fault, is more than half of the roster alive, and are honest observers enough?
pub fn majority_left(truth: &Truth, trial: &Trial) -> bool {
    let at = trial.when.from;
    let roster = (0..truth.agents()).filter(|agent| truth.counts(*agent, at)).count();
    let alive = (0..truth.agents())
        .filter(|agent| truth.counts(*agent, at) && truth.awake(*agent, at) && trial.dark != Some(*agent))
        .count();
    quorum::majority(alive, roster) && enough_honest(truth, trial.subject, alive, roster)
}

/// How many may have lied by now.
fn liars(truth: &Truth) -> usize {
    (0..truth.agents()).filter(|agent| truth.scenario.suspect(*agent, truth.now)).count()
}

/// Of a service that is down for the most part a lie of the home holds an instance up, and so do those of two others.
fn held_up_by_lies(truth: &Truth, index: usize, when: Interval) -> bool {
    let instances = &truth.scenario.instances;
    let (service, home) = (&instances[index].registration.service, instances[index].home);
    let all = (0..instances.len()).filter(|other| instances[*other].registration.service == *service);
    let (unwell, well): (Vec<_>, Vec<_>) = all.partition(|other| !truth.well_throughout(*other, when.from, when.to));
    let lies = truth.scenario.suspect(home, truth.now) || liars(truth) > 1;
    lies && unwell.len() > 1 && unwell.len() >= well.len()
}

/// Do the honest observers of `subject` make a quorum without the faulty ones, when only `alive` of the `roster` remain?
pub fn enough_honest(truth: &Truth, subject: Subject, alive: usize, roster: usize) -> bool {
    let faulty = liars(truth);
    let observers = match subject {
        Subject::Host(_) => (quorum::DEFAULT_OBSERVERS as usize).min(roster.saturating_sub(1)),
        Subject::Instance(index) => {
            (truth.scenario.instances[index].registration.wanted_observers() as usize).min(roster)
        }
    };
    let honest = observers.min(alive).saturating_sub(faulty);
    faulty == 0 || honest >= quorum::of(u32::try_from(observers).unwrap_or(u32::MAX)) as usize
}

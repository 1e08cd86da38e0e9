//! Promise 7, Detection: what is dead is `down` on every agent within `failure_threshold x period + timeout + dissemination`.

use super::Finding;
use crate::scenario::{Interval, Subject};
use crate::timeline::{Timeline, Trial, trials};
use crate::truth::Truth;
use quorate_core::{Verdict, quorum};
use std::time::Duration;

/// Its name in reports.
pub const NAME: &str = "detection";

/// What was not detected in time, of the faults that happened with nothing else wrong.
pub fn late(truth: &Truth, timeline: &Timeline) -> Vec<Finding> {
    let mut found = Vec::new();
    for trial in trials(truth) {
        let began = trial.when.from;
        let bound = bound(truth, &trial);
        let by = began.plus(bound);
        if by >= trial.when.to
            || by > truth.now
            || !trial.undisturbed(truth, began, by)
            || !majority_left(truth, &trial)
        {
            continue;
        }
        for agent in 0..truth.agents() {
            let watched = truth.settled_member(agent, began) && truth.awake_throughout(agent, began, by);
            let held = timeline.held(trial.subject, agent, began);
            if !watched || held != Some(Verdict::Up) {
                continue;
            }
            let at = timeline.reached(trial.subject, agent, Verdict::Down, Interval { from: began, to: trial.when.to });
            if at.is_none_or(|at| at > by) {
                let when = at.map_or("never".to_owned(), |at| format!("after {:?}", at.since(began)));
                let what = describe(truth, trial.subject);
                found.push(Finding::new(
                    Some(agent),
                    format!("{what}, dead at {began}, is down {when}; {bound:?} is allowed"),
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
        Subject::Instance(index) => {
            let check = &truth.scenario.instances[index].registration.check;
            check.period * check.failure_threshold + check.timeout
        }
    };
    probes + if trial.dark.is_some() { bounds.host_detection.0 } else { bounds.detection.0 }
}

/// After the fault, is more than half of the roster alive?
fn majority_left(truth: &Truth, trial: &Trial) -> bool {
    let at = trial.when.from;
    let roster = (0..truth.agents()).filter(|agent| truth.member(*agent, at)).count();
    let alive = (0..truth.agents()).filter(|agent| truth.awake(*agent, at) && trial.dark != Some(*agent)).count();
    quorum::majority(alive, roster)
}

//! Promise 8, Recovery: what lives again is `up` on every agent within `success_threshold x period + timeout + dissemination`.

use super::Finding;
use super::convergence::held_down_changes;
use super::detection::{describe, majority_left, put_off};
use crate::scenario::{Interval, Subject};
use crate::time::SimTime;
use crate::timeline::{Timeline, Trial, trials};
use crate::truth::Truth;
use quorate_core::Verdict;
use std::time::Duration;

/// Its name in reports.
pub const NAME: &str = "recovery";

/// How long it may take to be `up` again.
fn bound(truth: &Truth, index: usize, ended: SimTime) -> Duration {
    let check = &truth.scenario.instances[index].registration.check;
    check.recovery_span() + truth.scenario.bounds.recovery.0 + put_off(truth, ended)
}

/// When what a trial made fail is known to be well again at the latest, if that ends and is held to a bound.
pub fn deadline(truth: &Truth, trial: &Trial) -> Option<SimTime> {
    let Subject::Instance(index) = trial.subject else { return None };
    let ended = trial.when.to;
    (trial.dark.is_none() && ended != SimTime::NEVER).then(|| ended.plus(bound(truth, index, ended)))
}

/// What was not up again in time, of the faults that ended with nothing else wrong. Crashed hosts must first come back; they are held to
/// convergence instead.
pub fn late(truth: &Truth, timeline: &Timeline) -> Vec<Finding> {
    let mut found = Vec::new();
    for trial in trials(truth).into_iter().filter(|trial| trial.dark.is_none()) {
        let Subject::Instance(index) = trial.subject else { continue };
        let ended = trial.when.to;
        let bound = bound(truth, index, ended);
        let by = ended.plus(bound);
        let faults = truth.scenario.targets.iter().filter(|fault| fault.instance == index);
        let again = faults.filter(|fault| fault.when.meets(ended, by)).count() > 0;
        if by > truth.now || again || !trial.undisturbed(truth, ended, by) || !majority_left(truth, &trial) {
            continue;
        }
        // What has changed often is held down, by rule.
        let recent = Interval { from: ended.minus(truth.scenario.timing.flap_window), to: ended };
        let held_down = |agent| timeline.changed(trial.subject, agent, recent) >= held_down_changes(truth) as usize;
        if (0..truth.agents()).any(held_down) {
            continue;
        }
        for agent in 0..truth.agents() {
            let honest = !truth.scenario.suspect(agent, truth.now);
            let watched = honest && truth.settled_member(agent, ended) && truth.awake_throughout(agent, ended, by);
            // What was never well, such as behind a path that takes longer than its check allows, does not become so by this.
            let well_before = timeline.held_well(trial.subject, agent, trial.when.from);
            if !watched || !well_before || timeline.held(trial.subject, agent, ended) != Some(Verdict::Down) {
                continue;
            }
            let after = Interval { from: ended, to: SimTime::NEVER };
            let at = timeline.reached(trial.subject, agent, Verdict::Up, after);
            if at.is_none_or(|at| at > by) {
                let when = at.map_or("never".to_owned(), |at| format!("after {:?}", at.since(ended)));
                let what = describe(truth, trial.subject);
                found.push(Finding::new(
                    Some(agent),
                    format!("{what}, well at {ended}, is up {when}; {bound:?} is allowed"),
                ));
            }
        }
    }
    found
}

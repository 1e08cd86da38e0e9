//! When which verdict was held where: what detection and recovery times are read from.

use crate::invariants::{Finding, Sight, convergence, detection, recovery};
use crate::scenario::{Interval, Subject};
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::Verdict;
use std::collections::BTreeMap;
use std::time::Duration;

/// Nothing else may go wrong for so long before a fault whose detection is held to a bound.
const CALM_BEFORE: Duration = Duration::from_secs(20);

/// The changes of all verdicts on all agents.
#[derive(Debug)]
pub struct Timeline {
    changes: BTreeMap<(Subject, usize), Vec<(SimTime, Verdict)>>,
    agents: usize,
}

/// One fault that makes a subject fail for everybody.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// What fails.
    pub subject: Subject,
    /// From when to when.
    pub when: Interval,
    /// The agent whose host went dark, if that is the fault.
    pub dark: Option<usize>,
}

impl Timeline {
    /// Nothing has changed yet.
    pub fn new(agents: usize) -> Self {
        Self { changes: BTreeMap::new(), agents }
    }

    /// Notes changes.
    pub fn look(&mut self, truth: &Truth, sight: &Sight<'_>) {
        if let Sight::Instance { agent, before, after } = sight
            && before.is_none_or(|before| before.decided != after.decided)
            && let Some(subject) = truth.scenario.subject(&after.instance)
        {
            self.changes.entry((subject, *agent)).or_default().push((truth.now, after.decided));
        }
    }

    /// What `agent` held at `at`.
    pub fn held(&self, subject: Subject, agent: usize, at: SimTime) -> Option<Verdict> {
        let changes = self.changes.get(&(subject, agent))?;
        changes.iter().rev().find(|(when, _)| *when <= at).map(|(_, verdict)| *verdict)
    }

    /// Did `agent` hold the subject for well at `at`? Of a host nothing is decided before there is reason to.
    pub fn held_well(&self, subject: Subject, agent: usize, at: SimTime) -> bool {
        match self.held(subject, agent, at) {
            Some(Verdict::Up) => true,
            None | Some(Verdict::Starting) => matches!(subject, Subject::Host(_)),
            Some(_) => false,
        }
    }

    /// How often `agent` came to hold another verdict within `when`, since it first held the subject for well.
    pub fn changed(&self, subject: Subject, agent: usize, when: Interval) -> usize {
        let changes = self.changes.get(&(subject, agent)).map_or(&[][..], Vec::as_slice);
        let since_up = changes.iter().skip_while(|(_, held)| *held != Verdict::Up).skip(1);
        since_up.filter(|(at, _)| when.holds(*at)).count()
    }

    /// When `agent` came to hold `verdict` within `when`.
    pub fn reached(&self, subject: Subject, agent: usize, verdict: Verdict, when: Interval) -> Option<SimTime> {
        let changes = self.changes.get(&(subject, agent))?;
        changes.iter().find(|(at, held)| when.holds(*at) && *held == verdict).map(|(at, _)| *at)
    }

    /// How long each agent took to hold failed subjects `down`, in seconds.
    pub fn detections(&self, truth: &Truth) -> Vec<f64> {
        self.times(truth, |trial| (Verdict::Down, trial.when), Self::held_well)
    }

    /// How long each agent took to hold revived subjects `up`, in seconds.
    pub fn recoveries(&self, truth: &Truth) -> Vec<f64> {
        let down = |this: &Self, subject, agent, at| this.held(subject, agent, at) == Some(Verdict::Down);
        self.times(truth, |trial| (Verdict::Up, Interval { from: trial.when.to, to: SimTime::NEVER }), down)
    }

    fn times(
        &self,
        truth: &Truth,
        of: impl Fn(&Trial) -> (Verdict, Interval),
        before: impl Fn(&Self, Subject, usize, SimTime) -> bool,
    ) -> Vec<f64> {
        let mut times = Vec::new();
        for trial in trials(truth) {
            let (after, when) = of(&trial);
            for agent in 0..self.agents {
                if before(self, trial.subject, agent, when.from)
                    && let Some(at) = self.reached(trial.subject, agent, after, when)
                    && truth.running_throughout(agent, when.from, at)
                {
                    times.push(at.since(when.from).as_secs_f64());
                }
            }
        }
        times.sort_by(f64::total_cmp);
        times
    }

    /// What was detected or recovered too late.
    pub fn late(&self, truth: &Truth) -> Vec<(&'static str, Finding)> {
        let detected = detection::late(truth, self).into_iter().map(|finding| (detection::NAME, finding));
        let recovered = recovery::late(truth, self).into_iter().map(|finding| (recovery::NAME, finding));
        detected.chain(recovered).collect()
    }
}

/// The faults of the plan that make a subject fail for everybody.
pub fn trials(truth: &Truth) -> Vec<Trial> {
    let scenario = &truth.scenario;
    // What is not registered all the while is not watched all the while.
    let registered = |index: usize, when: Interval| scenario.registered_throughout(index, when.from, when.to);
    let targets = scenario.targets.iter().filter(|fault| fault.kills() && registered(fault.instance, fault.when));
    let mut trials: Vec<Trial> = targets
        .map(|fault| Trial { subject: Subject::Instance(fault.instance), when: fault.when, dark: None })
        .collect();
    for crash in &scenario.crashes {
        let dark = Some(crash.agent);
        trials.push(Trial { subject: Subject::Host(crash.agent), when: crash.when, dark });
        let homed = scenario.instances.iter().enumerate().filter(|(_, instance)| instance.home == crash.agent);
        let homed = homed.filter(|(index, _)| !crash.targets_survive && registered(*index, crash.when));
        trials.extend(homed.map(|(index, _)| Trial { subject: Subject::Instance(index), when: crash.when, dark }));
    }
    trials
}

/// When all that is held to a bound has been judged. A run that ended before would pass whatever is still wrong.
pub fn judged_by(truth: &Truth) -> SimTime {
    let deadlines = |trial: Trial| [detection::deadline(truth, &trial), recovery::deadline(truth, &trial)];
    let trials = trials(truth).into_iter().flat_map(deadlines).flatten();
    trials.chain([convergence::plain_from(truth)]).max().unwrap_or(SimTime::START)
}

impl Trial {
    /// Is this the first thing that happens to its subject, in a formed mesh with nothing else wrong from before until `to`?
    pub fn undisturbed(&self, truth: &Truth, from: SimTime, to: SimTime) -> bool {
        let scenario = &truth.scenario;
        let before = from.minus(CALM_BEFORE);
        let meets = |when: Interval| when.meets(before, to);
        let home = match self.subject {
            Subject::Host(agent) => agent,
            Subject::Instance(index) => scenario.instances[index].home,
        };
        let earlier = |when: Interval| when.from < self.when.from;
        let registered = match self.subject {
            Subject::Host(_) => true,
            Subject::Instance(index) => scenario.registered_throughout(index, before, to),
        };
        let same = |fault: &&crate::scenario::TargetFault| self.subject == Subject::Instance(fault.instance);
        // Who has left has taken its instances along.
        self.when.from >= scenario.formed_by
            && truth.member(home, from)
            && registered
            && !scenario.lossy(before, to)
            && !scenario.cuts.iter().any(|cut| cut.when.meets(before, to))
            && !scenario.pauses.iter().any(|(_, when)| meets(*when))
            && !scenario.changes.iter().any(|(_, at)| before <= *at && *at <= to)
            && !scenario.targets.iter().filter(same).any(|fault| earlier(fault.when))
            && !scenario.crashes.iter().any(|crash| {
                let this = self.dark == Some(crash.agent) && crash.when == self.when;
                (!this && meets(crash.when)) || (crash.agent == home && earlier(crash.when))
            })
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;

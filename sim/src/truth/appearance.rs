//! What instances show to whoever probes them.

use super::{Probed, Truth};
use crate::plan::TargetMode;
use crate::time::{SimTime, nanos};
use std::time::Duration;

/// How an instance appears to one observer at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appearance {
    /// It answers as it should.
    Healthy,
    /// Its host refuses.
    Refused,
    /// It accepts and says nothing.
    Hung,
    /// It answers 500.
    Erroring,
    /// Nothing is heard of its host.
    Silent,
    /// It answers as it should, this much later.
    Late(Duration),
    /// It answers as it should, but no more than so many probes in a second.
    Busy(u32),
    /// It answers 503.
    Overloaded,
}

impl Truth {
    /// Is the host of `agent` dark at `at`, so that even its instances are silent?
    pub fn dark(&self, agent: usize, at: SimTime) -> bool {
        self.scenario.crashes.iter().any(|crash| crash.agent == agent && !crash.targets_survive && crash.when.holds(at))
    }

    /// How `instance` appears to `observer` at `at`.
    pub fn appearance(&self, instance: usize, observer: usize, at: SimTime) -> Appearance {
        let home = self.scenario.instances[instance].home;
        if self.dark(home, at) || self.cut(observer, home, at) || self.cut(home, observer, at) {
            return Appearance::Silent;
        }
        let faults = self.scenario.targets.iter();
        let seen = faults.filter(|f| f.instance == instance && f.when.holds(at) && f.seen_by(observer));
        // Of several at a time, one that kills shows.
        let fault = seen.min_by_key(|fault| !fault.kills());
        match fault.map(|fault| (fault.mode, fault)) {
            None => Appearance::Healthy,
            Some((TargetMode::Dead, _)) => Appearance::Refused,
            Some((TargetMode::Hung, _)) => Appearance::Hung,
            Some((TargetMode::Erroring, _)) => Appearance::Erroring,
            Some((TargetMode::Silent, _)) => Appearance::Silent,
            Some((TargetMode::Slow, fault)) => Appearance::Late(fault.answer_after),
            Some((TargetMode::Overloaded, fault)) => Appearance::Busy(fault.probes_per_s),
            Some((TargetMode::Flapping, fault)) => {
                let turn = nanos(at.since(fault.when.from)) / nanos(fault.flap_period).max(1);
                if turn.is_multiple_of(2) { Appearance::Refused } else { Appearance::Healthy }
            }
        }
    }

    /// Is `instance` itself well all the time, apart from the paths to it?
    pub fn well_throughout(&self, instance: usize, from: SimTime, to: SimTime) -> bool {
        let home = self.scenario.instances[instance].home;
        let dark = |crash: &&crate::scenario::Crash| crash.agent == home && !crash.targets_survive;
        !self.scenario.crashes.iter().filter(dark).any(|crash| crash.when.meets(from, to))
            && !self.scenario.targets.iter().any(|f| f.instance == instance && f.when.meets(from, to))
    }

    /// The same, and did no probe of it fail either? One may on a path that is slower than the check allows.
    pub fn seen_well_throughout(&self, instance: usize, from: SimTime, to: SimTime) -> bool {
        let failed = |p: Probed| !p.passed && p.finished >= from && p.finished <= to;
        self.well_throughout(instance, from, to)
            && !(0..self.agents()).any(|observer| self.probes(observer, instance).any(failed))
    }

    /// Could `observer` reach a well `instance` all the time, and did none of its probes fail?
    pub fn reaches_throughout(&self, observer: usize, instance: usize, from: SimTime, to: SimTime) -> bool {
        let home = self.scenario.instances[instance].home;
        let faulty = |f: &&crate::scenario::TargetFault| f.instance == instance && f.seen_by(observer);
        let dark = |crash: &&crate::scenario::Crash| crash.agent == home && !crash.targets_survive;
        self.awake_throughout(observer, from, to)
            && !self.scenario.unsound(observer, from, to)
            && self.path_clear(observer, home, from, to)
            && !self.scenario.crashes.iter().filter(dark).any(|crash| crash.when.meets(from, to))
            && !self.scenario.targets.iter().filter(faulty).any(|fault| fault.when.meets(from, to))
            && !self.probes(observer, instance).any(|p| !p.passed && p.finished >= from && p.finished <= to)
    }
}

//! What came of the calls of a run, to compare ways of guarding them.

use crate::time::SimTime;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Trials are counted over this time for the peak.
const PEAK_OVER: Duration = Duration::from_millis(100);

/// Of one entry of a plan's calls.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// Calls let through.
    pub admitted: u64,
    /// Of these, calls that failed: doomed.
    pub doomed: u64,
    /// Calls rejected.
    pub rejected: u64,
    /// Of these, calls that would have been served.
    pub rejected_well: u64,
    /// Calls as trials.
    pub trials: u64,
    /// Most trials within a tenth of a second.
    pub trials_peak: usize,
    /// The last call that was rejected.
    pub last_rejected: Option<SimTime>,
    recent: VecDeque<SimTime>,
}

/// By the number of the entry.
#[derive(Debug, Clone, Default)]
pub struct CallTally {
    /// Each.
    pub by_calls: BTreeMap<usize, Counted>,
}

impl CallTally {
    /// A call was let through; `well`: it will be served.
    pub fn admitted(&mut self, now: SimTime, number: usize, trial: bool, well: bool) {
        let counted = self.by_calls.entry(number).or_default();
        counted.admitted += 1;
        counted.doomed += u64::from(!well);
        if trial {
            counted.trials += 1;
            counted.recent.push_back(now);
            while counted.recent.front().is_some_and(|at| now.since(*at) > PEAK_OVER) {
                counted.recent.pop_front();
            }
            counted.trials_peak = counted.trials_peak.max(counted.recent.len());
        }
    }

    /// A call was rejected; `well`: it would have been served.
    pub fn rejected(&mut self, now: SimTime, number: usize, well: bool) {
        let counted = self.by_calls.entry(number).or_default();
        counted.rejected += 1;
        counted.rejected_well += u64::from(well);
        counted.last_rejected = Some(now);
    }
}

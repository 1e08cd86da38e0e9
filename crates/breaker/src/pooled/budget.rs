//! Trials of a whole mesh: a few callers at a time try a callee that is open for all, chosen without asking anyone.
//!
//! Each caller ranks all of them by rendezvous hash of (callee, epoch, window); the first few hold the trial places of this window, and the
//! next window draws anew. So the number of trials does not grow with the number of callers. In a partition each component tries with
//! its own budget; two callers that disagree about who is there, or about the window at its border, may both try.

use quorate_core::{AgentId, hash};
use std::collections::BTreeMap;

/// How many may try at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Callers that may try a callee in one window, with one call each. At least 1.
    pub trials: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { trials: 3 }
    }
}

/// Windows after which a caller whose trial nobody has confirmed or gainsaid goes by it.
pub const PATIENCE: u64 = 3;

/// What the trials of an attempt say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialsSay {
    /// Nothing yet.
    Undecided,
    /// It has recovered: [`Event::PeersRecovered`](crate::Event::PeersRecovered).
    Recovered,
    /// It still fails: [`Event::PeersOpened`](crate::Event::PeersOpened), and a longer wait.
    StillFailing,
}

impl Budget {
    /// Who may try `callee` (a hash of its name) in `window` of the outage numbered `epoch`, out of `callers`: those for whom it is open and
    /// whom one can hear. The first of the order comes first.
    #[must_use]
    pub fn holders(&self, callee: u64, epoch: u64, window: u64, callers: &[AgentId]) -> Vec<AgentId> {
        let mut ranked: Vec<_> =
            callers.iter().map(|agent| (hash::mix(&[callee, epoch, window, agent.0]), *agent)).collect();
        ranked.sort_unstable();
        ranked.dedup();
        ranked.into_iter().take(self.trials.max(1)).map(|(_, agent)| agent).collect()
    }

    /// What the trials of one attempt say, over however many windows they were made, when `callers` may try: more than half of the places that
    /// one window has must agree, each caller having one voice, so that one caller with trouble of its own can neither keep a callee open for
    /// all nor close it for all.
    #[must_use]
    pub fn tally(&self, callers: usize, reports: &BTreeMap<AgentId, bool>) -> TrialsSay {
        let places = self.trials.max(1).min(callers);
        let served = reports.values().filter(|served| **served).count();
        let failed = reports.len() - served;
        match (served * 2 > places && served > failed, failed * 2 > places) {
            (true, _) => TrialsSay::Recovered,
            (false, true) => TrialsSay::StillFailing,
            (false, false) => TrialsSay::Undecided,
        }
    }

    /// What the trials of an attempt say to a caller whose own came to `own`, after so many windows. Where too few others try, or one of two
    /// fails, no two agree: then whoever has tried goes by its own trial, which ends or prolongs nobody else's outage.
    #[must_use]
    pub fn tally_for(
        &self,
        own: Option<bool>,
        windows: u64,
        callers: usize,
        reports: &BTreeMap<AgentId, bool>,
    ) -> TrialsSay {
        match (self.tally(callers, reports), own) {
            (TrialsSay::Undecided, Some(true)) if windows >= PATIENCE => TrialsSay::Recovered,
            (TrialsSay::Undecided, Some(false)) if windows >= PATIENCE => TrialsSay::StillFailing,
            (said, _) => said,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callers(n: u64) -> Vec<AgentId> {
        (0..n).map(|n| AgentId(hash::spread(n))).collect()
    }

    #[test]
    fn a_thousand_callers_try_no_more_often_than_ten() {
        let budget = Budget::default();
        for n in [1, 2, 3, 10, 1_000] {
            let all = callers(n);
            let holders = budget.holders(7, 1, 1, &all);
            assert_eq!(holders.len() as u64, n.min(3));
            let mut shuffled = all.clone();
            shuffled.reverse();
            assert_eq!(budget.holders(7, 1, 1, &shuffled), holders, "everyone comes to the same answer");
        }
    }

    #[test]
    fn places_rotate_and_are_spread_evenly() {
        let (budget, all) = (Budget::default(), callers(20));
        let mut held: BTreeMap<AgentId, u32> = BTreeMap::new();
        for window in 0..4_000 {
            budget.holders(7, 1, window, &all).into_iter().for_each(|agent| *held.entry(agent).or_default() += 1);
        }
        // 600 expected each; five standard deviations of a binomial with p = 0.15 are 113.
        assert!(held.len() == 20 && held.values().all(|count| (487..=713).contains(count)), "{held:?}");
    }

    #[test]
    fn who_drops_out_moves_only_its_own_place() {
        let (budget, all) = (Budget::default(), callers(50));
        let before = budget.holders(7, 1, 9, &all);
        let left: Vec<_> = all.into_iter().filter(|agent| *agent != before[1]).collect();
        let after = budget.holders(7, 1, 9, &left);
        assert_eq!((after[0], after[1]), (before[0], before[2]));
    }

    #[test]
    fn trials_add_up_over_windows() {
        let (budget, agents) = (Budget::default(), callers(5));
        let say = |callers, reports: &[(usize, bool)]| {
            budget.tally(callers, &reports.iter().map(|(n, served)| (agents[*n], *served)).collect())
        };
        assert_eq!(say(1_000, &[(0, true)]), TrialsSay::Undecided);
        assert_eq!(say(1_000, &[(0, true), (1, true)]), TrialsSay::Recovered);
        assert_eq!(
            say(1_000, &[(0, true), (1, false), (2, true)]),
            TrialsSay::Recovered,
            "one bad caller keeps nothing open"
        );
        assert_eq!(say(1_000, &[(0, false), (1, false), (2, true)]), TrialsSay::StillFailing);
        assert_eq!(say(1, &[(0, true)]), TrialsSay::Recovered, "the only caller decides");
        assert_eq!(say(2, &[(0, true), (1, false)]), TrialsSay::Undecided);
    }

    #[test]
    fn whoever_nobody_agrees_with_goes_by_its_own_trial_in_the_end() {
        let (budget, agents) = (Budget::default(), callers(2));
        let reports: BTreeMap<_, _> = [(agents[0], true), (agents[1], false)].into();
        let say = |own, windows| budget.tally_for(own, windows, 3, &reports);
        assert_eq!(say(Some(true), PATIENCE - 1), TrialsSay::Undecided);
        assert_eq!(say(Some(true), PATIENCE), TrialsSay::Recovered);
        assert_eq!(say(Some(false), PATIENCE), TrialsSay::StillFailing);
        assert_eq!(say(None, 100), TrialsSay::Undecided, "another's alone moves nobody");
        let agreed: BTreeMap<_, _> = agents.iter().map(|agent| (*agent, true)).collect();
        assert_eq!(budget.tally_for(None, 0, 3, &agreed), TrialsSay::Recovered);
    }
}

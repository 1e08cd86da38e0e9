//! How an agent that has just started learns what it missed: from a few of the others, who would all send it the same.

use super::Engine;
use super::recovery::PATIENCE_WITHOUT;
use quorate_core::{AgentId, Mono};
use rand::seq::IndexedRandom;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Comparisons that an agent begins, and as many that it takes part in, at a time while it has not caught up.
const FIRST_SYNCS: usize = 3;
/// One that takes longer is not waited for.
const FIRST_SYNC_LIFE: Duration = Duration::from_secs(2);

impl Engine {
    /// Those of `syncs` that may still bring something.
    fn open_among(&self, syncs: &BTreeMap<AgentId, Mono>) -> Vec<AgentId> {
        let open = |(agent, at): &(&AgentId, &Mono)| {
            let lately = self.now.mono.since(**at) < FIRST_SYNC_LIFE;
            lately && self.links.contains(*agent) && !self.compared_with.contains(*agent)
        };
        syncs.iter().filter(open).map(|(agent, _)| *agent).collect()
    }

    /// May a comparison with `agent` be begun? All of those whom an agent meets at its start would tell it the same.
    pub(super) fn has_room_for_sync(&self, agent: AgentId) -> bool {
        self.synced || {
            let open = self.open_among(&self.sync_began);
            open.len() < FIRST_SYNCS || open.contains(&agent)
        }
    }

    /// Compares notes with further ones that are within reach, until this agent has caught up, or waits for the roster alone.
    pub(super) fn begin_first_syncs(&mut self) {
        if self.synced || self.sync_pending.is_some() {
            return;
        }
        let begun =
            |agent: &AgentId| self.sync_began.get(agent).is_some_and(|at| self.now.mono.since(*at) < FIRST_SYNC_LIFE);
        let reached: BTreeSet<_> = self.links.iter().copied().chain(self.swim.active()).collect();
        let next = reached.into_iter().filter(|agent| !begun(agent) && !self.compared_with.contains(agent));
        let next: Vec<_> = next.collect();
        if !next.is_empty() {
            // Who does not answer by then is not waited for.
            self.next_sync = self.next_sync.min(self.now.mono + FIRST_SYNC_LIFE);
        }
        next.sample(&mut self.rng, FIRST_SYNCS).for_each(|agent| self.begin_sync(*agent));
    }

    /// Is `from` to be answered, which compares notes? Whoever sees this agent again does, at once.
    pub(super) fn accepts_sync(&mut self, from: AgentId) -> bool {
        if self.synced {
            return true;
        }
        let open = self.open_among(&self.syncs_accepted);
        let accepts = open.contains(&from) || open.len() < FIRST_SYNCS;
        if accepts {
            self.syncs_accepted.retain(|agent, _| open.contains(agent));
            self.syncs_accepted.insert(from, self.now.mono);
        }
        accepts
    }

    /// Notes have been compared with `from`. That is enough when it has caught up itself. After the whole mesh was down nobody has: then it
    /// takes a majority of the roster that was stored. Two newcomers cannot vouch for each other; but where none of a majority has caught up for so long that
    /// a lost disk would be made do without, none will.
    pub(super) fn sync_done(&mut self, from: AgentId, caught_up: bool) {
        if !self.members.contains(&from) {
            return;
        }
        if self.roster.epoch() == 0 {
            // The roster itself is still on its way.
            if !self.sync_pending.is_some_and(|(_, caught_up)| caught_up) {
                self.sync_pending = Some((from, caught_up));
            }
            return;
        }
        if !self.synced {
            self.compared_with.insert(from);
            let compared = self.compared_with.iter().filter(|agent| self.roster.contains(**agent)).count();
            let now = self.now.mono;
            let waited = now.since(*self.compared_since.get_or_insert(now)) >= PATIENCE_WITHOUT;
            // Who counts alone is told by others that it does, or that it does not.
            let stored = (self.stored_roster > 1 || waited && compared > 0) && self.roster.majority(compared + 1);
            if !(caught_up || stored) {
                self.begin_first_syncs();
                return;
            }
            self.synced = true;
            self.tell_own();
            self.epochs.dirty = true;
            self.settle_until = self.now.mono + self.config.timing.settle;
            self.assign_all = true;
            self.evaluate_all = true;
            self.view_dirty = true;
        }
    }

    /// The roster has arrived: what was compared before it counts now.
    pub(super) fn sync_pending(&mut self) {
        if let Some((from, caught_up)) = self.sync_pending.take() {
            self.sync_done(from, caught_up);
        }
    }
}

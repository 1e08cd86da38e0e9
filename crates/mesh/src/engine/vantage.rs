//! Is this agent in a position to accuse others? It is when it reaches more than half of the roster now, and was not held up.

use super::Engine;
use super::instance::Instance;
use crate::api::EventKind;
use crate::sabotage::Defect;
use quorate_core::Mono;
use std::collections::BTreeSet;
use std::time::Duration;

/// A roll call that succeeded says for this long, better than membership, that this agent is quorate.
const QUORATE_LIFE: Duration = Duration::from_secs(3);

/// When membership finds no more of the roster than this, in percent, each further failure is a reason to call the roll.
const THIN_PERCENT: usize = 75;

/// Remote instances, on how many hosts that answer, must be watched before failing nearly all of them at once points to ourselves.
const IMPAIRED_MIN_INSTANCES: usize = 6;
const IMPAIRED_MIN_HOSTS: usize = 3;
const IMPAIRED_PERCENT: usize = 80;

/// What this agent may say of others now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vantage {
    /// It reaches more than half of the roster.
    Valid,
    /// It was found not to.
    Isolated,
    /// That is not known; a roll call is needed.
    Unknown,
}

impl Engine {
    /// Was this agent held up? Then what it believes of this moment is not worth much.
    pub(super) fn notice_stall(&mut self, mono: Mono) {
        let late = mono.since(self.next_wakeup());
        if late <= self.config.timing.stall_threshold || self.defective(Defect::StallUnnoticed) {
            return;
        }
        self.stats.stalls += 1;
        self.now.mono = mono;
        self.stalled_at = Some(mono);
        self.settle_until = self.settle_until.max(mono + self.config.timing.settle);
        self.roll.interrupt();
        self.forget_running_pings();
        for id in std::mem::take(&mut self.awaiting_roll) {
            if let Some(watch) = self.instances.get_mut(&id).and_then(|instance| instance.watch.as_mut()) {
                watch.pending_fail = None;
            }
        }
        self.evaluate_all = true;
        self.event(EventKind::Stalled { late_ms: u64::try_from(late.as_millis()).unwrap_or(u64::MAX) });
    }

    /// May this agent decide anything: has it caught up since its start, a stall, or a heal?
    pub(super) fn settled(&self) -> bool {
        self.caught_up() && self.now.mono >= self.settle_until && self.leaving.is_none()
    }

    /// Does it know the mesh: has it compared notes since its start, or is it alone in its mesh?
    pub(super) fn caught_up(&self) -> bool {
        self.synced
    }

    /// Whose stored roster holds nobody else, as a founder's does that has met nobody yet, and to whom nobody has spoken while it settled, is alone; so
    /// it is when all who have are newcomers, who know of no later epoch: they wait for it to let them in.
    fn notice_solitude(&mut self) {
        let alone = self.began_alone() && self.roster.iter().eq([self.me()]);
        if self.synced || !alone || self.now.mono < self.settle_until {
            return;
        }
        let spoken = self.contacts.iter().chain(&self.links).chain(&self.members);
        let mut others = spoken.copied().filter(|agent| *agent != self.me());
        self.synced = if self.expects_members {
            self.members.len() > 1 && others.all(|agent| self.is_newcomer(agent))
        } else {
            self.members.len() == 1
        };
    }

    /// Did it start as its whole mesh: to found one, or as the last that was left of one?
    pub(super) fn began_alone(&self) -> bool {
        self.config.founder || self.stored_roster == 1
    }

    pub(super) fn vantage(&self) -> Vantage {
        let fresh = |started: Mono| {
            self.now.mono.since(started) < self.config.timing.roll_call_life
                && self.stalled_at.is_none_or(|at| started >= at)
        };
        match (&self.roll.current, &self.roll.last) {
            _ if self.defective(Defect::NoRollCall) => Vantage::Valid,
            _ if !self.stands_by_epoch() => Vantage::Unknown,
            (Some(call), _) if call.quorate && fresh(call.started) => Vantage::Valid,
            (_, Some(last)) if fresh(last.started) && !last.between => {
                if last.quorate {
                    Vantage::Valid
                } else {
                    Vantage::Isolated
                }
            }
            // Found too few: so it stays until it is called again.
            (None, Some(last)) if !(last.quorate || last.between) => Vantage::Isolated,
            _ => Vantage::Unknown,
        }
    }

    /// Do nearly all remote instances fail although their hosts' agents answer? Then the fault is likely this host's own.
    pub(super) fn impaired(&self) -> bool {
        let remote =
            |instance: &&Instance| !instance.is_host() && instance.home != self.me() && self.heard(instance.home);
        let watched: Vec<_> =
            self.instances.values().map(Box::as_ref).filter(|i| i.watch.is_some()).filter(remote).collect();
        let hosts: BTreeSet<_> = watched.iter().map(|instance| instance.home).collect();
        let silent = watched.iter().filter(|i| i.watch.as_ref().is_some_and(|watch| watch.failures > 0)).count();
        watched.len() >= IMPAIRED_MIN_INSTANCES
            && hosts.len() >= IMPAIRED_MIN_HOSTS
            && silent * 100 >= watched.len() * IMPAIRED_PERCENT
    }

    /// Have roll calls found enough since `moment`, each soon after the one before?
    pub(super) fn vouched_for(&self, moment: Mono) -> bool {
        self.defective(Defect::NoRollCall)
            || self.vantage() == Vantage::Valid && self.roll.enough_since.is_some_and(|since| since <= moment)
    }

    /// This agent is part of a formed mesh, as if it had called the roll.
    pub(super) fn vouch(&mut self) {
        self.roll.vouched = true;
    }

    /// Does this agent belong to the side that may decide? Not before it knows the roster, and a roll call since its start has found enough: its
    /// first table of members is hearsay. Then by the last roll call while it speaks of this moment, else by membership.
    pub(super) fn quorate(&self) -> bool {
        match &self.roll.last {
            _ if !self.caught_up() || !self.roster.contains(self.me()) => false,
            _ if self.defective(Defect::RosterReachable) => true,
            _ if !self.roll.vouched && !self.defective(Defect::NoRollCall) => false,
            Some(last) if !last.quorate && !last.between => false,
            Some(last) if last.quorate && self.now.mono.since(last.started) < QUORATE_LIFE => true,
            _ => self.roster.majority(self.reached),
        }
    }

    /// Whatever waited for this agent to settle can go on.
    pub(super) fn watch_settled(&mut self) {
        self.notice_solitude();
        let settled = self.settled();
        if settled != self.was_settled {
            self.was_settled = settled;
            self.assign_all = true;
            self.evaluate_all = true;
        }
    }

    /// Membership takes long to find that half of a large mesh is out of reach. While more and more of it fails, a roll call tells at once.
    fn watch_thinning(&mut self, quorate: bool) {
        let (reached, all) = (self.reached, self.roster.len());
        self.roll.reached = self.roll.reached.max(reached);
        let thin = reached * 100 <= all * THIN_PERCENT;
        if quorate && thin && reached < self.roll.reached && !self.roll.began_within(QUORATE_LIFE, self.now.mono) {
            self.roll.reached = reached;
            self.call_roll();
        }
    }

    pub(super) fn watch_quorate(&mut self) {
        let quorate = self.quorate();
        let due = !self.roll.vouched && self.roll.last.is_none();
        if due && self.caught_up() && self.stands_by_epoch() && self.roster.majority(self.reached) {
            self.call_roll();
        }
        self.watch_thinning(quorate);
        if quorate == self.was_quorate {
            return;
        }
        self.was_quorate = quorate;
        self.quorate_since = self.now.wall;
        self.assign_all = true;
        self.evaluate_all = true;
        if quorate {
            self.settle_until = self.settle_until.max(self.now.mono + self.config.timing.settle);
            self.roll.regained_at = self.now.mono;
            self.doubt_own_failures();
        }
        self.epochs.dirty = true;
        let (alive, roster) = (self.reached, self.roster.len());
        self.event(EventKind::Quorate { quorate, alive, roster });
    }
}

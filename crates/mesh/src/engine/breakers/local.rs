//! The breakers of this host: what they report, and what they are told.

use super::{Engine, Outage, limits};
use crate::api::Output;
use crate::breakers::{BreakerKey, BreakerReport, BreakerState, CallCounts};
use crate::engine::breakers::outages::Phase;
use quorate_breaker::{Event, Mode};
use quorate_core::Mono;
use quorate_wire::BreakerDigest;
use std::time::Duration;

/// The last seconds are kept in slots of this length.
const SLOT: Duration = Duration::from_millis(500);
const SLOTS: usize = 4;
/// Failures in a row that are worth an accusation whatever came before.
const STREAK: u32 = 2;

/// A breaker of this host.
#[derive(Debug)]
pub(in crate::engine) struct Local {
    slots: [CallCounts; SLOTS],
    slot: u64,
    /// Failures since the last success.
    streak: CallCounts,
    streak_at: Mono,
    /// Failures in a row that were last reported, and how many of those an outage has begun or ended with.
    row: u32,
    spent: u32,
    /// What is counted because others accuse it.
    pub asked: Option<Asked>,
    pub state: BreakerState,
    pub used_at: Mono,
    /// When it is next considered whether it is still used.
    used_due: Mono,
    /// What was last told of it, and when.
    pub told: Option<(Mono, BreakerDigest)>,
    /// Is that its first answer to an accusation?
    pub answers_first: bool,
    /// What this agent had to say when the breaker opened. It is told with the opening: others may still need it for the same conclusion.
    pub last_words: Option<(CallCounts, bool)>,
    /// What it was last told.
    pub given: Given,
    pub mode: Mode,
    /// Outage and attempt for which it was last lent a place.
    lent: Option<(u64, u32)>,
    /// Its trial of the present attempt.
    pub trial: Option<bool>,
}

/// Calls that ended since others were heard to accuse it, whatever came of them.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Asked {
    /// When it was last accused.
    pub accused_at: Mono,
    since: Mono,
    counts: CallCounts,
}

impl Asked {
    pub fn new(now: Mono) -> Self {
        Self { accused_at: now, since: now, counts: CallCounts::default() }
    }

    /// Counts more of them; `recent` are those of the last seconds with these. While all are served there is no reason to begin anew: only what was
    /// served before must not make light of what fails now.
    fn count(&mut self, more: &CallCounts, recent: CallCounts, now: Mono) {
        let served = self.counts.failed() == 0;
        if now.since(self.since) <= limits::ANSWER_SPAN || (served && more.failed() == 0) {
            self.counts = self.counts.plus(more);
        } else {
            (self.since, self.counts) = (now, if served { recent } else { *more });
        }
    }
}

/// What a breaker of this host was told to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Given {
    /// By its own evidence and its own clock.
    Free,
    /// Open, as long as the verdict is down.
    Held,
    /// Open, in the mesh's hands.
    Shared,
    /// It may try once, in this window.
    Lent(u64),
    /// Ramping up with all others.
    Ramping,
}

impl Local {
    fn new(now: Mono) -> Self {
        Self {
            slots: [CallCounts::default(); SLOTS],
            slot: 0,
            streak: CallCounts::default(),
            streak_at: now,
            row: 0,
            spent: 0,
            asked: None,
            state: BreakerState::Closed,
            used_at: now,
            used_due: now + limits::USED_LIFE,
            told: None,
            answers_first: false,
            last_words: None,
            given: Given::Free,
            mode: Mode::Automatic,
            lent: None,
            trial: None,
        }
    }

    fn count(&mut self, report: &BreakerReport, now: Mono) {
        let slot = now.0 / SLOT.as_nanos() as u64;
        let passed = usize::try_from(slot.saturating_sub(self.slot)).unwrap_or(SLOTS).min(SLOTS);
        self.slots.rotate_right(passed);
        self.slots[..passed].fill(CallCounts::default());
        self.slot = slot;
        self.slots[0] = self.slots[0].plus(&report.counts);
        let reported = report.failures_in_row.min(CallCounts::MAX);
        if reported < self.row {
            self.spent = 0;
        }
        self.row = reported;
        let row = reported - self.spent;
        let silent = report.counts.silent > report.counts.answered
            || (report.counts.failed() == 0 && self.streak.silent > self.streak.answered);
        let (answered, silent) = if silent { (0, row) } else { (row, 0) };
        self.streak = CallCounts { calls: row, answered, silent, slow: 0 };
        if report.counts.calls > 0 {
            self.streak_at = now;
            self.used_at = now;
        }
        let recent = self.recent(now);
        if let Some(asked) = &mut self.asked {
            asked.count(&report.counts, recent, now);
        }
    }

    /// Calls of the last two seconds.
    pub fn recent(&self, now: Mono) -> CallCounts {
        let age = usize::try_from((now.0 / SLOT.as_nanos() as u64).saturating_sub(self.slot)).unwrap_or(SLOTS);
        self.slots.iter().take(SLOTS.saturating_sub(age)).fold(CallCounts::default(), |sum, slot| sum.plus(slot))
    }

    fn streak(&self, now: Mono) -> CallCounts {
        if now.since(self.streak_at) < limits::STREAK_LIFE { self.streak } else { CallCounts::default() }
    }

    /// Is this a reason to accuse: failures in a row, few calls having gone before or many failures?
    pub fn accuses(&self, now: Mono) -> bool {
        let (streak, recent) = (self.streak(now), self.recent(now));
        streak.calls >= STREAK || (streak.calls > 0 && recent.failed() * 2 >= recent.calls)
    }

    /// What this agent has to say of its own calls, and whether that answers others: calls since it was asked, of which, if all failed, those in a
    /// row before count too.
    pub fn testimony(&self, now: Mono) -> Option<(CallCounts, bool)> {
        let streak = self.streak(now);
        match self.asked {
            Some(Asked { counts, .. }) if counts.calls > 0 => Some((counts, true)),
            Some(_) | None if self.accuses(now) => Some((streak, false)),
            Some(_) | None => None,
        }
    }

    /// What was counted before an outage, or its end, says nothing after.
    pub fn begin_anew(&mut self) {
        self.slots = [CallCounts::default(); SLOTS];
        self.streak = CallCounts::default();
        self.spent = self.row;
        self.asked = None;
        self.trial = None;
        self.last_words = None;
    }
}

impl Engine {
    pub(super) fn take_report(&mut self, report: BreakerReport) {
        let now = self.now.mono;
        let known = self.breakers.local.contains_key(&report.key);
        if report.key.instance.host_of().is_some() || (!known && self.breakers.local.len() >= limits::MAX_LOCAL) {
            self.stats.limits_hit += 1;
            return;
        }
        if !report.counts.is_bounded() {
            self.stats.packets_refused += 1;
            return;
        }
        let mode = self.breakers.words.mode(&report.key, now);
        let outage = self.breakers.outages.get(&report.key);
        let (trying, spared) = (outage.and_then(Outage::trying), outage.is_some_and(|outage| outage.spared));
        let local = self.breakers.local.entry(report.key.clone()).or_insert_with(|| Local::new(now));
        // A word that says nothing else says that calls are rejected: it is used.
        if known && report.counts.calls == 0 && report.trial.is_none() && report.state == local.state {
            local.used_at = now;
        } else {
            local.count(&report, now);
        }
        local.state = report.state;
        if !known && report.state == BreakerState::Open && report.counts.calls == 0 {
            // It began so, by a picture of the mesh that may be over by now.
            local.given = Given::Shared;
        }
        // A trial may take longer than its window: it counts as long as its attempt lasts.
        if trying.is_some() && trying == local.lent {
            local.trial = report.trial.or(local.trial);
        }
        // Who is spared calls as ever, and is lent no place: the first calls of an attempt are its trial, or nobody would find that the outage is over.
        if trying.is_some() && spared && local.trial.is_none() && report.counts.calls > 0 {
            local.trial = Some(report.counts.failed() * 2 < report.counts.calls);
        }
        if !known {
            local.mode = mode;
            self.breakers.later(now + limits::USED_LIFE, &report.key);
            // It may have begun in another mode, by a picture of the mesh that is over.
            self.out.push_back(Output::Breaker { key: report.key.clone(), event: Event::Mode(mode) });
        }
        self.breakers.dirty.insert(report.key);
    }

    /// What nobody on this host has asked for in long is forgotten, unless it is open or something is left to say of it.
    pub(super) fn forget_unused(&mut self, key: &BreakerKey) {
        let now = self.now.mono;
        let outage = self.breakers.outages.contains_key(key);
        let Some(local) = self.breakers.local.get_mut(key).filter(|local| local.used_due <= now) else { return };
        let used = now.since(local.used_at) < limits::USED_LIFE;
        let idle = local.state != BreakerState::Open && local.mode == Mode::Automatic && local.told.is_none();
        if used || outage || !idle {
            let due = if used { local.used_at } else { now } + limits::USED_LIFE;
            local.used_due = due;
            self.breakers.later(due, key);
        } else {
            self.breakers.local.remove(key);
        }
    }

    /// Is a breaker of this host one that it still uses?
    pub(super) fn uses(&self, key: &BreakerKey) -> bool {
        let local = self.breakers.local.get(key);
        local.is_some_and(|local| self.now.mono.since(local.used_at) < limits::USED_LIFE)
    }

    /// Tells a breaker of this host what follows from the outage it is in, if that differs from what it was told last.
    pub(super) fn give_orders(&mut self, key: &BreakerKey) {
        let Some(given) = self.breakers.local.get(key).map(|local| local.given) else { return };
        let wanted = self.owed(key);
        let steps: &[Event] = match (given, wanted) {
            _ if given == wanted => return,
            (_, Given::Held) => &[Event::VerdictDown],
            (Given::Lent(_), Given::Shared) => &[Event::TrialWithdrawn],
            (_, Given::Shared) => &[Event::PeersOpened],
            (Given::Shared, Given::Lent(_)) => &[Event::TrialGranted],
            // Whoever keeps its place keeps its trial, too, if that is still under way.
            (Given::Lent(_), Given::Lent(_)) => &[Event::TrialGranted],
            (_, Given::Lent(_)) => &[Event::PeersOpened, Event::TrialGranted],
            // Out of the mesh's hands as into the ramp: what was taken away comes back by and by.
            (Given::Held, Given::Ramping | Given::Free) => &[Event::PeersOpened, Event::PeersRecovered],
            (Given::Shared | Given::Lent(_), Given::Ramping | Given::Free) => &[Event::PeersRecovered],
            (Given::Free | Given::Ramping, Given::Ramping | Given::Free) => &[],
        };
        for event in steps {
            self.out.push_back(Output::Breaker { key: key.clone(), event: *event });
        }
        let trying = self.breakers.outages.get(key).and_then(Outage::trying);
        if let Some(local) = self.breakers.local.get_mut(key) {
            local.given = wanted;
            if let Given::Lent(_) = wanted {
                local.lent = trying;
            }
        }
    }

    fn owed(&self, key: &BreakerKey) -> Given {
        let Some(outage) = self.breakers.outages.get(key) else { return Given::Free };
        match outage.phase {
            Phase::Ramping { .. } => Given::Ramping,
            Phase::Held => Given::Held,
            _ if outage.spared => Given::Free,
            Phase::Waiting { .. } => Given::Shared,
            Phase::Trying { since } => {
                let window = outage.window(since, self.now.mono);
                if self.seats(key).contains(&self.me()) { Given::Lent(window) } else { Given::Shared }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::{InstanceId, ServiceName};

    #[test]
    fn failures_in_a_row_are_spent_with_the_outage_they_led_to() {
        let mut local = Local::new(Mono(0));
        let reports = |local: &mut Local, at: u64, calls, answered, failures_in_row| {
            let (service, instance) = (ServiceName::new("api").unwrap(), InstanceId::new("api@1").unwrap());
            let counts = CallCounts { calls, answered, ..CallCounts::default() };
            let (state, trial) = (BreakerState::Closed, None);
            let report = BreakerReport { key: BreakerKey { service, instance }, counts, failures_in_row, state, trial };
            local.count(&report, Mono(at * 1_000_000_000));
            local.accuses(Mono(at * 1_000_000_000))
        };
        assert!(reports(&mut local, 1, 3, 3, 3));
        local.begin_anew();
        assert!(!reports(&mut local, 6, 0, 0, 3), "it says only that it is closed");
        assert!(reports(&mut local, 7, 2, 2, 5), "two more");
        local.begin_anew();
        assert!(!reports(&mut local, 12, 1, 0, 0));
        assert!(reports(&mut local, 13, 2, 2, 2), "a success has come between");
    }
}

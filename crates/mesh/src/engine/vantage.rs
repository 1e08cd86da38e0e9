//! Is this agent in a position to accuse others? It is when it reaches more than half of the roster now, and was not held up.

use super::Engine;
use crate::api::{EventKind, Output, Ticket};
use crate::sabotage::Defect;
use quorate_core::{AgentId, Mono};
use quorate_wire::Packet;
use rand::seq::IteratorRandom;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// While the last roll call found too few, it is called again this often; in a large mesh each time after twice the wait, up to the longest.
const RECALL: Duration = Duration::from_secs(1);
const RECALL_LONGEST: Duration = Duration::from_secs(5);
/// The same while nobody else has been heard since: it would find as few, at the price of a packet to everyone.
const RECALL_HOPELESS: Duration = Duration::from_secs(15);
const LARGE: usize = 65;
/// In a roster with more others than this, so many are drawn and asked first.
const SAMPLE: usize = 64;
/// So many answers of them are enough. Of a caller that reaches no majority at most half of the others would answer, and so many of those drawn with a
/// probability below 3e-10: the tail of the hypergeometric distribution (`a_sample_does_not_mislead`). With fewer everyone is asked.
const SAMPLE_ENOUGH: usize = 56;
/// The wait after a roll call that met members between two epochs.
const RECALL_BETWEEN: Duration = Duration::from_millis(50);
/// Who missed a roll call is not heard for this long.
const MISSED_LIFE: Duration = Duration::from_secs(2);
/// A roll call that succeeded says for this long, better than membership, that this agent is quorate.
const QUORATE_LIFE: Duration = Duration::from_secs(3);
/// So many roll calls in a row may leave a ticket unanswered: five seconds' worth.
const MAX_POSTPONED: u32 = 16;
/// Tickets waiting for a roll call.
const MAX_TICKETS: usize = 64;

/// The running roll call and the last one.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    current: Option<Call>,
    last: Option<Outcome>,
    tickets: Vec<Ticket>,
    /// Roll calls in a row that met members between two epochs.
    postponed: u32,
    /// Roll calls in a row that found too few.
    failed: u32,
    /// Has any found enough since the start?
    vouched: bool,
    /// When the first of the roll calls in a row began that found enough, none of them longer after the one before than such a finding holds.
    enough_since: Option<Mono>,
    /// Has anyone been heard who missed the last one?
    hope: bool,
    /// When whoever missed the last roll call is given the benefit of the doubt again.
    fades: Option<Mono>,
    /// When those are whose hosts were found down a moment ago.
    losses_fade: Option<Mono>,
    /// When each agent was last heard, whatever it said.
    heard_at: BTreeMap<AgentId, Mono>,
}

#[derive(Debug)]
struct Call {
    nonce: u64,
    started: Mono,
    /// When those were asked who are being waited for.
    asked_at: Mono,
    /// Who was drawn and asked; `None` when everyone was.
    sample: Option<BTreeSet<AgentId>>,
    answered: BTreeSet<AgentId>,
    /// Who answered by another epoch, or between two: they may count in a moment.
    undecided: BTreeSet<AgentId>,
    quorate: bool,
    /// Have those who did not answer been asked again?
    repeated: bool,
}

#[derive(Debug)]
struct Outcome {
    started: Mono,
    /// Who was asked; `None` for everyone.
    sample: Option<BTreeSet<AgentId>>,
    answered: BTreeSet<AgentId>,
    quorate: bool,
    /// Would it be, if those between two epochs counted? Then it says nothing, and is repeated at once.
    between: bool,
}

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

impl Roll {
    /// Notes that an agent of the roster has spoken.
    pub fn hear(&mut self, agent: AgentId, now: Mono) {
        self.heard_at.insert(agent, now);
        self.hope |= self.last.as_ref().is_some_and(|last| !last.quorate && !last.answered.contains(&agent));
    }

    /// Notes that an agent whose host was found down is not heard until then.
    pub fn lose(&mut self, until: Mono) {
        self.losses_fade = self.losses_fade.max(Some(until));
    }

    /// Has a host been found down a moment ago? Mostly not, and then nobody needs to be looked up.
    pub fn has_losses(&self) -> bool {
        self.losses_fade.is_some()
    }

    /// Did the agent miss the last complete roll call, a moment ago, and has it not been heard otherwise either?
    pub fn missed(&self, agent: AgentId, now: Mono) -> bool {
        self.last.as_ref().is_some_and(|last| {
            now.since(last.started) < MISSED_LIFE
                && !last.answered.contains(&agent)
                && last.sample.as_ref().is_none_or(|sample| sample.contains(&agent))
                && self.heard_at.get(&agent).is_none_or(|at| *at < last.started)
                && self.current.as_ref().is_none_or(|call| !call.answered.contains(&agent))
        })
    }
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
        self.roll.current = None;
        self.roll.last = None;
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

    /// A founder whose stored roster holds nobody else, and to whom nobody has spoken while it settled, is alone; so it is when all who have are
    /// newcomers, who know of no later epoch: they wait for it to let them in.
    fn notice_solitude(&mut self) {
        if self.synced || !self.config.founder || self.roster.len() != 1 || self.now.mono < self.settle_until {
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

    /// Have roll calls found enough since `moment`, each soon after the one before?
    pub(super) fn vouched_for(&self, moment: Mono) -> bool {
        self.defective(Defect::NoRollCall)
            || self.vantage() == Vantage::Valid && self.roll.enough_since.is_some_and(|since| since <= moment)
    }

    /// This agent is part of a formed mesh, as if it had called the roll.
    pub(super) fn vouch(&mut self) {
        self.roll.vouched = true;
    }

    /// The roster has changed: what was counted by the old one says nothing of the new.
    pub(super) fn void_roll(&mut self) {
        let tickets = std::mem::take(&mut self.roll.tickets);
        let running = self.roll.current.take().is_some();
        self.roll.last = self.roll.last.take().filter(|last| !last.quorate);
        self.roll.tickets = tickets;
        if running {
            self.call_roll();
        }
    }

    /// Asks the roster whether it is there, or enough of it in a large mesh, unless that is being done.
    pub(super) fn call_roll(&mut self) {
        if self.roll.current.is_some() || self.defective(Defect::NoRollCall) {
            return;
        }
        self.stats.roll_calls += 1;
        let nonce = self.fresh_nonce();
        let me = self.me();
        let others = self.roster.iter().filter(|agent| *agent != me);
        let large = self.roster.len() > SAMPLE + 1;
        let asked: Vec<_> = if large { others.sample(&mut self.rng, SAMPLE) } else { others.collect() };
        self.roll.current = Some(Call {
            nonce,
            started: self.now.mono,
            asked_at: self.now.mono,
            sample: large.then(|| asked.iter().copied().collect()),
            answered: BTreeSet::new(),
            undecided: BTreeSet::new(),
            quorate: false,
            repeated: false,
        });
        for agent in &asked {
            self.send(*agent, &Packet::RollCall { nonce });
        }
        self.count_roll();
        if asked.is_empty() {
            self.conclude_roll();
        }
    }

    pub(super) fn call_roll_for(&mut self, ticket: Ticket) {
        if self.roll.tickets.len() >= MAX_TICKETS {
            self.stats.limits_hit += 1;
            let roster = self.roster.len();
            self.out.push_back(Output::RollCall { ticket, reached: 0, roster, quorate: false });
            return;
        }
        self.roll.tickets.push(ticket);
        self.call_roll();
    }

    pub(super) fn answer_roll(&mut self, from: AgentId, nonce: u64) {
        let (epoch, roster, open) = (self.roster.epoch(), self.roster.digest(), self.stands_by_epoch());
        self.send(from, &Packet::Present { nonce, epoch, roster, open });
    }

    /// Someone is there. It counts only if it stands by the same epoch: otherwise epochs are compared first.
    pub(super) fn receive_present(&mut self, from: AgentId, nonce: u64, epoch: u64, roster: u64, open: bool) {
        let asked = |call: &Call| call.nonce == nonce && call.sample.as_ref().is_none_or(|drawn| drawn.contains(&from));
        if !self.roll.current.as_ref().is_some_and(asked) || !self.roster.contains(from) {
            return;
        }
        self.answered(from);
        if roster != self.roster.digest() || !open {
            self.meet_epoch(from, epoch);
            if let Some(call) = &mut self.roll.current {
                call.undecided.insert(from);
            }
            return;
        }
        if let Some(call) = &mut self.roll.current {
            call.answered.insert(from);
        }
        self.count_roll();
        let others = self.roster.len() - 1;
        let all = |call: &Call| call.answered.len() >= call.sample.as_ref().map_or(others, BTreeSet::len);
        if self.roll.current.as_ref().is_some_and(all) {
            self.conclude_roll();
        }
    }

    fn count_roll(&mut self) {
        let may_count = self.caught_up() && self.stands_by_epoch();
        let enough = self.defective(Defect::RosterReachable);
        let Some(call) = &mut self.roll.current else { return };
        let answers = call.answered.len();
        let reached = match &call.sample {
            Some(_) => answers >= SAMPLE_ENOUGH,
            None => self.roster.majority(answers + 1),
        };
        if may_count && !call.quorate && (enough || reached) {
            call.quorate = true;
            self.roll.vouched = true;
            let life = self.config.timing.roll_call_life;
            let held = |last: &Outcome| last.quorate && call.started.since(last.started) < life;
            if !self.roll.last.as_ref().is_some_and(held) {
                self.roll.enough_since = Some(call.started);
            }
            self.stats.roll_calls_quorate += 1;
            self.roll_known(true);
        }
    }

    /// When the running roll call ends, or the next is due because the last one found too few.
    pub(super) fn roll_deadline(&self) -> Option<Mono> {
        let between = self.roll.last.as_ref().is_some_and(|last| last.between);
        let recall = match self.roster.len() {
            _ if between => self.config.timing.roll_call_wait + RECALL_BETWEEN,
            LARGE.. if !self.roll.hope => RECALL_HOPELESS,
            LARGE.. => (RECALL * (1 << self.roll.failed.saturating_sub(1).min(8))).min(RECALL_LONGEST),
            _ => RECALL,
        };
        match (&self.roll.current, &self.roll.last) {
            (Some(call), _) if !call.repeated => Some(call.asked_at + self.config.timing.roll_call_wait / 2),
            (Some(call), _) => Some(call.asked_at + self.config.timing.roll_call_wait),
            (None, Some(last)) if !last.quorate => Some(last.started + recall),
            _ => None,
        }
    }

    pub(super) fn roll_fades(&self) -> Option<Mono> {
        self.roll.fades.into_iter().chain(self.roll.losses_fade).min()
    }

    pub(super) fn run_roll(&mut self) {
        for fades in [&mut self.roll.fades, &mut self.roll.losses_fade] {
            if fades.is_some_and(|at| at <= self.now.mono) {
                *fades = None;
                self.evaluate_all = true;
            }
        }
        if self.roll_deadline().is_none_or(|at| at > self.now.mono) {
            return;
        }
        match &self.roll.current {
            Some(call) if call.repeated => self.conclude_roll(),
            Some(_) => self.repeat_roll(),
            None => self.call_roll(),
        }
    }

    /// Asks those who have not answered once more: packets get lost. When too few of a sample have, everyone.
    fn repeat_roll(&mut self) {
        let Some(call) = &mut self.roll.current else { return };
        if call.sample.is_some() && !call.quorate {
            call.sample = None;
            call.asked_at = self.now.mono;
        } else {
            call.repeated = true;
        }
        let nonce = call.nonce;
        let asked = |agent: &AgentId| call.sample.as_ref().is_none_or(|drawn| drawn.contains(agent));
        let me = self.config.agent;
        let silent: Vec<_> =
            self.roster.iter().filter(|a| *a != me && !call.answered.contains(a) && asked(a)).collect();
        for agent in silent {
            self.send(agent, &Packet::RollCall { nonce });
        }
    }

    fn conclude_roll(&mut self) {
        let Some(call) = self.roll.current.take() else { return };
        let reached = call.answered.len() + 1;
        let (quorate, roster) = (call.quorate, self.roster.len());
        let asked = call.sample.as_ref().map_or(roster, |drawn| drawn.len() + 1);
        if reached < asked {
            self.roll.fades = Some(call.started + MISSED_LIFE);
        }
        // Whoever was asked twice may have answered both ways.
        let mut answered = call.answered;
        answered.extend(&call.undecided);
        let between = !quorate && self.roster.majority(answered.len() + 1);
        self.roll.hope = false;
        self.roll.last = Some(Outcome { started: call.started, sample: call.sample, answered, quorate, between });
        // Between two epochs nothing can be said: whoever asks hears after the next roll call, which comes at once.
        self.roll.postponed = if between { self.roll.postponed + 1 } else { 0 };
        self.roll.failed = if quorate || between { 0 } else { self.roll.failed.saturating_add(1) };
        if between && self.roll.postponed < MAX_POSTPONED {
            return;
        }
        for ticket in std::mem::take(&mut self.roll.tickets) {
            self.out.push_back(Output::RollCall { ticket, reached, roster, quorate });
        }
        if !(quorate || between) {
            self.roll_known(false);
        }
        self.evaluate_all |= !quorate;
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

    pub(super) fn watch_quorate(&mut self) {
        let quorate = self.quorate();
        let due = !self.roll.vouched && self.roll.last.is_none();
        if due && self.caught_up() && self.stands_by_epoch() && self.roster.majority(self.reached) {
            self.call_roll();
        }
        if quorate == self.was_quorate {
            return;
        }
        self.was_quorate = quorate;
        self.quorate_since = self.now.wall;
        self.assign_all = true;
        self.evaluate_all = true;
        if quorate {
            self.settle_until = self.settle_until.max(self.now.mono + self.config.timing.settle);
            self.doubt_own_failures();
        }
        self.epochs.dirty = true;
        let (alive, roster) = (self.reached, self.roster.len());
        self.event(EventKind::Quorate { quorate, alive, roster });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ln_choose(of: usize, take: usize) -> f64 {
        (0..take).map(|i| ((of - i) as f64 / (i + 1) as f64).ln()).sum()
    }

    /// The probability that at least `enough` of `drawn` out of `others` answer, of whom `reached` can.
    fn tail(others: usize, reached: usize, drawn: usize, enough: usize) -> f64 {
        let possible = |k: &usize| *k <= reached && drawn - k <= others - reached;
        let ways = |k: usize| ln_choose(reached, k) + ln_choose(others - reached, drawn - k) - ln_choose(others, drawn);
        (enough..=drawn).filter(possible).map(|k| ways(k).exp()).sum()
    }

    #[test]
    fn a_sample_does_not_mislead() {
        assert!((tail(10, 5, 4, 0) - 1.0).abs() < 1e-9);
        for roster in (SAMPLE + 2..600).chain([1000, super::super::limits::MAX_AGENTS]) {
            // The most others that are no majority together with the caller.
            let reached = roster / 2 - 1;
            assert!(!quorate_core::quorum::majority(reached + 1, roster), "{roster}");
            let error = tail(roster - 1, reached, SAMPLE, SAMPLE_ENOUGH);
            assert!(error < 3e-10, "{roster}: {error:e}");
        }
    }
}

//! The roll call: is more than half of the roster there, now? In a large one enough of a sample says so; only when it does not, all are asked.

mod answers;

use super::Engine;
use crate::api::{Output, Ticket};
use crate::sabotage::Defect;
use quorate_core::{AgentId, Mono, Roster};
use quorate_wire::Packet;
use rand::seq::IteratorRandom;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// While the last roll call found too few, it is called again this often; in a large mesh each time after twice the wait, up to the longest.
const RECALL: Duration = Duration::from_secs(1);
const RECALL_LONGEST: Duration = Duration::from_secs(5);
/// While nobody has been heard since who missed it, it would find as few, at the price of a packet to everyone: so often a few of those are asked
/// instead, and the roll is called once one of them has been heard.
const SCOUTING: Duration = Duration::from_secs(15);
const LARGE: usize = 65;
/// In a roster with more others than this, so many are drawn and asked first.
const SAMPLE: usize = 64;
/// Of those who are silent so many are asked again, and the others once one of them has answered.
const SCOUTED: usize = 64;
/// So many answers of a sample are enough. Of a caller that reaches no majority at most half of the others would answer, and so many of those drawn with a
/// probability below 3e-10: the tail of the hypergeometric distribution (`a_sample_does_not_mislead`). With fewer everyone is asked.
const SAMPLE_ENOUGH: usize = 56;
/// The wait after a roll call that met members between two epochs.
const RECALL_BETWEEN: Duration = Duration::from_millis(50);
/// Who missed a roll call is not heard for this long.
const MISSED_LIFE: Duration = Duration::from_secs(2);
/// So many roll calls in a row may leave a ticket unanswered: five seconds' worth.
const MAX_POSTPONED: u32 = 16;
/// Answers are waited for as long as the slowest of late have taken, and somewhat longer, up to this: less than a roll call holds.
const LONGEST_WAIT: Duration = Duration::from_millis(600);
/// Questions of former roll calls whose answers still tell how long the way is.
const MAX_FORMER: usize = 24;
/// So often at most those are asked again who have not answered.
const MAX_REPEATS: u32 = 3;
/// Tickets waiting for a roll call.
const MAX_TICKETS: usize = 64;

/// The running roll call and the last one.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    pub(super) current: Option<Call>,
    pub(super) last: Option<Outcome>,
    /// Who was between two epochs at the last roll call.
    between: BTreeSet<AgentId>,
    tickets: Vec<Ticket>,
    /// Roll calls in a row that met members between two epochs.
    postponed: u32,
    /// Roll calls in a row that found too few.
    failed: u32,
    /// The most that membership has held within reach since a call for its losses, or how many were then.
    pub(super) reached: usize,
    /// Has any found enough since the start?
    pub(super) vouched: bool,
    /// When the first of the roll calls in a row began that found enough, none of them longer after the one before than such a finding holds.
    pub(super) enough_since: Option<Mono>,
    /// Has anyone been heard who missed the last one, or has the roster changed?
    hope: bool,
    /// When some of those who missed it were asked whether they are there.
    scouted_at: Mono,
    /// When it asked those who answered, the last time that it had asked in vain before: until then it may have been cut off.
    reached_again: Option<Mono>,
    /// When enough were within reach again, the last time that they had not been: a look that began before that accuses nobody.
    pub(super) regained_at: Mono,
    /// When whoever missed the last roll call is given the benefit of the doubt again.
    fades: Option<Mono>,
    /// How long answers are waited for, where that is more than usual.
    wait: Duration,
    /// The questions of former roll calls, and when they were asked.
    former: VecDeque<(u64, Mono)>,
    /// When those are whose hosts were found down a moment ago.
    losses_fade: Option<Mono>,
    /// When each agent was last heard, whatever it said.
    heard_at: BTreeMap<AgentId, Mono>,
}

#[derive(Debug)]
pub(super) struct Call {
    /// Its questions: the nonce of each, and when it was asked.
    questions: Vec<(u64, Mono)>,
    pub(super) started: Mono,
    /// When those were asked who are being waited for.
    asked_at: Mono,
    /// Who was drawn and asked; `None` when everyone was.
    sample: Option<BTreeSet<AgentId>>,
    /// Who has answered, and when the question was asked that it answered first.
    answered: BTreeMap<AgentId, Mono>,
    /// Who answered by another epoch, or between two: they may count in a moment.
    undecided: BTreeSet<AgentId>,
    /// Those of them who are between this agent's epoch and the next.
    between: BTreeSet<AgentId>,
    pub(super) quorate: bool,
    /// How often those who did not answer have been asked again.
    repeats: u32,
    /// Those who have not been, of many: they are once another has answered.
    spared: Vec<AgentId>,
    /// The longest that an answer has taken.
    slowest: Duration,
}

#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) started: Mono,
    /// Who was asked; `None` for everyone.
    sample: Option<BTreeSet<AgentId>>,
    answered: BTreeSet<AgentId>,
    /// How many of them stand by the same epoch, this agent among them.
    standing: usize,
    pub(super) quorate: bool,
    /// Would it be, if those between two epochs counted? Then it says nothing, and is repeated at once.
    pub(super) between: bool,
}

impl Call {
    /// Are those who have not answered to be asked again? Once in any case, and further while too few have, within the `usual` wait: an agent that is held up
    /// would else come to no end.
    fn asks_again(&self, now: Mono, usual: Duration) -> bool {
        self.repeats == 0 || (self.repeats < MAX_REPEATS && !self.quorate && now < self.asked_at + usual)
    }
}

impl Roll {
    /// The agent was held up: what was asked before says nothing of now, nor do late answers of how long the way is. That the last roll call found too
    /// few stands until the next: membership may not have noticed yet.
    pub fn interrupt(&mut self) {
        self.current = None;
        self.last = self.last.take().filter(|last| !last.quorate);
        self.between.clear();
        self.former.clear();
    }

    /// An answer has taken so long; it was waited for in vain.
    fn came_late(&mut self, took: Duration, usual: Duration) {
        // Later than any is waited for: who stood still tells nothing of the way.
        if took <= LONGEST_WAIT {
            self.wait = self.wait.max(enough(took, usual));
        }
    }

    /// A roll call has ended; `complete`: as many have answered as are held alive.
    fn ended(&mut self, call: &Call, complete: bool, usual: Duration) {
        if call.slowest > usual.max(self.wait) {
            self.came_late(call.slowest, usual);
        } else if complete {
            let enough = enough(call.slowest, usual);
            self.wait = self.wait.min(enough.max(self.wait - self.wait / 16));
        }
        self.former.extend(call.questions.iter().copied());
        self.former.drain(..self.former.len().saturating_sub(MAX_FORMER));
    }

    /// Has one found enough that began at `moment` or after it?
    pub fn found_since(&self, moment: Mono) -> bool {
        self.current.as_ref().is_some_and(|call| call.quorate && call.started >= moment)
            || self.last.as_ref().is_some_and(|last| last.quorate && last.started >= moment)
    }

    /// Is one running that has not found enough yet?
    pub fn is_open(&self) -> bool {
        self.current.as_ref().is_some_and(|call| !call.quorate)
    }

    /// Notes that a member has spoken. One that counts and missed the last roll call gives hope of another outcome.
    pub fn hear(&mut self, agent: AgentId, now: Mono, counts: bool) {
        self.heard_at.insert(agent, now);
        self.hope |= counts && self.last.as_ref().is_some_and(|last| !last.quorate && !last.answered.contains(&agent));
    }

    /// Nothing is kept of an agent that is forgotten.
    pub fn forget(&mut self, agent: AgentId) {
        self.heard_at.remove(&agent);
        self.between.remove(&agent);
    }

    /// Notes whether an agent says that it is between this epoch and the next.
    pub fn found(&mut self, agent: AgentId, between: bool) {
        if between {
            self.between.insert(agent)
        } else {
            self.between.remove(&agent)
        };
    }

    /// Did an agent say, at the last roll call or since, that it is between this epoch and the next: that it has accepted a change?
    pub fn found_between(&self, agent: AgentId) -> bool {
        self.between.contains(&agent)
    }

    /// Did the last roll call begin so short a time ago?
    pub fn began_within(&self, span: Duration, now: Mono) -> bool {
        self.last.as_ref().is_some_and(|last| now.since(last.started) < span)
    }

    /// Has a roll call been called since `moment`, and found too few who stand by the `roster`?
    pub fn found_too_few_since(&self, moment: Mono, roster: &Roster) -> bool {
        self.last
            .as_ref()
            .is_some_and(|last| !last.quorate && !roster.majority(last.standing) && last.started >= moment)
    }

    /// Notes that an agent whose host was found down is not heard until then.
    pub fn lose(&mut self, until: Mono) {
        self.losses_fade = self.losses_fade.max(Some(until));
    }

    /// Has a host been found down a moment ago? Mostly not, and then nobody needs to be looked up.
    pub fn has_losses(&self) -> bool {
        self.losses_fade.is_some()
    }

    /// May this agent have been cut off at `moment` or after it? Then what failed says nothing of the far end.
    pub fn may_have_been_cut_off(&self, moment: Mono) -> bool {
        self.reached_again.is_some_and(|at| moment < at)
    }

    /// Did the agent miss the last complete roll call, a moment ago, and has it not been heard otherwise either?
    pub fn missed(&self, agent: AgentId, now: Mono) -> bool {
        self.last.as_ref().is_some_and(|last| {
            now.since(last.started) < MISSED_LIFE
                && !last.answered.contains(&agent)
                && last.sample.as_ref().is_none_or(|sample| sample.contains(&agent))
                && self.heard_at.get(&agent).is_none_or(|at| *at < last.started)
                && self.current.as_ref().is_none_or(|call| !call.answered.contains_key(&agent))
        })
    }
}

/// How long to wait where answers take so long: for those to the first question, with something to spare, and for those to the second, which comes after half
/// of the `usual` wait.
fn enough(slowest: Duration, usual: Duration) -> Duration {
    (slowest + slowest / 2).max(slowest + slowest / 4 + usual / 2).min(LONGEST_WAIT)
}

impl Engine {
    /// The roster has changed: what was counted by the old one says nothing of the new.
    pub(super) fn void_roll(&mut self) {
        let tickets = std::mem::take(&mut self.roll.tickets);
        let running = self.roll.current.take().is_some();
        self.roll.last = self.roll.last.take().filter(|last| !last.quorate);
        self.roll.hope = true;
        self.roll.between.clear();
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
            questions: vec![(nonce, self.now.mono)],
            started: self.now.mono,
            asked_at: self.now.mono,
            sample: large.then(|| asked.iter().copied().collect()),
            answered: BTreeMap::new(),
            undecided: BTreeSet::new(),
            between: BTreeSet::new(),
            quorate: false,
            repeats: 0,
            spared: Vec::new(),
            slowest: Duration::ZERO,
        });
        for agent in &asked {
            self.send(*agent, &Packet::RollCall { nonce });
        }
        self.count_roll();
        if asked.is_empty() {
            self.conclude_roll();
        }
    }

    /// Ends a roll call that began before `moment` and has found enough: it says nothing of what comes after it.
    pub(super) fn end_roll_before(&mut self, moment: Mono) {
        if self.roll.current.as_ref().is_some_and(|call| call.quorate && call.started < moment) {
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

    pub(super) fn roll_wait(&self) -> Duration {
        self.config.timing.roll_call_wait.max(self.roll.wait)
    }

    /// Would those who have answered be enough, if all of them counted?
    fn is_between(&self, call: &Call) -> bool {
        self.roster.majority(call.answered.len() + call.undecided.len() + 1)
    }

    /// When the running roll call ends, or the next is due because the last one found too few.
    pub(super) fn roll_deadline(&self) -> Option<Mono> {
        let usual = self.config.timing.roll_call_wait;
        let between = self.roll.last.as_ref().is_some_and(|last| last.between);
        let recall = match self.roster.len() {
            _ if between => self.roll_wait() + RECALL_BETWEEN,
            LARGE.. if !self.roll.hope => SCOUTING,
            LARGE.. => (RECALL * (1 << self.roll.failed.saturating_sub(1).min(8))).min(RECALL_LONGEST),
            _ => RECALL,
        };
        match (&self.roll.current, &self.roll.last) {
            // After a half of the usual wait, and each time after half of what is left.
            (Some(call), _) if call.asks_again(self.now.mono, usual) => {
                Some(call.asked_at + usual - usual / (2 << call.repeats))
            }
            // With enough answers it ends in time for the next to follow before it is too old.
            (Some(call), _) if call.quorate => Some(call.asked_at + usual),
            // The way may have become longer, and while enough are held alive it is not the moment to give up.
            (Some(call), _)
                if self.roll.failed == 0 && self.roster.majority(self.reached) && !self.is_between(call) =>
            {
                Some(call.asked_at + self.roll_wait().max(LONGEST_WAIT))
            }
            (Some(call), _) => Some(call.asked_at + self.roll_wait()),
            (None, Some(last)) if !last.quorate && self.roll.hope => Some(last.started + recall),
            (None, Some(last)) if !last.quorate => Some(last.started.max(self.roll.scouted_at) + recall),
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
            Some(call) if call.asks_again(self.now.mono, self.config.timing.roll_call_wait) => self.repeat_roll(),
            Some(_) => self.conclude_roll(),
            None if self.roster.len() >= LARGE && !self.roll.hope => self.scout(),
            None => self.call_roll(),
        }
    }

    /// Asks a few of those who missed the last roll call: whoever of them is heard gives hope. With enough others it is called anew.
    fn scout(&mut self) {
        let Some(last) = self.roll.last.as_ref().filter(|last| !self.roster.majority(last.answered.len() + 1)) else {
            return self.call_roll();
        };
        let me = self.me();
        let missing = self.roster.iter().filter(|agent| *agent != me && !last.answered.contains(agent));
        let asked = missing.sample(&mut self.rng, SCOUTED);
        self.roll.scouted_at = self.now.mono;
        let nonce = self.fresh_nonce();
        for agent in asked {
            self.send(agent, &Packet::RollCall { nonce });
        }
    }

    /// Asks those who have not answered once more: packets get lost. When too few of a sample have, everyone. Of many a few are asked: if nobody of
    /// them answers, no packet was lost. While too few have answered, those whom membership holds alive are
    /// asked twice more, if that could make it enough.
    fn repeat_roll(&mut self) {
        let nonce = self.fresh_nonce();
        let Some(call) = &mut self.roll.current else { return };
        if call.sample.is_some() && !call.quorate {
            call.sample = None;
            call.asked_at = self.now.mono;
        } else {
            call.repeats += 1;
        }
        call.questions.push((nonce, self.now.mono));
        let asked = |agent: &AgentId| call.sample.as_ref().is_none_or(|drawn| drawn.contains(agent));
        let me = self.config.agent;
        let mut silent: Vec<_> =
            self.roster.iter().filter(|a| *a != me && !call.answered.contains_key(a) && asked(a)).collect();
        if call.repeats > 1 {
            silent.retain(|agent| self.swim.is_active(*agent));
            // Who is slow to answer gets no more to do where it would not be enough.
            let hopeless = call.answered.len() + silent.len() < self.roster.len() / 2;
            silent.truncate(if hopeless { 0 } else { SCOUTED });
        } else if call.repeats > 0 && silent.len() > SCOUTED {
            // Whoever lives was heard a moment ago; of the dead and of the others' side each is as good as another.
            silent.sort_by_key(|agent| Reverse(self.roll.heard_at.get(agent).copied()));
            call.spared = silent.split_off(SCOUTED);
        }
        for agent in silent {
            self.send(agent, &Packet::RollCall { nonce });
        }
    }

    fn conclude_roll(&mut self) {
        let Some(call) = self.roll.current.take() else { return };
        let reached = call.answered.len() + 1;
        let (quorate, roster) = (call.quorate, self.roster.len());
        let asked = call.sample.as_ref().map_or(roster, |drawn| drawn.len() + 1);
        let complete = reached >= asked.min(self.swim.active_count() + 1);
        self.roll.ended(&call, complete, self.config.timing.roll_call_wait);
        self.roll.between.retain(|agent| !call.answered.contains_key(agent));
        self.roll.between.extend(&call.between);
        if reached < asked {
            self.roll.fades = Some(call.started + MISSED_LIFE);
        }
        // Whoever was asked twice may have answered both ways.
        let mut answered = call.undecided;
        answered.extend(call.answered.into_keys());
        let between = !quorate && self.roster.majority(answered.len() + 1);
        self.roll.hope = false;
        self.roll.last =
            Some(Outcome { started: call.started, sample: call.sample, answered, standing: reached, quorate, between });
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
}

#[cfg(test)]
mod tests;

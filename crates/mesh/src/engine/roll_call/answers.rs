//! The answers to a roll call: given, and counted.

use super::{Call, Outcome, SAMPLE_ENOUGH};
use crate::engine::Engine;
use crate::sabotage::Defect;
use quorate_core::AgentId;
use quorate_wire::Packet;

impl Engine {
    pub(in crate::engine) fn answer_roll(&mut self, from: AgentId, nonce: u64) {
        let (epoch, roster, open) = (self.roster.epoch(), self.roster.digest(), self.stands_by_epoch());
        self.send(from, &Packet::Present { nonce, epoch, roster, open });
    }

    /// Someone is there. It counts only if it stands by the same epoch: otherwise epochs are compared first.
    pub(in crate::engine) fn receive_present(
        &mut self,
        from: AgentId,
        nonce: u64,
        epoch: u64,
        roster: u64,
        open: bool,
    ) {
        let now = self.now.mono;
        if let Some((_, asked)) = self.roll.former.iter().find(|(asked, _)| *asked == nonce).copied()
            && self.roster.contains(from)
        {
            self.roll.came_late(now.since(asked), self.config.timing.roll_call_wait);
        }
        let drawn = |call: &&mut Call| call.sample.as_ref().is_none_or(|drawn| drawn.contains(&from));
        let Some(call) = self.roll.current.as_mut().filter(drawn).filter(|_| self.roster.contains(from)) else {
            return;
        };
        let Some((_, asked)) = call.questions.iter().find(|(asked, _)| *asked == nonce).copied() else { return };
        let (last, _) = call.questions.last().copied().unwrap_or((nonce, asked));
        call.slowest = call.slowest.max(now.since(asked));
        for agent in std::mem::take(&mut call.spared) {
            self.send(agent, &Packet::RollCall { nonce: last });
        }
        self.answered(from);
        if roster != self.roster.digest() || !open {
            self.meet_epoch(from, epoch);
            let same = roster == self.roster.digest();
            if let Some(call) = &mut self.roll.current {
                call.undecided.insert(from);
                call.between.extend(same.then_some(from));
            }
            return;
        }
        if let Some(call) = &mut self.roll.current {
            call.answered.entry(from).and_modify(|at| *at = asked.min(*at)).or_insert(asked);
        }
        self.count_roll();
        let others = self.roster.len() - 1;
        let all = |call: &Call| match &call.sample {
            Some(drawn) => call.quorate && call.answered.len() >= drawn.len(),
            None => call.answered.len() >= others,
        };
        if self.roll.current.as_ref().is_some_and(all) {
            self.conclude_roll();
        }
    }

    pub(super) fn count_roll(&mut self) {
        let may_count = self.caught_up() && self.stands_by_epoch();
        let enough = self.defective(Defect::RosterReachable);
        let Some(call) = &mut self.roll.current else { return };
        let needed = if call.sample.is_some() { SAMPLE_ENOUGH } else { self.roster.len() / 2 };
        if may_count && !call.quorate && (enough || call.answered.len() >= needed) {
            call.quorate = true;
            // Answers to a later question show nothing of the time before it.
            let mut asked: Vec<_> = call.answered.values().copied().collect();
            asked.sort_unstable();
            let shows_from = needed.checked_sub(1).and_then(|last| asked.get(last)).copied().unwrap_or(call.started);
            self.roll.vouched = true;
            let life = self.config.timing.roll_call_life;
            let held = |last: &Outcome| last.quorate && call.started.since(last.started) < life;
            if !self.roll.last.as_ref().is_some_and(held) {
                self.roll.enough_since = Some(shows_from);
            }
            if shows_from > call.started || self.roll.failed > 0 {
                self.roll.reached_again = Some(shows_from);
            }
            self.stats.roll_calls_quorate += 1;
            self.roll_known(true);
        }
    }
}

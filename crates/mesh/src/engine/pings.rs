//! Pings of hosts that are in doubt: they overlap, and count only with a roll call that vouches for the moment they were sent.

use super::instance::Watch;
use super::vantage::Vantage;
use super::watching::Seen;
use super::{Engine, limits};
use quorate_core::evidence::{Cause, Phase};
use quorate_core::{AgentId, InstanceId, Mono, Vote};
use quorate_wire::Packet;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// An answer that comes so late is still taken for one, and the next are waited for as long.
const LONGEST_PONG: Duration = Duration::from_secs(2);

/// The pings on their way.
#[derive(Debug, Default)]
pub(super) struct Pings {
    running: BTreeMap<u64, Ping>,
    /// When each of them is given up.
    due: BTreeSet<(Mono, u64)>,
    /// Those that were not answered in time, the oldest first: an answer may yet come.
    late: VecDeque<(u64, Ping)>,
    /// How long answers are waited for of those who have answered late.
    slow: BTreeMap<AgentId, Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Ping {
    agent: AgentId,
    sent: Mono,
    due: Mono,
}

impl Pings {
    /// Is one on its way to `agent`?
    pub fn asks(&self, agent: AgentId) -> bool {
        self.running.values().any(|ping| ping.agent == agent)
    }

    /// Forgets how long the answers of an agent take.
    pub fn forget(&mut self, agent: AgentId) {
        self.slow.remove(&agent);
    }

    /// Drops those that came too late by now. Is there room for one more?
    fn has_room(&mut self, now: Mono) -> bool {
        while self.late.pop_front_if(|(_, late)| now.since(late.sent) > LONGEST_PONG).is_some() {}
        self.running.len() + self.late.len() < limits::MAX_NONCES
    }

    fn begin(&mut self, nonce: u64, ping: Ping) {
        self.running.insert(nonce, ping);
        self.due.insert((ping.due, nonce));
    }

    /// `agent` has answered: when was it asked? How long that took is how long the next answers are waited for, with something to spare.
    fn answered(&mut self, nonce: u64, agent: AgentId, now: Mono, usual: Duration) -> Option<Mono> {
        let ping = match self.running.get(&nonce).filter(|ping| ping.agent == agent).copied() {
            Some(ping) => {
                self.running.remove(&nonce);
                self.due.remove(&(ping.due, nonce));
                ping
            }
            None => {
                let place = self.late.iter().position(|(late, ping)| *late == nonce && ping.agent == agent)?;
                self.late.remove(place)?.1
            }
        };
        let took = now.since(ping.sent);
        if took > LONGEST_PONG {
            return None;
        }
        let enough = (took + took / 2).min(LONGEST_PONG);
        if enough > usual {
            self.slow.insert(agent, enough);
        } else {
            self.slow.remove(&agent);
        }
        Some(ping.sent)
    }

    /// Takes the next that is not waited for any longer.
    fn overdue(&mut self, now: Mono) -> Option<Ping> {
        let (_, nonce) = self.due.first().copied().filter(|(due, _)| *due <= now)?;
        self.due.pop_first();
        let ping = self.running.remove(&nonce)?;
        self.late.push_back((nonce, ping));
        Some(ping)
    }
}

impl Engine {
    /// Pings a host; a second time also by a stream, which survives the loss of packets.
    pub(super) fn ping_host(&mut self, agent: AgentId, retry: bool) {
        if !self.pings.has_room(self.now.mono) {
            self.stats.limits_hit += 1;
            return;
        }
        let (nonce, sent) = (self.fresh_nonce(), self.now.mono);
        let due = sent + self.host_ping_timeout(agent);
        self.pings.begin(nonce, Ping { agent, sent, due });
        self.send(agent, &Packet::Ping { nonce });
        if retry {
            self.send_stream(agent, &Packet::Ping { nonce });
        }
    }

    pub(super) fn receive_pong(&mut self, from: AgentId, nonce: u64) {
        let usual = self.config.timing.host_ping_timeout;
        if let Some(sent) = self.pings.answered(nonce, from, self.now.mono, usual) {
            self.answered(from);
            self.seen(&InstanceId::host(from), Seen::Reached(Vote::Pass, String::new()), sent);
        }
    }

    pub(super) fn pings_deadline(&self) -> Option<Mono> {
        self.pings.due.first().map(|(due, _)| *due)
    }

    /// How long an answer is waited for: longer than a roll call waits for those that vouch for this agent. They would else be accused for the very time
    /// that all answers take. And as long as the agent has taken of late.
    fn host_ping_timeout(&self, agent: AgentId) -> Duration {
        let (usual, roll_call) = (self.config.timing.host_ping_timeout, self.roll_wait());
        let waits = if roll_call < usual { usual } else { roll_call + roll_call / 3 };
        self.pings.slow.get(&agent).copied().unwrap_or_default().max(waits)
    }

    /// Host pings that were not answered in time.
    pub(super) fn run_pings(&mut self) {
        while let Some(Ping { agent, sent, .. }) = self.pings.overdue(self.now.mono) {
            if self.doubts_own_ping(agent, sent) {
                continue;
            }
            let vote = Vote::Fail { phase: Phase::FirstByte, cause: Cause::Timeout };
            self.seen(
                &InstanceId::host(agent),
                Seen::Failed(vote, "the agent does not answer over the mesh".to_owned()),
                sent,
            );
        }
    }

    /// May a ping that accuses a host have gone unanswered because this agent was cut off when it sent it? The roll calls that vouch for this moment
    /// must vouch for that one, too. It accuses when it is the last needed, or the accusation stands but has not been heeded: an accusation of former
    /// times would else be good for a signature again after any short cut.
    fn doubts_own_ping(&self, agent: AgentId, sent: Mono) -> bool {
        let Some(host) = self.instances.get(&InstanceId::host(agent)) else { return false };
        let accuses = |watch: &Watch| match watch.vote.fails() {
            true => !host.condemned(),
            false => watch.failures + 1 >= self.config.timing.host_failures,
        };
        host.watch.as_deref().is_some_and(accuses) && self.vantage() != Vantage::Isolated && !self.vouched_for(sent)
    }

    pub(super) fn forget_running_pings(&mut self) {
        self.pings.due.clear();
        self.pings.late.clear();
        for Ping { agent, .. } in std::mem::take(&mut self.pings.running).into_values() {
            if let Some(watch) = self.instances.get_mut(&InstanceId::host(agent)).and_then(|i| i.watch.as_mut()) {
                watch.running = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_given_up_long_ago_take_no_room() {
        let mut pings = Pings::default();
        let (agent, sent) = (AgentId(1), Mono(0));
        for nonce in 0..limits::MAX_NONCES as u64 {
            assert!(pings.has_room(sent));
            pings.begin(nonce, Ping { agent, sent, due: sent + Duration::from_millis(500) });
        }
        let given_up = sent + Duration::from_secs(1);
        while pings.overdue(given_up).is_some() {}
        assert!(!pings.has_room(given_up), "an answer may yet come");
        assert!(pings.has_room(given_up + LONGEST_PONG));
    }

    #[test]
    fn a_late_answer_counts_and_the_next_is_waited_for() {
        let mut pings = Pings::default();
        let (agent, usual) = (AgentId(1), Duration::from_millis(500));
        pings.begin(7, Ping { agent, sent: Mono(0), due: Mono(0) + usual });
        assert!(pings.overdue(Mono(0) + usual).is_some());
        assert_eq!(pings.answered(7, AgentId(2), Mono(0) + usual, usual), None, "it was not asked");
        assert_eq!(pings.answered(7, agent, Mono(0) + Duration::from_millis(600), usual), Some(Mono(0)));
        assert_eq!(pings.slow.get(&agent), Some(&Duration::from_millis(900)));
        pings.begin(8, Ping { agent, sent: Mono(0), due: Mono(0) + usual });
        assert!(pings.overdue(Mono(0) + usual).is_some());
        assert_eq!(pings.answered(8, agent, Mono(0) + Duration::from_secs(3), usual), None, "too late");
    }
}

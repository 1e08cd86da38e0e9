//! Pings of hosts that are in doubt: they overlap, and count only with a roll call that vouches for the moment they were sent.

use super::instance::Watch;
use super::vantage::Vantage;
use super::watching::Seen;
use super::{Engine, limits};
use quorate_core::evidence::{Cause, Phase};
use quorate_core::{AgentId, InstanceId, Mono, Vote};
use quorate_wire::Packet;
use std::time::Duration;

impl Engine {
    /// Pings a host; a second time also by a stream, which survives the loss of packets.
    pub(super) fn ping_host(&mut self, agent: AgentId, retry: bool) {
        if self.pings.len() >= limits::MAX_NONCES {
            self.stats.limits_hit += 1;
            return;
        }
        let nonce = self.fresh_nonce();
        self.pings.insert(nonce, (agent, self.now.mono));
        self.pings_sent.push_back((self.now.mono, nonce));
        self.send(agent, &Packet::Ping { nonce });
        if retry {
            self.send_stream(agent, &Packet::Ping { nonce });
        }
    }

    pub(super) fn receive_pong(&mut self, from: AgentId, nonce: u64) {
        let sent = self.pings.get(&nonce).filter(|(agent, _)| *agent == from).map(|(_, sent)| *sent);
        if let Some(sent) = sent {
            self.pings.remove(&nonce);
            self.drop_answered();
            self.answered(from);
            self.seen(&InstanceId::host(from), Seen::Reached(Vote::Pass, String::new()), sent);
        }
    }

    pub(super) fn pings_deadline(&self) -> Option<Mono> {
        self.pings_sent.front().map(|(sent, _)| *sent + self.host_ping_timeout())
    }

    /// How long an answer is waited for: longer than a roll call waits for those that vouch for this agent. They would else be accused for the very time
    /// that all answers take.
    fn host_ping_timeout(&self) -> Duration {
        let (usual, roll_call) = (self.config.timing.host_ping_timeout, self.roll_wait());
        if roll_call < usual { usual } else { roll_call + roll_call / 3 }
    }

    /// The first of the pings sent is one that has not been answered.
    fn drop_answered(&mut self) {
        while self.pings_sent.pop_front_if(|(_, nonce)| !self.pings.contains_key(nonce)).is_some() {}
    }

    /// Host pings that were not answered in time.
    pub(super) fn run_pings(&mut self) {
        let timeout = self.host_ping_timeout();
        while let Some((_, nonce)) = self.pings_sent.pop_front_if(|(sent, _)| *sent + timeout <= self.now.mono) {
            let Some((agent, sent)) = self.pings.remove(&nonce) else { continue };
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
        self.pings_sent.clear();
        for (agent, _) in std::mem::take(&mut self.pings).into_values() {
            if let Some(watch) = self.instances.get_mut(&InstanceId::host(agent)).and_then(|i| i.watch.as_mut()) {
                watch.running = false;
            }
        }
    }
}

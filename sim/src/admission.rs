//! How agents come to know each other: a joining agent asks a member, which first makes sure of its own standing, as the real agent does.

use crate::draw::Purpose;
use crate::queue::Rank;
use crate::world::{Happening, World};
use quorate_mesh::{Command, Input};
use std::time::Duration;

impl World {
    /// A fresh agent asks a member to let it in; the member must first know itself on the greater side.
    pub(crate) fn knock(&mut self, agent: usize) {
        if self.hosts[agent].process.is_some() {
            return;
        }
        let count = self.knocks.entry(agent).or_insert(0);
        *count += 1;
        let count = *count;
        let now = self.truth.now;
        self.plan(now.plus(Duration::from_secs(1)), Rank::Action, agent, 0, Happening::Knock(agent));
        if let Some(sponsor) = self.someone(agent, count) {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            self.tickets.insert(ticket, (agent, sponsor));
            self.deliver(sponsor, Input::Command(Command::CallRoll(quorate_mesh::Ticket(ticket))), 0);
        }
    }

    pub(crate) fn contact(&mut self, agent: usize, peer: usize) {
        let to = &self.truth.scenario.agents[peer];
        let contact = Command::Contact { agent: to.id, address: to.address };
        self.deliver(agent, Input::Command(contact), 0);
    }

    pub(crate) fn contact_someone(&mut self, agent: usize) {
        if let Some(peer) = self.someone(agent, 0) {
            self.contact(agent, peer);
        }
    }

    /// A live member other than `agent`, drawn.
    fn someone(&self, agent: usize, n: u64) -> Option<usize> {
        let now = self.truth.now;
        let awake = |other: &usize| *other != agent && self.truth.awake(*other, now) && self.truth.member(*other, now);
        let candidates: Vec<usize> = (0..self.hosts.len()).filter(awake).collect();
        let last = candidates.len().checked_sub(1)? as u64;
        let index = self.truth.scenario.draws.within((0, last), Purpose::Sponsor, agent as u64, now.0, n);
        candidates.get(usize::try_from(index).ok()?).copied()
    }
}

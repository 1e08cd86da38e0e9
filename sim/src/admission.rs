//! How agents come to know each other: a joining agent asks a member, which first makes sure of its own standing, as the real agent does.

use crate::draw::Purpose;
use crate::plan::{Disk, Start};
use crate::queue::Rank;
use crate::world::{Happening, World};
use quorate_mesh::{Command, Formation, Input};
use std::collections::BTreeSet;
use std::time::Duration;

/// Members that an agent can be told of when it joins.
const CONTACTS: u64 = 3;

impl World {
    /// A fresh agent asks a member to let it in; the member must first know itself on the greater side. From a dark host nobody asks.
    pub(crate) fn knock(&mut self, agent: usize) {
        if self.hosts[agent].process.is_some() {
            return;
        }
        let now = self.truth.now;
        self.plan(now.plus(Duration::from_secs(1)), Rank::Action, agent, 0, Happening::Knock(agent));
        if self.truth.scenario.felled(agent, now) {
            return;
        }
        let count = self.knocks.entry(agent).or_insert(0);
        *count += 1;
        let count = *count;
        if let Some(sponsor) = self.someone(agent, count) {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            self.tickets.insert(ticket, (agent, sponsor));
            self.deliver(sponsor, Input::Command(Command::CallRoll(quorate_mesh::Ticket(ticket))), 0);
        }
    }

    /// Starts all that are there from the beginning, and makes them know each other.
    pub(crate) fn form(&mut self) {
        let founders = self.truth.scenario.founders.clone();
        founders.iter().for_each(|agent| self.start(*agent, Disk::Keep));
        let processes = self.hosts.iter().filter_map(|host| host.process.as_ref());
        let mut mesh = Formation::new(processes.filter_map(|process| process.node.acquaintance()).collect());
        if self.truth.scenario.start == Start::Settled {
            let testimony = |agent: &usize| {
                let testimony = self.hosts[*agent].process.as_mut()?.node.testify(&mesh);
                // Those who check what agents show must have heard it.
                self.drain(*agent, false);
                testimony
            };
            mesh = Formation::settled(founders.iter().filter_map(testimony).collect());
        }
        for agent in founders.iter().copied() {
            if let Some(process) = &mut self.hosts[agent].process {
                process.node.form(&mesh);
                founders.iter().for_each(|peer| process.routes[*peer] = Some(*peer));
                self.drain(agent, false);
            }
        }
    }

    pub(crate) fn contact(&mut self, agent: usize, peer: usize) {
        let to = &self.truth.scenario.agents[peer];
        let contact = Command::Contact { agent: to.id, address: to.address };
        self.hosts[agent].contacts.insert(peer);
        self.deliver(agent, Input::Command(contact), 0);
    }

    /// Live members whose addresses an agent was given when it joined.
    pub(crate) fn contact_some(&mut self, agent: usize) {
        let peers: BTreeSet<usize> = (0..CONTACTS).filter_map(|n| self.someone(agent, n)).collect();
        peers.into_iter().for_each(|peer| self.contact(agent, peer));
    }

    /// Has everybody left, or gone for good, whom an agent was told to call?
    pub(crate) fn contacts_left(&self, agent: usize) -> bool {
        let gone = |peer: &usize| {
            let host = &self.hosts[*peer];
            !self.truth.member(*peer, self.truth.now) || host.process.is_none() && !(host.returns || host.returns_stale)
        };
        let contacts = &self.hosts[agent].contacts;
        !contacts.is_empty() && contacts.iter().all(gone)
    }

    /// Who has met nobody yet, and was told only of such as have left since, is told of others.
    pub(crate) fn name_others(&mut self) {
        for agent in 0..self.truth.agents() {
            let process = self.hosts[agent].process.as_ref();
            let met_nobody = process.is_some_and(|p| p.view.as_ref().is_none_or(|view| view.epoch == 0));
            if met_nobody && self.contacts_left(agent) {
                self.contact_some(agent);
            }
        }
    }

    /// A live member other than `agent`, drawn.
    fn someone(&self, agent: usize, n: u64) -> Option<usize> {
        let now = self.truth.now;
        let awake = |other: &usize| *other != agent && self.truth.awake(*other, now) && self.truth.member(*other, now);
        let candidates: Vec<usize> = (0..self.truth.agents()).filter(awake).collect();
        let last = candidates.len().checked_sub(1)? as u64;
        let index = self.truth.scenario.draws.within((0, last), Purpose::Sponsor, agent as u64, now.0, n);
        candidates.get(usize::try_from(index).ok()?).copied()
    }
}

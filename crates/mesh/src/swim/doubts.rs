//! Suspicions: our own, which turn into failures unless they are refuted in time, and what others say of the same agents.

use super::{Swim, SwimId, SwimOutput};
use foca::{Header, Member, Message, State};
use quorate_core::{AgentId, Mono};
use quorate_wire::{Suspicion, encode_value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Confirmations after which a suspicion is as short as it gets.
const CONFIRMATIONS: usize = 2;
/// How much longer an unconfirmed suspicion lasts.
const UNCONFIRMED_FACTOR: u32 = 6;
/// Suspicions of one agent kept and passed on, by suspecter: so many that each who suspects it has enough by others. When half of a large mesh
/// is gone, everyone suspects everyone there, and more would be a burden to all for nothing (Lifeguard's bound on what is gossiped).
const MAX_REPORTS: usize = CONFIRMATIONS + 1;

/// A suspicion of our own, or what others say of the same agent.
#[derive(Debug)]
pub(super) struct Doubt {
    pub counter: u64,
    /// The incarnation that each of them suspects.
    pub reported_by: BTreeMap<AgentId, u16>,
    /// When the last of them was heard.
    pub at: Mono,
    pub certified: bool,
    pub own: Option<Own>,
}

/// A suspicion of our own. It ends by itself: what others claim about later incarnations, which nobody can check, must not keep it from that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own {
    pub since: Mono,
    pub incarnation: u16,
    pub token: foca::TimerToken,
    pub shortest: Duration,
}

impl Doubt {
    /// How many others suspect this incarnation or a later one.
    fn confirmed(&self, incarnation: u16) -> usize {
        self.reported_by.values().filter(|reported| **reported >= incarnation).count()
    }
}

impl Swim {
    pub(super) fn next_failure(&mut self) -> Option<Mono> {
        if std::mem::take(&mut self.doubts_changed) {
            self.next_failure = self.doubts.values().filter_map(|doubt| self.deadline(doubt)).min();
        }
        self.next_failure
    }

    /// Hears that another agent suspects someone.
    pub fn hear_suspicion(&mut self, now: Mono, suspicion: Suspicion) -> bool {
        if suspicion.of == self.foca.identity().agent || self.active.get(&suspicion.of) != Some(&suspicion.counter) {
            return false;
        }
        let Some(doubt) = self.doubt(now, suspicion.of, suspicion.counter) else { return false };
        if doubt.reported_by.get(&suspicion.by).is_some_and(|known| *known >= suspicion.incarnation) {
            return false;
        }
        if doubt.reported_by.len() >= MAX_REPORTS {
            doubt.reported_by.retain(|_, incarnation| *incarnation >= suspicion.incarnation);
        }
        let room = doubt.reported_by.len() < MAX_REPORTS;
        if room {
            doubt.reported_by.insert(suspicion.by, suspicion.incarnation);
            doubt.at = now;
        }
        room
    }

    /// Do so many others suspect the same that one more is no news?
    pub fn is_common(&self, suspicion: &Suspicion) -> bool {
        let same = |doubt: &&Doubt| doubt.counter == suspicion.counter;
        let reports = self.doubts.get(&suspicion.of).filter(same).map(|doubt| doubt.confirmed(suspicion.incarnation));
        reports.is_some_and(|reports| reports >= MAX_REPORTS)
    }

    /// Tells suspicions that hold no longer: their suspect is held failed, has refuted them, or goes by another identity.
    pub fn outdated(&self) -> impl Fn(&Suspicion) -> bool + use<> {
        let held = self.foca.iter_membership_state().filter(|member| member.state() != State::Down);
        let held: BTreeMap<_, _> = held.map(|m| (m.id().agent, (m.id().counter, m.incarnation()))).collect();
        let holds = move |suspicion: &Suspicion| {
            held.get(&suspicion.of).is_some_and(|(counter, incarnation)| {
                *counter == suspicion.counter && *incarnation <= suspicion.incarnation
            })
        };
        move |suspicion| !holds(suspicion)
    }

    /// The agent has just answered something else that we asked of it: our suspicion of it was wrong. Returns what it is to be told, so
    /// that it refutes the rumour.
    pub fn answered(&mut self, agent: AgentId) -> Option<Suspicion> {
        let doubt = self.doubts.get_mut(&agent)?;
        let Own { incarnation, .. } = doubt.own.take()?;
        self.doubts_changed = true;
        Some(Suspicion { by: self.foca.identity().agent, of: agent, counter: doubt.counter, incarnation })
    }

    /// Others suspect this agent: it says that it lives. Who told it of a suspicion of its own is answered as well: the refutation may be an old one,
    /// which has missed it and which nobody tells any more.
    pub fn refute(&mut self, now: Mono, from: AgentId, suspicion: Suspicion, links: &BTreeSet<AgentId>) {
        let me = *self.foca.identity();
        if suspicion.of != me.agent || suspicion.counter != me.counter {
            return;
        }
        let suspect = Member::new(me, suspicion.incarnation, State::Suspect);
        self.drive(now, links, |foca, sink| foca.apply_many(std::iter::once(suspect), true, sink));
        let counter = self.active.get(&from).filter(|_| suspicion.by == from);
        if let Some(dst) = counter.map(|counter| SwimId { agent: from, counter: *counter }) {
            // Whatever the library sends says under which incarnation its sender lives; this says nothing else.
            let header = Header { src: me, src_incarnation: self.incarnation, dst, message: Message::<SwimId>::Gossip };
            self.outputs.push(SwimOutput::Send { to: from, bytes: encode_value(&header) });
        }
    }

    /// Members held suspect without a suspicion of our own: rumours that may never have reached whom they are about.
    pub fn rumours(&self) -> Vec<Suspicion> {
        let by = self.foca.identity().agent;
        let suspect = self.foca.iter_membership_state().filter(|m| m.state() == State::Suspect);
        suspect
            .filter(|m| self.suspects_since(m.id().agent).is_none())
            .map(|m| Suspicion { by, of: m.id().agent, counter: m.id().counter, incarnation: m.incarnation() })
            .collect()
    }

    /// A quorum has declared the agent's host down, each by its own pings: there is nothing to wait for any more.
    pub fn confirm(&mut self, agent: AgentId) {
        if let Some(doubt) = self.doubts.get_mut(&agent) {
            doubt.certified = true;
            self.doubts_changed = true;
        }
    }

    /// Since when this agent itself suspects that one, if it does.
    pub fn suspects_since(&self, agent: AgentId) -> Option<Mono> {
        self.doubts.get(&agent)?.own.map(|own| own.since)
    }

    pub fn doubts_any(&self) -> bool {
        !self.doubts.is_empty()
    }

    /// Has anything happened since this was last asked by which a member may have become suspect, or ceased to be?
    pub fn take_stirred(&mut self) -> bool {
        std::mem::take(&mut self.stirred)
    }

    /// Members held suspect.
    pub fn suspected(&self) -> BTreeSet<AgentId> {
        self.foca.iter_membership_state().filter(|m| m.state() == State::Suspect).map(|m| m.id().agent).collect()
    }

    /// The doubt about this identity, made if there is none or one about an older.
    fn doubt(&mut self, now: Mono, agent: AgentId, counter: u64) -> Option<&mut Doubt> {
        let fresh = || Doubt { counter, reported_by: BTreeMap::new(), at: now, certified: false, own: None };
        self.doubts_changed = true;
        let doubt = self.doubts.entry(agent).or_insert_with(fresh);
        if doubt.counter < counter {
            *doubt = fresh();
        }
        Some(doubt).filter(|doubt| doubt.counter == counter)
    }

    /// When an own suspicion turns into a failure: `max - (max - min) * ln(c + 1) / ln(k + 1)` after c of k confirmations.
    pub(super) fn deadline(&self, doubt: &Doubt) -> Option<Mono> {
        let Own { since, incarnation, shortest, .. } = doubt.own?;
        let others = self.active.len().saturating_sub(1);
        let extra = (UNCONFIRMED_FACTOR - 1) * shortest;
        // ln(2) / ln(3) = 0.6309
        let wait = match doubt.confirmed(incarnation) {
            _ if doubt.certified => Duration::ZERO,
            _ if others < CONFIRMATIONS => shortest,
            0 => shortest + extra,
            1 => shortest + extra * 3691 / 10_000,
            _ => shortest,
        };
        Some(since + wait)
    }

    pub(super) fn suspect(
        &mut self,
        now: Mono,
        id: SwimId,
        incarnation: u16,
        token: foca::TimerToken,
        shortest: Duration,
    ) {
        let by = self.foca.identity().agent;
        let Some(doubt) = self.doubt(now, id.agent, id.counter) else { return };
        if doubt.own.is_none_or(|own| own.token != token || own.incarnation < incarnation) {
            doubt.own = Some(Own { since: now, incarnation, token, shortest });
            doubt.certified = false;
            let suspicion = Suspicion { by, of: id.agent, counter: id.counter, incarnation };
            self.outputs.push(SwimOutput::Suspects(suspicion));
        }
    }

    /// A quorum and a peer's table say that the agent has failed, of which nothing was heard here: it is suspect until it refutes.
    pub fn mistrust(&mut self, now: Mono, agent: AgentId, counter: u64, links: &BTreeSet<AgentId>) {
        let id = SwimId { agent, counter };
        let held =
            self.foca.iter_membership_state().find(|member| *member.id() == id && member.state() == State::Alive);
        if let Some(incarnation) = held.map(Member::incarnation) {
            let suspect = Member::new(id, incarnation, State::Suspect);
            self.drive(now, links, |foca, sink| foca.apply_many(std::iter::once(suspect), true, sink));
        }
    }
}

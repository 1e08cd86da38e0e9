//! Membership: the SWIM library (foca), and around its timers what it lacks.
//!
//! - **Local health** (Lifeguard, Dadgar et al., 2017): an agent that gets no answers while it hears nobody doubts itself and probes more
//!   slowly. The library has no negative acknowledgements, so "heard nobody else since the probe began" stands in for them.
//! - **Confirmed suspicion** (same paper): a suspicion lasts six times as long until two others share it.
//! - **Cold links**: the wait for a direct answer starts once the link can be up.
//! - **Safe merge**: a table from a peer never declares failed whom we hold alive. That agent is told instead, and renews its identity.
//! - **A misdirected `TurnUndead`**: the library sends it to a member that has refuted a suspicion in time, which would make a healthy
//!   member give up its identity. It is held back here (foca 2.0.0; remove the filter when a fixed release is out).
//! - **Strangers**: members that are not in the roster are ignored, whoever speaks of them.

mod codec;
mod collected;
mod settings;

use codec::{Codec, Known};
use collected::{Collected, Note};
use foca::{Foca, Header, Member, Message, NoCustomBroadcast, State, Timer};
use quorate_core::{AgentId, Mono};
use quorate_wire::{MemberMark, Suspicion, decode_prefix};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use settings::config;

pub(crate) use codec::SwimId;
pub(crate) use settings::log10_thousandths;

use crate::config::Timing;

/// Highest local health score.
const MAX_LOCAL_HEALTH: u32 = 7;
/// Confirmations after which a suspicion is as short as it gets.
const CONFIRMATIONS: usize = 2;
/// How much longer an unconfirmed suspicion lasts.
const UNCONFIRMED_FACTOR: u32 = 6;
/// Suspicions of one agent kept, by suspecter.
const MAX_REPORTS: usize = 16;
/// Reports older than this are forgotten.
const REPORT_LIFE: Duration = Duration::from_secs(60);

/// What membership wants done, or tells.
#[derive(Debug)]
pub(crate) enum SwimOutput {
    Send {
        to: AgentId,
        bytes: Vec<u8>,
    },
    Up(AgentId),
    Down(AgentId),
    /// A direct ping was not answered in time; others are being asked.
    NoAnswer(AgentId),
    ProbeFailed(AgentId),
    /// A probe failed and nobody else was heard meanwhile: perhaps it is us.
    HeardNobody,
    Suspects(Suspicion),
    Renewed,
}

/// A suspicion of our own, or what others say of the same agent.
#[derive(Debug)]
struct Doubt {
    counter: u64,
    incarnation: u16,
    reported_by: BTreeSet<AgentId>,
    at: Mono,
    certified: bool,
    own: Option<(Mono, foca::TimerToken, Duration)>,
}

pub(crate) struct Swim {
    foca: Foca<SwimId, Codec, ChaCha8Rng, NoCustomBroadcast>,
    known: Known,
    timers: BTreeMap<(Mono, u8, u64), Timer<SwimId>>,
    timer_seq: u64,
    active: BTreeMap<AgentId, u64>,
    doubts: BTreeMap<AgentId, Doubt>,
    incarnation: u16,
    /// Who has spoken since the running probe began.
    heard: BTreeSet<AgentId>,
    pub local_health: u32,
    pub undead_filtered: u64,
    pub probes_failed: u64,
    outputs: Vec<SwimOutput>,
    size: usize,
    timing: Timing,
}

impl Swim {
    pub fn new(me: SwimId, timing: &Timing, rng: ChaCha8Rng) -> Self {
        let known = Known::default();
        let codec = Codec { known: Arc::clone(&known), me };
        Self {
            foca: Foca::new(me, config(1, timing), rng, codec),
            known,
            timers: BTreeMap::new(),
            timer_seq: 0,
            active: BTreeMap::new(),
            doubts: BTreeMap::new(),
            incarnation: 0,
            heard: BTreeSet::new(),
            local_health: 0,
            undead_filtered: 0,
            probes_failed: 0,
            outputs: Vec::new(),
            size: 1,
            timing: timing.clone(),
        }
    }

    pub fn is_active(&self, agent: AgentId) -> bool {
        self.active.contains_key(&agent)
    }

    /// Members held alive or merely suspect, without this agent.
    pub fn active(&self) -> impl Iterator<Item = AgentId> + '_ {
        self.active.keys().copied()
    }

    pub fn active_count(&self) -> usize {
        self.active.len()
    }

    pub fn outputs(&mut self) -> Vec<SwimOutput> {
        std::mem::take(&mut self.outputs)
    }

    pub fn next_wakeup(&self) -> Option<Mono> {
        let timer = self.timers.first_key_value().map(|((at, ..), _)| *at);
        let doubt = self.doubts.values().filter_map(|doubt| self.deadline(doubt)).min();
        timer.into_iter().chain(doubt).min()
    }

    pub fn timer_count(&self) -> usize {
        self.timers.len()
    }

    /// Takes `agent` into the roster, under the identity of its last start.
    pub fn admit(&mut self, now: Mono, agent: AgentId, boot: u32, links: &BTreeSet<AgentId>) {
        self.set_known(agent, true);
        let id = SwimId::first(agent, boot);
        let held = self.foca.iter_membership_state().any(|m| m.id().agent == agent && m.id().counter >= id.counter);
        if !held {
            self.drive(now, links, |foca, sink| foca.apply_many(std::iter::once(Member::alive(id)), true, sink));
        }
    }

    /// Notes that `agent` belongs to the roster, without holding it alive.
    pub fn know(&mut self, agent: AgentId) {
        self.set_known(agent, true);
    }

    /// Removes an agent that has left or been forgotten.
    pub fn dismiss(&mut self, now: Mono, agent: AgentId, links: &BTreeSet<AgentId>) {
        let held = self.foca.iter_membership_state().find(|m| m.id().agent == agent).map(|m| *m.id());
        if let Some(id) = held {
            self.drive(now, links, |foca, mut sink| {
                foca.apply_many(std::iter::once(Member::down(id)), true, &mut sink)?;
                foca.handle_timer(Timer::RemoveDown(id), sink)
            });
        }
        self.set_known(agent, false);
        self.doubts.remove(&agent);
    }

    fn set_known(&mut self, agent: AgentId, is_known: bool) {
        if let Ok(mut known) = self.known.lock() {
            if is_known {
                known.insert(agent)
            } else {
                known.remove(&agent)
            };
            self.size = known.len().max(1);
        }
        let _ = self.foca.set_config(config(self.size, &self.timing));
    }

    /// Takes a membership packet from the peer whose certificate says `from`. False when it does not hold together or speaks for another.
    pub fn receive(&mut self, now: Mono, from: AgentId, bytes: &[u8], links: &BTreeSet<AgentId>) -> bool {
        let Ok((header, _)) = decode_prefix::<Header<SwimId>>(bytes) else { return false };
        if header.src.agent != from || header.dst.agent != self.foca.identity().agent {
            return false;
        }
        self.heard.insert(from);
        if let Message::PingReq { target, .. } = header.message {
            self.outputs.push(SwimOutput::NoAnswer(target.agent));
        }
        self.drive(now, links, |foca, sink| foca.handle_data(bytes, sink))
    }

    /// Delivers the timers that are due, in the library's order.
    pub fn wake(&mut self, now: Mono, links: &BTreeSet<AgentId>) {
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let timer = entry.remove();
            self.drive(now, links, |foca, sink| foca.handle_timer(timer, sink));
        }
        let due: Vec<_> =
            self.doubts.iter().filter(|(_, d)| self.deadline(d).is_some_and(|at| at <= now)).map(|(a, _)| *a).collect();
        for agent in due {
            let Some(doubt) = self.doubts.remove(&agent) else { continue };
            let Some((_, token, _)) = doubt.own else { continue };
            let member_id = SwimId { agent, counter: doubt.counter };
            let timer = Timer::ChangeSuspectToDown { member_id, incarnation: doubt.incarnation, token };
            self.drive(now, links, |foca, sink| foca.handle_timer(timer, sink));
        }
        self.doubts.retain(|_, doubt| doubt.own.is_some() || now.since(doubt.at) < REPORT_LIFE);
    }

    /// Passes membership news on, if there is any.
    pub fn gossip(&mut self, now: Mono, links: &BTreeSet<AgentId>) {
        if self.foca.updates_backlog() > 0 {
            self.drive(now, links, |foca, sink| foca.gossip(sink));
        }
    }

    pub fn backlog(&self) -> usize {
        self.foca.updates_backlog()
    }

    /// Tells everyone that this agent leaves.
    pub fn leave(&mut self, now: Mono, links: &BTreeSet<AgentId>) {
        self.drive(now, links, |foca, sink| foca.leave_cluster(sink));
    }

    /// Hears that another agent suspects someone.
    pub fn hear_suspicion(&mut self, now: Mono, suspicion: Suspicion) -> bool {
        if suspicion.of == self.foca.identity().agent || self.active.get(&suspicion.of) != Some(&suspicion.counter) {
            return false;
        }
        let doubt = self.doubt(now, suspicion.of, suspicion.counter, suspicion.incarnation);
        match doubt {
            Some(doubt) if doubt.reported_by.len() < MAX_REPORTS => doubt.reported_by.insert(suspicion.by),
            _ => false,
        }
    }

    /// The agent has just answered something else that we asked of it: our suspicion of it was wrong. Returns what it is to be told, so
    /// that it refutes the rumour.
    pub fn answered(&mut self, agent: AgentId) -> Option<Suspicion> {
        let doubt = self.doubts.get_mut(&agent)?;
        doubt.own.take()?;
        Some(Suspicion {
            by: self.foca.identity().agent,
            of: agent,
            counter: doubt.counter,
            incarnation: doubt.incarnation,
        })
    }

    /// Others suspect this agent: it says that it lives.
    pub fn refute(&mut self, now: Mono, suspicion: Suspicion, links: &BTreeSet<AgentId>) {
        let me = *self.foca.identity();
        if suspicion.of == me.agent && suspicion.counter == me.counter {
            let suspect = Member::new(me, suspicion.incarnation, State::Suspect);
            self.drive(now, links, |foca, sink| foca.apply_many(std::iter::once(suspect), true, sink));
        }
    }

    /// Members held suspect without a suspicion of our own: rumours that may never have reached whom they are about.
    pub fn rumours(&self) -> Vec<Suspicion> {
        let by = self.foca.identity().agent;
        let suspect = self.foca.iter_membership_state().filter(|m| m.state() == State::Suspect);
        let own = |agent: AgentId| self.doubts.get(&agent).is_some_and(|doubt| doubt.own.is_some());
        suspect
            .filter(|m| !own(m.id().agent))
            .map(|m| Suspicion { by, of: m.id().agent, counter: m.id().counter, incarnation: m.incarnation() })
            .collect()
    }

    /// A quorum has declared the agent's host down, each by its own pings: there is nothing to wait for any more.
    pub fn confirm(&mut self, agent: AgentId) {
        if let Some(doubt) = self.doubts.get_mut(&agent) {
            doubt.certified = true;
        }
    }

    pub fn doubts_any(&self) -> bool {
        !self.doubts.is_empty()
    }

    /// Members held suspect.
    pub fn suspected(&self) -> BTreeSet<AgentId> {
        self.foca.iter_membership_state().filter(|m| m.state() == State::Suspect).map(|m| m.id().agent).collect()
    }

    /// The doubt about this identity and incarnation, made if there is none or an older one.
    fn doubt(&mut self, now: Mono, agent: AgentId, counter: u64, incarnation: u16) -> Option<&mut Doubt> {
        let fresh =
            || Doubt { counter, incarnation, reported_by: BTreeSet::new(), at: now, certified: false, own: None };
        let doubt = self.doubts.entry(agent).or_insert_with(fresh);
        if (doubt.counter, doubt.incarnation) < (counter, incarnation) {
            *doubt = fresh();
        }
        Some(doubt).filter(|doubt| (doubt.counter, doubt.incarnation) == (counter, incarnation))
    }

    /// When an own suspicion turns into a failure: `max - (max - min) * ln(c + 1) / ln(k + 1)` after c of k confirmations.
    fn deadline(&self, doubt: &Doubt) -> Option<Mono> {
        let (started, _, shortest) = doubt.own?;
        let others = self.active.len().saturating_sub(1);
        let confirmed = doubt.reported_by.len();
        let extra = (UNCONFIRMED_FACTOR - 1) * shortest;
        // ln(2) / ln(3) = 0.6309
        let wait = match confirmed {
            _ if doubt.certified => Duration::ZERO,
            _ if others < CONFIRMATIONS => shortest,
            0 => shortest + extra,
            1 => shortest + extra * 3691 / 10_000,
            _ => shortest,
        };
        Some(started + wait)
    }

    /// The membership table, this agent included.
    pub fn table(&self) -> Vec<MemberMark> {
        let mark = |member: &Member<SwimId>| MemberMark {
            agent: member.id().agent,
            counter: member.id().counter,
            incarnation: member.incarnation(),
            state: match member.state() {
                State::Alive => 0,
                State::Suspect => 1,
                State::Down => 2,
            },
        };
        let me = *self.foca.identity();
        // Our own former identities are nobody's business.
        let others = self.foca.iter_membership_state().filter(|member| member.id().agent != me.agent);
        let mut table: Vec<_> = others.map(mark).collect();
        table.push(MemberMark { agent: me.agent, counter: me.counter, incarnation: self.incarnation, state: 0 });
        table.sort_unstable_by_key(|mark| mark.agent);
        table
    }

    /// Merges a peer's table by the safe rule. Returns those whom the peer holds failed under an identity that we hold alive.
    pub fn merge(&mut self, now: Mono, table: &[MemberMark], links: &BTreeSet<AgentId>) -> Vec<(AgentId, u64)> {
        let me = *self.foca.identity();
        let mut held_failed = Vec::new();
        let mut updates = Vec::new();
        for mark in table {
            let known = self.known.lock().is_ok_and(|known| known.contains(&mark.agent));
            let ours = mark.agent == me.agent;
            if !(known || ours) || (ours && mark.counter != me.counter) {
                continue;
            }
            let state = match mark.state {
                0 => State::Alive,
                1 => State::Suspect,
                _ => State::Down,
            };
            if state == State::Down && !ours && self.active.contains_key(&mark.agent) {
                if self.active.get(&mark.agent) == Some(&mark.counter) {
                    held_failed.push((mark.agent, mark.counter));
                }
                continue;
            }
            updates.push(Member::new(SwimId { agent: mark.agent, counter: mark.counter }, mark.incarnation, state));
        }
        self.drive(now, links, |foca, sink| foca.apply_many(updates.into_iter(), true, sink));
        held_failed
    }

    /// Someone holds us failed under `counter`: renew, if that is still our identity.
    pub fn held_failed(&mut self, now: Mono, counter: u64, links: &BTreeSet<AgentId>) {
        let me = *self.foca.identity();
        if me.counter == counter {
            let down = Member::new(me, self.incarnation, State::Down);
            self.drive(now, links, |foca, sink| foca.apply_many(std::iter::once(down), true, sink));
        }
    }

    /// Takes a higher boot counter, when the stored one turns out to be old.
    pub fn restart_as(&mut self, now: Mono, boot: u32, links: &BTreeSet<AgentId>) {
        let id = SwimId::first(self.foca.identity().agent, boot);
        self.drive(now, links, |foca, sink| foca.change_identity(id, sink));
    }

    fn drive(
        &mut self,
        now: Mono,
        links: &BTreeSet<AgentId>,
        act: impl FnOnce(&mut Foca<SwimId, Codec, ChaCha8Rng, NoCustomBroadcast>, &mut Collected) -> Result<(), foca::Error>,
    ) -> bool {
        let mut collected = Collected::default();
        let fine = act(&mut self.foca, &mut collected).is_ok();
        for note in collected.notes {
            self.note(note);
        }
        for (to, bytes) in collected.sends {
            self.send(to, bytes);
        }
        for (timer, after) in collected.timers {
            self.schedule(now, timer, after, links);
        }
        fine
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Up(id) => {
                self.active.insert(id.agent, id.counter);
                self.outputs.push(SwimOutput::Up(id.agent));
            }
            Note::Down(id) => {
                self.active.remove(&id.agent);
                self.doubts.remove(&id.agent);
                self.outputs.push(SwimOutput::Down(id.agent));
            }
            Note::Rename(old, new) => {
                if let Some(counter) = self.active.get_mut(&old.agent) {
                    *counter = new.counter;
                }
            }
            Note::Rejoin => {
                self.incarnation = 0;
                self.outputs.push(SwimOutput::Renewed);
            }
            Note::ProbeFailed(id) => {
                self.probes_failed += 1;
                if self.heard.iter().all(|agent| *agent == id.agent) && self.active.len() > 1 {
                    self.local_health = (self.local_health + 1).min(MAX_LOCAL_HEALTH);
                    self.outputs.push(SwimOutput::HeardNobody);
                }
                self.outputs.push(SwimOutput::ProbeFailed(id.agent));
            }
            Note::Ack => self.local_health = self.local_health.saturating_sub(1),
            Note::Incarnation(incarnation) => {
                if incarnation > self.incarnation {
                    // We had to refute: others think badly of us.
                    self.local_health = (self.local_health + 1).min(MAX_LOCAL_HEALTH);
                }
                self.incarnation = incarnation;
            }
        }
    }

    fn send(&mut self, to: SwimId, bytes: Vec<u8>) {
        match decode_prefix::<Header<SwimId>>(&bytes).map(|(header, _)| header.message) {
            Ok(Message::TurnUndead) if self.active.get(&to.agent) == Some(&to.counter) => {
                self.undead_filtered += 1;
                return;
            }
            Ok(Message::PingReq { target, .. }) => self.outputs.push(SwimOutput::NoAnswer(target.agent)),
            _ => {}
        }
        self.outputs.push(SwimOutput::Send { to: to.agent, bytes });
    }

    fn schedule(&mut self, now: Mono, timer: Timer<SwimId>, after: Duration, links: &BTreeSet<AgentId>) {
        let scale = self.local_health + 1;
        let (order, after) = match &timer {
            Timer::SendIndirectProbe { probed_id, .. } => {
                self.heard.clear();
                let cold = !links.contains(&probed_id.agent);
                (0, after * scale + if cold { self.timing.dial_allowance } else { Duration::ZERO })
            }
            Timer::ProbeRandomMember(_) => (1, after * scale),
            Timer::ChangeSuspectToDown { member_id, incarnation, token } => {
                self.suspect(now, *member_id, *incarnation, *token, after);
                return;
            }
            Timer::PeriodicAnnounce(_) | Timer::PeriodicAnnounceDown(_) | Timer::PeriodicGossip(_) => (2, after),
            Timer::RemoveDown(_) => (3, after),
        };
        self.timer_seq += 1;
        self.timers.insert((now + after, order, self.timer_seq), timer);
    }

    fn suspect(&mut self, now: Mono, id: SwimId, incarnation: u16, token: foca::TimerToken, shortest: Duration) {
        let by = self.foca.identity().agent;
        let Some(doubt) = self.doubt(now, id.agent, id.counter, incarnation) else { return };
        if doubt.own.is_none_or(|(_, old, _)| old != token) {
            doubt.own = Some((now, token, shortest));
            let suspicion = Suspicion { by, of: id.agent, counter: id.counter, incarnation };
            self.outputs.push(SwimOutput::Suspects(suspicion));
        }
    }
}

#[cfg(test)]
#[path = "swim_tests.rs"]
mod tests;

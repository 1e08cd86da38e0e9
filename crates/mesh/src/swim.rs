//! Membership: the SWIM library (foca), and around its timers what it lacks.
//!
//! - **Local health** (Lifeguard, Dadgar et al., 2017): an agent that gets no answers while it hears nobody doubts itself and probes more
//!   slowly. The library has no negative acknowledgements, so "heard nobody else since the probe began" stands in for them.
//! - **Confirmed suspicion** (same paper): a suspicion lasts six times as long until two others share it.
//! - **Cold links**: the wait for a direct answer starts once the link can be up.
//! - **Safe merge**: a table from a peer never declares failed whom we hold alive. That agent is told instead, and renews its identity.
//! - **Old news**: whom a returning member says has failed, and who is held alive here, is suspect only.
//! - **A misdirected `TurnUndead`**: the library sends it to a member that has refuted a suspicion in time, which would make a healthy
//!   member give up its identity. It is held back here (foca 2.0.0; remove the filter when a fixed release is out).
//! - **Strangers**: members that are not in the roster are ignored, whoever speaks of them.

mod claims;
mod codec;
mod collected;
mod doubts;
mod forming;
mod settings;
mod tables;

use codec::{Codec, Known};
use collected::{Collected, Note};
use doubts::{Doubt, Own};
use foca::{Foca, Header, Member, Message, NoCustomBroadcast, State, Timer};
use quorate_core::{AgentId, Mono};
use quorate_wire::{Suspicion, decode_prefix};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use settings::config;

use claims::Active;
pub(crate) use codec::{SwimId, is_ping};
pub(crate) use settings::log10_thousandths;
pub(crate) use tables::HeldFailed;

use crate::config::Timing;
use crate::sabotage::{Defect, Sabotage};

/// Highest local health score.
const MAX_LOCAL_HEALTH: u32 = 7;
/// So many probes unanswered in a row may mean that this agent hears others but is not heard.
const DUMB_AFTER: u32 = 2;
/// For so long after it came, or came back, what an agent says of others may be of a time when it was cut off.
const RETURNING: Duration = Duration::from_secs(5);
/// Reports older than this are forgotten.
const REPORT_LIFE: Duration = Duration::from_secs(60);
/// How often old ones are looked for.
const CLEARING: Duration = Duration::from_secs(1);

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
    /// A probe failed and nobody else was heard meanwhile, or several failed in a row: perhaps it is us.
    Alone,
    Suspects(Suspicion),
    Renewed,
    /// Only a new start gives an identity that others would believe.
    Exhausted,
    /// The agent speaks under an identity older than the one it is known by: it has given up all up to `counter`.
    Outdated {
        agent: AgentId,
        counter: u64,
    },
    /// The agent speaks as one started again, and its records have not come yet.
    Unheard(AgentId),
}

pub(crate) struct Swim {
    foca: Foca<SwimId, Codec, ChaCha8Rng, NoCustomBroadcast>,
    known: Known,
    timers: BTreeMap<(Mono, u8, u64), Timer<SwimId>>,
    timer_seq: u64,
    active: Arc<Active>,
    /// Who has come, or come back, a short while ago, and when.
    appeared: BTreeMap<AgentId, Mono>,
    doubts: BTreeMap<AgentId, Doubt>,
    /// When the first suspicion of our own turns into a failure; worked out anew when the doubts have changed.
    next_failure: Option<Mono>,
    doubts_changed: bool,
    /// When reports are next looked through for old ones.
    next_clearing: Mono,
    /// Has the library been at work since the suspects were last compared?
    stirred: bool,
    incarnation: u16,
    /// Who has spoken since the running probe began.
    heard: BTreeSet<AgentId>,
    pub local_health: u32,
    /// Probes that failed since the last one that was answered.
    failed_in_row: u32,
    pub undead_filtered: u64,
    pub probes_failed: u64,
    outputs: Vec<SwimOutput>,
    size: usize,
    timing: Timing,
    /// What is broken on purpose; nothing outside the simulator.
    pub sabotage: Sabotage,
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
            active: Arc::default(),
            appeared: BTreeMap::new(),
            doubts: BTreeMap::new(),
            next_failure: None,
            doubts_changed: false,
            next_clearing: Mono(0),
            stirred: true,
            incarnation: 0,
            heard: BTreeSet::new(),
            local_health: 0,
            failed_in_row: 0,
            undead_filtered: 0,
            probes_failed: 0,
            outputs: Vec::new(),
            size: 1,
            timing: timing.clone(),
            sabotage: Sabotage::default(),
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

    pub fn next_wakeup(&mut self) -> Option<Mono> {
        let failure = self.next_failure();
        let timer = self.timers.first_key_value().map(|((at, ..), _)| *at);
        timer.into_iter().chain(failure).min()
    }

    pub fn timer_count(&self) -> usize {
        self.timers.len()
    }

    /// Takes `agent` into the roster, under the identity of its last start.
    pub fn admit(&mut self, now: Mono, agent: AgentId, boot: u32, links: &BTreeSet<AgentId>) {
        self.know(agent, boot);
        let id = SwimId::first(agent, boot);
        let held = self.foca.iter_membership_state().any(|m| m.id().agent == agent && m.id().counter >= id.counter);
        if !held {
            self.drive(now, links, |foca, sink| foca.apply_many(std::iter::once(Member::alive(id)), true, sink));
        }
    }

    /// Notes that `agent` belongs to the roster and has been started `boot` times, without holding it alive.
    pub fn know(&mut self, agent: AgentId, boot: u32) {
        self.set_known(agent, Some(boot));
    }

    /// Removes an agent that has left or been forgotten. That it counts no longer is no word that it is dead.
    pub fn dismiss(&mut self, now: Mono, agent: AgentId, links: &BTreeSet<AgentId>) {
        let held = self.foca.iter_membership_state().find(|m| m.id().agent == agent).map(|m| *m.id());
        if let Some(id) = held {
            self.drive(now, links, |foca, mut sink| {
                foca.apply_many(std::iter::once(Member::down(id)), false, &mut sink)?;
                foca.handle_timer(Timer::RemoveDown(id), sink)
            });
        }
        self.set_known(agent, None);
        self.doubts.remove(&agent);
        self.appeared.remove(&agent);
        self.doubts_changed = true;
    }

    fn set_known(&mut self, agent: AgentId, boot: Option<u32>) {
        if let Ok(mut known) = self.known.lock() {
            match boot {
                Some(boot) => known.know(agent, boot),
                None => known.forget(agent),
            }
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
        if !self.believable(header.src) {
            self.outputs.push(SwimOutput::Unheard(from));
            return true;
        }
        self.heard.insert(from);
        if let Message::PingReq { target, .. } = header.message {
            self.outputs.push(SwimOutput::NoAnswer(target.agent));
        }
        let fresh = |appeared: &Mono| now.since(*appeared) < RETURNING;
        let returns = !self.active.contains_key(&from) || self.appeared.get(&from).is_some_and(fresh);
        // Whoever was cut off has declared others failed whom we hear. Its word makes them suspect until they refute it.
        let spared = returns.then(|| (from, Arc::clone(&self.active)));
        let known = Arc::clone(&self.known);
        let spare = |spared| {
            if let Ok(mut known) = known.lock() {
                known.spare(spared);
            }
        };
        spare(spared);
        let fine = self.drive(now, links, |foca, sink| {
            let handled = foca.handle_data(bytes, sink);
            spare(None);
            handled
        });
        self.outbid(now, links);
        fine
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
        let overdue = self.next_failure().is_some_and(|at| at <= now);
        let due = |doubt: &Doubt| self.deadline(doubt).is_some_and(|at| at <= now);
        let due: Vec<_> = match overdue {
            true => self.doubts.iter().filter(|(_, doubt)| due(doubt)).map(|(agent, _)| *agent).collect(),
            false => Vec::new(),
        };
        self.doubts_changed |= overdue;
        for agent in due {
            let Some(doubt) = self.doubts.remove(&agent) else { continue };
            let Some(Own { incarnation, token, .. }) = doubt.own else { continue };
            let member_id = SwimId { agent, counter: doubt.counter };
            let timer = Timer::ChangeSuspectToDown { member_id, incarnation, token };
            self.drive(now, links, |foca, sink| foca.handle_timer(timer, sink));
        }
        if self.next_clearing <= now {
            self.next_clearing = now + CLEARING;
            self.doubts.retain(|_, doubt| doubt.own.is_some() || now.since(doubt.at) < REPORT_LIFE);
            self.appeared.retain(|_, appeared| now.since(*appeared) < RETURNING);
        }
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

    /// A quorum and a peer's table agree that the agent has failed: what we still hold of it is out of date.
    pub fn condemn(&mut self, now: Mono, agent: AgentId, counter: u64, links: &BTreeSet<AgentId>) {
        if self.active.get(&agent) == Some(&counter) {
            let down = Member::down(SwimId { agent, counter });
            self.drive(now, links, |foca, sink| foca.apply_many(std::iter::once(down), true, sink));
        }
    }

    fn drive(
        &mut self,
        now: Mono,
        links: &BTreeSet<AgentId>,
        act: impl FnOnce(&mut Foca<SwimId, Codec, ChaCha8Rng, NoCustomBroadcast>, &mut Collected) -> Result<(), foca::Error>,
    ) -> bool {
        self.stirred = true;
        let mut collected = Collected::default();
        let identity = *self.foca.identity();
        let mut fine = act(&mut self.foca, &mut collected).is_ok();
        if *self.foca.identity() != identity {
            // With a new identity the library begins to probe when it is spoken to by that name. Whom nobody hears never is, and would take its silence
            // for peace; so it begins at once, with the members it has.
            fine &= self.foca.apply_many(std::iter::empty(), true, &mut collected).is_ok();
            if self.foca.identity().renewals() >= claims::MAX_RENEWALS {
                // One more, and nobody would believe it.
                self.outputs.push(SwimOutput::Exhausted);
            }
        }
        for note in collected.notes {
            self.note(now, note);
        }
        for (to, bytes) in collected.sends {
            self.send(to, bytes);
        }
        for (timer, after) in collected.timers {
            self.schedule(now, timer, after, links);
        }
        fine
    }

    fn note(&mut self, now: Mono, note: Note) {
        match note {
            Note::Up(id) => {
                Arc::make_mut(&mut self.active).insert(id.agent, id.counter);
                self.appeared.insert(id.agent, now);
                self.doubts_changed = true;
                self.outputs.push(SwimOutput::Up(id.agent));
            }
            Note::Down(id) => {
                Arc::make_mut(&mut self.active).remove(&id.agent);
                self.doubts.remove(&id.agent);
                self.doubts_changed = true;
                self.outputs.push(SwimOutput::Down(id.agent));
            }
            Note::Rename(old, new) => {
                if let Some(counter) = Arc::make_mut(&mut self.active).get_mut(&old.agent) {
                    *counter = new.counter;
                }
            }
            Note::Rejoin => {
                self.incarnation = 0;
                self.outputs.push(SwimOutput::Renewed);
            }
            Note::ProbeFailed(id) => {
                self.probes_failed += 1;
                self.failed_in_row += 1;
                let deaf = self.heard.iter().all(|agent| *agent == id.agent) && self.active.len() > 1;
                if deaf {
                    self.local_health = (self.local_health + 1).min(MAX_LOCAL_HEALTH);
                }
                if deaf || self.failed_in_row >= DUMB_AFTER {
                    self.outputs.push(SwimOutput::Alone);
                }
                self.outputs.push(SwimOutput::ProbeFailed(id.agent));
            }
            Note::Ack => {
                self.failed_in_row = 0;
                self.local_health = self.local_health.saturating_sub(1);
            }
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
        // A member may ask for a ping of somebody who does not exist.
        if !self.known.lock().is_ok_and(|known| known.knows(to.agent)) {
            return;
        }
        match decode_prefix::<Header<SwimId>>(&bytes).map(|(header, _)| header.message) {
            Ok(Message::TurnUndead)
                if self.active.get(&to.agent) == Some(&to.counter) && !self.sabotage.is(Defect::UndeadUnfiltered) =>
            {
                self.undead_filtered += 1;
                return;
            }
            Ok(Message::TurnUndead) => {
                // Told only that it is held failed, it would renew one by one until it has overtaken what is held of it. If that is its
                // present identity and held alive, no word of a former one may cost it that.
                let held = self.foca.iter_membership_state().find(|m| m.id().agent == to.agent);
                let given_up = held.map(|m| m.id().counter - u64::from(m.state() != State::Down));
                let ahead = held.is_some_and(|m| m.id().counter > to.counter);
                if let Some(counter) = given_up.filter(|_| ahead) {
                    self.outputs.push(SwimOutput::Outdated { agent: to.agent, counter });
                    return;
                }
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
}

#[cfg(test)]
#[path = "swim_tests.rs"]
mod tests;

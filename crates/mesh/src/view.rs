//! What one agent knows of the mesh, as published for reading.

use crate::api::MemberState;
use crate::breakers::{BreakerKey, BreakerState, BreakerView, OverrideMode};
use quorate_breaker::{Event, Mode};
use quorate_core::verdict::Certificate;
use quorate_core::{AgentId, Class, InstanceId, Observation, Registration, ServiceName, UnixMs, Verdict, Zone};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything, in one consistent picture. Cheap to clone.
#[derive(Debug, Clone, Serialize)]
pub struct MeshView {
    /// Who answers.
    pub agent: AgentId,
    /// Its name.
    pub name: String,
    /// When this picture was made, by its wall clock.
    pub at: UnixMs,
    /// Grows whenever the picture changes.
    pub index: u64,
    /// Does it reach more than half of the roster?
    pub quorate: bool,
    /// Since when that is so, or not so.
    pub quorate_since: UnixMs,
    /// Agents of the roster it holds alive (or merely suspect), itself included if it counts.
    pub alive: usize,
    /// The number of the roster it counts by; zero when it knows none yet.
    pub epoch: u64,
    /// A hash of that roster: two agents of one epoch have the same.
    pub roster_digest: u64,
    /// Agents that count: admitted, and neither left nor forgotten.
    pub roster: usize,
    /// Has it caught up with the mesh since its start?
    pub settled: bool,
    /// Every agent it knows, itself included, by id.
    pub members: Arc<BTreeMap<AgentId, MemberView>>,
    /// Every instance it knows, hosts included, by id.
    pub instances: Arc<BTreeMap<InstanceId, Arc<InstanceView>>>,
    /// Every breaker that callers on this host use, that is open for many, or on which a person gave a word; by service and instance.
    pub breakers: Arc<Vec<BreakerView>>,
    /// Counters and sizes.
    pub stats: Stats,
}

impl MeshView {
    /// What the mesh has made of a breaker that no caller on this host has used so far: its first call must not slip through before the engine has heard
    /// of it.
    #[must_use]
    pub fn breaker_so_far(&self, key: &BreakerKey) -> Option<Event> {
        let instance = self.instances.get(&key.instance).filter(|instance| instance.service == key.service);
        let down = instance.is_some_and(|instance| instance.verdict == Verdict::Down);
        let breaker = self.breakers.iter().find(|breaker| breaker.key == *key);
        let Some(breaker) = breaker else { return down.then_some(Event::PeersOpened) };
        match &breaker.overridden {
            Some(word) => Some(Event::Mode(match word.mode {
                OverrideMode::Automatic => Mode::Automatic,
                OverrideMode::ObserveOnly => Mode::ObserveOnly,
                OverrideMode::ForcedOpen => Mode::ForcedOpen,
                OverrideMode::ForcedClosed => Mode::ForcedClosed,
                OverrideMode::Disabled => Mode::Disabled,
            })),
            None => (down || breaker.state != BreakerState::Closed).then_some(Event::PeersOpened),
        }
    }
}

/// What one agent knows, without names and addresses: for looking at many agents often.
#[derive(Debug, Clone)]
pub struct Glance {
    /// Whose it is.
    pub agent: AgentId,
    /// When it was taken, by its wall clock.
    pub at: UnixMs,
    /// Grows whenever what it shows changes.
    pub index: u64,
    /// Does the agent reach more than half of the roster?
    pub quorate: bool,
    /// Since when that is so, or not so.
    pub quorate_since: UnixMs,
    /// Agents it holds alive (or merely suspect), itself included.
    pub alive: usize,
    /// Agents that count.
    pub roster: usize,
    /// The number of that roster; it grows with every change.
    pub epoch: u64,
    /// A hash of that roster: two agents of one epoch have the same.
    pub roster_digest: u64,
    /// Has it caught up with the mesh since its start?
    pub settled: bool,
    /// Every agent it knows, itself included, by id.
    pub members: Arc<Standings>,
    /// Every instance it knows, without the hosts of which there is nothing to say; see [`Glance::host`].
    pub instances: Arc<BTreeMap<InstanceId, Arc<InstanceView>>>,
    /// Counters and sizes.
    pub stats: Stats,
}

impl Glance {
    /// The verdict on a member's host: as it may be stated, as it was decided, and its term. `None` when there is no such member.
    #[must_use]
    pub fn host(&self, agent: AgentId) -> Option<(Verdict, Verdict, u64)> {
        let state = self.members.get(&agent)?.state;
        let known = self.instances.get(&InstanceId::host(agent)).map(|host| (host.verdict, host.decided, host.term));
        Some(known.unwrap_or((undecided_host(state), Verdict::Starting, 0)))
    }
}

/// What may be stated of a host about which nothing was decided: a quiet mesh decides nothing about hosts, and membership is what is known.
pub(crate) fn undecided_host(state: MemberState) -> Verdict {
    match state {
        MemberState::Alive | MemberState::Suspect => Verdict::Up,
        MemberState::Failed | MemberState::Left => Verdict::Unknown,
    }
}

/// One agent's membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Who.
    pub agent: AgentId,
    /// SWIM's opinion.
    pub state: MemberState,
}

/// The membership of every agent known, by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standings {
    all: Vec<Standing>,
    suspects: usize,
}

impl Standings {
    /// One agent's.
    #[must_use]
    pub fn get(&self, agent: &AgentId) -> Option<&Standing> {
        let place = self.all.binary_search_by_key(agent, |standing| standing.agent).ok()?;
        self.all.get(place)
    }

    /// How many are suspect.
    #[must_use]
    pub fn suspects(&self) -> usize {
        self.suspects
    }

    /// All of them, ascending by id.
    pub fn values(&self) -> impl Iterator<Item = &Standing> {
        self.all.iter()
    }
}

impl FromIterator<Standing> for Standings {
    fn from_iter<I: IntoIterator<Item = Standing>>(standings: I) -> Self {
        let mut all: Vec<_> = standings.into_iter().collect();
        all.sort_unstable_by_key(|standing| standing.agent);
        let suspects = all.iter().filter(|standing| standing.state == MemberState::Suspect).count();
        Self { all, suspects }
    }
}

/// One agent, in another's eyes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberView {
    /// Who.
    pub agent: AgentId,
    /// Its name.
    pub name: String,
    /// Its failure domain.
    pub zone: Zone,
    /// Where others dial it.
    pub address: String,
    /// Where its API is.
    pub api_address: String,
    /// Its software's version.
    pub version: String,
    /// How often it has been started.
    pub boot: u32,
    /// SWIM's opinion.
    pub state: MemberState,
    /// Is it in the roster?
    pub in_roster: bool,
    /// Since when, by the answering agent's wall clock.
    pub since: UnixMs,
    /// The mesh's verdict on its host.
    pub host: Verdict,
    /// Instances it is home to.
    pub instances: usize,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstanceView {
    /// Its name.
    pub instance: InstanceId,
    /// Which copy of that name it is: terms belong to one.
    #[serde(skip)]
    pub incarnation: u64,
    /// Its service.
    pub service: ServiceName,
    /// Its home agent.
    pub home: AgentId,
    /// That agent's name.
    pub home_name: String,
    /// Its zone: the home agent's.
    pub zone: Zone,
    /// `host:port`, or the agent's mesh address for a host.
    pub address: String,
    /// `http`, `https`, `tcp`, or `mesh` for a host.
    pub check: &'static str,
    /// How it is registered; none for a host.
    #[serde(skip)]
    pub registration: Option<Arc<Registration>>,
    /// The verdict as this agent may state it: `unknown` when nobody can be heard who would know.
    pub verdict: Verdict,
    /// The last verdict that was decided; `starting` when none was.
    pub decided: Verdict,
    /// The number of that verdict; zero when none.
    pub term: u64,
    /// What is broken.
    pub class: Class,
    /// Since when that verdict holds, by its proposer's wall clock; since registration when none was decided.
    pub since: UnixMs,
    /// Since when too few observers can be heard to confirm it; none while it is fresh.
    pub stale_since: Option<UnixMs>,
    /// Does it change too often?
    pub flapping: bool,
    /// Changes of verdict within the flap window.
    pub changes: u32,
    /// The host whose fault explains this one.
    pub folded_under: Option<InstanceId>,
    /// How many observers are assigned.
    pub assigned: u32,
    /// How many of them must agree.
    pub quorum: u32,
    /// Who watches, with what result.
    pub observers: Vec<ObserverView>,
    /// The proof of the decided verdict.
    pub certificate: Option<Arc<Certificate>>,
}

impl InstanceView {
    /// Its check is switched off: nothing new is learnt about it, on purpose.
    #[must_use]
    pub fn is_switched_off(&self) -> bool {
        self.registration.as_ref().is_some_and(|registration| !registration.check.enabled)
    }

    /// Its verdict cannot be confirmed any more, and should be.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale_since.is_some() && !self.is_switched_off()
    }
}

/// One observer of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObserverView {
    /// Who.
    pub agent: AgentId,
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: Zone,
    /// Is it the instance's home agent?
    pub home: bool,
    /// Its membership, in the answering agent's eyes.
    pub state: MemberState,
    /// Does its word still hold (alive, and heard)?
    pub heard: bool,
    /// What it last said; none when it has said nothing.
    pub observation: Option<Observation>,
}

/// Counters since the start, and sizes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Stats {
    /// Verdicts proposed by this agent.
    pub proposals: u64,
    /// Signatures given.
    pub signatures: u64,
    /// Signatures refused, for whatever reason.
    pub refusals: u64,
    /// Certificates this agent brought about.
    pub certificates_made: u64,
    /// Certificates taken from others.
    pub certificates_taken: u64,
    /// Certificates that did not hold.
    pub certificates_refused: u64,
    /// Roll calls made.
    pub roll_calls: u64,
    /// Roll calls that found more than half of the roster.
    pub roll_calls_quorate: u64,
    /// Attempts of this agent to have the roster changed.
    pub epoch_attempts: u64,
    /// Times this agent was held up.
    pub stalls: u64,
    /// Probes started.
    pub probes: u64,
    /// Outcomes set aside because the agent was held up meanwhile.
    pub probes_inconclusive: u64,
    /// Times other observers were asked to look at once.
    pub second_opinions_asked: u64,
    /// Probes made because a fellow observer asked.
    pub second_opinions_given: u64,
    /// Identity renewals: times this agent was declared failed while alive.
    pub renewals: u64,
    /// Misdirected `TurnUndead` messages held back.
    pub undead_filtered: u64,
    /// SWIM probes that got no answer.
    pub swim_probes_failed: u64,
    /// Lifeguard's local health, 0 (well) to 7.
    pub local_health: u32,
    /// Batches of records taken.
    pub batches_taken: u64,
    /// Batches whose signature, size or order was wrong.
    pub batches_refused: u64,
    /// Packets that could not be read.
    pub packets_malformed: u64,
    /// Packets from agents outside the roster, or claiming to be another.
    pub packets_refused: u64,
    /// Comparisons with other agents that were put off, since enough had been begun.
    pub syncs_spared: u64,
    /// Batches left to gossip alone, since enough had been passed on at once in this second.
    pub relays_spared: u64,
    /// Times a named limit was hit.
    pub limits_hit: u64,
    /// Batches and certificates still to be passed on.
    pub gossip_backlog: usize,
    /// Timers pending.
    pub timers: usize,
    /// Records held.
    pub records: usize,
}

//! What one agent knows of the mesh, as published for reading.

use crate::api::MemberState;
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
    /// Agents it holds alive (or merely suspect), itself included.
    pub alive: usize,
    /// Agents that have joined and neither left nor been forgotten.
    pub roster: usize,
    /// Has it caught up with the mesh since its start?
    pub settled: bool,
    /// Every agent it knows, itself included, by id.
    pub members: Arc<BTreeMap<AgentId, MemberView>>,
    /// Every instance it knows, hosts included, by id.
    pub instances: Arc<BTreeMap<InstanceId, Arc<InstanceView>>>,
    /// Counters and sizes.
    pub stats: Stats,
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
    /// Times this agent was held up.
    pub stalls: u64,
    /// Probes started.
    pub probes: u64,
    /// Outcomes set aside because the agent was held up meanwhile.
    pub probes_inconclusive: u64,
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
    /// Times a named limit was hit.
    pub limits_hit: u64,
    /// Batches and certificates still to be passed on.
    pub gossip_backlog: usize,
    /// Timers pending.
    pub timers: usize,
    /// Records held.
    pub records: usize,
}

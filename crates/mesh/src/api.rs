//! What goes into the engine and what comes out of it.

use crate::breakers::{BreakerCause, BreakerKey, BreakerReport, BreakerState, OverrideMode};
use quorate_core::{
    AgentId, Check, Class, InstanceId, Mono, Observation, Outcome, Registration, ServiceName, UnixMs, Verdict, Zone,
};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Identity and signatures, as the engine needs them. The agent uses certificates and Ed25519, the simulator a cheap keyed hash.
pub trait Keys: Send {
    /// Signs `bytes` as this agent.
    fn sign(&self, bytes: &[u8]) -> Vec<u8>;
    /// Whom does `credential` admit to this mesh? `None` when it is not valid here.
    fn admit(&self, credential: &[u8]) -> Option<AgentId>;
    /// Is `signature` over `bytes` by the holder of `credential` (already admitted)?
    fn verify(&self, credential: &[u8], bytes: &[u8], signature: &[u8]) -> bool;
}

/// Something that happened outside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Input {
    /// The deadline of [`crate::Engine::next_wakeup`] passed.
    Wake,
    /// Bytes from a peer whose certificate names it; unreliable, at most 1,150 bytes.
    Datagram {
        /// Who, by its certificate.
        from: AgentId,
        /// The packet.
        bytes: Vec<u8>,
    },
    /// Bytes from a peer by a stream: reliable while the link lasts, at most 1 MiB.
    Message {
        /// Who, by its certificate.
        from: AgentId,
        /// The packet.
        bytes: Vec<u8>,
    },
    /// A link to a peer came up or went down.
    Link {
        /// Which peer.
        peer: AgentId,
        /// What happened.
        event: LinkEvent,
    },
    /// A probe finished.
    Probe {
        /// Which, as given in [`ProbeRequest::id`].
        id: ProbeId,
        /// How it went.
        outcome: Outcome,
    },
    /// The agent's owner wants something.
    Command(Command),
    /// Breakers of this host have something to tell.
    Breakers(Vec<BreakerReport>),
}

/// What happened to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkEvent {
    /// A link is up; a send will go out at once.
    Up {
        /// The highest version of the packet format that both ends speak; within [`crate::WIRE_VERSIONS`].
        version: u8,
    },
    /// It is gone.
    Down,
}

/// A wish of the agent's owner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Make contact with an agent at an address: after joining, and when the operator names a seed.
    Contact {
        /// Who, by its certificate.
        agent: AgentId,
        /// Where.
        address: SocketAddr,
    },
    /// Replace the set of instances this agent is home to.
    Register(Vec<Registration>),
    /// Establish whether more than half of the roster is reachable now; answered by [`Output::RollCall`].
    CallRoll(Ticket),
    /// Probe an instance at once, if this agent observes it: there is news of it.
    Look(InstanceId),
    /// Leave for good: tell the others, then [`Output::Left`].
    Leave,
    /// Decide about a breaker in the machine's place, or let it decide again, on all hosts.
    Override(OverrideWish),
    /// Do not wait out [`crate::Timing::forget_after`] for this agent: it will not come back. Its host must be down by quorum all the same.
    Forget(AgentId),
}

/// A person's wish about a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideWish {
    /// Which breaker.
    pub key: BreakerKey,
    /// What it is to do; [`OverrideMode::Automatic`] lifts an earlier word.
    pub mode: OverrideMode,
    /// Why; at most 256 bytes.
    pub reason: String,
    /// For how long; at most 30 days.
    pub lives: Duration,
}

/// Names one request so that its answer can be told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// Names one running probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProbeId(pub u64);

/// A probe to start now.
#[derive(Debug, Clone)]
pub struct ProbeRequest {
    /// To be given back with the outcome.
    pub id: ProbeId,
    /// Which instance.
    pub instance: InstanceId,
    /// Of which service.
    pub service: ServiceName,
    /// `host:port`.
    pub address: String,
    /// How.
    pub check: Arc<Check>,
    /// When it was due: what has passed since is the schedule's lag.
    pub due: Mono,
}

/// Something to do outside.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send unreliably; at most 1,150 bytes. Dial if there is no link.
    Datagram {
        /// To whom.
        to: AgentId,
        /// The packet.
        bytes: Vec<u8>,
    },
    /// Send by a stream; at most 1 MiB. Dial if there is no link.
    Message {
        /// To whom.
        to: AgentId,
        /// The packet.
        bytes: Vec<u8>,
    },
    /// Where a peer can be dialled; replaces what was said before.
    Address {
        /// Whose.
        agent: AgentId,
        /// Where.
        address: SocketAddr,
    },
    /// Start a probe; its outcome comes back as [`Input::Probe`], always, once.
    Probe(ProbeRequest),
    /// Apply this to a breaker of this host.
    Breaker {
        /// Which breaker.
        key: BreakerKey,
        /// What happened to it.
        event: quorate_breaker::Event,
    },
    /// Replace the agent's stored state by what [`crate::Engine::state`] returns now or later, durably.
    Persist {
        /// Before the outputs that follow are carried out, which rely on it? Otherwise it may take its time.
        before_more: bool,
    },
    /// Something worth telling.
    Event(Event),
    /// The answer to [`Command::CallRoll`].
    RollCall {
        /// Of which request.
        ticket: Ticket,
        /// Agents reached, this one included; in a large roster, of a sample, unless that was too few.
        reached: usize,
        /// Agents in the roster.
        roster: usize,
        /// More than half, by rosters that agree?
        quorate: bool,
    },
    /// The others have been told of the leave; the process may end.
    Left,
}

/// A numbered event of this agent. Numbers grow by one, from one, within one run of the process.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// The number.
    pub index: u64,
    /// When, by this agent's wall clock.
    pub at: UnixMs,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// Verdicts changed; what changed within one dissemination time is one cut.
    Verdicts {
        /// The cut's number on this agent.
        cut: u64,
        /// The changes.
        changes: Vec<VerdictChange>,
    },
    /// A member's state changed, in this agent's eyes.
    Member {
        /// Who.
        agent: AgentId,
        /// Its name.
        name: String,
        /// Before; none when it is new.
        from: Option<MemberState>,
        /// After.
        to: MemberState,
    },
    /// An instance was registered by its home agent.
    Registered {
        /// Which.
        instance: InstanceId,
        /// Of which service.
        service: ServiceName,
        /// By whom.
        home: AgentId,
    },
    /// An instance was withdrawn by its home agent.
    Withdrawn {
        /// Which.
        instance: InstanceId,
    },
    /// This agent's own vote on an instance changed.
    Vote {
        /// On which.
        instance: InstanceId,
        /// To what.
        observation: Observation,
    },
    /// This agent came to reach more than half of the roster, or ceased to.
    Quorate {
        /// Does it now?
        quorate: bool,
        /// Agents it holds alive, itself included.
        alive: usize,
        /// Agents in the roster.
        roster: usize,
    },
    /// Who counts has changed, by agreement of those who counted before.
    Roster {
        /// The number of the new roster.
        epoch: u64,
        /// How many count now.
        roster: usize,
        /// Who begins to count.
        admitted: Vec<AgentId>,
        /// Who no longer counts.
        removed: Vec<AgentId>,
    },
    /// A breaker that callers share has turned, in this agent's eyes.
    Breaker {
        /// Of which service.
        service: ServiceName,
        /// Before which instance.
        instance: InstanceId,
        /// What it is now.
        state: BreakerState,
        /// Why it opened.
        cause: BreakerCause,
        /// Whose word opened it first.
        first: AgentId,
        /// For callers of this zone only, when others are served.
        zone: Option<Zone>,
    },
    /// A person decides about a breaker, or no longer does.
    Override {
        /// Of which service.
        service: ServiceName,
        /// Before which instance.
        instance: InstanceId,
        /// Who decides now; `automatic` is the machine.
        mode: OverrideMode,
        /// The agent through which the word was given.
        owner: AgentId,
        /// Why, in the person's words.
        reason: String,
    },
    /// This agent was held up.
    Stalled {
        /// How late its timers were, in milliseconds.
        late_ms: u64,
    },
    /// Another process runs with this agent's identity: a cloned data directory. The agent should stop.
    IdentityConflict {
        /// In words.
        detail: String,
    },
}

/// One change of one verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerdictChange {
    /// Of which instance.
    pub instance: InstanceId,
    /// Of which service.
    pub service: ServiceName,
    /// Its term.
    pub term: u64,
    /// Before.
    pub from: Verdict,
    /// After.
    pub to: Verdict,
    /// What is broken.
    pub class: Class,
    /// The host whose fault explains this one.
    pub folded_under: Option<InstanceId>,
    /// Who signed.
    pub signers: Vec<AgentId>,
    /// When it was decided, by the proposer's wall clock.
    pub decided_at: UnixMs,
}

/// SWIM's opinion of an agent. `failed` and `left` are different things: a failed agent still counts in the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Answers.
    Alive,
    /// Did not answer; may yet refute.
    Suspect,
    /// Gone without leaving.
    Failed,
    /// Gone on purpose.
    Left,
}

/// Why an engine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The stored state is damaged.
    #[error(
        "the stored state cannot be read: {0}. Move the file away to start without it; the agent then learns everything from its peers"
    )]
    Stored(String),
    /// The stored state was written by a release that this one does not know.
    #[error(
        "the stored state has format {found}, this release reads up to {known}: run the release that wrote it, or move the file away; the \
         agent then learns everything from its peers"
    )]
    Newer {
        /// Its format.
        found: u16,
        /// The newest that can be read.
        known: u16,
    },
    /// The stored state is another agent's.
    #[error("the stored state belongs to agent {stored}, this is {this}. Each agent needs a data directory of its own")]
    OtherAgent {
        /// Whose it is.
        stored: AgentId,
        /// Who asks.
        this: AgentId,
    },
    /// The agent's own credential is not valid in its own mesh.
    #[error("the agent's own certificate is not valid in this mesh")]
    Credential,
}

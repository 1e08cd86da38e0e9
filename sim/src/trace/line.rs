//! The lines of a trace. Every kind and field is described in `docs/trace-format.md`.

use quorate_core::{AgentId, IntentKind, ProbeResult, Verdict, Vote, Zone};
use quorate_mesh::EventKind;
use serde::Serialize;
use serde_json::Value;

/// One line: what was the case or happened, and when.
#[derive(Debug, Clone, Serialize)]
pub struct Stamped {
    /// Simulated nanoseconds since the start of the run.
    pub t_ns: u64,
    /// What.
    #[serde(flatten)]
    pub line: Line,
}

/// What a line tells. Agents and instances stand by their names.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "described in docs/trace-format.md, and a test compares the two")]
pub enum Line {
    /// What the run is about: the first line.
    Run {
        name: String,
        seed: u64,
        plan: Value,
        agents: Vec<AgentLine>,
        instances: Vec<InstanceLine>,
        host_observers: u32,
        last_fault_ns: u64,
    },
    /// Truth: what an agent's process is from now on.
    Process { agent: String, state: ProcessState },
    /// Truth: an agent becomes a member, or ceases to be one.
    Member { agent: String, member: bool },
    /// Truth: from now on an agent may lie; nothing holds for what it says.
    Faulty { agent: String },
    /// Truth: what one agent sends to others gets through from now on, or does not.
    Path { from: String, to: Vec<String>, open: bool },
    /// Truth: what some agents would find from now on if they probed an instance.
    Target { instance: String, state: TargetState, observers: Vec<String> },
    /// Truth: what the home of an instance registers from now on, and an operator's wish with it.
    Registration { instance: String, registered: bool, intent: Option<IntentKind> },
    /// Truth: the plan harms packets, processes or clocks from now on, or no longer, or at once.
    Disturbance { fault: usize, what: &'static str, from: Vec<String>, to: Vec<String>, on: Option<bool> },
    /// A probe's outcome reaches its agent.
    Probe { agent: String, instance: String, started_ns: u64, passed: bool, result: ProbeResult },
    /// A call is let through or rejected, or its result comes.
    Call { agent: String, instance: String, began_ns: u64, admitted: bool, trial: bool, outcome: Option<CallEnd> },
    /// An agent votes differently from now on, or not any more.
    Vote { agent: String, instance: String, vote: Option<Vote>, detail: String },
    /// What an agent states of an instance changes.
    Verdict {
        agent: String,
        instance: String,
        verdict: Verdict,
        decided: Verdict,
        incarnation: u64,
        term: u64,
        stale: bool,
        flapping: bool,
    },
    /// An agent ceases to state anything of an instance.
    Unstated { agent: String, instance: String },
    /// A certificate is held by an agent for the first time in the run.
    Certificate {
        agent: String,
        instance: String,
        incarnation: u64,
        term: u64,
        verdict: Verdict,
        observers: u32,
        assigned: Vec<String>,
        roster: usize,
        signers: Vec<Signer>,
    },
    /// An agent's event, other than votes.
    Event { agent: String, event: EventKind },
    /// By which roster an agent counts and whether it reaches more than half of it, where no event has told.
    Standing { agent: String, quorate: bool, epoch: u64, roster: Option<Vec<String>> },
    /// An agent is told of a link.
    Link { agent: String, peer: String, up: bool },
    /// An agent sends; only when asked for.
    Send { agent: String, to: String, class: &'static str, packet: &'static str, bytes: usize },
    /// What the mesh looks like, and what went over the network up to now.
    Survey {
        running: usize,
        quorate: usize,
        agreeing: usize,
        pictures: usize,
        packets: u64,
        bytes: u64,
        lost: u64,
        gossip_backlog: usize,
    },
    /// A promise is found to be broken.
    Violation { invariant: &'static str, agent: Option<String>, detail: String, votes: Vec<String> },
    /// The run is over: the last line.
    End { events: u64 },
}

/// An agent of the run.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "as Line")]
pub struct AgentLine {
    pub name: String,
    pub id: AgentId,
    pub zone: Zone,
}

/// An instance of the run.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "as Line")]
pub struct InstanceLine {
    pub name: String,
    pub service: String,
    pub home: String,
    pub period_ms: u64,
    pub timeout_ms: u64,
    pub failure_threshold: u32,
    pub success_threshold: u32,
    pub observers: u32,
    pub home_only: bool,
}

/// A signature under a certificate, without the signature itself.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "as Line")]
pub struct Signer {
    pub agent: String,
    pub vote: Vote,
    pub signed_ns: u64,
}

/// What a call came to.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs, reason = "as Line")]
pub struct CallEnd {
    pub failed: bool,
    pub counted: bool,
    pub stale: bool,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessState {
    /// It never ran so far.
    Absent,
    /// It runs.
    Up,
    /// It stands still.
    Paused,
    /// It ended without a word.
    Crashed,
    /// It ended after its agent had left.
    Left,
}

/// What an observer would find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetState {
    /// It answers as it should.
    Healthy,
    /// It refuses connections.
    Refused,
    /// It accepts them and says nothing.
    Hung,
    /// It answers 500.
    Erroring,
    /// Nothing is heard of its host: it is dark, or a cut lies between.
    Silent,
    /// It answers as it should, but late.
    Slow,
    /// It answers so many probes a second, and 503 to the others.
    Overloaded,
}

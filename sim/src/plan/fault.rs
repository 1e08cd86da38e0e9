//! What goes wrong, and planned changes.

use super::defaults;
use crate::faulty::Behaviour;
use crate::time::Span;
use quorate_core::IntentKind;
use serde::{Deserialize, Serialize};

/// Something that goes wrong, or a planned change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The groups cannot talk to each other. An agent in no group talks to all.
    Partition {
        /// Who is together.
        groups: Vec<Vec<usize>>,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
        /// When false, only what the first group sends is lost.
        #[serde(default = "defaults::yes")]
        symmetric: bool,
        /// On and off in turn within that time; all of it when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycle: Option<Cycle>,
    },
    /// What some send to others is lost; the way back is open.
    Cut {
        /// Who is not heard.
        senders: Vec<usize>,
        /// By whom.
        receivers: Vec<usize>,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
        /// On and off in turn within that time; all of it when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycle: Option<Cycle>,
    },
    /// Agents are each cut off from everybody.
    Isolate {
        /// Which.
        agents: Vec<usize>,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
        /// On and off in turn within that time; all of it when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycle: Option<Cycle>,
    },
    /// Agents stand in a ring, and each hears only its neighbours. An agent that is not in it hears all.
    Ring {
        /// Their order; by number when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agents: Option<Vec<usize>>,
        /// How many neighbours each hears on either side.
        #[serde(default = "defaults::one")]
        reach: usize,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
        /// On and off in turn within that time; all of it when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycle: Option<Cycle>,
    },
    /// Packets are lost, in place of the network's own share when that is lower.
    Loss {
        /// Of a thousand. All, unless restricted otherwise, is a cut.
        per_mille: u32,
        /// Who sends; everybody when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        senders: Option<Vec<usize>>,
        /// Who receives; everybody when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        receivers: Option<Vec<usize>>,
        /// Only this kind of packet; every kind when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<Only>,
        /// Only packets of more bytes than this: what a path does whose limit is lower than both ends believe.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        larger_than: Option<usize>,
        /// Only in bursts; all the time when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        burst: Option<Burst>,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
        /// On and off in turn within that time; all of it when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycle: Option<Cycle>,
    },
    /// Packets take longer. When it is a share of them only, they overtake each other.
    Delay {
        /// Shortest and longest addition to a one-way travel, in microseconds.
        extra_us: [u64; 2],
        /// How many of a thousand packets.
        #[serde(default = "defaults::all")]
        per_mille: u32,
        /// Who sends; everybody when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        senders: Option<Vec<usize>>,
        /// Who receives; everybody when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        receivers: Option<Vec<usize>>,
        /// Only this kind of packet; every kind when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<Only>,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
        /// On and off in turn within that time; all of it when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycle: Option<Cycle>,
    },
    /// Datagrams arrive twice.
    Duplicate {
        /// Of a thousand.
        per_mille: u32,
        /// Who sends; everybody when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        senders: Option<Vec<usize>>,
        /// Who receives; everybody when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        receivers: Option<Vec<usize>>,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
        /// On and off in turn within that time; all of it when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycle: Option<Cycle>,
    },
    /// What agents send goes through a line that carries only so much.
    Throttle {
        /// Which; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agents: Option<Vec<usize>>,
        /// Bytes per second.
        bytes_per_s: u64,
        /// Bytes that may wait; a datagram that finds more is dropped, a message waits.
        #[serde(default = "defaults::queue")]
        queue_bytes: u64,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
        /// On and off in turn within that time; all of it when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycle: Option<Cycle>,
    },
    /// Links break, once or again and again; the agents may dial each other anew at once.
    Reset {
        /// The links of these; of all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agents: Option<Vec<usize>>,
        /// With these; with all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peers: Option<Vec<usize>>,
        /// When.
        at: Span,
        /// And again after this long; once when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        every: Option<Span>,
        /// Until when, if again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Span>,
    },
    /// A host goes dark: its agent and, unless told otherwise, the instances on it.
    Crash {
        /// Which.
        agent: usize,
        /// When.
        at: Span,
        /// When it comes back; never when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restart_at: Option<Span>,
        /// What it then finds of what it stored.
        #[serde(default)]
        disk: Disk,
        /// Only the agent dies; the instances live.
        #[serde(default)]
        targets_survive: bool,
    },
    /// An agent's process stands still.
    Pause {
        /// Which.
        agent: usize,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
        /// What it sees first when it goes on.
        #[serde(default)]
        wake: WakeOrder,
    },
    /// A process is slow: it handles one input after the other, and each takes this long.
    Slow {
        /// Which; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agents: Option<Vec<usize>>,
        /// How long each input takes.
        per_input: Span,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
        /// On and off in turn within that time; all of it when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycle: Option<Cycle>,
    },
    /// An agent's clocks run fast or slow.
    Drift {
        /// Whose.
        agent: usize,
        /// Fast by so many millionths; slow when negative.
        ppm: i64,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
    },
    /// An agent's wall clock is set anew. The clock that only runs does not change.
    ClockStep {
        /// Whose.
        agent: usize,
        /// When.
        at: Span,
        /// By so many milliseconds; back when negative.
        by_ms: i64,
    },
    /// A second process runs with an agent's identity, from a copy of its disk, at another address.
    Clone {
        /// Whose.
        agent: usize,
        /// Begin; the disk is copied then.
        from: Span,
        /// End: the copy's process is killed.
        to: Span,
    },
    /// Agents restart one after the other.
    RollingRestart {
        /// Which, in this order; all by number when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agents: Option<Vec<usize>>,
        /// The first one stops.
        from: Span,
        /// The next one stops so much later.
        every: Span,
        /// How long each is down.
        down: Span,
        /// What each finds again.
        #[serde(default)]
        disk: Disk,
        /// Only the agents restart; the instances live.
        #[serde(default = "defaults::yes")]
        targets_survive: bool,
    },
    /// Agents vanish one after the other, and a fresh one joins in the place of each.
    Replace {
        /// Who vanishes, in this order.
        agents: Vec<usize>,
        /// Who joins instead, in this order; these do not exist before.
        by: Vec<usize>,
        /// The first one vanishes.
        from: Span,
        /// The next one vanishes so much later.
        every: Span,
        /// The fresh one asks to join so long after the old one has vanished.
        after: Span,
        /// They leave and say so, rather than vanish.
        #[serde(default)]
        goodbye: bool,
    },
    /// Many agents join within a short time.
    JoinStorm {
        /// Which.
        agents: Vec<usize>,
        /// The first one.
        from: Span,
        /// The last one.
        to: Span,
    },
    /// Many agents leave within a short time.
    MassLeave {
        /// Which.
        agents: Vec<usize>,
        /// The first one.
        from: Span,
        /// The last one.
        to: Span,
    },
    /// An instance misbehaves.
    Target {
        /// Which, as `NAME@HOME`.
        instance: String,
        /// How.
        mode: TargetMode,
        /// Begin.
        from: Span,
        /// End; never when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Span>,
        /// For `flapping`: this long dead, this long alive, and again.
        #[serde(default = "defaults::flap")]
        flap_period: Span,
        /// For `slow`: it answers after this long.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer_after: Option<Span>,
        /// For `overloaded`: it answers so many probes in each second, and 503 to the others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        probes_per_s: Option<u32>,
        /// The agents that see it; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen_by: Option<Vec<usize>>,
    },
    /// An instance's home takes its registration back.
    Withdraw {
        /// Which, as `NAME@HOME`.
        instance: String,
        /// When.
        from: Span,
        /// When it is registered again, as another copy; never when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Span>,
    },
    /// An operator wishes something for an instance.
    Intent {
        /// Which, as `NAME@HOME`.
        instance: String,
        /// What.
        intent: IntentKind,
        /// Begin.
        from: Span,
        /// End; never when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Span>,
    },
    /// A member is faulty: it says what is not so.
    Faulty {
        /// Which.
        agent: usize,
        /// In what way.
        behaviour: Behaviour,
        /// Begin.
        from: Span,
        /// End; never when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Span>,
    },
    /// Agents are lost for good: the rest of the mesh must do without them, and still agree and be right.
    Abandon {
        /// Which.
        agents: Vec<usize>,
        /// From when on.
        at: Span,
        /// They are cut off from the rest, and live on among themselves. Otherwise their hosts go dark.
        #[serde(default)]
        alive: bool,
    },
    /// An agent leaves for good, telling the others.
    Leave {
        /// Which.
        agent: usize,
        /// When.
        at: Span,
    },
    /// An agent joins: for the first time, or again after it left. Until its first time it does not exist.
    Join {
        /// Which.
        agent: usize,
        /// When.
        at: Span,
    },
}

/// On for a while, off for a while, and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cycle {
    /// So long on, first.
    pub on: Span,
    /// So long off.
    pub off: Span,
}

/// Bursts of harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// Mean length of a burst.
    pub bad: Span,
    /// Mean time between bursts.
    pub good: Span,
}

/// A kind of packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Only {
    /// Unreliable, between agents.
    Datagram,
    /// Reliable, between agents.
    Message,
    /// Of a probe to an instance on another host.
    Probe,
}

/// What a restarted agent finds of what it stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disk {
    /// All of it.
    #[default]
    Keep,
    /// Nothing but its identity.
    Lose,
    /// An older state.
    Stale,
}

/// What a process sees first when it goes on after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WakeOrder {
    /// All that arrived meanwhile, then its timers.
    #[default]
    Packets,
    /// Its timers first.
    Timers,
    /// Half of the packets, the timers, the rest.
    Mixed,
}

/// How an instance misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetMode {
    /// Nothing listens: refused.
    Dead,
    /// It accepts and never answers.
    Hung,
    /// It answers 500.
    Erroring,
    /// Dead and alive in turn.
    Flapping,
    /// Nothing is heard of it: what is sent to it is dropped on its way.
    Silent,
    /// It answers as it should, but late.
    Slow,
    /// It answers as it should while it is asked rarely enough.
    Overloaded,
}

//! One simulated host: what its disk holds, and the process that runs on it, if any.

use crate::draw::Purpose;
use crate::faulty::{Faulty, Window};
use crate::keys::SimKeys;
use crate::ledger::Ledger;
use crate::node::{AnyStarter, Node};
use crate::plan::Disk;
use crate::scenario::Scenario;
use crate::time::SimTime;
use quorate_core::{Mono, Now};
use quorate_mesh::{EngineConfig, Glance, Input, ProbeId, StartError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// States of the disk that a restart with a stale one may find.
const OLD_DISKS: usize = 8;
/// Datagrams that may wait for a process that stands still: what the socket's buffer holds.
const INBOX_DATAGRAMS: usize = 512;

/// A process that runs.
pub struct Process {
    /// The agent's behaviour.
    pub node: Box<dyn Node>,
    /// When it started: zero on its monotonic clock.
    pub started: SimTime,
    /// The earliest wake-up that is queued.
    pub wake_at: SimTime,
    /// Does it stand still?
    pub paused: bool,
    /// Until when it is busy with its last input.
    pub busy_until: SimTime,
    /// What arrived while it stood still or was busy.
    pub inbox: Inbox,
    /// The probes it has under way: of which instance, and since when.
    pub probing: BTreeMap<ProbeId, (usize, SimTime)>,
    /// Which process it was told to dial for each agent; none where nobody listens.
    pub routes: Vec<Option<usize>>,
    /// The last picture taken of what it knows.
    pub view: Option<Glance>,
    /// Inputs handled in the current second, and which second that is.
    pub handled: (u64, u64),
}

/// What waits for a process, with the digests of its bytes.
#[derive(Debug, Default)]
pub struct Inbox {
    waiting: VecDeque<(Input, u64)>,
    datagrams: usize,
}

impl Inbox {
    /// Keeps an input for later; a datagram too many is lost.
    pub fn keep(&mut self, input: Input, digest: u64) {
        let datagram = matches!(input, Input::Datagram { .. });
        if !datagram || self.datagrams < INBOX_DATAGRAMS {
            self.datagrams += usize::from(datagram);
            self.waiting.push_back((input, digest));
        }
    }

    /// Takes the one that has waited longest.
    pub fn next(&mut self) -> Option<(Input, u64)> {
        let next = self.waiting.pop_front()?;
        self.datagrams -= usize::from(matches!(next.0, Input::Datagram { .. }));
        Some(next)
    }

    /// Takes all.
    pub fn take(&mut self) -> Vec<(Input, u64)> {
        std::mem::take(self).waiting.into()
    }
}

/// A host.
#[derive(Default)]
pub struct Host {
    /// The process on it.
    pub process: Option<Process>,
    /// How many processes have run on it: tells what was meant for an earlier one.
    pub run: u64,
    /// What the agent stored.
    disk: Option<Vec<u8>>,
    /// Whom its owner told it to call, which it does at each start.
    pub contacts: BTreeSet<usize>,
    /// Will it ever be read again, in its newest state or an older one?
    pub returns: bool,
    pub returns_stale: bool,
    old_disks: VecDeque<Vec<u8>>,
    /// Is what it holds from before its agent, the founder, had met anybody?
    solitary: bool,
    /// Did its agent leave?
    pub left: bool,
    /// Where its agent's keys note what they sign.
    pub ledger: Ledger,
}

/// The two clocks of a process that started at `started`.
pub fn clocks(scenario: &Scenario, process: usize, started: SimTime, at: SimTime) -> Now {
    let clock = &scenario.agents[scenario.role(process)].clock;
    Now { mono: Mono(clock.running(at) - clock.running(started)), wall: clock.calendar(at) }
}

/// When the process of `agent` that starts at `started` is faulty, by its own clock.
fn faulty_windows(scenario: &Scenario, agent: usize, started: SimTime) -> Vec<Window> {
    let own = |at: SimTime| match at {
        SimTime::NEVER => Mono(u64::MAX),
        at => clocks(scenario, agent, started, at.max(started)).mono,
    };
    let windows = scenario.faulty.iter().filter(|(who, when, _)| *who == agent && when.to > started);
    windows
        .map(|(_, when, behaviour)| Window { from: own(when.from), to: own(when.to), behaviour: *behaviour })
        .collect()
}

impl Host {
    /// What its agent wants stored.
    pub fn state(&self) -> Vec<u8> {
        self.process.as_ref().map(|process| process.node.state()).unwrap_or_default()
    }

    /// Stores what the agent wants stored; `first`: nothing older may ever be found again.
    pub fn persist(&mut self, bytes: Vec<u8>, first: bool) {
        let known_as_old = self.returns_stale && !std::mem::replace(&mut self.solitary, first);
        if let Some(old) = self.disk.replace(bytes).filter(|_| known_as_old) {
            if self.old_disks.len() == OLD_DISKS {
                self.old_disks.pop_front();
            }
            self.old_disks.push_back(old);
        }
        if first {
            self.old_disks.clear();
        }
    }

    /// What it holds.
    pub fn disk(&self) -> Option<Vec<u8>> {
        self.disk.clone()
    }

    /// Gets a copy of another's disk.
    pub fn copy_disk(&mut self, disk: Option<Vec<u8>>) {
        self.disk = disk;
    }

    /// Does a restart find anything?
    pub fn remembers(&self) -> bool {
        self.disk.is_some()
    }

    /// Starts a process, with what `disk` leaves of what was stored.
    ///
    /// # Errors
    /// The engine's own.
    pub fn start(
        &mut self,
        scenario: &Scenario,
        agent: usize,
        at: SimTime,
        disk: Disk,
        starter: &AnyStarter,
    ) -> Result<(), StartError> {
        match disk {
            Disk::Keep => {}
            Disk::Lose => self.disk = None,
            Disk::Stale => self.disk = self.old_disks.pop_front(),
        }
        self.old_disks.clear();
        self.run += 1;
        self.left = false;
        let role = scenario.role(agent);
        let this = &scenario.agents[role];
        let secret = scenario.draws.bits(Purpose::Secret, 0, 0, 0);
        let keys = SimKeys::new(secret, this.id).noted_in(self.ledger.clone());
        let config = EngineConfig {
            agent: this.id,
            name: this.name.clone(),
            zone: this.zone.clone(),
            address: scenario.address(agent),
            api_address: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            credential: keys.credential(),
            // An agent that has lost its disk has run before: its mesh is still there.
            founder: role == 0 && scenario.founders.contains(&0) && (self.run == 1 || self.disk.is_some()),
            boot_floor: 0,
            registrations: scenario.registrations(role, at),
            seed: scenario.draws.bits(Purpose::Engine, agent as u64, self.run, 0),
            timing: scenario.timing.clone(),
        };
        let clock = clocks(scenario, agent, at, at);
        let node = starter(config, self.disk.as_deref(), Box::new(keys.clone()), clock)?;
        let windows = faulty_windows(scenario, agent, at);
        let node = Faulty::wrap(node, windows, keys, this.id, (scenario.draws, agent, self.run));
        self.process = Some(Process {
            node,
            started: at,
            wake_at: SimTime::NEVER,
            paused: false,
            busy_until: SimTime::START,
            inbox: Inbox::default(),
            probing: BTreeMap::new(),
            routes: vec![None; scenario.agents.len()],
            view: None,
            handled: (0, 0),
        });
        Ok(())
    }
}

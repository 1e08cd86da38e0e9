//! One simulated host: what its disk holds, and the process that runs on it, if any.

use crate::draw::Purpose;
use crate::keys::SimKeys;
use crate::node::{Node, Starter};
use crate::plan::Disk;
use crate::scenario::Scenario;
use crate::time::{SimTime, nanos};
use quorate_core::{AgentId, Mono, Now, UnixMs};
use quorate_mesh::{EngineConfig, Input, MeshView, StartError, Timing};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

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
    /// What arrived meanwhile, with the digest of its bytes.
    pub inbox: Vec<(Input, u64)>,
    /// Where it was told its peers can be dialled.
    pub routes: BTreeMap<AgentId, SocketAddr>,
    /// The last picture taken of what it knows.
    pub view: Option<MeshView>,
    /// Inputs handled in the current second, and which second that is.
    pub handled: (u64, u64),
}

impl Process {
    /// Keeps an input for later; a datagram too many is lost.
    pub fn keep(&mut self, input: Input, digest: u64) {
        let datagrams = self.inbox.iter().filter(|(kept, _)| matches!(kept, Input::Datagram { .. })).count();
        if !matches!(input, Input::Datagram { .. }) || datagrams < INBOX_DATAGRAMS {
            self.inbox.push((input, digest));
        }
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
    old_disks: VecDeque<Vec<u8>>,
    /// Did its agent leave?
    pub left: bool,
}

/// The two clocks of an agent whose process started at `started`.
pub fn clocks(scenario: &Scenario, agent: usize, started: SimTime, at: SimTime) -> Now {
    let wall = scenario.agents[agent].wall_ms + at.0 / 1_000_000;
    Now { mono: Mono(nanos(at.since(started))), wall: UnixMs(wall) }
}

impl Host {
    /// Stores what the agent wants stored.
    pub fn persist(&mut self, bytes: Vec<u8>) {
        if let Some(old) = self.disk.replace(bytes) {
            if self.old_disks.len() == OLD_DISKS {
                self.old_disks.pop_front();
            }
            self.old_disks.push_back(old);
        }
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
        starter: Starter,
    ) -> Result<(), StartError> {
        match disk {
            Disk::Keep => {}
            Disk::Lose => self.disk = None,
            Disk::Stale => self.disk = self.old_disks.pop_front(),
        }
        self.old_disks.clear();
        self.run += 1;
        self.left = false;
        let keys = SimKeys::new(scenario.draws.bits(Purpose::Secret, 0, 0, 0), scenario.agents[agent].id);
        let this = &scenario.agents[agent];
        let config = EngineConfig {
            agent: this.id,
            name: this.name.clone(),
            zone: this.zone.clone(),
            address: this.address,
            api_address: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            credential: keys.credential(),
            founder: agent == 0,
            boot_floor: 0,
            registrations: scenario
                .instances
                .iter()
                .filter(|instance| instance.home == agent)
                .map(|instance| instance.registration.clone())
                .collect(),
            seed: scenario.draws.bits(Purpose::Engine, agent as u64, self.run, 0),
            timing: Timing::default(),
        };
        let node = starter(config, self.disk.as_deref(), Box::new(keys), clocks(scenario, agent, at, at))?;
        self.process = Some(Process {
            node,
            started: at,
            wake_at: SimTime::NEVER,
            paused: false,
            inbox: Vec::new(),
            routes: BTreeMap::new(),
            view: None,
            handled: (0, 0),
        });
        Ok(())
    }
}

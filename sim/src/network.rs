//! The network between agents, with links that behave as QUIC connections do.
//!
//! A first send dials: one round trip, repeated after a second when a flight is lost, given up after the dial timeout; meanwhile a bounded
//! number of sends waits. On a live link a datagram may be lost or overtaken; a message arrives, late if it had to be sent again, unless the
//! link dies first. A link dies, at each end by itself, when that end has heard nothing for the idle timeout: by a cut, by a crash or a pause
//! of the peer. When the peer's end is gone but its process is there, it answers with a stateless reset (RFC 9000, section 10.3) to whatever
//! arrives, a sign of life at the latest, and the link dies at once. Nothing sent on a link arrives after its death. A process that ends in
//! order closes its links, and its peers hear of that.
//!
//! Not modelled: bandwidth, congestion, duplication (QUIC has none), acknowledgements lost by a one-way cut.

use crate::draw::{Draws, Purpose};
use crate::scenario::Scenario;
use crate::time::SimTime;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Datagrams that may wait for a link.
pub const PENDING_DATAGRAMS: usize = 16;
/// Messages that may wait for a link.
pub const PENDING_MESSAGES: usize = 64;
/// A lost first flight of a handshake is sent again after this long: QUIC's initial probe timeout.
const HANDSHAKE_RETRY: Duration = Duration::from_secs(1);
/// Least wait before a lost stream packet is sent again, besides three travels.
const RESEND_FLOOR: Duration = Duration::from_millis(25);
/// Signs of life are sent this often on an idle link.
const KEEP_ALIVE_NS: u64 = 3_000_000_000;
/// Longest wait of a stream for its next try after a cut ends.
const RECOVERY_MAX_NS: u64 = 2_000_000_000;

/// Unreliable or reliable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A datagram.
    Datagram,
    /// A message on a stream of its own.
    Message,
}

/// Bytes on their way.
#[derive(Debug, Clone)]
pub struct Packet {
    /// How.
    pub class: Class,
    /// What.
    pub bytes: Vec<u8>,
    /// Its digest, taken when it was sent.
    pub digest: u64,
}

/// What the network wants to happen later, or at once.
#[derive(Debug)]
pub enum Step {
    /// One more try of a dial.
    Dial { from: usize, to: usize, dial: u64, attempt: u32 },
    /// A dial is given up.
    GiveUp { from: usize, to: usize, dial: u64 },
    /// The answer to a handshake is back at the dialler.
    Established { from: usize, to: usize, dial: u64 },
    /// The accepting end may send.
    Accepted { at: usize, peer: usize, generation: u64, replaced: bool },
    /// Has the end at `at` heard nothing since `since`?
    Idle { at: usize, peer: usize, generation: u64, since: SimTime },
    /// The peer closed the link, or does not know it any more.
    Closed { at: usize, peer: usize, generation: u64 },
    /// Bytes arrive.
    Arrive { from: usize, to: usize, generation: u64, packet: Packet },
}

/// What an agent is told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A link came up.
    Up(usize, usize),
    /// A link is gone.
    Down(usize, usize),
}

#[derive(Debug, Default)]
struct End {
    up: bool,
    /// When this end, as the accepting one, has all it needs.
    ready: SimTime,
    dial: Option<u64>,
    dials: u64,
    sent: u64,
    waiting: VecDeque<Packet>,
    /// Messages that the path does not let through for now.
    held: Vec<Packet>,
    /// Since when nothing from this end reaches the other.
    silent_since: Option<SimTime>,
}

#[derive(Debug, Default)]
struct Link {
    generation: u64,
    /// The lower-numbered agent's end, and the other's.
    ends: [End; 2],
}

/// Counters of the whole run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Packets put on the wire, not counting those sent again.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets lost by chance or by a cut.
    pub lost: u64,
    /// Packets dropped because too many waited for a link, or no address was known.
    pub dropped: u64,
    /// Most packets that waited for one link.
    pub most_waiting: usize,
    /// Dials begun.
    pub dials: u64,
    /// Ends of links that died of silence.
    pub idle_deaths: u64,
}

/// All links.
#[derive(Debug)]
pub struct Network {
    links: BTreeMap<(usize, usize), Link>,
    draws: Draws,
    latency_us: (u64, u64),
    dial_timeout: Duration,
    idle_timeout: Duration,
    /// The cuts in force, by number.
    cuts: Vec<usize>,
    loss_per_mille: u32,
    present: Vec<bool>,
    awake: Vec<bool>,
    /// Counters.
    pub counters: Counters,
    /// What is to happen later; the caller takes it after each call.
    pub later: Vec<(SimTime, Step)>,
    /// What agents are to be told now; the caller takes it after each call.
    pub told: Vec<Told>,
}

fn place(from: usize, to: usize) -> ((usize, usize), usize) {
    if from < to { ((from, to), 0) } else { ((to, from), 1) }
}

impl Network {
    /// A network without links.
    pub fn new(scenario: &Scenario) -> Self {
        let agents = scenario.agents.len();
        Self {
            links: BTreeMap::new(),
            draws: scenario.draws,
            latency_us: (scenario.network.latency_us[0], scenario.network.latency_us[1]),
            dial_timeout: scenario.network.dial_timeout.0,
            idle_timeout: scenario.network.idle_timeout.0,
            cuts: Vec::new(),
            loss_per_mille: scenario.network.loss_per_mille,
            present: vec![false; agents],
            awake: vec![false; agents],
            counters: Counters::default(),
            later: Vec::new(),
            told: Vec::new(),
        }
    }

    /// An agent's process runs, or does not, or stands still.
    pub fn set_process(&mut self, scenario: &Scenario, now: SimTime, agent: usize, present: bool, awake: bool) {
        if self.present[agent] && !present {
            for ((a, b), link) in &mut self.links {
                if *a == agent || *b == agent {
                    let end = &mut link.ends[usize::from(*b == agent)];
                    (end.up, end.dial) = (false, None);
                    end.waiting.clear();
                    end.held.clear();
                }
            }
        }
        (self.present[agent], self.awake[agent]) = (present, awake);
        let touched = |pair: &&(usize, usize)| pair.0 == agent || pair.1 == agent;
        let pairs: Vec<(usize, usize)> = self.links.keys().filter(touched).copied().collect();
        self.refresh_pairs(scenario, now, &pairs);
    }

    /// Looks again at every path: cuts may have begun or ended.
    pub fn refresh(&mut self, scenario: &Scenario, now: SimTime) {
        self.cuts = (0..scenario.cuts.len()).filter(|index| scenario.cuts[*index].when.holds(now)).collect();
        self.loss_per_mille = scenario.loss(now);
        let pairs: Vec<(usize, usize)> = self.links.keys().copied().collect();
        self.refresh_pairs(scenario, now, &pairs);
    }

    fn refresh_pairs(&mut self, scenario: &Scenario, now: SimTime, pairs: &[(usize, usize)]) {
        for (a, b) in pairs {
            self.refresh_path(scenario, now, *a, *b);
            self.refresh_path(scenario, now, *b, *a);
        }
    }

    fn cut(&self, scenario: &Scenario, from: usize, to: usize) -> bool {
        self.cuts.iter().any(|index| scenario.cuts[*index].stops(from, to))
    }

    fn refresh_path(&mut self, scenario: &Scenario, now: SimTime, from: usize, to: usize) {
        let blocked = !self.awake[from] || self.cut(scenario, from, to);
        let idle_timeout = self.idle_timeout;
        let back_cut = self.cut(scenario, to, from);
        let (pair, side) = place(from, to);
        let Some(link) = self.links.get_mut(&pair) else { return };
        let stranded = !link.ends[side].up && link.ends[1 - side].up;
        if stranded && !blocked && !back_cut && self.awake[to] {
            let (src, dst, n) = (to as u64, from as u64, link.generation);
            let next = self.draws.within((0, KEEP_ALIVE_NS), Purpose::KeepAlive, src, dst, n);
            let step = Step::Closed { at: to, peer: from, generation: n };
            self.later.push((now.plus(Duration::from_nanos(next)), step));
        }
        let silent = blocked || !link.ends[side].up;
        if !link.ends[1 - side].up {
            link.ends[side].silent_since = None;
            return;
        }
        if silent && link.ends[side].silent_since.is_none() {
            link.ends[side].silent_since = Some(now);
            let step = Step::Idle { at: to, peer: from, generation: link.generation, since: now };
            self.later.push((now.plus(idle_timeout), step));
        }
        if !silent && let Some(since) = link.ends[side].silent_since.take() {
            let held = std::mem::take(&mut link.ends[side].held);
            let longest = crate::time::nanos(now.since(since)).min(RECOVERY_MAX_NS);
            for packet in held {
                let n = self.number(from, to);
                let delay = self.draws.within((0, longest), Purpose::Recovery, from as u64, to as u64, n);
                self.transmit(scenario, now.plus(Duration::from_nanos(delay)), from, to, packet);
            }
        }
    }

    fn number(&mut self, from: usize, to: usize) -> u64 {
        let (pair, side) = place(from, to);
        let end = &mut self.links.entry(pair).or_default().ends[side];
        end.sent += 1;
        end.sent
    }

    fn latency(&self, from: usize, to: usize, n: u64) -> Duration {
        Duration::from_micros(self.draws.within(self.latency_us, Purpose::Latency, from as u64, to as u64, n))
    }

    /// Sends; dials first when there is no link. `known` tells whether the sender has the peer's right address.
    pub fn send(&mut self, scenario: &Scenario, now: SimTime, from: usize, to: usize, packet: Packet, known: bool) {
        let (pair, side) = place(from, to);
        let end = &mut self.links.entry(pair).or_default().ends[side];
        if end.up && end.ready <= now {
            self.transmit(scenario, now, from, to, packet);
            return;
        }
        if !known && !end.up {
            self.counters.dropped += 1;
            self.told.push(Told::Down(from, to));
            return;
        }
        let limit = if packet.class == Class::Datagram { PENDING_DATAGRAMS } else { PENDING_MESSAGES };
        if end.waiting.iter().filter(|waiting| waiting.class == packet.class).count() >= limit {
            self.counters.dropped += 1;
        } else {
            end.waiting.push_back(packet);
            self.counters.most_waiting = self.counters.most_waiting.max(end.waiting.len());
        }
        if !end.up && end.dial.is_none() {
            end.dials += 1;
            end.dial = Some(end.dials);
            let dial = end.dials;
            self.counters.dials += 1;
            self.later.push((now.plus(self.dial_timeout), Step::GiveUp { from, to, dial }));
            self.dial(scenario, now, from, to, dial, 0);
        }
    }

    fn dial(&mut self, scenario: &Scenario, now: SimTime, from: usize, to: usize, dial: u64, attempt: u32) {
        let n = dial * 8 + u64::from(attempt);
        let lost = |src: usize, dst: usize| {
            self.cut(scenario, src, dst)
                || self.draws.chance(self.loss_per_mille, Purpose::Handshake, src as u64, dst as u64, n)
        };
        if !self.awake[to] || lost(from, to) || lost(to, from) {
            self.later.push((now.plus(HANDSHAKE_RETRY), Step::Dial { from, to, dial, attempt: attempt + 1 }));
            return;
        }
        let there = self.draws.within(self.latency_us, Purpose::Handshake, from as u64, to as u64, n + 4);
        let back = self.draws.within(self.latency_us, Purpose::Handshake, to as u64, from as u64, n + 4);
        let back_at = now.plus(Duration::from_micros(there + back));
        self.later.push((back_at, Step::Established { from, to, dial }));
    }

    /// Takes a step whose time has come. Arrivals are the caller's, after [`Network::arrives`].
    pub fn step(&mut self, scenario: &Scenario, now: SimTime, step: Step) {
        match step {
            Step::Dial { from, to, dial, attempt } => {
                if self.dialling(from, to, dial) {
                    self.dial(scenario, now, from, to, dial, attempt);
                }
            }
            Step::GiveUp { from, to, dial } => {
                if self.dialling(from, to, dial) {
                    let (pair, side) = place(from, to);
                    let end = &mut self.links.entry(pair).or_default().ends[side];
                    end.dial = None;
                    end.waiting.clear();
                    self.told.push(Told::Down(from, to));
                }
            }
            Step::Established { from, to, dial } => {
                if self.dialling(from, to, dial) && self.present[to] {
                    self.establish(scenario, now, from, to);
                }
            }
            Step::Accepted { at, peer, generation, replaced } => {
                if self.end_lives(at, peer, generation) {
                    if replaced {
                        self.told.push(Told::Down(at, peer));
                    }
                    self.told.push(Told::Up(at, peer));
                    self.flush(scenario, now, at, peer);
                }
            }
            Step::Idle { at, peer, generation, since } => {
                let (pair, side) = place(peer, at);
                let silent = self.links.get(&pair).is_some_and(|link| link.ends[side].silent_since == Some(since));
                if silent && self.end_lives(at, peer, generation) {
                    self.counters.idle_deaths += 1;
                    self.kill_end(scenario, now, at, peer);
                }
            }
            Step::Closed { at, peer, generation } => {
                if self.end_lives(at, peer, generation) {
                    self.kill_end(scenario, now, at, peer);
                }
            }
            Step::Arrive { .. } => {}
        }
    }

    fn dialling(&self, from: usize, to: usize, dial: u64) -> bool {
        let (pair, side) = place(from, to);
        self.links.get(&pair).is_some_and(|link| link.ends[side].dial == Some(dial))
    }

    fn end_lives(&self, at: usize, peer: usize, generation: u64) -> bool {
        let (pair, side) = place(at, peer);
        self.links.get(&pair).is_some_and(|link| link.generation == generation && link.ends[side].up)
    }

    fn kill_end(&mut self, scenario: &Scenario, now: SimTime, at: usize, peer: usize) {
        let (pair, side) = place(at, peer);
        let end = &mut self.links.entry(pair).or_default().ends[side];
        end.up = false;
        end.held.clear();
        self.told.push(Told::Down(at, peer));
        self.refresh_path(scenario, now, at, peer);
        self.refresh_path(scenario, now, peer, at);
    }

    fn establish(&mut self, scenario: &Scenario, now: SimTime, from: usize, to: usize) {
        let n = self.number(from, to);
        let latency = self.latency(from, to, n);
        let (pair, side) = place(from, to);
        let link = self.links.entry(pair).or_default();
        link.generation += 1;
        let generation = link.generation;
        let replaced = link.ends[1 - side].up;
        for end in &mut link.ends {
            (end.up, end.ready, end.dial, end.silent_since) = (true, now, None, None);
            end.held.clear();
        }
        let ready = now.plus(latency);
        link.ends[1 - side].ready = ready;
        self.later.push((ready, Step::Accepted { at: to, peer: from, generation, replaced }));
        self.told.push(Told::Up(from, to));
        self.flush(scenario, now, from, to);
        self.refresh_path(scenario, now, from, to);
        self.refresh_path(scenario, now, to, from);
    }

    fn flush(&mut self, scenario: &Scenario, now: SimTime, from: usize, to: usize) {
        let (pair, side) = place(from, to);
        let waiting = std::mem::take(&mut self.links.entry(pair).or_default().ends[side].waiting);
        for packet in waiting {
            self.transmit(scenario, now, from, to, packet);
        }
    }

    /// Puts a packet on a live link.
    fn transmit(&mut self, scenario: &Scenario, now: SimTime, from: usize, to: usize, packet: Packet) {
        self.counters.packets += 1;
        self.counters.bytes += packet.bytes.len() as u64;
        let n = self.number(from, to);
        let latency = self.latency(from, to, n);
        let (src, dst) = (from as u64, to as u64);
        let mut lost = self.draws.chance(self.loss_per_mille, Purpose::Loss, src, dst, n * 16);
        let blocked = self.cut(scenario, from, to);
        let reset = !blocked && !lost && self.awake[to] && !self.cut(scenario, to, from);
        let (pair, side) = place(from, to);
        let link = self.links.entry(pair).or_default();
        let gone = blocked || !link.ends[1 - side].up;
        let mut arrival = now.plus(latency);
        if reset && !link.ends[1 - side].up {
            let step = Step::Closed { at: from, peer: to, generation: link.generation };
            self.later.push((arrival.plus(latency), step));
        }
        match packet.class {
            Class::Datagram if gone || lost => {
                self.counters.lost += 1;
                return;
            }
            Class::Datagram => {}
            Class::Message if gone => {
                link.ends[side].held.push(packet);
                return;
            }
            Class::Message => {
                let mut wait = RESEND_FLOOR + latency * 3;
                let mut attempt = 0;
                while lost && attempt < 15 {
                    self.counters.lost += 1;
                    attempt += 1;
                    arrival = arrival.plus(wait);
                    wait *= 2;
                    lost = self.draws.chance(self.loss_per_mille, Purpose::Loss, src, dst, n * 16 + attempt);
                }
            }
        }
        let arrival = arrival.max(link.ends[1 - side].ready);
        let generation = link.generation;
        self.later.push((arrival, Step::Arrive { from, to, generation, packet }));
    }

    /// Does what was sent on the link's `generation` still arrive at `to`?
    pub fn arrives(&self, from: usize, to: usize, generation: u64) -> bool {
        self.present[to] && self.end_lives(to, from, generation)
    }

    /// Ends an agent's links in order: its peers are told, where a path is open.
    pub fn close(&mut self, scenario: &Scenario, now: SimTime, agent: usize) {
        let pairs: Vec<(usize, usize)> =
            self.links.keys().copied().filter(|(a, b)| *a == agent || *b == agent).collect();
        for (a, b) in pairs {
            let peer = if a == agent { b } else { a };
            let n = self.number(agent, peer);
            let at = now.plus(self.latency(agent, peer, n));
            let generation = self.links.get(&(a, b)).map_or(0, |link| link.generation);
            if !self.cut(scenario, agent, peer) {
                self.later.push((at, Step::Closed { at: peer, peer: agent, generation }));
            }
        }
    }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;

//! The network between agents, with links that behave as QUIC connections do.
//!
//! A first send dials: one round trip, repeated after a second when a flight is lost, given up after the dial timeout; meanwhile a bounded
//! number of sends waits. On a live link a datagram may be lost or overtaken; a message arrives, late if it had to be sent again, unless the
//! link dies first. A link dies, at each end by itself, when that end has heard nothing for the idle timeout: by a cut, by a crash or a pause
//! of the peer. When the peer's end is gone but its process is there, it answers with a stateless reset (RFC 9000, section 10.3) to whatever
//! arrives, a sign of life at the latest, and the link dies at once. Nothing sent on a link arrives after its death. A process that ends in
//! order closes its links, and its peers hear of that. A link can also break at once, at both ends.
//!
//! Not modelled: congestion, acknowledgements lost by a one-way cut.

mod links;
mod packet;

pub use packet::{Class, Counters, Packet, Step, Told};

use crate::draw::{Draws, Purpose};
use crate::plan::Only;
use crate::scenario::{Reset, Scenario};
use crate::time::SimTime;
use crate::weather::Weather;
use links::{Kept, Links, place};
use std::time::Duration;

/// Datagrams that may wait for a link.
pub const PENDING_DATAGRAMS: usize = 16;
/// Messages that may wait for a link.
pub const PENDING_MESSAGES: usize = 64;
/// A lost first flight of a handshake is sent again after this long: QUIC's initial probe timeout.
const HANDSHAKE_RETRY: Duration = Duration::from_secs(1);
/// Least wait before a lost stream packet is sent again, besides three travels.
const RESEND_FLOOR: Duration = Duration::from_millis(25);
/// How often a message is sent again before it is given up.
const MAX_RESENDS: u64 = 15;
/// What a flight of a handshake takes at least (RFC 9000, section 14.1).
const HANDSHAKE_BYTES: usize = 1200;
/// Signs of life are sent this often on an idle link.
const KEEP_ALIVE_NS: u64 = 3_000_000_000;
/// Longest wait of a stream for its next try, also after a cut ends: what else is acknowledged meanwhile tells of a loss before any timer does (RFC 9002,
/// section 6.1), and something is sent at least this often.
const RECOVERY_MAX_NS: u64 = 2_000_000_000;

/// All links.
#[derive(Debug)]
pub struct Network {
    links: Links,
    draws: Draws,
    /// What happens to packets now.
    pub weather: Weather,
    dial_timeout: Duration,
    idle_timeout: Duration,
    setup: Duration,
    ordered: bool,
    present: Vec<bool>,
    awake: Vec<bool>,
    /// Counters.
    pub counters: Counters,
    /// What is to happen later; the caller takes it after each call.
    pub later: Vec<(SimTime, Step)>,
    /// What agents are to be told now; the caller takes it after each call.
    pub told: Vec<Told>,
}

impl Network {
    /// A network without links.
    pub fn new(scenario: &Scenario) -> Self {
        let agents = scenario.processes();
        Self {
            links: Links::new(agents),
            draws: scenario.draws,
            weather: Weather::new(scenario),
            dial_timeout: scenario.network.dial_timeout.0,
            idle_timeout: scenario.network.idle_timeout.0,
            setup: scenario.network.setup.0,
            ordered: scenario.network.ordered,
            present: vec![false; agents],
            awake: vec![false; agents],
            counters: Counters::default(),
            later: Vec::new(),
            told: Vec::new(),
        }
    }

    /// An agent's process runs, or does not, or stands still.
    pub fn set_process(&mut self, now: SimTime, agent: usize, present: bool, awake: bool) {
        if self.present[agent] && !present {
            for (a, b) in self.links.pairs_of(agent) {
                let end = &mut self.links.of((a, b)).ends[usize::from(b == agent)];
                (end.up, end.dial) = (false, None);
                *end.kept() = Kept::default();
            }
        }
        (self.present[agent], self.awake[agent]) = (present, awake);
        let pairs = self.links.pairs_of(agent);
        self.refresh_pairs(now, &pairs);
    }

    /// Looks again at every path: cuts may have begun or ended.
    pub fn refresh(&mut self, scenario: &Scenario, now: SimTime) {
        self.weather.refresh(scenario, now);
        let pairs = self.links.pairs();
        self.refresh_pairs(now, &pairs);
    }

    fn refresh_pairs(&mut self, now: SimTime, pairs: &[(usize, usize)]) {
        for (a, b) in pairs {
            self.refresh_path(now, *a, *b);
            self.refresh_path(now, *b, *a);
        }
    }

    fn refresh_path(&mut self, now: SimTime, from: usize, to: usize) {
        let blocked = !self.awake[from] || self.weather.cut(from, to);
        let idle_timeout = self.idle_timeout;
        let back_cut = self.weather.cut(to, from);
        let (pair, side) = place(from, to);
        let Some(link) = self.links.get_mut(pair) else { return };
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
            let held = link.ends[side].take_held();
            let longest = crate::time::nanos(now.since(since)).min(RECOVERY_MAX_NS);
            for packet in held {
                let n = self.number(from, to);
                let delay = self.draws.within((0, longest), Purpose::Recovery, from as u64, to as u64, n);
                self.transmit(now.plus(Duration::from_nanos(delay)), from, to, packet);
            }
        }
    }

    fn number(&mut self, from: usize, to: usize) -> u64 {
        let (pair, side) = place(from, to);
        let end = &mut self.links.of(pair).ends[side];
        end.sent += 1;
        end.sent
    }

    fn latency(&self, from: usize, to: usize, n: u64) -> Duration {
        self.weather.travel((from, to), Only::Datagram, Purpose::Latency, n)
    }

    /// Sends; dials first when there is no link. `known` tells whether the sender has the peer's right address.
    pub fn send(&mut self, now: SimTime, from: usize, to: usize, packet: Packet, known: bool) {
        let (pair, side) = place(from, to);
        let end = &mut self.links.of(pair).ends[side];
        if end.up && end.ready <= now {
            self.transmit(now, from, to, packet);
            return;
        }
        if !known && !end.up {
            self.counters.dropped += 1;
            self.told.push(Told::Down(from, to));
            return;
        }
        let limit = if packet.class == Class::Datagram { PENDING_DATAGRAMS } else { PENDING_MESSAGES };
        let waiting = &mut end.kept().waiting;
        if waiting.iter().filter(|waiting| waiting.class == packet.class).count() >= limit {
            self.counters.dropped += 1;
        } else {
            waiting.push_back(packet);
            self.counters.most_waiting = self.counters.most_waiting.max(waiting.len());
        }
        if !end.up && end.dial.is_none() {
            end.dials += 1;
            end.dial = Some(end.dials);
            let dial = end.dials;
            self.counters.dials += 1;
            self.later.push((now.plus(self.dial_timeout), Step::GiveUp { from, to, dial }));
            self.dial(now, from, to, dial, 0);
        }
    }

    fn dial(&mut self, now: SimTime, from: usize, to: usize, dial: u64, attempt: u32) {
        let n = dial * 8 + u64::from(attempt);
        let lost = |src: usize, dst: usize| {
            self.weather.cut(src, dst)
                || self.weather.lost((src, dst), Only::Message, HANDSHAKE_BYTES, now, Purpose::Handshake, n)
        };
        if !self.awake[to] || lost(from, to) || lost(to, from) {
            self.later.push((now.plus(HANDSHAKE_RETRY), Step::Dial { from, to, dial, attempt: attempt + 1 }));
            return;
        }
        let there = self.weather.travel((from, to), Only::Message, Purpose::Handshake, n + 4);
        let back = self.weather.travel((to, from), Only::Message, Purpose::Handshake, n + 4);
        let back_at = now.plus(there + back + self.setup);
        self.later.push((back_at, Step::Established { from, to, dial }));
    }

    /// Takes a step whose time has come. Arrivals are the caller's, after [`Network::arrives`].
    pub fn step(&mut self, now: SimTime, step: Step) {
        match step {
            Step::Dial { from, to, dial, attempt } => {
                if self.dialling(from, to, dial) {
                    self.dial(now, from, to, dial, attempt);
                }
            }
            Step::GiveUp { from, to, dial } => {
                if self.dialling(from, to, dial) {
                    self.give_up(from, to);
                }
            }
            Step::Established { from, to, dial } => {
                if self.dialling(from, to, dial) && self.present[to] {
                    if self.admits(from, to) {
                        self.establish(now, from, to);
                    } else {
                        self.give_up(from, to);
                    }
                }
            }
            Step::Accepted { at, peer, generation, replaced } => {
                if self.end_lives(at, peer, generation) {
                    if replaced {
                        self.told.push(Told::Down(at, peer));
                    }
                    self.told.push(Told::Up(at, peer));
                    self.flush(now, at, peer);
                }
            }
            Step::Idle { at, peer, generation, since } => {
                let (pair, side) = place(peer, at);
                let silent = self.links.get(pair).is_some_and(|link| link.ends[side].silent_since == Some(since));
                if silent && self.end_lives(at, peer, generation) {
                    self.counters.idle_deaths += 1;
                    self.kill_end(now, at, peer);
                }
            }
            Step::Closed { at, peer, generation } => {
                if self.end_lives(at, peer, generation) {
                    self.kill_end(now, at, peer);
                }
            }
            Step::Arrive { .. } => {}
        }
    }

    fn give_up(&mut self, from: usize, to: usize) {
        let (pair, side) = place(from, to);
        let end = &mut self.links.of(pair).ends[side];
        end.dial = None;
        end.take_waiting();
        self.told.push(Told::Down(from, to));
    }

    fn dialling(&self, from: usize, to: usize, dial: u64) -> bool {
        let (pair, side) = place(from, to);
        self.links.get(pair).is_some_and(|link| link.ends[side].dial == Some(dial))
    }

    fn end_lives(&self, at: usize, peer: usize, generation: u64) -> bool {
        let (pair, side) = place(at, peer);
        self.links.get(pair).is_some_and(|link| link.generation == generation && link.ends[side].up)
    }

    fn kill_end(&mut self, now: SimTime, at: usize, peer: usize) {
        let (pair, side) = place(at, peer);
        let end = &mut self.links.of(pair).ends[side];
        end.up = false;
        end.take_held();
        self.told.push(Told::Down(at, peer));
        self.refresh_path(now, at, peer);
        self.refresh_path(now, peer, at);
    }

    fn establish(&mut self, now: SimTime, from: usize, to: usize) {
        let n = self.number(from, to);
        let latency = self.latency(from, to, n);
        let (pair, side) = place(from, to);
        let link = self.links.of(pair);
        link.generation += 1;
        let generation = link.generation;
        let replaced = link.ends[1 - side].up;
        for end in &mut link.ends {
            (end.up, end.ready, end.dial, end.silent_since) = (true, now, None, None);
            end.last_message = SimTime::START;
            end.take_held();
        }
        let ready = now.plus(latency);
        link.ends[1 - side].ready = ready;
        self.later.push((ready, Step::Accepted { at: to, peer: from, generation, replaced }));
        self.told.push(Told::Up(from, to));
        self.flush(now, from, to);
        self.refresh_path(now, from, to);
        self.refresh_path(now, to, from);
    }

    fn flush(&mut self, now: SimTime, from: usize, to: usize) {
        let (pair, side) = place(from, to);
        let waiting = self.links.of(pair).ends[side].take_waiting();
        for packet in waiting {
            self.transmit(now, from, to, packet);
        }
    }

    /// Puts a packet on a live link.
    fn transmit(&mut self, now: SimTime, from: usize, to: usize, packet: Packet) {
        self.counters.packets += 1;
        self.counters.bytes += packet.bytes.len() as u64;
        let (kind, bytes, n) = (packet.class.kind(), packet.bytes.len(), self.number(from, to));
        let Some(sent) = self.weather.departure(now, from, kind, bytes) else {
            self.counters.dropped += 1;
            return;
        };
        let latency = self.weather.travel((from, to), kind, Purpose::Latency, n);
        let lost = |at, n| self.weather.lost((from, to), kind, bytes, at, Purpose::Loss, n);
        let first_lost = lost(sent, n * 16);
        let blocked = self.weather.cut(from, to);
        let reset = !blocked && !first_lost && self.awake[to] && !self.weather.cut(to, from);
        let mut arrival = sent.plus(latency);
        let (mut tries, mut still_lost, mut wait) = (0, first_lost, RESEND_FLOOR + latency * 3);
        while packet.class == Class::Message && still_lost && tries < MAX_RESENDS {
            tries += 1;
            arrival = arrival.plus(wait);
            wait = (wait * 2).min(Duration::from_nanos(RECOVERY_MAX_NS));
            still_lost = lost(arrival, n * 16 + tries);
        }
        let twice = packet.class == Class::Datagram && self.weather.doubled(from, to, n);
        let (pair, side) = place(from, to);
        let link = self.links.of(pair);
        let gone = blocked || !link.ends[1 - side].up;
        if reset && !link.ends[1 - side].up {
            let step = Step::Closed { at: from, peer: to, generation: link.generation };
            self.later.push((arrival.plus(latency), step));
        }
        match packet.class {
            Class::Datagram if gone || first_lost => {
                self.counters.lost += 1;
                return;
            }
            Class::Message if gone => {
                link.ends[side].kept().held.push(packet);
                return;
            }
            Class::Message => {
                self.counters.lost += tries + u64::from(still_lost);
                if still_lost {
                    return;
                }
            }
            Class::Datagram => {}
        }
        let mut arrival = arrival.max(link.ends[1 - side].ready);
        if packet.class == Class::Message && self.ordered {
            arrival = arrival.max(link.ends[side].last_message);
            link.ends[side].last_message = arrival;
        }
        let generation = link.generation;
        if twice {
            let again = self.weather.travel((from, to), kind, Purpose::Duplicate, n);
            let step = Step::Arrive { from, to, generation, packet: packet.clone() };
            self.later.push((arrival.plus(again), step));
        }
        self.later.push((arrival, Step::Arrive { from, to, generation, packet }));
    }

    /// Breaks the links that `reset` names, at both ends at once.
    pub fn reset(&mut self, now: SimTime, reset: &Reset) {
        let breaks = |pair: &(usize, usize)| reset.breaks(self.weather.role(pair.0), self.weather.role(pair.1));
        let pairs: Vec<_> = self.links.pairs().into_iter().filter(breaks).collect();
        for (a, b) in pairs {
            for (at, peer) in [(a, b), (b, a)] {
                let generation = self.links.get((a, b)).map_or(0, |link| link.generation);
                if self.end_lives(at, peer, generation) {
                    self.kill_end(now, at, peer);
                }
            }
        }
    }

    /// May `from` have a link to `to`? Not while another process with its identity has one there and still answers (the real transport
    /// challenges it). A silent one's link is dropped.
    fn admits(&mut self, from: usize, to: usize) -> bool {
        for other in self.weather.copies(from) {
            let (pair, side) = place(to, other);
            let answers = self.awake[other] && !self.weather.cut(other, to) && !self.weather.cut(to, other);
            let Some(link) = self.links.get_mut(pair).filter(|link| link.ends[side].up) else { continue };
            if answers && link.ends[1 - side].up {
                return false;
            }
            link.ends[side].up = false;
            link.ends[side].take_held();
        }
        true
    }

    /// Does what was sent on the link's `generation` still arrive at `to`?
    pub fn arrives(&self, from: usize, to: usize, generation: u64) -> bool {
        self.present[to] && self.end_lives(to, from, generation)
    }

    /// Ends an agent's links in order: its peers are told, where a path is open.
    pub fn close(&mut self, now: SimTime, agent: usize) {
        for (a, b) in self.links.pairs_of(agent) {
            let peer = if a == agent { b } else { a };
            let n = self.number(agent, peer);
            let at = now.plus(self.latency(agent, peer, n));
            let generation = self.links.get((a, b)).map_or(0, |link| link.generation);
            if !self.weather.cut(agent, peer) {
                self.later.push((at, Step::Closed { at: peer, peer: agent, generation }));
            }
        }
    }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;

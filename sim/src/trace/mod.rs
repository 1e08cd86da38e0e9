//! The trace: a running hash of everything that goes into the engines and comes out of them, and, when asked for, a line for what matters.
//!
//! The lines are of the kinds in [`mod@line`], [`ground`] and [`disturbances`] find what to tell of the truth, [`told`] knows what was told of the
//! agents, and a [`recording`] takes them.
//!
//! The hash is kept per second and agent and combined at the end, so that a difference between two runs names where it began.

pub mod disturbances;
pub mod ground;
pub mod line;
pub mod recording;
pub mod told;

use crate::digest::Writer;
use crate::scenario::Scenario;
use crate::time::SimTime;
use ground::Ground;
use line::Line;
use quorate_core::hash::{mix, spread};
use quorate_core::{Outcome, ProbeResult};
use quorate_mesh::{Command, Input, LinkEvent, Output};
use recording::Recording;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use told::Told;

/// Hashes of all that went in and out, by second, then by agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cells(Vec<Vec<u64>>);

impl Cells {
    /// The hash of the whole run.
    pub fn hash(&self) -> u64 {
        self.0.iter().fold(0, |hash, second| spread(hash ^ mix(second)))
    }

    /// The first second and agent in which two runs differ.
    pub fn first_difference(&self, other: &Self) -> Option<(usize, usize)> {
        let agents = self.0.iter().chain(&other.0).map(Vec::len).max()?;
        (0..self.0.len().max(other.0.len())).find_map(|second| {
            let cell =
                |cells: &Self, agent: usize| cells.0.get(second).and_then(|row| row.get(agent)).copied().unwrap_or(0);
            (0..agents).find(|agent| cell(self, *agent) != cell(other, *agent)).map(|agent| (second, agent))
        })
    }
}

/// The trace of one run.
pub struct Trace {
    /// The hashes.
    pub cells: Cells,
    agents: usize,
    /// Where lines go.
    pub recording: Recording,
    /// What the lines have told of the truth.
    pub ground: Ground,
    /// What they have told of the agents.
    pub told: Told,
    /// How many broken promises they have told.
    pub violations_told: usize,
}

impl Trace {
    /// An empty trace of a run of `scenario`.
    pub fn new(scenario: &Scenario, recording: Recording) -> Self {
        let (cells, agents) = (Cells::default(), scenario.processes());
        let (ground, told) = (Ground::new(scenario), Told::default());
        Self { cells, agents, recording, ground, told, violations_told: 0 }
    }

    /// Are lines wanted?
    pub fn wants_lines(&self) -> bool {
        self.recording.wanted()
    }

    /// Takes a line.
    pub fn line(&mut self, at: SimTime, line: Line) {
        self.recording.take(at, line);
    }

    /// Takes what an agent is about to handle; `digest` is that of its bytes.
    pub fn input(&mut self, at: SimTime, agent: usize, input: &Input, digest: u64) {
        let about = match input {
            Input::Wake => [1, 0, 0],
            Input::Datagram { from, .. } => [2, from.0, digest],
            Input::Message { from, .. } => [3, from.0, digest],
            Input::Link { peer, event: LinkEvent::Up { .. } } => [4, peer.0, 1],
            Input::Link { peer, event: LinkEvent::Down } => [4, peer.0, 0],
            Input::Probe { id, outcome } => [5, id.0, outcome_digest(outcome)],
            Input::Command(command) => [6, command_digest(command), 0],
            Input::Breakers(reports) => [7, reports.len() as u64, Writer::shown(reports)],
        };
        self.absorb(at, agent, about);
    }

    /// Takes what an agent put out; `digest` is that of its bytes.
    pub fn output(&mut self, at: SimTime, agent: usize, output: &Output, digest: u64) {
        let about = match output {
            Output::Datagram { to, .. } => [11, to.0, digest],
            Output::Message { to, .. } => [12, to.0, digest],
            Output::Address { agent, address } => [13, agent.0, address_digest(*address)],
            Output::Probe(request) => [14, request.id.0, request.instance.hash64()],
            Output::Persist { .. } => [15, digest, 0],
            Output::Event(event) => [16, event.index, Writer::shown(event)],
            Output::RollCall { ticket, reached, roster, quorate } => {
                [17, ticket.0, mix(&[*reached as u64, *roster as u64, u64::from(*quorate)])]
            }
            Output::Left => [18, 0, 0],
            Output::Breaker { key, event } => [19, key.instance.hash64(), Writer::shown(event)],
        };
        self.absorb(at, agent, about);
    }

    fn absorb(&mut self, at: SimTime, agent: usize, [a, b, c]: [u64; 3]) {
        let second = usize::try_from(at.0 / 1_000_000_000).unwrap_or(usize::MAX);
        let cells = &mut self.cells.0;
        while cells.len() <= second {
            cells.push(vec![0; self.agents]);
        }
        let cell = &mut cells[second][agent];
        *cell = spread(spread(spread(spread(*cell ^ at.0) ^ a) ^ b) ^ c);
    }

    /// The hash of the whole run.
    pub fn hash(&self) -> u64 {
        self.cells.hash()
    }
}

fn outcome_digest(outcome: &Outcome) -> u64 {
    let result = match &outcome.result {
        ProbeResult::Pass | ProbeResult::Protected(_) => 0,
        ProbeResult::Warn(_) => 1,
        ProbeResult::Fail(failure) => Writer::shown(&(failure.phase, failure.cause)),
    };
    mix(&[result, crate::time::nanos(outcome.timings.total)])
}

fn address_digest(address: SocketAddr) -> u64 {
    let ip = match address.ip() {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    mix(&[(ip >> 64) as u64, ip as u64, u64::from(address.port())])
}

fn command_digest(command: &Command) -> u64 {
    Writer::shown(command)
}

#[cfg(test)]
mod agents_tests;
#[cfg(test)]
mod stranger_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    fn trace(agents: &[usize]) -> Trace {
        let plan = Plan::parse("summary = \"t\"\n[mesh]\nagents = 3\n").unwrap();
        let mut trace = Trace::new(&Scenario::new("t", &plan, 1).unwrap(), Recording::default());
        for (ms, agent) in agents.iter().enumerate() {
            trace.input(SimTime::from_ms(ms as u64 * 700), *agent, &Input::Wake, 0);
        }
        trace
    }

    #[test]
    fn a_difference_is_named_by_second_and_agent() {
        let (a, b) = (trace(&[0, 1, 2, 0]), trace(&[0, 1, 2, 1]));
        assert_eq!(a.hash(), trace(&[0, 1, 2, 0]).hash());
        assert_ne!(a.hash(), b.hash());
        assert_eq!(a.cells.first_difference(&b.cells), Some((2, 0)));
        assert_eq!(a.cells.first_difference(&trace(&[0, 1, 2, 0]).cells), None);
        assert_eq!(a.cells.first_difference(&trace(&[0, 1, 2]).cells), Some((2, 0)));
    }
}

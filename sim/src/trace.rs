//! The trace: a running hash of everything that goes into the engines and comes out of them, and, when asked for, a line for what matters.
//!
//! The hash is kept per second and agent and combined at the end, so that a difference between two runs names where it began.

use crate::digest::Writer;
use crate::time::SimTime;
use anyhow::Context;
use quorate_core::hash::{mix, spread};
use quorate_core::{Outcome, ProbeResult};
use quorate_mesh::{Command, Input, LinkEvent, Output};
use serde_json::Value;
use std::io::Write;

/// The trace of one run.
pub struct Trace {
    /// By second, then by agent.
    cells: Vec<Vec<u64>>,
    agents: usize,
    lines: Option<Box<dyn Write>>,
    broken: Option<std::io::Error>,
}

impl Trace {
    /// An empty trace; `lines` takes one JSON object per line.
    pub fn new(agents: usize, lines: Option<Box<dyn Write>>) -> Self {
        Self { cells: Vec::new(), agents, lines, broken: None }
    }

    /// Are lines wanted?
    pub fn wants_lines(&self) -> bool {
        self.lines.is_some()
    }

    /// Writes a line, if lines are wanted.
    pub fn line(&mut self, at: SimTime, kind: &str, agent: Option<&str>, about: Value) {
        let Some(lines) = &mut self.lines else { return };
        let mut line = serde_json::json!({ "t_ns": at.0, "kind": kind });
        if let (Some(agent), Some(object)) = (agent, line.as_object_mut()) {
            object.insert("agent".to_owned(), agent.into());
        }
        if let (Value::Object(about), Some(object)) = (about, line.as_object_mut()) {
            object.extend(about);
        }
        if let Err(error) = writeln!(lines, "{line}") {
            self.broken.get_or_insert(error);
        }
    }

    /// Ends the lines.
    ///
    /// # Errors
    /// When any of them could not be written.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        if let Some(mut lines) = self.lines.take() {
            lines.flush().context("the trace could not be written")?;
        }
        self.broken.take().map_or(Ok(()), |error| Err(error).context("the trace could not be written"))
    }

    /// Takes what an agent is about to handle; `digest` is that of its bytes.
    pub fn input(&mut self, at: SimTime, agent: usize, input: &Input, digest: u64) {
        let about = match input {
            Input::Wake => [1, 0, 0],
            Input::Datagram { from, .. } => [2, from.0, digest],
            Input::Message { from, .. } => [3, from.0, digest],
            Input::Link { peer, event: LinkEvent::Up } => [4, peer.0, 1],
            Input::Link { peer, event: LinkEvent::Down } => [4, peer.0, 0],
            Input::Probe { id, outcome } => [5, id.0, outcome_digest(outcome)],
            Input::Command(command) => [6, command_digest(command), 0],
        };
        self.absorb(at, agent, about);
    }

    /// Takes what an agent put out; `digest` is that of its bytes.
    pub fn output(&mut self, at: SimTime, agent: usize, output: &Output, digest: u64) {
        let about = match output {
            Output::Datagram { to, .. } => [11, to.0, digest],
            Output::Message { to, .. } => [12, to.0, digest],
            Output::Address { agent, address } => [13, agent.0, Writer::shown(address)],
            Output::Probe(request) => [14, request.id.0, request.instance.hash64()],
            Output::Persist(_) => [15, digest, 0],
            Output::Event(event) => [16, event.index, Writer::shown(event)],
            Output::RollCall { ticket, reached, roster, quorate } => {
                [17, ticket.0, mix(&[*reached as u64, *roster as u64, u64::from(*quorate)])]
            }
            Output::Left => [18, 0, 0],
        };
        self.absorb(at, agent, about);
    }

    fn absorb(&mut self, at: SimTime, agent: usize, [a, b, c]: [u64; 3]) {
        let second = usize::try_from(at.0 / 1_000_000_000).unwrap_or(usize::MAX);
        while self.cells.len() <= second {
            self.cells.push(vec![0; self.agents]);
        }
        let cell = &mut self.cells[second][agent];
        *cell = spread(spread(spread(spread(*cell ^ at.0) ^ a) ^ b) ^ c);
    }

    /// The hash of the whole run.
    pub fn hash(&self) -> u64 {
        self.cells.iter().fold(0, |hash, second| spread(hash ^ mix(second)))
    }

    /// The first second and agent in which two runs differ.
    pub fn first_difference(&self, other: &Self) -> Option<(usize, usize)> {
        let none = vec![0; self.agents];
        (0..self.cells.len().max(other.cells.len())).find_map(|second| {
            let (a, b) = (self.cells.get(second).unwrap_or(&none), other.cells.get(second).unwrap_or(&none));
            (0..self.agents).find(|agent| a.get(*agent) != b.get(*agent)).map(|agent| (second, agent))
        })
    }
}

fn outcome_digest(outcome: &Outcome) -> u64 {
    let result = match &outcome.result {
        ProbeResult::Pass => 0,
        ProbeResult::Warn(_) => 1,
        ProbeResult::Fail(failure) => Writer::shown(&(failure.phase, failure.cause)),
    };
    mix(&[result, crate::time::nanos(outcome.timings.total)])
}

fn command_digest(command: &Command) -> u64 {
    Writer::shown(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(agents: &[usize]) -> Trace {
        let mut trace = Trace::new(3, None);
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
        assert_eq!(a.first_difference(&b), Some((2, 0)));
        assert_eq!(a.first_difference(&trace(&[0, 1, 2, 0])), None);
        assert_eq!(a.first_difference(&trace(&[0, 1, 2])), Some((2, 0)));
    }
}

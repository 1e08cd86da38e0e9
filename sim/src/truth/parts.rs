//! The parts into which the mesh falls: within one, everyone reaches everyone over some number of hops.

use super::Truth;
use crate::time::SimTime;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Moments of which the parts are remembered: a minute's worth of seconds.
const MOMENTS_KEPT: usize = 64;

/// States of the mesh of which the parts are remembered.
const STATES_KEPT: usize = 64;

/// All that the parts depend on.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    /// Which cuts hold.
    cuts: Vec<bool>,
    /// Who goes on.
    awake: Vec<bool>,
    /// Who answers: those, and agents in whose place a clone does.
    there: Vec<bool>,
}

impl State {
    fn at(truth: &Truth, at: SimTime) -> Self {
        let awake: Vec<bool> = (0..truth.agents()).map(|agent| truth.awake(agent, at)).collect();
        Self {
            cuts: truth.scenario.cuts.iter().map(|cut| cut.when.holds(at)).collect(),
            there: (0..truth.agents()).map(|agent| awake[agent] || truth.scenario.doubled(agent, at, at)).collect(),
            awake,
        }
    }
}

/// The parts at one moment.
#[derive(Debug)]
pub struct Parts {
    /// In which part each agent is; none when it stands still.
    of: Vec<Option<usize>>,
    /// Who of all is in each.
    parts: Vec<Vec<bool>>,
}

impl Parts {
    /// The part that `agent` is in: who of all is in it. None when it stands still.
    pub fn of(&self, agent: usize) -> Option<&[bool]> {
        self.of[agent].map(|part| self.parts[part].as_slice())
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &[bool]> {
        self.parts.iter().map(Vec::as_slice)
    }

    fn find(truth: &Truth, state: &State) -> Self {
        let mut parts = Self { of: vec![None; truth.agents()], parts: Vec::new() };
        for agent in 0..truth.agents() {
            if parts.of[agent].is_none() && state.awake[agent] {
                let part = find_part(truth, state, agent);
                let members =
                    part.iter().zip(&state.awake).enumerate().filter(|(_, (inside, awake))| **inside && **awake);
                members.for_each(|(member, _)| parts.of[member] = Some(parts.parts.len()));
                parts.parts.push(part);
            }
        }
        parts
    }
}

fn find_part(truth: &Truth, state: &State, agent: usize) -> Vec<bool> {
    let cuts: Vec<_> =
        truth.scenario.cuts.iter().zip(&state.cuts).filter_map(|(cut, holds)| holds.then_some(cut)).collect();
    if cuts.is_empty() {
        return state.there.clone();
    }
    let linked = |a, b| state.there[b] && !cuts.iter().any(|cut| cut.stops(a, b) || cut.stops(b, a));
    let mut reached = vec![false; truth.agents()];
    let mut frontier = vec![agent];
    reached[agent] = true;
    while let Some(next) = frontier.pop() {
        for (other, reached) in reached.iter_mut().enumerate() {
            if !*reached && linked(next, other) {
                *reached = true;
                frontier.push(other);
            }
        }
    }
    reached
}

/// The parts found last.
#[derive(Debug, Default)]
pub struct Found {
    revision: u64,
    /// At moments, as of a revision of the truth.
    moments: VecDeque<(SimTime, Rc<Parts>)>,
    /// In states of the mesh, of which there are few: most moments are like the one before.
    states: BTreeMap<State, Rc<Parts>>,
}

impl Found {
    /// The parts at `at`. Many ask of the same moment.
    pub fn at(&mut self, truth: &Truth, at: SimTime) -> Rc<Parts> {
        if self.revision != truth.revision {
            self.moments.clear();
            self.revision = truth.revision;
        }
        if let Some((_, parts)) = self.moments.iter().find(|(moment, _)| *moment == at) {
            return Rc::clone(parts);
        }
        let parts = self.in_state(truth, State::at(truth, at));
        if self.moments.len() == MOMENTS_KEPT {
            self.moments.pop_front();
        }
        self.moments.push_back((at, Rc::clone(&parts)));
        parts
    }

    fn in_state(&mut self, truth: &Truth, state: State) -> Rc<Parts> {
        if let Some(parts) = self.states.get(&state) {
            return Rc::clone(parts);
        }
        if self.states.len() == STATES_KEPT {
            self.states.clear();
        }
        let parts = Rc::new(Parts::find(truth, &state));
        self.states.insert(state, Rc::clone(&parts));
        parts
    }
}

//! Plain foca in the barest loop that can be: a queue of arrivals and wake-ups, latencies, cuts. No links, no trace, no checks.

use crate::draw::{Draws, Purpose};
use crate::node::Node;
use crate::plain::{Plain, PlainMesh};
use crate::queue::{Key, Queue, Rank};
use crate::scenario::Scenario;
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::{AgentId, Mono, Now, UnixMs};
use quorate_mesh::{Formation, Input, Output};
use std::rc::Rc;

enum Happening {
    Wake(usize),
    Arrive { to: usize, from: AgentId, bytes: Vec<u8> },
}

struct Loop {
    truth: Truth,
    nodes: Vec<Plain>,
    queue: Queue<Happening>,
    wake_at: Vec<SimTime>,
    draws: Draws,
    sent: u64,
    planned: u32,
    events: u64,
}

/// Runs the scenario's agents as plain foca, all knowing each other from the start, and returns the inputs they handled.
pub fn run(scenario: Scenario) -> u64 {
    let addresses = scenario.agents.iter().map(|agent| (agent.id, agent.address)).collect();
    let mesh = Rc::new(PlainMesh { addresses });
    let start = Now { mono: Mono(0), wall: UnixMs(0) };
    let node = |agent: &crate::scenario::Agent| {
        let mut node = Plain::new(agent.id, agent.id.0, Rc::clone(&mesh), start);
        node.form(&Formation::new(Vec::new()));
        node
    };
    let nodes: Vec<Plain> = scenario.agents.iter().map(node).collect();
    let (end, draws) = (scenario.duration, scenario.draws);
    let wake_at = vec![SimTime::NEVER; nodes.len()];
    let mut this = Loop {
        truth: Truth::new(scenario),
        nodes,
        queue: Queue::new(),
        wake_at,
        draws,
        sent: 0,
        planned: 0,
        events: 0,
    };
    (0..this.nodes.len()).for_each(|agent| this.drain(agent, SimTime::START));
    while let Some((at, event)) = this.queue.pop() {
        if at > end {
            break;
        }
        this.step(at, event);
    }
    this.events
}

impl Loop {
    fn step(&mut self, at: SimTime, event: Happening) {
        let now = Now { mono: Mono(at.0), wall: UnixMs(at.0 / 1_000_000) };
        let agent = match event {
            Happening::Wake(agent) if self.wake_at[agent] != at => return,
            Happening::Wake(agent) => {
                self.wake_at[agent] = SimTime::NEVER;
                self.nodes[agent].handle(now, Input::Wake);
                agent
            }
            Happening::Arrive { to, from, bytes } => {
                self.nodes[to].handle(now, Input::Datagram { from, bytes });
                to
            }
        };
        self.events += 1;
        self.drain(agent, at);
    }

    fn drain(&mut self, agent: usize, at: SimTime) {
        while let Some(output) = self.nodes[agent].poll_output() {
            if let Output::Datagram { to, bytes } = output
                && let Some(peer) = self.truth.scenario.agent(to)
                && !self.truth.cut(agent, peer, at)
            {
                self.sent += 1;
                let [low, high] = [250, 750];
                let travel = self.draws.within((low, high), Purpose::Latency, agent as u64, peer as u64, self.sent);
                let from = self.truth.scenario.agents[agent].id;
                let arrival = SimTime(at.0 + travel * 1000);
                self.plan(arrival, Rank::Arrival, peer, agent, Happening::Arrive { to: peer, from, bytes });
            }
        }
        let due = SimTime(self.nodes[agent].next_wakeup().0.max(at.0 + 1));
        if due < self.wake_at[agent] {
            self.wake_at[agent] = due;
            self.plan(due, Rank::Wake, agent, agent, Happening::Wake(agent));
        }
    }

    fn plan(&mut self, at: SimTime, rank: Rank, dst: usize, src: usize, event: Happening) {
        let index = |agent: usize| u32::try_from(agent).unwrap_or(u32::MAX);
        self.planned = self.planned.wrapping_add(1);
        self.queue.push(Key { at, rank, dst: index(dst), src: index(src), seq: self.planned }, event);
    }
}

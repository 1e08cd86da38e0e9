//! Agents that do next to nothing, so that a run of them costs what the simulator itself costs.

use crate::node::Node;
use quorate_core::{AgentId, Mono, Now};
use quorate_mesh::{
    Acquaintance, Command, Engine, EngineConfig, Formation, Glance, Input, Keys, MeshView, Output, StartError,
};
use std::collections::VecDeque;
use std::time::Duration;

/// How often each of them sends to the agent it was told of.
const PACE: Duration = Duration::from_millis(50);
/// What they send: as much as a SWIM ping with a little gossip.
const BYTES: usize = 120;

/// Sends to one agent, and answers each datagram that is no answer.
pub struct Idle {
    /// Only to be looked at.
    engine: Engine,
    seed: Option<AgentId>,
    next: Mono,
    out: VecDeque<Output>,
}

/// Starts one.
///
/// # Errors
/// Those of the engine.
pub fn idle(
    config: EngineConfig,
    stored: Option<&[u8]>,
    keys: Box<dyn Keys>,
    now: Now,
) -> Result<Box<dyn Node>, StartError> {
    let engine = Engine::new(config, stored, keys, now)?;
    Ok(Box::new(Idle { engine, seed: None, next: Mono(u64::MAX), out: VecDeque::new() }))
}

impl Idle {
    fn send(&mut self, to: AgentId, first: u8) {
        let mut bytes = vec![0; BYTES];
        bytes[0] = first;
        self.out.push_back(Output::Datagram { to, bytes });
    }
}

impl Node for Idle {
    fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Command(Command::Contact { agent, address }) => {
                self.out.push_back(Output::Address { agent, address });
                (self.seed, self.next) = (Some(agent), now.mono);
            }
            Input::Datagram { from, bytes } if bytes.first() == Some(&0) => self.send(from, 1),
            _ => {}
        }
        if self.next <= now.mono {
            self.next = now.mono + PACE;
            if let Some(seed) = self.seed {
                self.send(seed, 0);
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn state(&self) -> Vec<u8> {
        self.engine.state()
    }

    fn next_wakeup(&self) -> Mono {
        self.next
    }

    fn view_changed(&self) -> bool {
        false
    }

    fn acquaintance(&self) -> Option<Acquaintance> {
        Some(self.engine.acquaintance())
    }

    fn form(&mut self, _: &Formation) {}

    fn glance(&mut self) -> Glance {
        self.engine.glance()
    }

    fn view(&mut self) -> MeshView {
        self.engine.view()
    }
}

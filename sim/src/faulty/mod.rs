//! Faulty members: agents that lie, forge, replay, exaggerate or send rubbish.
//!
//! A faulty member is a wrapper around the agent's real engine that alters what goes in and what comes out. It holds its own keys and no
//! others, and every packet reaches its peers under its own name, as the real transport has it. While no fault is on, the engine is alone.

mod craft;
mod forger;
mod garbage;
mod inflater;
mod liar;
mod replayer;

use crate::draw::{Draws, Purpose};
use crate::keys::SimKeys;
use crate::node::Node;
use craft::Hand;
use liar::Lie;
use quorate_core::{AgentId, Mono, Now};
use quorate_mesh::{Acquaintance, Formation, Glance, Input, MeshView, Output, Testimony};
use quorate_wire::{MAX_DATAGRAM_BYTES, MAX_PACKET_BYTES, Packet};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// A faulty member acts of its own accord this often, once on itself and again with every input.
const PACE: Duration = Duration::from_millis(250);

/// In what way a member is faulty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// Votes that everything fails, proposes and signs every `down`.
    AlwaysDown,
    /// Votes that everything passes, proposes and signs every `up`.
    AlwaysUp,
    /// Votes and answers at random.
    Random,
    /// Sends again what others said before: packets, batches, certificates.
    Replayer,
    /// Speaks for others, under its own or a made-up signature.
    Forger,
    /// Claims enormous counters, terms, epochs and sequences, its own and others'.
    Inflater,
    /// Sends random, damaged, cut off and overlong packets.
    Garbage,
}

#[cfg(test)]
impl Behaviour {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::AlwaysDown, Self::AlwaysUp, Self::Random, Self::Replayer, Self::Forger, Self::Inflater, Self::Garbage];
}

/// When a process is faulty, by its own monotonic clock, and how.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// From this moment.
    pub from: Mono,
    /// Up to, not including, this one.
    pub to: Mono,
    /// In this way.
    pub behaviour: Behaviour,
}

/// What a faulty member does beside, or instead of, what its engine does.
trait Mischief {
    /// Sees an input first; none: the engine never learns of it.
    fn hear(&mut self, hand: &mut Hand, input: Input) -> Option<Input>;
    /// Sees an output last; none: nobody else ever does.
    fn say(&mut self, _hand: &mut Hand, output: Output) -> Option<Output> {
        Some(output)
    }
    /// Acts of its own accord.
    fn act(&mut self, hand: &mut Hand, view: &MeshView);
}

/// An agent's engine in bad company.
pub struct Faulty {
    engine: Box<dyn Node>,
    windows: Vec<Window>,
    mischief: Option<(Behaviour, Box<dyn Mischief>)>,
    hand: Hand,
    next_act: Mono,
    out: VecDeque<Output>,
    /// Was a picture taken here that the world has not seen?
    picture_due: bool,
}

impl Faulty {
    /// Wraps the engine of `agent` (number `number` in its `run`-th process) that has these windows; an honest one is left alone.
    pub fn wrap(
        engine: Box<dyn Node>,
        windows: Vec<Window>,
        keys: SimKeys,
        agent: AgentId,
        (draws, number, run): (Draws, usize, u64),
    ) -> Box<dyn Node> {
        if windows.is_empty() {
            return engine;
        }
        let draws = Draws::new(draws.bits(Purpose::Faulty, number as u64, run, 0));
        let hand = Hand::new(agent, keys, draws);
        let next_act = windows.iter().map(|window| window.from).min().unwrap_or_default();
        let (mischief, out) = (None, VecDeque::new());
        Box::new(Self { engine, windows, mischief, hand, next_act, out, picture_due: false })
    }

    /// Begins or ends the mischief of this moment.
    fn turn(&mut self, now: Mono) {
        let wanted = self.windows.iter().find(|w| w.from <= now && now < w.to).map(|window| window.behaviour);
        if wanted != self.mischief.as_ref().map(|(behaviour, _)| *behaviour) {
            self.mischief = wanted.map(|behaviour| (behaviour, mischief(behaviour)));
        }
    }

    /// When it next acts by itself, if it ever does.
    fn due(&self) -> Mono {
        let later = self.windows.iter().filter(|window| window.to > self.next_act);
        later.map(|window| window.from.max(self.next_act)).min().unwrap_or(Mono(u64::MAX))
    }

    fn act(&mut self, now: Mono) {
        self.next_act = now + PACE;
        if let Some((_, mischief)) = &mut self.mischief {
            self.picture_due |= self.engine.view_changed();
            mischief.act(&mut self.hand, &self.engine.view());
        }
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            let output = match &mut self.mischief {
                Some((_, mischief)) => mischief.say(&mut self.hand, output),
                None => Some(output),
            };
            self.out.extend(output);
        }
        self.out.extend(self.hand.take());
    }
}

fn mischief(behaviour: Behaviour) -> Box<dyn Mischief> {
    match behaviour {
        Behaviour::AlwaysDown => Box::new(liar::Liar::new(Lie::Down)),
        Behaviour::AlwaysUp => Box::new(liar::Liar::new(Lie::Up)),
        Behaviour::Random => Box::new(liar::Liar::new(Lie::Random)),
        Behaviour::Replayer => Box::new(replayer::Replayer::default()),
        Behaviour::Forger => Box::new(forger::Forger),
        Behaviour::Inflater => Box::new(inflater::Inflater),
        Behaviour::Garbage => Box::new(garbage::Garbage),
    }
}

impl Node for Faulty {
    fn handle(&mut self, now: Now, input: Input) {
        self.turn(now.mono);
        self.hand.now = now;
        let input = match &mut self.mischief {
            Some((_, mischief)) => mischief.hear(&mut self.hand, input).unwrap_or(Input::Wake),
            None => input,
        };
        self.engine.handle(now, input);
        if self.due() <= now.mono {
            self.act(now.mono);
        }
        self.take_outputs();
    }

    fn poll_output(&mut self) -> Option<Output> {
        // What the engine has put out before its first input.
        if self.out.is_empty() {
            self.take_outputs();
        }
        self.out.pop_front()
    }

    fn state(&self) -> Vec<u8> {
        self.engine.state()
    }

    fn next_wakeup(&self) -> Mono {
        self.engine.next_wakeup().min(self.due())
    }

    fn view_changed(&self) -> bool {
        self.picture_due || self.engine.view_changed()
    }

    fn glance(&mut self) -> Glance {
        self.picture_due = false;
        self.engine.glance()
    }

    fn view(&mut self) -> MeshView {
        self.picture_due = false;
        self.engine.view()
    }

    fn acquaintance(&self) -> Option<Acquaintance> {
        self.engine.acquaintance()
    }

    fn testify(&mut self, mesh: &Formation) -> Option<Testimony> {
        self.engine.testify(mesh)
    }

    fn form(&mut self, all: &Formation) {
        self.engine.form(all);
    }
}

/// The bytes of an input or output, with the peer, and whether they go by a stream.
fn bytes_in(input: &Input) -> Option<(AgentId, &[u8], bool)> {
    match input {
        Input::Datagram { from, bytes } => Some((*from, bytes, false)),
        Input::Message { from, bytes } => Some((*from, bytes, true)),
        _ => None,
    }
}

fn send(to: AgentId, bytes: Vec<u8>, stream: bool) -> Option<Output> {
    if bytes.len() > MAX_PACKET_BYTES {
        return None;
    }
    let datagram = !stream && bytes.len() <= MAX_DATAGRAM_BYTES;
    Some(if datagram { Output::Datagram { to, bytes } } else { Output::Message { to, bytes } })
}

fn packet(input: &Input) -> Option<(AgentId, Packet)> {
    let (from, bytes, _) = bytes_in(input)?;
    quorate_wire::decode(bytes).ok().map(|packet| (from, packet))
}

#[cfg(test)]
#[path = "../faulty_tests.rs"]
mod tests;

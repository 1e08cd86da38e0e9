//! Runs a recorded engine again and compares it with what was noted.

use super::digest;
use super::format::{Answer, Base, Damage, Header, Reader};
use super::keys::{Given, GivingKeys};
use crate::api::{Input, LinkEvent, Output, StartError};
use crate::engine::Engine;
use crate::view::MeshView;
use quorate_core::{AgentId, Now, UnixMs};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Why a recording cannot be replayed, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The bytes are not a whole recording.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// The engine does not start.
    #[error("the recorded agent does not start again: {0}")]
    Start(#[from] StartError),
}

/// What a recording begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Version of the software that recorded.
    pub software: String,
    /// Whose engine.
    pub agent: AgentId,
    /// Its name.
    pub name: String,
    /// How often it had been started.
    pub boot: u32,
    /// When.
    pub at: UnixMs,
    /// Bytes of stored state that it started from.
    pub stored_bytes: usize,
}

/// The kind of an input, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The start itself.
    Start,
    /// A deadline.
    Wake,
    /// Bytes, and from whom.
    Datagram(AgentId),
    /// The same by a stream.
    Message(AgentId),
    /// A link, and whether it came up.
    Link(AgentId, bool),
    /// A probe's outcome.
    Probe,
    /// A command.
    Command,
    /// Reports of breakers.
    Breakers,
}

impl Kind {
    fn of(input: &Input) -> Self {
        match input {
            Input::Wake => Self::Wake,
            Input::Datagram { from, .. } => Self::Datagram(*from),
            Input::Message { from, .. } => Self::Message(*from),
            Input::Link { peer, event } => Self::Link(*peer, matches!(event, LinkEvent::Up { .. })),
            Input::Probe { .. } => Self::Probe,
            Input::Command(_) => Self::Command,
            Input::Breakers(_) => Self::Breakers,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => write!(f, "the start"),
            Self::Wake => write!(f, "a wake-up"),
            Self::Datagram(from) => write!(f, "a datagram from {from}"),
            Self::Message(from) => write!(f, "a message from {from}"),
            Self::Link(peer, true) => write!(f, "a link to {peer} coming up"),
            Self::Link(peer, false) => write!(f, "a link to {peer} going down"),
            Self::Probe => write!(f, "a probe's outcome"),
            Self::Command => write!(f, "a command"),
            Self::Breakers => write!(f, "reports of breakers"),
        }
    }
}

/// Where the engine first does something else than it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The number of the input, from one; zero is the start.
    pub input: u64,
    /// The agent's clocks at that input.
    pub now: Now,
    /// What came in.
    pub kind: Kind,
    /// In words.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "input {} ({}): {}", self.input, self.kind, self.what)
    }
}

/// One input, run again.
#[derive(Debug)]
pub struct Step {
    /// The number of the input, from one; zero is the start.
    pub input: u64,
    /// The agent's clocks.
    pub now: Now,
    /// What came in.
    pub kind: Kind,
    /// What came out.
    pub outputs: Vec<Output>,
}

/// How much has been replayed, and whether it was the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Inputs.
    pub inputs: u64,
    /// Outputs.
    pub outputs: u64,
    /// A digest of all outputs.
    pub hash: u64,
    /// Bytes of an unfinished record at the end: the process ended while it wrote.
    pub torn_bytes: usize,
    /// The first difference, if there is one.
    pub difference: Option<Difference>,
}

/// A recorded engine that runs again.
pub struct Replay<'a> {
    engine: Engine,
    given: Arc<Mutex<Given>>,
    reader: Reader<'a>,
    summary: Summary,
    opening: Opening,
    start: Option<Step>,
}

impl<'a> Replay<'a> {
    /// Reads the beginning of a recording and starts its engine again.
    ///
    /// # Errors
    /// When the bytes are not a recording, or its engine does not start.
    pub fn open(bytes: &'a [u8]) -> Result<Self, ReplayError> {
        let (reader, Header { software, base, now, answers, outputs }) = Reader::open(bytes)?;
        let given = Arc::new(Mutex::new(Given { answers: answers.into(), surprise: None }));
        let keys = Box::new(GivingKeys(Arc::clone(&given)));
        let Base::Start { config, stored } = base;
        let (agent, name) = (config.agent, config.name.clone());
        let engine = Engine::new(config, stored.as_deref(), keys, now)?;
        let stored_bytes = stored.map_or(0, |stored| stored.len());
        let opening = Opening { software, agent, name, boot: engine.boot(), at: now.wall, stored_bytes };
        let summary = Summary { inputs: 0, outputs: 0, hash: 0, torn_bytes: 0, difference: None };
        let mut replay = Self { engine, given, reader, summary, opening, start: None };
        replay.start = Some(replay.compare(now, Kind::Start, &outputs));
        Ok(replay)
    }

    /// What the recording begins with.
    #[must_use]
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// What the engine knows now.
    pub fn view(&mut self) -> MeshView {
        self.engine.view()
    }

    /// How far it has come.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary { torn_bytes: self.reader.torn(), ..self.summary.clone() }
    }

    /// Runs the next input; the first step is the start. None at the end, and after a difference.
    ///
    /// # Errors
    /// When the recording is damaged from here on.
    pub fn step(&mut self) -> Result<Option<Step>, ReplayError> {
        if let Some(start) = self.start.take() {
            return Ok(Some(start));
        }
        if self.summary.difference.is_some() {
            return Ok(None);
        }
        let Some(turn) = self.reader.turn()? else { return Ok(None) };
        self.give(turn.answers);
        self.summary.inputs += 1;
        let kind = Kind::of(&turn.input);
        self.engine.handle(turn.now, turn.input);
        Ok(Some(self.compare(turn.now, kind, &turn.outputs)))
    }

    fn give(&self, answers: Vec<Answer>) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        *given = Given { answers: answers.into(), surprise: None };
    }

    /// Takes what the engine puts out and compares it with what it put out then.
    fn compare(&mut self, now: Now, kind: Kind, noted: &[u64]) -> Step {
        let mut outputs = Vec::new();
        let mut what = None;
        while let Some(output) = self.engine.poll_output() {
            let mut stored_bytes = 0;
            let digest = digest::output(&output, || {
                let state = self.engine.state();
                stored_bytes = state.len();
                state
            });
            if noted.get(outputs.len()) != Some(&digest) && what.is_none() {
                what = Some(format!(
                    "output {} of {} is now {}",
                    outputs.len() + 1,
                    noted.len(),
                    shown(&output, stored_bytes)
                ));
            }
            self.summary.hash = digest::running(self.summary.hash, digest);
            outputs.push(output);
        }
        if outputs.len() < noted.len() {
            what.get_or_insert_with(|| format!("{} outputs instead of {}", outputs.len(), noted.len()));
        }
        let surprise = self.surprise();
        if let Some(what) = what.or(surprise) {
            self.summary.difference = Some(Difference { input: self.summary.inputs, now, kind, what });
        }
        self.summary.outputs += outputs.len() as u64;
        Step { input: self.summary.inputs, now, kind, outputs }
    }

    /// Did the engine ask its keys for anything else than it did then?
    fn surprise(&self) -> Option<String> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        match (given.surprise, given.answers.len()) {
            (Some(asked), _) => Some(format!("the keys are asked to {asked}, which they were not")),
            (None, 0) => None,
            (None, left) => Some(format!("{left} answers of the keys are not asked for")),
        }
    }
}

/// An output in a few words.
fn shown(output: &Output, stored_bytes: usize) -> String {
    match output {
        Output::Datagram { to, bytes } => format!("a datagram of {} bytes to {to}", bytes.len()),
        Output::Message { to, bytes } => format!("a message of {} bytes to {to}", bytes.len()),
        Output::Persist { .. } => format!("a state of {stored_bytes} bytes to be stored"),
        other => format!("{other:?}"),
    }
}

//! An engine that may be recorded: the same contract, and bytes for a file beside it.

use super::digest;
use super::format::{Answer, Base, Header, mark, put_frame, put_turn};
use super::keys::{Noted, NotingKeys};
use crate::api::{Input, Keys, Output, StartError};
use crate::config::EngineConfig;
use crate::engine::Engine;
use crate::view::{Glance, MeshView};
use quorate_core::{Mono, Now};
use quorate_wire::encode_value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// An engine, recorded or not. It is driven like [`Engine`].
pub struct Recorded {
    engine: Engine,
    tape: Option<Tape>,
    /// What a recorded engine has put out and nobody has taken yet.
    out: VecDeque<Output>,
}

/// Bytes to be appended to the recording.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Do they begin a new file?
    pub begins: bool,
    /// The bytes.
    pub bytes: Vec<u8>,
}

struct Tape {
    noted: Noted,
    last: Now,
    chain: u64,
    /// Turns since the last frame.
    block: Vec<u8>,
    /// The beginning of a recording that has not been taken yet.
    beginning: Option<Vec<u8>>,
}

impl Tape {
    fn answers(&self) -> Vec<Answer> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Begins a recording that runs again from `base`.
    fn begin(&mut self, base: Base, now: Now, outputs: Vec<u64>) {
        let software = env!("CARGO_PKG_VERSION").to_owned();
        let header = Header { software, base, now, answers: self.answers(), outputs };
        let mut bytes = mark();
        self.chain = 0;
        put_frame(&mut bytes, &mut self.chain, &encode_value(&header));
        self.block.clear();
        self.last = now;
        self.beginning = Some(bytes);
    }
}

impl Recorded {
    /// Starts an engine as [`Engine::new`] does, and records it if that is wanted.
    ///
    /// # Errors
    /// Those of [`Engine::new`].
    pub fn new(
        config: EngineConfig,
        stored: Option<&[u8]>,
        keys: Box<dyn Keys>,
        now: Now,
        record: bool,
    ) -> Result<Self, StartError> {
        if !record {
            return Ok(Self { engine: Engine::new(config, stored, keys, now)?, tape: None, out: VecDeque::new() });
        }
        let noted: Noted = Arc::new(Mutex::new(Some(Vec::new())));
        let base = Base::Start { config: config.clone(), stored: stored.map(<[u8]>::to_vec) };
        let keys = Box::new(NotingKeys { keys, noted: Arc::clone(&noted) });
        let engine = Engine::new(config, stored, keys, now)?;
        let mut tape = Tape { noted, last: now, chain: 0, block: Vec::new(), beginning: None };
        let mut recorded = Self { engine, tape: None, out: VecDeque::new() };
        let outputs = recorded.drain();
        tape.begin(base, now, outputs);
        recorded.tape = Some(tape);
        Ok(recorded)
    }

    /// Takes something that happened; see [`Engine::handle`].
    pub fn handle(&mut self, now: Now, mut input: Input) {
        if self.tape.is_none() {
            return self.engine.handle(now, input);
        }
        if let Input::Probe { outcome, .. } = &mut input {
            // What the target answered is nobody's business but the observer's, and the engine does not read it.
            outcome.excerpt.clear();
            outcome.headers.clear();
            outcome.judgements.clear();
            outcome.tls = None;
        }
        let encoded = encode_value(&input);
        self.engine.handle(now, input);
        let outputs = self.drain();
        if let Some(tape) = &mut self.tape {
            let answers = tape.answers();
            put_turn(&mut tape.block, tape.last, now, &encoded, &answers, &outputs);
            tape.last = now;
        }
    }

    /// Takes what the engine puts out, and digests it.
    fn drain(&mut self) -> Vec<u64> {
        let mut digests = Vec::new();
        while let Some(output) = self.engine.poll_output() {
            digests.push(digest::output(&output, || self.engine.state()));
            self.out.push_back(output);
        }
        digests
    }

    /// See [`Engine::state`].
    #[must_use]
    pub fn state(&self) -> Vec<u8> {
        self.engine.state()
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front().or_else(|| self.engine.poll_output())
    }

    /// See [`Engine::next_wakeup`].
    #[must_use]
    pub fn next_wakeup(&self) -> Mono {
        self.engine.next_wakeup()
    }

    /// See [`Engine::boot`].
    #[must_use]
    pub fn boot(&self) -> u32 {
        self.engine.boot()
    }

    /// See [`Engine::view_changed`].
    #[must_use]
    pub fn view_changed(&self) -> bool {
        self.engine.view_changed()
    }

    /// See [`Engine::view`].
    pub fn view(&mut self) -> MeshView {
        self.engine.view()
    }

    /// See [`Engine::glance`].
    pub fn glance(&mut self) -> Glance {
        self.engine.glance()
    }

    /// Is it being recorded?
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.tape.is_some()
    }

    /// About how many bytes [`Recorded::take_recording`] would return.
    #[must_use]
    pub fn recorded_bytes(&self) -> usize {
        self.tape.as_ref().map_or(0, |tape| tape.block.len() + tape.beginning.as_ref().map_or(0, Vec::len))
    }

    /// What has been recorded since this was last called.
    pub fn take_recording(&mut self) -> Segment {
        let Some(tape) = &mut self.tape else { return Segment::default() };
        let beginning = tape.beginning.take();
        let begins = beginning.is_some();
        let mut bytes = beginning.unwrap_or_default();
        if !tape.block.is_empty() {
            put_frame(&mut bytes, &mut tape.chain, &std::mem::take(&mut tape.block));
        }
        Segment { begins, bytes }
    }

    /// Ends the recording, for good.
    pub fn stop_recording(&mut self) {
        if let Some(tape) = self.tape.take() {
            *tape.noted.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

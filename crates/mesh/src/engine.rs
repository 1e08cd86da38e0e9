//! The engine proper.

use crate::api::{Input, Keys, Output, StartError};
use crate::config::EngineConfig;
use crate::view::MeshView;
use quorate_core::{Mono, Now};

/// One agent.
pub struct Engine {
    _config: EngineConfig,
    _keys: Box<dyn Keys>,
}

impl Engine {
    /// Starts an agent at `now`, from the state it stored before, if any.
    ///
    /// # Errors
    /// When the stored state cannot be used; nothing has been changed.
    pub fn new(config: EngineConfig, stored: Option<&[u8]>, keys: Box<dyn Keys>, now: Now) -> Result<Self, StartError> {
        let _ = (stored, now);
        Ok(Self { _config: config, _keys: keys })
    }

    /// Takes something that happened. Outputs are then ready; time never runs backwards.
    pub fn handle(&mut self, now: Now, input: Input) {
        let _ = (now, input);
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When to call [`Engine::handle`] with [`Input::Wake`], if nothing else comes before.
    #[must_use]
    pub fn next_wakeup(&self) -> Mono {
        Mono(u64::MAX)
    }

    /// How often this agent has been started, this time included.
    #[must_use]
    pub fn boot(&self) -> u32 {
        1
    }

    /// Has anything changed since the last [`Engine::view`]?
    #[must_use]
    pub fn view_changed(&self) -> bool {
        false
    }

    /// A picture of what this agent knows, as of the last input.
    pub fn view(&mut self) -> MeshView {
        loop {}
    }
}

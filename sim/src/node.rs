//! The engine's contract as the world uses it, so that a test can put a small stand-in in an agent's place.

use quorate_core::{Mono, Now};
use quorate_mesh::{Engine, EngineConfig, Input, Keys, MeshView, Output, StartError};

/// One agent's behaviour. See the engine for what each method promises.
pub trait Node {
    /// Takes something that happened.
    fn handle(&mut self, now: Now, input: Input);
    /// The next thing to do, if any.
    fn poll_output(&mut self) -> Option<Output>;
    /// When to be woken.
    fn next_wakeup(&self) -> Mono;
    /// Is there a newer picture?
    fn view_changed(&self) -> bool;
    /// The picture.
    fn view(&mut self) -> MeshView;
}

impl Node for Engine {
    fn handle(&mut self, now: Now, input: Input) {
        Self::handle(self, now, input);
    }

    fn poll_output(&mut self) -> Option<Output> {
        Self::poll_output(self)
    }

    fn next_wakeup(&self) -> Mono {
        Self::next_wakeup(self)
    }

    fn view_changed(&self) -> bool {
        Self::view_changed(self)
    }

    fn view(&mut self) -> MeshView {
        Self::view(self)
    }
}

/// Starts an agent from its settings and what it stored.
pub type Starter = fn(EngineConfig, Option<&[u8]>, Box<dyn Keys>, Now) -> Result<Box<dyn Node>, StartError>;

/// Starts the real engine.
///
/// # Errors
/// Those of [`Engine::new`].
pub fn engine(
    config: EngineConfig,
    stored: Option<&[u8]>,
    keys: Box<dyn Keys>,
    now: Now,
) -> Result<Box<dyn Node>, StartError> {
    Ok(Box::new(Engine::new(config, stored, keys, now)?))
}

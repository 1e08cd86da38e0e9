//! The engine's contract as the world uses it, so that a test can put a small stand-in in an agent's place.

use quorate_core::{Mono, Now};
use quorate_mesh::{
    Acquaintance, Defect, Engine, EngineConfig, Formation, Glance, Input, Keys, MeshView, Output, StartError, Testimony,
};

/// One agent's behaviour. See the engine for what each method promises.
pub trait Node {
    /// Takes something that happened.
    fn handle(&mut self, now: Now, input: Input);
    /// The next thing to do, if any.
    fn poll_output(&mut self) -> Option<Output>;
    /// What is to be stored, asked for when it puts out that it is to be.
    fn state(&self) -> Vec<u8>;
    /// When to be woken.
    fn next_wakeup(&self) -> Mono;
    /// Is there a newer picture?
    fn view_changed(&self) -> bool;
    /// The picture, without names and without the hosts of which there is nothing to say.
    fn glance(&mut self) -> Glance;
    /// The whole picture.
    fn view(&mut self) -> MeshView;
    /// The agent as others of a formed mesh know it.
    fn acquaintance(&self) -> Option<Acquaintance>;
    /// Makes it an observer that has long found up whatever it will observe in a mesh.
    fn testify(&mut self, _: &Formation) -> Option<Testimony> {
        None
    }
    /// Makes it one of a formed mesh.
    fn form(&mut self, all: &Formation);
}

impl Node for Engine {
    fn handle(&mut self, now: Now, input: Input) {
        Self::handle(self, now, input);
    }

    fn poll_output(&mut self) -> Option<Output> {
        Self::poll_output(self)
    }

    fn state(&self) -> Vec<u8> {
        Self::state(self)
    }

    fn next_wakeup(&self) -> Mono {
        Self::next_wakeup(self)
    }

    fn view_changed(&self) -> bool {
        Self::view_changed(self)
    }

    fn glance(&mut self) -> Glance {
        Self::glance(self)
    }

    fn view(&mut self) -> MeshView {
        Self::view(self)
    }

    fn acquaintance(&self) -> Option<Acquaintance> {
        Some(Self::acquaintance(self))
    }

    fn testify(&mut self, mesh: &Formation) -> Option<Testimony> {
        Some(Self::testify(self, mesh))
    }

    fn form(&mut self, all: &Formation) {
        Self::form(self, all);
    }
}

/// Starts an agent from its settings and what it stored.
#[cfg(test)]
pub type Starter = fn(EngineConfig, Option<&[u8]>, Box<dyn Keys>, Now) -> Result<Box<dyn Node>, StartError>;

/// The same, for one that knows more.
pub type AnyStarter = dyn Fn(EngineConfig, Option<&[u8]>, Box<dyn Keys>, Now) -> Result<Box<dyn Node>, StartError>;

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

/// Starts the real engine, and breaks it on purpose.
pub fn broken(defect: Defect) -> Box<AnyStarter> {
    Box::new(move |config, stored, keys, now| {
        let mut engine = Engine::new(config, stored, keys, now)?;
        engine.sabotage(defect);
        Ok(Box::new(engine))
    })
}

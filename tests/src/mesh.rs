//! A mesh of real agents, and conditions that all of them must come to satisfy.

use crate::agent::{Agent, AgentSetup, Host};
use crate::wait::{Stopwatch, eventually};
use std::fmt;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Agents and the folder with everything they write.
#[derive(Debug)]
pub struct Mesh {
    /// In the order in which they joined.
    pub agents: Vec<Agent>,
    folder: TempDir,
}

/// When the first and when the last agent came to satisfy a condition.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// The first.
    pub first: Duration,
    /// The last.
    pub all: Duration,
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "first agent after {:.2} s, all after {:.2} s", self.first.as_secs_f64(), self.all.as_secs_f64())
    }
}

/// A folder for a mesh, to be made before its targets.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn folder() -> TempDir {
    tempfile::Builder::new().prefix("quorate-test-").tempdir().expect("a temporary folder")
}

impl Mesh {
    /// Starts a mesh: the first agent makes it, each other one joins by the one before it, so that all but the second join by a member
    /// that cannot admit them itself. Returns when every agent is ready and sees all others alive.
    ///
    /// # Panics
    /// When that does not come about within bounds.
    #[must_use]
    pub fn start(setups: &[AgentSetup], folder: TempDir) -> Self {
        let agents: Vec<_> = setups.iter().map(|setup| Agent::new(setup, folder.path())).collect();
        let mut mesh = Self { agents, folder };
        let _token = mesh.agents[0].init();
        mesh.agents[0].start();
        mesh.agents[0].await_ready();
        for index in 1..mesh.agents.len() {
            let token = mesh.agents[0].token(&[]);
            let member = mesh.agents[index - 1].mesh;
            mesh.agents[index].start_joining(member, &token);
            mesh.agents[index].await_ready();
        }
        let count = mesh.agents.len() as u64;
        mesh.each("every agent sees every other alive", Duration::from_secs(30), |agent| complete(agent, count));
        mesh
    }

    /// A mesh of that many agents without services on loopback.
    #[must_use]
    pub fn of(count: usize) -> Self {
        let setups: Vec<_> =
            (1..=count).map(|number| AgentSetup::new(format!("agent-{number}"), Host::loopback())).collect();
        Self::start(&setups, folder())
    }

    /// Where everything is written.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until every running agent satisfies `condition`, and says when the first and the last one did.
    ///
    /// # Panics
    /// When one does not within `limit`.
    pub fn each(&self, what: &str, limit: Duration, condition: impl Fn(&Agent) -> Result<(), String>) -> Spread {
        let running: Vec<_> = self.agents.iter().filter(|agent| agent.is_running()).collect();
        among(&running, what, limit, condition)
    }

    /// Waits until every running agent states `verdict` for `instance`.
    ///
    /// # Panics
    /// As [`Mesh::each`].
    pub fn await_verdict(&self, instance: &str, verdict: &str, limit: Duration) -> Spread {
        self.each(&format!("{instance} is {verdict}"), limit, |agent| states(agent, instance, verdict))
    }
}

/// Waits until each of `agents` satisfies `condition`, and says when the first and the last one did.
///
/// # Panics
/// When one does not within `limit`.
pub fn among(
    agents: &[&Agent],
    what: &str,
    limit: Duration,
    condition: impl Fn(&Agent) -> Result<(), String>,
) -> Spread {
    let watch = Stopwatch::start();
    let mut done = vec![None; agents.len()];
    eventually(what, limit, || {
        let mut missing = Vec::new();
        for (agent, done) in agents.iter().zip(&mut done) {
            if done.is_none() {
                match condition(agent) {
                    Ok(()) => *done = Some(watch.elapsed()),
                    Err(state) => missing.push(format!("{}: {state}", agent.name)),
                }
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(missing.join("\n    ")) }
    });
    let times = done.into_iter().flatten();
    Spread { first: times.clone().min().unwrap_or_default(), all: times.max().unwrap_or_default() }
}

/// Does the agent see a roster of `count`, all of them alive, and hold itself settled?
///
/// # Errors
/// What it sees instead.
pub fn complete(agent: &Agent, count: u64) -> Result<(), String> {
    let health = agent.health()?;
    let well = health.quorate && health.settled && health.alive == count && health.roster == count;
    if well { Ok(()) } else { Err(format!("{health:?}")) }
}

/// Does the agent state `verdict` for `instance`?
///
/// # Errors
/// What it states instead.
pub fn states(agent: &Agent, instance: &str, verdict: &str) -> Result<(), String> {
    let seen = agent.instance(instance)?;
    if seen.verdict == verdict { Ok(()) } else { Err(format!("{seen:?}")) }
}

//! A plan: what a run consists of, as data. Written in TOML; every key is described in `docs/simulator.md`.

mod bounds;
mod calls;
mod check;
mod fault;
mod lives;
mod mesh;
mod network;
mod place;
mod service;

pub use bounds::Bounds;
pub use calls::{CallMode, CallTrouble, CallWord, CallsPlan, WordMode};
pub use check::MAX_PPM;
pub use fault::{Burst, Cycle, Disk, Fault, Only, TargetMode, WakeOrder};
pub use mesh::{MAX_AGENTS, MeshPlan, Start};
pub use network::{Distribution, NetworkPlan};
pub use service::ServicePlan;

use crate::time::Span;
use crate::timing::TimingPlan;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// One run's mesh, network, services and faults; independent of the seed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What it shows, in a sentence.
    pub summary: String,
    /// The run lasts at least this long; longer when convergence needs it.
    #[serde(default = "defaults::duration")]
    pub duration: Span,
    /// The agents.
    #[serde(default)]
    pub mesh: MeshPlan,
    /// What packets go through.
    #[serde(default)]
    pub network: NetworkPlan,
    /// How long things may take.
    #[serde(default)]
    pub bounds: Bounds,
    /// What replaces the engine's own intervals.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timing: TimingPlan,
    /// What is probed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServicePlan>,
    /// What goes wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Who calls what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallsPlan>,
}

mod defaults {
    use crate::time::Span;
    pub fn duration() -> Span {
        Span::secs(60)
    }
    pub fn period() -> Span {
        Span::secs(1)
    }
    pub fn timeout() -> Span {
        Span::ms(500)
    }
    pub fn failures() -> u32 {
        3
    }
    pub fn successes() -> u32 {
        1
    }
    pub fn observers() -> u32 {
        5
    }
    pub fn flap() -> Span {
        Span::secs(6)
    }
    pub fn yes() -> bool {
        true
    }
    pub fn one() -> usize {
        1
    }
    pub fn all() -> u32 {
        1000
    }
    pub fn queue() -> u64 {
        64 * 1024
    }
}

impl Plan {
    /// Reads a plan and checks it.
    ///
    /// # Errors
    /// Names the key that is wrong and what would be right.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let plan: Self = toml::from_str(text).map_err(|error| place::with_place(text, error))?;
        plan.check()?;
        Ok(plan)
    }

    /// The names of all instances.
    pub fn instances(&self) -> impl Iterator<Item = String> {
        self.services.iter().flat_map(|service| service.homes.iter().map(|home| format!("{}@{home}", service.name)))
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn check(&self) -> anyhow::Result<()> {
        self.mesh.check()?;
        self.network.check(self.mesh.zones)?;
        self.timing.check()?;
        let mut seen = std::collections::BTreeSet::new();
        for service in &self.services {
            service.check(self.mesh.agents).with_context(|| format!("services: {:?}", service.name))?;
        }
        if let Some(twice) = self.instances().find(|name| !seen.insert(name.clone())) {
            bail!("services: the instance {twice} appears twice");
        }
        check::instances_are_few(self)?;
        check::faulty_are_few(self)?;
        let mut called = std::collections::BTreeSet::new();
        if let Some(calls) = self.calls.iter().find(|calls| !called.insert(&calls.instance)) {
            bail!("calls: {} is called twice; one host has one breaker of it", calls.instance);
        }
        for (index, calls) in self.calls.iter().enumerate() {
            let wrong = || format!("calls: number {} is wrong", index + 1);
            calls.check(self.mesh.agents, self.mesh.zones, &seen).with_context(wrong)?;
        }
        let cast = check::Cast { agents: self.mesh.agents, instances: &seen };
        for (index, fault) in self.faults.iter().enumerate() {
            fault.check(&cast).with_context(|| format!("faults: number {} is wrong", index + 1))?;
        }
        check::flaps_are_few(self)?;
        lives::check(self)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;

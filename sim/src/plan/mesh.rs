//! The agents of a plan.

use super::is_default;
use crate::time::{SimTime, Span};
use anyhow::bail;
use serde::{Deserialize, Serialize};

/// Most agents of one plan.
pub const MAX_AGENTS: usize = 5000;

/// The agents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeshPlan {
    /// How many, numbered from zero.
    pub agents: usize,
    /// Over how many zones they are dealt, in turn.
    pub zones: usize,
    /// Wall clocks are wrong by at most this much, either way.
    pub clock_offset: Span,
    /// How the mesh comes to be.
    #[serde(skip_serializing_if = "is_default")]
    pub start: Start,
}

/// How the mesh comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// All start within a second and make contact with agent 0.
    #[default]
    Joining,
    /// All start at once and have known each other for long.
    Formed,
    /// The same, and every instance has been up for long.
    Settled,
}

impl Default for MeshPlan {
    fn default() -> Self {
        Self { agents: 5, zones: 1, clock_offset: Span::secs(5), start: Start::default() }
    }
}

impl Start {
    /// The mesh has formed by then, in a quiet network.
    pub fn formed_by(self) -> SimTime {
        match self {
            Self::Joining => SimTime::from_ms(15_000),
            Self::Formed | Self::Settled => SimTime::from_ms(5_000),
        }
    }

    /// Do all know each other from the beginning?
    pub fn is_formed(self) -> bool {
        self != Self::Joining
    }
}

impl MeshPlan {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.agents == 0 || self.agents > MAX_AGENTS {
            bail!("mesh.agents: {} is not allowed; use 1 to {MAX_AGENTS}", self.agents);
        }
        if self.zones == 0 || self.zones > self.agents {
            bail!("mesh.zones: {} is not allowed; use 1 to the number of agents", self.zones);
        }
        Ok(())
    }
}

//! The instances that the configuration and the API give this agent, held against what the mesh makes of them.
//!
//! An id names one instance in the whole mesh. When two agents claim one, one of them has it, and what the other one wrote is watched by
//! nobody: that agent must say so.

use quorate_core::InstanceId;
use quorate_mesh::MeshView;
use std::collections::BTreeSet;

/// The ids this agent claims, and those it does not have.
#[derive(Debug)]
pub struct Claims {
    ids: Vec<InstanceId>,
    lost: BTreeSet<InstanceId>,
}

impl Claims {
    /// Claims on these.
    pub fn new(ids: Vec<InstanceId>) -> Self {
        Self { ids, lost: BTreeSet::new() }
    }

    /// Claims these from now on.
    pub fn replace(&mut self, ids: Vec<InstanceId>) {
        self.lost.retain(|id| ids.contains(id));
        self.ids = ids;
    }

    /// Warns of every claim that another agent has just got the better of. Returns how many there are.
    pub fn examine(&mut self, view: &MeshView) -> usize {
        for id in &self.ids {
            let found = view.instances.get(id);
            if found.is_some_and(|instance| instance.home == view.agent) {
                if self.lost.remove(id) {
                    tracing::info!(instance = %id, "the instance is this agent's again");
                }
            } else if self.lost.insert(id.clone()) {
                let home = found.map_or_else(|| "unknown".to_owned(), |instance| instance.home.to_string());
                let name = found.map_or("", |instance| instance.home_name.as_str());
                tracing::warn!(
                    instance = %id, %home, name,
                    "another agent has an instance of this id; the one named here is watched by nobody: give one of them another `id`"
                );
            }
        }
        self.lost.len()
    }
}

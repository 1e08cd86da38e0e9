//! Membership of a mesh that was formed before this agent looks at it.

use super::{Swim, SwimId, config};
use foca::Member;
use quorate_core::{AgentId, Mono};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Swim {
    /// Holds all agents alive at once, each with its boot counter, without telling anybody. Probing begins after `first_probe`.
    pub fn form(&mut self, first_probe: Mono, boots: &BTreeMap<AgentId, u32>, links: &BTreeSet<AgentId>) {
        if let Ok(mut known) = self.known.lock() {
            known.know_all(boots);
            self.size = known.len().max(1);
        }
        let _ = self.foca.set_config(config(self.size, &self.timing));
        let me = self.foca.identity().agent;
        let others = boots.iter().filter(|(agent, _)| **agent != me);
        let members = others.map(|(agent, boot)| Member::alive(SwimId::first(*agent, *boot)));
        self.drive(first_probe, links, |foca, sink| foca.apply_many(members, false, sink));
        self.active = Arc::new(self.active.iter().map(|(agent, counter)| (*agent, *counter)).collect());
        // Nobody has come: they have been there all along.
        self.outputs.clear();
        self.appeared.clear();
    }
}

//! What every agent has really signed, noted by its keys: the ground truth for what others show in its name.

use crate::digest;
use quorate_core::AgentId;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// The signatures of one run, shared by everyone's keys.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<BTreeSet<(AgentId, u64)>>>);

impl Ledger {
    /// Notes that `agent` signs `bytes`.
    pub fn note(&self, agent: AgentId, bytes: &[u8]) {
        if let Ok(mut signed) = self.0.lock() {
            signed.insert((agent, digest::keyed(0, bytes)));
        }
    }

    /// Did `agent` ever sign `bytes`?
    pub fn holds(&self, agent: AgentId, bytes: &[u8]) -> bool {
        self.0.lock().is_ok_and(|signed| signed.contains(&(agent, digest::keyed(0, bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_by_that_agent_is_held() {
        let ledger = Ledger::default();
        ledger.clone().note(AgentId(1), b"words");
        assert!(ledger.holds(AgentId(1), b"words"));
        assert!(!ledger.holds(AgentId(2), b"words") && !ledger.holds(AgentId(1), b"other"));
    }
}

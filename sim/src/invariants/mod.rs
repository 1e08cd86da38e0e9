//! The promises, one file each, checked against the ground truth.
//!
//! An invariant is shown what happens and says what is wrong with it. It never influences the run.

pub mod blame;
pub mod calls;
pub mod changes;
pub mod convergence;
pub mod cost;
pub mod detection;
pub mod determinism;
pub mod epochs;
pub mod flapping;
pub mod forged;
pub mod identity;
pub mod minority;
mod observations;
pub mod one_side;
pub mod order;
pub mod quiet;
pub mod quorum;
pub mod recovery;
pub mod terms;
pub mod truth_wins;
pub mod unwatched;

#[cfg(test)]
pub mod bench;

use crate::calls::CallSight;
use crate::truth::Truth;
use quorate_core::verdict::Certificate;
use quorate_mesh::{EventKind, Glance, InstanceView};
use std::time::Duration;

/// However rarely an instance is probed, failures of different moments prove nothing: a vote `fail` counts no longer than this after its look.
const MOMENT: Duration = Duration::from_secs(5);

/// The name of what no file is for: sizes, addressees, no spinning, every process starts.
pub const CONTRACT: &str = "contract";

/// Something that can be seen.
pub enum Sight<'a> {
    /// A certificate is held by anybody for the first time in the run.
    Certificate {
        /// By whom.
        holder: usize,
        /// What that agent knows of the instance.
        instance: &'a InstanceView,
        /// The certificate.
        certificate: &'a Certificate,
    },
    /// What an agent says of an instance changed.
    Instance {
        /// Which agent.
        agent: usize,
        /// What this run of its process said before.
        before: Option<&'a InstanceView>,
        /// What it says now.
        after: &'a InstanceView,
    },
    /// An agent tells of an event.
    Event {
        /// Which agent.
        agent: usize,
        /// What.
        kind: &'a EventKind,
    },
    /// Five times a second: what everybody knows.
    Survey {
        /// By agent; none for one without a process.
        views: &'a [Option<&'a Glance>],
    },
    /// Somebody calls.
    Call {
        /// From which agent's host.
        agent: usize,
        /// Which of the plan's calls.
        calls: usize,
        /// What came of it.
        call: CallSight,
    },
    /// The run is over.
    End,
}

/// What an invariant found to be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// On which agent.
    pub agent: Option<usize>,
    /// In words.
    pub detail: String,
    /// The votes in question.
    pub votes: Vec<String>,
}

impl Finding {
    /// A finding without votes.
    pub fn new(agent: Option<usize>, detail: impl Into<String>) -> Self {
        Self { agent, detail: detail.into(), votes: Vec::new() }
    }

    /// A finding about a certificate.
    pub fn about(truth: &Truth, certificate: &Certificate, agent: Option<usize>, detail: impl Into<String>) -> Self {
        let decision = &certificate.decision;
        let detail = format!("{} term {} {}: {}", decision.instance, decision.term, decision.verdict, detail.into());
        let votes = certificate.endorsements.iter().map(|endorsement| {
            let number = truth.scenario.agent(endorsement.agent);
            let name =
                number.map_or_else(|| endorsement.agent.to_string(), |n| truth.scenario.agent_name(n).to_owned());
            let at = number.map(|n| truth.moment_of(n, endorsement.signed_at.0).to_string()).unwrap_or_default();
            format!("{name} {} at {at}", endorsement.vote)
        });
        Self { agent, detail, votes: votes.collect() }
    }
}

/// One promise.
pub trait Invariant {
    /// Its name in reports.
    fn name(&self) -> &'static str;
    /// Looks at what happened.
    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>);
}

/// All that are shown everything.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(quorum::Quorum),
        Box::new(minority::Minority::default()),
        Box::new(blame::Blame::default()),
        Box::new(truth_wins::TruthWins),
        Box::new(unwatched::Unwatched),
        Box::new(order::Order::default()),
        Box::new(epochs::Epochs::default()),
        Box::new(forged::Forged::default()),
        Box::new(one_side::OneSide::default()),
        Box::new(cost::Cost::default()),
        Box::new(quiet::Quiet::default()),
        Box::new(terms::OneWord::default()),
        Box::new(flapping::Flapping::default()),
        Box::new(changes::Changes::default()),
        Box::new(identity::Identity::default()),
        Box::new(calls::late::LateResults),
        Box::new(calls::trials::BoundedTrials::default()),
        Box::new(calls::unprovoked::Unprovoked),
        Box::new(calls::spent::Spent::default()),
        Box::new(calls::one_caller::OneCaller::default()),
        Box::new(calls::words::Words),
    ]
}

/// The names of all promises that a run may be found to break.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = all().iter().map(|invariant| invariant.name()).collect();
    names.extend([convergence::Convergence::new().name(), detection::NAME, recovery::NAME, CONTRACT]);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_is_documented() {
        let text = include_str!("../../../docs/simulator.md");
        let missing: Vec<_> = names().into_iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
        assert!(missing.is_empty(), "add to docs/simulator.md: {missing:?}");
    }
}

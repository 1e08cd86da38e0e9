//! All invariants together: shows each of them what happens and keeps what they find.

use crate::invariants::convergence::Convergence;
use crate::invariants::{Finding, Invariant, Sight, all};
use crate::scenario::Scenario;
use crate::sometimes::Coverage;
use crate::timeline::Timeline;
use crate::truth::Truth;
use serde::Serialize;

/// Violations kept of one run; the first ones matter. What is told of one agent is not told of others again.
const KEPT: usize = 20;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// When, in simulated seconds.
    pub at_s: f64,
    /// On which agent, when it is one agent's.
    pub agent: Option<String>,
    /// What was the case.
    pub detail: String,
    /// The votes of the certificate in question.
    pub votes: Vec<String>,
}

/// The invariants of one run, and what they found.
pub struct Checks {
    others: Vec<Box<dyn Invariant>>,
    /// The one that also tells when the run may end.
    pub convergence: Convergence,
    /// When verdicts changed where.
    pub timeline: Timeline,
    /// Which rare paths were taken.
    pub coverage: Coverage,
    /// What was found.
    pub violations: Vec<Violation>,
    /// How many were found, kept or not.
    pub found: u64,
    /// New `down` decisions on subjects that were well and within reach of more than half of the roster.
    pub false_down: u64,
}

impl Checks {
    /// All invariants, for a run of `scenario`.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            others: all(),
            convergence: Convergence::new(),
            coverage: Coverage::default(),
            timeline: Timeline::new(scenario.agents.len()),
            violations: Vec::new(),
            found: 0,
            false_down: 0,
        }
    }

    /// Shows every invariant what happened.
    pub fn look(&mut self, truth: &Truth, sight: &Sight<'_>) {
        self.timeline.look(truth, sight);
        self.coverage.look(truth, sight);
        if let Sight::Certificate { certificate, .. } = sight {
            self.false_down += u64::from(crate::invariants::truth_wins::false_down(truth, certificate));
        }
        let mut found = Vec::new();
        let convergence: &mut dyn Invariant = &mut self.convergence;
        for invariant in self.others.iter_mut().map(Box::as_mut).chain([convergence]) {
            let mut findings = Vec::new();
            invariant.look(truth, sight, &mut findings);
            found.extend(findings.into_iter().map(|finding| (invariant.name(), finding)));
        }
        if let Sight::End = sight {
            let late = self.timeline.late(truth);
            found.extend(late);
        }
        for (name, finding) in found {
            self.report(truth, name, finding);
        }
    }

    /// Keeps what was found.
    pub fn report(&mut self, truth: &Truth, invariant: &'static str, finding: Finding) {
        self.found += 1;
        let detail = truth.scenario.in_names(&finding.detail);
        let repeated = self.violations.iter().any(|v| v.invariant == invariant && v.detail == detail);
        if self.violations.len() < KEPT && !repeated {
            self.violations.push(Violation {
                invariant,
                at_s: truth.now.as_secs_f64(),
                agent: finding.agent.map(|agent| truth.scenario.agent_name(agent).to_owned()),
                detail,
                votes: finding.votes,
            });
        }
    }
}

//! What the mesh concludes of an instance, the class of the fault, and the certificate that proves a conclusion.

use crate::evidence::words;
use crate::id::{AgentId, InstanceId};
use crate::observation::Vote;
use crate::quorum;
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::fmt;

words!(
    /// What the mesh concludes of an instance.
    Verdict {
        /// Registered, not yet decided.
        Starting = "starting",
        /// A quorum of observers reaches it.
        Up = "up",
        /// Reached, with warnings.
        Degraded = "degraded",
        /// Some places reach it, others do not.
        Partial = "partial",
        /// A quorum of observers sees it fail.
        Down = "down",
        /// Nobody is in a position to say.
        Unknown = "unknown",
        /// Being taken out of service on purpose.
        Draining = "draining",
        /// Out of service on purpose.
        Maintenance = "maintenance",
    }
);

impl Verdict {
    /// Is this one of the verdicts that a certificate can state?
    #[must_use]
    pub fn certifiable(self) -> bool {
        matches!(self, Self::Up | Self::Degraded | Self::Partial | Self::Down)
    }
}

words!(
    /// What the pattern of votes says is broken.
    Class {
        /// Nothing.
        Healthy = "healthy",
        /// A path or a zone: some remote observers fail, others do not.
        PathFault = "path_fault",
        /// The home observer reaches it, nobody else does: drain, do not restart.
        NetworkUnreachable = "network_unreachable",
        /// It is broken for everyone.
        InstanceFault = "instance_fault",
        /// Only the home observer fails: its own checker is at fault.
        LocalCheckerFault = "local_checker_fault",
        /// The whole host is gone: the instances on it fold under that.
        HostDown = "host_down",
        /// The agent is gone, the service lives.
        AgentDead = "agent_dead",
        /// The votes do not tell.
        Undetermined = "undetermined",
    }
);

/// The votes that the class is read from.
#[derive(Debug, Clone, Default)]
pub struct Pattern {
    /// The home observer's vote, unless it abstains or is missing.
    pub home: Option<Vote>,
    /// The votes of all others, without those that abstain.
    pub remote: Vec<Vote>,
    /// Is the home agent a live member?
    pub home_alive: bool,
}

impl Class {
    /// Reads the class from the pattern of votes.
    #[must_use]
    pub fn of(pattern: &Pattern) -> Self {
        let fails = pattern.remote.iter().filter(|vote| vote.fails()).count();
        let reaches = pattern.remote.len() - fails;
        let home = if pattern.home_alive { pattern.home } else { None };
        match (home.map(Vote::reaches), reaches > 0, fails > 0) {
            (Some(true), _, false) | (None, true, false) if pattern.home_alive => Self::Healthy,
            (Some(true), false, true) => Self::NetworkUnreachable,
            (_, true, true) => Self::PathFault,
            (Some(false), true, false) => Self::LocalCheckerFault,
            (Some(false), false, _) => Self::InstanceFault,
            (None, false, true) if pattern.home_alive => Self::InstanceFault,
            (None, false, true) => Self::HostDown,
            (None, true, false) => Self::AgentDead,
            (Some(true), _, false) | (None, false, false) => Self::Undetermined,
        }
    }
}

/// A conclusion that observers sign: one instance, one term, one verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Of what.
    pub instance: InstanceId,
    /// Of which copy: grows when the instance's home registers another address or check under the same name.
    pub incarnation: u64,
    /// The number of this verdict; of two, the higher holds.
    pub term: u64,
    /// The conclusion.
    pub verdict: Verdict,
    /// How many observers were assigned.
    pub observers: u32,
}

/// One observer's signature under a decision, with the vote it gave at that moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endorsement {
    /// Who.
    pub agent: AgentId,
    /// What it saw itself.
    pub vote: Vote,
    /// When, by its own wall clock; for people.
    pub signed_at: UnixMs,
    /// Over the decision and the two fields above.
    #[serde(with = "crate::blob")]
    pub signature: Vec<u8>,
}

/// The proof of a verdict: a decision and the signatures of a quorum of its observers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// What was decided.
    pub decision: Decision,
    /// What the votes said was broken, in the proposer's reading.
    pub class: Class,
    /// When, by the proposer's wall clock; for people.
    pub decided_at: UnixMs,
    /// Who signed.
    pub endorsements: Vec<Endorsement>,
}

/// Why a certificate proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It states a verdict that no certificate can state.
    Verdict,
    /// Term zero, or a number of observers outside 1 to [`quorum::MAX_OBSERVERS`].
    Numbers,
    /// Fewer signatures than a quorum.
    NoQuorum,
    /// Someone signed twice.
    Repeated,
    /// A signer's own vote contradicts the verdict.
    Contradiction,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verdict => "states a verdict that cannot be certified",
            Self::Numbers => "holds impossible numbers",
            Self::NoQuorum => "is signed by less than a quorum",
            Self::Repeated => "is signed twice by one agent",
            Self::Contradiction => "is signed by an agent that saw otherwise",
        })
    }
}

impl Certificate {
    /// Most signatures in one certificate: the observers and the home agent.
    pub const MAX_ENDORSEMENTS: usize = quorum::MAX_OBSERVERS as usize + 1;

    /// The rank of a certificate among those of one instance: by incarnation, by term, then by a fixed rule, so that all agents that hold
    /// the same ones keep the same one. A `down` yields to anything else of its own term: when in doubt, nobody is taken out of service.
    #[must_use]
    pub fn rank(&self) -> (u64, u64, u8, u64) {
        self.rank_by(|_| true)
    }

    /// The same, of those signers alone that count.
    #[must_use]
    pub fn rank_by(&self, counts: impl Fn(AgentId) -> bool) -> (u64, u64, u8, u64) {
        let standing = match self.decision.verdict {
            Verdict::Up => 3,
            Verdict::Degraded => 2,
            Verdict::Partial => 1,
            _ => 0,
        };
        let signers = self.endorsements.iter().map(|e| e.agent).filter(|agent| counts(*agent));
        let signers = signers.fold(0, |sum: u64, agent| sum.wrapping_add(agent.0));
        (self.decision.incarnation, self.decision.term, standing, signers)
    }

    /// Checks everything but the signatures themselves.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn check(&self) -> Result<(), Flaw> {
        let decision = &self.decision;
        if !decision.verdict.certifiable() {
            return Err(Flaw::Verdict);
        }
        if decision.term == 0 || !(1..=quorum::MAX_OBSERVERS).contains(&decision.observers) {
            return Err(Flaw::Numbers);
        }
        let mut agents: Vec<_> = self.endorsements.iter().map(|e| e.agent).collect();
        agents.sort_unstable();
        if agents.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Flaw::Repeated);
        }
        if self.endorsements.iter().any(|e| !supports(e.vote, decision.verdict)) {
            return Err(Flaw::Contradiction);
        }
        let count = agents.len();
        if count < quorum::of(decision.observers) as usize || count > Self::MAX_ENDORSEMENTS {
            return Err(Flaw::NoQuorum);
        }
        Ok(())
    }
}

/// May an observer that itself saw `vote` sign `verdict`? `down` and `up` need its own eyes, the others an opinion.
#[must_use]
pub fn supports(vote: Vote, verdict: Verdict) -> bool {
    match verdict {
        Verdict::Down => vote.fails(),
        Verdict::Up => matches!(vote, Vote::Pass),
        Verdict::Degraded => vote.reaches(),
        Verdict::Partial => !vote.abstains(),
        Verdict::Starting | Verdict::Unknown | Verdict::Draining | Verdict::Maintenance => false,
    }
}

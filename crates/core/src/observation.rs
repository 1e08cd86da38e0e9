//! An observer's view of an instance after its thresholds: its vote.

use crate::evidence::{Cause, Evidence, FailureType, Phase, words};
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::fmt;

words!(
    /// Why an observer gives no opinion.
    AbstainReason {
        /// It has not probed often enough yet.
        Starting = "starting",
        /// It does not reach more than half of the roster.
        Isolated = "isolated",
        /// It was held up: its own clock jumped past its timers.
        Stalled = "stalled",
        /// Too much fails at once, or it cannot run probes: the fault is likely its own.
        Impaired = "impaired",
        /// The check is switched off.
        Disabled = "disabled",
    }
);

/// What an observer says of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vote {
    /// It answers as it should.
    Pass,
    /// It answers, with a warning.
    Warn,
    /// It does not.
    Fail {
        /// How far the last probe came.
        phase: Phase,
        /// What went wrong.
        cause: Cause,
    },
    /// No opinion.
    Abstain(AbstainReason),
}

impl Vote {
    /// `pass` or `warn`: the instance was reached.
    #[must_use]
    pub fn reaches(self) -> bool {
        matches!(self, Self::Pass | Self::Warn)
    }

    /// `fail`.
    #[must_use]
    pub fn fails(self) -> bool {
        matches!(self, Self::Fail { .. })
    }

    /// `fail`, and nothing proved of the far end: the name was not found. Whoever could not look it up speaks of its own resolver, too.
    #[must_use]
    pub fn fails_unproven(self) -> bool {
        self.evidence() == Some(Evidence::Inconclusive)
    }

    /// Neither: no opinion.
    #[must_use]
    pub fn abstains(self) -> bool {
        matches!(self, Self::Abstain(_))
    }

    /// The word used in JSON: `pass`, `warn`, `fail`, `abstain`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail { .. } => "fail",
            Self::Abstain(_) => "abstain",
        }
    }

    /// What a failing vote proves of the far end.
    #[must_use]
    pub fn evidence(self) -> Option<Evidence> {
        match self {
            Self::Fail { phase, cause } => Some(Evidence::of(phase, cause)),
            Self::Pass | Self::Warn | Self::Abstain(_) => None,
        }
    }

    /// The failure type of a failing vote.
    #[must_use]
    pub fn failure_type(self) -> Option<FailureType> {
        match self {
            Self::Fail { cause, .. } => Some(FailureType::of(cause)),
            Self::Pass | Self::Warn | Self::Abstain(_) => None,
        }
    }
}

impl fmt::Display for Vote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail { phase, cause } => write!(f, "fail({cause} at {phase})"),
            Self::Abstain(reason) => write!(f, "abstain({reason})"),
            Self::Pass | Self::Warn => f.write_str(self.word()),
        }
    }
}

/// A vote with what makes it understandable; written by its observer alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The vote.
    pub vote: Vote,
    /// In words, for a person; at most [`crate::outcome::ProbeFailure::MAX_DETAIL_BYTES`].
    pub detail: String,
    /// Since when the observer has said so, by its own wall clock.
    pub since: UnixMs,
}

impl Observation {
    /// How the detail begins of an observer that abstains because it cannot make the probe on its host; what it lacks follows.
    pub const UNABLE: &str = "cannot be probed from here: ";
}

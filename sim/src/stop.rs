//! When a run ends before its time.

use crate::checks::Violation;
use crate::time::SimTime;

/// When a run ends before its time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Stop {
    /// Never: it is to measure.
    #[default]
    Never,
    /// With the first broken promise: it is to find faults.
    AtFirst,
    /// When this promise is broken, or undecided at this moment: it is to find one fault again.
    AtFirstOf(String, SimTime),
}

impl Stop {
    /// Has what the run looks for been found?
    pub fn enough(&self, violations: &[Violation]) -> bool {
        match self {
            Self::Never => false,
            Self::AtFirst => !violations.is_empty(),
            Self::AtFirstOf(invariant, _) => violations.iter().any(|violation| violation.invariant == *invariant),
        }
    }

    /// Is it too late to find it? What has not come to an end by then is not judged.
    pub fn undecided(&self, now: SimTime) -> bool {
        matches!(self, Self::AtFirstOf(_, by) if now > *by)
    }
}

//! How long things may take.

use crate::time::Span;
use quorate_core::Check;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long things may take before a promise of progress counts as broken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// Added to `failure_threshold x period + timeout`: until a dead instance is down on every agent.
    pub detection: Span,
    /// From the first ping that a dead host does not answer until it is down on every other agent.
    pub host_detection: Span,
    /// Added to `success_threshold x period + timeout`: until a revived instance is up on every agent.
    pub recovery: Span,
    /// From the last fault's end until all agents agree.
    pub convergence: Span,
    /// Until agents on a side of half the roster or less know it.
    pub quorate: Span,
    /// Until an instance that nobody watches is no longer `up`.
    pub unwatched: Span,
}

impl Bounds {
    /// How long an instance that is checked so must have been as it is, to be known as that: slow checks take longer.
    pub fn settled(&self, check: &Check) -> Duration {
        (check.detection_span() + self.detection.0).max(check.recovery_span() + self.recovery.0)
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            detection: Span::secs(3),
            host_detection: Span::secs(5),
            recovery: Span::secs(3),
            convergence: Span::secs(30),
            quorate: Span::secs(20),
            unwatched: Span::secs(30),
        }
    }
}

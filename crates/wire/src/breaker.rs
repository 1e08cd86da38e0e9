//! What agents tell each other about calls: digests instead of a message per call, and people's words on breakers.

use quorate_core::{AgentId, InstanceId, ServiceName, UnixMs, Zone};
use serde::{Deserialize, Serialize};

/// What a breaker stands before: an instance of a service, registered in the mesh or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BreakerKey {
    /// The service.
    pub service: ServiceName,
    /// The instance.
    pub instance: InstanceId,
}

/// How some calls went. Neutral ones are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CallCounts {
    /// Calls that succeeded or failed.
    pub calls: u32,
    /// Failures in which the far end, or its host, spoke.
    pub answered: u32,
    /// Failures in which nothing was heard.
    pub silent: u32,
    /// Calls that took too long, however they ended.
    pub slow: u32,
}

impl CallCounts {
    /// Highest of any count that is told or believed: beyond it only ratios matter.
    pub const MAX: u32 = 1_000_000;

    /// All failures; never more than the calls.
    #[must_use]
    pub fn failed(&self) -> u32 {
        self.answered.saturating_add(self.silent).min(self.calls)
    }

    /// Both together, up to [`CallCounts::MAX`] and within their limits.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let sum = |a: u32, b: u32| a.saturating_add(b).min(Self::MAX);
        let calls = sum(self.calls, other.calls);
        let answered = sum(self.answered, other.answered).min(calls);
        let silent = sum(self.silent, other.silent).min(calls - answered);
        Self { calls, answered, silent, slow: sum(self.slow, other.slow).min(calls) }
    }

    /// Is it within its limits?
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.calls <= Self::MAX && self.answered.saturating_add(self.silent) <= self.calls && self.slow <= self.calls
    }
}

/// What callers see of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Traffic flows.
    Closed,
    /// A few trials are allowed.
    HalfOpen,
    /// Nothing is allowed.
    Open,
}

/// One agent's calls to one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerDigest {
    /// Which instance.
    pub key: BreakerKey,
    /// Calls of the last seconds, or since they began to fail.
    pub counts: CallCounts,
    /// Are these calls that ended after others' accusations were heard, whatever came of them? If not, a failure is what made it speak.
    pub answers: bool,
    /// The agent's own breaker, by its own evidence.
    pub state: BreakerState,
    /// The outage that it shares with others, if any.
    pub shared: Option<Shared>,
}

/// Where an agent stands in an outage that callers share. Of two standings the one with the higher (outage, step) is later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// Which outage of the instance: the term of its verdict in the upper half, a count in the lower.
    pub outage: u64,
    /// How far it has come.
    pub step: OutageStanding,
    /// For callers of this zone only; for all, if none.
    pub zone: Option<Zone>,
    /// Whose word opened it first, as far as this agent knows.
    pub first: AgentId,
    /// When this agent opened it, by its wall clock. For people.
    pub since: UnixMs,
    /// What this agent's trial of the present attempt came to, if it made one.
    pub trial: Option<bool>,
}

/// How far an outage has come: attempts to recover are counted, and the last one succeeded or has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OutageStanding {
    /// Attempts that failed.
    pub attempt: u32,
    /// Has the one after these succeeded?
    pub recovered: bool,
}

/// A person's word on a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerOverride {
    /// Which breaker.
    pub key: BreakerKey,
    /// What it is to do.
    pub mode: OverrideMode,
    /// The agent through which it was given; another tells of it once that one no longer does.
    pub owner: AgentId,
    /// Why, in the person's words; at most [`BreakerOverride::MAX_REASON_BYTES`].
    pub reason: String,
    /// Of two words on one breaker the higher epoch holds; of equal ones one that lifts, else the higher owner.
    pub epoch: u64,
    /// How long it holds from when it was given, in milliseconds.
    pub lives_ms: u64,
    /// When it ends, by the owner's wall clock: who hears of it late keeps it no longer.
    pub until: UnixMs,
}

impl BreakerOverride {
    /// Longest reason, in bytes.
    pub const MAX_REASON_BYTES: usize = 256;
    /// Longest life: 30 days.
    pub const MAX_LIVES_MS: u64 = 30 * 86_400_000;
    /// Highest epoch believed: far beyond any honest one, far below what overflows.
    pub const MAX_EPOCH: u64 = 1 << 60;
}

/// Who decides about a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverrideMode {
    /// The machine: lifts an earlier word.
    Automatic,
    /// The machine decides and tells, but every call is admitted.
    ObserveOnly,
    /// Nothing is admitted.
    ForcedOpen,
    /// Everything is admitted, and counted.
    ForcedClosed,
    /// Everything is admitted, and nothing counted.
    Disabled,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Record, decode_value, encode_value};
    use std::sync::Arc;

    fn key() -> BreakerKey {
        BreakerKey { service: ServiceName::new("web").unwrap(), instance: InstanceId::new("web@1").unwrap() }
    }

    fn samples() -> [(Record, &'static str); 4] {
        let shared = Shared {
            outage: 7 << 32 | 1,
            step: OutageStanding { attempt: 2, recovered: false },
            zone: Some(Zone::new("a").unwrap()),
            first: AgentId(9),
            since: UnixMs(1_700_000_000_000),
            trial: Some(true),
        };
        let digest = BreakerDigest {
            key: key(),
            counts: CallCounts { calls: 5, answered: 3, silent: 1, slow: 0 },
            answers: true,
            state: BreakerState::HalfOpen,
            shared: Some(shared),
        };
        let word = BreakerOverride {
            key: key(),
            mode: OverrideMode::ForcedOpen,
            owner: AgentId(9),
            reason: "why".to_owned(),
            epoch: 4,
            lives_ms: 60_000,
            until: UnixMs(1_700_000_060_000),
        };
        [
            (
                Record::Breaker(Arc::new(digest)),
                "05037765620577656240310503010001010 1fd0100000007000000020001016109fd0068e5cf8b01000001 01",
            ),
            (Record::BreakerGone(key()), "0603776562057765624031"),
            (Record::Override(Arc::new(word)), "070377656205776562403102090377687904fb60eafd6052e6cf8b010000"),
            (Record::OverrideGone(key()), "0803776562057765624031"),
        ]
    }

    /// Whoever changes these bytes changes the packet's version with them.
    #[test]
    fn the_bytes_of_a_version_are_these() {
        for (record, golden) in samples() {
            let bytes = encode_value(&record);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, golden.replace(' ', ""), "{record:?}");
            assert_eq!(decode_value(&bytes), Ok(record));
        }
        assert_eq!(crate::VERSION, 5);
    }

    #[test]
    fn counts_that_claim_more_failures_than_calls_are_out_of_bounds() {
        let counts = |calls, answered, silent, slow| CallCounts { calls, answered, silent, slow };
        assert!(counts(2, 1, 1, 2).is_bounded());
        assert!(!counts(2, 2, 1, 0).is_bounded() && !counts(2, 0, 0, 3).is_bounded());
        assert!(!counts(u32::MAX, u32::MAX, u32::MAX, 0).is_bounded());
        assert_eq!(counts(CallCounts::MAX, 0, 0, 0).plus(&counts(1, 1, 0, 0)).calls, CallCounts::MAX);
        let many = counts(900_000, 600_000, 300_000, 900_000);
        assert_eq!(many.plus(&many), counts(CallCounts::MAX, CallCounts::MAX, 0, CallCounts::MAX));
    }
}

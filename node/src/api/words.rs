//! The engine's values in the words of the API.

use crate::answers::{Membership, VerdictCounts, VoteCounts};
use jiff::Timestamp;
use quorate_core::{UnixMs, Verdict, Vote};
use quorate_mesh::{InstanceView, MemberState};
use std::time::Duration;

/// RFC 3339 in UTC, with milliseconds.
pub fn time(at: UnixMs) -> String {
    let milliseconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    let timestamp = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX);
    format!("{timestamp:.3}")
}

/// The time from `at` to `now`; zero when clocks disagree.
pub fn age_ms(now: UnixMs, at: UnixMs) -> u64 {
    now.0.saturating_sub(at.0)
}

/// A duration in whole milliseconds.
pub fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// SWIM's opinion.
pub fn membership(state: MemberState) -> Membership {
    match state {
        MemberState::Alive => Membership::Alive,
        MemberState::Suspect => Membership::Suspect,
        MemberState::Failed => Membership::Failed,
        MemberState::Left => Membership::Left,
    }
}

/// The same as a word.
pub fn membership_word(state: MemberState) -> &'static str {
    match state {
        MemberState::Alive => "alive",
        MemberState::Suspect => "suspect",
        MemberState::Failed => "failed",
        MemberState::Left => "left",
    }
}

/// How many of `instances` have each verdict.
pub fn verdict_counts<'a>(instances: impl IntoIterator<Item = &'a InstanceView>) -> VerdictCounts {
    let mut counts: VerdictCounts = Verdict::ALL.iter().map(|verdict| (*verdict, 0)).collect();
    for instance in instances {
        *counts.entry(instance.verdict).or_default() += 1;
    }
    counts
}

/// How the observers vote.
pub fn vote_counts(instance: &InstanceView) -> VoteCounts {
    let mut counts = VoteCounts::default();
    for observer in &instance.observers {
        let vote = observer.observation.as_ref().filter(|_| observer.heard).map(|observation| observation.vote);
        match vote {
            Some(Vote::Pass) => counts.pass += 1,
            Some(Vote::Warn) => counts.warn += 1,
            Some(Vote::Fail { .. }) => counts.fail += 1,
            Some(Vote::Abstain(_)) => counts.abstain += 1,
            None => counts.silent += 1,
        }
    }
    counts
}

/// Is this the instance that stands for a host?
pub fn is_host(instance: &InstanceView) -> bool {
    instance.instance.host_of().is_some()
}

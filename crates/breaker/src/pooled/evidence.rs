//! Pooled evidence: whose fault are the failures of many callers?
//!
//! The failures of callers add up, so that a callee that each calls rarely is recognised after a few calls in all. Three safeguards keep one
//! caller's trouble its own: failures must come from a quorum of callers and from two zones; each caller weighs no more than a few calls, so
//! that none outvotes the rest; and whoever has fresh successes of its own is not talked out of them.

use crate::machine::State;
use crate::pooled::digest::Digest;
use crate::window::Counts;
use quorate_core::{AgentId, Zone};
use std::collections::BTreeSet;

/// A caller's digest as another holds it, recent and about the same copy of the callee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witness<'a> {
    /// Who calls.
    pub agent: AgentId,
    /// Where it stands.
    pub zone: &'a Zone,
    /// What it told.
    pub digest: Digest,
    /// Is it known to have trouble of its own: impaired, stalled or isolated? Then it accuses nobody.
    pub impaired: bool,
}

/// When pooled evidence is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pooling {
    /// Callers that must be failing. At least 2.
    pub callers: usize,
    /// Zones that they must stand in, or all zones with callers where there are fewer.
    pub zones: usize,
    /// Calls that all callers together must have made.
    pub minimum_volume: u32,
    /// Percentage of these that must have failed.
    pub failure_rate: u8,
    /// Calls of one caller that count at most; the rest is scaled down to it.
    pub weight_max: u32,
    /// Own calls from which own successes count as a veto.
    pub veto_volume: u32,
    /// Percentage of own calls that must have succeeded for a veto.
    pub veto_rate: u8,
}

impl Default for Pooling {
    /// Three callers in two zones, half of five calls; 90 % of five own calls succeeding is a veto.
    fn default() -> Self {
        Self { callers: 3, zones: 2, minimum_volume: 5, failure_rate: 50, weight_max: 5, veto_volume: 5, veto_rate: 90 }
    }
}

/// Whose fault the failures are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Culprit {
    /// There are none, or too few to say.
    Nobody,
    /// These callers': fewer than a quorum fail, and others are served. Nobody else's breaker moves.
    Callers(BTreeSet<AgentId>),
    /// The way from this zone: a quorum fails there while other zones are served. It opens for callers in this zone.
    Path(Zone),
    /// The callee's. It opens for all.
    Callee,
}

impl Culprit {
    /// Does it open the breaker of a caller in `zone` whose own window holds `own`?
    #[must_use]
    pub fn opens_for(&self, zone: &Zone, own: &Counts, pooling: &Pooling) -> bool {
        let concerned = match self {
            Self::Nobody | Self::Callers(_) => false,
            Self::Path(culprit) => culprit == zone,
            Self::Callee => true,
        };
        concerned && !vetoes(own, pooling)
    }
}

/// One's own fresh successes stand against what others tell.
fn vetoes(own: &Counts, pooling: &Pooling) -> bool {
    let served = own.calls.saturating_sub(own.failed());
    own.calls >= pooling.veto_volume && own.reaches(served, pooling.veto_rate)
}

/// What a witness's window weighs: calls and failures, scaled down to the most that one caller counts for.
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    calls: u32,
    failed: u32,
}

impl Weight {
    fn of(counts: &Counts, most: u32) -> Self {
        // What a peer claims may be nonsense: more failures than calls count as calls.
        let (calls, failed) = (counts.calls, counts.answered.saturating_add(counts.silent).min(counts.calls));
        if calls <= most {
            return Self { calls, failed };
        }
        // Rounded up, so that no failure vanishes: the product fits 64 bits, the quotient is at most `most`.
        let scaled = (u64::from(failed) * u64::from(most)).div_ceil(u64::from(calls));
        Self { calls: most, failed: scaled as u32 }
    }

    fn is_failing(self, rate: u8) -> bool {
        self.failed > 0 && u64::from(self.failed) * 100 >= u64::from(self.calls) * u64::from(rate)
    }
}

/// Whose fault are the failures that `witnesses` tell of one callee? One witness per agent; of several the first counts.
#[must_use]
pub fn assess(witnesses: &[Witness<'_>], pooling: &Pooling) -> Culprit {
    let mut seen = BTreeSet::new();
    let heard: Vec<(&Witness<'_>, Weight)> = witnesses
        .iter()
        .filter(|witness| !witness.impaired && !witness.digest.overridden && witness.digest.state == State::Closed)
        .map(|witness| (witness, Weight::of(&witness.digest.counts, pooling.weight_max)))
        .filter(|(witness, weight)| weight.calls > 0 && seen.insert(witness.agent))
        .collect();
    let failing: Vec<_> = heard.iter().filter(|(_, weight)| weight.is_failing(pooling.failure_rate)).collect();
    let zones = |list: &mut dyn Iterator<Item = &Zone>| list.cloned().collect::<BTreeSet<Zone>>();
    let failing_zones = zones(&mut failing.iter().map(|(witness, _)| witness.zone));
    let all_zones = zones(&mut heard.iter().map(|(witness, _)| witness.zone));

    let (quorum, enough_zones) = (pooling.callers.max(2), pooling.zones.min(all_zones.len()));
    let over = |weights: &mut dyn Iterator<Item = &Weight>| {
        let (calls, failed) =
            weights.fold((0u64, 0u64), |sum, w| (sum.0 + u64::from(w.calls), sum.1 + u64::from(w.failed)));
        calls >= u64::from(pooling.minimum_volume) && failed * 100 >= calls * u64::from(pooling.failure_rate)
    };
    if failing.len() >= quorum && failing_zones.len() >= enough_zones && over(&mut heard.iter().map(|(_, w)| w)) {
        return Culprit::Callee;
    }
    for zone in &failing_zones {
        let there = || heard.iter().filter(|(witness, _)| witness.zone == zone);
        let failing_there = failing.iter().filter(|(witness, _)| witness.zone == zone).count();
        let served_elsewhere =
            heard.iter().any(|(w, weight)| w.zone != zone && !weight.is_failing(pooling.failure_rate));
        if failing_there >= quorum && served_elsewhere && over(&mut there().map(|(_, weight)| weight)) {
            return Culprit::Path(zone.clone());
        }
    }
    let served = heard.len() > failing.len();
    if failing.is_empty() || !served {
        return Culprit::Nobody;
    }
    Culprit::Callers(failing.iter().map(|(witness, _)| witness.agent).collect())
}

/// Do callers that were asked confirm what others accuse a callee of? Whoever speaks up by itself does so because a call failed: such
/// words alone would condemn a callee that fails a third of its calls. So all that hear an accusation count the calls that end from then
/// on, whatever comes of them, and tell; these are `answers`. They confirm it when failures outweigh successes by more than chance would
/// have it: `(failed - served)^2 >= 5 x calls`, which takes five failures, or eight of nine. It is asked anew with every answer that comes, so it must
/// stay improbable when it is asked often: five failures in a row of a callee that fails a third of its calls are one in four hundred.
#[must_use]
pub fn is_confirmed(answers: &[Counts], pooling: &Pooling) -> bool {
    let (calls, failed) = answers
        .iter()
        .map(|counts| Weight::of(counts, pooling.weight_max))
        .fold((0u64, 0u64), |sum, weight| (sum.0 + u64::from(weight.calls), sum.1 + u64::from(weight.failed)));
    let lead = (2 * failed).saturating_sub(calls);
    calls > 0 && lead * lead >= 5 * calls
}

/// Is it this caller itself that is broken? So it is when most of the callees that fail it serve others: at least two callees, and more than
/// half of all that fail it. Each pair is one's own window for a callee, and whether others are served by that callee.
#[must_use]
pub fn is_own_fault(callees: &[(Counts, bool)], pooling: &Pooling) -> bool {
    let fails_me = |counts: &Counts| Weight::of(counts, pooling.weight_max).is_failing(pooling.failure_rate);
    let failing: Vec<_> = callees.iter().filter(|(own, _)| fails_me(own)).collect();
    let serving_others = failing.iter().filter(|(_, serves_others)| *serves_others).count();
    serving_others >= 2 && serving_others * 2 > failing.len()
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;

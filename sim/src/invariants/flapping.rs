//! Part of promise 10, Bounded cost: an instance that flaps is held down for longer and longer, so that its verdict, and all who act on it,
//! change a bounded number of times.

use super::identity::was_put_out;
use super::order::returned_to_the_past;
use super::{Finding, Invariant, Sight};
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::verdict::Certificate;
use quorate_core::{InstanceId, Verdict};
use quorate_mesh::Timing;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an instance that has begun to flap must first have been well.
const FIRST_HOLD: Duration = Duration::from_secs(30);
/// The last change is known to a proposer so much later than to its signers.
const NEWS: Duration = Duration::from_secs(1);
/// Of a verdict that was replaced sooner, whoever decided the next need not have heard.
const BRIEF: Duration = Duration::from_millis(300);

/// The invariant.
#[derive(Default)]
pub struct Flapping {
    /// By instance and incarnation: the certificate held, and the changes that led to it.
    histories: BTreeMap<(InstanceId, u64), (Certificate, Vec<SimTime>)>,
}

impl Invariant for Flapping {
    fn name(&self) -> &'static str {
        "hold-down"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        let Sight::Certificate { holder, certificate, .. } = sight else { return };
        let (id, verdict) = (&certificate.decision.instance, certificate.decision.verdict);
        let at = decided(truth, certificate);
        let host = id.host_of().is_some();
        let copy = (id.clone(), certificate.decision.incarnation);
        let Some((held, changes)) = self.histories.get_mut(&copy) else {
            // Before it is doubted, membership speaks for a host.
            let first = if host && verdict == Verdict::Down { vec![at] } else { Vec::new() };
            self.histories.insert(copy, ((*certificate).clone(), first));
            return;
        };
        let former = std::mem::replace(held, (*certificate).clone());
        if former.decision.verdict == verdict {
            return;
        }
        let wait = hold(&truth.scenario.timing, changes, at, host);
        let early = changes.last().is_some_and(|last| at.plus(NEWS).since(*last) < wait);
        // Agents that were away know of fewer changes, and need not wait so long; but one of several observers decides nothing.
        let from = changes.first().copied().unwrap_or(at).minus(NEWS);
        let away = (0..truth.agents()).filter(|agent| !truth.awake_throughout(*agent, from, at)).count();
        let uncut = !truth.scenario.cuts.iter().any(|cut| cut.when.meets(from, at));
        let known = uncut && away <= usize::from(certificate.decision.observers > 1);
        // Of a host that was forgotten nothing stands; once its agent has returned, membership speaks for it. Nor is there a history of a copy of former
        // times.
        let home = id.host_of().and_then(|home| truth.scenario.agent(home));
        let stands =
            home.is_none_or(|home| !was_put_out(truth, &[home], (from, truth.now))) && !returned_to_the_past(truth, id);
        let stands = stands && !grown_thin(truth, &former, certificate);
        if verdict == Verdict::Up && early && known && stands && !truth.scenario.lossy(from, at) {
            let detail = format!("it has changed {} times and must be held down for {wait:?}", changes.len());
            found.push(Finding::about(truth, certificate, Some(*holder), detail));
        }
        changes.push(at);
    }
}

/// Were fewer of those who signed `former` left, before `next` was decided, than it would have taken then? Nobody believes it who had not done so before.
fn grown_thin(truth: &Truth, former: &Certificate, next: &Certificate) -> bool {
    let signers: Vec<_> = former.endorsements.iter().filter_map(|e| truth.scenario.agent(e.agent)).collect();
    let quorum = next.decision.observers as usize / 2 + 1;
    let mut rosters = truth.rosters.between(decided(truth, former), truth.now);
    rosters.any(|roster| signers.iter().filter(|agent| roster.contains(agent)).count() < quorum)
}

/// When the first signature was given.
fn decided(truth: &Truth, certificate: &Certificate) -> SimTime {
    let moments = certificate.endorsements.iter().filter_map(|endorsement| {
        truth.scenario.agent(endorsement.agent).map(|agent| truth.moment_of(agent, endorsement.signed_at.0))
    });
    moments.min().unwrap_or(truth.now)
}

/// How long an instance with these changes must be well before it is up again; a host flaps from half as many.
fn hold(timing: &Timing, changes: &[SimTime], at: SimTime, host: bool) -> Duration {
    let threshold = if host { timing.flap_threshold.div_ceil(2) } else { timing.flap_threshold };
    let ends = changes.iter().skip(1).copied().chain([at]);
    let known = changes.iter().zip(ends).filter(|(change, end)| end.since(**change) >= BRIEF);
    let recent = known.filter(|(change, _)| at.since(**change) < timing.flap_window).count();
    let excess = u32::try_from(recent).unwrap_or(u32::MAX).checked_sub(threshold);
    excess.map_or(Duration::ZERO, |excess| FIRST_HOLD.saturating_mul(1 << excess.min(16)).min(timing.max_hold_down))
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;

    /// Turns down and up again every four seconds, the last time up after `rest` seconds; returns what is found.
    fn flap(turns: u64, rest: u64, faults: &str) -> Vec<String> {
        flap_of("web@0", turns, rest, faults)
    }

    fn flap_of(name: &str, turns: u64, rest: u64, faults: &str) -> Vec<String> {
        flap_at(&mut Bench::new(faults), name, turns, rest)
    }

    fn flap_at(bench: &mut Bench, name: &str, turns: u64, rest: u64) -> Vec<String> {
        let mut invariant = Flapping::default();
        let mut found = Vec::new();
        let mut show = |verdict, second: u64| {
            bench.at(second);
            let certificate = bench.certificate(name, verdict, &[1, 2, 3], second * 1000);
            found.extend(bench.shown(&mut invariant, &certificate));
        };
        show(Verdict::Up, 20);
        for turn in 1..turns {
            show(if turn % 2 == 1 { Verdict::Down } else { Verdict::Up }, 20 + 2 * turn);
        }
        show(Verdict::Up, 20 + 2 * (turns - 1) + rest);
        found
    }

    #[test]
    fn a_quick_return_after_many_changes_is_found() {
        assert!(flap(6, 2, "").is_empty());
        let found = flap(10, 2, "");
        assert!(found.iter().any(|detail| detail.contains("has changed 9 times")), "{found:?}");
    }

    #[test]
    fn what_was_replaced_at_once_is_not_known_to_all() {
        let at = SimTime::from_ms;
        let changes = |third| [18_000, 19_000, third, 23_000, 30_000, 31_000].map(at);
        assert_eq!(hold(&Timing::default(), &changes(22_000), at(32_000), false), FIRST_HOLD);
        assert_eq!(hold(&Timing::default(), &changes(22_990), at(32_000), false), Duration::ZERO);
    }

    #[test]
    fn what_stands_on_too_few_holds_nothing_down() {
        let mut bench = Bench::new("");
        bench.truth.rosters.begin((0..5).collect());
        bench.truth.rosters.note(SimTime::from_ms(1000), 2, &[].into(), &[4].into());
        assert!(!flap_at(&mut bench, "web@0", 10, 2).is_empty(), "the three that signed are left");
        bench.truth.rosters.note(SimTime::from_ms(2000), 3, &[].into(), &[3].into());
        assert!(flap_at(&mut bench, "web@0", 10, 2).is_empty(), "two are too few for five observers");
    }

    #[test]
    fn where_agents_were_away_less_is_asked() {
        let away = "[[faults]]\nkind = \"isolate\"\nagents = [1]\nfrom = \"25s\"\nto = \"27s\"\n";
        assert!(flap(10, 2, away).is_empty());
    }
}

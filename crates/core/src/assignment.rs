//! Which agents observe an instance: rendezvous hashing, spread over zones.
//!
//! Rendezvous (highest random weight) hashing: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998. Every
//! agent computes the same order from the same roster, and one agent's coming or going moves only its own places.

use crate::hash;
use crate::id::{AgentId, Zone};
use std::collections::BTreeMap;

/// An agent that could observe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Who.
    pub agent: AgentId,
    /// Its failure domain.
    pub zone: &'a Zone,
}

/// The first `limit` of `candidates` in the order in which they observe `instance` (a hash of its name).
///
/// Each next place goes to a zone that has the fewest places so far, and within that to the highest score. With one zone this is plain
/// rendezvous order.
#[must_use]
pub fn order(instance: u64, candidates: &[Candidate<'_>], limit: usize) -> Vec<AgentId> {
    let mut by_zone: BTreeMap<&Zone, Vec<(u64, AgentId)>> = BTreeMap::new();
    for candidate in candidates {
        let score = hash::mix(&[instance, candidate.agent.0]);
        by_zone.entry(candidate.zone).or_default().push((score, candidate.agent));
    }
    let mut zones: Vec<_> = by_zone.into_values().collect();
    for zone in &mut zones {
        zone.sort_unstable_by(|a, b| b.cmp(a));
    }
    let mut chosen = Vec::with_capacity(limit.min(candidates.len()));
    for round in 0.. {
        let mut places: Vec<_> = zones.iter().filter_map(|zone| zone.get(round)).collect();
        if places.is_empty() || chosen.len() >= limit {
            break;
        }
        places.sort_unstable_by(|a, b| b.cmp(a));
        chosen.extend(places.into_iter().map(|(_, agent)| *agent).take(limit - chosen.len()));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pick(instance: u64, agents: &[(u64, &Zone)], limit: usize) -> Vec<u64> {
        let candidates: Vec<_> = agents.iter().map(|(a, zone)| Candidate { agent: AgentId(*a), zone }).collect();
        order(instance, &candidates, limit).into_iter().map(|a| a.0).collect()
    }

    #[test]
    fn observers_are_spread_over_zones() {
        let zones: Vec<Zone> = ["a", "b", "c"].iter().map(|z| Zone::new(*z).unwrap()).collect();
        for instance in 0..200 {
            let agents: Vec<_> = (0..30).map(|a| (a, &zones[usize::from(a >= 10) + usize::from(a >= 20)])).collect();
            let chosen = pick(instance, &agents, 5);
            let mut counts = [0; 3];
            chosen.iter().for_each(|a| counts[(*a / 10) as usize] += 1);
            assert!(counts.iter().all(|n| (1..=2).contains(n)), "{counts:?}");
        }
    }

    #[test]
    fn places_are_shared_evenly() {
        let zone = Zone::default();
        let agents: Vec<_> = (0..20).map(|a| (hash::spread(a), &zone)).collect();
        let mut load: BTreeMap<u64, u32> = BTreeMap::new();
        for instance in 0..4000 {
            pick(hash::spread(instance), &agents, 5).into_iter().for_each(|a| *load.entry(a).or_default() += 1);
        }
        // 1,000 expected each; five standard deviations of a binomial with p = 1/4 are 137.
        assert!(load.values().all(|n| (863..=1137).contains(n)), "{load:?}");
    }

    proptest! {
        #[test]
        fn one_departure_moves_only_its_own_places(instance: u64, gone in 0u64..12) {
            let zone = Zone::default();
            let agents: Vec<_> = (0..12).map(|a| (a, &zone)).collect();
            let before = pick(instance, &agents, 12);
            let left: Vec<_> = agents.into_iter().filter(|(a, _)| *a != gone).collect();
            let after = pick(instance, &left, 12);
            prop_assert_eq!(before.into_iter().filter(|a| *a != gone).collect::<Vec<_>>(), after);
        }
    }
}

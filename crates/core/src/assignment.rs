//! Which agents observe an instance: rendezvous hashing, spread over zones.
//!
//! Rendezvous (highest random weight) hashing: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998. Every
//! agent computes the same order from the same roster, and one agent's coming or going moves only its own places.

use crate::hash;
use crate::id::{AgentId, Zone};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// An agent that could observe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Who.
    pub agent: AgentId,
    /// Its failure domain.
    pub zone: &'a Zone,
}

/// An agent's place within its zone: the highest score first.
type Place = (Reverse<u64>, Reverse<AgentId>);

/// How much an agent is drawn to an instance: within a zone, the higher scores come first.
#[must_use]
pub fn score(instance: u64, agent: AgentId) -> u64 {
    hash::mix(&[instance, agent.0])
}

/// The first `limit` of `candidates` in the order in which they observe `instance` (a hash of its name).
///
/// Each next place goes to a zone that has the fewest places so far, and within that to the highest score. With one zone this is plain
/// rendezvous order.
#[must_use]
pub fn order(instance: u64, candidates: &[Candidate<'_>], limit: usize) -> Vec<AgentId> {
    let mut by_zone: BTreeMap<&Zone, Vec<Place>> = BTreeMap::new();
    for candidate in candidates {
        let place = (Reverse(score(instance, candidate.agent)), Reverse(candidate.agent));
        by_zone.entry(candidate.zone).or_default().push(place);
    }
    let mut places = Vec::new();
    for mut zone in by_zone.into_values() {
        // No zone has more than all the places.
        if limit < zone.len() {
            zone.select_nth_unstable(limit);
            zone.truncate(limit);
        }
        zone.sort_unstable();
        places.extend(zone.into_iter().enumerate());
    }
    places.sort_unstable();
    places.truncate(limit);
    places.into_iter().map(|(_, (_, Reverse(agent)))| agent).collect()
}

/// Gives a newcomer its place in `order`, which holds the first `limit` places, or all when there are fewer candidates; `zone` tells the
/// zones of those in it. The outcome is that of [`order()`] over all candidates, at the price of the places kept. False when nothing moved.
pub fn enter<'a>(
    instance: u64,
    order: &mut Vec<AgentId>,
    limit: usize,
    newcomer: Candidate<'a>,
    zone: impl Fn(AgentId) -> Option<&'a Zone>,
) -> bool {
    let mut rounds: BTreeMap<Option<&Zone>, usize> = BTreeMap::new();
    let mut places = Vec::with_capacity(order.len() + 1);
    let own = (Reverse(score(instance, newcomer.agent)), Reverse(newcomer.agent));
    let mut last = None;
    for agent in order.iter() {
        let (at, place) = (zone(*agent), (Reverse(score(instance, *agent)), Reverse(*agent)));
        let round = rounds.entry(at).or_default();
        last = Some((*round, place));
        // Whoever of the newcomer's zone comes after it gives way by a round.
        let behind = at == Some(newcomer.zone) && own < place;
        places.push((*round + usize::from(behind), place));
        *round += 1;
    }
    let ahead = order.iter().zip(&places).filter(|(a, (_, place))| zone(**a) == Some(newcomer.zone) && *place < own);
    let place = (ahead.count(), own);
    if order.len() >= limit && last.is_some_and(|last| last < place) {
        return false;
    }
    places.push(place);
    places.sort_unstable();
    places.truncate(limit);
    order.clear();
    order.extend(places.into_iter().map(|(_, (_, Reverse(agent)))| agent));
    true
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
        fn newcomers_take_the_places_that_a_new_order_gives_them(
            instance: u64, zones in proptest::collection::vec(0usize..4, 1..40), limit in 1usize..14,
        ) {
            let names: Vec<Zone> = ["a", "b", "c", "d"].iter().map(|z| Zone::new(*z).unwrap()).collect();
            let zone = |agent: AgentId| zones.get(agent.0 as usize).map(|zone| &names[*zone]);
            let all: Vec<_> =
                (0..zones.len()).map(|a| Candidate { agent: AgentId(a as u64), zone: &names[zones[a]] }).collect();
            let mut kept = Vec::new();
            for known in 0..all.len() {
                let before = kept.clone();
                let moved = enter(instance, &mut kept, limit, all[known], zone);
                prop_assert_eq!(&kept, &order(instance, &all[..=known], limit));
                prop_assert_eq!(moved, kept != before);
            }
        }

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

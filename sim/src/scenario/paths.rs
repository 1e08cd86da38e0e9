//! What happens to what agents send each other: cuts, and harm that is less than a cut.

use super::windows::Windows;
use crate::plan::Only;
use std::time::Duration;

/// Some of the agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set(Vec<bool>);

impl Set {
    /// Those of `agents` that are listed; all when there is no list.
    pub fn of(agents: usize, list: Option<&[usize]>) -> Self {
        let mut members = vec![list.is_none(); agents];
        list.unwrap_or_default().iter().for_each(|agent| members[*agent] = true);
        Self(members)
    }

    /// Is `agent` among them?
    pub fn has(&self, agent: usize) -> bool {
        self.0[agent]
    }
}

/// Who cannot be heard by whom.
#[derive(Debug, Clone)]
enum Shape {
    /// The first by the second.
    Between(Set, Set),
    /// Members of different groups by each other; who is in none is heard by all.
    Groups(Vec<Option<usize>>),
    /// Each of these by anybody, and anybody by these.
    Alone(Set),
    /// The agents stand in a ring, at these places of so many, and hear as many neighbours on each side as the last number says.
    Ring(Vec<Option<usize>>, usize, usize),
}

/// Some are not heard by others.
#[derive(Debug, Clone)]
pub struct Cut {
    /// When.
    pub when: Windows,
    shape: Shape,
}

impl Cut {
    /// The senders are not heard by the receivers.
    pub fn between(when: Windows, senders: Set, receivers: Set) -> Self {
        Self { when, shape: Shape::Between(senders, receivers) }
    }

    /// The groups do not hear each other.
    pub fn groups(when: Windows, agents: usize, groups: &[Vec<usize>]) -> Self {
        let place = |agent| groups.iter().position(|group| group.contains(&agent));
        Self { when, shape: Shape::Groups((0..agents).map(place).collect()) }
    }

    /// Each is cut off from everybody.
    pub fn alone(when: Windows, agents: Set) -> Self {
        Self { when, shape: Shape::Alone(agents) }
    }

    /// Each hears only so many neighbours on each side; agents that are not in the ring are heard by all.
    pub fn ring(when: Windows, agents: usize, ring: &[usize], reach: usize) -> Self {
        let place = |agent| ring.iter().position(|member| *member == agent);
        Self { when, shape: Shape::Ring((0..agents).map(place).collect(), ring.len(), reach) }
    }

    /// Does it leave no two agents the same others to hear?
    pub fn is_ring(&self) -> bool {
        matches!(self.shape, Shape::Ring(..))
    }

    /// Does it stop what `from` sends to `to`?
    pub fn stops(&self, from: usize, to: usize) -> bool {
        match &self.shape {
            Shape::Between(senders, receivers) => senders.has(from) && receivers.has(to),
            Shape::Groups(groups) => groups[from].is_some() && groups[to].is_some() && groups[from] != groups[to],
            Shape::Alone(agents) => agents.has(from) || agents.has(to),
            Shape::Ring(places, length, reach) => match (places[from], places[to]) {
                (Some(a), Some(b)) => {
                    let apart = a.abs_diff(b);
                    apart.min(length - apart) > *reach
                }
                _ => false,
            },
        }
    }
}

/// What is done to some packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// So many of a thousand are lost; those above so many bytes; in bursts of this mean length every so often, both in nanoseconds.
    Loss { per_mille: u32, larger_than: usize, burst: Option<(u64, u64)> },
    /// So many of a thousand take longer by this many microseconds, at least and at most.
    Delay { per_mille: u32, extra_us: (u64, u64) },
    /// So many datagrams of a thousand arrive twice.
    Duplicate { per_mille: u32 },
}

/// Harm to what some agents send to others, short of a cut.
#[derive(Debug, Clone)]
pub struct Harm {
    /// When.
    pub when: Windows,
    /// What is done.
    pub effect: Effect,
    /// To what kind of packet; to all when none.
    pub only: Option<Only>,
    senders: Set,
    receivers: Set,
}

/// A delay from which on a path is no better than one that loses everything, as far as promises are concerned.
const AS_GOOD_AS_LOST: Duration = Duration::from_millis(100);

impl Harm {
    /// Harm to what the senders send to the receivers.
    pub fn new(when: Windows, effect: Effect, only: Option<Only>, senders: Set, receivers: Set) -> Self {
        Self { when, effect, only, senders, receivers }
    }

    /// Does it concern what `from` sends to `to`?
    pub fn touches(&self, from: usize, to: usize) -> bool {
        self.senders.has(from) && self.receivers.has(to)
    }

    /// Does it concern such a packet?
    pub fn concerns(&self, from: usize, to: usize, kind: Only) -> bool {
        self.only.is_none_or(|only| only == kind) && self.touches(from, to)
    }

    /// How much it harms a path, as packets lost of a thousand.
    pub fn weight(&self) -> u32 {
        match self.effect {
            Effect::Loss { burst: Some(_), .. } => 1000,
            Effect::Loss { per_mille, .. } => per_mille,
            Effect::Delay { extra_us: (_, most), .. } if Duration::from_micros(most) >= AS_GOOD_AS_LOST => 1000,
            Effect::Delay { per_mille, .. } => per_mille.min(1),
            Effect::Duplicate { .. } => 0,
        }
    }
}

/// An agent's line carries only so much.
#[derive(Debug, Clone)]
pub struct Throttle {
    /// When.
    pub when: Windows,
    /// Whose.
    pub agents: Set,
    /// Bytes per second.
    pub bytes_per_s: u64,
    /// Bytes that may wait; a datagram that finds more is dropped.
    pub queue_bytes: u64,
}

/// Links break.
#[derive(Debug, Clone)]
pub struct Reset {
    agents: Set,
    peers: Set,
}

impl Reset {
    /// The links between these agents and these peers.
    pub fn new(agents: Set, peers: Set) -> Self {
        Self { agents, peers }
    }

    /// Is the link of `a` and `b` one of them?
    pub fn breaks(&self, a: usize, b: usize) -> bool {
        self.agents.has(a) && self.peers.has(b) || self.agents.has(b) && self.peers.has(a)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn heard(cut: &Cut, agents: usize) -> Vec<String> {
        let row = |to| (0..agents).map(|from| if cut.stops(from, to) { '.' } else { '#' }).collect();
        (0..agents).map(row).collect()
    }

    #[test]
    fn each_shape_cuts_whom_it_says() {
        let when = Windows::of(Span::secs(1), Span::secs(2), None);
        let ring = Cut::ring(when, 5, &[0, 2, 1, 3, 4], 1);
        assert_eq!(heard(&ring, 5), ["#.#.#", ".###.", "###..", ".#.##", "#..##"]);
        let alone = Cut::alone(when, Set::of(3, Some(&[1])));
        assert_eq!([alone.stops(0, 1), alone.stops(1, 2), alone.stops(0, 2)], [true, true, false]);
        let groups = Cut::groups(when, 4, &[vec![0], vec![1, 2]]);
        assert_eq!(heard(&groups, 4), ["#..#", ".###", ".###", "####"]);
    }
}

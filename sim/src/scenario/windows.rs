//! When something holds: from a moment to another, in one piece or on and off in turn.

use crate::plan::Cycle;
use crate::time::{SimTime, Span, nanos};

/// From a moment up to, not including, another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Begin.
    pub from: SimTime,
    /// End.
    pub to: SimTime,
}

impl Interval {
    /// From one moment of a plan to another.
    pub fn of(from: Span, to: Span) -> Self {
        Self { from: from.moment(), to: to.moment() }
    }

    /// Does it hold `at`?
    pub fn holds(self, at: SimTime) -> bool {
        self.from <= at && at < self.to
    }

    /// Does it share a moment with `from` to `to`, both included?
    pub fn meets(self, from: SimTime, to: SimTime) -> bool {
        self.from <= to && from < self.to
    }
}

/// An interval, the whole of it or in turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    whole: Interval,
    /// Nanoseconds on, and of one turn.
    turns: Option<(u64, u64)>,
}

impl Windows {
    /// From one moment of a plan to another, on and off as `cycle` has it.
    pub fn of(from: Span, to: Span, cycle: Option<Cycle>) -> Self {
        let turns = cycle.map(|cycle| (nanos(cycle.on.0), nanos(cycle.on.0 + cycle.off.0)));
        Self { whole: Interval::of(from, to), turns }
    }

    /// All of an interval.
    pub fn whole(whole: Interval) -> Self {
        Self { whole, turns: None }
    }

    /// Does it hold `at`?
    pub fn holds(self, at: SimTime) -> bool {
        let on = |(on, turn)| (at.0 - self.whole.from.0) % turn < on;
        self.whole.holds(at) && self.turns.is_none_or(on)
    }

    /// Does it share a moment with `from` to `to`, both included?
    pub fn meets(self, from: SimTime, to: SimTime) -> bool {
        let Some((on, turn)) = self.turns else { return self.whole.meets(from, to) };
        let first = from.max(self.whole.from);
        let place = first.0.saturating_sub(self.whole.from.0) % turn;
        let next = if place < on { first.0 } else { first.0.saturating_add(turn - place) };
        next <= to.0 && next < self.whole.to.0
    }

    /// When it begins and ends, in order.
    pub fn edges(self) -> impl Iterator<Item = SimTime> {
        self.edges_from(SimTime::START)
    }

    /// Those edges that are later than `from` and earlier than `to`.
    pub fn edges_between(self, from: SimTime, to: SimTime) -> impl Iterator<Item = SimTime> {
        self.edges_from(from).skip_while(move |edge| *edge <= from).take_while(move |edge| *edge < to)
    }

    /// The edges in order, leaving out whole turns that are over by `from`.
    fn edges_from(self, from: SimTime) -> impl Iterator<Item = SimTime> {
        let (on, turn) = self.turns.unwrap_or((u64::MAX, u64::MAX));
        let over = from.0.saturating_sub(self.whole.from.0) / turn;
        let starts = (over..).map_while(move |number| self.whole.from.0.checked_add(number.checked_mul(turn)?));
        let both = starts.flat_map(move |start| [start, start.saturating_add(on)]);
        let inner = both.take_while(move |edge| *edge < self.whole.to.0).map(SimTime);
        inner.chain(std::iter::once(self.whole.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flapping() -> Windows {
        let cycle = Cycle { on: Span::secs(2), off: Span::secs(3) };
        Windows::of(Span::secs(10), Span::secs(21), Some(cycle))
    }

    fn at(secs: u64) -> SimTime {
        SimTime::from_ms(secs * 1000)
    }

    #[test]
    fn turns_are_on_and_off_within_the_whole() {
        let on: Vec<u64> = (0..30).filter(|second| flapping().holds(at(*second))).collect();
        assert_eq!(on, [10, 11, 15, 16, 20]);
        let plain = Windows::of(Span::secs(1), Span::secs(3), None);
        assert_eq!((0..5).filter(|second| plain.holds(at(*second))).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_meeting_is_a_shared_moment() {
        for from in 0..30 {
            for to in from..30 {
                let shared = (from * 10..=to * 10).any(|tenth| flapping().holds(SimTime::from_ms(tenth * 100)));
                assert_eq!(flapping().meets(at(from), at(to)), shared, "{from} to {to}");
            }
        }
    }

    #[test]
    fn edges_are_where_it_changes() {
        assert_eq!(flapping().edges().collect::<Vec<_>>(), [10, 12, 15, 17, 20, 21].map(at));
        assert_eq!(flapping().edges_between(at(12), at(20)).collect::<Vec<_>>(), [15, 17].map(at));
        let plain = Windows::of(Span::secs(1), Span::secs(3), None);
        assert_eq!(plain.edges().collect::<Vec<_>>(), [1, 3].map(at));
        assert_eq!(plain.edges_between(at(1), at(3)).count(), 0);
    }
}

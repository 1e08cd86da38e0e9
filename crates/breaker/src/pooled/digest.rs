//! What one caller tells of one callee: no message per call, but what its window holds.

use crate::breaker::Breaker;
use crate::machine::{Mode, State};
use crate::window::Counts;
use quorate_core::Mono;

/// One caller's breaker for one callee, in a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// The breaker's generation: a later digest of one caller has a later generation, or more recent counts of the same.
    pub generation: u32,
    /// Its state.
    pub state: State,
    /// Does a person hold it, or is it switched off? Then its counts say nothing about what it would do.
    pub overridden: bool,
    /// What its window holds: how many calls, how many failed in which way, how many were slow.
    pub counts: Counts,
}

impl Digest {
    /// The digest of `breaker` at `now`.
    #[must_use]
    pub fn of(breaker: &Breaker, now: Mono) -> Self {
        let snapshot = breaker.snapshot(now);
        Self {
            generation: snapshot.status.generation,
            state: snapshot.state,
            overridden: !matches!(snapshot.status.mode, Mode::Automatic | Mode::ObserveOnly),
            counts: snapshot.counts,
        }
    }

    /// Is `other` worth telling after this was told? What only grew older is not.
    #[must_use]
    pub fn is_news(&self, other: &Self) -> bool {
        (self.generation, self.state, self.overridden) != (other.generation, other.state, other.overridden)
            || other.counts.failed() > self.counts.failed()
            || other.counts.slow > self.counts.slow
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Fault, Outcome, Settings};
    use std::sync::Arc;

    #[test]
    fn a_digest_says_what_the_breaker_holds_and_successes_are_no_news() {
        let breaker = Breaker::new(Arc::new(Settings::default().resolve().unwrap()), 1);
        let now = Mono(1_000_000_000);
        let call = |outcome| breaker.record(breaker.admit(now).unwrap(), outcome, now);
        call(Outcome::Failure(Fault::Silence));
        let first = Digest::of(&breaker, now);
        assert_eq!((first.counts.calls, first.counts.silent, first.state), (1, 1, State::Closed));
        call(Outcome::Success);
        assert!(!first.is_news(&Digest::of(&breaker, now)));
        call(Outcome::Failure(Fault::Answer));
        assert!(first.is_news(&Digest::of(&breaker, now)));
        breaker.apply(Event::Mode(Mode::ForcedOpen), now).unwrap();
        let forced = Digest::of(&breaker, now);
        assert!(forced.overridden && first.is_news(&forced) && forced.counts == Counts::default());
    }
}

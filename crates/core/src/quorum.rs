//! How many make a quorum, and how votes add up.

use crate::observation::Vote;

/// Observers of an instance when nothing else is configured.
pub const DEFAULT_OBSERVERS: u32 = 5;
/// Most observers an instance may have.
pub const MAX_OBSERVERS: u32 = 15;

/// The quorum of `k` assigned observers: more than half. `k` is the number assigned, never the number reachable.
#[must_use]
pub const fn of(k: u32) -> u32 {
    k / 2 + 1
}

/// Is `reached` more than half of `roster`? Exactly half is not.
#[must_use]
pub const fn majority(reached: usize, roster: usize) -> bool {
    reached * 2 > roster
}

/// How many votes of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// `pass`.
    pub pass: u32,
    /// `warn`.
    pub warn: u32,
    /// `fail`.
    pub fail: u32,
    /// `abstain`.
    pub abstain: u32,
}

impl Tally {
    /// Counts `votes`. A missing vote is not counted as anything.
    #[must_use]
    pub fn of(votes: impl IntoIterator<Item = Vote>) -> Self {
        let mut tally = Self::default();
        for vote in votes {
            match vote {
                Vote::Pass => tally.pass += 1,
                Vote::Warn => tally.warn += 1,
                Vote::Fail { .. } => tally.fail += 1,
                Vote::Abstain(_) => tally.abstain += 1,
            }
        }
        tally
    }

    /// Votes that reached the instance.
    #[must_use]
    pub const fn reach(self) -> u32 {
        self.pass + self.warn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!([1, 2, 3, 4, 5, 6, 7].map(of), [1, 2, 2, 3, 3, 4, 4]);
        assert!(majority(1, 1) && majority(3, 5) && majority(2, 3));
        assert!(!majority(1, 2) && !majority(2, 4) && !majority(0, 0) && !majority(2, 5));
    }
}

//! People's word on breakers: from any agent, with an owner, a reason, an epoch and an end.
//!
//! Of two overrides for one key the higher epoch holds, of equal epochs one that lifts, else the higher owner: every agent that has heard of both
//! holds the same.
//! Lifting one is an override too, to automatic, so that an old one cannot come back. What travels is how long an override still lives, never a
//! time of day.

use crate::machine::Mode;
use quorate_core::{AgentId, Mono};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most overrides held at once.
pub const OVERRIDES_MAX: usize = 10_000;
/// Longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 256;

/// A person's word on one breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// What the breaker is to do; `Automatic` lifts an earlier word.
    pub mode: Mode,
    /// The agent through which it was given.
    pub owner: AgentId,
    /// Why, in the person's words.
    pub reason: String,
    /// Grows with each word on this key.
    pub epoch: u64,
    /// How long it still holds.
    pub lives: Duration,
}

/// Of the words on one key that of the highest rank holds.
#[must_use]
pub fn rank(epoch: u64, mode: Mode, owner: AgentId) -> (u64, bool, AgentId) {
    (epoch, mode == Mode::Automatic, owner)
}

impl Override {
    /// Its [`rank()`].
    #[must_use]
    pub fn rank(&self) -> (u64, bool, AgentId) {
        rank(self.epoch, self.mode, self.owner)
    }
}

/// The overrides that one agent knows, by key.
#[derive(Debug, Clone)]
pub struct Overrides<K> {
    held: BTreeMap<K, (Override, Mono)>,
}

impl<K> Default for Overrides<K> {
    fn default() -> Self {
        Self { held: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Overrides<K> {
    /// Takes a word, one's own or another's. True when it holds from now on; false when a later one is known, its reason is too long, it has
    /// ended, or there are too many. Who lifts a word outlives it, or it would come back; so what lifts an earlier word is taken even when it
    /// seems to have ended.
    pub fn learn(&mut self, key: K, word: Override, now: Mono) -> bool {
        if self.held.len() >= OVERRIDES_MAX && !self.held.contains_key(&key) && self.forget_ended(now).is_empty() {
            return false;
        }
        let known = self.held.get(&key).filter(|(_, until)| now < *until);
        let later = |(held, _): &(Override, Mono)| held.rank() >= word.rank();
        let lifts = known.filter(|_| word.mode == Mode::Automatic);
        let ended = word.lives.is_zero() && lifts.is_none();
        if known.is_some_and(later) || word.reason.len() > REASON_BYTES_MAX || ended {
            return false;
        }
        let until = (now + word.lives).max(lifts.map_or(now, |(_, until)| *until));
        self.held.insert(key, (word, until));
        true
    }

    /// The epoch that a new word on `key` must have to hold against those known here.
    #[must_use]
    pub fn next_epoch(&self, key: &K) -> u64 {
        self.held.get(key).map_or(1, |(held, _)| held.epoch.saturating_add(1))
    }

    /// The mode that holds for `key` at `now`.
    #[must_use]
    pub fn mode(&self, key: &K, now: Mono) -> Mode {
        self.held.get(key).filter(|(_, until)| now < *until).map_or(Mode::Automatic, |(held, _)| held.mode)
    }

    /// What to tell others at `now`: each word with the time it still lives.
    pub fn told(&self, now: Mono) -> impl Iterator<Item = (&K, Override)> {
        let living = self.held.iter().filter(move |(_, (_, until))| now < *until);
        living.map(move |(key, (word, until))| (key, Override { lives: until.since(now), ..word.clone() }))
    }

    /// When the next one ends.
    #[must_use]
    pub fn next_end(&self) -> Option<Mono> {
        self.held.values().map(|(_, until)| *until).min()
    }

    /// Forgets what has ended; returns the keys, whose breakers are automatic again.
    pub fn forget_ended(&mut self, now: Mono) -> Vec<K> {
        let ended: Vec<K> =
            self.held.iter().filter(|(_, (_, until))| *until <= now).map(|(key, _)| key.clone()).collect();
        ended.iter().for_each(|key| drop(self.held.remove(key)));
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn word(mode: Mode, owner: u64, epoch: u64, lives_s: u64) -> Override {
        Override {
            mode,
            owner: AgentId(owner),
            reason: "maintenance".into(),
            epoch,
            lives: Duration::from_secs(lives_s),
        }
    }

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    #[test]
    fn the_later_word_holds_until_it_ends() {
        let mut overrides = Overrides::default();
        assert!(overrides.learn("web", word(Mode::ForcedOpen, 1, 1, 60), at(0)));
        assert!(!overrides.learn("web", word(Mode::ForcedClosed, 1, 1, 60), at(0)), "told twice");
        assert_eq!(overrides.mode(&"web", at(59)), Mode::ForcedOpen);
        assert_eq!(overrides.next_epoch(&"web"), 2);
        assert!(overrides.learn("web", word(Mode::Automatic, 2, 2, 1), at(30)));
        assert!(!overrides.learn("web", word(Mode::ForcedOpen, 1, 1, 60), at(31)), "lifted words do not come back");
        assert_eq!(overrides.mode(&"web", at(31)), Mode::Automatic);
        assert_eq!(overrides.next_end(), Some(at(60)), "as long as the word it lifted");
        assert_eq!(overrides.forget_ended(at(60)), ["web"]);
        assert_eq!(overrides.next_epoch(&"web"), 1);
    }

    #[test]
    fn a_word_is_lifted_even_where_the_lifting_seems_to_have_ended() {
        let mut overrides = Overrides::default();
        assert!(overrides.learn("web", word(Mode::ForcedOpen, 1, 1, 60), at(0)));
        assert!(!overrides.learn("web", word(Mode::Automatic, 9, 0, 0), at(10)), "no later one");
        assert!(overrides.learn("web", word(Mode::Automatic, 0, 1, 0), at(10)), "of one number the one that lifts");
        assert!(!overrides.learn("web", word(Mode::ForcedOpen, 9, 1, 60), at(10)), "whoever gives it again");
        assert_eq!(overrides.mode(&"web", at(10)), Mode::Automatic);
        assert!(!overrides.learn("web", word(Mode::ForcedOpen, 1, 1, 60), at(11)), "it does not come back");
        assert_eq!(overrides.next_end(), Some(at(60)));
        assert!(!overrides.learn("api", word(Mode::Automatic, 2, 2, 0), at(10)), "there is nothing to lift");
    }

    #[test]
    fn what_is_passed_on_lives_no_longer_for_it() {
        let (mut first, mut second) = (Overrides::default(), Overrides::default());
        assert!(first.learn("web", word(Mode::Disabled, 1, 1, 60), at(0)));
        let (key, told) = first.told(at(45)).next().map(|(key, word)| (*key, word)).unwrap();
        assert_eq!(told.lives, Duration::from_secs(15));
        // The other agent's clock began elsewhere.
        assert!(second.learn(key, told, at(1_000)));
        assert_eq!((second.mode(&"web", at(1_014)), second.mode(&"web", at(1_015))), (Mode::Disabled, Mode::Automatic));
        assert_eq!(first.told(at(60)).count(), 0);
    }

    #[test]
    fn there_is_a_limit_to_words_and_to_their_number() {
        let mut overrides = Overrides::default();
        let long = Override { reason: "x".repeat(REASON_BYTES_MAX + 1), ..word(Mode::Disabled, 1, 1, 60) };
        assert!(!overrides.learn(0, long, at(0)));
        assert!(!overrides.learn(0, word(Mode::Disabled, 1, 1, 0), at(0)), "already over");
        assert_eq!(
            (0..OVERRIDES_MAX + 5).filter(|key| overrides.learn(*key, word(Mode::Disabled, 1, 1, 60), at(0))).count(),
            OVERRIDES_MAX
        );
        assert!(overrides.learn(1, word(Mode::Automatic, 1, 2, 60), at(0)), "a known key still changes");
        assert!(overrides.learn(OVERRIDES_MAX + 9, word(Mode::Disabled, 1, 1, 60), at(61)), "ended ones make room");
    }

    proptest! {
        /// Whatever the order in which they hear the words, all agents hold the same in the end.
        #[test]
        fn all_agents_come_to_hold_the_same(
            words in prop::collection::vec((0u64..3, 1u64..6), 1..12), order in any::<prop::sample::Index>(),
        ) {
            // One owner says one thing per epoch.
            let words: Vec<_> = words.iter().map(|(owner, epoch)| word(
                [Mode::ForcedOpen, Mode::ForcedClosed, Mode::Automatic][((owner + epoch) % 3) as usize], *owner, *epoch, 60,
            )).collect();
            let hear = |words: &[Override]| {
                let mut overrides = Overrides::default();
                words.iter().for_each(|word| _ = overrides.learn((), word.clone(), at(0)));
                overrides.told(at(0)).map(|(_, word)| word).collect::<Vec<_>>()
            };
            let mut other = words.clone();
            other.rotate_left(order.index(words.len()));
            other.reverse();
            prop_assert_eq!(hear(&words), hear(&other));
        }
    }
}

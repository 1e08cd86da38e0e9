//! People's words on breakers: which holds, how it travels, how it survives a restart.
//!
//! A word is a record of the agent through which it was given. Everyone who hears it keeps it until it ends, whatever becomes of that agent
//! or its record; a later word, from whomever, replaces it, and lifting a word is such a later word. It is stored with the records.

use super::outages::Phase;
use super::{Engine, limits};
use crate::api::{EventKind, Output, OverrideWish};
use crate::breakers::{BreakerCause, BreakerKey, BreakerOverride, CallCounts, OverrideMode};
use quorate_breaker::pooled::{Override, rank};
use quorate_breaker::{Event, Mode};
use quorate_core::{AgentId, UnixMs, hash};
use quorate_wire::{OwnerDelta, Record, RecordKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn mode_of(mode: OverrideMode) -> Mode {
    match mode {
        OverrideMode::Automatic => Mode::Automatic,
        OverrideMode::ObserveOnly => Mode::ObserveOnly,
        OverrideMode::ForcedOpen => Mode::ForcedOpen,
        OverrideMode::ForcedClosed => Mode::ForcedClosed,
        OverrideMode::Disabled => Mode::Disabled,
    }
}

pub(super) fn word_of(mode: Mode) -> OverrideMode {
    match mode {
        Mode::Automatic => OverrideMode::Automatic,
        Mode::ObserveOnly => OverrideMode::ObserveOnly,
        Mode::ForcedOpen => OverrideMode::ForcedOpen,
        Mode::ForcedClosed => OverrideMode::ForcedClosed,
        Mode::Disabled => OverrideMode::Disabled,
    }
}

/// Does a word keep to its limits?
pub(in crate::engine) fn is_bounded(word: &BreakerOverride) -> bool {
    word.reason.len() <= BreakerOverride::MAX_REASON_BYTES
        && word.lives_ms <= BreakerOverride::MAX_LIVES_MS
        && word.epoch <= BreakerOverride::MAX_EPOCH
        && word.key.instance.host_of().is_none()
}

impl Engine {
    /// A person gives a word on a breaker through this agent.
    pub(in crate::engine) fn override_breaker(&mut self, wish: OverrideWish) {
        let given = self.own_words().len();
        let lifted = self.word_on(&wish.key).map(|word| word.lives);
        // Who lifts a word outlives it, or it would come back.
        let lives = match wish.mode {
            OverrideMode::Automatic => lifted.unwrap_or_default(),
            _ => wish.lives,
        };
        let lives_ms = u64::try_from(lives.as_millis()).unwrap_or(u64::MAX);
        let word = BreakerOverride {
            // Not the number of a word that has ended here and may still hold elsewhere.
            epoch: self.breakers.words.next_epoch(&wish.key).max(self.now.wall.0).min(BreakerOverride::MAX_EPOCH),
            until: UnixMs(self.now.wall.0.saturating_add(lives_ms)),
            key: wish.key,
            mode: wish.mode,
            owner: self.me(),
            reason: wish.reason,
            lives_ms,
        };
        if given >= limits::MAX_WORDS || !is_bounded(&word) {
            self.stats.limits_hit += 1;
            return;
        }
        if self.take_word(&word, lives) {
            self.log.write(Record::Override(Arc::new(word)));
            self.flush_log();
            // Whoever gave it relies on it from now on.
            self.persist_now();
        }
    }

    /// Does an agent tell of more words than anyone is listened to about?
    pub(in crate::engine) fn is_talkative(&self, owner: AgentId) -> bool {
        let records = self.namespaces.get(&owner).into_iter().flat_map(|namespace| namespace.records());
        records.filter(|record| matches!(record, Record::Override(_))).count() > limits::MAX_WORDS
    }

    /// Hears of another's word. Its end is taken from the wall clock once, so that a word heard late does not live longer.
    pub(in crate::engine) fn hear_word(&mut self, word: &BreakerOverride) {
        let left = word.until.0.saturating_sub(self.now.wall.0).min(word.lives_ms);
        if self.take_word(word, Duration::from_millis(left)) {
            // An earlier one of its own, or that it told for another, must not come back.
            if self.log.record(&RecordKey::Override(word.key.clone())).is_some() {
                self.log.write(Record::OverrideGone(word.key.clone()));
            }
            self.persist_soon();
        }
    }

    /// The word that holds on a breaker, if there is one.
    fn word_on(&self, key: &BreakerKey) -> Option<Override> {
        self.breakers.words.told(self.now.mono).find(|(known, _)| *known == key).map(|(_, word)| word)
    }

    fn take_word(&mut self, word: &BreakerOverride, lives: Duration) -> bool {
        let (now, owner) = (self.now.mono, word.owner);
        let mode = mode_of(word.mode);
        let held = Override { mode, owner, reason: word.reason.clone(), epoch: word.epoch, lives };
        let before = self.breakers.words.mode(&word.key, now);
        if !self.breakers.words.learn(word.key.clone(), held, now) {
            return false;
        }
        self.word_turned(&word.key, before, owner, &word.reason);
        true
    }

    /// Who decides about a breaker may have changed.
    fn word_turned(&mut self, key: &BreakerKey, before: Mode, owner: AgentId, reason: &str) {
        let mode = self.breakers.words.mode(key, self.now.mono);
        self.breakers.dirty.insert(key.clone());
        if mode == before {
            return;
        }
        let (service, instance) = (key.service.clone(), key.instance.clone());
        self.event(EventKind::Override { service, instance, mode: word_of(mode), owner, reason: reason.to_owned() });
        if let Some(local) = self.breakers.local.get_mut(key) {
            local.mode = mode;
            local.begin_anew();
            // What it was told meanwhile it has not heard.
            local.given = super::local::Given::Free;
        }
        // A caller that was forgotten here may come back.
        self.out.push_back(Output::Breaker { key: key.clone(), event: Event::Mode(mode) });
        if before == Mode::ForcedOpen && mode == Mode::Automatic && !self.breakers.outages.contains_key(key) {
            // It is tried before it is trusted, by a few for all: once it is known who else would try.
            self.begin_outage(key, BreakerCause::Released, owner, None, CallCounts::default());
            let wait = (limits::RELEASE_WAIT + self.candidacy()).min(limits::WAIT);
            self.set_phase(key, Phase::Waiting { until: self.now.mono + wait });
        }
    }

    /// Words that have ended no longer hold.
    pub(super) fn end_words(&mut self) {
        let now = self.now.mono;
        if self.breakers.words.next_end().is_none_or(|at| at > now) {
            return;
        }
        let before: BTreeMap<BreakerKey, (Mode, AgentId)> = self
            .breakers
            .words
            .told(quorate_core::Mono(0))
            .map(|(key, word)| (key.clone(), (word.mode, word.owner)))
            .collect();
        for key in self.breakers.words.forget_ended(now) {
            let (mode, owner) = before.get(&key).copied().unwrap_or((Mode::Automatic, self.me()));
            if self.log.record(&RecordKey::Override(key.clone())).is_some() {
                self.log.write(Record::OverrideGone(key.clone()));
            }
            self.word_turned(&key, mode, owner, "its time is over");
        }
    }

    fn own_words(&self) -> Vec<Arc<BreakerOverride>> {
        let word = |record: &Record| match record {
            Record::Override(word) => Some(Arc::clone(word)),
            _ => None,
        };
        self.log.copy().records().filter_map(word).collect()
    }

    /// The agent that told of a word does so no more: it has left, was forgotten, or has lost its disk.
    pub(in crate::engine) fn word_unspoken(&mut self, key: BreakerKey) {
        if self.word_on(&key).is_some() {
            let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
            let span = (limits::RETELL_PER_MEMBER * members).as_nanos() as u64;
            let draw = hash::mix(&[self.me().0, key.instance.hash64()]) % span.max(1);
            let at = self.now.mono + limits::RETELL_AFTER + Duration::from_nanos(draw);
            self.breakers.retold.insert(key.clone(), at);
            self.breakers.later(at, &key);
        }
    }

    /// Tells of a word that nobody tells of any more, once its turn has come, so that those who join hear of it, too.
    pub(super) fn retell_word(&mut self, key: &BreakerKey) {
        let now = self.now.mono;
        if self.breakers.retold.get(key).is_none_or(|at| *at > now) {
            return;
        }
        self.breakers.retold.remove(key);
        let record_key = RecordKey::Override(key.clone());
        let Some(word) = self.word_on(key) else { return };
        // An earlier word on the same breaker says nothing of this one.
        let tells = |record: &Record| match record {
            Record::Override(told) => rank(told.epoch, mode_of(told.mode), told.owner) >= word.rank(),
            _ => false,
        };
        let others = self.namespaces.values().filter_map(|namespace| namespace.record(&record_key));
        let told = others.chain(self.log.record(&record_key)).any(tells);
        if told || self.own_words().len() >= limits::MAX_WORDS {
            return;
        }
        let lives_ms = u64::try_from(word.lives.as_millis()).unwrap_or(u64::MAX);
        let until = UnixMs(self.now.wall.0.saturating_add(lives_ms));
        let (mode, owner, reason, epoch) = (word_of(word.mode), word.owner, word.reason, word.epoch);
        let word = BreakerOverride { key: key.clone(), mode, owner, reason, epoch, lives_ms, until };
        self.log.write(Record::Override(Arc::new(word)));
        self.persist_soon();
    }

    /// Its own words, for the stored state: their batches as they are.
    pub(in crate::engine) fn words_to_store(&self) -> Option<OwnerDelta> {
        let speaks = |record: &Record| matches!(record, Record::Override(_) | Record::OverrideGone(_));
        let mut batches = self.log.copy().batches();
        batches.retain(|batch| batch.records.iter().any(speaks));
        (!batches.is_empty()).then(|| OwnerDelta { owner: self.me(), credential: None, batches })
    }

    /// Takes up its own words again after a restart, those that still hold. A clock from before a word was given cannot say whether it does: then
    /// others who hold it tell it again.
    pub(in crate::engine) fn restore_words(&mut self, stored: &OwnerDelta) {
        let mut words: BTreeMap<&BreakerKey, Option<&Arc<BreakerOverride>>> = BTreeMap::new();
        for record in stored.batches.iter().flat_map(|batch| &batch.records) {
            match record {
                Record::Override(word) if is_bounded(word) => _ = words.insert(&word.key, Some(word)),
                Record::OverrideGone(key) => _ = words.insert(key, None),
                _ => {}
            }
        }
        for word in words.into_values().flatten().take(limits::MAX_WORDS) {
            if self.now.wall.0 < word.until.0.saturating_sub(word.lives_ms) {
                continue;
            }
            self.hear_word(word);
            if self.word_on(&word.key).is_some_and(|held| (held.epoch, held.owner) == (word.epoch, word.owner)) {
                self.log.write(Record::Override(Arc::clone(word)));
            }
        }
    }
}

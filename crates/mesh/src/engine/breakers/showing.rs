//! Breakers, for people.

use super::words::word_of;
use super::{Engine, Outage};
use crate::breakers::{BreakerCause, BreakerKey, BreakerState, BreakerView, CallCounts, OverrideMode, OverrideView};
use quorate_breaker::pooled::Override;
use quorate_core::UnixMs;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Engine {
    /// Every breaker that callers on this host use, that is open for many, or on which a person gave a word; by service and instance.
    #[must_use]
    pub fn breakers(&mut self) -> Arc<Vec<BreakerView>> {
        if std::mem::take(&mut self.breakers.view_dirty) {
            let words: BTreeMap<BreakerKey, Override> =
                self.breakers.words.told(self.now.mono).map(|(key, word)| (key.clone(), word)).collect();
            let mut keys: BTreeSet<&BreakerKey> = self.breakers.local.keys().collect();
            keys.extend(self.breakers.outages.keys());
            keys.extend(words.keys());
            let views = keys.into_iter().map(|key| self.breaker_view(key, words.get(key))).collect();
            self.breakers.view = Arc::new(views);
        }
        Arc::clone(&self.breakers.view)
    }

    fn breaker_view(&self, key: &BreakerKey, word: Option<&Override>) -> BreakerView {
        let outage = self.breakers.outages.get(key);
        let local = self.breakers.local.get(key);
        let overridden = word.filter(|word| word.mode != quorate_breaker::Mode::Automatic).map(|word| OverrideView {
            mode: word_of(word.mode),
            owner: word.owner,
            reason: word.reason.clone(),
            epoch: word.epoch,
            ends: UnixMs(self.now.wall.0.saturating_add(u64::try_from(word.lives.as_millis()).unwrap_or(u64::MAX))),
        });
        let shared = outage.filter(|outage| !outage.spared).map_or(BreakerState::Closed, Outage::state);
        let own = local.map_or(BreakerState::Closed, |local| local.state);
        let mode = overridden.as_ref().map(|word| word.mode);
        let (state, cause) = match (mode, outage) {
            (Some(OverrideMode::ForcedOpen), _) => (BreakerState::Open, Some(BreakerCause::Override)),
            (Some(OverrideMode::ForcedClosed | OverrideMode::Disabled), _) => {
                (BreakerState::Closed, Some(BreakerCause::Override))
            }
            (_, Some(outage)) if shared != BreakerState::Closed => (shared, Some(outage.cause)),
            (_, Some(outage)) => (own, Some(outage.cause)),
            (_, None) => (own, (own != BreakerState::Closed).then_some(BreakerCause::OwnCalls)),
        };
        BreakerView {
            key: key.clone(),
            state,
            cause,
            first: outage.map(|outage| outage.first),
            first_name: outage.map(|outage| self.name_and_zone(outage.first).0),
            since: outage.map(|outage| outage.since),
            outage: outage.map_or(0, |outage| outage.number),
            attempts: outage.map_or(0, |outage| outage.attempt),
            zone: outage.and_then(|outage| outage.zone.clone()),
            spared: outage.is_some_and(|outage| outage.spared),
            callers: if outage.is_some() { self.candidates(key).len() } else { self.testimonies(key).len() },
            trying: self.seats(key),
            evidence: outage.map_or(CallCounts::default(), |outage| outage.evidence),
            own: local.map_or(CallCounts::default(), |local| local.recent(self.now.mono)),
            used_here: local.is_some(),
            overridden,
        }
    }
}

//! What this agent tells of its breakers, and how often.

use super::{Engine, limits};
use crate::breakers::{BreakerKey, CallCounts};
use quorate_core::{Mono, hash};
use quorate_wire::{BreakerDigest, Record, Shared};
use std::sync::Arc;

impl Engine {
    /// Writes a breaker's record, if there is something new to tell and it may be told now.
    pub(super) fn tell_breaker(&mut self, key: &BreakerKey) {
        let now = self.now.mono;
        let Some(local) = self.breakers.local.get(key) else { return };
        let (told, at) = match &local.told {
            Some((at, digest)) => (Some(digest), Some(*at)),
            None => (None, None),
        };
        let Some(digest) = self.digest_of(key) else {
            self.fall_silent(key, at);
            return;
        };
        let urgent = told.is_none_or(|told| told.shared != digest.shared || told.answers != digest.answers);
        let news = told.is_none_or(|told| is_news(told, &digest));
        let weight = |digest: &BreakerDigest| digest.counts.calls.min(self.breakers.pooling.weight_max);
        // That it is served as before is said again in time to be believed.
        let as_before =
            |told: &BreakerDigest| is_served(told) && is_served(&digest) && weight(&digest) < 2 * weight(told);
        let pause = if told.is_some_and(as_before) { limits::EVIDENCE_LIFE / 2 } else { limits::TELL_EVERY };
        match at {
            _ if urgent && told.is_none() && self.must_wait(key, &digest) => {
                self.breakers.later(now + limits::TELL_EVERY, key)
            }
            Some(at) if news && !urgent && now.since(at) < pause => {
                self.breakers.later(at + pause, key);
            }
            Some(_) | None if news || urgent => self.write_digest(key, digest),
            Some(_) | None => {}
        }
    }

    fn write_digest(&mut self, key: &BreakerKey, digest: BreakerDigest) {
        let now = self.now.mono;
        let told = self.breakers.local.values().filter(|local| local.told.is_some()).count();
        let Some(local) = self.breakers.local.get_mut(key) else { return };
        if local.told.is_none() && told >= limits::MAX_TOLD {
            self.stats.limits_hit += 1;
            return;
        }
        let begins = digest.shared.is_some() != local.told.as_ref().is_some_and(|(_, told)| told.shared.is_some());
        local.answers_first = digest.answers && !local.told.as_ref().is_some_and(|(_, told)| told.answers);
        local.told = Some((now, digest.clone()));
        self.log.write(Record::Breaker(Arc::new(digest)));
        self.breakers.later(now + limits::EVIDENCE_LIFE, key);
        if begins {
            // Whoever tells of an outage is one of those who may try.
            self.breakers.later(now, key);
        }
    }

    /// There is nothing more to tell: the record goes once it is evidence of nothing any more.
    fn fall_silent(&mut self, key: &BreakerKey, told_at: Option<Mono>) {
        let Some(at) = told_at else { return };
        let over = at + limits::EVIDENCE_LIFE;
        if over > self.now.mono {
            self.breakers.later(over, key);
            return;
        }
        if let Some(local) = self.breakers.local.get_mut(key) {
            local.told = None;
        }
        self.log.write(Record::BreakerGone(key.clone()));
    }

    /// What there is to tell now.
    fn digest_of(&self, key: &BreakerKey) -> Option<BreakerDigest> {
        let local = self.breakers.local.get(key)?;
        let shared = self.standing_to_tell(key);
        let testimony = local.testimony(self.now.mono).filter(|_| self.may_testify(key));
        if shared.is_none() && testimony.is_none() {
            return None;
        }
        let open = shared.as_ref().is_some_and(|shared| !shared.step.recovered);
        let words = if open { self.last_words(key) } else { testimony };
        let (counts, answers) = words.unwrap_or_default();
        Some(BreakerDigest { key: key.clone(), counts, answers, state: local.state, shared })
    }

    /// What was seen before it opened, as long as that is evidence.
    fn last_words(&self, key: &BreakerKey) -> Option<(CallCounts, bool)> {
        let began = self.breakers.outages.get(key)?.began;
        let words = self.breakers.local.get(key)?.last_words;
        words.filter(|_| self.now.mono.since(began) < limits::EVIDENCE_LIFE)
    }

    /// May it speak of its own calls? Not while a person decides, nor while this host itself seems to be what is broken, nor when enough others speak.
    pub(super) fn may_testify(&self, key: &BreakerKey) -> bool {
        let Some(local) = self.breakers.local.get(key) else { return false };
        if local.mode != quorate_breaker::Mode::Automatic {
            return false;
        }
        if local.told.is_some() {
            return true;
        }
        self.testimonies(key).len() < limits::WITNESSES && !(local.asked.is_none() && self.suspects_itself())
    }

    /// Where it stands in an outage, while this host uses it, if it has told of that before or there are too few callers known that may try.
    fn standing_to_tell(&self, key: &BreakerKey) -> Option<Shared> {
        let outage = self.breakers.outages.get(key)?;
        let local = self.breakers.local.get(key)?;
        let has_told = local.told.is_some();
        let few = self.candidates(key).len() < limits::CANDIDATES;
        let wanted = has_told || (few && self.may_volunteer(key));
        (wanted && self.uses(key)).then(|| Shared {
            outage: outage.number,
            step: outage.standing(),
            zone: outage.zone.clone(),
            first: outage.first,
            since: outage.since,
            trial: local.trial,
        })
    }

    /// Has this agent's turn to speak up as a caller come? They speak one after the other, so that few do.
    fn may_volunteer(&self, key: &BreakerKey) -> bool {
        let Some(outage) = self.breakers.outages.get(key) else { return false };
        let open = !outage.standing().recovered;
        let passed = self.now.mono.since(outage.began).as_nanos() as u64;
        let members = u64::try_from(self.members.len()).unwrap_or(u64::MAX);
        let span = limits::CANDIDACY_PER_MEMBER.as_nanos() as u64 * members;
        let draw = hash::mix(&[self.me().0, key.instance.hash64(), outage.number]) % span.max(1);
        open && passed >= draw
    }

    /// In a large mesh only some accuse at once; the others hear of it, and answer.
    fn must_wait(&self, key: &BreakerKey, digest: &BreakerDigest) -> bool {
        let accuses = digest.shared.is_none() && !digest.answers;
        let members = self.members.len() as u64;
        let now = self.now.mono;
        let second = now.0 / limits::TELL_EVERY.as_nanos() as u64;
        let draw = hash::mix(&[self.me().0, key.instance.hash64(), second]) % members.max(1);
        accuses && draw >= limits::ACCUSERS
    }
}

/// Does it tell of served calls alone?
fn is_served(digest: &BreakerDigest) -> bool {
    digest.answers && digest.counts.failed() == 0
}

/// Successes are news only to those who were told of failures, or asked.
fn is_news(told: &BreakerDigest, now: &BreakerDigest) -> bool {
    let same = |a: &CallCounts, b: &CallCounts| a == b;
    told.shared != now.shared
        || told.state != now.state
        || told.answers != now.answers
        || !same(&told.counts, &now.counts) && (now.counts.failed() != told.counts.failed() || now.answers)
}

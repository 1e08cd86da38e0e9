//! Breakers that the callers of a whole mesh share: the rules of `quorate_breaker::pooled`, driven by records.
//!
//! Nothing here is on the path of a call. The breakers of this host report now and then ([`BreakerReport`]); what follows comes back as
//! [`Output::Breaker`], an event to apply to one of them.
//!
//! **Opening.** A caller whose calls fail *accuses*, in a record. Whoever hears an accusation counts its own calls from then on and
//! *answers*, whatever comes of them: accusers speak because a call failed, so accusations alone would condemn an instance that fails a
//! third of its calls. At most [`limits::WITNESSES`] speak at a time. Each agent draws its own conclusion from the signed records it holds: three
//! callers in two zones, confirmed by the answers, open it for all; the same in one zone while others are served open it there; fewer open
//! it for nobody else. Fresh successes of one's own are a veto. Who missed the evidence follows three agents that hold it open.
//!
//! **Recovering.** An outage has a number, and attempts. After a wait that all draw alike, three of the callers that are known may try, one call
//! each; who they are follows from a hash of the instance, the outage, the attempt and the window, so that nobody is asked. Two agreeing
//! trials end the attempt; a caller that nobody agrees with goes by its own trial after three windows, alone. An open breaker that the mesh
//! manages has no clock of its own.
//!
//! **Verdicts.** `down` holds a breaker open without a failed call; `up` begins an attempt at once. The other way there is nothing: no vote
//! depends on a breaker.

mod local;
mod outages;
mod pooling;
mod showing;
mod telling;
mod words;

use super::Engine;
use crate::breakers::{BreakerKey, BreakerReport, BreakerView};
use quorate_breaker::pooled::{Budget, EjectionLimits, Overrides, Pooling};
use quorate_core::{AgentId, InstanceId, Mono};
use quorate_wire::{BreakerDigest, Record, RecordKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) use local::Local;
pub(super) use outages::{Outage, is_standing_bounded};
pub(super) use words::is_bounded;

/// Named limits and spans of what callers share.
pub(crate) mod limits {
    use std::time::Duration;

    /// Breakers of this host that are known.
    pub const MAX_LOCAL: usize = 10_000;
    /// Outages known.
    pub const MAX_OUTAGES: usize = 10_000;
    /// Highest number of an outage that is told or believed: far beyond any honest one, far below what overflows.
    pub const MAX_OUTAGE: u64 = 1 << 60;
    /// The same of attempts in it.
    pub const MAX_ATTEMPT: u32 = 1 << 30;
    /// Breakers one agent tells of at a time, and is listened to about.
    pub const MAX_TOLD: usize = 256;
    /// Words of people that one agent gives and is listened to about.
    pub const MAX_WORDS: usize = 256;
    /// Agents that speak about one breaker at a time, but for those that have not heard of each other yet.
    pub const WITNESSES: usize = 32;
    /// Agents known as callers that are enough for trials.
    pub const CANDIDATES: usize = 16;
    /// About so many agents of a mesh may accuse within their first second; in a larger one a draw decides who waits.
    pub const ACCUSERS: u64 = 128;
    /// A changed breaker is told at most this often, but for its first word and its turns.
    pub const TELL_EVERY: Duration = Duration::from_secs(1);
    /// How long a digest is evidence.
    pub const EVIDENCE_LIFE: Duration = Duration::from_secs(15);
    /// How long failures in a row are.
    pub const STREAK_LIFE: Duration = Duration::from_secs(30);
    /// Answers are counted over this time, then anew.
    pub const ANSWER_SPAN: Duration = Duration::from_secs(4);
    /// A breaker that nobody on this host has asked for in so long tries no more, is told of no more, and is forgotten unless it is open.
    pub const USED_LIFE: Duration = Duration::from_secs(600);
    /// The wait before the first attempt, and at least before every other.
    pub const WAIT: Duration = Duration::from_secs(5);
    /// The longest wait.
    pub const MAX_WAIT: Duration = Duration::from_secs(15);
    /// How long those who may try hold their places; then others do.
    pub const SEAT: Duration = Duration::from_secs(5);
    /// The ramp that all callers share.
    pub const RAMP: Duration = Duration::from_secs(10);
    /// An outage that no agent tells of any more, and that this host's callers have no part in, is over after this time.
    pub const ORPHAN_LIFE: Duration = Duration::from_secs(30);
    /// A word that its owner tells of no more is told by another after this time, and so much more for each member.
    pub const RETELL_AFTER: Duration = Duration::from_secs(2);
    pub const RETELL_PER_MEMBER: Duration = Duration::from_millis(50);
    /// The zones of the members are counted at most once in this time.
    pub const ZONES_LIFE: Duration = Duration::from_secs(1);
    /// The wait before the first attempt after a person has held a breaker open, beside the time in which candidates speak up.
    pub const RELEASE_WAIT: Duration = Duration::from_secs(1);
    /// Callers that may become candidates speak up within so much time for each member of the mesh.
    pub const CANDIDACY_PER_MEMBER: Duration = Duration::from_millis(10);
}

/// What another agent tells of a breaker.
#[derive(Debug)]
struct Heard {
    digest: Arc<BreakerDigest>,
    /// When it came as news; none when it came by a repair.
    at: Option<Mono>,
}

/// All about breakers that this agent knows.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    /// Those of this host.
    local: BTreeMap<BreakerKey, Local>,
    outages: BTreeMap<BreakerKey, Outage>,
    /// Who has a record on a breaker.
    heard: BTreeMap<BreakerKey, BTreeMap<AgentId, Heard>>,
    /// How many of these each agent has.
    told_by: BTreeMap<AgentId, usize>,
    /// The highest outage that is over, and when the last one ended.
    past: BTreeMap<BreakerKey, (u64, Mono)>,
    words: Overrides<BreakerKey>,
    /// Words that their owners tell of no more, and when this agent does instead.
    retold: BTreeMap<BreakerKey, Mono>,
    /// In how many zones members stand, as of when.
    zones: Option<(Mono, usize)>,
    /// To be considered anew.
    dirty: BTreeSet<BreakerKey>,
    /// The same, later.
    due: BTreeSet<(Mono, BreakerKey)>,
    view: Arc<Vec<BreakerView>>,
    view_dirty: bool,
    pooling: Pooling,
    budget: Budget,
    ejection: EjectionLimits,
}

impl Breakers {
    /// When there is something to do.
    pub fn next_wakeup(&self) -> Option<Mono> {
        self.due.first().map(|(at, _)| *at).into_iter().chain(self.words.next_end()).min()
    }

    fn later(&mut self, at: Mono, key: &BreakerKey) {
        self.due.insert((at, key.clone()));
    }

    /// The highest outage that is over; zero when none is.
    fn last_over(&self, key: &BreakerKey) -> u64 {
        self.past.get(key).map_or(0, |(number, _)| *number)
    }

    /// Is it open for this host's callers?
    pub(super) fn is_open(&self, key: &BreakerKey) -> bool {
        self.outages.get(key).is_some_and(|outage| !outage.standing().recovered)
    }

    fn concerns(&self, key: &BreakerKey) -> bool {
        self.local.contains_key(key) || self.outages.contains_key(key)
    }
}

impl Engine {
    /// Takes what the breakers of this host report.
    pub(super) fn take_reports(&mut self, reports: Vec<BreakerReport>) {
        for report in reports {
            self.take_report(report);
        }
    }

    /// A record of another agent on a breaker has changed, or is gone.
    pub(super) fn apply_breaker(&mut self, owner: AgentId, key: BreakerKey, fresh: bool) {
        let told = self.namespaces.get(&owner).and_then(|known| known.record(&RecordKey::Breaker(key.clone())));
        let told = if let Some(Record::Breaker(digest)) = told { Some(Arc::clone(digest)) } else { None };
        let now = self.now.mono;
        // Whoever stood still finds the news of all that time waiting.
        let fresh = fresh && self.stalled_at.is_none_or(|at| now.since(at) >= self.config.timing.settle);
        let speakers = self.breakers.heard.entry(key.clone()).or_default();
        let count = self.breakers.told_by.entry(owner).or_default();
        match (told, speakers.contains_key(&owner)) {
            (Some(_), false) if *count >= limits::MAX_TOLD => self.stats.limits_hit += 1,
            (Some(digest), known) => {
                *count += usize::from(!known);
                speakers.insert(owner, Heard { digest, at: fresh.then_some(now) });
            }
            (None, _) => *count -= usize::from(speakers.remove(&owner).is_some()),
        }
        if speakers.is_empty() {
            self.breakers.heard.remove(&key);
        }
        self.breakers.dirty.insert(key);
    }

    /// What `agent` tells of a breaker.
    pub(super) fn digest_from(&self, agent: AgentId, key: &BreakerKey) -> Option<&BreakerDigest> {
        Some(&self.breakers.heard.get(key)?.get(&agent)?.digest)
    }

    /// Is what this agent last told its first answer to an accusation?
    pub(super) fn answers_first(&self, key: &BreakerKey) -> bool {
        self.breakers.local.get(key).is_some_and(|local| local.answers_first)
    }

    /// An agent is forgotten, and its records with it.
    pub(super) fn forget_speaker(&mut self, agent: AgentId) {
        let spoken = |record: &Record| if let Record::Override(word) = record { Some(word.key.clone()) } else { None };
        let records = self.namespaces.get(&agent).map(Arc::clone);
        for key in records.iter().flat_map(|namespace| namespace.records()).filter_map(spoken) {
            self.word_unspoken(key);
        }
        if self.breakers.told_by.remove(&agent).is_none() {
            return;
        }
        let keys: Vec<_> = self
            .breakers
            .heard
            .iter()
            .filter(|(_, who)| who.contains_key(&agent))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            if let Some(speakers) = self.breakers.heard.get_mut(&key) {
                speakers.remove(&agent);
            }
            self.breakers.dirty.insert(key);
        }
    }

    /// The verdict on an instance may have changed.
    pub(super) fn breaker_verdict(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get(id).filter(|instance| !instance.is_host()) else { return };
        let key = BreakerKey { service: instance.service.clone(), instance: id.clone() };
        if self.breakers.concerns(&key) {
            self.breakers.dirty.insert(key);
        }
    }

    /// Draws the conclusions about breakers, and tells of them.
    pub(super) fn run_breakers(&mut self) {
        let now = self.now.mono;
        self.end_words();
        while self.breakers.due.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.breakers.due.pop_first() {
                self.breakers.dirty.insert(key);
            }
        }
        let keys = std::mem::take(&mut self.breakers.dirty);
        for key in keys {
            self.forget_unused(&key);
            self.retell_word(&key);
            self.consider_outage(&key);
            self.give_orders(&key);
            self.tell_breaker(&key);
            self.breakers.view_dirty = true;
            self.view_dirty = true;
        }
    }
}

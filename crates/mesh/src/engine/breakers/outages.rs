//! Outages: how they begin, how callers try together, and how they end.

use super::{Engine, limits};
use crate::api::EventKind;
use crate::breakers::{BreakerCause, BreakerKey, BreakerState, CallCounts};
use crate::sabotage::Defect;
use quorate_breaker::Counts;
use quorate_breaker::pooled::{Standing, TrialsSay, ejected};
use quorate_core::{AgentId, InstanceId, Mono, ServiceName, UnixMs, Verdict, Zone, hash};
use quorate_wire::{OutageStanding, Shared};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Outages are numbered within the term of the instance's verdict, which all agents agree about.
const TERM_BITS: u32 = 32;

/// An instance that is open for many callers.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Outage {
    pub number: u64,
    /// Attempts that failed.
    pub attempt: u32,
    pub phase: Phase,
    pub zone: Option<Zone>,
    pub cause: BreakerCause,
    pub first: AgentId,
    pub since: UnixMs,
    pub began: Mono,
    pub evidence: CallCounts,
    /// Left closed, because too many of the service would be taken out.
    pub spared: bool,
    /// Since when nobody tells of it.
    pub orphaned: Option<Mono>,
}

/// How far an outage has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Phase {
    /// The verdict is down.
    Held,
    /// Nobody tries yet.
    Waiting { until: Mono },
    /// Some may try.
    Trying { since: Mono },
    /// Recovered, and ramping up.
    Ramping { until: Mono },
}

impl Outage {
    /// The number of the window in which places are held.
    pub fn window(&self, since: Mono, now: Mono) -> u64 {
        now.since(since).as_nanos() as u64 / limits::SEAT.as_nanos() as u64
    }

    pub fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Held | Phase::Waiting { .. } => BreakerState::Open,
            Phase::Trying { .. } => BreakerState::HalfOpen,
            Phase::Ramping { .. } => BreakerState::Closed,
        }
    }

    /// Which attempt is under way, if one is.
    pub fn trying(&self) -> Option<(u64, u32)> {
        matches!(self.phase, Phase::Trying { .. }).then_some((self.number, self.attempt))
    }

    fn next_attempt(&self) -> u32 {
        self.attempt.saturating_add(1).min(limits::MAX_ATTEMPT)
    }

    pub fn standing(&self) -> OutageStanding {
        OutageStanding { attempt: self.attempt, recovered: matches!(self.phase, Phase::Ramping { .. }) }
    }
}

/// The wait before an attempt, the same for all who share the outage: between the shortest and a ceiling that doubles.
fn wait(key: &BreakerKey, number: u64, attempt: u32) -> Duration {
    let ceiling = (limits::WAIT * 2u32.saturating_pow(attempt.min(8))).min(limits::MAX_WAIT);
    let spread = (ceiling - limits::WAIT).as_millis() as u64 + 1;
    let draw = hash::mix(&[key.instance.hash64(), number, u64::from(attempt)]);
    limits::WAIT + Duration::from_millis(draw % spread)
}

/// Is where another stands within its limits?
pub(in crate::engine) fn is_standing_bounded(shared: &Shared) -> bool {
    shared.outage <= limits::MAX_OUTAGE && shared.step.attempt <= limits::MAX_ATTEMPT
}

impl Engine {
    /// Does what has become due, begins an outage, or ends it.
    pub(super) fn consider_outage(&mut self, key: &BreakerKey) {
        self.follow_verdict(key);
        if self.breakers.outages.get(key).is_none_or(|outage| matches!(outage.phase, Phase::Ramping { .. })) {
            self.consider_opening(key);
        }
        if self.breakers.outages.contains_key(key) {
            self.follow_claims(key);
            self.widen(key);
            self.count_trials(key);
            self.advance_outage(key);
        }
    }

    /// The verdict as it may be stated, of an instance that is registered under this service.
    fn verdict_for(&self, key: &BreakerKey) -> Option<Verdict> {
        let instance = self.instances.get(&key.instance).filter(|instance| instance.service == key.service)?;
        Some(self.stated_health(instance))
    }

    fn follow_verdict(&mut self, key: &BreakerKey) {
        let verdict = self.verdict_for(key);
        let held = self.breakers.outages.get(key).map(|outage| outage.phase == Phase::Held);
        match (verdict, held) {
            (Some(Verdict::Down), None) if self.breakers.local.contains_key(key) => {
                let first = self.me();
                self.begin_outage(key, BreakerCause::Verdict, first, None, CallCounts::default());
                self.set_phase(key, Phase::Held);
            }
            (Some(Verdict::Down), Some(false)) => self.set_phase(key, Phase::Held),
            (Some(Verdict::Down), _) | (_, None | Some(false)) => {}
            (Some(Verdict::Up | Verdict::Degraded | Verdict::Partial), Some(true)) => {
                let since = self.now.mono;
                self.set_phase(key, Phase::Trying { since });
            }
            (_, Some(true)) => self.wait_for_attempt(key),
        }
    }

    /// The lowest number that an outage of `key` may have now.
    fn next_number(&self, key: &BreakerKey) -> u64 {
        let term = self.instances.get(&key.instance).map_or(0, |instance| instance.term());
        let floor = term.min(limits::MAX_OUTAGE >> TERM_BITS) << TERM_BITS;
        self.breakers.last_over(key).max(floor).saturating_add(1).min(limits::MAX_OUTAGE)
    }

    /// Opens a breaker for the callers of this host, and of all who come to the same conclusion.
    pub(super) fn begin_outage(
        &mut self,
        key: &BreakerKey,
        cause: BreakerCause,
        first: AgentId,
        zone: Option<Zone>,
        evidence: CallCounts,
    ) {
        if self.breakers.outages.len() >= limits::MAX_OUTAGES && !self.breakers.outages.contains_key(key) {
            self.stats.limits_hit += 1;
            return;
        }
        // Whoever opens again before the ramp has ended waits longer each time.
        let again = self.breakers.outages.get(key).map(|outage| (outage.number, outage.next_attempt()));
        let (number, attempt) = again.unwrap_or((self.next_number(key).max(self.claimed_number(key)), 0));
        let since = self.now.wall;
        let until = self.now.mono + wait(key, number, attempt);
        let outage = Outage {
            number,
            attempt,
            phase: Phase::Waiting { until },
            zone,
            cause,
            first,
            since,
            began: self.now.mono,
            evidence,
            // Until its turn is known.
            spared: true,
            orphaned: None,
        };
        self.breakers.outages.insert(key.clone(), outage);
        let may_testify = self.may_testify(key);
        if let Some(local) = self.breakers.local.get_mut(key) {
            let last_words = local.testimony(self.now.mono).filter(|_| may_testify);
            local.begin_anew();
            local.last_words = last_words;
        }
        self.breakers.later(until, key);
        let span = self.candidacy().as_nanos() as u64;
        let draw = hash::mix(&[self.me().0, key.instance.hash64(), number]) % span.max(1);
        self.breakers.later(self.now.mono + Duration::from_nanos(draw), key);
        self.spare_some(&key.service);
        self.tell_turn(key);
    }

    /// The time within which callers that may become candidates speak up.
    pub(super) fn candidacy(&self) -> Duration {
        limits::CANDIDACY_PER_MEMBER * u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    fn restart_counts(&mut self, key: &BreakerKey) {
        if let Some(local) = self.breakers.local.get_mut(key) {
            local.begin_anew();
        }
    }

    pub(super) fn set_phase(&mut self, key: &BreakerKey, phase: Phase) {
        let Some(outage) = self.breakers.outages.get_mut(key) else { return };
        let before = outage.state();
        outage.phase = phase;
        let turned = before != outage.state();
        match phase {
            Phase::Held => {}
            Phase::Waiting { until } | Phase::Ramping { until } => self.breakers.later(until, key),
            Phase::Trying { .. } => self.breakers.later(self.now.mono, key),
        }
        if turned {
            self.spare_some(&key.service.clone());
            self.tell_turn(key);
        }
    }

    fn wait_for_attempt(&mut self, key: &BreakerKey) {
        let Some(outage) = self.breakers.outages.get(key) else { return };
        let until = self.now.mono + wait(key, outage.number, outage.attempt);
        if let Some(local) = self.breakers.local.get_mut(key) {
            local.trial = None;
        }
        self.set_phase(key, Phase::Waiting { until });
    }

    fn recover(&mut self, key: &BreakerKey) {
        self.restart_counts(key);
        let until = self.now.mono + limits::RAMP;
        self.set_phase(key, Phase::Ramping { until });
    }

    /// The outage is over.
    fn end_outage(&mut self, key: &BreakerKey) {
        if let Some(outage) = self.breakers.outages.remove(key) {
            let (past, at) = self.breakers.past.entry(key.clone()).or_default();
            (*past, *at) = (outage.number.max(*past), self.now.mono);
            if self.breakers.past.len() > limits::MAX_OUTAGES {
                self.breakers.past.pop_first();
                self.stats.limits_hit += 1;
            }
            self.spare_some(&key.service);
            self.breakers.later(self.now.mono, key);
        }
    }

    /// What the clock has made due.
    fn advance_outage(&mut self, key: &BreakerKey) {
        let now = self.now.mono;
        let Some(outage) = self.breakers.outages.get(key) else { return };
        match outage.phase {
            Phase::Waiting { until } if until <= now => self.set_phase(key, Phase::Trying { since: now }),
            Phase::Ramping { until } if until <= now => self.end_outage(key),
            Phase::Trying { since } => {
                let next = since + limits::SEAT * (outage.window(since, now) as u32 + 1);
                self.breakers.later(next, key);
            }
            Phase::Held | Phase::Waiting { .. } | Phase::Ramping { .. } => {}
        }
        self.notice_orphan(key);
    }

    /// An outage that nobody tells of, and that does not concern this host, is kept for a while and then forgotten. Only those who use it tell
    /// of it, so it does not outlive them.
    fn notice_orphan(&mut self, key: &BreakerKey) {
        let concerned = self.uses(key) || !self.standings_of(key).is_empty();
        let now = self.now.mono;
        let Some(outage) = self.breakers.outages.get_mut(key) else { return };
        let held = outage.phase == Phase::Held;
        match outage.orphaned {
            _ if concerned || held => outage.orphaned = None,
            None => {
                outage.orphaned = Some(now);
                self.breakers.later(now + limits::ORPHAN_LIFE, key);
            }
            Some(since) if now.since(since) >= limits::ORPHAN_LIFE => self.end_outage(key),
            Some(_) => {}
        }
    }

    /// Where others stand in outages of `key`, of those whose word holds, in order of their ids.
    pub(super) fn standings_of(&self, key: &BreakerKey) -> Vec<(AgentId, &Shared)> {
        let Some(speakers) = self.breakers.heard.get(key) else { return Vec::new() };
        let told = speakers.iter().filter_map(|(agent, heard)| Some((*agent, heard.digest.shared.as_ref()?)));
        told.filter(|(agent, _)| self.swim.is_active(*agent)).collect()
    }

    /// The highest outage that at least two others claim, so that no single one can run ahead.
    fn claimed_number(&self, key: &BreakerKey) -> u64 {
        let mut claims: Vec<_> = self.standings_of(key).into_iter().map(|(_, shared)| shared.outage).collect();
        claims.sort_unstable_by(|a, b| b.cmp(a));
        claims.get(1).copied().unwrap_or(0)
    }

    /// Others may have come further: what two of them say is believed. How an outage of another zone goes says nothing of this one.
    fn follow_claims(&mut self, key: &BreakerKey) {
        let Some(outage) = self.breakers.outages.get(key) else { return };
        let standings = self.standings_of(key);
        let same = |shared: &Shared| shared.zone == outage.zone || shared.zone.is_none();
        let of_same = standings.iter().filter(|(_, shared)| same(shared));
        let mut claims: Vec<_> = of_same.map(|(agent, shared)| (shared.outage, shared.step, *agent)).collect();
        claims.sort_unstable_by(|a, b| b.cmp(a));
        let believed = claims.get(1);
        let mine = (outage.number, outage.standing());
        let held = outage.phase == Phase::Held;
        let ahead = |(number, step, _): &(u64, OutageStanding, AgentId)| (*number, *step) > mine && !held;
        let Some((number, step, teller)) = believed.copied().filter(ahead) else { return };
        let wall = self.now.wall;
        let Some(outage) = self.breakers.outages.get_mut(key) else { return };
        let later_outage = number > outage.number;
        outage.number = number;
        if later_outage && outage.standing().recovered {
            // Not the one that is over here: what began that, and by whose word, is none of this one.
            (outage.cause, outage.first, outage.since) = (BreakerCause::Peers, teller, wall);
            outage.evidence = CallCounts::default();
        }
        match (step.recovered, step.attempt > outage.attempt) {
            (true, _) => {
                outage.attempt = step.attempt;
                self.recover(key);
            }
            (false, true) => {
                outage.attempt = step.attempt;
                self.wait_for_attempt(key);
            }
            (false, false) if later_outage && outage.standing().recovered => self.wait_for_attempt(key),
            (false, false) => {}
        }
    }

    /// Callers known to use it, for which it is open as it is here: those that tell of it. All agents that hold the same records come to
    /// the same answer.
    pub(super) fn candidates(&self, key: &BreakerKey) -> Vec<AgentId> {
        let Some(outage) = self.breakers.outages.get(key) else { return Vec::new() };
        let mut found: Vec<_> = self
            .standings_of(key)
            .into_iter()
            .filter(|(_, shared)| shared.zone == outage.zone && !shared.step.recovered)
            .map(|(agent, _)| agent)
            .collect();
        let told = self.breakers.local.get(key).and_then(|local| local.told.as_ref());
        if told.is_some_and(|(_, digest)| digest.shared.is_some()) {
            found.push(self.me());
        }
        found
    }

    /// Who may try now.
    pub(super) fn seats(&self, key: &BreakerKey) -> Vec<AgentId> {
        let Some(outage) = self.breakers.outages.get(key) else { return Vec::new() };
        let Phase::Trying { since } = outage.phase else { return Vec::new() };
        if self.defective(Defect::EveryoneTries) {
            return vec![self.me()];
        }
        let epoch = hash::mix(&[outage.number, u64::from(outage.attempt)]);
        let window = outage.window(since, self.now.mono);
        self.breakers.budget.holders(key.instance.hash64(), epoch, window, &self.candidates(key))
    }

    /// What the trials of this attempt say together.
    fn count_trials(&mut self, key: &BreakerKey) {
        let Some(outage) = self.breakers.outages.get(key) else { return };
        if matches!(outage.phase, Phase::Held | Phase::Ramping { .. }) {
            return;
        }
        let step = outage.standing();
        let number = outage.number;
        // Whoever has come further than this attempt has seen how it ended: one voice, too.
        let voice = |(agent, shared): (AgentId, &Shared)| {
            let of_this = shared.outage == number && shared.zone == outage.zone;
            let served = match shared.step.cmp(&step) {
                Ordering::Less => None,
                Ordering::Equal => shared.trial,
                Ordering::Greater => Some(shared.step.recovered),
            };
            Some((agent, served.filter(|_| of_this)?))
        };
        let mut reports: BTreeMap<AgentId, bool> = self.standings_of(key).into_iter().filter_map(voice).collect();
        let own = self.breakers.local.get(key).and_then(|local| local.trial);
        reports.extend(own.map(|served| (self.me(), served)));
        // Who uses it here counts before it has told: no single other decides for it.
        let mut callers: BTreeSet<AgentId> = self.candidates(key).into_iter().collect();
        callers.extend(reports.keys());
        callers.extend(self.uses(key).then_some(self.me()));
        let windows = match outage.phase {
            Phase::Trying { since } => outage.window(since, self.now.mono),
            Phase::Held | Phase::Waiting { .. } | Phase::Ramping { .. } => 0,
        };
        match self.breakers.budget.tally_for(own, windows, callers.len().max(1), &reports) {
            TrialsSay::Undecided => {}
            TrialsSay::Recovered => self.recover(key),
            TrialsSay::StillFailing => {
                if let Some(outage) = self.breakers.outages.get_mut(key) {
                    outage.attempt = outage.next_attempt();
                }
                self.wait_for_attempt(key);
            }
        }
    }

    /// Of a service's instances only so many are taken out: the rest of those that are open are spared.
    fn spare_some(&mut self, service: &ServiceName) {
        let below = |key: &BreakerKey| key.service == *service;
        let open = |outage: &Outage| outage.state() != BreakerState::Closed;
        let outages: BTreeMap<&InstanceId, &Outage> =
            self.breakers.outages.iter().filter(|(key, _)| below(key)).map(|(key, o)| (&key.instance, o)).collect();
        let mut names: BTreeSet<&InstanceId> = outages.keys().copied().collect();
        names.extend(self.breakers.local.keys().filter(|key| below(key)).map(|key| &key.instance));
        if self.services.contains_key(service) {
            names.extend(self.instances.values().filter(|i| i.service == *service).map(|i| &i.id));
        }
        let standings: Vec<_> = names
            .into_iter()
            .map(|instance| {
                let outage = outages.get(instance);
                Standing {
                    instance,
                    is_down: outage.is_some_and(|outage| outage.phase == Phase::Held)
                        || self.instances.get(instance).is_some_and(|i| self.stated_health(i) == Verdict::Down),
                    is_open: outage.is_some_and(|outage| open(outage)),
                    is_out: outage.is_some_and(|outage| open(outage) && !outage.spared),
                    counts: outage.map_or(Counts::default(), |outage| super::pooling::counts(&outage.evidence)),
                }
            })
            .collect();
        let out: BTreeSet<InstanceId> = ejected(&standings, &self.breakers.ejection).into_iter().cloned().collect();
        for (key, outage) in self.breakers.outages.iter_mut().filter(|(key, _)| key.service == *service) {
            let spared = open(outage) && !out.contains(&key.instance);
            if spared != outage.spared {
                outage.spared = spared;
                self.breakers.due.insert((self.now.mono, key.clone()));
            }
        }
    }

    fn tell_turn(&mut self, key: &BreakerKey) {
        let Some(outage) = self.breakers.outages.get(key) else { return };
        let kind = EventKind::Breaker {
            service: key.service.clone(),
            instance: key.instance.clone(),
            state: outage.state(),
            cause: outage.cause,
            first: outage.first,
            zone: outage.zone.clone(),
        };
        self.event(kind);
    }
}

//! Whose fault are the failures that callers tell of?

use super::local::Asked;
use super::{Engine, limits};
use crate::breakers::{BreakerCause, BreakerKey, CallCounts};
use crate::sabotage::Defect;
use quorate_breaker::pooled::{Culprit, Digest, Pooling, Witness, assess, is_confirmed, is_own_fault};
use quorate_breaker::{Counts, State};
use quorate_core::{AgentId, Mono, Zone};
use quorate_wire::Shared;
use std::collections::BTreeSet;

/// One caller's evidence.
#[derive(Debug, Clone)]
pub(super) struct Testimony {
    pub agent: AgentId,
    pub zone: Zone,
    pub counts: CallCounts,
    pub answers: bool,
    pub at: Mono,
}

/// The same counts in the breaker's words.
pub(super) fn counts(counts: &CallCounts) -> Counts {
    Counts { calls: counts.calls, answered: counts.answered, silent: counts.silent, slow: counts.slow }
}

impl Testimony {
    fn fails(&self) -> bool {
        self.counts.failed() > 0 && self.counts.failed() * 2 >= self.counts.calls
    }

    /// An agent whose breaker has just opened by its own evidence has seen what it says: only its later silence is no evidence.
    fn witness(&self) -> Witness<'_> {
        let digest = Digest { generation: 0, state: State::Closed, overridden: false, counts: counts(&self.counts) };
        Witness { agent: self.agent, zone: &self.zone, digest, impaired: false }
    }
}

impl Engine {
    /// What others tell of their calls, as far as it is recent and they can be heard.
    pub(super) fn testimonies(&self, key: &BreakerKey) -> Vec<Testimony> {
        let Some(speakers) = self.breakers.heard.get(key) else { return Vec::new() };
        let testimony = |(agent, heard): (&AgentId, &super::Heard)| {
            let at = heard.at.filter(|at| self.now.mono.since(*at) < limits::EVIDENCE_LIFE)?;
            let digest = &heard.digest;
            let spent = digest.shared.as_ref().is_some_and(|shared| self.is_spent(key, shared));
            if digest.counts.calls == 0 || spent || !self.heard(*agent) {
                return None;
            }
            let zone = self.agents.get(agent)?.profile.as_ref()?.zone.clone();
            Some(Testimony { agent: *agent, zone, counts: digest.counts, answers: digest.answers, at })
        };
        speakers.iter().filter_map(testimony).collect()
    }

    fn own_testimony(&self, key: &BreakerKey) -> Option<Testimony> {
        let local = self.breakers.local.get(key).filter(|local| local.mode == quorate_breaker::Mode::Automatic)?;
        let (counts, answers) = local.testimony(self.now.mono)?;
        Some(Testimony { agent: self.me(), zone: self.config.zone.clone(), counts, answers, at: self.now.mono })
    }

    /// Is anybody else accusing it? Then this agent's calls are counted from now on, and told.
    pub(super) fn notice_accusations(&mut self, key: &BreakerKey) {
        let now = self.now.mono;
        let accused = self.testimonies(key).iter().any(Testimony::fails);
        let Some(local) = self.breakers.local.get_mut(key) else { return };
        match (accused, &mut local.asked) {
            (true, None) => local.asked = Some(Asked::new(now)),
            (true, Some(asked)) => asked.accused_at = now,
            (false, Some(asked)) if now.since(asked.accused_at) >= limits::EVIDENCE_LIFE => local.asked = None,
            (false, Some(asked)) => {
                let until = asked.accused_at + limits::EVIDENCE_LIFE;
                self.breakers.later(until, key);
            }
            (false, None) => {}
        }
    }

    /// Does another that holds it open speak of what led to an outage that has just come to its end here? That says nothing of what came after. Who has
    /// restarted, or had no part in the last outages, counts from a lower number: later its words are news.
    fn is_spent(&self, key: &BreakerKey, shared: &Shared) -> bool {
        let just = |at: &Mono| self.now.mono.since(*at) < limits::EVIDENCE_LIFE;
        let past = self.breakers.past.get(key).filter(|(_, at)| just(at)).map_or(0, |(number, _)| *number);
        let here = self.breakers.outages.get(key).map(|outage| (outage.number, outage.standing()));
        let recovered = here.filter(|(_, step)| step.recovered);
        !shared.step.recovered
            && (shared.outage <= past || recovered.is_some_and(|mine| (shared.outage, shared.step) <= mine))
    }

    /// Opens it, if what is known is enough for that.
    pub(super) fn consider_opening(&mut self, key: &BreakerKey) {
        self.notice_accusations(key);
        self.count_zones();
        let own = self.own_testimony(key);
        let mut all = self.testimonies(key);
        if all.is_empty() && own.is_none() && self.standings_of(key).is_empty() {
            return;
        }
        all.extend(own);
        let pooling = self.breakers.pooling;
        let zone = self.config.zone.clone();
        let recent = self.breakers.local.get(key).map(|local| counts(&local.recent(self.now.mono))).unwrap_or_default();
        let culprit = self.culprit(&all, &pooling);
        if culprit.opens_for(&zone, &recent, &pooling) {
            self.open_on(key, &all, culprit);
        } else if let Some((scope, first)) = self.followed(key, &pooling) {
            let scope_culprit = scope.clone().map_or(Culprit::Callee, Culprit::Path);
            if scope_culprit.opens_for(&zone, &recent, &pooling) {
                self.begin_outage(key, BreakerCause::Peers, first, scope, CallCounts::default());
            }
        }
    }

    fn culprit(&self, all: &[Testimony], pooling: &Pooling) -> Culprit {
        let failing: Vec<_> = all.iter().filter(|one| one.fails()).collect();
        if self.defective(Defect::OneCallerOpens) && !failing.is_empty() {
            return Culprit::Callee;
        }
        let witnesses: Vec<_> = all.iter().map(Testimony::witness).collect();
        let answers = |zone: Option<&Zone>| -> Vec<Counts> {
            let there = all.iter().filter(|one| one.answers && zone.is_none_or(|zone| one.zone == *zone));
            there.map(|one| counts(&one.counts)).collect()
        };
        let culprit = match assess(&witnesses, pooling) {
            // Where others stand that have not been heard, one zone's failures speak for that zone.
            Culprit::Callee => match failing.first() {
                Some(one) if failing.iter().all(|other| other.zone == one.zone) && self.zone_count() > 1 => {
                    Culprit::Path(one.zone.clone())
                }
                _ => Culprit::Callee,
            },
            other => other,
        };
        let confirmed = match &culprit {
            Culprit::Callee => is_confirmed(&answers(None), pooling),
            Culprit::Path(zone) => is_confirmed(&answers(Some(zone)), pooling),
            Culprit::Nobody | Culprit::Callers(_) => true,
        };
        if confirmed { culprit } else { Culprit::Nobody }
    }

    /// In how many zones members stand.
    fn zone_count(&self) -> usize {
        self.breakers.zones.map_or(0, |(_, count)| count)
    }

    fn count_zones(&mut self) {
        let now = self.now.mono;
        if self.breakers.zones.is_none_or(|(at, _)| now.since(at) >= limits::ZONES_LIFE) {
            let zone = |agent: &AgentId| Some(&self.agents.get(agent)?.profile.as_ref()?.zone);
            let zones: BTreeSet<&Zone> = self.members.iter().filter_map(zone).collect();
            self.breakers.zones = Some((now, zones.len()));
        }
    }

    fn open_on(&mut self, key: &BreakerKey, all: &[Testimony], culprit: Culprit) {
        let failing = || all.iter().filter(|one| one.fails());
        let evidence = failing().fold(CallCounts::default(), |sum, one| sum.plus(&one.counts));
        // One's own word has no time of arrival: others' go first.
        let me = self.me();
        let first = failing().min_by_key(|one| (one.agent == me, one.at, one.agent)).map_or(me, |one| one.agent);
        let silent = evidence.silent > evidence.answered;
        let cause = if silent { BreakerCause::CallersSilent } else { BreakerCause::CallersAnswered };
        let zone = if let Culprit::Path(zone) = culprit { Some(zone) } else { None };
        self.begin_outage(key, cause, first, zone, evidence);
    }

    /// What was first seen in one zone alone may turn out to be the callee's fault: by what callers elsewhere tell, or since two hold it open for all.
    /// Else a zone would make trials of its own, beside those of the rest.
    pub(super) fn widen(&mut self, key: &BreakerKey) {
        let outage = self.breakers.outages.get(key);
        if outage.is_none_or(|outage| outage.zone.is_none() || outage.standing().recovered) {
            return;
        }
        let for_all = |shared: &Shared| shared.zone.is_none() && !shared.step.recovered;
        let claimed = self.standings_of(key).iter().filter(|(_, shared)| for_all(shared)).count() >= 2;
        let seen = claimed || {
            let mut all = self.testimonies(key);
            let words = self.breakers.local.get(key).and_then(|local| local.last_words);
            let (agent, zone, at) = (self.me(), self.config.zone.clone(), self.now.mono);
            all.extend(words.map(|(counts, answers)| Testimony { agent, zone, counts, answers, at }));
            self.culprit(&all, &self.breakers.pooling) == Culprit::Callee
        };
        if let (true, Some(outage)) = (seen, self.breakers.outages.get_mut(key)) {
            outage.zone = None;
        }
    }

    /// Do enough peers hold it open, in an outage that is not over here? Says for whom, and who was first.
    fn followed(&self, key: &BreakerKey, pooling: &Pooling) -> Option<(Option<Zone>, AgentId)> {
        let past = self.breakers.last_over(key);
        let ramping = self.breakers.outages.get(key).map(|outage| (outage.number, outage.standing()));
        let open: Vec<_> = self
            .standings_of(key)
            .into_iter()
            .filter(|(_, shared)| !shared.step.recovered && shared.outage > past)
            .filter(|(_, shared)| ramping.is_none_or(|mine| (shared.outage, shared.step) > mine))
            .collect();
        let zone_of =
            |agent: AgentId| self.agents.get(&agent).and_then(|known| known.profile.as_ref()).map(|p| &p.zone);
        let zones: BTreeSet<_> = open.iter().filter_map(|(agent, _)| zone_of(*agent)).collect();
        let first = open.iter().map(|(_, shared)| shared).min_by_key(|shared| (shared.since, shared.first))?.first;
        let enough = pooling.zones.min(self.zone_count());
        if open.len() >= pooling.callers && zones.len() >= enough {
            return Some((None, first));
        }
        let mine = Some(self.config.zone.clone());
        let here = open.iter().filter(|(_, shared)| shared.zone == mine).count();
        (here >= pooling.callers).then_some((mine, first))
    }

    /// Does this agent fail where others are served? Then it accuses nobody.
    pub(super) fn suspects_itself(&self) -> bool {
        let now = self.now.mono;
        let own = self.breakers.local.iter().filter(|(_, local)| local.accuses(now));
        let pairs: Vec<_> = own
            .map(|(key, local)| {
                let others = self.testimonies(key);
                let served = others.iter().any(|one| !one.fails()) && !others.iter().any(Testimony::fails);
                (counts(&local.testimony(now).unwrap_or_default().0), served)
            })
            .collect();
        is_own_fault(&pairs, &self.breakers.pooling)
    }
}

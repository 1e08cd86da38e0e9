//! What this agent sees itself: when it probes, what it makes of the outcomes, and how it says so.

use super::Engine;
use super::instance::{Instance, Watch};
use super::vantage::Vantage;
use crate::api::{EventKind, Output, ProbeId, ProbeRequest};
use quorate_core::evidence::Evidence;
use quorate_core::outcome::clip;
use quorate_core::{
    AbstainReason, AgentId, InstanceId, Mono, Observation, Outcome, ProbeFailure, ProbeResult, Verdict, Vote, hash,
};
use quorate_wire::Record;
use std::time::Duration;

/// The first probes of a new observer are spread over at most this long.
const FIRST_SPREAD: Duration = Duration::from_secs(1);
/// A host in doubt is pinged for this long after the last reason to doubt it.
const DOUBT_LIFE: Duration = Duration::from_secs(10);
/// Answers in a row that end the doubt sooner.
const DOUBT_CLEARED: u32 = 3;
/// A probe on its way.
#[derive(Debug)]
pub(crate) struct Running {
    pub(super) instance: InstanceId,
    incarnation: u64,
    started: Mono,
    /// Was a roll call to vouch for its moment?
    called: bool,
}

/// What an outcome says, whatever the protocol.
pub(super) enum Seen {
    Reached(Vote, String),
    Failed(Vote, String),
    /// The fault is ours.
    Unable(String),
}

impl Engine {
    /// Begins or ends this agent's own observation of an instance.
    pub(super) fn set_watching(&mut self, id: &InstanceId, watching: bool) {
        let now = self.now;
        let watching = watching && self.caught_up() && self.leaving.is_none();
        let Some(instance) = self.instances.get_mut(id) else { return };
        if !watching {
            if let Some(watch) = instance.watch.take() {
                self.schedule.remove(&(watch.due, id.clone()));
                self.log.write(Record::ObservedGone(id.clone()));
                self.touch(id);
            }
            return;
        }
        if instance.watch.is_some() {
            return;
        }
        let period = instance.registration.as_ref().map_or(Duration::ZERO, |registration| registration.check.period);
        let due = now.mono + place_within(period.min(FIRST_SPREAD), id, self.config.agent);
        let mut watch = Watch::new(now.wall, due);
        // After the first look, which is soon, probes are spread over their whole period: many that began together do not stay together.
        watch.regular = now.mono + place_within(period, id, self.config.agent);
        let disabled = instance.registration.as_ref().is_some_and(|registration| !registration.check.enabled);
        if disabled {
            watch.vote = Vote::Abstain(AbstainReason::Disabled);
        }
        instance.watch = Some(Box::new(watch));
        if disabled {
            self.publish_vote(id);
        } else {
            self.schedule.insert((due, id.clone()));
        }
        self.touch(id);
    }

    /// Begins to observe an instance that this agent has long found up: the next look comes in its turn, somewhere in the period.
    pub(super) fn find_up(&mut self, id: &InstanceId) {
        let (now, lease, me) = (self.now, self.lease_clock(), self.config.agent);
        let Some(instance) = self.instances.get_mut(id) else { return };
        let Some(check) = instance.check.as_ref().filter(|check| check.enabled) else { return };
        let due = now.mono + place_within(check.period, id, me);
        let mut watch = Watch::new(now.wall, due);
        (watch.vote, watch.successes, watch.last, watch.well_since) = (Vote::Pass, 1, Some((lease, true)), Some(lease));
        instance.watch = Some(Box::new(watch));
        self.schedule.insert((due, id.clone()));
        self.publish_vote(id);
    }

    /// There is reason to doubt that an agent's host is alive: its observers ping it, at once and fast.
    pub(super) fn doubt_host(&mut self, agent: AgentId) {
        let Some(id) = self.host_to_observe(agent) else { return };
        let until = self.now.mono + DOUBT_LIFE;
        self.set_watching(&id, true);
        if let Some(watch) = self.instances.get_mut(&id).and_then(|instance| instance.watch.as_mut()) {
            watch.until = Some(until);
        }
    }

    /// Starts the probes that are due.
    pub(super) fn run_schedule(&mut self) {
        while let Some((due, id)) = self.schedule.first().cloned() {
            if due > self.now.mono {
                break;
            }
            self.schedule.pop_first();
            self.start_probe(&id, due);
        }
    }

    fn start_probe(&mut self, id: &InstanceId, due: Mono) {
        let now = self.now.mono;
        let Some(instance) = self.instances.get_mut(id) else { return };
        let decided = instance.decided();
        let decided_down = decided == Verdict::Down;
        // A host is watched until it is decided up again.
        let condemned = instance.condemned();
        let registration = instance.registration.clone();
        let check = instance.check.clone();
        let home = instance.home;
        let incarnation = instance.incarnation;
        let lost = !self.swim.is_active(home);
        let Some(watch) = &mut instance.watch else { return };
        let failing = watch.vote.fails() || condemned || (registration.is_none() && lost);
        if registration.is_none() && !failing && watch.until.is_none_or(|until| until <= now) {
            // The doubt has passed.
            self.set_watching(id, false);
            return;
        }
        let timing = &self.config.timing;
        let threshold =
            registration.as_ref().map_or(timing.host_failures, |registration| registration.check.failure_threshold);
        if registration.is_none() {
            let period = match () {
                // It answers again: is that to last?
                () if watch.vote.fails() && watch.successes > 0 => timing.host_ping_interval,
                () if watch.vote.fails() && decided_down => timing.swim_period,
                // Roll calls beside its pings follow each other while they hold: what one vouches for only in part, two do.
                () if watch.vote.fails() || condemned || watch.failures >= threshold => {
                    timing.swim_period.min(timing.roll_call_life * 3 / 4)
                }
                () => timing.host_ping_interval,
            };
            // Pings keep their place on a grid, so that a late timer does not shift all that follow.
            let mut due = watch.due + period;
            if due <= now {
                due = now + period;
            }
            watch.due = due;
            self.schedule.insert((due, id.clone()));
        }
        // Pings overlap: those on their way may turn out to have failed.
        let failed = if registration.is_none() { watch.unanswered } else { watch.failures };
        // Of a well instance every look would be, where one failure is enough: there silence is looked at once more, beside a call.
        let doubted = failed > 0 || watch.set_aside;
        let last_needed = doubted && failed + 1 >= threshold && !watch.vote.fails();
        // An accusation that is not heeded is not to be renewed by any short cut. `Partial` heeds it.
        let unheeded = watch.vote.fails() && !decided_down && decided != Verdict::Partial;
        let called = last_needed || unheeded;
        // Of hundreds that it alone does not reach each look would else ask everybody.
        let covered = registration.is_some() && self.roll.began_within(self.config.timing.roll_call_life / 2, now);
        let retry = watch.failures > 0;
        self.plan_next(id);
        let Some(watch) = self.instances.get_mut(id).and_then(|instance| instance.watch.as_mut()) else { return };
        let busy = std::mem::replace(&mut watch.running, true);
        watch.unanswered = watch.unanswered.saturating_add(1);
        // The next roll call is made when there is hope.
        if (last_needed || unheeded && !covered) && self.vantage() != Vantage::Isolated {
            if let Some(check) = check.as_ref().filter(|_| last_needed) {
                self.end_roll_before(now - check.period / 2);
            }
            self.call_roll();
        }
        match registration.zip(check) {
            Some(_) if busy => {}
            Some((registration, check)) => {
                self.stats.probes += 1;
                let probe = ProbeId(self.stats.probes);
                self.probes.insert(probe, Running { instance: id.clone(), incarnation, started: now, called });
                self.out.push_back(Output::Probe(ProbeRequest {
                    id: probe,
                    instance: id.clone(),
                    service: registration.service.clone(),
                    address: registration.address.clone(),
                    check,
                    due,
                }));
            }
            None => self.ping_host(home, retry),
        }
    }

    /// A probe has come back.
    pub(super) fn probe_done(&mut self, probe: ProbeId, outcome: Outcome) {
        let Some(running) = self.probes.remove(&probe) else { return };
        let id = running.instance;
        let held_up = self.stalled_at.is_some_and(|at| running.started <= at);
        // Silence of a moment at which this agent may have been cut off accuses nobody.
        let by_path = |failure: &ProbeFailure| {
            !failure.is_own() && may_be_ours(Vote::Fail { phase: failure.phase, cause: failure.cause })
        };
        let silent = matches!(&outcome.result, ProbeResult::Fail(failure) if by_path(failure));
        let vouched = silent && self.vouched_for(running.started);
        let Some(instance) = self.instances.get_mut(&id) else { return };
        // By a call of about its own moment, not by one that may have been answered before a cut.
        let lately =
            instance.check.as_ref().is_none_or(|check| self.roll.found_since(running.started - check.period / 2));
        let vouched = vouched && lately;
        let same = instance.incarnation == running.incarnation;
        let decided_down = instance.decided() == Verdict::Down;
        let Some(watch) = &mut instance.watch else { return };
        watch.running = false;
        let remote = instance.home != self.config.agent;
        let threshold = instance.registration.as_ref().map_or(1, |registration| registration.check.failure_threshold);
        let accuses = silent
            && remote
            && match watch.vote.fails() {
                true => !decided_down,
                false => watch.failures + 1 >= threshold,
            };
        let uncalled = !watch.vote.fails() && !running.called && !vouched;
        let cut_off =
            accuses && (uncalled || self.roll.may_have_been_cut_off(running.started)) && watch.may_set_aside();
        if held_up || cut_off || !same {
            self.stats.probes_inconclusive += 1;
            if cut_off {
                watch.overdue = true;
                self.replan(&id);
            } else {
                watch.set_aside = false;
            }
            return;
        }
        let seen = match outcome.result {
            ProbeResult::Pass => Seen::Reached(Vote::Pass, String::new()),
            ProbeResult::Protected(detail) => Seen::Reached(Vote::Pass, detail),
            ProbeResult::Warn(warning) => Seen::Reached(Vote::Warn, warning.detail),
            ProbeResult::Fail(failure) if failure.is_own() => {
                let detail = format!("{}{}", Observation::UNABLE, failure.detail);
                Seen::Unable(ProbeFailure::new(failure.phase, failure.cause, detail).detail)
            }
            ProbeResult::Fail(failure) => {
                Seen::Failed(Vote::Fail { phase: failure.phase, cause: failure.cause }, failure.detail)
            }
        };
        self.seen(&id, seen, running.started);
    }

    /// Counts the outcome of a look that began at `began` against the thresholds.
    pub(super) fn seen(&mut self, id: &InstanceId, seen: Seen, began: Mono) {
        let (now, lease) = (self.now.mono, self.lease_clock());
        let host_failures = self.config.timing.host_failures;
        let Some(instance) = self.instances.get_mut(id) else { return };
        let grace = instance.certificate.is_none()
            && instance.registration.as_ref().is_some_and(|r| now.since(instance.appeared) < r.check.initial_delay);
        // A host that answers now and then is not well: its pings must be answered as often in a row as they were not.
        let accused = instance.watch.as_ref().is_some_and(|watch| watch.vote.fails());
        let (fail_after, pass_after) =
            instance.registration.as_ref().map_or((host_failures, if accused { host_failures } else { 1 }), |r| {
                (r.check.failure_threshold, r.check.success_threshold)
            });
        let (home, remote) = (instance.home, instance.home != self.config.agent && !instance.is_host());
        let down = instance.decided() == Verdict::Down;
        let Some(watch) = &mut instance.watch else { return };
        // Who looks for the first time at what is down takes one failure for a sign that it still is.
        let fail_after = if down && watch.vote.abstains() { 1 } else { fail_after };
        (watch.running, watch.looked) = (false, watch.looked.max(began));
        let requested = std::mem::take(&mut watch.requested);
        match seen {
            Seen::Unable(detail) => self.set_vote(id, Vote::Abstain(AbstainReason::Impaired), detail),
            Seen::Reached(vote, detail) => {
                watch.last = Some((lease, true));
                watch.well_since.get_or_insert(lease);
                (watch.failures, watch.unanswered, watch.set_aside) = (0, 0, false);
                watch.successes = watch.successes.saturating_add(1);
                watch.pending_fail = None;
                if watch.successes >= DOUBT_CLEARED {
                    watch.until = watch.until.map(|until| until.min(now));
                }
                let first = watch.successes == 1;
                if watch.vote.reaches() || watch.successes >= pass_after {
                    self.set_vote(id, vote, detail);
                }
                if down {
                    // It may have been held down for long enough.
                    self.dirty.insert(id.clone());
                    if first {
                        self.ask_second_opinion(id, requested);
                    }
                }
            }
            Seen::Failed(vote, detail) => {
                watch.last = Some((lease, false));
                watch.well_since = None;
                watch.successes = 0;
                if grace {
                    return;
                }
                watch.failures = watch.failures.saturating_add(1);
                let (failures, silent) = (watch.failures, vote.evidence() == Some(Evidence::Silence));
                let first = failures == 1 && !watch.vote.fails();
                if failures >= fail_after {
                    self.accuse(id, vote, detail);
                }
                if first {
                    self.ask_second_opinion(id, requested);
                }
                if remote && failures == 1 && silent {
                    self.doubt_host(home);
                }
            }
        }
        self.replan(id);
    }

    /// Votes `fail`, if this agent is in a position to; otherwise calls the roll first.
    fn accuse(&mut self, id: &InstanceId, vote: Vote, detail: String) {
        let already = self.instances.get(id).and_then(|i| i.watch.as_ref()).is_some_and(|watch| watch.vote.fails());
        let vantage = match self.vantage() {
            // What a cut-off agent finds is no evidence: what it said before stands.
            Vantage::Isolated if already => return,
            _ if already => Vantage::Valid,
            // The one that was called beside this look tells, not one of before.
            Vantage::Valid if may_be_ours(vote) && id.host_of().is_none() && self.roll.is_open() => Vantage::Unknown,
            vantage => vantage,
        };
        match vantage {
            Vantage::Valid if !already && may_be_ours(vote) && self.reached_by_others(id) && self.impaired() => {
                self.set_vote(id, Vote::Abstain(AbstainReason::Impaired), detail);
            }
            Vantage::Valid => self.set_vote(id, vote, detail),
            Vantage::Isolated => self.set_vote(id, Vote::Abstain(AbstainReason::Isolated), detail),
            Vantage::Unknown => {
                if let Some(watch) = self.instances.get_mut(id).and_then(|i| i.watch.as_mut()) {
                    watch.pending_fail = Some((vote, detail, watch.began));
                }
                self.awaiting_roll.insert(id.clone());
                self.call_roll();
            }
        }
    }

    /// Does anyone else reach this instance on another host? Else nothing points to this agent's own host, nor does silence of its own instances, or of a
    /// host, to which the way is that of the roll call.
    fn reached_by_others(&self, id: &InstanceId) -> bool {
        let Some(instance) = self.instances.get(id).filter(|i| !i.is_host() && i.home != self.me()) else {
            return false;
        };
        let mut others = instance.observers.iter().chain([&instance.home]).filter(|agent| **agent != self.me());
        others.any(|agent| self.vote_of(instance, *agent).is_some_and(Vote::reaches))
    }

    /// A roll call has told whether this agent may accuse.
    pub(super) fn roll_known(&mut self, quorate: bool) {
        let regained = quorate && !self.was_quorate;
        let impaired = quorate && !self.awaiting_roll.is_empty() && self.impaired();
        for id in std::mem::take(&mut self.awaiting_roll) {
            let impaired = impaired && self.reached_by_others(&id);
            let Some(instance) = self.instances.get_mut(&id) else { continue };
            let remote = instance.home != self.config.agent;
            let Some(watch) = &mut instance.watch else { continue };
            let Some((vote, detail, began)) = watch.pending_fail.take().filter(|_| !regained) else { continue };
            let cut_off = began.is_some_and(|began| self.roll.may_have_been_cut_off(began));
            if quorate && remote && may_be_ours(vote) && cut_off && watch.may_set_aside() {
                watch.overdue = true;
                self.replan(&id);
                continue;
            }
            let vote = match quorate {
                true if impaired && may_be_ours(vote) => Vote::Abstain(AbstainReason::Impaired),
                true => vote,
                false => Vote::Abstain(AbstainReason::Isolated),
            };
            self.set_vote(&id, vote, detail);
        }
    }

    /// This agent belongs to the side that may decide again. What failed while it was cut off may have failed for that: one look of now must fail as well,
    /// before it accuses, or stands by what it said before.
    pub(super) fn doubt_own_failures(&mut self) {
        let host_failures = self.config.timing.host_failures;
        for instance in self.instances.values_mut() {
            let threshold = instance.registration.as_ref().map_or(host_failures, |r| r.check.failure_threshold);
            let Some(watch) = &mut instance.watch else { continue };
            if watch.vote.fails() {
                watch.last = None;
            } else {
                watch.failures = watch.failures.min(threshold.saturating_sub(1));
                watch.pending_fail = None;
            }
        }
    }

    fn set_vote(&mut self, id: &InstanceId, vote: Vote, detail: String) {
        let wall = self.now.wall;
        let Some(watch) = self.instances.get_mut(id).and_then(|instance| instance.watch.as_mut()) else { return };
        watch.set_aside = false;
        if watch.vote == vote {
            return;
        }
        let kind = |vote: Vote| (vote.word(), vote.evidence());
        let since = if kind(watch.vote) == kind(vote) { watch.since } else { wall };
        watch.vote = vote;
        watch.detail = clip(detail, ProbeFailure::MAX_DETAIL_BYTES);
        watch.since = since;
        let quiet = !vote.fails() && self.is_quiet(id);
        if !quiet {
            self.publish_vote(id);
        }
        self.touch(id);
    }

    /// Of a host of which this agent has said nothing bad, and nothing bad was decided, that it answers is not worth a record. Nor is that this agent
    /// cannot tell: in a mesh cut in two everyone would say so of hundreds.
    fn is_quiet(&self, id: &InstanceId) -> bool {
        let quiet = |host: &Instance| host.is_host() && !host.condemned() && !host.is_superseded();
        self.instances.get(id).is_some_and(|host| quiet(host))
            && self.log.record(&quorate_wire::RecordKey::Observed(id.clone())).is_none()
    }

    /// Publishes the vote on a host that was kept quiet while nothing bad was decided.
    pub(super) fn speak_of_host(&mut self, agent: AgentId) {
        let id = InstanceId::host(agent);
        if self.instances.get(&id).and_then(|i| i.watch.as_ref()).is_some_and(|watch| !watch.vote.abstains()) {
            self.publish_vote(&id);
        }
    }

    fn publish_vote(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get(id) else { return };
        let Some(watch) = &instance.watch else { return };
        let observation = Observation { vote: watch.vote, detail: watch.detail.clone(), since: watch.since };
        let record = Record::Observed {
            instance: id.clone(),
            incarnation: instance.incarnation,
            observation: observation.clone(),
        };
        if self.log.record(&record.key()) == Some(&record) {
            return;
        }
        self.log.write(record);
        self.event(EventKind::Vote { instance: id.clone(), observation });
    }
}

/// The place of an observer's looks at an instance within `span`: spread by hash, the same at every start.
fn place_within(span: Duration, id: &InstanceId, observer: AgentId) -> Duration {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1);
    Duration::from_nanos(hash::mix(&[id.hash64(), observer.0]) % nanos)
}

/// Silence may be the path's fault, and a name that was not found the resolver's; a far end that spoke, spoke.
fn may_be_ours(vote: Vote) -> bool {
    matches!(vote.evidence(), Some(Evidence::Silence | Evidence::Inconclusive))
}

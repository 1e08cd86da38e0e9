//! Callers: each on a host, before a breaker that the agent there knows, calling one instance again and again.
//!
//! The breaker is the very one that the agent's API uses. For comparison each call may also be put before breakers of the caller's own that no mesh
//! knows: the same calls then meet several guards.

mod tally;

pub use tally::{CallTally, Counted};

use crate::draw::Purpose;
use crate::host::clocks;
use crate::invariants::Sight;
use crate::plan::{CallMode, CallTrouble, CallWord, CallsPlan, WordMode};
use crate::queue::Rank;
use crate::time::SimTime;
use crate::truth::Appearance;
use crate::world::{Happening, World};
use quorate_breaker::{Event, Fault, Outcome, Permit, Policy, Settings, State, ToldBreaker};
use quorate_core::{InstanceId, Mono, ServiceName};
use quorate_mesh::{BreakerKey, BreakerReport, BreakerState, CallCounts, Command, Input, OverrideMode, OverrideWish};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What happens is told at least this often, as by the agent.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// How late a late result is.
const LATE: Duration = Duration::from_secs(30);
/// A call that is served at once, or refused.
const QUICK: Duration = Duration::from_millis(2);

/// Calls of a plan, made ready.
#[derive(Debug, Clone)]
pub struct Calls {
    /// As planned.
    pub plan: CallsPlan,
    /// What the breaker stands before.
    pub key: BreakerKey,
    /// Who calls.
    pub callers: Vec<usize>,
    /// The instance's number, if it is one of the plan's.
    pub instance: Option<usize>,
}

impl Calls {
    /// Of a plan that has been checked.
    ///
    /// # Errors
    /// When a name is wrong.
    pub fn new(plan: &CallsPlan, agents: usize, instance: Option<usize>) -> anyhow::Result<Self> {
        let service = plan.instance.split('@').next().unwrap_or_default();
        let key = BreakerKey { service: ServiceName::new(service)?, instance: InstanceId::new(&plan.instance)? };
        let callers = plan.callers.clone().unwrap_or_else(|| (0..agents).collect());
        Ok(Self { plan: plan.clone(), key, callers, instance })
    }

    /// The first trouble of a call that agent makes at `at`, if the draw of a thousand hits it.
    fn trouble(&self, agent: usize, zones: usize, at: SimTime, draw: u32) -> Option<&CallTrouble> {
        self.plan.troubles.iter().find(|trouble| {
            let (from, to) = (trouble.from.moment(), trouble.to.moment());
            let on = trouble
                .flap_period
                .is_none_or(|period| (at.since(from).as_nanos() / period.0.as_nanos().max(1)).is_multiple_of(2));
            from <= at
                && at < to
                && on
                && draw < trouble.per_mille
                && trouble.seen_by.as_ref().is_none_or(|list| list.contains(&agent))
                && trouble.zone.is_none_or(|zone| agent % zones.max(1) == zone)
        })
    }
}

/// What a call was, for those who check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallSight {
    /// It was let through; `lent`: as a trial of those that the mesh lends.
    Admitted {
        /// A lent trial?
        lent: bool,
    },
    /// It was not.
    Rejected,
    /// Its result came.
    Ended {
        /// Did it fail, or does the caller say so?
        failed: bool,
        /// Did the breaker take it?
        counted: bool,
        /// Had the breaker turned since?
        stale: bool,
    },
}

/// How callers are guarded.
#[derive(Debug, Clone, Copy)]
enum Guard {
    /// By breakers that the mesh shares.
    Mesh,
    /// By breakers of their own with these settings.
    Own(Settings),
}

struct Caller {
    run: u64,
    breaker: ToldBreaker,
    told: SimTime,
}

/// The breaker that the mesh shares is the first.
const SHARED: usize = 0;

/// The callers of a run.
pub struct Callers {
    /// By process, calls and guard.
    breakers: BTreeMap<(usize, usize, usize), Caller>,
    /// Calls made so far, by process and calls.
    made: BTreeMap<(usize, usize), u64>,
    /// How they are guarded, and what came of it.
    guards: Vec<(Guard, CallTally)>,
}

impl Default for Callers {
    fn default() -> Self {
        Self::beside(&[])
    }
}

impl Callers {
    /// Callers whose breakers the mesh shares, each call of which is also put before breakers of their own.
    pub fn beside(own: &[Settings]) -> Self {
        let guards = std::iter::once(Guard::Mesh).chain(own.iter().map(|settings| Guard::Own(*settings)));
        let guards = guards.map(|guard| (guard, CallTally::default())).collect();
        Self { breakers: BTreeMap::new(), made: BTreeMap::new(), guards }
    }

    /// What came of it, by guard: the mesh's first.
    pub fn tallies(&self) -> impl Iterator<Item = &CallTally> {
        self.guards.iter().map(|(_, tally)| tally)
    }
}

/// A call under way.
#[derive(Debug)]
pub struct Running {
    agent: usize,
    calls: usize,
    guard: usize,
    run: u64,
    began: SimTime,
    /// As a trial of those that the mesh lends?
    lent: bool,
    permit: (u32, u8, u64),
    outcome: Outcome,
    took: Duration,
}

impl World {
    /// Plans everyone's first call, and the words.
    pub(crate) fn plan_calls(&mut self) {
        for (number, calls) in self.truth.scenario.calls.clone().into_iter().enumerate() {
            for agent in &calls.callers {
                let every = u64::try_from(calls.plan.every.0.as_micros()).unwrap_or(u64::MAX);
                let draws = self.truth.scenario.draws;
                let first = draws.within((0, every), Purpose::Call, *agent as u64, number as u64, 0);
                let at = calls.plan.from.moment().plus(Duration::from_micros(first));
                self.plan(at, Rank::Action, *agent, *agent, Happening::Call { agent: *agent, calls: number });
            }
            for (index, word) in calls.plan.words.iter().enumerate() {
                let event = Happening::Word { calls: number, word: index };
                self.plan(word.at.moment(), Rank::Action, word.through, 0, event);
            }
        }
    }

    fn own_time(&self, agent: usize) -> Option<Mono> {
        let process = self.hosts[agent].process.as_ref()?;
        Some(clocks(&self.truth.scenario, agent, process.started, self.truth.now).mono)
    }

    /// A caller wants to call.
    pub(crate) fn call(&mut self, agent: usize, number: usize) {
        let now = self.truth.now;
        let calls = &self.truth.scenario.calls[number];
        let (every, to) = (calls.plan.every.0, calls.plan.to.moment());
        let made = self.callers.made.entry((agent, number)).or_default();
        *made += 1;
        let nth = *made;
        let draws = self.truth.scenario.draws;
        // Between half and one and a half of the average.
        let span = u64::try_from(every.as_micros()).unwrap_or(u64::MAX);
        let next = draws.within((span / 2, span + span / 2), Purpose::Call, agent as u64, number as u64, nth);
        let next = now.plus(Duration::from_micros(next));
        if next < to {
            self.plan(next, Rank::Action, agent, agent, Happening::Call { agent, calls: number });
        }
        let awake = self.hosts[agent].process.as_ref().is_some_and(|process| !process.paused);
        if let (true, Some(own)) = (awake, self.own_time(agent)) {
            for guard in 0..self.callers.guards.len() {
                self.ensure_breaker(agent, number, guard);
                self.make_call(agent, number, guard, nth, own);
            }
        }
    }

    /// What the mesh has made of what is called, as the agent knows it.
    fn breaker_so_far(&mut self, agent: usize, number: usize) -> Option<Event> {
        // To read all of the picture is to take note of it.
        self.look_at(agent);
        let view = self.hosts[agent].process.as_mut()?.node.view();
        view.breaker_so_far(&self.truth.scenario.calls[number].key)
    }

    fn ensure_breaker(&mut self, agent: usize, number: usize, guard: usize) {
        let run = self.hosts[agent].run;
        let own = if let Guard::Own(settings) = self.callers.guards[guard].0 { Some(settings) } else { None };
        let settings = own.unwrap_or_default();
        let seed = self.truth.scenario.draws.bits(Purpose::Call, agent as u64, number as u64, u64::MAX - run);
        let known = self.callers.breakers.get(&(agent, number, guard)).is_some_and(|caller| caller.run == run);
        if let (false, Ok(policy)) = (known, settings.resolve()) {
            let policy: Arc<Policy> = Arc::new(policy);
            let caller = Caller { run, breaker: ToldBreaker::new(policy, seed), told: SimTime::START };
            let so_far = if own.is_none() { self.breaker_so_far(agent, number) } else { None };
            if let (Some(event), Some(at)) = (so_far, self.own_time(agent)) {
                caller.breaker.apply(event, at);
            }
            self.callers.breakers.insert((agent, number, guard), caller);
        }
    }

    fn make_call(&mut self, agent: usize, number: usize, guard: usize, nth: u64, own: Mono) {
        let (outcome, took, after) = self.result(agent, number, nth);
        let well = outcome == Outcome::Success;
        let Some(caller) = self.callers.breakers.get(&(agent, number, guard)) else { return };
        let tally = &mut self.callers.guards[guard].1;
        let shared = caller.breaker.breaker().status().is_shared();
        let run = caller.run;
        let sight = match caller.breaker.admit(own) {
            Ok(permit) => {
                let trial = permit.is_trial();
                let lent = trial && shared;
                tally.admitted(self.truth.now, number, trial, well);
                let (began, permit) = (self.truth.now, permit.into_parts());
                let running = Running { agent, calls: number, guard, run, began, lent, permit, outcome, took };
                self.plan(began.plus(after), Rank::Probe, agent, agent, Happening::Called(running));
                CallSight::Admitted { lent }
            }
            Err(_) => {
                tally.rejected(self.truth.now, number, well);
                CallSight::Rejected
            }
        };
        if guard == SHARED {
            let lent = sight == CallSight::Admitted { lent: true };
            self.tell_call((agent, number), self.truth.now, lent, sight);
            self.checks.look(&self.truth, &Sight::Call { agent, calls: number, call: sight });
            if sight == CallSight::Rejected {
                self.report(agent, number);
            }
        }
    }

    /// What a call would come to: the outcome as the caller tells it, how long it takes, and when it is told.
    fn result(&self, agent: usize, number: usize, nth: u64) -> (Outcome, Duration, Duration) {
        let scenario = &self.truth.scenario;
        let (calls, now) = (&scenario.calls[number], self.truth.now);
        let timeout = calls.plan.timeout.0;
        let (refused, silent) = (Outcome::Failure(Fault::Answer), Outcome::Failure(Fault::Silence));
        if calls.plan.liars.contains(&agent) {
            return (refused, QUICK, QUICK);
        }
        let draw = scenario.draws.within((0, 999), Purpose::Call, agent as u64, number as u64, nth | 1 << 40);
        let zones = scenario.zones;
        match calls.trouble(agent, zones, now, u32::try_from(draw).unwrap_or(0)).map(|trouble| trouble.mode) {
            Some(CallMode::Refused | CallMode::Erroring) => return (refused, QUICK, QUICK),
            Some(CallMode::Hung) => return (silent, timeout, timeout),
            Some(CallMode::Slow) => return (Outcome::Success, timeout * 3 / 4, timeout * 3 / 4),
            Some(CallMode::Late) => return (refused, QUICK, LATE),
            None => {}
        }
        match calls.instance.map(|instance| self.truth.appearance(instance, scenario.role(agent), now)) {
            None | Some(Appearance::Healthy | Appearance::Busy(_)) => (Outcome::Success, QUICK, QUICK),
            Some(Appearance::Refused | Appearance::Erroring | Appearance::Overloaded) => (refused, QUICK, QUICK),
            Some(Appearance::Late(after)) if after < timeout => (Outcome::Success, after, after),
            Some(Appearance::Silent | Appearance::Hung | Appearance::Late(_)) => (silent, timeout, timeout),
        }
    }

    /// A call's result comes.
    pub(crate) fn called(&mut self, running: Running) {
        let Running { agent, calls, guard, run, began, lent, permit, outcome, took } = running;
        let Some(own) = self.own_time(agent).filter(|_| self.hosts[agent].run == run) else { return };
        let key = (agent, calls, guard);
        let Some(caller) = self.callers.breakers.get(&key).filter(|caller| caller.run == run) else { return };
        let stale = caller.breaker.breaker().status().generation != permit.0;
        let counted = caller.breaker.record(Permit::from_parts(permit), outcome, Some(took), own);
        if guard == SHARED {
            let failed = outcome != Outcome::Success;
            let call = CallSight::Ended { failed, counted, stale };
            self.tell_call((agent, calls), began, lent, call);
            self.checks.look(&self.truth, &Sight::Call { agent, calls, call });
            self.report(agent, calls);
        }
    }

    /// Tells the agent what is new, at once if a call has failed.
    fn report(&mut self, agent: usize, number: usize) {
        let now = self.truth.now;
        let Some(own) = self.own_time(agent) else { return };
        let key = self.truth.scenario.calls[number].key.clone();
        let Some(caller) = self.callers.breakers.get_mut(&(agent, number, SHARED)) else { return };
        if !caller.breaker.is_urgent() && now.since(caller.told) < TELL_EVERY {
            return;
        }
        let Some(told) = caller.breaker.take(own) else { return };
        caller.told = now;
        let counts = told.counts;
        let counts =
            CallCounts { calls: counts.calls, answered: counts.answered, silent: counts.silent, slow: counts.slow };
        let state = match told.state {
            State::Closed => BreakerState::Closed,
            State::HalfOpen => BreakerState::HalfOpen,
            State::Open => BreakerState::Open,
        };
        let report = BreakerReport { key, counts, failures_in_row: told.failures_in_row, state, trial: told.trial };
        self.deliver(agent, Input::Breakers(vec![report]), 0);
    }

    /// An agent says what happened to a breaker.
    pub(crate) fn obey(&mut self, agent: usize, key: &BreakerKey, event: Event) {
        let Some(own) = self.own_time(agent) else { return };
        let run = self.hosts[agent].run;
        let numbers = self.truth.scenario.calls.iter().enumerate().filter(|(_, calls)| calls.key == *key);
        let numbers: Vec<usize> = numbers.map(|(number, _)| number).collect();
        for number in numbers {
            let caller = self.callers.breakers.get(&(agent, number, SHARED));
            if let Some(caller) = caller.filter(|caller| caller.run == run) {
                caller.breaker.apply(event, own);
            }
        }
    }

    /// A person decides.
    pub(crate) fn give_word(&mut self, number: usize, index: usize) {
        let calls = &self.truth.scenario.calls[number];
        let CallWord { through, mode, lasts, .. } = calls.plan.words[index].clone();
        let mode = match mode {
            WordMode::Automatic => OverrideMode::Automatic,
            WordMode::ForcedOpen => OverrideMode::ForcedOpen,
            WordMode::ForcedClosed => OverrideMode::ForcedClosed,
        };
        let wish = OverrideWish { key: calls.key.clone(), mode, reason: "a person's word".to_owned(), lives: lasts.0 };
        self.deliver(through, Input::Command(Command::Override(wish)), 0);
    }
}

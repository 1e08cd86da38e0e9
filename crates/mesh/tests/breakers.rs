//! Breakers that callers share, among a few engines: what opens for whom, how it recovers, and what people may do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[allow(dead_code, reason = "each test file uses its part")]
mod world;

use quorate_breaker::pooled::Budget;
use quorate_breaker::{Event, Fault, Outcome, Settings, State, ToldBreaker};
use quorate_core::{InstanceId, Mono, ServiceName, Verdict, Zone, hash};
use quorate_mesh::{
    BreakerCause, BreakerKey, BreakerReport, BreakerState, BreakerView, CallCounts, Command, Input, OverrideMode,
    OverrideWish,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use world::{MS, Target, World};

const STEP_MS: u64 = 20;

fn key(instance: &str) -> BreakerKey {
    let service = ServiceName::new(instance.split('@').next().unwrap()).unwrap();
    BreakerKey { service, instance: InstanceId::new(instance).unwrap() }
}

/// Callers on some agents, each with a breaker before one instance, in a mesh of two zones.
struct Callers {
    world: World,
    key: BreakerKey,
    breakers: BTreeMap<u64, ToldBreaker>,
    /// Each calls so often.
    period_ms: u64,
    calls: BTreeMap<u64, u32>,
    failed: BTreeMap<u64, u32>,
    /// When trials were made, in milliseconds.
    trials: Vec<u64>,
}

impl Callers {
    fn new(n: u64, period_ms: u64, instance: &str) -> Self {
        let mut world = World::new();
        for agent in 1..=n {
            world.zones.insert(agent, Zone::new(if agent % 2 == 0 { "b" } else { "a" }).unwrap());
            world.start(agent, &[&format!("web@{agent}")]);
            if agent > 1 {
                world.contact(agent, 1);
            }
        }
        world.run(8_000);
        let policy = Arc::new(Settings::default().resolve().unwrap());
        let breakers = (1..=n).map(|agent| (agent, ToldBreaker::new(Arc::clone(&policy), agent))).collect();
        let (calls, failed) = (BTreeMap::new(), BTreeMap::new());
        Self { world, key: key(instance), breakers, period_ms, calls, failed, trials: Vec::new() }
    }

    fn now(&self) -> Mono {
        Mono(self.world.now)
    }

    /// Lets time pass; `outcome` says what a call of an agent, by its number, comes to.
    fn run(&mut self, ms: u64, outcome: &dyn Fn(u64, u32) -> Outcome) {
        for _ in 0..ms / STEP_MS {
            let agents: Vec<_> = self.breakers.keys().copied().collect();
            for agent in agents {
                self.obey(agent);
                let phase = hash::spread(agent) % self.period_ms / STEP_MS;
                if (self.world.now / MS / STEP_MS + phase).is_multiple_of(self.period_ms / STEP_MS) {
                    self.call(agent, outcome);
                }
                self.report(agent);
            }
            self.world.run(STEP_MS);
        }
    }

    fn obey(&mut self, agent: u64) {
        let now = self.now();
        for (key, event) in std::mem::take(&mut self.world.hosts.get_mut(&agent).unwrap().orders) {
            if key == self.key {
                self.breakers[&agent].apply(event, now);
            }
        }
    }

    fn call(&mut self, agent: u64, outcome: &dyn Fn(u64, u32) -> Outcome) {
        let now = self.now();
        let Ok(permit) = self.breakers[&agent].admit(now) else { return };
        if permit.is_trial() {
            self.trials.push(self.world.now / MS);
        }
        let number = self.calls.entry(agent).or_default();
        *number += 1;
        let outcome = outcome(agent, *number);
        if matches!(outcome, Outcome::Failure(_)) {
            *self.failed.entry(agent).or_default() += 1;
        }
        self.breakers[&agent].record(permit, outcome, None, now);
    }

    fn report(&mut self, agent: u64) {
        let Some(told) = self.breakers[&agent].take(self.now()) else { return };
        let counts = told.counts;
        let counts =
            CallCounts { calls: counts.calls, answered: counts.answered, silent: counts.silent, slow: counts.slow };
        let state = match told.state {
            State::Closed => BreakerState::Closed,
            State::HalfOpen => BreakerState::HalfOpen,
            State::Open => BreakerState::Open,
        };
        let failures_in_row = told.failures_in_row;
        let report = BreakerReport { key: self.key.clone(), counts, failures_in_row, state, trial: told.trial };
        self.world.input(agent, Input::Breakers(vec![report]));
    }

    fn states(&self) -> String {
        let letter = |breaker: &ToldBreaker| match breaker.breaker().state(self.now()) {
            State::Closed => 'c',
            State::HalfOpen => 'h',
            State::Open => 'o',
        };
        self.breakers.values().map(letter).collect()
    }

    fn view(&mut self, agent: u64) -> Option<BreakerView> {
        let view = self.world.view(agent);
        view.breakers.iter().find(|breaker| breaker.key == self.key).cloned()
    }

    fn all_failed(&self) -> u32 {
        self.failed.values().sum()
    }

    fn wish(&mut self, agent: u64, mode: OverrideMode, lives_s: u64) {
        let wish = OverrideWish {
            key: self.key.clone(),
            mode,
            reason: "maintenance".into(),
            lives: Duration::from_secs(lives_s),
        };
        self.world.input(agent, Input::Command(Command::Override(wish)));
    }

    fn modes(&mut self) -> Vec<Option<OverrideMode>> {
        let agents: Vec<_> = self.world.live();
        agents
            .into_iter()
            .map(|agent| self.view(agent).and_then(|view| view.overridden).map(|word| word.mode))
            .collect()
    }

    /// Most trials within any span of one window of places.
    fn peak(&self) -> usize {
        let within = |at: &u64| self.trials.iter().filter(|other| (*at..*at + 5_000).contains(other)).count();
        self.trials.iter().map(within).max().unwrap_or(0)
    }
}

const SERVED: Outcome = Outcome::Success;
const REFUSED: Outcome = Outcome::Failure(Fault::Answer);
const SILENT: Outcome = Outcome::Failure(Fault::Silence);

fn all_served(_: u64, _: u32) -> Outcome {
    SERVED
}

fn none_served(_: u64, _: u32) -> Outcome {
    REFUSED
}

#[test]
fn a_dead_instance_opens_for_all_after_a_handful_of_calls_and_recovers_by_a_few_trials() {
    let mut callers = Callers::new(6, 200, "api@1");
    callers.run(4_000, &all_served);
    callers.run(1_500, &none_served);
    assert_eq!(callers.states(), "oooooo");
    assert!(callers.all_failed() <= 16, "{:?}", callers.failed);
    let view = callers.view(3).unwrap();
    assert_eq!((view.state, view.cause), (BreakerState::Open, Some(BreakerCause::CallersAnswered)));
    assert!(view.first.is_some() && view.evidence.failed() >= 5 && view.zone.is_none());

    callers.run(20_000, &none_served);
    assert!(callers.trials.len() >= 2 && callers.peak() <= 2 * Budget::default().trials, "{:?}", callers.trials);
    assert_eq!(callers.states().matches('c').count(), 0);
    let made = callers.trials.len();
    callers.run(32_000, &all_served);
    assert_eq!(callers.states(), "cccccc");
    assert!(callers.trials.len() - made <= 2 * Budget::default().trials, "{:?}", callers.trials);
    for agent in 1..=6 {
        assert_eq!(callers.view(agent).unwrap().outage, 0, "it is over");
    }
}

#[test]
fn one_broken_caller_opens_it_for_nobody_else() {
    let mut callers = Callers::new(6, 200, "api@1");
    callers.run(2_000, &all_served);
    callers.run(20_000, &|agent, _| if agent == 3 { SILENT } else { SERVED });
    assert_eq!(callers.states().chars().filter(|state| *state == 'c').count(), 5);
    for agent in [1, 2, 4, 5, 6] {
        assert_eq!(callers.view(agent).unwrap().state, BreakerState::Closed);
        assert_eq!(callers.failed.get(&agent), None);
    }
    assert_eq!(callers.view(3).unwrap().cause, Some(BreakerCause::OwnCalls));
}

#[test]
fn one_liar_opens_it_for_nobody_else() {
    let mut callers = Callers::new(5, 1_000, "api@1");
    callers.run(2_000, &all_served);
    for _ in 0..20 {
        let counts = CallCounts { calls: CallCounts::MAX, answered: CallCounts::MAX, silent: 0, slow: 0 };
        let report = BreakerReport {
            key: callers.key.clone(),
            counts,
            failures_in_row: u32::MAX,
            state: BreakerState::Open,
            trial: Some(false),
        };
        callers.world.input(5, Input::Breakers(vec![report]));
        callers.run(500, &all_served);
    }
    assert_eq!(&callers.states()[..4], "cccc");
}

#[test]
fn a_third_of_calls_failing_opens_it_for_nobody() {
    let mut callers = Callers::new(9, 1_000, "api@1");
    callers.run(60_000, &|agent, number| {
        if hash::mix(&[agent, u64::from(number)]) % 10 < 3 { REFUSED } else { SERVED }
    });
    for agent in 1..=9 {
        assert_eq!(callers.view(agent).unwrap().outage, 0);
    }
}

#[test]
fn one_zones_path_opens_it_in_that_zone() {
    let mut callers = Callers::new(8, 200, "api@1");
    callers.run(2_000, &all_served);
    callers.run(3_000, &|agent, _| if agent % 2 == 0 { SILENT } else { SERVED });
    assert_eq!(callers.states(), "cocococo");
    let view = callers.view(4).unwrap();
    assert_eq!(view.zone, Zone::new("b").ok());
    let mut saw = |agent: u64| callers.view(agent).unwrap().cause == Some(BreakerCause::CallersSilent);
    assert!([2, 4, 6, 8].into_iter().filter(|agent| saw(*agent)).count() >= 3, "others follow three of these");
    assert_eq!(callers.view(3).unwrap().state, BreakerState::Closed);
}

#[test]
fn a_verdict_opens_it_without_a_call_and_begins_trials_when_it_is_up_again() {
    let mut callers = Callers::new(5, 10_000, "web@2");
    callers.run(200, &all_served);
    let id = InstanceId::new("web@2").unwrap();
    callers.world.targets.insert(id.clone(), (2, Target::Refused));
    callers.run(8_000, &none_served);
    assert!(callers.world.all(&[1, 2, 3, 4, 5], "web@2", Verdict::Down));
    assert_eq!(callers.states(), "ooooo");
    assert_eq!(callers.view(4).unwrap().cause, Some(BreakerCause::Verdict));
    assert!(callers.trials.is_empty(), "none while it is down");
    callers.world.targets.insert(id, (2, Target::Up));
    callers.period_ms = 500;
    callers.run(25_000, &all_served);
    assert_eq!(callers.states(), "ccccc");
    assert!(callers.peak() <= 2 * Budget::default().trials, "{:?}", callers.trials);
}

#[test]
fn one_that_began_open_for_what_is_over_is_let_go() {
    let mut callers = Callers::new(3, 10_000, "web@2");
    callers.breakers[&1].apply(Event::PeersOpened, callers.now());
    assert_eq!(callers.states(), "occ");
    callers.run(100, &all_served);
    assert_eq!(callers.states(), "ccc");
}

#[test]
fn breakers_never_make_an_instance_down() {
    let mut callers = Callers::new(5, 200, "web@2");
    callers.run(20_000, &none_served);
    assert_eq!(callers.states().matches('c').count(), 0);
    assert!(callers.world.all(&[1, 2, 3, 4, 5], "web@2", Verdict::Up), "its own probes are served");
}

#[test]
fn a_word_holds_everywhere_until_a_later_one_and_survives_restarts() {
    let mut callers = Callers::new(4, 500, "api@1");
    callers.run(1_000, &all_served);
    callers.wish(2, OverrideMode::ForcedOpen, 3_600);
    callers.run(2_000, &all_served);
    assert_eq!(callers.states(), "oooo");
    assert_eq!(callers.modes(), [Some(OverrideMode::ForcedOpen); 4]);
    for agent in [2, 3] {
        callers.world.crash(agent);
        callers.world.run(3_000);
        callers.world.boot(agent);
        callers.world.run(8_000);
        assert_eq!(callers.modes(), [Some(OverrideMode::ForcedOpen); 4], "after a restart of {agent}");
    }
    // Its giver loses its disk; the others go on, and tell it and a newcomer.
    callers.world.crash(2);
    callers.world.hosts.get_mut(&2).unwrap().disk = None;
    callers.world.boot(2);
    callers.world.contact(2, 1);
    callers.world.join(5, 1);
    callers.world.run(20_000);
    assert_eq!(callers.modes(), [Some(OverrideMode::ForcedOpen); 5], "after the loss of a disk");
    callers.wish(3, OverrideMode::ForcedClosed, 20);
    callers.run(2_000, &none_served);
    assert_eq!(callers.modes(), [Some(OverrideMode::ForcedClosed); 5], "the later word");
    callers.world.run(20_000);
    assert_eq!(callers.modes(), [None; 5], "it has ended");
}

#[test]
fn lifting_a_word_lets_a_few_try_before_all() {
    let mut callers = Callers::new(6, 200, "api@1");
    callers.run(1_000, &all_served);
    callers.wish(2, OverrideMode::ForcedOpen, 3_600);
    callers.run(2_000, &all_served);
    callers.wish(5, OverrideMode::Automatic, 0);
    callers.run(20_000, &all_served);
    assert_eq!(callers.states(), "cccccc");
    assert!((2..=6).contains(&callers.trials.len()), "{:?}", callers.trials);
}

#[test]
fn two_words_given_at_once_end_as_one() {
    let mut callers = Callers::new(4, 500, "api@1");
    callers.run(1_000, &all_served);
    callers.world.split(&[&[1, 2], &[3, 4]]);
    callers.wish(1, OverrideMode::ForcedOpen, 3_600);
    callers.wish(4, OverrideMode::Disabled, 3_600);
    callers.run(3_000, &all_served);
    callers.world.heal();
    callers.world.run(30_000);
    assert_eq!(callers.modes(), [Some(OverrideMode::Disabled); 4], "the higher owner of one epoch");
}

#[test]
fn of_a_services_instances_some_stay() {
    let mut callers = Callers::new(4, 200, "web@1");
    callers.run(1_000, &all_served);
    callers.run(2_000, &none_served);
    assert_eq!(callers.states(), "oooo");
    for instance in ["web@2", "web@3"] {
        callers.key = key(instance);
        let policy = Arc::new(
            Settings { failure_rate: None, failure_threshold: None, ..Settings::default() }.resolve().unwrap(),
        );
        callers.breakers = (1..=4).map(|agent| (agent, ToldBreaker::new(Arc::clone(&policy), agent))).collect();
        callers.run(2_500, &none_served);
        assert_eq!(callers.states(), "cccc", "one of four is what 30 % come to");
        assert!(callers.view(1).unwrap().spared);
    }
}

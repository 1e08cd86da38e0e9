//! Callers in the smallest world, each with a breaker as a host has it.

use crate::world::{MS, World};
use quorate_breaker::{Fault, Outcome, Permit, Settings, State, ToldBreaker};
use quorate_core::{InstanceId, Mono, ServiceName, Zone, hash};
use quorate_mesh::{
    BreakerKey, BreakerReport, BreakerState, BreakerView, CallCounts, Command, Input, OverrideMode, OverrideWish,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const STEP_MS: u64 = 20;

pub fn key(instance: &str) -> BreakerKey {
    let service = ServiceName::new(instance.split('@').next().unwrap()).unwrap();
    BreakerKey { service, instance: InstanceId::new(instance).unwrap() }
}

/// Callers on some agents, each with a breaker before one instance, in a mesh of two zones.
pub struct Callers {
    pub world: World,
    pub key: BreakerKey,
    pub breakers: BTreeMap<u64, ToldBreaker>,
    /// Each calls so often.
    pub period_ms: u64,
    pub calls: BTreeMap<u64, u32>,
    pub failed: BTreeMap<u64, u32>,
    /// Each call takes so long.
    pub takes_ms: u64,
    /// Calls under way, and when they end.
    under_way: Vec<(u64, u64, Permit, Outcome)>,
    /// When trials were made, in milliseconds.
    pub trials: Vec<u64>,
}

impl Callers {
    pub fn new(n: u64, period_ms: u64, instance: &str) -> Self {
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
        let (under_way, trials) = (Vec::new(), Vec::new());
        Self { world, key: key(instance), breakers, period_ms, calls, failed, takes_ms: 0, under_way, trials }
    }

    pub fn now(&self) -> Mono {
        Mono(self.world.now)
    }

    /// Lets time pass; `outcome` says what a call of an agent, by its number, comes to.
    pub fn run(&mut self, ms: u64, outcome: &dyn Fn(u64, u32) -> Outcome) {
        for _ in 0..ms / STEP_MS {
            let agents: Vec<_> = self.breakers.keys().copied().collect();
            self.end_calls();
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

    pub fn obey(&mut self, agent: u64) {
        let now = self.now();
        for (key, event) in std::mem::take(&mut self.world.hosts.get_mut(&agent).unwrap().orders) {
            if key == self.key {
                self.breakers[&agent].apply(event, now);
            }
        }
    }

    pub fn call(&mut self, agent: u64, outcome: &dyn Fn(u64, u32) -> Outcome) {
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
        self.under_way.push((now.0 + self.takes_ms * MS, agent, permit, outcome));
        self.end_calls();
    }

    fn end_calls(&mut self) {
        let now = self.now();
        for (at, agent, permit, outcome) in std::mem::take(&mut self.under_way) {
            match self.breakers.get(&agent) {
                Some(breaker) if at <= now.0 => _ = breaker.record(permit, outcome, None, now),
                Some(_) => self.under_way.push((at, agent, permit, outcome)),
                None => {}
            }
        }
    }

    pub fn report(&mut self, agent: u64) {
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

    pub fn states(&self) -> String {
        let letter = |breaker: &ToldBreaker| match breaker.breaker().state(self.now()) {
            State::Closed => 'c',
            State::HalfOpen => 'h',
            State::Open => 'o',
        };
        self.breakers.values().map(letter).collect()
    }

    pub fn view(&mut self, agent: u64) -> Option<BreakerView> {
        let view = self.world.view(agent);
        view.breakers.iter().find(|breaker| breaker.key == self.key).cloned()
    }

    pub fn all_failed(&self) -> u32 {
        self.failed.values().sum()
    }

    pub fn wish(&mut self, agent: u64, mode: OverrideMode, lives_s: u64) {
        let wish = OverrideWish {
            key: self.key.clone(),
            mode,
            reason: "maintenance".into(),
            lives: Duration::from_secs(lives_s),
        };
        self.world.input(agent, Input::Command(Command::Override(wish)));
    }

    pub fn modes(&mut self) -> Vec<Option<OverrideMode>> {
        let agents: Vec<_> = self.world.live();
        agents
            .into_iter()
            .map(|agent| self.view(agent).and_then(|view| view.overridden).map(|word| word.mode))
            .collect()
    }

    /// Most trials within any span of one window of places.
    pub fn peak(&self) -> usize {
        let within = |at: &u64| self.trials.iter().filter(|other| (*at..*at + 5_000).contains(other)).count();
        self.trials.iter().map(within).max().unwrap_or(0)
    }
}

pub const SERVED: Outcome = Outcome::Success;
pub const REFUSED: Outcome = Outcome::Failure(Fault::Answer);
pub const SILENT: Outcome = Outcome::Failure(Fault::Silence);

pub fn all_served(_: u64, _: u32) -> Outcome {
    SERVED
}

pub fn none_served(_: u64, _: u32) -> Outcome {
    REFUSED
}

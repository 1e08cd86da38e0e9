//! One breaker per service and instance, made when first asked for, forgotten when idle, never more than a limit.

use super::metrics::{Metrics, States};
use super::name_pair::{NamePair, TwoNames};
use crate::breaker::{Breaker, Listener, Snapshot, Transition};
use crate::machine::{Mode, Phase, State};
use crate::permit::{Outcome, Permit, Refusal, Rejected};
use crate::settings::{Policy, Settings, SettingsError, nanoseconds};
use dashmap::DashMap;
use prometheus::{IntCounter, Registry};
use quorate_core::{Mono, hash};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How a service is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protection {
    /// Its breakers' settings.
    pub settings: Settings,
    /// Most calls that may run at once on one instance; `None` for no limit.
    pub max_concurrent: Option<u32>,
}

impl From<Settings> for Protection {
    fn from(settings: Settings) -> Self {
        Self { settings, max_concurrent: None }
    }
}

/// Makes a registry.
#[derive(Debug, Clone)]
pub struct Builder {
    default: Protection,
    services: BTreeMap<String, Protection>,
    max_breakers: usize,
    idle_after: Duration,
    seed: u64,
}

impl Builder {
    /// How services are protected that have no entry of their own.
    #[must_use]
    pub fn default_protection(self, protection: impl Into<Protection>) -> Self {
        Self { default: protection.into(), ..self }
    }

    /// How `service` is protected.
    #[must_use]
    pub fn service(mut self, service: &str, protection: impl Into<Protection>) -> Self {
        self.services.insert(service.to_owned(), protection.into());
        self
    }

    /// Most breakers. Beyond it, calls go unguarded and are counted in `circuit_breaker_unguarded_total`. Default 10,000: 12 MB.
    #[must_use]
    pub fn max_breakers(self, max_breakers: usize) -> Self {
        Self { max_breakers, ..self }
    }

    /// After how long without being asked for a breaker may be forgotten. Default 10 minutes.
    #[must_use]
    pub fn idle_after(self, idle_after: Duration) -> Self {
        Self { idle_after, ..self }
    }

    /// What the waits of this process are drawn from. Give each process another, or they try together.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Makes it, and registers its metrics.
    ///
    /// # Errors
    /// When a service's settings are out of range, or `registry` has metrics of these names already.
    pub fn build(self, registry: &Registry) -> Result<Breakers, SetupError> {
        let plan = |name: &str, protection: Protection| match protection.settings.resolve() {
            Ok(policy) => Ok(Plan { policy: Arc::new(policy), max_concurrent: protection.max_concurrent }),
            Err(error) => Err(SetupError::Settings { service: name.to_owned(), error }),
        };
        let default = plan("default", self.default)?;
        let services = self.services.iter().map(|(name, protection)| Ok((name.clone(), plan(name, *protection)?)));
        let inner = Arc::new(Inner {
            services: services.collect::<Result<_, SetupError>>()?,
            default,
            breakers: DashMap::new(),
            metrics: Arc::new(Metrics::new(registry)?),
            origin: Instant::now(),
            max_breakers: self.max_breakers,
            idle_after: self.idle_after,
            seed: self.seed,
            swept: AtomicU64::new(0),
        });
        registry.register(Box::new(States::new(&inner)?))?;
        Ok(Breakers(inner))
    }
}

/// A registry that could not be made.
#[derive(Debug)]
pub enum SetupError {
    /// The settings of a service cannot be used.
    Settings {
        /// Which, or `default`.
        service: String,
        /// What is wrong.
        error: SettingsError,
    },
    /// The metrics could not be registered.
    Metrics(prometheus::Error),
}

impl From<prometheus::Error> for SetupError {
    fn from(error: prometheus::Error) -> Self {
        Self::Metrics(error)
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings { service, error } => write!(f, "breaker settings of {service}: {error}"),
            Self::Metrics(error) => write!(f, "the metrics of the breakers cannot be registered: {error}"),
        }
    }
}

impl std::error::Error for SetupError {}

struct Plan {
    policy: Arc<Policy>,
    max_concurrent: Option<u32>,
}

/// A breaker in the registry.
struct Entry {
    service: Arc<str>,
    instance: Arc<str>,
    breaker: Breaker,
    rejects: IntCounter,
    max_concurrent: Option<u32>,
    running: AtomicU32,
    /// Nanoseconds since the registry began; when it was last asked for.
    asked: AtomicU64,
}

pub(super) struct Inner {
    services: BTreeMap<String, Plan>,
    default: Plan,
    breakers: DashMap<NamePair, Arc<Entry>>,
    metrics: Arc<Metrics>,
    origin: Instant,
    max_breakers: usize,
    idle_after: Duration,
    seed: u64,
    /// When it was last swept because it was full.
    swept: AtomicU64,
}

/// How often a full registry looks for breakers to forget.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The breakers of a process, by service and instance. Cheap to clone.
#[derive(Clone)]
pub struct Breakers(Arc<Inner>);

/// One breaker as it stands, and whose it is.
#[derive(Debug, Clone)]
pub struct InstanceState {
    /// Service.
    pub service: Arc<str>,
    /// Instance.
    pub instance: Arc<str>,
    /// How it stands.
    pub snapshot: Snapshot,
}

impl Breakers {
    /// A registry with default settings for every service, to be changed before it is built.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            default: Protection::default(),
            services: BTreeMap::new(),
            max_breakers: 10_000,
            idle_after: Duration::from_secs(600),
            seed: 0,
        }
    }

    /// Nanoseconds since the registry was made: the time that its breakers go by.
    #[must_use]
    pub fn now(&self) -> Mono {
        self.0.now()
    }

    /// The breaker of an instance, made if there is none yet. Keep the handle where calls are frequent: it needs no look-up.
    #[must_use]
    pub fn handle(&self, service: &str, instance: &str) -> Handle {
        let entry = self.0.entry(service, instance).ok_or_else(|| service.into());
        Handle { entry, inner: Arc::clone(&self.0) }
    }

    /// How every breaker stands, by service and instance.
    #[must_use]
    pub fn states(&self) -> Vec<InstanceState> {
        self.0.states(None)
    }

    /// How the breakers of `service` stand, by instance.
    #[must_use]
    pub fn states_of(&self, service: &str) -> Vec<InstanceState> {
        self.0.states(Some(service))
    }

    /// Can `service` be called at all: has it an instance whose breaker is not open, or none that has ever been called?
    #[must_use]
    pub fn is_healthy(&self, service: &str) -> bool {
        let states = self.states_of(service);
        states.is_empty() || states.iter().any(|state| state.snapshot.state != State::Open)
    }

    /// Forgets the breakers that are closed, in nobody's hands and have been idle long enough; returns how many.
    pub fn sweep(&self) -> usize {
        self.0.sweep()
    }

    /// How many breakers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.breakers.len()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.breakers.is_empty()
    }
}

impl fmt::Debug for Breakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breakers").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Inner {
    pub(super) fn now(&self) -> Mono {
        Mono(nanoseconds(self.origin.elapsed()))
    }

    fn entry(&self, service: &str, instance: &str) -> Option<Arc<Entry>> {
        let now = self.now();
        let pair: &dyn TwoNames = &(service, instance);
        if let Some(found) = self.breakers.get(pair) {
            found.asked.store(now.0, Ordering::Relaxed);
            return Some(Arc::clone(&found));
        }
        // Threads that come here at one time may exceed the limit by their number.
        if self.breakers.len() >= self.max_breakers && !self.make_room(now) {
            return None;
        }
        let entry = Arc::new(self.new_entry(service, instance, now));
        let key = NamePair(Arc::clone(&entry.service), Arc::clone(&entry.instance));
        Some(Arc::clone(&self.breakers.entry(key).or_insert(entry)))
    }

    fn new_entry(&self, service: &str, instance: &str, now: Mono) -> Entry {
        let plan = self.services.get(service).unwrap_or(&self.default);
        let seed = hash::mix(&[self.seed, hash::bytes(service.as_bytes()), hash::bytes(instance.as_bytes())]);
        let service: Arc<str> = service.into();
        let teller = Teller { service: Arc::clone(&service), metrics: Arc::clone(&self.metrics) };
        Entry {
            rejects: self.metrics.rejects(&service),
            service,
            instance: instance.into(),
            breaker: Breaker::new(Arc::clone(&plan.policy), seed).with_listener(Arc::new(teller)),
            max_concurrent: plan.max_concurrent,
            running: AtomicU32::new(0),
            asked: AtomicU64::new(now.0),
        }
    }

    fn make_room(&self, now: Mono) -> bool {
        let swept = self.swept.load(Ordering::Relaxed);
        let due = swept == 0 || now >= Mono(swept) + SWEEP_INTERVAL;
        let mine =
            due && self.swept.compare_exchange(swept, now.0.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok();
        mine && self.sweep() > 0
    }

    fn sweep(&self) -> usize {
        let now = self.now();
        let before = self.breakers.len();
        self.breakers.retain(|_, entry| !self.may_be_forgotten(entry, now));
        before.saturating_sub(self.breakers.len())
    }

    /// What is open, ramping, forced or in someone's hands is remembered however long nobody asks.
    fn may_be_forgotten(&self, entry: &Arc<Entry>, now: Mono) -> bool {
        let status = entry.breaker.status();
        let idle = now.since(Mono(entry.asked.load(Ordering::Relaxed))) >= self.idle_after;
        idle && status.phase == Phase::Closed && status.mode == Mode::Automatic && Arc::strong_count(entry) == 1
    }

    pub(super) fn states(&self, service: Option<&str>) -> Vec<InstanceState> {
        let now = self.now();
        let wanted = |entry: &Entry| service.is_none_or(|service| *entry.service == *service);
        let mut states: Vec<_> = self
            .breakers
            .iter()
            .filter(|entry| wanted(entry))
            .map(|entry| InstanceState {
                service: Arc::clone(&entry.service),
                instance: Arc::clone(&entry.instance),
                snapshot: entry.breaker.snapshot(now),
            })
            .collect();
        states.sort_by(|a, b| (&a.service, &a.instance).cmp(&(&b.service, &b.instance)));
        states
    }
}

/// Counts transitions.
struct Teller {
    service: Arc<str>,
    metrics: Arc<Metrics>,
}

impl Listener for Teller {
    fn changed(&self, transition: &Transition) {
        self.metrics.moved(&self.service, transition.to.state(), transition.reason);
    }
}

/// A breaker in a caller's hands. While it exists, the breaker is not forgotten. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    /// The service alone when the registry was full: its calls go unguarded.
    entry: Result<Arc<Entry>, Arc<str>>,
    inner: Arc<Inner>,
}

impl Handle {
    /// The breaker; `None` when the registry was full.
    #[must_use]
    pub fn breaker(&self) -> Option<&Breaker> {
        self.entry.as_ref().ok().map(|entry| &entry.breaker)
    }

    /// Asks to make a call.
    ///
    /// # Errors
    /// When the call should not be made. The rejection is counted.
    pub fn enter(&self) -> Result<Guard, Rejected> {
        let now = self.inner.now();
        let Ok(entry) = &self.entry else {
            self.inner.metrics.unguarded.inc();
            return Ok(Guard { entered: now, inner: Arc::clone(&self.inner), held: None });
        };
        let place = entry.take_place();
        let admitted = if place { entry.breaker.admit(now) } else { Err(Rejected::without_time(Refusal::Busy)) };
        match admitted {
            Ok(permit) => {
                let held = Some((Arc::clone(entry), permit));
                Ok(Guard { entered: now, inner: Arc::clone(&self.inner), held })
            }
            Err(rejected) => {
                if place {
                    entry.give_place_back();
                }
                entry.rejects.inc();
                Err(rejected)
            }
        }
    }

    pub(super) fn service(&self) -> &str {
        self.entry.as_ref().map_or_else(|service| &**service, |entry| &entry.service)
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("service", &self.service()).field("breaker", &self.breaker()).finish()
    }
}

impl Entry {
    fn take_place(&self) -> bool {
        let Some(most) = self.max_concurrent else { return true };
        let next = |running: u32| (running < most).then_some(running + 1);
        self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    fn give_place_back(&self) {
        if self.max_concurrent.is_some() {
            self.running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A call under way. Dropped without a word, it counts as cancelled: neutral.
#[must_use = "a guard that is dropped counts as a cancelled call"]
pub struct Guard {
    entered: Mono,
    inner: Arc<Inner>,
    held: Option<(Arc<Entry>, Permit)>,
}

impl Guard {
    /// Tells what the call came to; returns how long it took.
    pub fn finish(mut self, outcome: Outcome) -> Duration {
        let now = self.inner.now();
        let took = now.since(self.entered);
        self.end(outcome, took, now);
        took
    }

    fn end(&mut self, outcome: Outcome, took: Duration, now: Mono) {
        if let Some((entry, permit)) = self.held.take() {
            entry.breaker.record_timed(permit, outcome, took, now);
            entry.give_place_back();
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.held.is_some() {
            let now = self.inner.now();
            self.end(Outcome::Neutral, now.since(self.entered), now);
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("entered", &self.entered).finish_non_exhaustive()
    }
}

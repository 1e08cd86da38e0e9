//! The breakers of this host's callers: they ask the API for permits and report, the engine hears of it now and then and says what the mesh makes
//! of it. The path of a call is a look-up and a few atomic operations; nothing waits for the engine.

use super::clock::Clock;
use super::drive::Ask;
use super::published::Published;
use dashmap::DashMap;
use quorate_breaker::{Event, Outcome, Permit, Policy, Rejected, Settings, State, Told, ToldBreaker};
use quorate_core::{Mono, hash};
use quorate_mesh::{BreakerKey, BreakerReport, BreakerState, CallCounts, Command, OverrideWish};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Most breakers of one host; calls beyond them are let through unguarded, and counted.
pub const MAX_BREAKERS: usize = 10_000;
/// What calls come to is told at least this often while there is something new.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// A failure is told after this time, with what else has happened by then.
const GATHER: Duration = Duration::from_millis(10);
/// A closed breaker that nobody has asked for in so long is forgotten, as the engine forgets it.
const IDLE_AFTER: Duration = Duration::from_secs(600);
/// How often such are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(30);
/// Reports in one message to the engine.
const MAX_REPORTS: usize = 256;

/// Every breaker of this host.
pub struct Callers {
    clock: Clock,
    published: Arc<Published>,
    policy: Arc<Policy>,
    seed: u64,
    breakers: DashMap<BreakerKey, Arc<ToldBreaker>>,
    unguarded: AtomicU64,
    news: Notify,
    asks: mpsc::Sender<Ask>,
}

/// The answer to a caller.
#[derive(Debug)]
pub enum Answer {
    /// Go ahead.
    Admitted(Permit),
    /// Go ahead; there is no breaker, because there are too many.
    Unguarded,
    /// Do not, and when to ask again if that is known.
    Rejected(Rejected, Option<Duration>),
}

impl Callers {
    /// No breakers yet; `asks` leads to the engine, whose pictures are `published`.
    pub fn new(clock: Clock, published: Arc<Published>, seed: u64, asks: mpsc::Sender<Ask>) -> anyhow::Result<Self> {
        let policy = Arc::new(Settings::default().resolve()?);
        let (breakers, unguarded, news) = (DashMap::new(), AtomicU64::new(0), Notify::new());
        Ok(Self { clock, published, policy, seed, breakers, unguarded, news, asks })
    }

    /// The breaker of `key`, made if there is none; none when there is no room.
    fn breaker(&self, key: &BreakerKey) -> Option<Arc<ToldBreaker>> {
        if let Some(found) = self.breakers.get(key) {
            return Some(Arc::clone(&found));
        }
        if self.breakers.len() >= MAX_BREAKERS {
            self.unguarded.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let seed = hash::mix(&[self.seed, key.instance.hash64()]);
        let made = self.breakers.entry(key.clone());
        let made = Arc::clone(&made.or_insert_with(|| {
            let breaker = ToldBreaker::new(Arc::clone(&self.policy), seed);
            // The engine will say the same once it has heard of the breaker; the first call must not slip through before.
            if let Some(event) = self.published.view().breaker_so_far(key) {
                breaker.apply(event, self.clock.mono());
            }
            Arc::new(breaker)
        }));
        self.news.notify_one();
        Some(made)
    }

    /// May a call be made?
    pub fn permit(&self, key: &BreakerKey) -> Answer {
        let Some(breaker) = self.breaker(key) else { return Answer::Unguarded };
        let now = self.clock.mono();
        match breaker.admit(now) {
            Ok(permit) => Answer::Admitted(permit),
            Err(rejected) => Answer::Rejected(rejected, rejected.until().map(|until| until.since(now))),
        }
    }

    /// A call has ended. Without a permit it counts as an ordinary one, as far as ordinary calls are admitted now. False when it says nothing any
    /// more.
    pub fn record(&self, key: &BreakerKey, permit: Option<Permit>, outcome: Outcome, took: Option<Duration>) -> bool {
        let Some(breaker) = self.breaker(key) else { return false };
        let now = self.clock.mono();
        let permit = permit.or_else(|| breaker.admit(now).ok());
        let counted = permit.is_some_and(|permit| breaker.record(permit, outcome, took, now));
        if breaker.is_urgent() {
            self.news.notify_one();
        }
        counted
    }

    /// The engine says what happened to a breaker.
    pub fn apply(&self, key: &BreakerKey, event: Event) {
        if let Some(breaker) = self.breakers.get(key) {
            breaker.apply(event, self.clock.mono());
            self.news.notify_one();
        }
    }

    /// Passes a person's wish on; false when the engine is gone or overwhelmed.
    pub fn wish(&self, wish: OverrideWish) -> bool {
        self.asks.try_send(Ask::Command(Command::Override(wish))).is_ok()
    }

    /// Calls that were let through without a breaker.
    pub fn unguarded(&self) -> u64 {
        self.unguarded.load(Ordering::Relaxed)
    }

    /// The state of each breaker now.
    pub fn states(&self) -> BTreeMap<BreakerKey, State> {
        let now = self.clock.mono();
        self.breakers.iter().map(|entry| (entry.key().clone(), entry.value().breaker().state(now))).collect()
    }

    /// Tells the engine what is new, as long as there is one.
    pub async fn tell(self: Arc<Self>) {
        let mut next_forgetting = self.clock.mono() + FORGET_EVERY;
        loop {
            let waited = tokio::time::timeout(TELL_EVERY, self.news.notified()).await;
            if waited.is_ok() {
                tokio::time::sleep(GATHER).await;
            }
            let now = self.clock.mono();
            if now >= next_forgetting {
                next_forgetting = now + FORGET_EVERY;
                self.forget_idle(now);
            }
            let reports = self.reports();
            for some in reports.chunks(MAX_REPORTS) {
                if self.asks.send(Ask::Breakers(some.to_vec())).await.is_err() {
                    return;
                }
            }
        }
    }

    fn forget_idle(&self, now: Mono) {
        self.breakers.retain(|_, breaker| Arc::strong_count(breaker) > 1 || !breaker.is_idle(now, IDLE_AFTER));
    }

    fn reports(&self) -> Vec<BreakerReport> {
        let now = self.clock.mono();
        let told = self.breakers.iter().filter_map(|entry| Some((entry.key().clone(), entry.value().take(now)?)));
        told.map(|(key, told)| report(key, &told)).collect()
    }
}

fn report(key: BreakerKey, told: &Told) -> BreakerReport {
    let bounded = |count: u32| count.min(CallCounts::MAX);
    let counts = told.counts;
    let calls = bounded(counts.calls);
    let silent = counts.silent.min(calls);
    let counts =
        CallCounts { calls, silent, answered: counts.answered.min(calls - silent), slow: counts.slow.min(calls) };
    let state = match told.state {
        State::Closed => BreakerState::Closed,
        State::HalfOpen => BreakerState::HalfOpen,
        State::Open => BreakerState::Open,
    };
    BreakerReport { key, counts, failures_in_row: told.failures_in_row, state, trial: told.trial }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_breaker::Fault;
    use quorate_core::{InstanceId, ServiceName};

    fn key(instance: &str) -> BreakerKey {
        BreakerKey { service: ServiceName::new("web").unwrap(), instance: InstanceId::new(instance).unwrap() }
    }

    fn published() -> Arc<Published> {
        Arc::new(Published::new(Clock::new(), crate::api::fixture::view(), true))
    }

    #[test]
    fn a_breaker_that_the_mesh_holds_open_is_open_from_the_first_call() {
        let (asks, _heard) = mpsc::channel(8);
        let callers = Callers::new(Clock::new(), published(), 1, asks).unwrap();
        assert!(matches!(callers.permit(&key("web@10.0.0.1:80")), Answer::Rejected(..)));
        assert!(matches!(callers.permit(&key("web@10.0.0.3:80")), Answer::Rejected(..)), "it is down");
    }

    #[tokio::test]
    async fn a_failure_is_told_at_once_and_once() {
        let (asks, mut heard) = mpsc::channel(8);
        let callers = Arc::new(Callers::new(Clock::new(), published(), 1, asks).unwrap());
        let telling = tokio::spawn(Arc::clone(&callers).tell());
        let Answer::Admitted(permit) = callers.permit(&key("web@1")) else { panic!("closed") };
        assert!(callers.record(&key("web@1"), Some(permit), Outcome::Failure(Fault::Silence), None));
        assert!(callers.record(&key("web@1"), None, Outcome::Success, None), "without a permit");
        let mut calls = 0;
        while calls < 2 {
            let Some(Ask::Breakers(reports)) = heard.recv().await else { panic!("no report") };
            calls += reports.iter().map(|report| report.counts.calls).sum::<u32>();
        }
        assert_eq!(calls, 2);
        callers.apply(&key("web@1"), Event::PeersOpened);
        assert!(matches!(callers.permit(&key("web@1")), Answer::Rejected(_, None)));
        assert!(!callers.record(&key("web@1"), None, Outcome::Success, None), "nobody is admitted");
        telling.abort();
    }

    #[test]
    fn there_is_a_limit_to_breakers() {
        let (asks, _heard) = mpsc::channel(8);
        let callers = Callers::new(Clock::new(), published(), 1, asks).unwrap();
        for n in 0..MAX_BREAKERS {
            assert!(matches!(callers.permit(&key(&format!("web@{n}"))), Answer::Admitted(_)));
        }
        assert!(matches!(callers.permit(&key("web@more")), Answer::Unguarded));
        assert_eq!(callers.unguarded(), 1);
        assert!(matches!(callers.permit(&key("web@1")), Answer::Admitted(_)), "known ones go on");
        assert_eq!(callers.reports().len(), MAX_BREAKERS);
        callers.apply(&key("web@1"), Event::PeersOpened);
        callers.reports();
        callers.forget_idle(callers.clock.mono() + IDLE_AFTER);
        assert_eq!(callers.states().len(), 1, "the open one stays");
        assert!(matches!(callers.permit(&key("web@more")), Answer::Admitted(_)), "there is room again");
    }
}

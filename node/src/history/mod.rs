//! What has been: this agent's own probes in numbers, the verdicts it stated and the votes it heard, over months, in an embedded store of bounded
//! size and age.
//!
//! Probes are counted in buckets of five minutes and of an hour. Of verdicts and votes only changes are kept; the time in which the agent was cut off or
//! did not run is marked as absent, and is charged to nobody. What was not yet written when the process is killed, a second at most, is lost. What the
//! disk does not take waits until it does.

pub mod bucket;
mod store;
pub mod timeline;

use crate::agent::clock::wall;
use crate::agent::published::Published;
use crate::metrics::Metrics;
use bucket::{Bucket, Width};
use quorate_core::{AgentId, InstanceId, Outcome, UnixMs};
use quorate_mesh::{InstanceView, MeshView, ObserverView};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::Store;
use timeline::{Moment, State};

/// How often is written what is new.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Buckets and changes that may wait to be written; more are dropped and counted.
pub const MAX_PENDING: usize = 20_000;
/// How long everything is kept.
pub const MAX_AGE: Duration = Duration::from_secs(91 * 24 * 3600);

#[derive(Debug, Default)]
struct Pending {
    buckets: BTreeMap<(Width, String, u64), Bucket>,
    moments: Vec<(String, Moment)>,
}

/// What was last noted of an instance.
#[derive(Debug)]
struct Stated {
    /// From which picture of it. One that has not changed is the same in the next picture.
    seen: Arc<InstanceView>,
    /// Could the agent tell anything then?
    knows: bool,
    state: State,
    /// Of each observer that had voted.
    votes: BTreeMap<AgentId, State>,
}

/// The history of one agent.
#[derive(Debug)]
pub struct History {
    store: Store,
    pending: Mutex<Pending>,
    stated: Mutex<BTreeMap<InstanceId, Stated>>,
    metrics: Arc<Metrics>,
}

impl History {
    /// Goes on with the store in `dir`, at most `max_bytes` large. A damaged one is put aside.
    ///
    /// # Errors
    /// When none can be made.
    pub fn open(dir: &Path, max_bytes: u64, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let store = Store::open(dir, max_bytes)?;
        store.close_the_gap(wall())?;
        Ok(Self { store, pending: Mutex::default(), stated: Mutex::default(), metrics })
    }

    /// Writes each second, and follows the pictures.
    pub fn run(self: &Arc<Self>, published: Arc<Published>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(WRITE_INTERVAL).await;
                let this = Arc::clone(&this);
                // A fault in there ends one turn.
                let _ = tokio::task::spawn_blocking(move || this.write(wall())).await;
            }
        });
        let this = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let view = published.view();
                this.observe(&view, wall());
                published.other_than(view.index).await;
            }
        });
    }

    /// One of this agent's probes ended.
    pub fn probed(&self, instance: &InstanceId, outcome: &Outcome, at: UnixMs) {
        let mut pending = self.pending();
        for width in Width::ALL {
            let key = (width, instance.to_string(), width.start(at));
            if pending.buckets.len() >= MAX_PENDING && !pending.buckets.contains_key(&key) {
                self.metrics.history_failed();
                continue;
            }
            pending.buckets.entry(key).or_default().add(outcome);
        }
    }

    /// What the agent states now, and what observers vote. While it is not quorate it can tell nothing.
    pub fn observe(&self, view: &MeshView, now: UnixMs) {
        let knows = view.quorate && view.settled;
        let mut stated = self.stated.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Vec::new();
        for instance in view.instances.values().filter(|instance| instance.instance.host_of().is_none()) {
            let before = stated.get(&instance.instance);
            if before.is_some_and(|before| before.knows == knows && Arc::ptr_eq(&before.seen, instance)) {
                continue;
            }
            let next = Stated::of(instance, knows);
            next.differences(before, now, &mut changed);
            stated.insert(instance.instance.clone(), next);
        }
        stated.retain(|id, last| {
            let kept = view.instances.contains_key(id);
            if !kept {
                last.gone().differences(Some(last), now, &mut changed);
            }
            kept
        });
        let mut pending = self.pending();
        let room = MAX_PENDING.saturating_sub(pending.moments.len());
        changed.iter().skip(room).for_each(|_| self.metrics.history_failed());
        pending.moments.extend(changed.into_iter().take(room));
    }

    /// Writes what is new.
    pub fn write(&self, now: UnixMs) {
        let taken = std::mem::take(&mut *self.pending());
        let written = self.store.write(&taken.buckets, &taken.moments, now);
        if let Err(error) = written {
            tracing::warn!(error = format!("{error:#}"), "a second of history could not be written");
            self.metrics.history_failed();
            self.keep(taken);
        }
        self.metrics.history_bytes(self.store.bytes());
    }

    /// What could not be written goes first in what waits: a change of verdict that is lost would be charged to the wrong side until the next one.
    fn keep(&self, taken: Pending) {
        let mut pending = self.pending();
        let Pending { buckets, moments } = std::mem::replace(&mut *pending, taken);
        for (key, bucket) in buckets {
            if pending.buckets.len() >= MAX_PENDING && !pending.buckets.contains_key(&key) {
                self.metrics.history_failed();
                continue;
            }
            pending.buckets.entry(key).or_default().merge(&bucket);
        }
        let room = MAX_PENDING.saturating_sub(pending.moments.len());
        moments.iter().skip(room).for_each(|_| self.metrics.history_failed());
        pending.moments.extend(moments.into_iter().take(room));
    }

    /// How much waits to be written.
    pub fn waiting(&self) -> usize {
        let pending = self.pending();
        pending.buckets.len() + pending.moments.len()
    }

    /// Could the last second not be written?
    pub fn is_failing(&self) -> bool {
        self.store.is_failing()
    }

    /// The probes of an instance within a time, by the beginning of each bucket (Unix milliseconds), and how long a bucket is.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn probes(
        &self,
        instance: &InstanceId,
        from: UnixMs,
        to: UnixMs,
    ) -> anyhow::Result<(Width, BTreeMap<u64, Bucket>)> {
        let width = Width::for_span(from, to);
        Ok((width, self.store.buckets(instance.as_str(), width, from, to)?))
    }

    /// The states of an instance within a time, the one at its beginning first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn moments(&self, instance: &InstanceId, from: UnixMs, to: UnixMs) -> anyhow::Result<Vec<Moment>> {
        self.store.moments(instance.as_str(), from, to)
    }

    /// The same of one observer's votes: up for `pass` and `warn`, down for `fail`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn votes(
        &self,
        instance: &InstanceId,
        observer: AgentId,
        from: UnixMs,
        to: UnixMs,
    ) -> anyhow::Result<Vec<Moment>> {
        self.store.moments(&voter(instance, observer), from, to)
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Under what an observer's votes on an instance are kept; no instance's name has a space.
fn voter(instance: &InstanceId, observer: AgentId) -> String {
    format!("{instance} {observer}")
}

impl Stated {
    fn of(instance: &Arc<InstanceView>, knows: bool) -> Self {
        let state = if knows { State::of(instance.verdict) } else { State::Absent };
        let vote = |observer: &ObserverView| {
            let vote = observer.observation.as_ref().filter(|_| knows && observer.heard);
            vote.map(|observation| (observer.agent, State::voted(&observation.vote)))
        };
        let votes = instance.observers.iter().filter_map(vote).collect();
        Self { seen: Arc::clone(instance), knows, state, votes }
    }

    /// Nothing is known of it any more.
    fn gone(&self) -> Self {
        Self { seen: Arc::clone(&self.seen), knows: false, state: State::Absent, votes: BTreeMap::new() }
    }

    /// What to note that was not so before.
    fn differences(&self, before: Option<&Self>, now: UnixMs, changed: &mut Vec<(String, Moment)>) {
        let id = &self.seen.instance;
        if before.is_none_or(|before| before.state != self.state) {
            let class = (self.state == State::Down).then(|| self.seen.class.as_str().to_owned());
            changed.push((id.to_string(), Moment { at: now, state: self.state, class }));
        }
        let before = before.map(|before| &before.votes);
        for (observer, state) in &self.votes {
            if before.and_then(|votes| votes.get(observer)) != Some(state) {
                changed.push((voter(id, *observer), Moment { at: now, state: *state, class: None }));
            }
        }
        let silent = before.into_iter().flat_map(BTreeMap::keys).filter(|observer| !self.votes.contains_key(observer));
        changed.extend(
            silent.map(|observer| (voter(id, *observer), Moment { at: now, state: State::Absent, class: None })),
        );
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;

//! What has been: this agent's own probes in numbers, and the verdicts it stated, over months, in an embedded store of bounded size and age.
//!
//! Probes are counted in buckets of five minutes and of an hour. Of verdicts only changes are kept; the time in which the agent was cut off or
//! did not run is marked as absent, and is charged to nobody. What was not yet written when the process is killed, a second at most, is lost.

pub mod bucket;
mod store;
pub mod timeline;

use crate::agent::clock::wall;
use crate::agent::published::Published;
use crate::metrics::Metrics;
use bucket::{Bucket, Width};
use quorate_core::{InstanceId, Outcome, UnixMs};
use quorate_mesh::MeshView;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::Store;
use timeline::{Moment, State};

/// How often is written what is new.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Buckets and changes that may wait to be written; more are dropped and counted.
const MAX_PENDING: usize = 20_000;
/// How long everything is kept.
pub const MAX_AGE: Duration = Duration::from_secs(91 * 24 * 3600);

#[derive(Debug, Default)]
struct Pending {
    buckets: BTreeMap<(Width, String, u64), Bucket>,
    moments: Vec<(String, Moment)>,
}

/// The history of one agent.
#[derive(Debug)]
pub struct History {
    store: Store,
    pending: Mutex<Pending>,
    stated: Mutex<BTreeMap<InstanceId, State>>,
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

    /// What the agent states now. While it is not quorate it can tell nothing.
    pub fn observe(&self, view: &MeshView, now: UnixMs) {
        let mut stated = self.stated.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Vec::new();
        let shown = view.instances.values().filter(|instance| instance.instance.host_of().is_none());
        let mut seen = BTreeSet::new();
        for instance in shown {
            let state = if view.quorate && view.settled { State::of(instance.verdict) } else { State::Absent };
            seen.insert(instance.instance.clone());
            if stated.get(&instance.instance) != Some(&state) {
                stated.insert(instance.instance.clone(), state);
                let class = (state == State::Down).then(|| instance.class.as_str().to_owned());
                changed.push((instance.instance.to_string(), Moment { at: now, state, class }));
            }
        }
        stated.retain(|id, _| {
            let kept = seen.contains(id);
            if !kept {
                changed.push((id.to_string(), Moment { at: now, state: State::Absent, class: None }));
            }
            kept
        });
        let mut pending = self.pending();
        let room = MAX_PENDING.saturating_sub(pending.moments.len());
        changed.iter().skip(room).for_each(|_| self.metrics.history_failed());
        pending.moments.extend(changed.into_iter().take(room));
    }

    /// Writes what is new.
    fn write(&self, now: UnixMs) {
        let taken = std::mem::take(&mut *self.pending());
        if let Err(error) = self.store.write(&taken.buckets, &taken.moments, now) {
            tracing::warn!(error = format!("{error:#}"), "a second of history could not be written");
            self.metrics.history_failed();
        }
        self.metrics.history_bytes(self.store.bytes());
    }

    /// The probes of an instance within a time, together.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn probes(&self, instance: &InstanceId, from: UnixMs, to: UnixMs) -> anyhow::Result<Bucket> {
        self.store.buckets(instance.as_str(), from, to)
    }

    /// The states of an instance within a time, the one at its beginning first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn moments(&self, instance: &InstanceId, from: UnixMs, to: UnixMs) -> anyhow::Result<Vec<Moment>> {
        self.store.moments(instance.as_str(), from, to)
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;

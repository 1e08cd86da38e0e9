//! How much probing an agent does at once, and the gate that holds probes back.
//!
//! The defaults are those of the session in the health-monitoring guide: 100 connections in all, 20 to one host, names kept for 300 s,
//! idle connections for 30 s. A probe takes its host's permit before the global one, so that probes queued for a slow host do not use
//! up the permits of all others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits of one [`Prober`](crate::Prober).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Probes in flight at most; at least 1.
    pub max_concurrent: usize,
    /// Probes in flight at most to one host, whatever the port; at least 1. A redirect to another host is not counted again.
    pub max_per_host: usize,
    /// How long a resolved name is believed. A failing look-up is never kept, and a probe that is refused or hears nothing
    /// forgets the name.
    pub dns_cache_ttl: Duration,
    /// How long an idle connection is kept for a check with `reuse_connection`.
    pub keepalive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent: 100,
            max_per_host: 20,
            dns_cache_ttl: Duration::from_secs(300),
            keepalive: Duration::from_secs(30),
        }
    }
}

type Hosts = Mutex<HashMap<String, Arc<Semaphore>>>;

/// Holds probes back while too many are in flight.
#[derive(Debug)]
pub(crate) struct Gate {
    all: Arc<Semaphore>,
    per_host: usize,
    hosts: Arc<Hosts>,
}

/// The right to probe; given back when dropped. The fields are dropped in this order: the host's entry goes last.
#[derive(Debug)]
pub(crate) struct Permit {
    _all: OwnedSemaphorePermit,
    _host: OwnedSemaphorePermit,
    _entry: HostEntry,
}

impl Gate {
    pub(crate) fn new(limits: &Limits) -> Self {
        let permits = |n: usize| n.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(permits(limits.max_concurrent))),
            per_host: permits(limits.max_per_host),
            hosts: Arc::default(),
        }
    }

    /// Waits for a permit. `None` only if the gate was closed, which nothing does.
    pub(crate) async fn enter(&self, host: &str) -> Option<Permit> {
        let entry = self.entry(host);
        let host = Arc::clone(&entry.semaphore).acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Permit { _all: all, _host: host, _entry: entry })
    }

    fn entry(&self, host: &str) -> HostEntry {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let semaphore = hosts.entry(host.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.per_host)));
        HostEntry { host: host.to_owned(), semaphore: Arc::clone(semaphore), hosts: Arc::clone(&self.hosts) }
    }

    /// Hosts with a probe in flight or waiting.
    #[cfg(test)]
    pub(crate) fn hosts(&self) -> usize {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// One probe's share of its host's semaphore; the last one takes the semaphore out of the map.
#[derive(Debug)]
struct HostEntry {
    host: String,
    semaphore: Arc<Semaphore>,
    hosts: Arc<Hosts>,
}

impl Drop for HostEntry {
    fn drop(&mut self) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        // Two owners are left: the map and this entry. New ones are made only under the lock held here.
        if Arc::strong_count(&self.semaphore) <= 2 {
            hosts.remove(&self.host);
        }
    }
}

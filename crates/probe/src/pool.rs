//! Idle connections of checks with `reuse_connection`, few and not for long.

use crate::link::Link;
use crate::request::Endpoint;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Idle connections to one endpoint at most.
const MAX_PER_ENDPOINT: usize = 2;

type Idle = HashMap<Endpoint, Vec<(Instant, Link)>>;

/// The idle connections. Closed ones leave when next looked for, expired ones when anything is probed.
pub(crate) struct Pool {
    keepalive: Duration,
    max: usize,
    idle: Mutex<Idle>,
}

impl Pool {
    /// Keeps `max` connections at most, each for `keepalive`.
    pub(crate) fn new(keepalive: Duration, max: usize) -> Self {
        Self { keepalive, max, idle: Mutex::default() }
    }

    /// A live connection to `endpoint`, if one was kept that may be used for this target.
    pub(crate) async fn take(&self, endpoint: &Endpoint, may_use: impl Fn(&Link) -> bool) -> Option<Link> {
        loop {
            let mut link = self.pop(endpoint, &may_use)?;
            if link.is_alive().await {
                return Some(link);
            }
        }
    }

    fn pop(&self, endpoint: &Endpoint, may_use: impl Fn(&Link) -> bool) -> Option<Link> {
        let mut idle = self.lock();
        let links = idle.get_mut(endpoint)?;
        let link = links.pop_if(|(_, link)| may_use(link)).filter(|(since, _)| since.elapsed() < self.keepalive);
        if links.is_empty() {
            idle.remove(endpoint);
        }
        link.map(|(_, link)| link)
    }

    /// Keeps an idle connection, if there is room.
    pub(crate) fn put(&self, endpoint: Endpoint, link: Link) {
        self.sweep();
        let mut idle = self.lock();
        let total: usize = idle.values().map(Vec::len).sum();
        let links = idle.get(&endpoint).map_or(0, Vec::len);
        if total < self.max && links < MAX_PER_ENDPOINT {
            idle.entry(endpoint).or_default().push((Instant::now(), link));
        }
    }

    /// Closes what has been idle for too long.
    pub(crate) fn sweep(&self) {
        self.lock().retain(|_, links| {
            links.retain(|(since, _)| since.elapsed() < self.keepalive);
            !links.is_empty()
        });
    }

    /// Connections kept now.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

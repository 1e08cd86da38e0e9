//! From a host name to one address, with a small cache of what was found.
//!
//! The look-up is the operating system's (`getaddrinfo`), so it honours the hosts file and the search list. It blocks a thread and
//! cannot be called off, so each runs in a task of its own that outlives a probe which has lost patience; the number of such tasks is
//! bounded, and a late answer still fills the cache.

use crate::failure::Step;
use crate::stats::{Counters, count};
use quorate_core::{Cause, Phase, ProbeFailure};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Names kept at most.
pub(crate) const MAX_NAMES: usize = 1024;
/// Look-ups running at most; each holds a thread.
const MAX_LOOKUPS: usize = 32;

type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;
/// How names are looked up; tests bring their own.
pub(crate) type Lookup = Arc<dyn Fn(String) -> Answer + Send + Sync>;

/// Looks names up in the operating system's way.
pub(crate) fn system() -> Lookup {
    Arc::new(|host| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.map(|socket| socket.ip()).collect())
        })
    })
}

type Cache = Mutex<HashMap<String, (Instant, IpAddr)>>;

/// Looks names up and remembers what it found.
pub(crate) struct Resolver {
    lookup: Lookup,
    ttl: Duration,
    cache: Arc<Cache>,
    slots: Arc<Semaphore>,
}

impl Resolver {
    pub(crate) fn new(lookup: Lookup, ttl: Duration) -> Self {
        Self { lookup, ttl, cache: Arc::default(), slots: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }

    /// The first address of `host`, in the resolver's order.
    pub(crate) async fn resolve(&self, host: &str, counters: &Counters) -> Step<IpAddr> {
        if let Some(ip) = self.cached(host) {
            count(&counters.dns_cache_hits);
            return Ok(ip);
        }
        count(&counters.dns_lookups);
        let failed = |cause, text: String| Err(ProbeFailure::new(Phase::Resolve, cause, text));
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
            return failed(Cause::Local, "no look-up could be started".to_owned());
        };
        let (asking, cache, name) = ((self.lookup)(host.to_owned()), Arc::clone(&self.cache), host.to_owned());
        let task = tokio::spawn(async move {
            let found = asking.await;
            drop(slot);
            let first = found?.into_iter().next();
            if let Some(ip) = first {
                keep(&cache, name, ip);
            }
            Ok::<_, io::Error>(first)
        });
        match task.await {
            Ok(Ok(Some(ip))) => Ok(ip),
            Ok(Ok(None)) => failed(Cause::NameNotFound, format!("Name look-up failed: {host} has no address")),
            Ok(Err(error)) => failed(Cause::NameNotFound, format!("Name look-up failed: {error}")),
            Err(_) => failed(Cause::Local, "the look-up was interrupted".to_owned()),
        }
    }

    fn cached(&self, host: &str) -> Option<IpAddr> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, ip) = *cache.get(host)?;
        if since.elapsed() < self.ttl {
            return Some(ip);
        }
        cache.remove(host);
        None
    }

    /// Drops a name at whose address nobody was met: the service may have moved.
    pub(crate) fn forget(&self, host: &str) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).remove(host);
    }
}

fn keep(cache: &Cache, name: String, ip: IpAddr) {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= MAX_NAMES && !cache.contains_key(&name) {
        let oldest = cache.iter().min_by_key(|(_, (since, _))| *since).map(|(name, _)| name.clone());
        if let Some(oldest) = oldest {
            cache.remove(&oldest);
        }
    }
    cache.insert(name, (Instant::now(), ip));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn counting(answers: impl Fn(u64) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> (Lookup, Arc<AtomicU64>) {
        let asked = Arc::new(AtomicU64::new(0));
        let (count, answers) = (Arc::clone(&asked), Arc::new(answers));
        let lookup: Lookup = Arc::new(move |_| {
            let (n, answers) = (count.fetch_add(1, Ordering::SeqCst), Arc::clone(&answers));
            Box::pin(async move { answers(n) })
        });
        (lookup, asked)
    }

    fn one() -> Vec<IpAddr> {
        vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()]
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_asked_again_only_after_its_time() {
        let (lookup, asked) = counting(|_| Ok(one()));
        let resolver = Resolver::new(lookup, Duration::from_secs(300));
        let counters = Counters::default();
        for _ in 0..3 {
            let ip = resolver.resolve("web", &counters).await.unwrap();
            assert_eq!(ip, one()[0], "the first address, in the resolver's order");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        tokio::time::advance(Duration::from_secs(301)).await;
        resolver.resolve("web", &counters).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        resolver.forget("web");
        resolver.resolve("web", &counters).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        assert_eq!((counters.snapshot().dns_cache_hits, counters.snapshot().dns_lookups), (2, 3));
    }

    #[tokio::test]
    async fn failures_are_typed_and_not_kept() {
        let (lookup, asked) = counting(|n| if n == 0 { Err(io::Error::other("no such name")) } else { Ok(Vec::new()) });
        let resolver = Resolver::new(lookup, Duration::from_secs(300));
        for _ in 0..2 {
            let failure = resolver.resolve("web", &Counters::default()).await.unwrap_err();
            assert_eq!((failure.phase, failure.cause), (Phase::Resolve, Cause::NameNotFound), "{}", failure.detail);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn the_cache_is_bounded() {
        let (lookup, _) = counting(|_| Ok(one()));
        let resolver = Resolver::new(lookup, Duration::from_secs(300));
        for i in 0..MAX_NAMES + 10 {
            resolver.resolve(&format!("web-{i}"), &Counters::default()).await.unwrap();
        }
        assert_eq!(resolver.cache.lock().unwrap().len(), MAX_NAMES);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_comes_too_late_is_kept_for_the_next_probe() {
        let lookup: Lookup = Arc::new(|_| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Ok(one())
            })
        });
        let resolver = Resolver::new(lookup, Duration::from_secs(300));
        let counters = Counters::default();
        assert!(tokio::time::timeout(Duration::from_secs(1), resolver.resolve("web", &counters)).await.is_err());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(resolver.cached("web"), Some(one()[0]));
    }
}

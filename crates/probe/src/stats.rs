//! Counters of a prober, for metrics and diagnosis.

use quorate_core::{Cause, Outcome, Phase, ProbeResult};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A snapshot of a prober's counters since it was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProbeStats {
    /// Probes running now.
    pub in_flight: u64,
    /// Probes waiting for a permit now.
    pub waiting: u64,
    /// Probes that ended with a pass or a warning.
    pub passed: u64,
    /// Probes that ended with a failure.
    pub failed: u64,
    /// Attempts made, retries included.
    pub attempts: u64,
    /// Probes that had to wait for a permit.
    pub waited: u64,
    /// Time spent waiting for permits, all probes together; it counts against no probe's timeout.
    pub waited_total: Duration,
    /// Probes given up because no permit came within their timeout.
    pub limit_reached: u64,
    /// Failures whose cause was the deadline.
    pub timeouts: u64,
    /// Failures by the phase they reached, in the order of [`Phase::ALL`].
    pub failures_by_phase: Vec<(Phase, u64)>,
    /// Names found in the cache.
    pub dns_cache_hits: u64,
    /// Names asked of the resolver.
    pub dns_lookups: u64,
    /// Requests sent over a kept connection.
    pub reused_connections: u64,
}

/// The live counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    in_flight: AtomicU64,
    waiting: AtomicU64,
    passed: AtomicU64,
    failed: AtomicU64,
    attempts: AtomicU64,
    waited: AtomicU64,
    waited_micros: AtomicU64,
    limit_reached: AtomicU64,
    timeouts: AtomicU64,
    by_phase: [AtomicU64; Phase::ALL.len()],
    pub(crate) dns_cache_hits: AtomicU64,
    pub(crate) dns_lookups: AtomicU64,
    pub(crate) reused_connections: AtomicU64,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One unit of a gauge, taken back when dropped: a cancelled probe is no longer in flight.
pub(crate) struct Held<'a>(&'a AtomicU64);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn hold(gauge: &AtomicU64) -> Held<'_> {
    count(gauge);
    Held(gauge)
}

impl Counters {
    pub(crate) fn running(&self) -> Held<'_> {
        hold(&self.in_flight)
    }

    pub(crate) fn waiting(&self) -> Held<'_> {
        hold(&self.waiting)
    }

    /// A permit came, or none did, after `span`.
    pub(crate) fn waited(&self, span: Duration, given: bool) {
        count(&self.waited);
        self.waited_micros.fetch_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if !given {
            count(&self.limit_reached);
        }
    }

    /// A probe ended; `attempts` were really made.
    pub(crate) fn ended(&self, outcome: &Outcome, attempts: u32) {
        self.attempts.fetch_add(u64::from(attempts), Ordering::Relaxed);
        match &outcome.result {
            ProbeResult::Pass | ProbeResult::Protected(_) | ProbeResult::Warn(_) => count(&self.passed),
            ProbeResult::Fail(failure) => {
                count(&self.failed);
                if failure.cause == Cause::Timeout {
                    count(&self.timeouts);
                }
                for (phase, counter) in Phase::ALL.iter().zip(&self.by_phase) {
                    if *phase == failure.phase {
                        count(counter);
                    }
                }
            }
        }
    }

    pub(crate) fn snapshot(&self) -> ProbeStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProbeStats {
            in_flight: read(&self.in_flight),
            waiting: read(&self.waiting),
            passed: read(&self.passed),
            failed: read(&self.failed),
            attempts: read(&self.attempts),
            waited: read(&self.waited),
            waited_total: Duration::from_micros(read(&self.waited_micros)),
            limit_reached: read(&self.limit_reached),
            timeouts: read(&self.timeouts),
            failures_by_phase: Phase::ALL.iter().copied().zip(self.by_phase.iter().map(read)).collect(),
            dns_cache_hits: read(&self.dns_cache_hits),
            dns_lookups: read(&self.dns_lookups),
            reused_connections: read(&self.reused_connections),
        }
    }
}

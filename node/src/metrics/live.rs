//! What counts as it happens.

use super::{CATALOGUE, Described};
use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};
use quorate_core::{Outcome, ProbeResult};
use quorate_mesh::EventKind;
use std::time::Duration;

/// Counters and histograms of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    probe_duration: HistogramVec,
    probe_results: IntCounterVec,
    probe_errors: IntCounterVec,
    probe_panics: IntCounterVec,
    timer_lateness: HistogramVec,
    persist_duration: HistogramVec,
    persist_failures: IntCounterVec,
    persisted_bytes: IntGauge,
    events: IntCounterVec,
    verdict_changes: IntCounterVec,
    api_requests: IntCounterVec,
    api_event_streams: IntGauge,
}

/// From half a millisecond, a probe within a rack, to the longest timeouts.
const PROBE_SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// From what the scheduler does by itself to a stall.
const LATE_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// From a fast disk to one that fails.
const PERSIST_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

fn described(name: &str) -> prometheus::Result<&'static Described> {
    let found = CATALOGUE.iter().find(|metric| metric.name == name);
    found.ok_or_else(|| prometheus::Error::Msg(format!("{name} is not in the catalogue")))
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// When the catalogue holds a name twice, or one that Prometheus does not allow.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counter = |name| {
            let metric = described(name)?;
            register(&registry, IntCounterVec::new(Opts::new(metric.name, metric.help), metric.labels)?)
        };
        let histogram = |name, buckets: &[f64]| {
            let metric = described(name)?;
            let opts = HistogramOpts::new(metric.name, metric.help).buckets(buckets.to_vec());
            register(&registry, HistogramVec::new(opts, metric.labels)?)
        };
        let gauge = |name| {
            let metric = described(name)?;
            register(&registry, IntGauge::with_opts(Opts::new(metric.name, metric.help))?)
        };
        let metrics = Self {
            probe_duration: histogram("quorate_probe_duration_seconds", PROBE_SECONDS)?,
            probe_results: counter("quorate_probe_results_total")?,
            probe_errors: counter("quorate_probe_errors_total")?,
            probe_panics: counter("quorate_probe_panics_total")?,
            timer_lateness: histogram("quorate_timer_lateness_seconds", LATE_SECONDS)?,
            persist_duration: histogram("quorate_persist_duration_seconds", PERSIST_SECONDS)?,
            persist_failures: counter("quorate_persist_failures_total")?,
            persisted_bytes: gauge("quorate_persisted_bytes")?,
            events: counter("quorate_events_total")?,
            verdict_changes: counter("quorate_verdict_changes_total")?,
            api_requests: counter("quorate_api_requests_total")?,
            api_event_streams: gauge("quorate_api_event_streams")?,
            registry: registry.clone(),
        };
        // Series without labels are there from the start.
        for counter in [&metrics.probe_panics, &metrics.persist_failures] {
            counter.with_label_values::<&str>(&[]).inc_by(0);
        }
        Ok(metrics)
    }

    /// What holds them.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A probe by `check` ended.
    pub fn probe_ended(&self, check: &str, outcome: &Outcome) {
        let result = match &outcome.result {
            ProbeResult::Pass => "pass",
            ProbeResult::Warn(_) => "warn",
            ProbeResult::Fail(failure) => {
                self.probe_errors.with_label_values(&[failure.category().as_str()]).inc();
                "fail"
            }
        };
        self.probe_results.with_label_values(&[check, result]).inc();
        self.probe_duration.with_label_values(&[check]).observe(outcome.timings.total.as_secs_f64());
    }

    /// A probe broke off.
    pub fn probe_panicked(&self) {
        self.probe_panics.with_label_values::<&str>(&[]).inc();
    }

    /// A timer of the engine was late; zero is not.
    pub fn timer_late(&self, late: Duration) {
        if !late.is_zero() {
            self.timer_lateness.with_label_values::<&str>(&[]).observe(late.as_secs_f64());
        }
    }

    /// The state was stored, or could not be.
    pub fn persisted(&self, took: Duration, bytes: usize, well: bool) {
        self.persist_duration.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
        if well {
            self.persisted_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        } else {
            self.persist_failures.with_label_values::<&str>(&[]).inc();
        }
    }

    /// Something happened.
    pub fn event(&self, kind: &EventKind) {
        let word = match kind {
            EventKind::Verdicts { changes, .. } => {
                for change in changes {
                    self.verdict_changes.with_label_values(&[change.to.as_str()]).inc();
                }
                "verdicts"
            }
            EventKind::Member { .. } => "member",
            EventKind::Registered { .. } => "registered",
            EventKind::Withdrawn { .. } => "withdrawn",
            EventKind::Vote { .. } => "vote",
            EventKind::Quorate { .. } => "quorate",
            EventKind::Stalled { .. } => "stalled",
            EventKind::IdentityConflict { .. } => "identity_conflict",
        };
        self.events.with_label_values(&[word]).inc();
    }

    /// A request was answered; `path` is the route, never what was asked.
    pub fn request(&self, path: &str, code: u16) {
        self.api_requests.with_label_values(&[path, &code.to_string()]).inc();
    }

    /// A stream of events began, or ended.
    pub fn event_streams(&self, change: i64) {
        self.api_event_streams.add(change);
    }
}

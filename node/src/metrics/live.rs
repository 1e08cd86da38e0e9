//! What counts as it happens: here what the engine and the agent itself do; what probes and calls do in [`probes`], and the API in [`api`].

mod api;
mod probes;

pub use probes::{CallEnd, PROBES};

use super::custom::Custom;
use super::{CATALOGUE, Described};
use crate::access::tokens::TokenFault;
use crate::api::limits::Limit;
use crate::export::Output;
use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use quorate_core::UnixMs;
use quorate_mesh::EventKind;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Counters and histograms of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    custom: Custom,
    probe_duration: HistogramVec,
    probe_first_byte: HistogramVec,
    probe_results: IntCounterVec,
    probe_errors: IntCounterVec,
    job_duration: HistogramVec,
    jobs: IntCounterVec,
    jobs_failed: IntCounterVec,
    call_duration: HistogramVec,
    calls: IntCounterVec,
    call_errors: IntCounterVec,
    rejects: IntCounterVec,
    /// Pairs of service and operation that callers have named.
    named: Mutex<BTreeSet<(String, String)>>,
    /// Services that have series of their probes.
    probed: Mutex<BTreeSet<String>>,
    probe_panics: IntCounterVec,
    engine_turns: HistogramVec,
    exported: IntCounterVec,
    export_dropped: IntCounterVec,
    /// By output: was the last that it had not handed over?
    exports_failing: [AtomicBool; Output::ALL.len()],
    probe_lag: HistogramVec,
    timer_lateness: HistogramVec,
    persist_duration: HistogramVec,
    persist_failures: IntCounterVec,
    persisted_bytes: IntGauge,
    recording: IntGauge,
    recorded_bytes: IntGauge,
    recording_failures: IntCounterVec,
    events: IntCounterVec,
    failure_events: IntCounterVec,
    failures_untold: IntCounterVec,
    verdict_changes: IntCounterVec,
    http_duration: HistogramVec,
    http_requests: IntCounterVec,
    http_errors: IntCounterVec,
    http_in_flight: IntGaugeVec,
    sse_connections: IntCounterVec,
    sse_active: IntGauge,
    sse_events: IntCounterVec,
    sse_first_event: HistogramVec,
    api_waiting: IntGauge,
    api_connections: IntGauge,
    api_limits_hit: IntCounterVec,
    agent_checks: IntCounterVec,
    api_tls_failures: IntCounterVec,
    auth_requests: IntCounterVec,
    auth_failures: IntCounterVec,
    ratelimit_requests: IntCounterVec,
    ratelimit_rejected: IntCounterVec,
    dns_answers: IntCounterVec,
    history_bytes: IntGauge,
    history_failures: IntCounterVec,
    reload_successful: IntGauge,
    reload_timestamp: IntGauge,
}

/// From an answer that was at hand to the longest one.
const ANSWER_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

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
        let gauges = |name| {
            let metric = described(name)?;
            register(&registry, IntGaugeVec::new(Opts::new(metric.name, metric.help), metric.labels)?)
        };
        let metrics = Self {
            probe_duration: histogram("health_check_response_time_seconds", PROBE_SECONDS)?,
            probe_first_byte: histogram("quorate_probe_first_byte_seconds", PROBE_SECONDS)?,
            probe_results: counter("quorate_probe_results_total")?,
            probe_errors: counter("health_check_errors_total")?,
            job_duration: histogram("queue_job_duration_seconds", PROBE_SECONDS)?,
            jobs: counter("queue_jobs_total")?,
            jobs_failed: counter("queue_jobs_failed_total")?,
            call_duration: histogram("external_call_duration_seconds", PROBE_SECONDS)?,
            calls: counter("external_calls_total")?,
            call_errors: counter("external_call_errors_total")?,
            rejects: counter("circuit_breaker_rejects_total")?,
            named: Mutex::default(),
            probed: Mutex::default(),
            probe_panics: counter("quorate_probe_panics_total")?,
            engine_turns: histogram("quorate_engine_turn_seconds", &prometheus::exponential_buckets(1e-5, 1.3, 40)?)?,
            exported: counter("quorate_exported_total")?,
            export_dropped: counter("quorate_export_dropped_total")?,
            exports_failing: Default::default(),
            probe_lag: histogram("quorate_probe_lag_seconds", LATE_SECONDS)?,
            timer_lateness: histogram("quorate_timer_lateness_seconds", LATE_SECONDS)?,
            persist_duration: histogram("quorate_persist_duration_seconds", PERSIST_SECONDS)?,
            persist_failures: counter("quorate_persist_failures_total")?,
            persisted_bytes: gauge("quorate_persisted_bytes")?,
            recording: gauge("quorate_recording")?,
            recorded_bytes: gauge("quorate_recorded_bytes")?,
            recording_failures: counter("quorate_recording_failures_total")?,
            events: counter("quorate_events_total")?,
            failure_events: counter("quorate_failure_events_total")?,
            failures_untold: counter("quorate_failure_events_untold_total")?,
            verdict_changes: counter("quorate_verdict_changes_total")?,
            http_duration: histogram("http_request_duration_seconds", ANSWER_SECONDS)?,
            http_requests: counter("http_requests_total")?,
            http_errors: counter("http_request_errors_total")?,
            http_in_flight: gauges("http_requests_in_flight")?,
            sse_connections: counter("sse_connections_total")?,
            sse_active: gauge("sse_connections_active")?,
            sse_events: counter("sse_events_sent_total")?,
            sse_first_event: histogram("sse_first_event_latency_seconds", ANSWER_SECONDS)?,
            api_waiting: gauge("quorate_api_waiting")?,
            api_connections: gauge("quorate_api_connections")?,
            api_limits_hit: counter("quorate_api_limits_hit_total")?,
            agent_checks: counter("quorate_agent_checks_total")?,
            api_tls_failures: counter("quorate_api_tls_failures_total")?,
            auth_requests: counter("auth_requests_total")?,
            auth_failures: counter("auth_failures_total")?,
            ratelimit_requests: counter("ratelimit_requests_total")?,
            ratelimit_rejected: counter("ratelimit_rejected_total")?,
            dns_answers: counter("quorate_dns_answers_total")?,
            history_bytes: gauge("quorate_history_bytes")?,
            history_failures: counter("quorate_history_failures_total")?,
            reload_successful: gauge("quorate_config_last_reload_successful")?,
            reload_timestamp: gauge("quorate_config_last_reload_success_timestamp_seconds")?,
            custom: Custom::new(registry.clone()),
            registry: registry.clone(),
        };
        // Series without labels are there from the start.
        for counter in [
            &metrics.probe_panics,
            &metrics.persist_failures,
            &metrics.recording_failures,
            &metrics.sse_connections,
            &metrics.api_tls_failures,
            &metrics.auth_requests,
            &metrics.history_failures,
            &metrics.failures_untold,
            &metrics.ratelimit_requests,
            &metrics.ratelimit_rejected,
        ] {
            counter.with_label_values::<&str>(&[]).inc_by(0);
        }
        for fault in TokenFault::ALL {
            metrics.auth_failures.with_label_values(&[fault.as_str()]).inc_by(0);
        }
        for limit in Limit::ALL {
            metrics.api_limits_hit.with_label_values(&[limit.as_str()]).inc_by(0);
        }
        Ok(metrics)
    }

    /// What holds them.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The counters of others.
    pub fn custom(&self) -> &Custom {
        &self.custom
    }

    /// An output has handed over so many values or spans.
    #[cfg_attr(not(any(feature = "otlp", feature = "statsd")), allow(dead_code, reason = "there is no output"))]
    pub fn exported(&self, output: Output, count: usize) {
        if count > 0 {
            self.exported.with_label_values(&[output.as_str()]).inc_by(count as u64);
            self.exports_failing[output as usize].store(false, Ordering::Relaxed);
        }
    }

    /// An output could not hand over so many.
    pub fn export_dropped(&self, output: Output, count: usize) {
        if count > 0 {
            self.export_dropped.with_label_values(&[output.as_str()]).inc_by(count as u64);
            self.exports_failing[output as usize].store(true, Ordering::Relaxed);
        }
    }

    /// Could it not hand over what it had last?
    pub fn is_export_failing(&self, output: Output) -> bool {
        self.exports_failing[output as usize].load(Ordering::Relaxed)
    }

    /// How many could not be handed over.
    #[cfg(test)]
    pub fn exports_dropped(&self, output: Output) -> u64 {
        self.export_dropped.with_label_values(&[output.as_str()]).get()
    }

    /// The engine's loop has turned.
    pub fn engine_turned(&self, took: Duration) {
        self.engine_turns.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
    }

    /// A probe begins, so long after it was due.
    pub fn probe_late(&self, late: Duration) {
        self.probe_lag.with_label_values::<&str>(&[]).observe(late.as_secs_f64());
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
            EventKind::Roster { .. } => "roster",
            EventKind::Breaker { .. } => "breaker",
            EventKind::Override { .. } => "override",
            EventKind::Stalled { .. } => "stalled",
            EventKind::IdentityConflict { .. } => "identity_conflict",
        };
        self.events.with_label_values(&[word]).inc();
    }

    /// A recording of the engine's inputs began, or ended.
    pub fn recording(&self, runs: bool) {
        self.recording.set(i64::from(runs));
    }

    /// The recording has so many bytes.
    pub fn recorded(&self, bytes: u64) {
        self.recorded_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// The recording could not be begun, or not continued.
    pub fn recording_failed(&self) {
        self.recording.set(0);
        self.recording_failures.with_label_values::<&str>(&[]).inc();
    }

    /// The history's file has so many bytes.
    pub fn history_bytes(&self, bytes: u64) {
        self.history_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Something of the history was lost.
    pub fn history_failed(&self) {
        self.history_failures.with_label_values::<&str>(&[]).inc();
    }

    /// What can be read anew was, at this time, or could not be.
    pub fn reloaded(&self, at: Option<UnixMs>) {
        self.reload_successful.set(i64::from(at.is_some()));
        if let Some(at) = at {
            self.reload_timestamp.set(i64::try_from(at.0 / 1000).unwrap_or(i64::MAX));
        }
    }
}

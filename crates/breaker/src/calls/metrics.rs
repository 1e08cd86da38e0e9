//! What calls and breakers tell Prometheus, under the names that the resilience guide gave them.

use super::name_pair::{NamePair, TwoNames};
use super::registry::{Inner, InstanceState};
use crate::machine::{Event, State};
use dashmap::DashSet;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Most pairs of service and operation that have series of their own; further operations are told together, as `other`.
pub const LABELS_MAX: usize = 2_000;

/// Seconds: from a quick answer in a data centre to the guide's timeout of 30 s.
const BUCKETS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

const STATE: &str = "circuit_breaker_state";
const STATE_HELP: &str = "0 closed, 1 half-open, 2 open: the best of the service's instances.";
const INSTANCE_STATE: &str = "circuit_breaker_instance_state";
const INSTANCE_STATE_HELP: &str = "0 closed, 1 half-open, 2 open.";

/// Counters and histograms, counted as things happen.
pub(super) struct Metrics {
    duration: HistogramVec,
    calls: IntCounterVec,
    errors: IntCounterVec,
    rejects: IntCounterVec,
    transitions: IntCounterVec,
    pub(super) unguarded: IntCounter,
    operations: DashSet<NamePair>,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name, help, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            prometheus::Result::Ok(vec)
        };
        let duration =
            HistogramOpts::new("external_call_duration_seconds", "How long calls took, rejected ones left out.");
        let duration = HistogramVec::new(duration.buckets(BUCKETS.to_vec()), &["service", "operation"])?;
        registry.register(Box::new(duration.clone()))?;
        let unguarded = IntCounter::new(
            "circuit_breaker_unguarded_total",
            "Calls without a breaker, because the registry was full.",
        )?;
        registry.register(Box::new(unguarded.clone()))?;
        Ok(Self {
            duration,
            calls: counter("external_calls_total", "Calls by how they ended.", &["service", "operation", "status"])?,
            errors: counter(
                "external_call_errors_total",
                "Calls that failed or were rejected, by the kind of error.",
                &["service", "operation", "error_type"],
            )?,
            rejects: counter("circuit_breaker_rejects_total", "Calls that a breaker rejected.", &["service"])?,
            transitions: counter(
                "circuit_breaker_transitions_total",
                "Transitions of breakers by where they led and why.",
                &["service", "to", "reason"],
            )?,
            unguarded,
            operations: DashSet::new(),
        })
    }

    pub(super) fn called(&self, service: &str, operation: &str, status: &str, took: Duration) {
        let operation = self.label(service, operation);
        self.duration.with_label_values(&[service, operation]).observe(took.as_secs_f64());
        self.calls.with_label_values(&[service, operation, status]).inc();
    }

    pub(super) fn failed(&self, service: &str, operation: &str, error_type: &str) {
        let operation = self.label(service, operation);
        self.errors.with_label_values(&[service, operation, error_type]).inc();
    }

    /// A call that was not made.
    pub(super) fn rejected(&self, service: &str, operation: &str, why: &str) {
        let operation = self.label(service, operation);
        self.calls.with_label_values(&[service, operation, "rejected"]).inc();
        self.errors.with_label_values(&[service, operation, why]).inc();
    }

    pub(super) fn rejects(&self, service: &str) -> IntCounter {
        self.rejects.with_label_values(&[service])
    }

    pub(super) fn moved(&self, service: &str, to: State, reason: Event) {
        self.transitions.with_label_values(&[service, to.as_str(), reason.as_str()]).inc();
    }

    fn label<'a>(&self, service: &str, operation: &'a str) -> &'a str {
        let pair: &dyn TwoNames = &(service, operation);
        if self.operations.contains(pair) {
            return operation;
        }
        if self.operations.len() >= LABELS_MAX {
            return "other";
        }
        self.operations.insert(NamePair(service.into(), operation.into()));
        operation
    }
}

/// The states, read when Prometheus asks: nobody has to call for a breaker to be shown half-open.
pub(super) struct States {
    registry: Weak<Inner>,
    descriptions: Vec<Desc>,
}

impl States {
    pub(super) fn new(registry: &Arc<Inner>) -> prometheus::Result<Self> {
        let [services, instances] = Self::gauges()?;
        let descriptions = services.desc().into_iter().chain(instances.desc()).cloned().collect();
        Ok(Self { registry: Arc::downgrade(registry), descriptions })
    }

    fn gauges() -> prometheus::Result<[IntGaugeVec; 2]> {
        Ok([
            IntGaugeVec::new(Opts::new(STATE, STATE_HELP), &["service"])?,
            IntGaugeVec::new(Opts::new(INSTANCE_STATE, INSTANCE_STATE_HELP), &["service", "instance_id"])?,
        ])
    }
}

impl Collector for States {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (Some(registry), Ok([services, instances])) = (self.registry.upgrade(), Self::gauges()) else {
            return Vec::new();
        };
        let mut best: BTreeMap<Arc<str>, State> = BTreeMap::new();
        for InstanceState { service, instance, snapshot } in registry.states(None) {
            let state = snapshot.state;
            instances.with_label_values(&[&*service, &*instance]).set(state as i64);
            best.entry(service).and_modify(|best| *best = (*best).min(state)).or_insert(state);
        }
        for (service, state) in best {
            services.with_label_values(&[&*service]).set(state as i64);
        }
        services.collect().into_iter().chain(instances.collect()).collect()
    }
}

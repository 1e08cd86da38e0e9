//! Probes, the failures they show, and the calls of others.

use super::Metrics;
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::proto::LabelPair;
use quorate_core::detection::Severity;
use quorate_core::{FailureType, Outcome, ProbeResult};
use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// It was served.
    Success,
    /// It proves nothing.
    Neutral,
    /// It failed, and how.
    Error(&'static str),
}

/// Most pairs of service and operation that callers may name.
const MAX_NAMED: usize = 2_000;
/// The queue of probes.
pub const PROBES: &str = "probes";
/// What stands for all others.
const OTHER: &str = "other";

impl Metrics {
    /// A probe of an instance of `service` by `check` ended.
    pub fn probe_ended(&self, service: &str, check: &str, outcome: &Outcome) {
        let operation = format!("probe:{check}");
        let result = match &outcome.result {
            ProbeResult::Pass => "pass",
            ProbeResult::Protected(_) => "protected",
            ProbeResult::Warn(_) => "warn",
            ProbeResult::Fail(failure) => {
                let error = failure.category().as_str();
                let code = outcome.status_code.map_or_else(|| "none".to_owned(), |code| code.to_string());
                self.probe_errors.with_label_values(&[service, error, &code]).inc();
                self.call_errors.with_label_values(&[service, &operation, error]).inc();
                "fail"
            }
        };
        self.probe_results.with_label_values(&[check, result]).inc();
        let (success, status) = if result == "fail" { ("false", "error") } else { ("true", "success") };
        let seconds = outcome.timings.total.as_secs_f64();
        self.probe_duration.with_label_values(&[service, check, success]).observe(seconds);
        if let Some(first) = outcome.timings.first_byte {
            self.probe_first_byte.with_label_values(&[check]).observe(first.as_secs_f64());
        }
        self.call_duration.with_label_values(&[service, &operation]).observe(seconds);
        self.calls.with_label_values(&[service, &operation, status]).inc();
        self.job_duration.with_label_values(&[PROBES, check]).observe(seconds);
        // Each is there, at zero, from the first job on: whoever asks how much it grew must not miss the first failure.
        let [completed, failed] = ["completed", "failed"].map(|end| self.jobs.with_label_values(&[PROBES, end]));
        let failed_of_check = self.jobs_failed.with_label_values(&[PROBES, check]);
        if success == "true" {
            completed.inc();
        } else {
            failed.inc();
            failed_of_check.inc();
        }
        self.has_series(service);
    }

    fn has_series(&self, service: &str) {
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        if !probed.contains(service) {
            probed.insert(service.to_owned());
        }
    }

    /// Takes away what was counted of the probes of services that are none of these: whoever registers under ever new names fills no page.
    pub fn keep_services(&self, known: &BTreeSet<&str>) {
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: BTreeSet<String> =
            probed.iter().filter(|service| !known.contains(service.as_str())).cloned().collect();
        probed.retain(|service| !gone.contains(service));
        drop(probed);
        if gone.is_empty() {
            return;
        }
        forget(&self.probe_duration, &gone);
        forget(&self.call_duration, &gone);
        for counter in [&self.probe_errors, &self.calls, &self.call_errors, &self.failure_events] {
            forget(counter, &gone);
        }
    }

    /// How long the jobs of the agent's queues took on the average, if any has ended.
    pub fn average_job_time(&self) -> Option<Duration> {
        let families = self.job_duration.collect();
        let all = families.iter().flat_map(|family| family.get_metric()).map(|metric| metric.get_histogram());
        let (seconds, count) = all.fold((0.0, 0), |(seconds, count), histogram| {
            (seconds + histogram.get_sample_sum(), count + histogram.get_sample_count())
        });
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        (count > 0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or_default() / count)
    }

    /// A probe gave a failure event.
    pub fn failure_event(&self, service: &str, failure: FailureType, severity: Severity) {
        self.failure_events.with_label_values(&[service, failure.as_str(), severity.as_str()]).inc();
        self.has_series(service);
    }

    /// A failure was told as an event, or there were too many.
    pub fn failure_told(&self, told: bool) {
        if told {
            self.events.with_label_values(&["failure"]).inc();
        } else {
            self.failures_untold.with_label_values::<&str>(&[]).inc();
        }
    }

    /// A call that somebody on this host reported has ended. Operations beyond [`MAX_NAMED`] pairs are told together as `other`.
    pub fn call_ended(&self, service: &str, operation: &str, end: CallEnd, took: Option<Duration>) {
        let known = {
            let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
            let pair = (service.to_owned(), operation.to_owned());
            named.contains(&pair) || (named.len() < MAX_NAMED && named.insert(pair))
        };
        let (service, operation) = if known { (service, operation) } else { (OTHER, OTHER) };
        if let Some(took) = took {
            self.call_duration.with_label_values(&[service, operation]).observe(took.as_secs_f64());
        }
        let status = match end {
            CallEnd::Success => "success",
            CallEnd::Neutral => "neutral",
            CallEnd::Error(kind) => {
                self.call_errors.with_label_values(&[service, operation, kind]).inc();
                "error"
            }
        };
        self.calls.with_label_values(&[service, operation, status]).inc();
    }

    /// A call of this host was rejected by its breaker.
    pub fn call_rejected(&self, service: &str) {
        self.rejects.with_label_values(&[service]).inc();
    }

    /// A probe broke off.
    pub fn probe_panicked(&self) {
        self.probe_panics.with_label_values::<&str>(&[]).inc();
    }
}

/// Takes away the series of those services, which the first label names. What callers have reported stays: that has a limit of its own.
fn forget<T: MetricVecBuilder>(series: &MetricVec<T>, gone: &BTreeSet<String>) {
    let order: Vec<String> = series.desc().iter().flat_map(|desc| desc.variable_labels.clone()).collect();
    for family in series.collect() {
        for metric in family.get_metric() {
            let labels = metric.get_label();
            let of = |name: &str| labels.iter().find(|label| label.name() == name).map_or("", LabelPair::value);
            let values: Vec<&str> = order.iter().map(|name| of(name)).collect();
            let reported = order.iter().any(|name| name == "operation") && !of("operation").starts_with("probe:");
            if !reported && values.first().is_some_and(|service| gone.contains(*service)) {
                // Whoever was quicker has done it.
                let _ = series.remove_label_values(&values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::TextEncoder;

    #[test]
    fn first_bytes_are_timed_where_a_check_has_them() {
        let metrics = Metrics::new().unwrap();
        let ms = Duration::from_millis;
        let mut outcome = Outcome::pass(ms(40));
        outcome.timings.first_byte = Some(ms(30));
        metrics.probe_ended("web", "http", &outcome);
        outcome.timings.first_byte = None;
        metrics.probe_ended("web", "icmp", &outcome);
        let text = TextEncoder::new().encode_to_string(&metrics.registry().gather()).unwrap();
        for line in [
            "quorate_probe_first_byte_seconds_bucket{check=\"http\",le=\"0.025\"} 0",
            "quorate_probe_first_byte_seconds_bucket{check=\"http\",le=\"0.05\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("quorate_probe_first_byte_seconds_count{check=\"icmp\"}"));
    }

    #[test]
    fn failed_jobs_are_counted_from_zero() {
        let metrics = Metrics::new().unwrap();
        let told = |line: &str| {
            let text = TextEncoder::new().encode_to_string(&metrics.registry().gather()).unwrap();
            assert!(text.contains(line), "{line}\n{text}");
        };
        metrics.probe_ended("web", "http", &Outcome::pass(Duration::from_millis(1)));
        told("queue_jobs_total{queue=\"probes\",status=\"completed\"} 1\n");
        told("queue_jobs_total{queue=\"probes\",status=\"failed\"} 0\n");
        told("queue_jobs_failed_total{job_name=\"http\",queue=\"probes\"} 0\n");
        let (phase, cause) = (quorate_core::Phase::Connect, quorate_core::Cause::Refused);
        metrics.probe_ended("web", "http", &Outcome::fail(phase, cause, "refused", Duration::from_millis(1)));
        told("queue_jobs_total{queue=\"probes\",status=\"completed\"} 1\n");
        told("queue_jobs_total{queue=\"probes\",status=\"failed\"} 1\n");
        told("queue_jobs_failed_total{job_name=\"http\",queue=\"probes\"} 1\n");
    }

    #[test]
    fn services_that_are_gone_leave_nothing_of_their_probes() {
        let metrics = Metrics::new().unwrap();
        let failed =
            Outcome::fail(quorate_core::Phase::Connect, quorate_core::Cause::Refused, "refused", Duration::ZERO);
        for service in ["web", "once"] {
            metrics.probe_ended(service, "http", &Outcome::pass(Duration::from_millis(1)));
            metrics.probe_ended(service, "http", &failed);
            metrics.failure_event(service, FailureType::PortNotListening, Severity::Low);
            metrics.call_ended(service, "get", CallEnd::Success, Some(Duration::from_millis(1)));
        }
        let page = || TextEncoder::new().encode_to_string(&metrics.registry().gather()).unwrap();
        let of = |service: &str| page().lines().filter(|line| line.contains(&format!("\"{service}\""))).count();
        let all = of("web");
        assert_eq!((all, of("once")), (all, all));
        metrics.keep_services(&BTreeSet::from(["web", "db"]));
        assert_eq!(of("web"), all);
        assert!(
            page().lines().filter(|line| line.contains("\"once\"")).all(|line| line.contains("\"get\"")),
            "{}",
            page()
        );
        // It begins anew when it comes back.
        metrics.probe_ended("once", "http", &failed);
        assert!(page().contains(
            "health_check_errors_total{app_name=\"once\",error_type=\"connection\",status_code=\"none\"} 1\n"
        ));
    }
}

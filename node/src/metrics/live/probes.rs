//! Probes, the failures they show, and the calls of others.

use super::Metrics;
use prometheus::core::Collector;
use quorate_core::detection::Severity;
use quorate_core::{FailureType, Outcome, ProbeResult};
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
        let ended = if success == "true" {
            "completed"
        } else {
            self.jobs_failed.with_label_values(&[PROBES, check]).inc();
            "failed"
        };
        self.jobs.with_label_values(&[PROBES, ended]).inc();
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
}

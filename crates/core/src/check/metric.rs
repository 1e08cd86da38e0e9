//! Metric checks: a number that a service tells over HTTP, and where it becomes too much or too little.

use super::{Errors, HttpCheck, Level, Method, clip, limits};
use crate::evidence::words;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Settings of a metric check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricCheck {
    /// How the number is fetched.
    pub http: HttpCheck,
    /// Which number, and its limits.
    pub measure: Measure,
}

/// A number in a text, and where it becomes too much or too little.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// Where it stands.
    pub reading: Reading,
    /// What it is divided by, if anything: a second number of the same text.
    pub per: Option<Reading>,
    /// Is a high number bad, or a low one?
    pub bad: Bad,
    /// Beyond this it is worth a warning.
    pub warning: Option<Level>,
    /// Beyond this the probe fails.
    pub critical: Option<Level>,
}

/// Where a number stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reading {
    /// The value that a JSON path (RFC 9535) selects; the worst, if there are several.
    Json(String),
    /// A sample of Prometheus' text format: `name` or `name{label="value"}`; the worst, if several fit.
    Prometheus(String),
}

words!(
    /// Which numbers are bad.
    Bad {
        /// Those above the limits.
        High = "high",
        /// Those below them.
        Low = "low",
    }
);

impl MetricCheck {
    pub(super) fn validate(&self, errors: &mut Errors) {
        self.http.validate(errors);
        errors.rule("method", self.http.method != Method::Head, || {
            "HEAD is answered without a body, and so without a number; use GET".to_owned()
        });
        self.measure.validate(errors);
    }
}

impl Measure {
    pub(super) fn validate(&self, errors: &mut Errors) {
        for reading in std::iter::once(&self.reading).chain(&self.per) {
            let (key, text, max) = match reading {
                Reading::Json(path) => ("json", path, limits::MAX_JSON_PATH_BYTES),
                Reading::Prometheus(sample) => ("prometheus", sample, limits::MAX_TEXT_BYTES),
            };
            errors.rule(key, !text.is_empty() && text.len() <= max, || {
                format!("{:?} is empty or longer than {max} bytes", clip(text))
            });
        }
        match (&self.reading, &self.per) {
            (Reading::Json(_), Some(Reading::Prometheus(_))) => errors.rule("per_prometheus", false, || {
                "both numbers stand in one answer, which is JSON; use `per_json`, or `prometheus` for both".to_owned()
            }),
            (Reading::Prometheus(_), Some(Reading::Json(_))) => errors.rule("per_json", false, || {
                "both numbers stand in one answer, which is no JSON; use `per_prometheus`, or `json` for both"
                    .to_owned()
            }),
            _ => {}
        }
        errors.rule("critical", self.warning.is_some() || self.critical.is_some(), || {
            "`warning` or `critical` is needed, or a `preset`: without a limit every number would do".to_owned()
        });
        if let (Some(warning), Some(critical)) = (self.warning, self.critical) {
            let ordered = match self.bad {
                Bad::High => critical >= warning,
                Bad::Low => critical <= warning,
            };
            errors.rule("critical", ordered, || format!("{critical} is reached before `warning` ({warning})"));
        }
    }
}

/// Limits with a name: a row of the operations guides' tables, with a warning and a critical level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Which numbers are bad.
    pub bad: Bad,
    /// The warning level.
    pub warning: f64,
    /// The critical level.
    pub critical: f64,
}

const fn preset(name: &'static str, bad: Bad, warning: f64, critical: f64) -> Preset {
    Preset { name, bad, warning, critical }
}

/// Every preset. Ratios are fractions of one, durations are seconds.
pub const PRESETS: &[Preset] = &[
    preset("response_p95", Bad::High, 2.0, 5.0),
    preset("error_rate", Bad::High, 0.01, 0.05),
    preset("active_connections", Bad::High, 0.80, 0.95),
    preset("database_pool", Bad::High, 0.80, 0.95),
    preset("database_query", Bad::High, 0.5, 2.0),
    preset("database_size", Bad::High, 0.80, 0.90),
    preset("database_dead_tuples", Bad::High, 0.10, 0.25),
    preset("cache_memory", Bad::High, 0.80, 0.95),
    preset("cache_hit_rate", Bad::Low, 0.80, 0.60),
    preset("cache_latency", Bad::High, 0.010, 0.050),
    // A first eviction is worth a warning. The guide calls a rate of them critical without a number; it is one of a hundred commands here.
    preset("cache_evictions", Bad::High, 0.0, 0.01),
    preset("queue_depth", Bad::High, 10.0, 50.0),
    preset("queue_failed", Bad::High, 5.0, 20.0),
    preset("api_quota", Bad::High, 0.80, 0.95),
    preset("external_response", Bad::High, 2.0, 5.0),
    preset("external_response_slow", Bad::High, 3.0, 10.0),
    preset("external_error_rate", Bad::High, 0.01, 0.05),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(http: HttpCheck, reading: Reading, per: Option<Reading>) -> Vec<&'static str> {
        let mut errors = Errors(Vec::new());
        let measure = Measure { reading, per, bad: Bad::High, warning: Level::new(1.0), critical: None };
        MetricCheck { http, measure }.validate(&mut errors);
        errors.0.into_iter().map(|error| error.key).collect()
    }

    #[test]
    fn both_numbers_are_of_one_kind_of_text() {
        let (json, sample) = (|| Reading::Json("$.a".into()), || Reading::Prometheus("a".into()));
        let of = |reading, per| faults(HttpCheck::default(), reading, Some(per));
        assert!(of(json(), json()).is_empty() && of(sample(), sample()).is_empty());
        assert_eq!(of(json(), sample()), ["per_prometheus"]);
        assert_eq!(of(sample(), json()), ["per_json"]);
    }

    #[test]
    fn a_number_needs_a_body() {
        let head = HttpCheck { method: Method::Head, ..HttpCheck::default() };
        assert_eq!(faults(head, Reading::Prometheus("a".into()), None), ["method"]);
    }
}

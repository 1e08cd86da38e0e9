//! Probes of one instance within a span of time, in numbers.

use super::timeline::ratio;
use quorate_core::{Outcome, ProbeResult, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the span of a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// For reports of a day or two.
    FiveMinutes,
    /// For longer ones.
    Hour,
}

impl Width {
    /// Both.
    pub const ALL: [Self; 2] = [Self::FiveMinutes, Self::Hour];

    /// In milliseconds.
    pub fn ms(self) -> u64 {
        match self {
            Self::FiveMinutes => 5 * 60 * 1000,
            Self::Hour => 3600 * 1000,
        }
    }

    /// The shorter one where such buckets are still kept.
    pub fn for_span(from: UnixMs, to: UnixMs) -> Self {
        let kept = u64::try_from(Self::FiveMinutes.kept().as_millis()).unwrap_or(u64::MAX);
        if to.0.saturating_sub(from.0) < kept { Self::FiveMinutes } else { Self::Hour }
    }

    /// How long such buckets are kept.
    pub fn kept(self) -> Duration {
        match self {
            Self::FiveMinutes => Duration::from_secs(49 * 3600),
            Self::Hour => super::MAX_AGE,
        }
    }

    /// The beginning of the bucket that holds this time, Unix milliseconds.
    pub fn start(self, at: UnixMs) -> u64 {
        at.0 - at.0 % self.ms()
    }
}

/// Upper bounds of the response times that are told apart, microseconds: four to a power of ten, from 100 us to 100 s.
const BOUNDS: [u64; 25] = [
    100,
    178,
    316,
    562,
    1_000,
    1_780,
    3_160,
    5_620,
    10_000,
    17_800,
    31_600,
    56_200,
    100_000,
    178_000,
    316_000,
    562_000,
    1_000_000,
    1_780_000,
    3_160_000,
    5_620_000,
    10_000_000,
    17_800_000,
    31_600_000,
    56_200_000,
    100_000_000,
];

/// The numbers. Short names: there are many on the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Probes.
    #[serde(rename = "n")]
    pub checks: u64,
    /// Of these, passed.
    #[serde(rename = "k")]
    pub passed: u64,
    /// The time of all that were answered, microseconds.
    #[serde(rename = "t")]
    pub answered_us: u64,
    /// How many were answered in what time: index into [`BOUNDS`], its length for what is longer.
    #[serde(rename = "h", default)]
    histogram: BTreeMap<usize, u64>,
    /// Failures by type.
    #[serde(rename = "e", default)]
    pub errors: BTreeMap<String, u64>,
    /// Of these, the ones that came with a status: by type, and by that.
    #[serde(rename = "c", default, skip_serializing_if = "BTreeMap::is_empty")]
    codes: BTreeMap<String, BTreeMap<u16, u64>>,
    /// The time of all that failed, microseconds.
    #[serde(rename = "f", default)]
    failed_us: u64,
}

impl Bucket {
    /// Counts a probe. The time of a probe that failed says nothing of response times, and is kept apart.
    pub fn add(&mut self, outcome: &Outcome) {
        self.checks += 1;
        let us = u64::try_from(outcome.timings.total.as_micros()).unwrap_or(u64::MAX);
        match &outcome.result {
            ProbeResult::Fail(failure) => {
                let kind = failure.category().as_str().to_owned();
                if let Some(code) = outcome.status_code {
                    *self.codes.entry(kind.clone()).or_default().entry(code).or_default() += 1;
                }
                *self.errors.entry(kind).or_default() += 1;
                self.failed_us = self.failed_us.saturating_add(us);
            }
            _ => {
                self.passed += 1;
                self.answered_us = self.answered_us.saturating_add(us);
                *self.histogram.entry(BOUNDS.partition_point(|bound| *bound < us)).or_default() += 1;
            }
        }
    }

    /// Adds the numbers of another.
    pub fn merge(&mut self, other: &Self) {
        self.checks += other.checks;
        self.passed += other.passed;
        self.answered_us = self.answered_us.saturating_add(other.answered_us);
        other.histogram.iter().for_each(|(index, count)| *self.histogram.entry(*index).or_default() += count);
        other.errors.iter().for_each(|(kind, count)| *self.errors.entry(kind.clone()).or_default() += count);
        for (kind, codes) in &other.codes {
            let own = self.codes.entry(kind.clone()).or_default();
            codes.iter().for_each(|(code, count)| *own.entry(*code).or_default() += count);
        }
        self.failed_us = self.failed_us.saturating_add(other.failed_us);
    }

    /// How many failed.
    pub fn failed(&self) -> u64 {
        self.checks.saturating_sub(self.passed)
    }

    /// The part of all that passed; nothing without any.
    pub fn passed_ratio(&self) -> Option<f64> {
        (self.checks > 0).then(|| ratio(self.passed, self.checks))
    }

    /// The mean time of those that failed, milliseconds; nothing without one.
    pub fn mean_failed_ms(&self) -> Option<f64> {
        (self.failed() > 0).then(|| ratio(self.failed_us, self.failed()) / 1000.0)
    }

    /// Failures by type and by the status that came, if one did.
    pub fn failures(&self) -> Vec<(&str, Option<u16>, u64)> {
        let mut all = Vec::new();
        for (kind, count) in &self.errors {
            let codes = self.codes.get(kind);
            let with_code: u64 = codes.into_iter().flat_map(BTreeMap::values).sum();
            let without = count.saturating_sub(with_code);
            all.extend((without > 0).then_some((kind.as_str(), None, without)));
            all.extend(codes.into_iter().flatten().map(|(code, count)| (kind.as_str(), Some(*code), *count)));
        }
        all
    }

    /// The mean response time, milliseconds; nothing without one.
    pub fn mean_ms(&self) -> Option<f64> {
        (self.passed > 0).then(|| ratio(self.answered_us, self.passed) / 1000.0)
    }

    /// The time that so many of 100 responses did not exceed, milliseconds: nearest rank, as the upper bound of its range (at most 78 % too much).
    pub fn percentile_ms(&self, percent: u64) -> Option<f64> {
        let rank = self.passed.saturating_mul(percent).div_ceil(100);
        let mut counted = 0;
        let index = self.histogram.iter().find_map(|(index, count)| {
            counted += count;
            (counted >= rank && rank > 0).then_some(*index)
        })?;
        Some(ratio(BOUNDS.get(index).or(BOUNDS.last()).copied().unwrap_or_default(), 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::{Cause, Phase, Timings};

    fn answered(ms: u64) -> Outcome {
        let timings = Timings { total: Duration::from_millis(ms), ..Timings::default() };
        Outcome { timings, ..Outcome::pass(Duration::from_millis(ms)) }
    }

    #[test]
    fn numbers_add_up() {
        let mut bucket = Bucket::default();
        assert_eq!((bucket.mean_ms(), bucket.percentile_ms(95)), (None, None), "no data is not zero");
        bucket.add(&Outcome::fail(Phase::Connect, Cause::Refused, "refused", Duration::from_secs(9)));
        assert_eq!((bucket.checks, bucket.passed, bucket.mean_ms(), bucket.percentile_ms(95)), (1, 0, None, None));
        (0..94).for_each(|_| bucket.add(&answered(2)));
        (0..6).for_each(|_| bucket.add(&answered(500)));
        assert_eq!((bucket.checks, bucket.passed, bucket.errors.values().sum::<u64>()), (101, 100, 1));
        assert_eq!((bucket.mean_ms(), bucket.percentile_ms(95)), (Some(31.88), Some(562.0)));
        assert_eq!((bucket.percentile_ms(50), bucket.percentile_ms(94)), (Some(3.16), Some(3.16)));
        assert_eq!(bucket.percentile_ms(99), Some(562.0));
        let mut twice = bucket.clone();
        twice.merge(&bucket);
        assert_eq!((twice.checks, twice.percentile_ms(95), twice.mean_ms()), (202, Some(562.0), Some(31.88)));
        let text = serde_json::to_string(&twice).unwrap();
        assert_eq!(serde_json::from_str::<Bucket>(&text).unwrap(), twice);
        let mut slow = Bucket::default();
        slow.add(&answered(200_000));
        assert_eq!(slow.percentile_ms(95), Some(100_000.0));
    }

    #[test]
    fn failures_are_told_by_type_and_status() {
        let mut bucket = Bucket::default();
        assert_eq!((bucket.passed_ratio(), bucket.mean_failed_ms()), (None, None), "no data is not zero");
        let fail = |cause, code, ms| {
            let took = Duration::from_millis(ms);
            let outcome = Outcome::fail(Phase::Body, cause, "x", took);
            let timings = Timings { total: took, ..Timings::default() };
            Outcome { status_code: code, timings, ..outcome }
        };
        bucket.add(&fail(Cause::Status, Some(500), 10));
        bucket.add(&fail(Cause::Status, Some(500), 20));
        bucket.add(&fail(Cause::Status, Some(404), 30));
        bucket.add(&fail(Cause::Timeout, None, 40));
        let mut twice = bucket.clone();
        twice.merge(&bucket);
        let expected = [("http", Some(404), 2), ("http", Some(500), 4), ("timeout", None, 2)];
        assert_eq!(twice.failures(), expected);
        assert_eq!((twice.failed(), twice.passed_ratio(), twice.mean_failed_ms()), (8, Some(0.0), Some(25.0)));
        // As earlier releases wrote it.
        let old: Bucket = serde_json::from_str(r#"{"n":3,"k":1,"t":7,"h":{"0":1},"e":{"http":2}}"#).unwrap();
        assert_eq!((old.failures(), old.failed()), (vec![("http", None, 2)], 2));
        assert_eq!(old.mean_failed_ms(), Some(0.0));
    }

    #[test]
    fn buckets_begin_at_round_times() {
        assert_eq!(Width::FiveMinutes.start(UnixMs(600_001)), 600_000);
        assert_eq!(Width::Hour.start(UnixMs(3_599_999)), 0);
    }
}

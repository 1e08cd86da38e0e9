//! One scrape: values under the names of the catalogue, written in Prometheus' text format.

use super::{CATALOGUE, Kind};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, Opts, Registry};
use std::collections::BTreeMap;

/// The text format, version 0.0.4.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

enum Family {
    Counter(CounterVec),
    Gauge(GaugeVec),
}

/// The values of one scrape.
pub struct Sheet {
    registry: Registry,
    families: BTreeMap<&'static str, Family>,
}

impl Sheet {
    /// An empty one.
    pub fn new() -> Self {
        Self { registry: Registry::new(), families: BTreeMap::new() }
    }

    /// Sets a metric without labels.
    pub fn set(&mut self, name: &'static str, value: f64) {
        self.put(name, &[], value);
    }

    /// Sets a metric. What is not in the catalogue, or has other labels there, is a fault of ours, and is left out.
    pub fn put(&mut self, name: &'static str, labels: &[&str], value: f64) {
        if let Err(error) = self.try_put(name, labels, value) {
            debug_assert!(false, "{name}: {error}");
            tracing::error!(name, %error, "a metric does not fit the catalogue");
        }
    }

    fn try_put(&mut self, name: &'static str, labels: &[&str], value: f64) -> prometheus::Result<()> {
        if !self.families.contains_key(name) {
            let family = self.family(name)?;
            self.families.insert(name, family);
        }
        match self.families.get(name) {
            Some(Family::Counter(counter)) => counter.get_metric_with_label_values(labels)?.inc_by(value.max(0.0)),
            Some(Family::Gauge(gauge)) => gauge.get_metric_with_label_values(labels)?.set(value),
            None => {}
        }
        Ok(())
    }

    fn family(&self, name: &str) -> prometheus::Result<Family> {
        let described = CATALOGUE.iter().find(|metric| metric.name == name);
        let described = described.ok_or_else(|| prometheus::Error::Msg("not in the catalogue".to_owned()))?;
        let opts = Opts::new(described.name, described.help);
        let family = match described.kind {
            Kind::Counter => Family::Counter(CounterVec::new(opts, described.labels)?),
            Kind::Gauge => Family::Gauge(GaugeVec::new(opts, described.labels)?),
            Kind::Histogram => return Err(prometheus::Error::Msg("a histogram counts as it happens".to_owned())),
        };
        match &family {
            Family::Counter(counter) => self.registry.register(Box::new(counter.clone()))?,
            Family::Gauge(gauge) => self.registry.register(Box::new(gauge.clone()))?,
        }
        Ok(family)
    }

    /// Every family by name, together with what counts by itself in `live`.
    pub fn families(self, live: &Registry) -> Vec<MetricFamily> {
        let mut families = self.registry.gather();
        families.extend(live.gather());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        families
    }
}

//! One scrape: values under the names of the catalogue, as Prometheus' text or as families for other outputs.
//!
//! An agent may tell of ten thousand instances: values are written as they come, without a registry between.

use super::{CATALOGUE, Described, Kind};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Registry, TextEncoder};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The text format, version 0.0.4.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The values of one scrape, in one form.
pub struct Sheet<F> {
    families: BTreeMap<&'static str, Family<F>>,
}

struct Family<F> {
    described: &'static Described,
    /// Its labels by name, each with its place in the catalogue.
    labels: Vec<(&'static str, usize)>,
    values: F,
}

/// How the values of a metric are kept.
pub trait Form: Default {
    /// Takes one, with its labels in the order of their names.
    fn take<'a>(&mut self, described: &Described, labels: impl Iterator<Item = (&'a str, &'a str)>, value: f64);
}

/// Prometheus' text.
pub type TextSheet = Sheet<String>;
/// Families, as the library has them.
pub type FamilySheet = Sheet<Vec<Metric>>;

impl<F: Form> Sheet<F> {
    /// An empty one.
    pub fn new() -> Self {
        Self { families: BTreeMap::new() }
    }

    /// Sets a metric without labels.
    pub fn set(&mut self, name: &'static str, value: f64) {
        self.put(name, &[], value);
    }

    /// Sets a metric. What is not in the catalogue, or has other labels there, is a fault of ours, and is left out.
    pub fn put(&mut self, name: &'static str, labels: &[&str], value: f64) {
        if let Err(fault) = self.try_put(name, labels, value) {
            debug_assert!(false, "{name}: {fault}");
            tracing::error!(name, fault, "a metric does not fit the catalogue");
        }
    }

    fn try_put(&mut self, name: &'static str, labels: &[&str], value: f64) -> Result<(), &'static str> {
        if !self.families.contains_key(name) {
            let described = CATALOGUE.iter().find(|metric| metric.name == name).ok_or("it is not there")?;
            if described.kind == Kind::Histogram {
                return Err("a histogram counts as it happens");
            }
            let mut labels: Vec<_> = described.labels.iter().copied().zip(0..).collect();
            labels.sort_unstable();
            self.families.insert(name, Family { described, labels, values: F::default() });
        }
        let Some(Family { described, labels: order, values }) = self.families.get_mut(name) else { return Ok(()) };
        if described.labels.len() != labels.len() {
            return Err("it has other labels");
        }
        let value = if described.kind == Kind::Counter { value.max(0.0) } else { value };
        values.take(described, order.iter().filter_map(|(name, place)| Some((*name, *labels.get(*place)?))), value);
        Ok(())
    }
}

impl Form for String {
    fn take<'a>(&mut self, described: &Described, labels: impl Iterator<Item = (&'a str, &'a str)>, value: f64) {
        self.push_str(described.name);
        let mut before = '{';
        for (name, value) in labels {
            self.push(before);
            before = ',';
            self.push_str(name);
            self.push_str("=\"");
            escape(value, self);
            self.push('"');
        }
        if before == ',' {
            self.push('}');
        }
        // Writing to a text cannot fail.
        let _ = match value {
            f64::INFINITY => writeln!(self, " +Inf"),
            f64::NEG_INFINITY => writeln!(self, " -Inf"),
            value => writeln!(self, " {value}"),
        };
    }
}

/// A label's value, as the format wants it.
fn escape(value: &str, text: &mut String) {
    let special = |c| matches!(c, '\\' | '"' | '\n');
    if !value.contains(special) {
        return text.push_str(value);
    }
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

impl Form for Vec<Metric> {
    fn take<'a>(&mut self, described: &Described, labels: impl Iterator<Item = (&'a str, &'a str)>, value: f64) {
        let pair = |(name, value): (&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        let mut metric = Metric::from_label(labels.map(pair).collect());
        if described.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.push(metric);
    }
}

impl TextSheet {
    /// The text, together with what counts by itself in `live`.
    ///
    /// # Errors
    /// When a value of that cannot be written.
    pub fn text(self, live: &Registry) -> prometheus::Result<String> {
        let encoder = TextEncoder::new();
        let mut blocks: BTreeMap<String, String> = BTreeMap::new();
        for family in live.gather() {
            let name = family.name().to_owned();
            blocks.insert(name, encoder.encode_to_string(&[family])?);
        }
        for (name, Family { described, values, .. }) in self.families {
            let kind = if described.kind == Kind::Counter { "counter" } else { "gauge" };
            let head = format!("# HELP {name} {}\n# TYPE {name} {kind}\n", described.help);
            blocks.insert(name.to_owned(), head + &values);
        }
        Ok(blocks.into_values().collect())
    }
}

impl FamilySheet {
    /// Every family by name, together with what counts by itself in `live`.
    pub fn families(self, live: &Registry) -> Vec<MetricFamily> {
        let mut families = live.gather();
        families.extend(self.families.into_iter().map(|(name, Family { described, values, .. })| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(described.help.to_owned());
            family.set_field_type(if described.kind == Kind::Counter {
                MetricType::COUNTER
            } else {
                MetricType::GAUGE
            });
            family.set_metric(values);
            family
        }));
        families.sort_by(|a, b| a.name().cmp(b.name()));
        families
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the library writes of the same values.
    #[test]
    fn the_text_is_that_of_the_library() {
        fn fill<F: Form>() -> Sheet<F> {
            let mut sheet = Sheet::new();
            sheet.put("quorate_instance_up", &["web", "a\"b\\c\nd"], 1.0);
            sheet.put("quorate_instance_up", &["web", "é"], 0.5);
            sheet.put("quorate_instance_term", &["web", "x"], 1e21);
            sheet.set("quorate_links", f64::NAN);
            sheet.set("quorate_engine_probes_total", -3.0);
            sheet.set("quorate_view_age_seconds", 0.000_012_5);
            sheet
        }
        let live = Registry::new();
        let counter = prometheus::IntCounter::new("quorate_k_total", "in \"between\"").unwrap();
        live.register(Box::new(counter)).unwrap();
        let text = fill::<String>().text(&live).unwrap();
        let families = fill::<Vec<Metric>>().families(&live);
        assert_eq!(text, TextEncoder::new().encode_to_string(&families).unwrap());
        assert!(text.contains("quorate_engine_probes_total 0\n"), "{text}");
        let mut sheet = TextSheet::new();
        sheet.set("quorate_links", f64::NEG_INFINITY);
        assert!(sheet.text(&live).unwrap().contains("quorate_links -Inf\n"));
    }
}

//! Counters of others: what the programs on a host count themselves, told beside what the agent measures. Names and labels come from outside,
//! so everything about them has a limit.

use super::CATALOGUE;
use prometheus::{CounterVec, Opts, Registry};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// Most counters.
pub const MAX_COUNTERS: usize = 100;
/// Most series, of all counters together.
pub const MAX_SERIES: usize = 1_000;
/// Most labels of one.
pub const MAX_LABELS: usize = 8;
/// Longest name of a counter or a label, in characters.
pub const MAX_NAME_CHARS: usize = 100;
/// Longest value of a label, in characters.
pub const MAX_VALUE_CHARS: usize = 128;
/// What the name of a counter looks like.
pub const NAME_PATTERN: &str = "^[a-z][a-z0-9_]{0,93}_total$";
/// What the name of a label looks like; [`RESERVED`] are none.
pub const LABEL_PATTERN: &str = "^[a-z][a-z0-9_]{0,99}$";
/// What the value of a label looks like.
pub const VALUE_PATTERN: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]{1,128}$";
/// Most that is added at once: up to here every whole number is exact.
pub const MAX_STEP: f64 = 9_007_199_254_740_992.0;
/// What Prometheus itself, and the agent's configuration, put on series.
pub const RESERVED: [&str; 4] = ["environment", "instance", "job", "le"];
/// How the names of series end that `OpenMetrics` derives from the name of their metric.
const OF_SERIES: [&str; 7] = ["_total", "_created", "_bucket", "_count", "_sum", "_gsum", "_info"];

/// Why something is not counted. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotCounted {
    /// It breaks a rule.
    Invalid(String),
    /// It does not go together with what was counted before.
    Conflict(String),
    /// There are too many already.
    Full(String),
}

/// Counters by name.
#[derive(Debug)]
pub struct Custom {
    registry: Registry,
    counters: Mutex<BTreeMap<String, Counter>>,
}

#[derive(Debug)]
struct Counter {
    labels: Vec<String>,
    values: CounterVec,
    series: BTreeSet<Vec<String>>,
}

impl Custom {
    /// None yet; they are told by `registry`.
    pub fn new(registry: Registry) -> Self {
        Self { registry, counters: Mutex::default() }
    }

    /// Adds to a counter, which begins at zero with its first mention, and tells how far it is.
    ///
    /// # Errors
    /// Why it is not counted.
    pub fn add(&self, name: &str, labels: &BTreeMap<String, String>, step: f64) -> Result<f64, NotCounted> {
        check(name, labels, step).map_err(NotCounted::Invalid)?;
        let (names, values): (Vec<String>, Vec<String>) =
            labels.iter().map(|(name, value)| (name.clone(), value.clone())).unzip();
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = counters.values().map(|counter| counter.series.len()).sum();
        let is_new = counters.get(name).is_none_or(|counter| !counter.series.contains(&values));
        if is_new && all >= MAX_SERIES {
            return Err(NotCounted::Full(format!("the agent keeps {MAX_SERIES} series of others and no more")));
        }
        if !counters.contains_key(name) {
            if counters.len() >= MAX_COUNTERS {
                return Err(NotCounted::Full(format!("the agent keeps {MAX_COUNTERS} counters of others and no more")));
            }
            if let Some(other) = counters.keys().find(|other| clash(family(name), family(other))) {
                return Err(NotCounted::Conflict(format!("{name} and {other} could not be told apart in OpenMetrics")));
            }
            let made = made(name, &names).and_then(|values| {
                self.registry.register(Box::new(values.clone()))?;
                Ok(values)
            });
            let values = made.map_err(|error| NotCounted::Invalid(error.to_string()))?;
            counters.insert(name.to_owned(), Counter { labels: names.clone(), values, series: BTreeSet::new() });
        }
        let Some(counter) = counters.get_mut(name) else { return Ok(0.0) };
        if counter.labels != names {
            let known = if counter.labels.is_empty() { "none".to_owned() } else { counter.labels.join(", ") };
            return Err(NotCounted::Conflict(format!("{name} has other labels so far: {known}")));
        }
        let series = counter.values.with_label_values(&values);
        counter.series.insert(values);
        series.inc_by(step);
        Ok(series.get())
    }
}

fn made(name: &str, labels: &[String]) -> prometheus::Result<CounterVec> {
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    CounterVec::new(Opts::new(name, "Counted by a program and told to the agent."), &labels)
}

fn check(name: &str, labels: &BTreeMap<String, String>, step: f64) -> Result<(), String> {
    if !is_name(name) || !name.ends_with("_total") {
        return Err(format!(
            "{} is no name of a counter: use 1 to {MAX_NAME_CHARS} of a-z, 0-9 and _, a letter first and _total last",
            shown(name)
        ));
    }
    if name.starts_with("quorate_") || CATALOGUE.iter().any(|metric| metric.name == name) {
        return Err(format!("{name} is the agent's own"));
    }
    if let Some(metric) = CATALOGUE.iter().find(|metric| clash(family(name), family(metric.name))) {
        let (told, own) = (family(name), metric.name);
        return Err(format!("{name} would be told as {told} in OpenMetrics, which clashes with the agent's own {own}"));
    }
    if !(0.0..=MAX_STEP).contains(&step) {
        return Err(format!("a counter only grows: by a number from 0 to {MAX_STEP}"));
    }
    if labels.len() > MAX_LABELS {
        return Err(format!("{} labels are more than a counter may have: {MAX_LABELS}", labels.len()));
    }
    for (label, value) in labels {
        if !is_name(label) || RESERVED.contains(&label.as_str()) {
            return Err(format!(
                "{} is no name of a label: use 1 to {MAX_NAME_CHARS} of a-z, 0-9 and _, a letter first, and none of {}",
                shown(label),
                RESERVED.join(", ")
            ));
        }
        if value.is_empty() || value.chars().count() > MAX_VALUE_CHARS || value.contains(char::is_control) {
            return Err(format!(
                "the value of {label} must be of 1 to {MAX_VALUE_CHARS} characters that can be printed"
            ));
        }
    }
    Ok(())
}

/// `OpenMetrics` knows a counter by its name without `_total`, its family, and derives the names of series from that of the family by endings.
fn family(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

/// Could a reader take a series of one of these families for the other, or for one of its series?
fn clash(one: &str, other: &str) -> bool {
    let is_series = |of: &str, name: &str| name.strip_prefix(of).is_some_and(|ending| OF_SERIES.contains(&ending));
    one == other || is_series(one, other) || is_series(other, one)
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_CHARS
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(64).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patterns_that_are_published_are_the_rules() {
        let matches = |pattern: &str, text: &str| regex::Regex::new(pattern).unwrap().is_match(text);
        let long = |chars: usize| "é".repeat(chars);
        for name in
            ["a_total", "a1_b_total", "total", "_total", "A_total", "a-total", &format!("{}_total", "a".repeat(94))]
        {
            let counted = check(name, &BTreeMap::new(), 1.0).is_ok();
            assert_eq!(matches(NAME_PATTERN, name), counted, "{name}");
        }
        let longest = format!("{}_total", "a".repeat(MAX_NAME_CHARS - 6));
        assert!(matches(NAME_PATTERN, &longest) && check(&longest, &BTreeMap::new(), 1.0).is_ok());
        for label in ["a", "a_1", "", "1", "A", "a.b", &"a".repeat(100), &"a".repeat(101)] {
            assert_eq!(matches(LABEL_PATTERN, label), is_name(label), "{label}");
        }
        for value in ["a", "", "\n", "a\u{7f}", "a\u{9f}b", " ", &long(MAX_VALUE_CHARS), &long(MAX_VALUE_CHARS + 1)] {
            let labels = BTreeMap::from([("a".to_owned(), value.to_owned())]);
            assert_eq!(matches(VALUE_PATTERN, value), check("a_total", &labels, 1.0).is_ok(), "{value:?}");
        }
    }
    use prometheus::TextEncoder;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_counted_is_told() {
        let registry = Registry::new();
        let custom = Custom::new(registry.clone());
        let add = |kind, step| custom.add("business_sessions_created_total", &labels(&[("type", kind)]), step);
        assert_eq!((add("login", 1.0), add("login", 2.5), add("guest", 0.0)), (Ok(1.0), Ok(3.5), Ok(0.0)));
        assert_eq!(custom.add("plain_total", &labels(&[]), 1.0), Ok(1.0));
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for line in [
            "# TYPE business_sessions_created_total counter",
            "business_sessions_created_total{type=\"login\"} 3.5",
            "business_sessions_created_total{type=\"guest\"} 0",
            "plain_total 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_breaks_a_rule_changes_nothing() {
        let registry = Registry::new();
        let custom = Custom::new(registry.clone());
        let long = "x".repeat(MAX_NAME_CHARS) + "_total";
        for name in [
            "",
            "x",
            "_x_total",
            "X_total",
            "x-total",
            "é_total",
            &long,
            "quorate_x_total",
            "http_requests_total",
            "health_check_status_total",
        ] {
            assert!(matches!(custom.add(name, &labels(&[]), 1.0), Err(NotCounted::Invalid(_))), "{name}");
        }
        for step in [-1.0, f64::NAN, f64::INFINITY, MAX_STEP * 2.0] {
            assert!(matches!(custom.add("x_total", &labels(&[]), step), Err(NotCounted::Invalid(_))), "{step}");
        }
        let long = "x".repeat(MAX_VALUE_CHARS + 1);
        for pair in [("le", "1"), ("job", "a"), ("instance", "a"), ("", "a"), ("Type", "a"), ("a", ""), ("a", "\n")] {
            assert!(matches!(custom.add("x_total", &labels(&[pair]), 1.0), Err(NotCounted::Invalid(_))), "{pair:?}");
        }
        assert!(matches!(custom.add("x_total", &labels(&[("a", &long)]), 1.0), Err(NotCounted::Invalid(_))));
        assert!(registry.gather().is_empty());
        assert_eq!(custom.add("x_total", &labels(&[("a", "1")]), 1.0), Ok(1.0));
        let other = custom.add("x_total", &labels(&[("b", "1")]), 1.0);
        assert_eq!(other, Err(NotCounted::Conflict("x_total has other labels so far: a".to_owned())));
    }

    #[test]
    fn names_that_clash_in_open_metrics_are_refused() {
        let refused = |name: &str| check(name, &BTreeMap::new(), 1.0).unwrap_err();
        for metric in CATALOGUE.iter().filter(|metric| !metric.name.starts_with("quorate_")) {
            let family = family(metric.name);
            for ending in OF_SERIES.iter().chain(&[""]) {
                let words = refused(&format!("{family}{ending}_total"));
                assert!(
                    words.contains("is the agent's own") || words.contains("clashes with the agent's own"),
                    "{words}"
                );
            }
        }
        assert_eq!(
            refused("health_check_status_total"),
            "health_check_status_total would be told as health_check_status in OpenMetrics, which clashes with the agent's own \
             health_check_status"
        );
        for name in ["account_total", "a_summary_total", "business_sessions_created_total", "x_count_total"] {
            assert_eq!(check(name, &BTreeMap::new(), 1.0), Ok(()), "{name}");
        }
    }

    #[test]
    fn two_of_others_do_not_clash_either() {
        let custom = Custom::new(Registry::new());
        let add = |name: &str| custom.add(name, &labels(&[]), 1.0);
        assert_eq!((add("sessions_created_total"), add("sessions_created_total")), (Ok(1.0), Ok(2.0)));
        let words = "sessions_total and sessions_created_total could not be told apart in OpenMetrics";
        assert_eq!(add("sessions_total"), Err(NotCounted::Conflict(words.to_owned())));
        assert_eq!((add("jobs_total"), add("session_total"), add("jobs_failed_total")), (Ok(1.0), Ok(1.0), Ok(1.0)));
        assert!(matches!(add("jobs_total_total"), Err(NotCounted::Conflict(_))));
        assert_eq!(add("jobs_total"), Ok(2.0));
    }

    #[test]
    fn counters_and_series_are_bounded_and_known_ones_go_on() {
        let custom = Custom::new(Registry::new());
        for n in 0..MAX_COUNTERS {
            custom.add(&format!("c{n}_total"), &labels(&[("a", "1")]), 1.0).unwrap();
        }
        assert!(matches!(custom.add("more_total", &labels(&[]), 1.0), Err(NotCounted::Full(_))));
        for n in 0..MAX_SERIES - MAX_COUNTERS {
            custom.add("c0_total", &labels(&[("a", &format!("v{n}"))]), 1.0).unwrap();
        }
        assert!(matches!(custom.add("c0_total", &labels(&[("a", "more")]), 1.0), Err(NotCounted::Full(_))));
        assert_eq!(custom.add("c0_total", &labels(&[("a", "v7")]), 1.0), Ok(2.0));
    }
}

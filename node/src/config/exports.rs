//! `[metrics]`, `[statsd]` and `[otlp]`: the names of metrics, and outputs for metrics and traces.

use super::file::{parsed, socket_address};
use super::keys::{METRICS, OTLP, STATSD};
use super::reader::{Faults, Section};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// How far apart turns may be.
const INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// Longest prefix, in characters.
const MAX_PREFIX_CHARS: usize = 64;

/// `[statsd]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsdSettings {
    /// UDP address of the server.
    pub address: SocketAddr,
    /// What every name begins with.
    pub prefix: String,
    /// Between two turns.
    pub interval: Duration,
    /// How labels are told.
    pub tags: StatsdTags,
}

/// How labels are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatsdTags {
    /// As DogStatsD takes them.
    Dogstatsd,
    /// As parts of the name.
    None,
}

/// `[otlp]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpSettings {
    /// The receiver's base address.
    pub endpoint: String,
    /// Are metrics sent?
    pub metrics: bool,
    /// Are traces?
    pub traces: bool,
    /// Between two turns of metrics.
    pub interval: Duration,
    /// The file of a bearer token.
    pub token_file: Option<PathBuf>,
    /// Who is believed by TLS, instead of the public authorities.
    pub ca_file: Option<PathBuf>,
}

/// `[metrics]`: what others' conventions want otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricNames {
    /// What comes before the names of metrics that others use too.
    pub prefix: Option<String>,
    /// How the labels of requests are called.
    pub http_labels: HttpLabels,
}

/// How the labels of requests to the API are called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum HttpLabels {
    /// `method`, `route`, `status_code`.
    #[default]
    Route,
    /// `method`, `path`, `status`.
    Path,
}

/// Reads `[metrics]`.
pub fn metrics(root: &Section<'_>, faults: &mut Faults) -> MetricNames {
    let Some(section) = root.table("metrics", &METRICS, faults) else { return MetricNames::default() };
    let prefix = parsed(&section, "prefix", faults, metric_prefix);
    let http_labels = parsed(&section, "http_labels", faults, |text| match text {
        "route" => Ok(HttpLabels::Route),
        "path" => Ok(HttpLabels::Path),
        _ => Err(format!("{text:?} is not known; use \"route\" or \"path\"")),
    });
    MetricNames { prefix, http_labels: http_labels.unwrap_or_default() }
}

/// A prefix for the names of metrics.
///
/// # Errors
/// When it is none.
pub fn metric_prefix(text: &str) -> Result<String, String> {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fits = begins && text.len() <= MAX_PREFIX_CHARS && text.chars().all(allowed);
    // What the agent calls its own begins so; two metrics could end up with one name.
    if text == "quorate" || text.starts_with("quorate_") {
        return Err(format!("{text:?} is what the agent's own names begin with; use another prefix"));
    }
    let rule = || format!("{text:?} is no prefix; use 1 to {MAX_PREFIX_CHARS} letters, digits and `_`, a letter first");
    fits.then(|| text.to_owned()).ok_or_else(rule)
}

/// Reads `[statsd]`.
pub fn statsd(root: &Section<'_>, faults: &mut Faults) -> Option<StatsdSettings> {
    let section = root.table("statsd", &STATSD, faults)?;
    let address = parsed(&section, "address", faults, socket_address);
    if !section.has("address") {
        faults.add(section.at, section.key("address"), "is missing; name the server, such as \"127.0.0.1:8125\"");
    }
    let prefix = parsed(&section, "prefix", faults, |text| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let fits = (1..=MAX_PREFIX_CHARS).contains(&text.len()) && text.chars().all(allowed);
        let rule = || format!("{text:?} is no prefix; use 1 to {MAX_PREFIX_CHARS} letters, digits, `_`, `-` and `.`");
        fits.then(|| text.to_owned()).ok_or_else(rule)
    });
    let tags = parsed(&section, "tags", faults, |text| match text {
        "dogstatsd" => Ok(StatsdTags::Dogstatsd),
        "none" => Ok(StatsdTags::None),
        _ => Err(format!("{text:?} is not known; use \"dogstatsd\" or \"none\"")),
    });
    let interval = interval(&section, Duration::from_secs(10), faults);
    Some(StatsdSettings {
        address: address?,
        prefix: prefix.unwrap_or_else(|| "quorate".to_owned()),
        interval,
        tags: tags.unwrap_or(StatsdTags::Dogstatsd),
    })
}

/// Reads `[otlp]`.
pub fn otlp(root: &Section<'_>, faults: &mut Faults) -> Option<OtlpSettings> {
    let section = root.table("otlp", &OTLP, faults)?;
    let endpoint = parsed(&section, "endpoint", faults, |text| {
        let secure = text.starts_with("https://");
        let rest = text.strip_prefix("http://").or(text.strip_prefix("https://"));
        let fits = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', '@', ' ']));
        let rule = || format!("{text:?} is not the address of a receiver, such as \"http://127.0.0.1:4318\"");
        fits.then(|| (text.to_owned(), secure)).ok_or_else(rule)
    });
    if !section.has("endpoint") {
        let message = "is missing; name the receiver, such as \"http://127.0.0.1:4318\"";
        faults.add(section.at, section.key("endpoint"), message);
    }
    let flag = |name, faults: &mut Faults| section.take::<bool>(name, faults).is_none_or(|found| found.value);
    let (metrics, traces) = (flag("metrics", faults), flag("traces", faults));
    let path = |name, faults: &mut Faults| section.take::<String>(name, faults).map(|found| PathBuf::from(found.value));
    let (token_file, ca_file) = (path("token_file", faults), path("ca_file", faults));
    let interval = interval(&section, Duration::from_secs(30), faults);
    let (endpoint, secure) = endpoint?;
    if token_file.is_some() && !secure && !is_local(&endpoint) {
        let (at, key) = section.place("token_file");
        faults.add(at, key, "a token is not sent in the clear to another host; use an endpoint with https://");
    }
    Some(OtlpSettings { endpoint, metrics, traces, interval, token_file, ca_file })
}

fn is_local(endpoint: &str) -> bool {
    let host = endpoint.trim_start_matches("http://");
    ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|local| host.strip_prefix(local).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/'])))
}

fn interval(section: &Section<'_>, default: Duration, faults: &mut Faults) -> Duration {
    match section.take::<Duration>("interval", faults) {
        Some(found) if !INTERVALS.contains(&found.value) => {
            let shown = humantime::format_duration(found.value);
            faults.add(found.at, section.key("interval"), format!("{shown} is not allowed; use 1s to 1h"));
            default
        }
        Some(found) => found.value,
        None => default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_a_default() {
        let file = crate::config::file::parse(
            "q.toml",
            "[statsd]\naddress = '127.0.0.1:8125'\n[otlp]\nendpoint = 'https://x'\n",
        );
        let file = file.unwrap();
        let statsd = file.statsd.unwrap();
        assert_eq!((statsd.prefix.as_str(), statsd.tags), ("quorate", StatsdTags::Dogstatsd));
        assert_eq!(statsd.interval, Duration::from_secs(10));
        let otlp = file.otlp.unwrap();
        assert_eq!((otlp.metrics, otlp.traces, otlp.interval), (true, true, Duration::from_secs(30)));
    }

    #[test]
    fn only_this_host_is_this_host() {
        for (endpoint, local) in [
            ("http://127.0.0.1:4318", true),
            ("http://[::1]/otlp", true),
            ("http://localhost", true),
            ("http://localhost.example:4318", false),
            ("http://127.0.0.1.example", false),
        ] {
            assert_eq!(is_local(endpoint), local, "{endpoint}");
        }
    }
}

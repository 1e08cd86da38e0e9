//! Metrics by StatsD: datagrams of lines, sent every so often. Gauges as they are, counters by how much they grew.

use super::{Gather, Output};
use crate::config::{StatsdSettings, StatsdTags};
use crate::metrics::{ENVIRONMENT, Metrics};
use anyhow::Context;
use prometheus::proto::{LabelPair, MetricFamily, MetricType};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Longest datagram: it fits into one Ethernet frame over IPv6.
const MAX_DATAGRAM_BYTES: usize = 1_432;
/// Most lines of one turn; more are dropped and counted.
const MAX_LINES: usize = 50_000;
/// Datagrams after which the socket's buffer is given time to drain.
const BURST: usize = 64;
const PAUSE: Duration = Duration::from_millis(1);
/// Longest wait for one datagram to be taken.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends for ever from now on.
pub fn start(
    settings: StatsdSettings,
    environment: Option<String>,
    gather: Gather,
    metrics: Arc<Metrics>,
) -> anyhow::Result<()> {
    let failed = || format!("statsd.address: {}", settings.address);
    let local: SocketAddr = if settings.address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 16], 0).into() };
    let socket = std::net::UdpSocket::bind(local).with_context(failed)?;
    socket.connect(settings.address).with_context(failed)?;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    let lines = Lines::new(settings.prefix, settings.tags, environment);
    tokio::spawn(run(lines, settings.interval, gather, metrics, socket));
    Ok(())
}

async fn run(mut lines: Lines, every: Duration, gather: Gather, metrics: Arc<Metrics>, socket: UdpSocket) {
    let mut turns = interval(every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first look only tells where the counters stand.
    lines.of(&gather());
    turns.tick().await;
    loop {
        turns.tick().await;
        let mut told = lines.of(&gather());
        metrics.export_dropped(Output::Statsd, told.len().saturating_sub(MAX_LINES));
        told.truncate(MAX_LINES);
        send(&socket, &told, &metrics).await;
    }
}

async fn send(socket: &UdpSocket, lines: &[String], metrics: &Metrics) {
    let (mut taken, mut lost) = (0, 0);
    for (number, (datagram, count)) in datagrams(lines).into_iter().enumerate() {
        match timeout(SEND_TIMEOUT, socket.send(datagram.as_bytes())).await {
            Ok(Ok(_)) => taken += count,
            // Nobody listens, or nobody drains.
            Ok(Err(_)) | Err(_) => lost += count,
        }
        if number % BURST == BURST - 1 {
            tokio::time::sleep(PAUSE).await;
        }
    }
    // Of datagrams to a port that nobody listens at, only every other one is refused.
    metrics.exported(Output::Statsd, taken);
    metrics.export_dropped(Output::Statsd, lost);
}

/// Lines together as far as they fit into one datagram, with how many there are. A line alone is never too long: names and labels are bounded.
fn datagrams(lines: &[String]) -> Vec<(String, usize)> {
    let mut all: Vec<(String, usize)> = Vec::new();
    for line in lines {
        match all.last_mut() {
            Some((text, count)) if text.len() + 1 + line.len() <= MAX_DATAGRAM_BYTES => {
                text.push('\n');
                text.push_str(line);
                *count += 1;
            }
            _ => all.push((line.clone(), 1)),
        }
    }
    all
}

/// Writes lines, and remembers where the counters stood.
struct Lines {
    /// Before each name.
    prefix: String,
    tags: StatsdTags,
    /// A tag of each.
    environment: Option<String>,
    counters: BTreeMap<String, f64>,
}

impl Lines {
    /// Without tags the environment is a part of the prefix.
    fn new(prefix: String, tags: StatsdTags, environment: Option<String>) -> Self {
        let (prefix, environment) = match (tags, environment) {
            (StatsdTags::None, Some(environment)) => (format!("{prefix}.{environment}"), None),
            (_, environment) => (prefix, environment),
        };
        Self { prefix, tags, environment, counters: BTreeMap::new() }
    }

    fn of(&mut self, families: &[MetricFamily]) -> Vec<String> {
        let mut lines = Vec::new();
        let before = std::mem::take(&mut self.counters);
        for family in families {
            for metric in family.get_metric() {
                let series = self.series(family.name(), metric.get_label());
                match family.get_field_type() {
                    MetricType::GAUGE => self.gauge(&series, metric.get_gauge().get_value(), &mut lines),
                    MetricType::COUNTER => self.counter(series, metric.get_counter().get_value(), &before, &mut lines),
                    MetricType::HISTOGRAM => {
                        let histogram = metric.get_histogram();
                        let labels = metric.get_label();
                        #[allow(clippy::cast_precision_loss, reason = "beyond 2^53 nothing is counted here")]
                        let count = histogram.get_sample_count() as f64;
                        let part = |part: &str| self.series(&format!("{}_{part}", family.name()), labels);
                        let (counts, sums) = (part("count"), part("sum"));
                        self.counter(counts, count, &before, &mut lines);
                        self.counter(sums, histogram.get_sample_sum(), &before, &mut lines);
                    }
                    MetricType::SUMMARY | MetricType::UNTYPED => {}
                }
            }
        }
        lines
    }

    /// Name and tags, with `{}` where the value goes.
    fn series(&self, name: &str, labels: &[LabelPair]) -> Series {
        let tags = self.environment.as_ref().map(|word| format!("|#{ENVIRONMENT}:{word}")).unwrap_or_default();
        let mut series = Series { name: format!("{}.{name}", self.prefix), tags };
        for label in labels.iter().filter(|label| !label.value().is_empty()) {
            match self.tags {
                StatsdTags::Dogstatsd => {
                    series.tags.push_str(if series.tags.is_empty() { "|#" } else { "," });
                    series.tags.push_str(label.name());
                    series.tags.push(':');
                    series.tags.push_str(&clean(label.value(), &['|', ',', '#', '@']));
                }
                StatsdTags::None => {
                    series.name.push('.');
                    series.name.push_str(&clean(label.value(), &['|', ':', '@', '#', '.', '/']));
                }
            }
        }
        series
    }

    fn gauge(&self, series: &Series, value: f64, lines: &mut Vec<String>) {
        if !value.is_finite() {
            return;
        }
        if value < 0.0 && self.tags == StatsdTags::None {
            // Of a gauge with a sign, plain StatsD takes the number for a change.
            lines.push(series.line(0.0, "g"));
        }
        lines.push(series.line(value, "g"));
    }

    fn counter(&mut self, series: Series, value: f64, before: &BTreeMap<String, f64>, lines: &mut Vec<String>) {
        if !value.is_finite() {
            return;
        }
        let key = series.line(0.0, "c");
        // What is lower than it was has begun anew.
        let grown = before.get(&key).map_or(0.0, |before| if value < *before { value } else { value - before });
        let is_new = !before.contains_key(&key);
        if grown > 0.0 || (is_new && value > 0.0 && !before.is_empty()) {
            lines.push(series.line(if is_new { value } else { grown }, "c"));
        }
        self.counters.insert(key, value);
    }
}

struct Series {
    name: String,
    tags: String,
}

impl Series {
    fn line(&self, value: f64, kind: &str) -> String {
        format!("{}:{value}|{kind}{}", self.name, self.tags)
    }
}

/// A label's value without what has a meaning of its own.
fn clean(value: &str, reserved: &[char]) -> String {
    value.chars().map(|c| if c.is_whitespace() || c.is_control() || reserved.contains(&c) { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

    struct Scene {
        registry: Registry,
        gauge: GaugeVec,
        counter: IntCounterVec,
        histogram: HistogramVec,
    }

    fn scene() -> Scene {
        let registry = Registry::new();
        let gauge = GaugeVec::new(Opts::new("quorate_state", "x"), &["service", "instance"]).unwrap();
        let counter = IntCounterVec::new(Opts::new("quorate_things_total", "x"), &["kind"]).unwrap();
        let histogram = HistogramVec::new(HistogramOpts::new("quorate_time_seconds", "x"), &[]).unwrap();
        registry.register(Box::new(gauge.clone())).unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        registry.register(Box::new(histogram.clone())).unwrap();
        gauge.with_label_values(&["web", "web@[::1]:80"]).set(-1.5);
        counter.with_label_values(&["a|b,c d"]).inc_by(7);
        histogram.with_label_values::<&str>(&[]).observe(0.25);
        Scene { registry, gauge, counter, histogram }
    }

    #[test]
    fn gauges_are_told_as_they_are_and_counters_by_how_they_grew() {
        let scene = scene();
        let mut lines = Lines::new("portal".to_owned(), StatsdTags::Dogstatsd, None);
        let gauge = "portal.quorate_state:-1.5|g|#instance:web@[::1]:80,service:web".replace('@', "_");
        assert_eq!(lines.of(&scene.registry.gather()), std::slice::from_ref(&gauge));
        scene.counter.with_label_values(&["a|b,c d"]).inc_by(3);
        scene.counter.with_label_values(&["new"]).inc();
        scene.histogram.with_label_values::<&str>(&[]).observe(0.5);
        let told = lines.of(&scene.registry.gather());
        let expected = [
            gauge,
            "portal.quorate_things_total:3|c|#kind:a_b_c_d".to_owned(),
            "portal.quorate_things_total:1|c|#kind:new".to_owned(),
            "portal.quorate_time_seconds_count:1|c".to_owned(),
            "portal.quorate_time_seconds_sum:0.5|c".to_owned(),
        ];
        assert_eq!(told, expected);
        scene.gauge.with_label_values(&["web", "web@[::1]:80"]).set(f64::NAN);
        assert_eq!(lines.of(&scene.registry.gather()), Vec::<String>::new());
    }

    #[test]
    fn without_tags_labels_are_parts_of_the_name() {
        let scene = scene();
        let mut lines = Lines::new("p".to_owned(), StatsdTags::None, None);
        let told = lines.of(&scene.registry.gather());
        assert_eq!(told, ["p.quorate_state.web_[__1]_80.web:0|g", "p.quorate_state.web_[__1]_80.web:-1.5|g"]);
    }

    #[test]
    fn the_environment_is_a_tag_or_a_part_of_the_name() {
        let told = |tags| {
            let scene = scene();
            let mut lines = Lines::new("p".to_owned(), tags, Some("dev".to_owned()));
            lines.of(&scene.registry.gather());
            scene.histogram.with_label_values::<&str>(&[]).observe(1.0);
            scene.gauge.with_label_values(&["web", "x"]).set(1.0);
            lines.of(&scene.registry.gather())
        };
        let tagged = told(StatsdTags::Dogstatsd);
        assert!(
            tagged.contains(&"p.quorate_state:1|g|#environment:dev,instance:x,service:web".to_owned()),
            "{tagged:?}"
        );
        assert!(tagged.contains(&"p.quorate_time_seconds_count:1|c|#environment:dev".to_owned()), "{tagged:?}");
        assert!(told(StatsdTags::None).iter().all(|line| line.starts_with("p.dev.quorate_")));
    }

    #[test]
    fn lines_fill_datagrams_and_no_more() {
        let lines: Vec<String> = (0..500).map(|number| format!("quorate.a_metric_{number}:{number}|g")).collect();
        let datagrams = datagrams(&lines);
        assert!(datagrams.len() > 5);
        assert!(datagrams.iter().all(|(text, _)| text.len() <= MAX_DATAGRAM_BYTES));
        assert_eq!(datagrams.iter().map(|(_, count)| count).sum::<usize>(), 500);
        let joined: Vec<_> = datagrams.iter().flat_map(|(text, _)| text.lines()).collect();
        assert_eq!(joined, lines);
    }

    #[tokio::test]
    async fn a_listener_hears_it_and_its_absence_is_counted() {
        let scene = scene();
        let listener = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let registry = scene.registry.clone();
        let gather: Gather = Arc::new(move || registry.gather());
        let settings = StatsdSettings {
            address: listener.local_addr().unwrap(),
            prefix: "quorate".to_owned(),
            interval: Duration::from_millis(20),
            tags: StatsdTags::Dogstatsd,
        };
        start(settings, None, gather, Arc::clone(&metrics)).unwrap();
        let mut bytes = [0; 2048];
        let length = timeout(Duration::from_secs(20), listener.recv(&mut bytes)).await.unwrap().unwrap();
        let text = std::str::from_utf8(&bytes[..length]).unwrap();
        assert!(text.starts_with("quorate.quorate_state:-1.5|g|#"), "{text}");
        assert!(!metrics.is_export_failing(Output::Statsd));
        let begun = std::time::Instant::now();
        drop(listener);
        while !metrics.is_export_failing(Output::Statsd) {
            assert!(begun.elapsed() < Duration::from_secs(20), "nobody listens, and nothing is dropped");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(metrics.exports_dropped(Output::Statsd) > 0);
    }
}

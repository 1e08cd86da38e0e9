//! Metrics and traces by OTLP over HTTP, in its JSON encoding (opentelemetry.io/docs/specs/otlp): collectors, Prometheus and most stores take it.

use super::otlp_http::{Endpoint, Fault};
use super::spans::{MAX_WAITING, Side, Span, Spans, Status};
use super::{Gather, Output, Teller};
use crate::agent::clock::wall;
use crate::config::OtlpSettings;
use crate::metrics::Metrics;
use data_encoding::HEXLOWER;
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Most points of one request; about 2 MiB.
const MAX_POINTS: usize = 5_000;
/// Spans of one request.
const MAX_SPANS: usize = 512;
/// Longest time that a span waits for others to go with.
const GATHER: Duration = Duration::from_secs(2);
/// How often, and after what times, spans are sent again that the far end could not take. Metrics are not: the next ones say it all.
const RETRIES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Sends for ever from now on what is wanted.
pub fn start(settings: OtlpSettings, teller: &Teller, gather: Gather, metrics: Arc<Metrics>) -> anyhow::Result<Spans> {
    let endpoint = Arc::new(Endpoint::new(&settings)?);
    let resource = Arc::new(resource(teller));
    if settings.metrics {
        let told = Told { resource: Arc::clone(&resource), start_unix_ns: unix_ns() };
        tokio::spawn(tell_metrics(Arc::clone(&endpoint), told, settings.interval, gather, Arc::clone(&metrics)));
    }
    if !settings.traces {
        return Ok(Spans::none());
    }
    let (spans, queue) = Spans::queue(Arc::clone(&metrics));
    tokio::spawn(tell_spans(endpoint, resource, queue, metrics));
    Ok(spans)
}

/// Since 1970.
fn unix_ns() -> u64 {
    wall().0.saturating_mul(1_000_000)
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn resource(teller: &Teller) -> Value {
    let mut attributes = vec![
        text("service.name", "quorate"),
        text("service.instance.id", &teller.agent),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("host.name", &teller.name),
        text("quorate.mesh", &teller.mesh),
    ];
    attributes.extend(teller.environment.as_ref().map(|word| text("deployment.environment.name", word)));
    json!({ "attributes": attributes })
}

fn scope() -> Value {
    json!({ "name": "quorate", "version": env!("CARGO_PKG_VERSION") })
}

/// What all requests with metrics have in common.
struct Told {
    resource: Arc<Value>,
    /// Since when counters count.
    start_unix_ns: u64,
}

async fn tell_metrics(endpoint: Arc<Endpoint>, told: Told, every: Duration, gather: Gather, metrics: Arc<Metrics>) {
    let mut turns = interval(every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        for (body, points) in told.requests(&gather(), unix_ns()) {
            match endpoint.post("/v1/metrics", body).await {
                Ok(()) => metrics.exported(Output::OtlpMetrics, points),
                Err(fault) => {
                    tracing::warn!(%fault, "metrics could not be exported");
                    metrics.export_dropped(Output::OtlpMetrics, points);
                }
            }
        }
    }
}

impl Told {
    /// The bodies of as many requests as it takes, and the points in each.
    fn requests(&self, families: &[MetricFamily], now_unix_ns: u64) -> Vec<(String, usize)> {
        let mut requests = Vec::new();
        let (mut batch, mut points) = (Vec::new(), 0);
        for family in families {
            for part in family.get_metric().chunks(MAX_POINTS) {
                if points + part.len() > MAX_POINTS {
                    requests.push((self.request(std::mem::take(&mut batch)), std::mem::take(&mut points)));
                }
                points += part.len();
                batch.extend(self.metric(family, part, now_unix_ns));
            }
        }
        if points > 0 {
            requests.push((self.request(batch), points));
        }
        requests
    }

    fn request(&self, metrics: Vec<Value>) -> String {
        let scoped = json!([{ "scope": scope(), "metrics": metrics }]);
        json!({ "resourceMetrics": [{ "resource": &*self.resource, "scopeMetrics": scoped }] }).to_string()
    }

    fn metric(&self, family: &MetricFamily, part: &[Metric], now_unix_ns: u64) -> Option<Value> {
        let point = |metric: &Metric, mut more: Value| {
            more["attributes"] = attributes(metric.get_label());
            more["startTimeUnixNano"] = self.start_unix_ns.to_string().into();
            more["timeUnixNano"] = now_unix_ns.to_string().into();
            more
        };
        let points = |of: fn(&Metric) -> Value| part.iter().map(|metric| point(metric, of(metric))).collect::<Vec<_>>();
        // 2 is cumulative.
        let (kind, data) = match family.get_field_type() {
            MetricType::GAUGE => (
                "gauge",
                json!({ "dataPoints": points(|metric| json!({ "asDouble": number(metric.get_gauge().get_value()) })) }),
            ),
            MetricType::COUNTER => {
                let points = points(|metric| json!({ "asDouble": number(metric.get_counter().get_value()) }));
                ("sum", json!({ "dataPoints": points, "aggregationTemporality": 2, "isMonotonic": true }))
            }
            MetricType::HISTOGRAM => {
                ("histogram", json!({ "dataPoints": points(histogram), "aggregationTemporality": 2 }))
            }
            MetricType::SUMMARY | MetricType::UNTYPED => return None,
        };
        let mut metric = json!({ "name": family.name(), "description": family.help() });
        metric[kind] = data;
        Some(metric)
    }
}

/// JSON has no infinities; the encoding writes them as words, as Protobuf's does.
fn number(value: f64) -> Value {
    let word = if value.is_nan() {
        "NaN"
    } else if value == f64::INFINITY {
        "Infinity"
    } else if value == f64::NEG_INFINITY {
        "-Infinity"
    } else {
        return value.into();
    };
    word.into()
}

fn histogram(metric: &Metric) -> Value {
    let histogram = metric.get_histogram();
    let buckets = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
    let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
    for bucket in buckets {
        bounds.push(bucket.upper_bound());
        counts.push((bucket.cumulative_count() - below).to_string());
        below = bucket.cumulative_count();
    }
    let all = histogram.get_sample_count();
    counts.push(all.saturating_sub(below).to_string());
    json!({
        "count": all.to_string(), "sum": number(histogram.get_sample_sum()), "bucketCounts": counts, "explicitBounds": bounds,
    })
}

fn attributes(labels: &[LabelPair]) -> Value {
    labels.iter().filter(|label| !label.value().is_empty()).map(|label| text(label.name(), label.value())).collect()
}

async fn tell_spans(
    endpoint: Arc<Endpoint>,
    resource: Arc<Value>,
    mut queue: mpsc::Receiver<Span>,
    metrics: Arc<Metrics>,
) {
    let mut waiting = Vec::with_capacity(MAX_WAITING);
    while queue.recv_many(&mut waiting, MAX_SPANS).await > 0 {
        let more = async { while waiting.len() < MAX_SPANS && queue.recv_many(&mut waiting, MAX_SPANS).await > 0 {} };
        let _ = timeout(GATHER, more).await;
        for spans in waiting.chunks(MAX_SPANS) {
            match post_again(&endpoint, &spans_request(&resource, spans)).await {
                Ok(()) => metrics.exported(Output::OtlpTraces, spans.len()),
                Err(fault) => {
                    tracing::warn!(%fault, "spans could not be exported");
                    metrics.export_dropped(Output::OtlpTraces, spans.len());
                }
            }
        }
        waiting.clear();
    }
}

async fn post_again(endpoint: &Endpoint, body: &str) -> Result<(), Fault> {
    for pause in RETRIES {
        match endpoint.post("/v1/traces", body.to_owned()).await {
            Err(fault) if fault.may_pass() => sleep(pause).await,
            ended => return ended,
        }
    }
    endpoint.post("/v1/traces", body.to_owned()).await
}

fn spans_request(resource: &Value, spans: &[Span]) -> String {
    let spans: Vec<_> = spans.iter().map(span).collect();
    let scoped = json!([{ "scope": scope(), "spans": spans }]);
    json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": scoped }] }).to_string()
}

fn span(span: &Span) -> Value {
    let kind = match span.side {
        Side::Internal => 1,
        Side::Server => 2,
        Side::Client => 3,
    };
    let status = match &span.status {
        Status::Unset => json!({}),
        Status::Error(message) => json!({ "code": 2, "message": message }),
    };
    let attributes: Vec<_> = span.attributes.iter().map(|(key, value)| text(key, value)).collect();
    json!({
        "traceId": HEXLOWER.encode(&span.trace), "spanId": HEXLOWER.encode(&span.id),
        "parentSpanId": span.parent.map(|parent| HEXLOWER.encode(&parent)).unwrap_or_default(),
        "name": span.name, "kind": kind, "attributes": attributes, "status": status,
        "startTimeUnixNano": span.start_unix_ns.to_string(), "endTimeUnixNano": span.end_unix_ns.to_string(),
    })
}

#[cfg(test)]
#[path = "otlp_tests.rs"]
mod tests;

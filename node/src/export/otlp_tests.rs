//! A receiver that decodes what it is sent.

use super::super::spans::{Answered, Context, Probed};
use super::*;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounter, Opts, Registry};
use quorate_core::Outcome;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A request as it came: its head, and its body in JSON.
type Received = (String, Value);

/// Answers each request with the next of these statuses, the last one for ever.
async fn receiver(statuses: &'static [u16]) -> (String, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/otlp/", listener.local_addr().unwrap());
    let (sender, received) = mpsc::channel(100);
    tokio::spawn(async move {
        let mut answered = 0;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let (head, length) = loop {
                assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
                let text = String::from_utf8_lossy(&bytes).to_string();
                if let Some((head, _)) = text.split_once("\r\n\r\n") {
                    let length = head.to_lowercase().split("content-length: ").nth(1).unwrap().to_owned();
                    break (head.to_owned(), length.lines().next().unwrap().parse::<usize>().unwrap());
                }
            };
            while bytes.len() < head.len() + 4 + length {
                assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
            }
            let body = serde_json::from_slice(&bytes[head.len() + 4..]).unwrap();
            let status = statuses[answered.min(statuses.len() - 1)];
            answered += 1;
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = sender.send((head, body)).await;
        }
    });
    (endpoint, received)
}

fn settings(endpoint: String) -> OtlpSettings {
    let (metrics, traces, interval) = (true, true, Duration::from_millis(50));
    OtlpSettings { endpoint, metrics, traces, interval, token_file: None, ca_file: None }
}

fn teller() -> Teller {
    Teller {
        agent: "3f0c5be2a91d4470".to_owned(),
        name: "host-a".to_owned(),
        mesh: "m".to_owned(),
        environment: Some("dev".to_owned()),
    }
}

async fn next(received: &mut mpsc::Receiver<Received>) -> Received {
    timeout(Duration::from_secs(30), received.recv()).await.expect("in time").expect("a request")
}

/// The value of an attribute.
fn attribute<'a>(of: &'a Value, key: &str) -> &'a Value {
    let all = of["attributes"].as_array().unwrap();
    &all.iter().find(|attribute| attribute["key"] == key).unwrap()["value"]["stringValue"]
}

#[tokio::test]
async fn metrics_arrive_in_every_shape() {
    let registry = Registry::new();
    let gauge = GaugeVec::new(Opts::new("quorate_state", "what it is"), &["service"]).unwrap();
    let counter = IntCounter::new("quorate_things_total", "things").unwrap();
    let options = HistogramOpts::new("quorate_time_seconds", "time").buckets(vec![0.1, 1.0]);
    let histogram = HistogramVec::new(options, &[]).unwrap();
    registry.register(Box::new(gauge.clone())).unwrap();
    registry.register(Box::new(counter.clone())).unwrap();
    registry.register(Box::new(histogram.clone())).unwrap();
    gauge.with_label_values(&["web"]).set(f64::INFINITY);
    counter.inc_by(7);
    [0.05, 0.5, 0.6, 30.0].iter().for_each(|value| histogram.with_label_values::<&str>(&[]).observe(*value));

    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "secret\n").unwrap();
    let (endpoint, mut received) = receiver(&[200]).await;
    let settings = OtlpSettings { token_file: Some(token), traces: false, ..settings(endpoint) };
    let metrics = Arc::new(Metrics::new().unwrap());
    let gather: Gather = Arc::new(move || registry.gather());
    assert!(!start(settings, &teller(), gather, Arc::clone(&metrics)).unwrap().are_wanted());
    let (head, body) = next(&mut received).await;
    assert!(head.starts_with("POST /otlp/v1/metrics HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer secret\r\n"), "{head}");
    let resource = &body["resourceMetrics"][0];
    assert_eq!(attribute(&resource["resource"], "service.instance.id"), "3f0c5be2a91d4470");
    assert_eq!(attribute(&resource["resource"], "deployment.environment.name"), "dev");
    let found = &resource["scopeMetrics"][0]["metrics"];
    assert_eq!(found[0]["name"], "quorate_state");
    let point = &found[0]["gauge"]["dataPoints"][0];
    assert_eq!((&point["asDouble"], attribute(point, "service")), (&"Infinity".into(), &"web".into()));
    assert_eq!(found[1]["sum"]["isMonotonic"], true);
    assert_eq!(found[1]["sum"]["dataPoints"][0]["asDouble"], 7.0);
    let point = &found[2]["histogram"]["dataPoints"][0];
    assert_eq!(point["bucketCounts"], json!(["1", "2", "1"]));
    assert_eq!((&point["explicitBounds"], &point["count"]), (&json!([0.1, 1.0]), &"4".into()));
    next(&mut received).await;
    assert_eq!(metrics.exports_dropped(Output::OtlpMetrics), 0);
}

#[test]
fn many_points_are_several_requests() {
    let registry = Registry::new();
    for family in 0..3 {
        let name = format!("quorate_state_{family}");
        let gauge = GaugeVec::new(Opts::new(name, "x"), &["instance"]).unwrap();
        registry.register(Box::new(gauge.clone())).unwrap();
        (0..4_000).for_each(|number| gauge.with_label_values(&[&number.to_string()]).set(1.0));
    }
    let told = Told { resource: Arc::new(resource(&teller())), start_unix_ns: 1 };
    let requests = told.requests(&registry.gather(), 2);
    assert_eq!(requests.iter().map(|(_, points)| *points).collect::<Vec<_>>(), [4_000, 4_000, 4_000]);
    assert!(told.requests(&[], 2).is_empty());
}

#[tokio::test]
async fn spans_arrive_and_are_sent_again_when_the_far_end_is_busy() {
    let (endpoint, mut received) = receiver(&[503, 200]).await;
    let metrics = Arc::new(Metrics::new().unwrap());
    let settings = OtlpSettings { metrics: false, ..settings(endpoint) };
    let spans = start(settings, &teller(), Arc::new(Vec::new), Arc::clone(&metrics)).unwrap();
    assert!(spans.are_wanted());
    let context = Context::read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
    let (client, ended_unix_ns, took) = (Some("::1".to_owned()), 1_000_000_000, Duration::from_millis(3));
    spans.request(
        context,
        Answered { method: "GET", route: "/v1/health", status: 503, id: "r-1", client, ended_unix_ns, took },
    );
    let outcome = Outcome::pass(Duration::from_millis(5));
    spans.probe(Probed { service: "web", instance: "web@1", check: "tcp", outcome: &outcome, ended_unix_ns });

    let (refused, taken) = (next(&mut received).await, next(&mut received).await);
    assert!(refused.0.starts_with("POST /otlp/v1/traces "), "{}", refused.0);
    assert_eq!(refused.1, taken.1, "the same again");
    let found = &taken.1["resourceSpans"][0]["scopeSpans"][0]["spans"];
    assert_eq!(found[0]["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(found[0]["parentSpanId"], "b7ad6b7169203331");
    assert_eq!((&found[0]["name"], &found[0]["kind"]), (&"GET /v1/health".into(), &2.into()));
    assert_eq!(found[0]["status"], json!({ "code": 2, "message": "status 503" }));
    assert_eq!(
        (&found[0]["startTimeUnixNano"], &found[0]["endTimeUnixNano"]),
        (&"997000000".into(), &"1000000000".into())
    );
    assert_eq!((&found[1]["name"], &found[1]["parentSpanId"]), (&"probe tcp".into(), &"".into()));
    assert_eq!(attribute(&found[1], "quorate.result"), "pass");
    assert_eq!(metrics.exports_dropped(Output::OtlpTraces), 0);
}

#[tokio::test]
async fn what_the_far_end_refuses_for_good_is_dropped_and_counted() {
    let (endpoint, mut received) = receiver(&[400]).await;
    let metrics = Arc::new(Metrics::new().unwrap());
    let settings = OtlpSettings { metrics: false, ..settings(endpoint) };
    let spans = start(settings, &teller(), Arc::new(Vec::new), Arc::clone(&metrics)).unwrap();
    let outcome = Outcome::pass(Duration::from_millis(5));
    spans.probe(Probed { service: "s", instance: "i", check: "tcp", outcome: &outcome, ended_unix_ns: 1 });
    next(&mut received).await;
    let begun = std::time::Instant::now();
    while metrics.exports_dropped(Output::OtlpTraces) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it was not counted");
        sleep(Duration::from_millis(10)).await;
    }
    assert!(received.try_recv().is_err(), "a refusal is not asked for again");
}

#[test]
fn an_endpoint_that_cannot_be_used_is_told() {
    let of = |endpoint: &str, ca_file: Option<&Path>| {
        let settings = OtlpSettings { ca_file: ca_file.map(Path::to_path_buf), ..settings(endpoint.to_owned()) };
        Endpoint::new(&settings).map(drop).map_err(|error| format!("{error:#}"))
    };
    assert_eq!(of("http://127.0.0.1:4318", None), Ok(()));
    assert_eq!(of("https://[::1]/otlp", None), Ok(()));
    assert!(of("127.0.0.1:4318", None).unwrap_err().contains("http:// or https://"));
    assert!(of("https://x", Some(Path::new("/none"))).unwrap_err().starts_with("otlp.ca_file: /none"));
}

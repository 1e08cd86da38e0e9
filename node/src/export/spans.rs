//! Spans: what took how long, for whom. They wait in a bounded queue; those beyond it are dropped and counted.

use super::Output;
use crate::metrics::Metrics;
use quorate_core::{Outcome, ProbeResult, Timings};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Spans that wait to be sent.
pub const MAX_WAITING: usize = 2_048;

/// What a trace is known by, as the caller told it (W3C Trace Context).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: [u8; 16],
    /// The span that the next one belongs to.
    pub parent: [u8; 8],
    /// Does the caller want the trace recorded?
    pub recorded: bool,
}

impl Context {
    /// Reads `traceparent`.
    pub fn read(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let version = parts.next().filter(|version| version.len() == 2 && *version != "ff")?;
        let (trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?);
        if version == "00" && parts.next().is_some() {
            return None;
        }
        let lower = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if ![version, trace, parent, flags].iter().all(|text| lower(text)) || flags.len() != 2 {
            return None;
        }
        let trace: [u8; 16] = data_encoding::HEXLOWER.decode(trace.as_bytes()).ok()?.try_into().ok()?;
        let parent: [u8; 8] = data_encoding::HEXLOWER.decode(parent.as_bytes()).ok()?.try_into().ok()?;
        let recorded = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        (trace != [0; 16] && parent != [0; 8]).then_some(Self { trace, parent, recorded })
    }

    /// The trace, as the log tells it.
    pub fn trace_id(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.trace)
    }
}

/// Whether a span's end was an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Nothing is said.
    Unset,
    /// It was, and what.
    Error(String),
}

/// On which side of a call a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Neither.
    Internal,
    /// It answers.
    Server,
    /// It asks.
    Client,
}

/// One span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The trace.
    pub trace: [u8; 16],
    /// The span.
    pub id: [u8; 8],
    /// What it belongs to.
    pub parent: Option<[u8; 8]>,
    /// What was done.
    pub name: String,
    /// On which side.
    pub side: Side,
    /// When it began, nanoseconds since 1970.
    pub start_unix_ns: u64,
    /// When it ended.
    pub end_unix_ns: u64,
    /// More about it.
    pub attributes: Vec<(&'static str, String)>,
    /// How it ended.
    pub status: Status,
}

/// Takes spans, if anybody wants them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Spans(Option<(mpsc::Sender<Span>, Arc<Metrics>)>);

impl Spans {
    /// Nobody wants them.
    pub fn none() -> Self {
        Self(None)
    }

    /// They are wanted at the other end of the queue.
    #[cfg_attr(not(feature = "otlp"), allow(dead_code))]
    pub fn queue(metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Span>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self(Some((sender, metrics))), receiver)
    }

    /// Does anybody want them?
    pub fn are_wanted(&self) -> bool {
        self.0.is_some()
    }

    fn put(&self, span: Span) {
        if let Some((sender, metrics)) = &self.0
            && sender.try_send(span).is_err()
        {
            metrics.export_dropped(Output::OtlpTraces, 1);
        }
    }

    /// A request was answered whose caller wants the trace recorded.
    pub fn request(&self, context: Context, request: Answered<'_>) {
        let mut attributes = vec![
            ("http.request.method", request.method.to_owned()),
            ("http.route", request.route.to_owned()),
            ("http.response.status_code", request.status.to_string()),
            ("quorate.request_id", request.id.to_owned()),
        ];
        attributes.extend(request.client.map(|client| ("client.address", client)));
        let failed = request.status >= 500;
        self.put(Span {
            trace: context.trace,
            id: rand::random(),
            parent: Some(context.parent),
            name: format!("{} {}", request.method, request.route),
            side: Side::Server,
            start_unix_ns: request.ended_unix_ns.saturating_sub(nanoseconds(request.took)),
            end_unix_ns: request.ended_unix_ns,
            attributes,
            status: if failed { Status::Error(format!("status {}", request.status)) } else { Status::Unset },
        });
    }

    /// A probe has ended: a trace of its own, with a span for each phase that was reached.
    pub fn probe(&self, probed: Probed<'_>) {
        let Probed { service, instance, check, outcome, ended_unix_ns } = probed;
        let (trace, id) = (rand::random(), rand::random());
        let start_unix_ns = ended_unix_ns.saturating_sub(nanoseconds(outcome.timings.total));
        let (word, status) = match &outcome.result {
            ProbeResult::Pass => ("pass", Status::Unset),
            ProbeResult::Protected(_) => ("protected", Status::Unset),
            ProbeResult::Warn(_) => ("warn", Status::Unset),
            ProbeResult::Fail(failure) => ("fail", Status::Error(failure.detail.clone())),
        };
        let mut attributes = vec![
            ("quorate.service", service.to_owned()),
            ("quorate.instance", instance.to_owned()),
            ("quorate.check", check.to_owned()),
            ("quorate.result", word.to_owned()),
        ];
        attributes.extend(outcome.peer.clone().map(|peer| ("network.peer.address", peer)));
        attributes.extend(outcome.status_code.map(|code| ("http.response.status_code", code.to_string())));
        let name = format!("probe {check}");
        let (side, end_unix_ns) = (Side::Client, ended_unix_ns);
        self.put(Span { trace, id, parent: None, name, side, start_unix_ns, end_unix_ns, attributes, status });
        for (name, start_unix_ns, end_unix_ns) in phases(&outcome.timings, ended_unix_ns) {
            let (name, parent, id) = (name.to_owned(), Some(id), rand::random());
            let (side, attributes, status) = (Side::Internal, Vec::new(), Status::Unset);
            self.put(Span { trace, id, parent, name, side, start_unix_ns, end_unix_ns, attributes, status });
        }
    }
}

/// A request and its answer.
#[derive(Debug)]
pub struct Answered<'a> {
    /// `GET` and so on.
    pub method: &'a str,
    /// The route's template.
    pub route: &'a str,
    /// The answer's status.
    pub status: u16,
    /// The request's id.
    pub id: &'a str,
    /// From where.
    pub client: Option<String>,
    /// When it ended, nanoseconds since 1970.
    pub ended_unix_ns: u64,
    /// How long it took.
    pub took: Duration,
}

/// A probe that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Probed<'a> {
    /// Of which service.
    pub service: &'a str,
    /// Of which instance.
    pub instance: &'a str,
    /// By what check.
    pub check: &'a str,
    /// How it went.
    pub outcome: &'a Outcome,
    /// When, nanoseconds since 1970.
    pub ended_unix_ns: u64,
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The phases of the last attempt, one after the other up to the end.
fn phases(timings: &Timings, ended_unix_ns: u64) -> Vec<(&'static str, u64, u64)> {
    let all = [
        ("resolve", timings.resolve),
        ("connect", timings.connect),
        ("tls", timings.tls),
        ("send", timings.send),
        ("first_byte", timings.first_byte),
        ("transfer", timings.transfer),
        ("assert", timings.assert),
    ];
    let reached: Vec<_> = all.into_iter().filter_map(|(name, took)| Some((name, nanoseconds(took?)))).collect();
    let sum = reached.iter().map(|(_, took)| took).sum();
    let mut at = ended_unix_ns.saturating_sub(sum);
    let place = |(name, took)| {
        let start = at;
        at += took;
        (name, start, at)
    };
    reached.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::{Cause, Phase};

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_is_read_as_its_standard_says() {
        let context = Context::read(PARENT).unwrap();
        assert_eq!((context.trace[0], context.parent[7], context.recorded), (0x0a, 0x31, true));
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        let unrecorded = Context::read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").unwrap();
        assert!(!unrecorded.recorded && unrecorded.trace == context.trace);
        assert_eq!(Context::read(&PARENT.replace("00-", "cc-")).as_ref(), Some(&context), "a later version");
        assert!(Context::read(&format!("{}-more", PARENT.replace("00-", "cc-"))).is_some());
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c8031-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-\u{fc}",
        ] {
            assert_eq!(Context::read(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_probe_is_a_trace_with_its_phases() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let (spans, mut queue) = Spans::queue(metrics);
        let ms = Duration::from_millis;
        let mut outcome = Outcome::fail(Phase::Connect, Cause::Refused, "refused", ms(9));
        outcome.timings = Timings { resolve: Some(ms(2)), connect: Some(ms(3)), total: ms(9), ..Timings::default() };
        let ended_unix_ns = 1_000_000_000;
        spans.probe(Probed { service: "web", instance: "web@1", check: "tcp", outcome: &outcome, ended_unix_ns });
        let root = queue.recv().await.unwrap();
        assert_eq!((root.name.as_str(), root.side, root.parent), ("probe tcp", Side::Client, None));
        assert_eq!(root.start_unix_ns, ended_unix_ns - 9_000_000);
        assert_eq!(root.status, Status::Error("refused".to_owned()));
        assert!(root.attributes.contains(&("quorate.result", "fail".to_owned())));
        let (resolve, connect) = (queue.recv().await.unwrap(), queue.recv().await.unwrap());
        assert_eq!((resolve.name.as_str(), connect.name.as_str()), ("resolve", "connect"));
        assert_eq!((resolve.parent, connect.trace), (Some(root.id), root.trace));
        assert_eq!((resolve.end_unix_ns, connect.end_unix_ns), (connect.start_unix_ns, ended_unix_ns));
    }

    #[tokio::test]
    async fn spans_beyond_the_queue_are_dropped_and_counted() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let (spans, _queue) = Spans::queue(Arc::clone(&metrics));
        let context = Context::read(PARENT).unwrap();
        for _ in 0..MAX_WAITING + 3 {
            let (client, ended_unix_ns, took) = (None, 1, Duration::ZERO);
            spans.request(
                context,
                Answered { method: "GET", route: "/", status: 200, id: "x", client, ended_unix_ns, took },
            );
        }
        assert_eq!(metrics.exports_dropped(Output::OtlpTraces), 3);
    }
}

//! `/v1/events`: what happens, as server-sent events that a reader can resume.

use super::limits::{Limit, MAX_EVENT_STREAMS, MAX_PAGE};
use super::parameters::{Kind, Parameter, Parameters};
use super::refusal::Fault;
use super::{Picture, Refusal, Service};
use crate::agent::event_log::{EventLog, Logged, Resumed, Since};
use crate::answers::{EventAnswer, EventsAnswer};
use crate::metrics::Metrics;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;

/// A comment is sent after this time of silence, so that dead connections are noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that wait for a slow reader beside those the agent holds anyway.
const AHEAD: usize = 64;

/// `since`
pub const SINCE: Parameter = Parameter {
    name: "since",
    kind: Kind::Text,
    help: "Begin after this event: an id such as `1-42`, or the index of one of this run; `0` for all that is held. \
           The header `Last-Event-ID` says the same and wins.",
};
/// `format`
pub const FORMAT: Parameter = Parameter {
    name: "format",
    kind: Kind::Word(|| vec!["sse", "json"]),
    help: "`sse` is a stream, `json` what is held, as one answer.",
};
/// `limit`
pub const LIMIT: Parameter = Parameter {
    name: "limit",
    kind: Kind::Count(1, MAX_PAGE),
    help: "With `format=json`: at most so many, the newest.",
};

/// A stream, or one answer with `format=json`.
pub async fn events(
    State(service): State<Service>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    // The header is what a browser sends when it reconnects: it knows better than the address it began with.
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok()).filter(|id| !id.is_empty());
    let since = header.or(parameters.text(SINCE.name));
    let since = since.map(|text| text.parse::<Since>().map_err(Refusal::bad_request)).transpose()?;
    if parameters.has(FORMAT.name) && parameters.admits(FORMAT.name, "json") {
        let limit = parameters.count(LIMIT.name).and_then(|limit| usize::try_from(limit).ok());
        return Ok(Json(held(&service, since.unwrap_or(Since::Start), limit)).into_response());
    }
    stream(&service, since.unwrap_or(Since::Now))
}

fn held(service: &Service, since: Since, limit: Option<usize>) -> EventsAnswer {
    let Picture { answer, .. } = service.picture();
    let Resumed { reset, backlog, .. } = service.0.events.follow(since);
    let skipped = backlog.len().saturating_sub(limit.unwrap_or(usize::MAX));
    let events: Vec<EventAnswer> = backlog.iter().skip(skipped).map(|event| EventAnswer::clone(&***event)).collect();
    let last = events.last().map_or_else(|| service.0.events.last_id(), |event| event.id.clone());
    EventsAnswer { view: answer, last, reset, events }
}

fn stream(service: &Service, since: Since) -> Result<Response, Refusal> {
    let Ok(permit) = Arc::clone(&service.0.streams).try_acquire_owned() else {
        service.0.metrics.limit_hit(Limit::EventStreams);
        let detail = format!("the agent serves {MAX_EVENT_STREAMS} streams already");
        let remedy = "close some, ask another agent, or poll with ?format=json&since=";
        return Err(Refusal::new(Fault::TooManyStreams, detail, remedy));
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    let (events, metrics) = (Arc::clone(&service.0.events), Arc::clone(&service.0.metrics));
    tokio::spawn(follow(events, since, Feed { sender, metrics, asked: Some(Instant::now()) }, permit));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

/// Where events go, counted on the way.
struct Feed {
    sender: mpsc::Sender<Result<Bytes, Infallible>>,
    metrics: Arc<Metrics>,
    /// When the stream was asked for, until its first event has gone out.
    asked: Option<Instant>,
}

impl Feed {
    async fn send(&mut self, event: &Logged) -> Result<(), ()> {
        self.sender.send(Ok(event.frame())).await.map_err(|_| ())?;
        self.metrics.event_sent(event.what.word());
        if let Some(asked) = self.asked.take() {
            // What has not happened yet cannot be sent.
            self.metrics.first_event_sent(asked.max(event.noted()).elapsed());
        }
        Ok(())
    }

    async fn comment(&self) -> Result<(), ()> {
        self.sender.send(Ok(Bytes::from_static(b":\n\n"))).await.map_err(|_| ())
    }
}

/// Feeds one reader until it is gone. A reader that lags is fed from what is held, so that it misses nothing that still is.
async fn follow(log: Arc<EventLog>, mut since: Since, mut feed: Feed, _permit: OwnedSemaphorePermit) {
    let _counted = feed.metrics.event_stream();
    loop {
        let Resumed { reset, backlog, newest, mut receiver } = log.follow(since);
        if reset && feed.send(&log.reset(backlog.first().map(|first| &***first))).await.is_err() {
            return;
        }
        for event in &backlog {
            if feed.send(event).await.is_err() {
                return;
            }
        }
        let mut last = newest;
        loop {
            let received = tokio::select! {
                () = feed.sender.closed() => return,
                () = sleep(KEEP_ALIVE) => {
                    if feed.comment().await.is_err() {
                        return;
                    }
                    continue;
                }
                received = receiver.recv() => received,
            };
            match received {
                Ok(event) => {
                    if feed.send(&event).await.is_err() {
                        return;
                    }
                    last = event.index;
                }
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return,
            }
        }
        since = Since::After { boot: None, index: last };
    }
}

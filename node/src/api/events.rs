//! `/v1/events`: what happens, as server-sent events that a reader can resume.

use super::{Picture, Refusal, Service};
use crate::agent::event_log::{EventLog, Resumed, Since};
use crate::answers::{EventAnswer, EventsAnswer};
use crate::metrics::Metrics;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;

/// A comment is sent after this time of silence, so that dead connections are noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that wait for a slow reader beside those the agent holds anyway.
const AHEAD: usize = 64;

/// Parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsQuery {
    since: Option<String>,
    format: Option<String>,
    limit: Option<usize>,
}

/// A stream, or one answer with `format=json`.
pub async fn events(
    State(service): State<Service>,
    headers: HeaderMap,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query?;
    // The header is what a browser sends when it reconnects: it knows better than the address it began with.
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let since = header.or(query.since).map(|text| text.parse::<Since>().map_err(Refusal::bad_request)).transpose()?;
    match query.format.as_deref() {
        Some("json") => Ok(Json(held(&service, since.unwrap_or(Since::Start), query.limit)).into_response()),
        None | Some("sse") => stream(&service, since.unwrap_or(Since::Now)),
        Some(other) => Err(Refusal::bad_request(format!("format={other:?} is not known; use json or sse"))),
    }
}

fn held(service: &Service, since: Since, limit: Option<usize>) -> EventsAnswer {
    let Picture { answer, .. } = service.picture();
    let Resumed { reset, backlog, .. } = service.0.events.follow(since);
    let skipped = backlog.len().saturating_sub(limit.unwrap_or(usize::MAX));
    let events: Vec<EventAnswer> = backlog.iter().skip(skipped).map(|event| EventAnswer::clone(event)).collect();
    let last = events.last().map_or_else(|| service.0.events.last_id(), |event| event.id.clone());
    EventsAnswer { view: answer, last, reset, events }
}

fn stream(service: &Service, since: Since) -> Result<Response, Refusal> {
    let Ok(permit) = Arc::clone(&service.0.streams).try_acquire_owned() else {
        return Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_streams",
            "the agent serves as many streams as it may",
            "close some, ask another agent, or poll with ?format=json&since=",
        ));
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    let (events, metrics) = (Arc::clone(&service.0.events), Arc::clone(&service.0.metrics));
    tokio::spawn(feed(events, since, sender, Serving::new(permit, metrics)));
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// A stream being served; counted until it is dropped.
struct Serving {
    _permit: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
}

impl Serving {
    fn new(permit: OwnedSemaphorePermit, metrics: Arc<Metrics>) -> Self {
        metrics.event_streams(1);
        Self { _permit: permit, metrics }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.metrics.event_streams(-1);
    }
}

type Sender = mpsc::Sender<Result<Event, Infallible>>;

/// Feeds one reader until it is gone. A reader that lags is fed from what is held, so that it misses nothing that still is.
async fn feed(log: Arc<EventLog>, mut since: Since, sender: Sender, _serving: Serving) {
    loop {
        let Resumed { reset, backlog, newest, mut receiver } = log.follow(since);
        if reset && send(&sender, &log.reset(backlog.first().map(Arc::as_ref))).await.is_err() {
            return;
        }
        for event in &backlog {
            if send(&sender, event).await.is_err() {
                return;
            }
        }
        let mut last = newest;
        loop {
            let received = tokio::select! {
                () = sender.closed() => return,
                received = receiver.recv() => received,
            };
            match received {
                Ok(event) => {
                    if send(&sender, &event).await.is_err() {
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

async fn send(sender: &Sender, event: &EventAnswer) -> Result<(), ()> {
    let data = serde_json::to_string(event).map_err(|_| ())?;
    let event = Event::default().id(&event.id).event(event.what.word()).data(data);
    sender.send(Ok(event)).await.map_err(|_| ())
}

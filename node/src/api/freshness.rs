//! How a reader learns of news without asking in vain: tags that name a picture, and requests that wait for the next one.

use super::Service;
use super::limits::{DEFAULT_WAIT, Limit, MAX_WAITING};
use super::operation::Operation;
use super::parameters::{Kind, Parameter, Parameters};
use super::refusal::{Fault, Refusal};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

/// What an answer depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// On the moment: it has no tag, and there is nothing to wait for.
    Momentary,
    /// On the picture alone, ages aside.
    Picture,
    /// On the program: it has a tag, and there is nothing to wait for.
    Program,
    /// On the picture and on this agent's last probe; the operation writes the tag itself.
    PictureAndProbe,
}

impl Freshness {
    /// Can a reader wait for the next answer?
    pub fn waits(self) -> bool {
        matches!(self, Self::Picture | Self::PictureAndProbe)
    }

    /// Does the answer have a tag?
    pub fn is_tagged(self) -> bool {
        self != Self::Momentary
    }
}

/// `index`
pub const INDEX: Parameter = Parameter {
    name: "index",
    kind: Kind::Count(0, u64::MAX),
    help: "Wait until the picture's index (`view.index` of the last answer) is another than this one, then answer.",
};
/// `wait`
pub const WAIT: Parameter = Parameter {
    name: "wait",
    kind: Kind::Wait,
    help: "With `index`: answer after this time anyway; 30s unless said otherwise. Longer than 50s is 50s.",
};

/// Waits until the picture is another than the one the reader knows. A lower index is one of an earlier run, so it waits for nothing.
///
/// # Errors
/// When as many requests wait as may.
pub async fn wait(service: &Service, parameters: &Parameters) -> Result<(), Refusal> {
    let Some(known) = parameters.count(INDEX.name) else { return Ok(()) };
    if service.0.published.view().index != known {
        return Ok(());
    }
    let Ok(_place) = service.0.waiting.try_acquire() else {
        service.0.metrics.limit_hit(Limit::Waiting);
        let detail = format!("{MAX_WAITING} requests wait for news already");
        return Err(Refusal::new(
            Fault::TooManyWaiting,
            detail,
            "ask without index, follow /v1/events, or ask another agent",
        ));
    };
    let _counted = service.0.metrics.waiting();
    let wait = parameters.wait(WAIT.name).unwrap_or(DEFAULT_WAIT);
    // Running out of time is an answer like any other.
    let _ = timeout(wait, service.0.published.other_than(known)).await;
    Ok(())
}

/// The answer for a reader that has the present picture already. What an operation may refuse is not decided here: a refusal is no news that
/// a tag could stand for.
pub fn unchanged(service: &Service, operation: &Operation, headers: &HeaderMap) -> Option<Response> {
    if operation.freshness != Freshness::Picture || !operation.faults.is_empty() {
        return None;
    }
    not_modified(headers, &tag(service, None))
}

/// What is left of `answer` for a reader that has what its tag names.
pub fn spared(operation: &Operation, known: &HeaderMap, answer: Response) -> Response {
    let named = answer.headers().get(header::ETAG).filter(|_| answer.status() == StatusCode::OK);
    let depends = operation.freshness == Freshness::Picture && !operation.faults.is_empty();
    named.filter(|_| depends).and_then(|tag| not_modified(known, tag)).unwrap_or(answer)
}

/// The answer for a reader that has what `tag` names.
pub fn not_modified(headers: &HeaderMap, tag: &HeaderValue) -> Option<Response> {
    let opaque = |text: &str| text.trim().trim_start_matches("W/").to_owned();
    let ours = opaque(tag.to_str().ok()?);
    let given = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let known = given.flat_map(|list| list.split(',')).any(|one| one.trim() == "*" || opaque(one) == ours);
    known.then(|| (StatusCode::NOT_MODIFIED, tagged(tag.clone())).into_response())
}

/// The tag of the present picture, and of this agent's probe that ended at `probe_ms`. Weak, because ages differ from answer to answer.
pub fn tag(service: &Service, probe_ms: Option<u64>) -> HeaderValue {
    let view = service.0.published.view();
    let (agent, boot, index) = (view.agent, service.0.about.boot, view.index);
    let probe = probe_ms.map(|ended| format!("-{ended}")).unwrap_or_default();
    HeaderValue::from_str(&format!("W/\"{agent}-{boot}-{index}{probe}\"")).unwrap_or(HeaderValue::from_static("W/\"\""))
}

/// Headers of an answer that has a tag: it may be kept, and must be asked after each time.
pub fn tagged(tag: HeaderValue) -> [(header::HeaderName, HeaderValue); 2] {
    [(header::ETAG, tag), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))]
}

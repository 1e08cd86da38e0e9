//! `grpc.health.v1` (gRPC's health checking protocol) for every service of the mesh, and for this agent by the empty name, at the addresses of
//! the API over HTTP/2. Refusals of the API are told as statuses of gRPC.

use super::limits::{Limit, MAX_EVENT_STREAMS, MAX_PAGE};
use super::operation::{ASK, Method, Operation};
use super::refusal::{Fault, Refusal};
use super::server::Peer;
use super::{Service, grpc_reflection, guard};
use crate::access::{Access, Caller, Channel, Denied};
use crate::answers::ErrorAnswer;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Version, header};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use quorate_core::{ServiceName, Verdict};
use quorate_mesh::MeshView;
use quorate_probe::grpc_health::{self, Serving};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

/// Largest question; a name has 63 characters at most.
pub const MAX_QUESTION_BYTES: usize = 4 * 1024;
/// What a watch sees of this agent itself does not always come with a new picture.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Statuses that wait for a slow reader of a watch.
const AHEAD: usize = 1;
const MEDIA: &str = "application/grpc";

/// The status that says that all is well.
pub const OK: u16 = 0;
const INVALID_ARGUMENT: u16 = 3;
const DEADLINE_EXCEEDED: u16 = 4;
const NOT_FOUND: u16 = 5;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;

/// Its operations: no part of the document at `/openapi.json`, which describes HTTP for people.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        // The agent itself is for everyone; the handlers see to the rest.
        access: Access::Public,
        method: Method::Post,
        path: "/grpc.health.v1.Health/Check",
        name: "grpc_check",
        handler: || post(check),
        ..ASK
    },
    Operation {
        access: Access::Public,
        method: Method::Post,
        path: "/grpc.health.v1.Health/Watch",
        name: "grpc_watch",
        handler: || post(watch),
        ..ASK
    },
    Operation {
        method: Method::Post,
        path: "/grpc.health.v1.Health/List",
        name: "grpc_list",
        handler: || post(list),
        ..ASK
    },
    grpc_reflection::V1,
    grpc_reflection::V1_ALPHA,
];

/// Is the request a call of gRPC?
pub fn is_call(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media.strip_prefix(MEDIA).is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// Who asks, and how.
type Asker = (Extension<Caller>, Extension<Peer>);

/// How is it now?
async fn check(State(service): State<Service>, (caller, peer): Asker, request: Request) -> Result<Response, Refusal> {
    let name = asked(request, &caller.0, &peer.0).await?;
    let view = service.0.published.view();
    match serving(&service, &view, &name) {
        Serving::ServiceUnknown if !view.settled => {
            let detail = "this agent has not caught up with the mesh yet, and may not know the service";
            Err(Refusal::new(Fault::NotReady, detail, "ask again, or ask another agent"))
        }
        Serving::ServiceUnknown => {
            let detail = format!("there is no service {name:?}");
            Err(Refusal::new(Fault::UnknownService, detail, "quorate services lists them"))
        }
        status => Ok(answered(grpc_health::response(status))),
    }
}

/// How is it now, and whenever that changes?
async fn watch(State(service): State<Service>, (caller, peer): Asker, request: Request) -> Result<Response, Refusal> {
    let name = asked(request, &caller.0, &peer.0).await?;
    let Ok(permit) = Arc::clone(&service.0.streams).try_acquire_owned() else {
        service.0.metrics.limit_hit(Limit::EventStreams);
        let detail = format!("the agent serves {MAX_EVENT_STREAMS} streams already");
        return Err(Refusal::new(Fault::TooManyStreams, detail, "end some, or ask another agent"));
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(follow(service, name, sender, permit));
    Ok(response(Body::new(StreamBody::new(ReceiverStream::new(receiver)))))
}

/// Tells one reader of every change until it is gone.
async fn follow(
    service: Service,
    name: String,
    sender: mpsc::Sender<Result<Frame<Bytes>, Infallible>>,
    _permit: OwnedSemaphorePermit,
) {
    let mut told = None;
    while !sender.is_closed() {
        let view = service.0.published.view();
        let status = serving(&service, &view, &name);
        if told != Some(status) {
            let frame = Frame::data(Bytes::from(grpc_health::response(status)));
            if sender.send(Ok(frame)).await.is_err() {
                return;
            }
            told = Some(status);
        }
        tokio::select! {
            () = sender.closed() => return,
            _ = timeout(LOOK_AGAIN, service.0.published.other_than(view.index)) => {}
        }
    }
}

/// Everything at once.
async fn list(State(service): State<Service>, request: Request) -> Result<Response, Refusal> {
    call(&request)?;
    let view = service.0.published.view();
    let mut verdicts: BTreeMap<&ServiceName, Vec<Verdict>> = BTreeMap::new();
    let agents = ServiceName::agents();
    for instance in view.instances.values().filter(|instance| instance.service != agents) {
        verdicts.entry(&instance.service).or_default().push(instance.verdict);
    }
    if u64::try_from(verdicts.len()).map_or(true, |count| count >= MAX_PAGE) {
        let detail = format!("there are more than {MAX_PAGE} services");
        return Err(Refusal::new(Fault::BodyTooLarge, detail, "ask for them one by one"));
    }
    let own = [("", serving(&service, &view, ""))];
    let services = verdicts.iter().map(|(name, verdicts)| (name.as_str(), judge(verdicts)));
    Ok(answered(grpc_health::list(own.into_iter().chain(services))))
}

/// The service in question, if the caller may ask about it.
async fn asked(request: Request, caller: &Caller, peer: &Peer) -> Result<String, Refusal> {
    call(&request)?;
    let body = axum::body::to_bytes(request.into_body(), MAX_QUESTION_BYTES).await;
    let unreadable = || {
        let detail = "the message is no HealthCheckRequest, is compressed, or is too long";
        let remedy = format!("send one of at most {MAX_QUESTION_BYTES} bytes, as it is");
        Refusal::new(Fault::BadRequest, detail, &remedy)
    };
    let name = grpc_health::requested(&body.map_err(|_| unreadable())?).ok_or_else(unreadable)?;
    // What came with a token was let in by it.
    match (caller, peer.channel) {
        (_, Channel::Open) if !name.is_empty() => Err(guard::denied(Denied::NotSecure)),
        (Caller::Anyone, Channel::Secure) if !name.is_empty() => Err(guard::denied(Denied::NoToken)),
        _ => Ok(name),
    }
}

/// Is the request one of gRPC?
///
/// # Errors
/// When it is not.
pub fn call(request: &Request) -> Result<(), Refusal> {
    if is_call(request.headers()) && request.version() == Version::HTTP_2 {
        return Ok(());
    }
    let detail = format!("this is called by gRPC: HTTP/2, with the content type {MEDIA}");
    Err(Refusal::new(Fault::NotGrpc, detail, "GET /v1/services/{service} answers HTTP"))
}

/// How a service is; by the empty name, this agent.
fn serving(service: &Service, view: &MeshView, name: &str) -> Serving {
    if name.is_empty() {
        let ready = service.0.published.not_ready().is_empty();
        return if ready { Serving::Serving } else { Serving::NotServing };
    }
    let of_service = view.instances.values().filter(|instance| instance.service.as_str() == name);
    let verdicts: Vec<Verdict> = of_service.map(|instance| instance.verdict).collect();
    if verdicts.is_empty() { Serving::ServiceUnknown } else { judge(&verdicts) }
}

/// A service can be used while one of its instances can.
fn judge(verdicts: &[Verdict]) -> Serving {
    let usable = |verdict: &Verdict| matches!(verdict, Verdict::Up | Verdict::Degraded | Verdict::Partial);
    if verdicts.iter().any(usable) {
        Serving::Serving
    } else if verdicts.contains(&Verdict::Unknown) && !verdicts.contains(&Verdict::Down) {
        Serving::Unknown
    } else {
        Serving::NotServing
    }
}

/// One message, and that all is well.
fn answered(message: Vec<u8>) -> Response {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(OK));
    let frames = [Frame::data(Bytes::from(message)), Frame::trailers(trailers)].map(Ok::<_, Infallible>);
    response(Body::new(StreamBody::new(tokio_stream::iter(frames))))
}

/// The beginning of an answer.
pub fn response(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA));
    response
}

/// A refusal of the API as gRPC tells it: in headers, without a message.
pub fn refused(error: &ErrorAnswer) -> Response {
    let status = match (error.error.as_str(), error.status) {
        ("unknown_path" | "method_not_allowed" | "not_grpc", _) => UNIMPLEMENTED,
        (_, 400 | 422) => INVALID_ARGUMENT,
        (_, 401) => UNAUTHENTICATED,
        (_, 403) => PERMISSION_DENIED,
        (_, 404) => NOT_FOUND,
        (_, 408) => DEADLINE_EXCEEDED,
        ("too_many_streams", _) | (_, 413 | 429) => RESOURCE_EXHAUSTED,
        (_, 421 | 503) => UNAVAILABLE,
        _ => INTERNAL,
    };
    let said = format!("{}; {}", error.detail, error.remedy);
    let mut refused = response(Body::empty());
    refused.headers_mut().insert("grpc-status", HeaderValue::from(status));
    let message = HeaderValue::from_str(&percent_encoded(&said));
    refused.headers_mut().insert("grpc-message", message.unwrap_or(HeaderValue::from_static("")));
    refused
}

/// What is not printable ASCII, and `%`, as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_serves_while_one_instance_can_be_used() {
        use Verdict::{Degraded, Down, Draining, Maintenance, Partial, Starting, Unknown, Up};
        for (verdicts, expected) in [
            (&[Up, Down][..], Serving::Serving),
            (&[Degraded], Serving::Serving),
            (&[Partial, Unknown], Serving::Serving),
            (&[Down, Unknown], Serving::NotServing),
            (&[Unknown, Starting], Serving::Unknown),
            (&[Starting], Serving::NotServing),
            (&[Draining, Maintenance], Serving::NotServing),
        ] {
            assert_eq!(judge(verdicts), expected, "{verdicts:?}");
        }
    }

    #[test]
    fn calls_are_known_by_their_media_type() {
        for (media, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let headers = [(header::CONTENT_TYPE, HeaderValue::from_str(media).unwrap())].into_iter().collect();
            assert_eq!(is_call(&headers), is, "{media}");
        }
    }

    #[test]
    fn refusals_have_a_status() {
        let status = |fault: Fault| {
            let (_, answer) = Refusal::new(fault, "50 % is\nnot enough", "ask").into_answer("1");
            let refused = refused(&answer);
            assert_eq!(refused.headers()["grpc-message"], "50 %25 is%0Anot enough; ask");
            refused.headers()["grpc-status"].to_str().unwrap().parse::<u16>().unwrap()
        };
        for (fault, expected) in [
            (Fault::UnknownService, NOT_FOUND),
            (Fault::UnknownPath, UNIMPLEMENTED),
            (Fault::Unauthorized, UNAUTHENTICATED),
            (Fault::Forbidden, PERMISSION_DENIED),
            (Fault::RateLimited, RESOURCE_EXHAUSTED),
            (Fault::TooManyStreams, RESOURCE_EXHAUSTED),
            (Fault::NotReady, UNAVAILABLE),
            (Fault::Internal, INTERNAL),
        ] {
            assert_eq!(status(fault), expected, "{fault:?}");
        }
    }
}

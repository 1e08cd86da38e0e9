//! `grpc.reflection`: tells clients that know no definitions, such as grpcurl, how `grpc.health.v1` is asked. Its definition is written by hand, as
//! its messages are.

use super::Service;
use super::grpc::{MAX_QUESTION_BYTES, OK, call, response};
use super::limits::{Limit, MAX_EVENT_STREAMS};
use super::operation::{ASK, Method, Operation};
use super::refusal::{Fault, Refusal};
use crate::access::Access;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// The present version. What it says is not secret: this file is public.
pub const V1: Operation = Operation {
    access: Access::Public,
    method: Method::Post,
    path: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    name: "grpc_reflection",
    handler: || post(reflect),
    ..ASK
};
/// The one before, with the same messages, for which older clients ask.
pub const V1_ALPHA: Operation = Operation {
    path: "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    name: "grpc_reflection_alpha",
    ..V1
};

/// What can be asked about.
const HEALTH: &str = "grpc.health.v1.Health";
const FILE: &str = "grpc/health/v1/health.proto";
/// The beginning of every name in that file.
const PACKAGE: &str = "grpc.health.v1";
const MESSAGES: [&str; 4] = ["HealthCheckRequest", "HealthCheckResponse", "HealthListRequest", "HealthListResponse"];
/// There is no such thing.
const NOT_FOUND: u64 = 5;
const UNIMPLEMENTED: u64 = 12;
/// Answers that wait for a slow reader.
const AHEAD: usize = 1;
/// Who asks nothing for so long has no more questions: nobody needs a token to ask, and streams are few.
const IDLE: Duration = Duration::from_secs(30);

/// Answers question after question until there are no more.
async fn reflect(State(service): State<Service>, request: Request) -> Result<Response, Refusal> {
    call(&request)?;
    let Ok(permit) = Arc::clone(&service.0.streams).try_acquire_owned() else {
        service.0.metrics.limit_hit(Limit::EventStreams);
        let detail = format!("the agent serves {MAX_EVENT_STREAMS} streams already");
        return Err(Refusal::new(Fault::TooManyStreams, detail, "end some, or ask another agent"));
    };
    let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(AHEAD);
    tokio::spawn(async move {
        let _permit = permit;
        let mut questions = Questions { body: request.into_body().into_data_stream(), held: Vec::new() };
        while let Some(question) = questions.next().await {
            let answer = framed(&answer(&question));
            if sender.send(Ok(Frame::data(Bytes::from(answer)))).await.is_err() {
                return;
            }
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from(OK));
        let _ = sender.send(Ok(Frame::trailers(trailers))).await;
    });
    Ok(response(Body::new(StreamBody::new(ReceiverStream::new(receiver)))))
}

/// Messages as they come.
struct Questions {
    body: BodyDataStream,
    held: Vec<u8>,
}

impl Questions {
    /// The next; none once the client has no more, or sends what cannot be read.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(([compressed, length @ ..], rest)) = self.held.split_first_chunk::<5>() {
                let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                if *compressed != 0 || length > MAX_QUESTION_BYTES {
                    return None;
                }
                if let Some(message) = rest.get(..length) {
                    let message = message.to_vec();
                    self.held.drain(..5 + length);
                    return Some(message);
                }
            }
            self.held.extend_from_slice(&timeout(IDLE, self.body.next()).await.ok()??.ok()?);
        }
    }
}

/// `ServerReflectionResponse` to a `ServerReflectionRequest`; it repeats the question.
fn answer(question: &[u8]) -> Vec<u8> {
    let (kind, asked) = asked(question).unwrap_or_default();
    let known = match kind {
        3 => asked == FILE,
        4 => is_symbol(asked),
        _ => false,
    };
    let told = match kind {
        3 | 4 if known => bytes(4, &bytes(1, &definition())),
        7 => bytes(6, &bytes(1, &bytes(1, HEALTH.as_bytes()))),
        3..=6 => failure(NOT_FOUND, "there is no such thing; the service is grpc.health.v1.Health"),
        _ => failure(UNIMPLEMENTED, "this is no question that can be answered"),
    };
    [bytes(2, question), told].concat()
}

fn failure(code: u64, message: &str) -> Vec<u8> {
    bytes(7, &[number(1, code), bytes(2, message.as_bytes())].concat())
}

/// A service, one of its methods, or a message of it, by its full name.
fn is_symbol(name: &str) -> bool {
    let Some(name) = name.strip_prefix(PACKAGE).and_then(|name| name.strip_prefix('.')) else { return false };
    MESSAGES.contains(&name)
        || matches!(name, "Health" | "Health.Check" | "Health.Watch" | "Health.List")
        || matches!(name, "HealthCheckResponse.ServingStatus" | "HealthListResponse.StatusesEntry")
}

/// The number and the text of what is asked for; texts alone matter, the host is of no interest.
fn asked(question: &[u8]) -> Option<(u64, &str)> {
    let (mut rest, mut found) = (question, None);
    while !rest.is_empty() {
        let (tag, after) = varint(rest)?;
        if tag & 7 != 2 {
            return None;
        }
        let (length, after) = varint(after)?;
        let (text, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        match tag >> 3 {
            1 => {}
            // What is asked about extensions is a message; its kind is enough.
            kind => found = Some((kind, std::str::from_utf8(text).unwrap_or_default())),
        }
        rest = after;
    }
    found
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().take(9).position(|byte| byte & 0x80 == 0)?;
    let value = bytes[..=end].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Some((value, &bytes[end + 1..]))
}

/// The file `grpc/health/v1/health.proto` as a `FileDescriptorProto`.
fn definition() -> Vec<u8> {
    // Types and labels of fields, by their numbers in `descriptor.proto`.
    const STRING: u64 = 9;
    const MESSAGE: u64 = 11;
    const ENUM: u64 = 14;
    const OPTIONAL: u64 = 1;
    const REPEATED: u64 = 3;
    let of = |name: &str| format!(".{PACKAGE}.{name}");
    let field = |name: &str, place: u64, label: u64, kind: u64, of: &str| {
        let kind_name = if of.is_empty() { Vec::new() } else { bytes(6, of.as_bytes()) };
        let parts = [bytes(1, name.as_bytes()), number(3, place), number(4, label), number(5, kind), kind_name];
        bytes(2, &[parts.concat(), bytes(10, name.as_bytes())].concat())
    };
    let message = |name: &str, inside: &[Vec<u8>]| [bytes(1, name.as_bytes()), inside.concat()].concat();
    let words = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"].into_iter().zip(0..);
    let words = words.flat_map(|(word, value)| bytes(2, &[bytes(1, word.as_bytes()), number(2, value)].concat()));
    let status = bytes(4, &[bytes(1, b"ServingStatus"), words.collect()].concat());
    let pair = [
        field("key", 1, OPTIONAL, STRING, ""),
        field("value", 2, OPTIONAL, MESSAGE, &of("HealthCheckResponse")),
        // An entry of a map.
        bytes(7, &number(7, 1)),
    ];
    let entries = bytes(3, &message("StatusesEntry", &pair));
    let messages = [
        message(MESSAGES[0], &[field("service", 1, OPTIONAL, STRING, "")]),
        message(MESSAGES[1], &[field("status", 1, OPTIONAL, ENUM, &of("HealthCheckResponse.ServingStatus")), status]),
        message(MESSAGES[2], &[]),
        message(
            MESSAGES[3],
            &[field("statuses", 1, REPEATED, MESSAGE, &of("HealthListResponse.StatusesEntry")), entries],
        ),
    ];
    let method = |name: &str, asks: &str, tells: &str, streams: bool| {
        let parts = [bytes(1, name.as_bytes()), bytes(2, of(asks).as_bytes()), bytes(3, of(tells).as_bytes())];
        bytes(2, &[parts.concat(), if streams { number(6, 1) } else { Vec::new() }].concat())
    };
    let methods = [
        method("Check", MESSAGES[0], MESSAGES[1], false),
        method("List", MESSAGES[2], MESSAGES[3], false),
        method("Watch", MESSAGES[0], MESSAGES[1], true),
    ];
    let parts = [
        bytes(1, FILE.as_bytes()),
        bytes(2, PACKAGE.as_bytes()),
        messages.iter().flat_map(|message| bytes(4, message)).collect(),
        bytes(6, &message("Health", &methods)),
        bytes(12, b"proto3"),
    ];
    parts.concat()
}

fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
    [&written(field << 3 | 2), &written(length), content].concat()
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [written(field << 3), written(value)].concat()
}

fn written(mut value: u64) -> Vec<u8> {
    let mut digits = Vec::new();
    while value >= 0x80 {
        digits.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    digits.push(value as u8);
    digits
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_read() {
        assert_eq!(asked(&bytes(7, b"")), Some((7, "")));
        assert_eq!(asked(&[bytes(1, b"host"), bytes(4, b"x")].concat()), Some((4, "x")));
        for bad in [&[][..], &[0x3a], &[0x3a, 5, 1], &[0x38, 1], &[0xff; 12]] {
            assert_eq!(asked(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn services_and_symbols_are_told() {
        let tells = |question: Vec<u8>, what: &str| {
            let answer = answer(&question);
            answer.starts_with(&bytes(2, &question)) && answer.windows(what.len()).any(|part| part == what.as_bytes())
        };
        assert!(tells(bytes(7, b""), HEALTH));
        for symbol in ["Health", "Health.Watch", "HealthCheckRequest", "HealthCheckResponse.ServingStatus"] {
            assert!(tells(bytes(4, format!("{PACKAGE}.{symbol}").as_bytes()), "SERVICE_UNKNOWN"), "{symbol}");
        }
        assert!(tells(bytes(3, FILE.as_bytes()), "StatusesEntry"));
        assert!(tells(bytes(4, b"grpc.health.v1.Other"), "no such thing"));
        assert!(tells(bytes(4, b"grpc.health.v1"), "no such thing"));
        assert!(tells(bytes(5, b"\x0a\x01x"), "no such thing"));
        assert!(tells(Vec::new(), "no question"));
    }
}

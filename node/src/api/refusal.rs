//! Errors of the API as problem details (RFC 9457): a word for machines, a sentence for people, and what to do.

use crate::answers::ErrorAnswer;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::time::Duration;

/// The media type of every error.
pub const PROBLEM: &str = "application/problem+json";

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A parameter, or the path, cannot be read.
    BadRequest,
    /// There is no such instance.
    UnknownInstance,
    /// There is no such service.
    UnknownService,
    /// There is no such breaker.
    UnknownBreaker,
    /// The agent makes no such check of itself.
    UnknownCheck,
    /// The agent has no such queue.
    UnknownQueue,
    /// There is no such path.
    UnknownPath,
    /// Another method is needed.
    MethodNotAllowed,
    /// The answer took too long.
    Timeout,
    /// The request is too large.
    BodyTooLarge,
    /// The request is meant for another host.
    Misdirected,
    /// A token is needed, or the one that came is not good.
    Unauthorized,
    /// The token is not good for this, or not from there.
    Forbidden,
    /// Not without TLS.
    NotSecure,
    /// Too many requests.
    RateLimited,
    /// The agent does not know such a member.
    UnknownMember,
    /// It does not go together with what is there.
    Conflict,
    /// Another agent must be asked.
    NotHome,
    /// The body can be read, and breaks a rule.
    Invalid,
    /// No history is kept.
    NoHistory,
    /// What was to be read anew cannot be used.
    NotReloaded,
    /// It is called by gRPC alone.
    NotGrpc,
    /// The agent has not caught up with the mesh.
    NotReady,
    /// The agent is at fault.
    Internal,
    /// Too many streams of events.
    TooManyStreams,
    /// Too many requests wait for news.
    TooManyWaiting,
}

impl Fault {
    /// Every one, with its status, its word, and what it says in general.
    pub const ALL: [(Self, StatusCode, &'static str, &'static str); 26] = [
        (Self::BadRequest, StatusCode::BAD_REQUEST, "bad_request", "The request cannot be read"),
        (Self::UnknownInstance, StatusCode::NOT_FOUND, "unknown_instance", "There is no such instance"),
        (Self::UnknownService, StatusCode::NOT_FOUND, "unknown_service", "There is no such service"),
        (Self::UnknownBreaker, StatusCode::NOT_FOUND, "unknown_breaker", "There is no such breaker"),
        (Self::UnknownCheck, StatusCode::NOT_FOUND, "unknown_check", "There is no such check"),
        (Self::UnknownQueue, StatusCode::NOT_FOUND, "unknown_queue", "There is no such queue"),
        (Self::UnknownPath, StatusCode::NOT_FOUND, "unknown_path", "There is no such path"),
        (
            Self::MethodNotAllowed,
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "The method is not allowed here",
        ),
        (Self::Timeout, StatusCode::REQUEST_TIMEOUT, "timeout", "The answer took too long"),
        (Self::BodyTooLarge, StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The request is too large"),
        (Self::Misdirected, StatusCode::MISDIRECTED_REQUEST, "misdirected", "The request is meant for another host"),
        (Self::Unauthorized, StatusCode::UNAUTHORIZED, "unauthorized", "A token is needed"),
        (Self::Forbidden, StatusCode::FORBIDDEN, "forbidden", "The token does not allow this"),
        (Self::NotSecure, StatusCode::FORBIDDEN, "not_secure", "Not without TLS"),
        (Self::RateLimited, StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many requests"),
        (Self::NoHistory, StatusCode::NOT_FOUND, "no_history", "No history is kept"),
        (Self::UnknownMember, StatusCode::NOT_FOUND, "unknown_member", "There is no such member"),
        (Self::Conflict, StatusCode::CONFLICT, "conflict", "It does not go together with what is there"),
        (Self::NotHome, StatusCode::CONFLICT, "not_home", "Another agent must be asked"),
        (Self::Invalid, StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The body breaks a rule"),
        (Self::NotReloaded, StatusCode::UNPROCESSABLE_ENTITY, "not_reloaded", "What is new cannot be used"),
        (Self::NotGrpc, StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_grpc", "This is called by gRPC"),
        (Self::NotReady, StatusCode::SERVICE_UNAVAILABLE, "not_ready", "The agent has not caught up with the mesh"),
        (Self::Internal, StatusCode::INTERNAL_SERVER_ERROR, "internal", "The agent is at fault"),
        (Self::TooManyStreams, StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", "Too many streams are served"),
        (Self::TooManyWaiting, StatusCode::SERVICE_UNAVAILABLE, "too_many_waiting", "Too many requests wait for news"),
    ];

    fn entry(self) -> (StatusCode, &'static str, &'static str) {
        let found = Self::ALL.iter().find(|(fault, ..)| *fault == self);
        found.map_or((StatusCode::INTERNAL_SERVER_ERROR, "internal", ""), |(_, code, word, title)| (*code, word, title))
    }

    /// The status it is answered with.
    pub fn status(self) -> StatusCode {
        self.entry().0
    }

    /// What it says in general.
    pub fn title(self) -> &'static str {
        self.entry().2
    }
}

/// An error as it is answered. What made the request, and with which id, is added by the guard.
#[derive(Debug, Clone)]
pub struct Refusal {
    code: StatusCode,
    answer: Box<ErrorAnswer>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// An error in words, with what to do about it.
    pub fn new(fault: Fault, detail: impl Into<String>, remedy: &str) -> Self {
        let (code, word, title) = fault.entry();
        let answer = ErrorAnswer {
            kind: format!("urn:quorate:problem:{word}"),
            title: title.to_owned(),
            status: code.as_u16(),
            detail: detail.into(),
            error: word.to_owned(),
            remedy: remedy.to_owned(),
            request_id: String::new(),
            nearest: Vec::new(),
        };
        Self { code, answer: Box::new(answer), retry_after: None }
    }

    /// Says when to ask again.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Adds names that come near the one asked for.
    pub fn nearest(mut self, nearest: Vec<String>) -> Self {
        self.answer.nearest = nearest;
        self
    }

    /// A parameter that cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(Fault::BadRequest, detail, "GET /openapi.json lists the parameters")
    }

    /// A fault of the agent.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(Fault::Internal, detail, "the agent's log says more")
    }

    /// The answer, once it is known under which id the request ran.
    pub fn into_answer(mut self, request_id: &str) -> (StatusCode, ErrorAnswer) {
        request_id.clone_into(&mut self.answer.request_id);
        (self.code, *self.answer)
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

/// The status alone; the guard writes the body.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.code.into_response();
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        if self.code == StatusCode::UNAUTHORIZED {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"quorate\""));
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"quorate\""));
        }
        response.extensions_mut().insert(self);
        response
    }
}

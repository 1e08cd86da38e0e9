//! Errors of the API: a word for machines, a sentence for people, and what to do.

use crate::answers::ErrorAnswer;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// An error as it is answered.
#[derive(Debug)]
pub struct Refusal {
    code: StatusCode,
    answer: ErrorAnswer,
}

impl Refusal {
    /// An error with its status.
    pub fn new(code: StatusCode, error: &str, detail: impl Into<String>, remedy: &str) -> Self {
        let answer = ErrorAnswer {
            error: error.to_owned(),
            detail: detail.into(),
            remedy: remedy.to_owned(),
            nearest: Vec::new(),
        };
        Self { code, answer }
    }

    /// Adds names that come near the one asked for.
    pub fn nearest(mut self, nearest: Vec<String>) -> Self {
        self.answer.nearest = nearest;
        self
    }

    /// A query parameter that cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail, "docs/http-api.md lists the parameters")
    }

    /// A fault of the agent.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail, "the agent's log says more")
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.code, Json(self.answer)).into_response()
    }
}

//! Answers that are given out again. Readers of one picture get the same bytes, which are written once in a tenth of a second, however many ask.

use super::limits::{KEPT_FOR, MAX_KEPT, MAX_KEPT_BYTES};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The answers that are kept, by what was asked.
#[derive(Debug, Default)]
pub struct Kept(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    answers: HashMap<String, Answer>,
    bytes: usize,
    hits: u64,
    misses: u64,
}

#[derive(Debug, Clone)]
struct Answer {
    /// Of the picture it was made from.
    index: u64,
    since: Instant,
    headers: HeaderMap,
    body: Bytes,
}

impl Kept {
    /// The answer to `asked` from the picture `index`, if it is still good.
    pub fn find(&self, asked: &str, index: u64) -> Option<Response> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = |answer: &&Answer| answer.index == index && answer.since.elapsed() < KEPT_FOR;
        let found = shelf.answers.get(asked).filter(is_good);
        let Some((headers, body)) = found.map(|answer| (answer.headers.clone(), answer.body.clone())) else {
            shelf.misses += 1;
            return None;
        };
        shelf.hits += 1;
        drop(shelf);
        let mut response = Response::new(Body::from(body));
        *response.headers_mut() = headers;
        Some(response)
    }

    /// How often an answer was there, and how often it was not.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        let shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (shelf.hits, shelf.misses)
    }

    /// Keeps an answer that was just made from the picture `index`, and returns it.
    pub async fn keep(&self, asked: String, index: u64, since: Instant, response: Response) -> Response {
        if response.status() != StatusCode::OK || !has_length(&response) {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        // What has a length is in memory already.
        let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
            return Response::from_parts(parts, Body::empty());
        };
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        let answer = Answer { index, since, headers: parts.headers.clone(), body: body.clone() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(asked, answer);
        Response::from_parts(parts, Body::from(body))
    }
}

fn has_length(response: &Response) -> bool {
    use axum::body::HttpBody;
    response.body().size_hint().exact().is_some_and(|bytes| bytes <= MAX_KEPT_BYTES as u64)
}

impl Shelf {
    fn put(&mut self, asked: String, answer: Answer) {
        if let Some(old) = self.answers.remove(&asked) {
            self.bytes -= old.body.len();
        }
        // What is kept is worth a tenth of a second: nobody is looked for who could go.
        if self.answers.len() >= MAX_KEPT || self.bytes + answer.body.len() > MAX_KEPT_BYTES {
            self.answers.clear();
            self.bytes = 0;
        }
        self.bytes += answer.body.len();
        self.answers.insert(asked, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Json;
    use axum::response::IntoResponse;

    async fn text(response: Response) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    async fn keep(kept: &Kept, asked: &str, since: Instant, body: &str) {
        let _ = kept.keep(asked.to_owned(), 7, since, Json(body).into_response()).await;
    }

    #[tokio::test]
    async fn the_same_picture_has_the_same_answer_for_a_while() {
        let kept = Kept::default();
        let made = kept.keep("/a".to_owned(), 7, Instant::now(), Json("one").into_response()).await;
        assert_eq!(text(made).await, "\"one\"");
        // A loaded machine may take longer than the answer is good for; one of the next is found in time.
        let mut found = None;
        for _ in 0..1_000 {
            keep(&kept, "/a", Instant::now(), "two").await;
            found = kept.find("/a", 7);
            if found.is_some() {
                break;
            }
        }
        let found = found.unwrap();
        assert_eq!(found.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(text(found).await, "\"two\"");
        assert!(kept.find("/a", 8).is_none(), "another picture");
        assert!(kept.find("/b", 7).is_none(), "another question");
        keep(&kept, "/a", Instant::now() - KEPT_FOR, "old").await;
        assert!(kept.find("/a", 7).is_none(), "its ages are too old");
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let kept = Kept::default();
        for number in 0..MAX_KEPT * 3 {
            keep(&kept, &format!("/{number}"), Instant::now(), "x").await;
            assert!(kept.0.lock().unwrap().answers.len() <= MAX_KEPT);
        }
        let large = "x".repeat(MAX_KEPT_BYTES / 2);
        for asked in ["/x", "/y", "/z", "/z"] {
            keep(&kept, asked, Instant::now(), &large).await;
            let shelf = kept.0.lock().unwrap();
            assert!(shelf.bytes <= MAX_KEPT_BYTES);
            assert_eq!(shelf.bytes, shelf.answers.values().map(|answer| answer.body.len()).sum::<usize>());
        }
        let beyond = "x".repeat(MAX_KEPT_BYTES);
        keep(&kept, "/beyond", Instant::now(), &beyond).await;
        assert!(!kept.0.lock().unwrap().answers.contains_key("/beyond"));
    }

    #[tokio::test]
    async fn what_is_no_plain_answer_is_not_kept() {
        let kept = Kept::default();
        for response in [StatusCode::NOT_FOUND.into_response(), StatusCode::NO_CONTENT.into_response()] {
            let _ = kept.keep("/".to_owned(), 7, Instant::now(), response).await;
        }
        let stream = tokio_stream::iter([Ok::<_, std::convert::Infallible>("x")]);
        let _ = kept.keep("/".to_owned(), 7, Instant::now(), Body::from_stream(stream).into_response()).await;
        assert!(kept.0.lock().unwrap().answers.is_empty());
    }
}

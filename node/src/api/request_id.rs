//! The id of a request: the caller's own if it has one, else ours. It is in the answer, in errors and in the log.

use axum::http::{HeaderMap, HeaderValue};
use data_encoding::HEXLOWER;
use std::sync::atomic::{AtomicU64, Ordering};

/// Longest id that is taken over.
const MAX_BYTES: usize = 128;

/// Makes ids that no other process makes.
#[derive(Debug)]
pub struct RequestIds {
    process: String,
    count: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        Self { process: HEXLOWER.encode(&rand::random::<[u8; 8]>()), count: AtomicU64::new(0) }
    }
}

/// The id of one request: printable, without spaces.
#[derive(Debug, Clone)]
pub struct RequestId(pub HeaderValue);

impl RequestIds {
    /// The id of the request with these headers.
    pub fn of(&self, headers: &HeaderMap) -> RequestId {
        let given = headers.get("x-request-id").filter(|value| is_usable(value.as_bytes()));
        RequestId(given.cloned().unwrap_or_else(|| self.fresh()))
    }

    fn fresh(&self) -> HeaderValue {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        HeaderValue::from_str(&format!("{}-{count}", self.process)).unwrap_or(HeaderValue::from_static("-"))
    }
}

impl RequestId {
    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("-")
    }
}

fn is_usable(id: &[u8]) -> bool {
    (1..=MAX_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_id_is_kept_if_it_is_one() {
        let ids = RequestIds::default();
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", HeaderValue::from_str(text).unwrap());
            ids.of(&headers).as_str().to_owned()
        };
        assert_eq!(of("abc-1"), "abc-1");
        let made = [of("a b"), of(&"x".repeat(129)), of("")];
        assert!(made.iter().all(|id| id.starts_with(&ids.process)) && made[0] != made[1], "{made:?}");
    }
}

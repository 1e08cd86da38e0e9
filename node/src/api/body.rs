//! The body of a request, as JSON, read to its limit and no further.

use super::Service;
use super::limits::{Limit, MAX_BODY_BYTES};
use super::refusal::{Fault, Refusal};
use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use http_body_util::LengthLimitError;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;

/// Characters told of the path of a key.
const KEY_CHARS: usize = 128;

/// A body that is a `T`, which is written as an object.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Service> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, service: &Service) -> Result<Self, Refusal> {
        // A page of another site may have a browser post what claims to be anything else, without asking first (Fetch, CORS-safelisted types).
        if request.method() == Method::POST && !is_json(&request) {
            let detail = "a body is posted as JSON: `Content-Type: application/json` is missing";
            return Err(Refusal::new(Fault::BadRequest, detail, "add that header"));
        }
        let limit = usize::try_from(MAX_BODY_BYTES).unwrap_or(usize::MAX);
        let bytes = axum::body::to_bytes(request.into_body(), limit).await.map_err(|error| {
            if !error.into_inner().is::<LengthLimitError>() {
                return Refusal::bad_request("the request's body broke off");
            }
            service.0.metrics.limit_hit(Limit::Body);
            let detail = format!("the request's body is larger than {MAX_BODY_BYTES} bytes");
            Refusal::new(Fault::BodyTooLarge, detail, "send less")
        })?;
        // Of a list serde would take one element after the other for the fields.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            return Err(Refusal::bad_request("the body is a list; an object is needed"));
        }
        if let Some(key) = Keys::twice(&bytes) {
            return Err(Refusal::bad_request(format!("the body has {key:?} twice; keep one of them")));
        }
        let Json(value) = Json::from_bytes(&bytes).map_err(|rejection| Refusal::bad_request(rejection.body_text()))?;
        Ok(Self(value))
    }
}

/// Looks for a key that one object of a text in JSON has twice; a map would keep the last one and say nothing.
#[derive(Default)]
struct Keys {
    /// Where it looks.
    path: Vec<String>,
    found: Option<String>,
}

impl Keys {
    /// The path of the first such key. Whoever reads the text for what it says tells what is wrong with it otherwise.
    fn twice(text: &[u8]) -> Option<String> {
        let mut keys = Self::default();
        let _ = DeserializeSeed::deserialize(&mut keys, &mut serde_json::Deserializer::from_slice(text));
        keys.found
    }
}

impl<'de> DeserializeSeed<'de> for &mut Keys {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Keys {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(&mut *self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.path.push(key.clone());
            if !seen.insert(key) && self.found.is_none() {
                self.found = Some(self.path.join(".").chars().take(KEY_CHARS).collect());
            }
            entries.next_value_seed(&mut *self)?;
            self.path.pop();
        }
        Ok(())
    }
}

fn is_json(request: &Request) -> bool {
    let named = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::Keys;

    #[test]
    fn a_key_that_is_there_twice_is_found_wherever_it_is() {
        let twice = |text: &str| Keys::twice(text.as_bytes());
        assert_eq!(twice(r#"{"a": 1, "b": {"a": [2.5, -1, null, true, "a", {"a": {}}]}, "A": {}}"#), None);
        for (text, key) in [
            (r#"{"service": "a", "service": "b"}"#, "service"),
            (r#"{"check": {"port": 1, "path": "/", "port": 1}}"#, "check.port"),
            (r#"{"check": {"assert": [{"json": "a"}, {"json": "b", "json": {}}]}}"#, "check.assert.json"),
            (r#"{"a": 1, "\u0061": 2"#, "a"),
        ] {
            assert_eq!(twice(text).as_deref(), Some(key), "{text}");
        }
        for broken in ["", "{", r#"{"a": 1, "a"#, "[1,", "nul"] {
            assert_eq!(twice(broken), None, "{broken}");
        }
        let long = "x".repeat(1000);
        assert_eq!(twice(&format!(r#"{{"{long}": 1, "{long}": 2}}"#)).map(|key| key.len()), Some(128));
    }
}

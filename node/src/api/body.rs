//! The body of a request, as JSON, read to its limit and no further.

use super::Service;
use super::limits::{Limit, MAX_BODY_BYTES};
use super::refusal::{Fault, Refusal};
use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;

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
        let Json(value) = Json::from_bytes(&bytes).map_err(|rejection| Refusal::bad_request(rejection.body_text()))?;
        Ok(Self(value))
    }
}

fn is_json(request: &Request) -> bool {
    let named = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

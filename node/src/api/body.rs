//! The body of a request, as JSON, read to its limit and no further.

use super::limits::MAX_BODY_BYTES;
use super::refusal::{Fault, Refusal};
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

/// A body that is a `T`.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let limit = usize::try_from(MAX_BODY_BYTES).unwrap_or(usize::MAX);
        let bytes = axum::body::to_bytes(request.into_body(), limit).await.map_err(|_| {
            let detail = format!("the request's body is larger than {MAX_BODY_BYTES} bytes, or broke off");
            Refusal::new(Fault::BodyTooLarge, detail, "send less")
        })?;
        let value = serde_json::from_slice(&bytes);
        value
            .map(Self)
            .map_err(|error| Refusal::bad_request(format!("the body is not the JSON that is needed: {error}")))
    }
}

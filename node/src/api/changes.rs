//! What an operator may change by the API.

use super::Service;
use super::refusal::{Fault, Refusal};
use crate::answers::ReloadAnswer;
use axum::Json;
use axum::extract::State;

/// Reads the configuration and the certificate anew.
pub async fn reload(State(service): State<Service>) -> Result<Json<ReloadAnswer>, Refusal> {
    match service.0.control.reloader.reload().await {
        Ok(reloaded) => Ok(Json(ReloadAnswer { applied: reloaded.applied, restart: reloaded.restart })),
        Err(error) => Err(Refusal::new(Fault::NotReloaded, format!("{error:#}"), "what was in use stays in use")),
    }
}

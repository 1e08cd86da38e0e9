//! What an operator may change by the API.

use super::refusal::{Fault, Refusal};
use super::{Picture, Service};
use crate::answers::{LeaveAnswer, ReloadAnswer};
use axum::Json;
use axum::extract::State;
use quorate_mesh::MemberState;
use tokio::sync::oneshot;

/// Reads the configuration and the certificate anew.
pub async fn reload(State(service): State<Service>) -> Result<Json<ReloadAnswer>, Refusal> {
    match service.0.control.reloader.reload().await {
        Ok(reloaded) => Ok(Json(ReloadAnswer { applied: reloaded.applied, restart: reloaded.restart })),
        Err(error) => Err(Refusal::new(Fault::NotReloaded, format!("{error:#}"), "what was in use stays in use")),
    }
}

/// Has this agent leave its mesh for good. The answer comes when it has left; its process ends then.
pub async fn leave(State(service): State<Service>) -> Result<Json<LeaveAnswer>, Refusal> {
    let Picture { view, .. } = service.picture();
    if !view.members.values().any(|member| member.agent != view.agent && member.state != MemberState::Left) {
        let detail = "this agent is the only member of its mesh, and nobody could let it in again";
        return Err(Refusal::new(Fault::Conflict, detail, "stop it; its data directory is the mesh"));
    }
    let (reply, left) = oneshot::channel();
    let ending = || Refusal::internal("the agent is ending already");
    service.0.control.leave.try_send(reply).map_err(|_| ending())?;
    let departure = left.await.map_err(|_| ending())?;
    let (agreed, noted) = (departure.agreed, departure.noted);
    Ok(Json(LeaveAnswer { agent: view.agent, name: view.name.clone(), agreed, noted }))
}

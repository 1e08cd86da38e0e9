//! `/v1/votes`: who sees what, observers against instances.

use super::freshness::{tag, tagged};
use super::instances::admits;
use super::parameters::{Page, Parameters};
use super::{Picture, Service};
use crate::answers::{InstanceVotes, ObserverSummary, VotesAnswer};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use quorate_mesh::{InstanceView, ObserverView};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The votes on every instance that the parameters admit.
pub async fn votes(State(service): State<Service>, parameters: Parameters) -> Response {
    let tag = tag(&service, None);
    let Picture { view, answer, .. } = service.picture();
    let admitted = view.instances.values().filter(|instance| admits(&parameters, instance)).collect();
    let Page { entries, total, next } =
        Page::of(&parameters, admitted, |instance: &&Arc<InstanceView>| instance.instance.to_string());
    let observers: BTreeSet<_> = entries.iter().flat_map(|instance| &instance.observers).map(observer).collect();
    let instances = entries.iter().map(|instance| InstanceVotes {
        instance: instance.instance.clone(),
        service: instance.service.clone(),
        verdict: instance.verdict,
        votes: instance.observers.iter().map(|observer| (observer.agent.to_string(), vote(observer))).collect(),
    });
    let instances = instances.collect();
    let answer = VotesAnswer { view: answer, observers: observers.into_iter().collect(), instances, total, next };
    (tagged(tag), Json(answer)).into_response()
}

fn observer(observer: &ObserverView) -> ObserverSummary {
    ObserverSummary { name: observer.name.clone(), agent: observer.agent, zone: observer.zone.clone() }
}

fn vote(observer: &ObserverView) -> String {
    let said = observer.observation.as_ref().filter(|_| observer.heard);
    said.map_or("silent", |observation| observation.vote.word()).to_owned()
}

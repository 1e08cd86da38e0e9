//! `/v1/members`: every agent.

use super::freshness::{tag, tagged};
use super::health::member_counts;
use super::instances::ZONE;
use super::parameters::{Kind, Page, Parameter, Parameters};
use super::words::{age_ms, membership, membership_word, time};
use super::{Picture, Service};
use crate::answers::{MemberAnswer, MembersAnswer};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use quorate_mesh::{MemberState, MemberView};

/// `state`
pub const STATE: Parameter = Parameter {
    name: "state",
    kind: Kind::Words(|| {
        let states = [MemberState::Alive, MemberState::Suspect, MemberState::Failed, MemberState::Left];
        states.map(membership_word).to_vec()
    }),
    help: "Only members in one of these states.",
};

/// Every agent, by name.
pub async fn members(State(service): State<Service>, parameters: Parameters) -> Response {
    let tag = tag(&service, None);
    let Picture { view, answer, now } = service.picture();
    let admitted = |member: &&MemberView| {
        parameters.admits(STATE.name, membership_word(member.state))
            && parameters.admits(ZONE.name, member.zone.as_str())
    };
    let mut members: Vec<_> = view
        .members
        .values()
        .filter(admitted)
        .map(|member| MemberAnswer {
            agent: member.agent,
            name: member.name.clone(),
            this: member.agent == view.agent,
            zone: member.zone.clone(),
            address: member.address.clone(),
            api_address: member.api_address.clone(),
            version: member.version.clone(),
            boot: member.boot,
            state: membership(member.state),
            in_roster: member.in_roster,
            since: time(member.since),
            age_ms: age_ms(now, member.since),
            host: member.host,
            instances: member.instances,
        })
        .collect();
    members.sort_by(|a, b| (&a.name, a.agent).cmp(&(&b.name, b.agent)));
    // No name holds a tab.
    let Page { entries, total, next } =
        Page::of(&parameters, members, |member| format!("{}\t{}", member.name, member.agent));
    let answer = MembersAnswer { view: answer, counts: member_counts(&view), members: entries, total, next };
    (tagged(tag), Json(answer)).into_response()
}

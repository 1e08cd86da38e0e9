//! `/v1/members`: every agent.

use super::health::member_counts;
use super::words::{age_ms, membership, time};
use super::{Picture, Service};
use crate::answers::{MemberAnswer, MembersAnswer};
use axum::Json;
use axum::extract::State;

/// Every agent, by name.
pub async fn members(State(service): State<Service>) -> Json<MembersAnswer> {
    let Picture { view, answer, now } = service.picture();
    let mut members: Vec<_> = view
        .members
        .values()
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
            since: time(member.since),
            age_ms: age_ms(now, member.since),
            host: member.host,
            instances: member.instances,
        })
        .collect();
    members.sort_by(|a, b| (&a.name, a.agent).cmp(&(&b.name, b.agent)));
    Json(MembersAnswer { view: answer, counts: member_counts(&view), members })
}

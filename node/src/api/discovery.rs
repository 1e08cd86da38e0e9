//! `/v1/sd/prometheus`: whom Prometheus should scrape, for its HTTP service discovery.

use super::instances::SERVICE;
use super::parameters::Parameters;
use super::refusal::{Fault, Refusal};
use super::{Picture, Service};
use crate::answers::TargetGroup;
use crate::config::place::zone_of;
use axum::Json;
use axum::extract::State;
use quorate_mesh::{InstanceView, MemberState, MemberView, MeshView};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The agents, or with `service` the instances of that service. Prometheus keeps the targets it has while it is refused new ones.
///
/// # Errors
/// When the agent does not know all of them yet.
pub async fn prometheus(
    State(service): State<Service>,
    parameters: Parameters,
) -> Result<Json<Vec<TargetGroup>>, Refusal> {
    let Picture { view, answer, .. } = service.picture();
    if !view.settled {
        let detail = "this agent has not caught up with the mesh yet, and does not know everyone in it";
        return Err(Refusal::new(Fault::NotReady, detail, "ask again, or ask another agent"));
    }
    let groups = match parameters.text(SERVICE.name) {
        Some(name) => {
            let instances = view.instances.values().filter(|instance| instance.service.as_str() == name);
            instances.map(|instance| of_instance(instance, &answer.mesh)).collect()
        }
        None => {
            let staying = view.members.values().filter(|member| member.state != MemberState::Left);
            staying.filter_map(|member| of_member(member, &view, &answer.mesh)).collect()
        }
    };
    Ok(Json(groups))
}

fn of_instance(instance: &InstanceView, mesh: &str) -> TargetGroup {
    let labels = [
        ("__meta_quorate_mesh", mesh.to_owned()),
        ("__meta_quorate_service", instance.service.to_string()),
        ("__meta_quorate_instance", instance.instance.to_string()),
        ("__meta_quorate_zone", zone_of(instance).to_string()),
        ("__meta_quorate_home", instance.home_name.clone()),
        ("__meta_quorate_verdict", instance.verdict.to_string()),
    ];
    group(instance.address.clone(), labels)
}

fn of_member(member: &MemberView, view: &MeshView, mesh: &str) -> Option<TargetGroup> {
    let labels = [
        ("__meta_quorate_mesh", mesh.to_owned()),
        ("__meta_quorate_agent", member.agent.to_string()),
        ("__meta_quorate_name", member.name.clone()),
        ("__meta_quorate_zone", member.zone.to_string()),
        ("__meta_quorate_version", member.version.clone()),
    ];
    let (target, secure) = reachable(member, member.agent == view.agent)?;
    let mut group = group(target, labels);
    if secure {
        group.labels.insert("__scheme__".to_owned(), "https".to_owned());
    }
    Some(group)
}

/// Where the API of a member can be reached from elsewhere, and whether by TLS. One on loopback can only be reached from its own host, where
/// this agent is if the member is itself, or is dialled on loopback.
fn reachable(member: &MemberView, this: bool) -> Option<(String, bool)> {
    if let Some(secure) = member.api_address.strip_prefix("https://") {
        return secure.parse::<SocketAddr>().ok().map(|api| (api.to_string(), true));
    }
    let api: SocketAddr = member.api_address.parse().ok()?;
    let here = this || member.address.parse::<SocketAddr>().is_ok_and(|mesh| mesh.ip().is_loopback());
    here.then(|| (api.to_string(), false))
}

fn group<const N: usize>(target: String, labels: [(&str, String); N]) -> TargetGroup {
    let labels: BTreeMap<_, _> = labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    TargetGroup { targets: vec![target], labels }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture;

    #[tokio::test]
    async fn nobody_is_told_of_half_a_mesh() {
        let fixture = fixture::start(MeshView { settled: false, ..fixture::view() });
        let refused = fixture::ask(fixture.api, "GET /v1/sd/prometheus", &[]).await;
        assert_eq!(refused.status, 503, "{}", refused.body);
        let fixture = fixture::start(fixture::view());
        let told: Vec<TargetGroup> = fixture::get(fixture.api, "/v1/sd/prometheus", 200).await;
        assert!(!told.is_empty());
    }

    #[test]
    fn who_can_be_reached() {
        let mut member = fixture::member(1, MemberState::Alive);
        let mut of = |api: &str, mesh: &str, this: bool| {
            (member.api_address, member.address) = (api.to_owned(), mesh.to_owned());
            reachable(&member, this)
        };
        let clear = |api: &str| Some((api.to_owned(), false));
        let secure = Some(("10.0.0.1:7702".to_owned(), true));
        assert_eq!(of("https://10.0.0.1:7702", "10.0.0.1:7700", false), secure);
        assert_eq!(of("127.0.0.1:7701", "10.0.0.1:7700", false), None);
        assert_eq!(of("127.0.0.1:7701", "10.0.0.1:7700", true), clear("127.0.0.1:7701"));
        assert_eq!(of("127.0.0.1:7711", "127.0.0.1:7710", false), clear("127.0.0.1:7711"));
        assert_eq!(of("nonsense", "127.0.0.1:7710", false), None);
    }
}

//! `/v1/sd/prometheus`: whom Prometheus should scrape, for its HTTP service discovery.

use super::instances::SERVICE;
use super::parameters::Parameters;
use super::{Picture, Service};
use crate::answers::TargetGroup;
use axum::Json;
use axum::extract::State;
use quorate_mesh::{InstanceView, MemberState, MemberView, MeshView};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The agents, or with `service` the instances of that service.
pub async fn prometheus(State(service): State<Service>, parameters: Parameters) -> Json<Vec<TargetGroup>> {
    let Picture { view, answer, .. } = service.picture();
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
    Json(groups)
}

fn of_instance(instance: &InstanceView, mesh: &str) -> TargetGroup {
    let labels = [
        ("__meta_quorate_mesh", mesh.to_owned()),
        ("__meta_quorate_service", instance.service.to_string()),
        ("__meta_quorate_instance", instance.instance.to_string()),
        ("__meta_quorate_zone", instance.zone.to_string()),
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
    Some(group(reachable(member, member.agent == view.agent)?, labels))
}

/// Where the API of a member can be reached from elsewhere. One on loopback can only be reached from its own host, where this agent is if the
/// member is itself, or is dialled on loopback.
fn reachable(member: &MemberView, this: bool) -> Option<String> {
    let api: SocketAddr = member.api_address.parse().ok()?;
    let mesh = member.address.parse::<SocketAddr>().ok();
    if api.ip().is_unspecified() {
        return mesh.map(|mesh| SocketAddr::new(mesh.ip(), api.port()).to_string());
    }
    let here = this || mesh.is_some_and(|mesh| mesh.ip().is_loopback());
    (!api.ip().is_loopback() || here).then(|| api.to_string())
}

fn group<const N: usize>(target: String, labels: [(&str, String); N]) -> TargetGroup {
    let labels: BTreeMap<_, _> = labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    TargetGroup { targets: vec![target], labels }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture;

    #[test]
    fn who_can_be_reached() {
        let mut member = fixture::member(1, MemberState::Alive);
        let mut of = |api: &str, mesh: &str, this: bool| {
            (member.api_address, member.address) = (api.to_owned(), mesh.to_owned());
            reachable(&member, this)
        };
        assert_eq!(of("10.0.0.1:7701", "10.0.0.1:7700", false).as_deref(), Some("10.0.0.1:7701"));
        assert_eq!(of("0.0.0.0:7701", "10.0.0.1:7700", false).as_deref(), Some("10.0.0.1:7701"));
        assert_eq!(of("127.0.0.1:7701", "10.0.0.1:7700", false), None);
        assert_eq!(of("127.0.0.1:7701", "10.0.0.1:7700", true).as_deref(), Some("127.0.0.1:7701"));
        assert_eq!(of("127.0.0.1:7711", "127.0.0.1:7710", false).as_deref(), Some("127.0.0.1:7711"));
    }
}

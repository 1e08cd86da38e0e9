//! `/v1/services/{service}/pick`: whom to call.

use super::parameters::{Kind, Parameter, Parameters};
use super::refusal::{Fault, Refusal};
use super::{Picture, Service};
use crate::answers::{PickAnswer, PickedAnswer};
use crate::spelling::nearest;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use quorate_core::{InstanceId, Verdict, Zone};
use quorate_mesh::{BreakerState, BreakerView, InstanceView, MeshView};
use rand::RngExt;

/// `near`
pub const NEAR: Parameter = Parameter {
    name: "near",
    kind: Kind::Zone,
    help: "The caller's zone; the agent's own unless it says otherwise. Instances elsewhere get a tenth of their weight while it has any.",
};

/// The weight of an instance that is up.
const FULL: u32 = 100;
/// Of one that is degraded, or reachable from some places only.
const HALF: u32 = 50;
/// Weights elsewhere, and while a breaker ramps up, are divided by this.
const TENTH: u32 = 10;

/// The instances that may be called, and one of them.
pub async fn pick(
    State(service): State<Service>,
    name: Result<Path<String>, PathRejection>,
    parameters: Parameters,
) -> Result<Json<PickAnswer>, Refusal> {
    let Path(name) = name?;
    let zone = match parameters.text(NEAR.name) {
        Some(text) => Zone::new(text).map_err(|error| Refusal::bad_request(error.to_string()))?,
        None => service.0.about.zone.clone(),
    };
    let Picture { view, answer, .. } = service.picture();
    if !view.instances.values().any(|instance| instance.service.as_str() == name) {
        let known = view.instances.values().map(|instance| instance.service.as_str());
        let detail = format!("there is no service {:?}", name.chars().take(128).collect::<String>());
        return Err(Refusal::new(Fault::UnknownService, detail, "GET /v1/services lists them")
            .nearest(nearest(&name, known, 3)));
    }
    let instances = candidates(&view, &name, &zone);
    let chosen = draw(&instances, rand::rng().random());
    Ok(Json(PickAnswer { view: answer, chosen, instances }))
}

fn candidates(view: &MeshView, service: &str, zone: &Zone) -> Vec<PickedAnswer> {
    let healthy = view.instances.values().filter(|instance| instance.service.as_str() == service);
    let weighed = healthy.filter_map(|instance| Some((instance, weight(instance, breaker_of(view, instance))?)));
    let weighed: Vec<_> = weighed.collect();
    let has_near = weighed.iter().any(|(instance, _)| instance.zone == *zone);
    let mut picked: Vec<_> = weighed
        .into_iter()
        .map(|(instance, weight)| PickedAnswer {
            instance: instance.instance.clone(),
            address: instance.address.clone(),
            zone: instance.zone.clone(),
            verdict: instance.verdict,
            weight: if has_near && instance.zone != *zone { (weight / TENTH).max(1) } else { weight },
        })
        .collect();
    picked.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.instance.cmp(&b.instance)));
    picked
}

fn breaker_of<'a>(view: &'a MeshView, instance: &InstanceView) -> Option<&'a BreakerView> {
    view.breakers.iter().find(|b| b.key.instance == instance.instance && b.key.service == instance.service)
}

/// Its weight; none when it should not be called.
fn weight(instance: &InstanceView, breaker: Option<&BreakerView>) -> Option<u32> {
    let healthy = match instance.verdict {
        Verdict::Up => FULL,
        Verdict::Degraded | Verdict::Partial => HALF,
        Verdict::Down | Verdict::Unknown | Verdict::Starting | Verdict::Draining | Verdict::Maintenance => return None,
    };
    match breaker {
        Some(breaker) if breaker.state != BreakerState::Closed => None,
        // It has recovered a moment ago, and all callers ramp up together.
        Some(breaker) if breaker.outage != 0 && !breaker.spared => Some(healthy / TENTH),
        Some(_) | None => Some(healthy),
    }
}

fn draw(instances: &[PickedAnswer], random: u64) -> Option<InstanceId> {
    let all: u64 = instances.iter().map(|instance| u64::from(instance.weight)).sum();
    let mut left = random.checked_rem(all)?;
    for instance in instances {
        match left.checked_sub(u64::from(instance.weight)) {
            Some(rest) => left = rest,
            None => return Some(instance.instance.clone()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::fixture::view;
    use super::*;

    #[test]
    fn an_open_breaker_and_a_bad_verdict_take_an_instance_out() {
        let mut view = view();
        let zone = Zone::default();
        assert_eq!(candidates(&view, "web", &zone), [], "one is down, the other's breaker open");
        view.breakers = std::sync::Arc::default();
        let found = candidates(&view, "web", &zone);
        assert_eq!((found.len(), found[0].instance.as_str(), found[0].weight), (1, "web@10.0.0.1:80", FULL));
        let elsewhere = candidates(&view, "web", &Zone::new("far").unwrap());
        assert_eq!(elsewhere[0].weight, FULL, "there is none nearer");
    }

    #[test]
    fn draws_follow_the_weights() {
        let one = |name: &str, weight| PickedAnswer {
            instance: InstanceId::new(name).unwrap(),
            address: String::new(),
            zone: Zone::default(),
            verdict: Verdict::Up,
            weight,
        };
        let all = [one("a", 3), one("b", 1)];
        let drawn: String = (0..8).filter_map(|n| draw(&all, n)).map(|id| id.to_string()).collect();
        assert_eq!(drawn, "aaabaaab");
        assert_eq!(draw(&[], 1), None);
    }
}

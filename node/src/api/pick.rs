//! `/v1/services/{service}/pick`: whom to call.

use super::parameters::{Kind, Parameter, Parameters};
use super::refusal::{Fault, Refusal};
use super::{Picture, Service};
use crate::answers::{PickAnswer, PickedAnswer};
use crate::config::place::zone_of;
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

/// The weight of an instance whose registration says nothing else.
const USUAL: u32 = 100;
/// Of one that is degraded, or reachable from some places only, the weight is divided by this.
const HALF: u32 = 2;
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
    let has_near = weighed.iter().any(|(instance, _)| *zone_of(instance) == *zone);
    let mut picked: Vec<_> = weighed
        .into_iter()
        .map(|(instance, weight)| PickedAnswer {
            instance: instance.instance.clone(),
            address: instance.address.clone(),
            zone: zone_of(instance).into_owned(),
            verdict: instance.verdict,
            weight: if has_near && *zone_of(instance) != *zone { (weight / TENTH).max(1) } else { weight },
        })
        .collect();
    picked.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.instance.cmp(&b.instance)));
    picked
}

fn breaker_of<'a>(view: &'a MeshView, instance: &InstanceView) -> Option<&'a BreakerView> {
    view.breakers.iter().find(|b| b.key.instance == instance.instance && b.key.service == instance.service)
}

/// Its weight, which its registration states; none when it should not be called.
fn weight(instance: &InstanceView, breaker: Option<&BreakerView>) -> Option<u32> {
    let stated = instance.registration.as_ref().map_or(USUAL, |registration| registration.placement.weight);
    if stated == 0 {
        return None;
    }
    let healthy = match instance.verdict {
        Verdict::Up => stated,
        Verdict::Degraded | Verdict::Partial => (stated / HALF).max(1),
        Verdict::Down | Verdict::Unknown | Verdict::Starting | Verdict::Draining | Verdict::Maintenance => return None,
    };
    match breaker {
        Some(breaker) if breaker.state != BreakerState::Closed => None,
        // It has recovered a moment ago, and all callers ramp up together.
        Some(breaker) if breaker.outage != 0 && !breaker.spared => Some((healthy / TENTH).max(1)),
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
    use quorate_core::Registration;
    use std::sync::Arc;

    #[test]
    fn an_open_breaker_and_a_bad_verdict_take_an_instance_out() {
        let mut view = view();
        let zone = Zone::default();
        assert_eq!(candidates(&view, "web", &zone), [], "one is down, the other's breaker open");
        view.breakers = std::sync::Arc::default();
        let found = candidates(&view, "web", &zone);
        assert_eq!((found.len(), found[0].instance.as_str(), found[0].weight), (1, "web@10.0.0.1:80", USUAL));
        let elsewhere = candidates(&view, "web", &Zone::new("far").unwrap());
        assert_eq!(elsewhere[0].weight, USUAL, "there is none nearer");
    }

    #[test]
    fn registrations_say_how_much_each_takes() {
        let placed = |name: &str, verdict, weight, tags: &[&str]| {
            let mut instance = super::super::fixture::instance(name, "web", 1, verdict);
            let mut registration = Registration::clone(instance.registration.as_ref().unwrap());
            registration.placement.weight = weight;
            registration.placement.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            instance.registration = Some(Arc::new(registration));
            (instance.instance.clone(), Arc::new(instance))
        };
        let instances = [
            placed("web@10.0.0.1:80", Verdict::Up, 30, &[]),
            placed("web@10.0.0.2:80", Verdict::Degraded, 1000, &[]),
            placed("web@10.0.0.3:80", Verdict::Up, 0, &[]),
            placed("web@10.0.0.4:80", Verdict::Up, 1, &[]),
            placed("web@10.0.0.5:80", Verdict::Up, 100, &["zone=far"]),
        ];
        let view = MeshView { instances: Arc::new(instances.into()), breakers: Arc::default(), ..view() };
        let weights = |near: &str| {
            let found = candidates(&view, "web", &Zone::new(near).unwrap());
            found.iter().map(|one| (one.address.clone(), one.weight)).collect::<Vec<_>>()
        };
        let told = |list: &[(u8, u32)]| {
            list.iter().map(|(host, weight)| (format!("10.0.0.{host}:80"), *weight)).collect::<Vec<_>>()
        };
        assert_eq!(weights("default"), told(&[(2, 500), (1, 30), (5, 10), (4, 1)]));
        assert_eq!(weights("far"), told(&[(5, 100), (2, 50), (1, 3), (4, 1)]));
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

//! `POST /v1/instances/{instance}/probe`: one probe by this agent, now, by the check that it knows. Nothing about the check can be said here.

use super::limits::Limit;
use super::probed::{probed, target};
use super::refusal::{Fault, Refusal};
use super::words::time;
use super::{Service, instances};
use crate::agent::by_hand::{MOST_A_MINUTE, NotProbed};
use crate::agent::clock::wall;
use crate::answers::{LocalProbe, ProbedAnswer};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};

/// Probes, and tells all that came of it.
pub async fn probe(
    State(service): State<Service>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<ProbedAnswer>, Refusal> {
    let Path(name) = name?;
    let view = service.0.published.view();
    let found = instances::find(&view, &name)?;
    let outcome = service.0.control.by_hand.probe(found).await.map_err(|why| refusal(&service, found, &why))?;
    Ok(Json(ProbedAnswer {
        instance: found.instance.clone(),
        service: found.service.clone(),
        agent: view.agent,
        name: view.name.clone(),
        target: found.registration.as_deref().map(target).unwrap_or_default(),
        probe: LocalProbe { timestamp: time(wall()), ..probed(found.check, &outcome) },
    }))
}

fn refusal(service: &Service, found: &quorate_mesh::InstanceView, why: &NotProbed) -> Refusal {
    let id = &found.instance;
    match why {
        NotProbed::Host => {
            let detail = format!("{id} is a host: its observers ping its agent, and there is no check to run");
            Refusal::new(Fault::Conflict, detail, "probe an instance; GET /v1/instances lists them")
        }
        NotProbed::NotHome(home) => {
            let detail = format!("only the home of {id}, {} ({home}), can make this check", found.home_name);
            Refusal::new(Fault::NotHome, detail, "ask that agent")
        }
        NotProbed::TooMany(after) => {
            service.0.metrics.limit_hit(Limit::ProbesByHand);
            let detail = format!("an agent makes at most {MOST_A_MINUTE} probes by hand within a minute");
            Refusal::new(Fault::RateLimited, detail, "ask later").retry_after(*after)
        }
        NotProbed::Late => {
            let detail = format!("the probe of {id} was not done in time");
            Refusal::new(Fault::Timeout, detail, "ask again; its timeout may be long, or the agent busy")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::document_tests::check;
    use super::super::fixture::{Fixture, Reply, ask, start, view};
    use super::super::limits::Limit;
    use super::super::openapi::document;
    use crate::access::Scope;
    use crate::agent::by_hand::MOST_A_MINUTE;
    use crate::answers::{ErrorAnswer, ProbedAnswer};
    use quorate_core::check::UnixCheck;
    use quorate_core::{Cause, CheckKind, InstanceId, Registration};
    use quorate_mesh::MeshView;
    use std::sync::Arc;
    use std::time::Duration;

    const INSTANCE: &str = "web@10.0.0.1:80";

    /// A view in which the registration of one instance is another.
    fn with(instance: &str, set: impl FnOnce(&mut Registration)) -> MeshView {
        let mut view = view();
        let all = Arc::make_mut(&mut view.instances);
        let found = Arc::make_mut(all.get_mut(&InstanceId::new(instance).unwrap()).unwrap());
        set(Arc::make_mut(found.registration.as_mut().unwrap()));
        view
    }

    async fn probe(fixture: &Fixture, scope: Scope, instance: &str) -> Reply {
        let token = format!("Authorization: Bearer {}", fixture.token(scope));
        ask(fixture.api, &format!("POST /v1/instances/{instance}/probe"), &[&token]).await
    }

    fn closed_port() -> String {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
    }

    #[tokio::test]
    async fn an_agent_probes_what_it_knows_and_tells_everything() {
        let fixture = start(with(INSTANCE, |registration| registration.address = closed_port()));
        let reply = probe(&fixture, Scope::Operate, INSTANCE).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        check(&document(), "POST /v1/instances/{instance}/probe", &reply);
        let told = reply.json::<ProbedAnswer>();
        assert_eq!((told.instance.as_str(), told.name.as_str()), (INSTANCE, "host-1"));
        assert_eq!((told.probe.cause, told.probe.is_healthy), (Some(Cause::Refused), false));
        assert!(told.target.starts_with("GET http://127.0.0.1:"), "{}", told.target);
        let before = ask(fixture.api, &format!("GET /v1/instances/{INSTANCE}/failures"), &[]).await;
        assert!(before.body.contains("\"observed\":false"), "it counts for nothing: {}", before.body);
    }

    #[tokio::test]
    async fn it_takes_an_operator_and_probes_nothing_but_what_is_registered() {
        let fixture = start(view());
        assert_eq!(probe(&fixture, Scope::Register, INSTANCE).await.status, 403);
        let without = ask(fixture.api, &format!("POST /v1/instances/{INSTANCE}/probe"), &[]).await;
        assert_eq!(without.status, 401);
        for (instance, status, word) in [
            ("web", 404, "unknown_instance"),
            ("quorate-agent@0000000000000001", 409, "conflict"),
            ("http%3A%2F%2F10.0.0.9%2F", 404, "unknown_instance"),
        ] {
            let reply = probe(&fixture, Scope::Operate, instance).await;
            assert_eq!((reply.status, reply.json::<ErrorAnswer>().error.as_str()), (status, word), "{instance}");
        }
        let socket = UnixCheck { path: "/run/x".into(), send: Vec::new(), expect: None, max_read_bytes: 1 };
        let elsewhere = with("web@10.0.0.3:80", |registration| {
            Arc::make_mut(&mut registration.check).kind = CheckKind::Unix(socket);
        });
        let reply = probe(&start(elsewhere), Scope::Operate, "web@10.0.0.3:80").await;
        assert_eq!((reply.status, reply.json::<ErrorAnswer>().error.as_str()), (409, "not_home"));
        let third = with("web@10.0.0.3:80", |registration| registration.address = "10.9.9.9:1".into());
        let told = probe(&start(third), Scope::Operate, "web@10.0.0.3:80").await.json::<ProbedAnswer>();
        assert_eq!(
            told.probe.cause,
            Some(Cause::Local),
            "targets that are not their home's own stay refused: {told:?}"
        );
    }

    #[tokio::test]
    async fn their_number_is_bounded() {
        let fixture = start(with(INSTANCE, |registration| {
            registration.address = closed_port();
            Arc::make_mut(&mut registration.check).timeout = Duration::from_secs(1);
        }));
        let mut last = probe(&fixture, Scope::Operate, INSTANCE).await;
        for _ in 0..3 * MOST_A_MINUTE {
            if last.status != 200 {
                break;
            }
            last = probe(&fixture, Scope::Operate, INSTANCE).await;
        }
        assert_eq!(last.status, 429, "{last:?}");
        check(&document(), "POST /v1/instances/{instance}/probe", &last);
        assert!(last.header("retry-after").is_some());
        assert_eq!(fixture.metrics.limit_hits(Limit::ProbesByHand), 1);
    }
}

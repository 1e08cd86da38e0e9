//! Registering by the API: what the engine is told, who owns what, and what people read of it.

use super::document_tests::check;
use super::fixture::{Fixture, Reply, ask, member, send, start, view};
use super::openapi::document;
use crate::access::Scope;
use crate::agent::drive::Ask;
use crate::agent::stop::Departure;
use crate::answers::{ErrorAnswer, LeaveAnswer};
use quorate_core::{AgentId, IntentKind, Registration};
use quorate_mesh::{Command, MemberState, MeshView};
use std::sync::Arc;
use std::time::Duration;

impl Fixture {
    async fn change(&self, token: &str, request: &str, body: &str) -> Reply {
        send(self.api, request, &[&format!("Authorization: Bearer {token}")], body).await
    }

    /// What the engine was told last.
    fn told(&self) -> Option<Vec<Registration>> {
        let mut asked = self.asked.lock().unwrap();
        let mut last = None;
        while let Ok(ask) = asked.try_recv() {
            if let Ask::Command(Command::Register(registrations)) = ask {
                last = Some(registrations);
            }
        }
        last
    }
}

const BODY: &str =
    r#"{"service": "api", "address": "10.0.0.1:81", "weight": 50, "tags": ["b", "a", "b"], "ttl": "1m"}"#;

#[tokio::test]
async fn a_token_registers_and_withdraws_what_is_its_own() {
    let fixture = start(view());
    let (one, other, operator) =
        (fixture.token(Scope::Register), fixture.token(Scope::Register), fixture.token(Scope::Operate));
    let reply = fixture.change(&one, "PUT /v1/instances/api@1", BODY).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let told = fixture.told().unwrap();
    assert_eq!(told.len(), 2, "the configured one stays");
    let placement = &told[1].placement;
    assert_eq!((placement.weight, placement.tags.join(",")), (50, "a,b".to_owned()));

    for (token, request, status) in [
        (&other, "PUT /v1/instances/api@1", 403),
        (&other, "DELETE /v1/instances/api@1", 403),
        (&one, "PUT /v1/instances/web@10.0.0.1:80", 409),
        (&one, "PUT /v1/instances/api@1/intent", 403),
    ] {
        let reply = fixture.change(token, request, BODY).await;
        assert_eq!(reply.status, status, "{request}: {}", reply.body);
    }
    assert_eq!(ask(fixture.api, "DELETE /v1/instances/api@1", &[]).await.status, 401);
    assert!(fixture.told().is_none(), "nothing that was refused reaches the engine");
    assert_eq!(fixture.change(&operator, "DELETE /v1/instances/api@1", "").await.status, 200);
    assert_eq!(fixture.told().unwrap().len(), 1);
}

#[tokio::test]
async fn an_operator_drains_what_is_configured_and_the_home_must_be_asked() {
    let fixture = start(view());
    let operator = fixture.token(Scope::Operate);
    let body = r#"{"kind": "maintenance", "reason": "new disk", "for": "2h"}"#;
    let reply = fixture.change(&operator, "PUT /v1/instances/web@10.0.0.1:80/intent", body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let intent = fixture.told().unwrap()[0].placement.intent.clone().unwrap();
    assert_eq!(
        (intent.kind, intent.owner.as_str(), intent.reason.as_str()),
        (IntentKind::Maintenance, "test", "new disk")
    );
    assert_eq!(intent.until.unwrap().0 - intent.since.0, 7_200_000);
    assert_eq!(fixture.change(&operator, "DELETE /v1/instances/web@10.0.0.1:80/intent", "").await.status, 200);
    assert!(fixture.told().unwrap()[0].placement.intent.is_none());
    let elsewhere = fixture.change(&operator, "PUT /v1/instances/web@10.0.0.3:80/intent", body).await;
    let error: ErrorAnswer = elsewhere.json();
    assert!(elsewhere.status == 409 && error.error == "not_home" && error.detail.contains("host-3"), "{error:?}");
}

#[tokio::test]
async fn a_body_that_is_wrong_is_told_as_a_whole() {
    let fixture = start(view());
    let token = fixture.token(Scope::Register);
    let body = r#"{"service": "a b", "weight": 1001, "check": {"tiemout": 1}}"#;
    let error: ErrorAnswer = fixture.change(&token, "PUT /v1/instances/api@1", body).await.json();
    for part in ["service:", "check.tiemout: is not a known key; did you mean `timeout`?", "weight: 1001"] {
        assert!(error.detail.contains(part), "{part}: {}", error.detail);
    }
    let large = format!("{{\"service\": \"{}\"}}", "x".repeat(70_000));
    assert_eq!(fixture.change(&token, "PUT /v1/instances/api@1", &large).await.status, 413);
}

#[tokio::test]
async fn a_key_that_is_there_twice_is_refused() {
    let fixture = start(view());
    let token = fixture.token(Scope::Register);
    for (body, key) in [
        (r#"{"service": "api", "weight": 50, "weight": 0}"#, "\"weight\" twice"),
        (r#"{"service": "api", "check": {"protocol": "http", "protocol": "tcp"}}"#, "\"check.protocol\" twice"),
    ] {
        let reply = fixture.change(&token, "PUT /v1/instances/api@1", body).await;
        let error: ErrorAnswer = reply.json();
        assert!(reply.status == 400 && error.detail.contains(key), "{}", reply.body);
    }
    assert!(fixture.told().is_none());
}

#[tokio::test]
async fn only_a_lost_agent_is_forgotten() {
    let fixture = start(view());
    let operator = fixture.token(Scope::Operate);
    assert_eq!(fixture.change(&operator, "DELETE /v1/members/host-2", "").await.status, 409, "it is suspected only");
    let reply = fixture.change(&operator, "DELETE /v1/members/0000000000000003", "").await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let asked = fixture.asked.lock().unwrap().try_recv().unwrap();
    assert!(matches!(asked, Ask::Command(Command::Forget(agent)) if agent.0 == 3), "{asked:?}");
}

#[tokio::test]
async fn who_may_only_register_reaches_nothing_of_the_agents_host() {
    let fixture = start(view());
    let (token, operator) = (fixture.token(Scope::Register), fixture.token(Scope::Operate));
    let body = |check: &str| format!("{{\"service\": \"api\", \"check\": {check}}}");
    for (check, what) in [
        (r#"{"protocol": "unix", "socket": "/run/docker.sock", "probe_data": "GET /"}"#, "opens a socket"),
        (r#"{"protocol": "container", "container": "web"}"#, "container engine"),
        (r#"{"protocol": "systemd", "unit": "nginx.service"}"#, "service manager"),
        (r#"{"protocol": "tcp", "tls": true, "ca_file": "/etc/shadow"}"#, "reads a file"),
        (r#"{"protocol": "push", "token": {"file": "push-token"}}"#, "uses a secret"),
        (r#"{"headers": {"X-Key": {"file": "push-token"}}}"#, "uses a secret"),
        (r#"{"headers": {"X-Key": {"env": "KEY", "prefix": "Bearer "}}}"#, "uses a secret"),
        (r#"{"basic_auth": {"user": "a", "password": {"env": "KEY"}}}"#, "uses a secret"),
        (
            r#"{"protocol": "metric", "json": "$.a", "warning": 1, "headers": {"X-Key": {"env": "KEY"}}}"#,
            "uses a secret",
        ),
        (r#"{"protocol": "redis", "password": {"file": "push-token"}}"#, "uses a secret"),
        (r#"{"protocol": "grpc", "metadata": {"x-key": {"env": "KEY"}}}"#, "uses a secret"),
        (r#"{"protocol": "https", "ca_file": "/etc/shadow"}"#, "reads a file"),
        (r#"{"protocol": "tls", "client_cert_file": "/etc/shadow"}"#, "reads a file"),
        (r#"{"protocol": "postgres", "tls": true, "ca_file": "/etc/shadow"}"#, "reads a file"),
        (r#"{"protocol": "grpc", "tls": true, "client_cert_file": "/etc/shadow"}"#, "reads a file"),
    ] {
        let refused = fixture.change(&token, "PUT /v1/instances/api@1", &body(check)).await;
        let error: ErrorAnswer = refused.json();
        assert!(refused.status == 403 && error.detail.contains(what), "{check}: {}", refused.body);
        assert!(fixture.told().is_none(), "{check}");
        let done = fixture.change(&operator, "PUT /v1/instances/api@1", &body(check)).await;
        assert_eq!(done.status, 200, "{check}: {}", done.body);
        assert!(fixture.told().is_some(), "{check}");
    }
    for who in [&token, &operator] {
        let program = body(r#"{"protocol": "exec", "command": ["/bin/true"]}"#);
        let refused = fixture.change(who, "PUT /v1/instances/api@2", &program).await;
        assert_eq!(refused.status, 422, "{}", refused.body);
    }
    for check in [r#"{"headers": {"X-Plain": "yes"}}"#, r#"{"protocol": "https"}"#, r#"{"protocol": "tcp"}"#] {
        let done = fixture.change(&token, "PUT /v1/instances/api@3", &body(check)).await;
        assert_eq!(done.status, 200, "{check}: {}", done.body);
    }
}

#[tokio::test]
async fn an_operator_has_the_agent_leave_for_good() {
    let fixture = start(view());
    let (operator, other) = (fixture.token(Scope::Operate), fixture.token(Scope::Register));
    const LEAVE: &str = "POST /v1/agent/leave";
    assert_eq!(ask(fixture.api, LEAVE, &[]).await.status, 401);
    assert_eq!(fixture.change(&other, LEAVE, "").await.status, 403);
    assert!(fixture.leaves.lock().unwrap().try_recv().is_err(), "nobody who may not has it leave");

    for agreed in [true, false] {
        let asked = fixture.change(&operator, LEAVE, "");
        let leaving = async {
            loop {
                if let Ok(reply) = fixture.leaves.lock().unwrap().try_recv() {
                    return reply.send(Departure { agreed, noted: true }).unwrap();
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let (reply, ()) = tokio::join!(asked, leaving);
        assert_eq!(reply.status, 200, "{}", reply.body);
        check(&document(), LEAVE, &reply);
        let left: LeaveAnswer = reply.json();
        assert_eq!((left.name.as_str(), left.agreed, left.noted), ("host-1", agreed, true));
    }
}

#[tokio::test]
async fn the_only_member_is_stopped_rather_than_left() {
    let mut alone = view();
    let own = alone.agent;
    std::sync::Arc::make_mut(&mut alone.members).retain(|agent, _| *agent == own);
    let fixture = start(alone);
    let operator = fixture.token(Scope::Operate);
    let reply = fixture.change(&operator, "POST /v1/agent/leave", "").await;
    assert_eq!(reply.status, 409, "{}", reply.body);
    assert!(reply.json::<ErrorAnswer>().detail.contains("only member"), "{}", reply.body);
    check(&document(), "POST /v1/agent/leave", &reply);
}

#[tokio::test]
async fn who_has_left_is_said_to_have() {
    let members = [(AgentId(3), member(3, MemberState::Left))].into_iter().collect();
    let fixture = start(MeshView { members: Arc::new(members), ..view() });
    let refused = fixture.change(&fixture.token(Scope::Operate), "DELETE /v1/members/0000000000000003", "").await;
    let detail = refused.json::<ErrorAnswer>().detail;
    assert!(refused.status == 409 && detail.starts_with("host-3 has left; only"), "{detail}");
}

#[tokio::test]
async fn hosts_are_neither_drained_nor_withdrawn() {
    let fixture = start(view());
    let token = fixture.token(Scope::Operate);
    let body = r#"{"kind": "draining", "reason": "x"}"#;
    // The answering agent's own host, and another one.
    for host in ["quorate-agent@0000000000000001", "quorate-agent@0000000000000003"] {
        for (request, body) in [
            (format!("PUT /v1/instances/{host}/intent"), body),
            (format!("DELETE /v1/instances/{host}/intent"), ""),
            (format!("DELETE /v1/instances/{host}"), ""),
        ] {
            let reply = fixture.change(&token, &request, body).await;
            let error: ErrorAnswer = reply.json();
            assert_eq!((reply.status, error.error.as_str()), (409, "conflict"), "{request}: {error:?}");
            assert!(error.detail.starts_with(&format!("{host} is the host of host-")), "{error:?}");
        }
    }
    assert!(fixture.told().is_none());
}

#[tokio::test]
async fn a_disk_that_refuses_registrations_is_told_until_it_takes_them() {
    let fixture = start(view());
    let token = fixture.token(Scope::Register);
    let in_the_way = fixture.data.path().join("registrations.tmp");
    std::fs::create_dir(&in_the_way).unwrap();
    let refused = fixture.change(&token, "PUT /v1/instances/api@1", BODY).await;
    assert_eq!((refused.status, refused.header("content-type")), (500, Some("application/problem+json")));
    let detail = refused.json::<ErrorAnswer>().detail;
    assert_eq!(detail, "it could not be stored; nothing was changed");
    assert!(fixture.told().is_none(), "nor is the engine told");
    let path = fixture.data.path().join("registrations.json");
    let line = format!("[-]storage failed: {} cannot be stored: Is a directory (os error 21)\n", path.display());
    let ready = ask(fixture.api, "GET /readyz?verbose", &[]).await;
    assert!(ready.status == 503 && ready.body.contains(&line), "{}", ready.body);
    let page = ask(fixture.api, "GET /metrics", &[]).await.body;
    assert!(page.contains("\nquorate_unstored_files 1\n"), "{page}");
    std::fs::remove_dir(&in_the_way).unwrap();
    // Nobody has to ask again for what was refused.
    let well = async || while ask(fixture.api, "GET /readyz", &[]).await.status != 200 {};
    tokio::time::timeout(Duration::from_secs(20), well()).await.unwrap();
    let stored: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(stored["registered"], serde_json::json!({}), "what was refused is not there");
    assert_eq!(fixture.change(&token, "PUT /v1/instances/api@1", BODY).await.status, 200);
}

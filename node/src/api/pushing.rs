//! `PUT /v1/push/{instance}`: an instance tells its home agent how it is.

use super::Service;
use super::guard::denied;
use super::parameters::{Kind, Parameter, Parameters};
use super::refusal::{Fault, Refusal};
use super::server::Peer;
use crate::access::{Channel, Denied};
use crate::agent::pushes::Untaken;
use crate::answers::PushAnswer;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};
use quorate_core::{Grade, InstanceId};

/// Carries the token of the check; tokens of the API are other ones, and in another header.
const TOKEN_HEADER: &str = "x-push-token";

/// `status`
pub const STATUS: Parameter = Parameter {
    name: "status",
    kind: Kind::Word(|| Grade::ALL.iter().map(|grade| grade.as_str()).collect()),
    help: "How the instance is: pass (also when absent), warn or fail.",
};

/// Takes its word.
pub async fn push(
    State(service): State<Service>,
    name: Result<Path<String>, PathRejection>,
    peer: Option<Extension<Peer>>,
    Extension(parameters): Extension<Parameters>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<PushAnswer>, Refusal> {
    let Path(name) = name?;
    if peer.is_some_and(|Extension(peer)| peer.channel == Channel::Open) {
        return Err(denied(Denied::NotSecure));
    }
    let said = |grade: &Grade| parameters.has(STATUS.name) && parameters.admits(STATUS.name, grade.as_str());
    let status = Grade::ALL.iter().copied().find(said).unwrap_or(Grade::Pass);
    let unknown = || {
        let shown: String = name.chars().take(128).collect();
        let detail = format!("this agent is home to no instance {shown:?} with a push check");
        Refusal::new(Fault::UnknownInstance, detail, "tell the instance's own home agent; GET /v1/instances names it")
    };
    let instance = InstanceId::new(name.as_str()).map_err(|_| unknown())?;
    let token = headers.get(TOKEN_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let words = String::from_utf8_lossy(&body);
    let words: String = words.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match service.0.control.pushes.take(&instance, token, status, words).await {
        Ok(()) => Ok(Json(PushAnswer { instance, status: status.as_str().to_owned() })),
        Err(Untaken::Unknown) => Err(unknown()),
        Err(Untaken::WrongToken) => Err(Refusal::new(
            Fault::Unauthorized,
            "the token of this check is another",
            "send the token that the check's `token` names, in the header `X-Push-Token`",
        )),
        Err(Untaken::NoToken(why)) => Err(Refusal::new(
            Fault::Internal,
            why,
            "make the token of the check readable for the agent: `token` in its [service.check], `probe.secrets_dir`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::document_tests::check;
    use super::super::fixture::{instance, raw, start, view};
    use super::super::openapi::document;
    use crate::answers::{ErrorAnswer, PushAnswer};
    use quorate_core::check::{PushCheck, Secret, SecretSource};
    use quorate_core::{CheckKind, Verdict};
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test]
    async fn an_instance_tells_how_it_is() {
        let mut view = view();
        let mut job = instance("job@10.0.0.1:1", "job", 1, Verdict::Up);
        let token = Secret { prefix: String::new(), source: SecretSource::File("push-token".into()) };
        if let Some(registration) = job.registration.as_mut().map(Arc::make_mut) {
            Arc::make_mut(&mut registration.check).kind =
                CheckKind::Push(PushCheck { ttl: Duration::from_secs(60), token });
        }
        Arc::make_mut(&mut view.instances).insert(job.instance.clone(), Arc::new(job));
        let fixture = start(view);
        let push = |path: &'static str, token: &'static str| async move {
            let text = format!(
                "PUT {path} HTTP/1.1\r\nhost: localhost\r\nx-push-token: {token}\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfine"
            );
            raw(fixture.api, &text).await
        };
        let reply = push("/v1/push/job@10.0.0.1:1?status=warn", "secret").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        check(&document(), "PUT /v1/push/{instance}", &reply);
        assert_eq!(reply.json::<PushAnswer>().status, "warn");
        assert_eq!(push("/v1/push/job@10.0.0.1:1", "secret").await.json::<PushAnswer>().status, "pass");
        let table = [
            ("/v1/push/job@10.0.0.1:1", "other", 401, "unauthorized"),
            ("/v1/push/job@10.0.0.1:1", "", 401, "unauthorized"),
            ("/v1/push/web@10.0.0.1:80", "secret", 404, "unknown_instance"),
            ("/v1/push/nothing", "secret", 404, "unknown_instance"),
            ("/v1/push/job@10.0.0.1:1?status=well", "secret", 400, "bad_request"),
            ("/v1/push/job@10.0.0.1:1?status=pass,fail", "secret", 400, "bad_request"),
        ];
        for (path, token, status, word) in table {
            let reply = push(path, token).await;
            check(&document(), "PUT /v1/push/{instance}", &reply);
            assert_eq!((reply.status, reply.json::<ErrorAnswer>().error.as_str()), (status, word), "{path} {token:?}");
        }
    }
}

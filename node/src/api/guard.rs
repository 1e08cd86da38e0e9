//! What surrounds every request: its id, whether it may pass, its parameters, its limits, its count, and how its errors are written.

use super::Service;
use super::freshness::{self, Freshness};
use super::grpc;
use super::limits::{ANSWER_TIMEOUT, Limit, MAX_BODY_BYTES};
use super::operations::{self, OPERATIONS, Operation};
use super::parameters::Parameters;
use super::refusal::{Fault, PROBLEM, Refusal};
use super::request_id::RequestId;
use super::server::Peer;
use crate::access::tokens::TokenFault;
use crate::access::{Access, Caller, Channel, Denied};
use crate::agent::audit::{By, Change};
use crate::agent::clock::wall;
use crate::export::spans::{Answered, Context, Spans};
use crate::logging::ACCESS;
use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Method, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// The route's label when there is none.
const OTHER: &str = "other";

/// Lets a request pass or refuses it, and finishes its answer.
pub async fn guard(State(service): State<Service>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let at_path = || operations::all().filter(|operation| matched == Some(operation.path));
    let operation = at_path().find(|operation| operation.method.answers(request.method()));
    let route = at_path().next().map_or(OTHER, |operation| operation.path);
    let id = service.0.request_ids.of(request.headers());
    let call = grpc::is_call(request.headers());
    let method = method(&request);
    let counted = service.0.metrics.request_begins(method, route);
    let peer = request.extensions().get::<Peer>().copied();
    let logged = tracing::enabled!(target: ACCESS, tracing::Level::INFO);
    let changes = operation.filter(|operation| operation.audited && matches!(operation.access, Access::Change(_)));
    let path = (logged || changes.is_some()).then(|| request.uri().path().to_owned());

    let wanted = service.0.spans.get().is_some_and(Spans::are_wanted);
    let header = (wanted || logged).then(|| request.headers().get("traceparent")).flatten();
    let traced = header.and_then(|header| Context::read(header.to_str().ok()?));
    let admitted = admit(&service, operation, &mut request).await;
    let caller = request.extensions().get::<Caller>().cloned();
    let waited = request.extensions().get::<Waited>().map_or(Duration::ZERO, |waited| waited.0);
    let mut response = match admitted {
        Ok(None) => {
            let known = request.headers().get_all(header::IF_NONE_MATCH).iter();
            let known: HeaderMap = known.map(|tags| (header::IF_NONE_MATCH, tags.clone())).collect();
            let answered = match kept_under(operation, &request) {
                Some(asked) => answer_kept(&service, asked, request, next).await,
                None => answer(&service, request, next).await,
            };
            match operation.filter(|_| !known.is_empty()) {
                Some(operation) => freshness::spared(operation, &known, answered),
                None => answered,
            }
        }
        Ok(Some(unchanged)) => unchanged,
        Err(refusal) => refusal.into_response(),
    };
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        response =
            if call { grpc::refused(&refusal.into_answer(id.as_str()).1) } else { problem(refusal, &id, response) };
    }
    let headers = response.headers_mut();
    headers.insert("x-request-id", id.0.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));

    let status = response.status().as_u16();
    let duration = begun.elapsed();
    counted.ended(status, duration.saturating_sub(waited));
    let path = path.unwrap_or_default();
    if let (Some(spans), Some(context)) = (service.0.spans.get(), traced.filter(|context| context.recorded)) {
        let (client, ended_unix_ns) =
            (peer.map(|peer| peer.address.ip().to_string()), wall().0.saturating_mul(1_000_000));
        spans.request(
            context,
            Answered { method, route, status, id: id.as_str(), client, ended_unix_ns, took: duration },
        );
    }
    // Who could not be let in has changed nothing; those are counted.
    if let (Some(operation), Some(caller)) = (changes, caller) {
        let by = By::Caller(&caller, peer.map(|peer| peer.address.ip()));
        let request_id = Some(id.as_str());
        service.0.control.audit.note(&Change {
            action: operation.name,
            target: &path,
            by,
            done: status < 400,
            status: Some(status),
            request_id,
        });
    }
    if logged {
        let (request_id, duration_ms) = (id.as_str(), duration.as_secs_f64() * 1000.0);
        let client_ip = peer.map(|peer| peer.address.ip().to_string());
        let trace_id = traced.map(|context| context.trace_id());
        tracing::info!(target: ACCESS, request_id, trace_id, method, path, status, duration_ms, client_ip, "request");
    }
    response
}

/// How long a request waited for news, as it wanted: that is nobody's slowness.
#[derive(Debug, Clone, Copy)]
struct Waited(Duration);

/// Checks what can be checked before the operation runs, and waits for news if the reader wants to. `Some`: what the reader has is right.
async fn admit(
    service: &Service,
    operation: Option<&Operation>,
    request: &mut Request,
) -> Result<Option<Response>, Refusal> {
    if channel(request) == Channel::Local {
        check_host(request)?;
    }
    check_body(service, request)?;
    let caller = authorize(service, operation.map_or(Access::Read, |operation| operation.access), request)?;
    request.extensions_mut().insert(caller);
    let Some(operation) = operation else { return Ok(None) };
    let parameters = Parameters::read(request.uri(), &operation.all_parameters(), operation.strict())?;
    let mut unchanged = None;
    if operation.freshness.waits() {
        let begun = Instant::now();
        freshness::wait(service, &parameters).await?;
        request.extensions_mut().insert(Waited(begun.elapsed()));
        unchanged = freshness::unchanged(service, operation, request.headers());
    }
    request.extensions_mut().insert(parameters);
    Ok(unchanged)
}

fn channel(request: &Request) -> Channel {
    request.extensions().get::<Peer>().map_or(Channel::Open, |peer| peer.channel)
}

/// Who asks? With every reason not to answer counted and put into words.
fn authorize(service: &Service, access: Access, request: &Request) -> Result<Caller, Refusal> {
    let authorization = request.headers().get(header::AUTHORIZATION);
    let text = authorization.map(|value| value.to_str().unwrap_or("unreadable"));
    let address = request.extensions().get::<Peer>().map(|peer| peer.address.ip());
    let decided = service.0.control.gate.admit(access, (channel(request), address), text, wall().0);
    let limited = text.is_some() || channel(request) != Channel::Local;
    service.0.metrics.request_judged(text.is_some(), limited, decided.as_ref().err());
    decided.map_err(denied)
}

/// A refusal in words.
pub fn denied(why: Denied) -> Refusal {
    match why {
        Denied::NoToken => Refusal::new(
            Fault::Unauthorized,
            "a token is needed here and none came",
            "make one with `quorate token create --scope SCOPE` and send it as `Authorization: Bearer TOKEN`",
        ),
        Denied::Token(fault) => {
            let blocked = fault == TokenFault::IpBlocked;
            let code = if blocked { Fault::Forbidden } else { Fault::Unauthorized };
            let detail = format!("the token is not good: {}", fault.as_str());
            Refusal::new(
                code,
                detail,
                "`quorate token list` on the agent's host shows which tokens are good, and from where",
            )
        }
        Denied::Scope { needed, found } => {
            let (needed, found) = (needed.as_str(), found.as_str());
            let detail = format!("this takes a token with the scope `{needed}`; this one has `{found}`");
            Refusal::new(Fault::Forbidden, detail, "make one with `quorate token create --scope`")
        }
        Denied::NotSecure => Refusal::new(
            Fault::NotSecure,
            "health probes alone are answered, and no token is taken, over an unencrypted connection from elsewhere",
            "use the address of `api.tls_listen`; a token that was sent in the clear should be revoked",
        ),
        Denied::NotBearer => Refusal::new(
            Fault::Forbidden,
            "a change takes its token as `Authorization: Bearer`, not as a password",
            "send it as `Authorization: Bearer TOKEN`",
        ),
        Denied::Password => Refusal::new(
            Fault::Unauthorized,
            "the queue board asks for its user and its password",
            "send those of `[queue_board]` as `Authorization: Basic`",
        ),
        Denied::Rate(after) => {
            let detail = format!("this client makes too many requests; the next may come in {} s", after.as_secs());
            Refusal::new(
                Fault::RateLimited,
                detail,
                "ask less often, wait for news with `?index=`, or raise `api.rate_limit`",
            )
            .retry_after(after)
        }
    }
}

/// Under what the answer is kept for the next reader, if it depends on the picture alone.
fn kept_under(operation: Option<&Operation>, request: &Request) -> Option<String> {
    let depends = operation.is_some_and(|operation| operation.freshness == Freshness::Picture);
    // Who waits for news asks for another index each time, for the answer that all others get.
    let waits =
        request.extensions().get::<Parameters>().is_some_and(|parameters| parameters.has(freshness::INDEX.name));
    let plain = request.method() == Method::GET && !waits;
    (depends && plain).then(|| request.uri().path_and_query().map_or("/", PathAndQuery::as_str).to_owned())
}

async fn answer_kept(service: &Service, asked: String, request: Request, next: Next) -> Response {
    let (index, now) = (service.0.published.view().index, Instant::now());
    match service.0.kept.find(&asked, index) {
        Some(response) => response,
        None => {
            let response = answer(service, request, next).await;
            service.0.kept.keep(asked, index, now, response).await
        }
    }
}

async fn answer(service: &Service, request: Request, next: Next) -> Response {
    match timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            service.0.metrics.limit_hit(Limit::AnswerTime);
            let detail = format!("no answer within {ANSWER_TIMEOUT:?}");
            let remedy = "ask again, with the whole body at once if there is one; the agent may be overloaded";
            Refusal::new(Fault::Timeout, detail, remedy).into_response()
        }
    }
}

/// A web page on another host cannot ask this agent by making its own name point here: a name in the request must mean this host.
fn check_host(request: &Request) -> Result<(), Refusal> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let header = named.next().and_then(|value| value.to_str().ok());
    if named.next().is_some() {
        let detail = "the request names its host more than once";
        return Err(Refusal::new(Fault::BadRequest, detail, "send one header `Host`"));
    }
    let target = request.uri().authority().map(|authority| authority.as_str());
    match target.or(header) {
        Some(host) if is_this_host(host) => Ok(()),
        None if request.version() < Version::HTTP_11 && !request.headers().contains_key(header::HOST) => Ok(()),
        None => {
            let detail = "the request does not say for which host it is";
            Err(Refusal::new(Fault::Misdirected, detail, "send a header `Host` with localhost, or with the address"))
        }
        Some(found) => {
            let found: String = found.chars().take(128).collect();
            let detail = format!("the request is for the host {found:?}; this API listens on loopback");
            Err(Refusal::new(Fault::Misdirected, detail, "ask for localhost, or for the address"))
        }
    }
}

/// An address is nobody's name; of names only `localhost` and what is below it mean this host everywhere (RFC 6761, section 6.3).
fn is_this_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

fn check_body(service: &Service, request: &Request) -> Result<(), Refusal> {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared = declared.map(|length| length.parse::<u64>().unwrap_or(u64::MAX));
    if declared.or(request.body().size_hint().upper()).unwrap_or(0) <= MAX_BODY_BYTES {
        return Ok(());
    }
    service.0.metrics.limit_hit(Limit::Body);
    let detail = format!("the request's body is larger than {MAX_BODY_BYTES} bytes");
    Err(Refusal::new(Fault::BodyTooLarge, detail, "send less"))
}

fn problem(refusal: Refusal, id: &RequestId, response: Response) -> Response {
    let (code, answer) = refusal.into_answer(id.as_str());
    let body = serde_json::to_vec(&answer).unwrap_or_default();
    let mut problem = Response::new(Body::from(body));
    *problem.status_mut() = code;
    copy(response.headers(), problem.headers_mut());
    problem.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    problem
}

/// What a refusal may say in headers: which methods are allowed, when to try again.
fn copy(from: &HeaderMap, to: &mut HeaderMap) {
    for name in [header::ALLOW, header::RETRY_AFTER, header::WWW_AUTHENTICATE] {
        for value in from.get_all(&name) {
            to.append(name.clone(), value.clone());
        }
    }
}

/// The method as a label: a closed list.
fn method(request: &Request) -> &'static str {
    const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];
    let found = request.method().as_str();
    METHODS.into_iter().find(|method| *method == found).unwrap_or(OTHER)
}

/// Nothing is at this path.
pub async fn unknown_path(request: Request) -> Refusal {
    let path: String = request.uri().path().chars().take(200).collect();
    let nearest = crate::spelling::nearest(&path, OPERATIONS.iter().map(|operation| operation.path), 3);
    let detail = format!("there is no {path}");
    Refusal::new(Fault::UnknownPath, detail, "GET /openapi.json lists the paths").nearest(nearest)
}

/// Something is there, but not for this method.
pub async fn method_not_allowed(request: Request) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let methods =
        operations::all().filter(|operation| matched == Some(operation.path)).map(|operation| operation.method);
    let allowed: Vec<_> = methods.flat_map(|method| method.names().iter().copied()).collect();
    let allowed = allowed.join(", ");
    let name: String = request.method().as_str().chars().take(32).collect();
    let detail = format!("{name} is not allowed here");
    let mut response = Refusal::new(Fault::MethodNotAllowed, detail, &format!("use {allowed}")).into_response();
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for host in ["localhost", "LOCALHOST:7701", "a.localhost", "127.0.0.1:7701", "[::1]:7701", "[::1]", "10.0.0.1"]
        {
            assert!(is_this_host(host), "{host}");
        }
        for host in
            ["", "evil.example", "evil.example:7701", "localhost.evil.example", "notlocalhost", "127.0.0.1.nip.io"]
        {
            assert!(!is_this_host(host), "{host}");
        }
    }
}

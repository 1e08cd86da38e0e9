//! Registering and withdrawing instances, and what operators want of them and of lost agents.

use super::body::Body;
use super::refusal::{Fault, Refusal};
use super::words::time;
use super::{Picture, Service};
use crate::access::{Caller, Scope};
use crate::agent::clock::wall;
use crate::agent::drive::Ask;
use crate::agent::registrar::NotDone;
use crate::answers::{ChangedAnswer, ForgetAnswer, IntentRequest};
use crate::config::request;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use quorate_core::{AgentId, InstanceId, Intent, Placement, Registration, UnixMs, Verdict};
use quorate_mesh::{Command, MemberState, MemberView};
use serde_json::{Map, Value};
use std::time::Duration;

/// Longest time for which something may be wanted of an instance.
const MAX_INTENT: Duration = Duration::from_secs(366 * 24 * 3600);

type Name = Result<Path<String>, PathRejection>;

/// Registers an instance at this agent, or renews it.
pub async fn register(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    name: Name,
    Body(body): Body<Map<String, Value>>,
) -> Result<Json<ChangedAnswer>, Refusal> {
    let id = instance_id(&name?)?;
    let requested = request::read(&id, body, service.0.about.address.ip());
    let requested = requested.map_err(|said| Refusal::new(Fault::Invalid, said.join("; "), "correct the body"))?;
    host_of_the_agent(&requested.registration, &caller)?;
    let Picture { view, .. } = service.picture();
    if let Some(known) = view.instances.get(&id).filter(|known| known.home != view.agent) {
        let detail = format!("{id} is registered by {} ({}) already", known.home_name, known.home);
        return Err(Refusal::new(Fault::Conflict, detail, "use another id, or withdraw it there"));
    }
    let done = service.0.control.registrar.register(requested, owner(&caller)).await;
    done.map_err(|why| refusal(&service, &id, why))?;
    Ok(Json(ChangedAnswer { instance: id }))
}

/// Whoever may only register may not have the agent open, read or send what belongs to its host.
fn host_of_the_agent(registration: &Registration, caller: &Caller) -> Result<(), Refusal> {
    match registration.check.kind.host_use() {
        Some(what) if !owner(caller).1 => Err(Refusal::new(
            Fault::Forbidden,
            format!("this check {what}, which takes a token with the scope `operate`"),
            "use such a token, or name the instance in the agent's configuration",
        )),
        _ => Ok(()),
    }
}

/// Withdraws one.
pub async fn withdraw(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    name: Name,
) -> Result<Json<ChangedAnswer>, Refusal> {
    let id = instance_id(&name?)?;
    let done = service.0.control.registrar.withdraw(&id, owner(&caller)).await;
    done.map_err(|why| refusal(&service, &id, why))?;
    Ok(Json(ChangedAnswer { instance: id }))
}

/// Takes an instance out of service on purpose.
pub async fn want(
    State(service): State<Service>,
    Extension(caller): Extension<Caller>,
    name: Name,
    Body(wanted): Body<IntentRequest>,
) -> Result<Json<ChangedAnswer>, Refusal> {
    let id = instance_id(&name?)?;
    let now = wall();
    let until = wanted.lasts.as_deref().map(|text| lasts(text, now)).transpose()?;
    let named = match caller {
        Caller::Token { name, .. } => name,
        Caller::Anyone => String::new(),
    };
    let owner = wanted.owner.unwrap_or(named);
    let intent = Intent { kind: wanted.kind.into(), owner, reason: wanted.reason, since: now, until };
    let placement = Placement { intent: Some(intent.clone()), ..Placement::default() };
    if let Some(error) = placement.validate().first() {
        return Err(Refusal::new(Fault::Invalid, format!("{}: {}", error.key, error.message), "correct the body"));
    }
    let done = service.0.control.registrar.want(&id, Some(intent)).await;
    done.map_err(|why| refusal(&service, &id, why))?;
    Ok(Json(ChangedAnswer { instance: id }))
}

/// Takes that back.
pub async fn want_no_more(State(service): State<Service>, name: Name) -> Result<Json<ChangedAnswer>, Refusal> {
    let id = instance_id(&name?)?;
    let done = service.0.control.registrar.want(&id, None).await;
    done.map_err(|why| refusal(&service, &id, why))?;
    Ok(Json(ChangedAnswer { instance: id }))
}

/// Gives up an agent that will not come back.
pub async fn forget(State(service): State<Service>, name: Name) -> Result<Json<ForgetAnswer>, Refusal> {
    let Path(name) = name?;
    let Picture { view, .. } = service.picture();
    let is_meant = |member: &&MemberView| member.agent.to_string() == name || member.name == name;
    let meant: Vec<&MemberView> = view.members.values().filter(is_meant).collect();
    let member = match meant.as_slice() {
        [one] => *one,
        [] => {
            let detail = format!("there is no member {:?}", name.chars().take(64).collect::<String>());
            return Err(Refusal::new(Fault::UnknownMember, detail, "GET /v1/members lists them"));
        }
        _ => {
            let detail = format!("{} members have that name", meant.len());
            return Err(Refusal::new(Fault::Conflict, detail, "name one by its id"));
        }
    };
    if member.state != MemberState::Failed || !member.in_roster {
        let state = match member.state {
            MemberState::Left => "has left".to_owned(),
            state => format!("is {state:?}").to_lowercase(),
        };
        let detail = format!("{} {state}; only a failed agent that still counts can be forgotten", member.name);
        return Err(Refusal::new(Fault::Conflict, detail, "stop it first; one that leaves is forgotten by itself"));
    }
    let asked: AgentId = member.agent;
    let sent = service.0.control.asks.send(Ask::Command(Command::Forget(asked))).await;
    sent.map_err(|_| Refusal::internal("the agent is ending"))?;
    Ok(Json(ForgetAnswer { agent: asked, host: member.host, waits: member.host != Verdict::Down || !view.quorate }))
}

fn instance_id(name: &str) -> Result<InstanceId, Refusal> {
    InstanceId::new(name).map_err(|error| Refusal::bad_request(error.to_string()))
}

/// Whose the registration is, and may this caller do everything?
fn owner(caller: &Caller) -> (&str, bool) {
    match caller {
        Caller::Token { id, scope, .. } => (id, *scope >= Scope::Operate),
        Caller::Anyone => ("", false),
    }
}

fn lasts(text: &str, now: UnixMs) -> Result<UnixMs, Refusal> {
    let span = humantime::parse_duration(text).ok().filter(|span| !span.is_zero() && *span <= MAX_INTENT);
    let span = span.ok_or_else(|| {
        Refusal::new(
            Fault::Invalid,
            format!("for: {text:?} is not a duration such as \"2h\", at most 366 days"),
            "correct the body",
        )
    })?;
    Ok(UnixMs(now.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))))
}

fn refusal(service: &Service, id: &InstanceId, why: NotDone) -> Refusal {
    match why {
        NotDone::Configured => {
            let detail = format!("{id} is in the configuration of this agent");
            Refusal::new(Fault::Conflict, detail, "change it there")
        }
        NotDone::AnothersToken => {
            let detail = format!("{id} was registered with another token");
            Refusal::new(Fault::Forbidden, detail, "use that one, or a token with the scope `operate`")
        }
        NotDone::TooMany(most) => {
            let detail = format!("this agent is home to {most} instances already, and takes no more");
            Refusal::new(Fault::Conflict, detail, "withdraw some, or register them at another agent")
        }
        NotDone::NotHere => not_here(service, id),
        NotDone::Unstored(error) => {
            tracing::error!(error = format!("{error:#}"), "a registration could not be stored");
            Refusal::internal("it could not be stored; nothing was changed")
        }
    }
}

/// A host, another agent's, or nobody's.
fn not_here(service: &Service, id: &InstanceId) -> Refusal {
    let Picture { view, .. } = service.picture();
    if let Some(host) = view.instances.get(id).filter(|_| id.host_of().is_some()) {
        let detail =
            format!("{id} is the host of {} itself, which nobody registers, drains or withdraws", host.home_name);
        return Refusal::new(Fault::Conflict, detail, "name what runs there; GET /v1/instances lists it");
    }
    match view.instances.get(id).filter(|known| known.home != view.agent) {
        Some(known) => {
            let api = view.members.get(&known.home).map_or("", |member| member.api_address.as_str());
            let detail =
                format!("the home of {id} is {} ({}), and only there it is changed", known.home_name, known.home);
            Refusal::new(Fault::NotHome, detail, &format!("ask that agent; its API is at {api}"))
        }
        None => {
            let detail = format!("there is no instance {id}");
            let known = view.instances.keys().filter(|known| known.host_of().is_none()).map(InstanceId::as_str);
            let nearest = crate::spelling::nearest(id.as_str(), known, 3);
            Refusal::new(Fault::UnknownInstance, detail, "GET /v1/instances lists them").nearest(nearest)
        }
    }
}

/// What an operator wants, as it is shown.
pub fn shown(intent: &Intent) -> crate::answers::IntentAnswer {
    crate::answers::IntentAnswer {
        kind: intent.kind.into(),
        owner: intent.owner.clone(),
        reason: intent.reason.clone(),
        since: time(intent.since),
        until: intent.until.map(time),
    }
}

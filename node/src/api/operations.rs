//! Every operation of the API: its path, what may be asked, what is answered, and who answers. The router, the document at `/openapi.json` and
//! the checks of parameters are made from this table.

use super::freshness::Freshness;
use super::instances::{AFTER, HOME, HOSTS, LIMIT, SERVICE, STALE, TAG, VERDICT, ZONE};
use super::operation::{ASK, Method, health_json, json, text};
pub use super::operation::{Answer, Operation};
use super::refusal::Fault;
use super::{
    breaker_operations, changes, counting, discovery, events, failures, grpc, health, health_forms, instances,
    integrations, kubernetes, measurements, members, openapi, operating, probing, pushing, queue_board, registering,
    reports, status_page, this_agent, votes,
};
use crate::access::{Access, Scope};
use crate::answers::schema::INSTANCE_PATTERN;
use crate::answers::{
    AgentAnswer, AgentHealthAnswer, CachesAnswer, ChangedAnswer, EventsAnswer, FailuresAnswer, ForgetAnswer,
    HealthAnswer, InstanceAnswer, InstancesAnswer, IntentRequest, LeaveAnswer, MembersAnswer, OpsStatusAnswer,
    ProbeAnswer, ProbedAnswer, PushAnswer, QueueAnswer, QueuesAnswer, ReadyAnswer, RegisterRequest, ReloadAnswer,
    ReportAnswer, ServiceAnswer, ServicesAnswer, TargetGroup, VotesAnswer,
};
use crate::metrics::{CONTENT_TYPE, OPEN_METRICS};
use axum::routing::{delete, get, post, put};

/// All that is routed: those of the document, and the calls of gRPC.
pub fn all() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().chain(grpc::OPERATIONS)
}

/// All that the document describes.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        path: "/v1/health",
        name: "health",
        summary: "The whole mesh in one answer",
        parameters: &[],
        freshness: Freshness::Picture,
        answers: &[json::<HealthAnswer>(200, "How the mesh is, and each of its services")],
        faults: &[],
        handler: || get(health::health),
        ..ASK
    },
    Operation {
        path: "/v1/services",
        name: "services",
        summary: "Every service",
        parameters: &[&HOSTS, &health::STATUS, &LIMIT, &AFTER],
        freshness: Freshness::Picture,
        answers: &[json::<ServicesAnswer>(200, "The services, by name")],
        faults: &[],
        handler: || get(health::services),
        ..ASK
    },
    Operation {
        path: "/v1/services/{service}",
        name: "service",
        summary: "One service with its instances",
        parameters: &[],
        freshness: Freshness::Picture,
        answers: &[json::<ServiceAnswer>(200, "The service")],
        faults: &[Fault::UnknownService],
        handler: || get(health::service),
        ..ASK
    },
    Operation {
        path: "/v1/instances",
        name: "instances",
        summary: "Every instance",
        parameters: &[&SERVICE, &VERDICT, &ZONE, &HOME, &TAG, &STALE, &HOSTS, &LIMIT, &AFTER],
        freshness: Freshness::Picture,
        answers: &[json::<InstancesAnswer>(200, "The instances, by id")],
        faults: &[],
        handler: || get(instances::instances),
        ..ASK
    },
    Operation {
        path: "/v1/instances/{instance}",
        name: "instance",
        summary: "One instance: its verdict, certificate, every observer's vote, and this agent's own last probe",
        parameters: &[],
        freshness: Freshness::PictureAndProbe,
        answers: &[json::<InstanceAnswer>(200, "The instance")],
        faults: &[Fault::UnknownInstance],
        handler: || get(instances::instance),
        ..ASK
    },
    Operation {
        method: Method::Put,
        access: Access::Change(Scope::Register),
        path: "/v1/instances/{instance}",
        path_pattern: Some(INSTANCE_PATTERN),
        name: "register",
        summary: "Register an instance at this agent, or renew it",
        body: Some(|generator| generator.subschema_for::<RegisterRequest>()),
        answers: &[json::<ChangedAnswer>(200, "It is registered")],
        faults: &[Fault::Conflict, Fault::Invalid],
        handler: || put(registering::register),
        ..ASK
    },
    Operation {
        method: Method::Delete,
        access: Access::Change(Scope::Register),
        path: "/v1/instances/{instance}",
        path_pattern: Some(INSTANCE_PATTERN),
        name: "withdraw",
        summary: "Withdraw an instance that was registered by the API",
        answers: &[json::<ChangedAnswer>(200, "It is withdrawn")],
        faults: &[Fault::UnknownInstance, Fault::Conflict],
        handler: || delete(registering::withdraw),
        ..ASK
    },
    Operation {
        method: Method::Put,
        access: Access::Change(Scope::Operate),
        path: "/v1/instances/{instance}/intent",
        path_pattern: Some(INSTANCE_PATTERN),
        name: "intend",
        summary: "Drain an instance, or take it into maintenance, at its home agent",
        body: Some(|generator| generator.subschema_for::<IntentRequest>()),
        answers: &[json::<ChangedAnswer>(200, "The mesh is told")],
        faults: &[Fault::UnknownInstance, Fault::NotHome, Fault::Conflict, Fault::Invalid],
        handler: || put(registering::want),
        ..ASK
    },
    Operation {
        method: Method::Delete,
        access: Access::Change(Scope::Operate),
        path: "/v1/instances/{instance}/intent",
        path_pattern: Some(INSTANCE_PATTERN),
        name: "intend_no_more",
        summary: "Take that back",
        answers: &[json::<ChangedAnswer>(200, "The mesh is told")],
        faults: &[Fault::UnknownInstance, Fault::NotHome, Fault::Conflict],
        handler: || delete(registering::want_no_more),
        ..ASK
    },
    Operation {
        method: Method::Delete,
        access: Access::Change(Scope::Operate),
        path: "/v1/members/{member}",
        name: "forget",
        summary: "Give up an agent that failed and will not come back, by its id or name",
        answers: &[json::<ForgetAnswer>(200, "It is forgotten as soon as a quorum has found its host down")],
        faults: &[Fault::UnknownMember, Fault::Conflict],
        handler: || delete(registering::forget),
        ..ASK
    },
    Operation {
        method: Method::Post,
        access: Access::Change(Scope::Operate),
        path: "/v1/agent/leave",
        name: "leave",
        summary: "Have this agent leave its mesh for good and end; it comes back only when it is started with a member to join",
        answers: &[json::<LeaveAnswer>(200, "It has left")],
        faults: &[Fault::Conflict],
        handler: || post(changes::leave),
        ..ASK
    },
    Operation {
        path: "/v1/members",
        name: "members",
        summary: "Every agent",
        parameters: &[&members::STATE, &ZONE, &LIMIT, &AFTER],
        freshness: Freshness::Picture,
        answers: &[json::<MembersAnswer>(200, "The members, by name")],
        faults: &[],
        handler: || get(members::members),
        ..ASK
    },
    Operation {
        path: "/v1/events",
        name: "events",
        summary: "What happens, as a stream that can be resumed, or what is held of it",
        parameters: &[&events::SINCE, &events::FORMAT, &events::LIMIT],
        freshness: Freshness::Momentary,
        answers: &[
            text("text/event-stream", "A stream of server-sent events; the data of each is an EventAnswer"),
            json::<EventsAnswer>(200, "With `format=json`: the events held"),
        ],
        faults: &[Fault::TooManyStreams],
        handler: || get(events::events),
        ..ASK
    },
    Operation {
        path: "/v1/reports/{service}",
        name: "report",
        summary: "What has been of a service: uptime, this agent's probes, incidents",
        parameters: &[&reports::HOURS, &reports::MINUTES],
        answers: &[json::<ReportAnswer>(200, "The report")],
        faults: &[Fault::UnknownService, Fault::NoHistory],
        handler: || get(reports::report),
        ..ASK
    },
    measurements::MEASUREMENTS,
    Operation {
        path: "/v1/badges/{service}/uptime.svg",
        name: "uptime_badge",
        summary: "The uptime of a service as a picture",
        parameters: &[&reports::WINDOW],
        answers: &[text(reports::SVG, "The picture")],
        faults: &[Fault::UnknownService, Fault::NoHistory],
        handler: || get(reports::uptime_badge),
        ..ASK
    },
    Operation {
        path: "/v1/badges/{service}/health.svg",
        name: "health_badge",
        summary: "The status of a service as a picture",
        answers: &[text(reports::SVG, "The picture")],
        faults: &[Fault::UnknownService],
        handler: || get(reports::health_badge),
        ..ASK
    },
    Operation {
        path: "/v1/agent",
        name: "agent",
        summary: "Who am I?",
        parameters: &[],
        freshness: Freshness::Momentary,
        answers: &[json::<AgentAnswer>(200, "The answering agent")],
        faults: &[],
        handler: || get(this_agent::agent),
        ..ASK
    },
    Operation {
        path: "/v1/votes",
        name: "votes",
        summary: "Who sees what: observers against instances",
        parameters: &[&SERVICE, &VERDICT, &ZONE, &HOME, &TAG, &STALE, &HOSTS, &LIMIT, &AFTER],
        freshness: Freshness::Picture,
        answers: &[json::<VotesAnswer>(200, "The votes, by instance")],
        faults: &[],
        handler: || get(votes::votes),
        ..ASK
    },
    breaker_operations::PICK,
    breaker_operations::BREAKERS,
    breaker_operations::OF_SERVICE,
    breaker_operations::PERMIT,
    breaker_operations::REPORT,
    breaker_operations::OVERRIDE,
    breaker_operations::LIFT,
    counting::COUNT,
    Operation {
        path: "/v1/sd/prometheus",
        name: "discovery_prometheus",
        summary: "Whom Prometheus should scrape: the agents, or the instances of a service",
        parameters: &[&SERVICE],
        freshness: Freshness::Momentary,
        answers: &[json::<Vec<TargetGroup>>(200, "One group per target")],
        faults: &[Fault::NotReady],
        handler: || get(discovery::prometheus),
        ..ASK
    },
    LIVEZ,
    Operation { path: "/health/live", name: "health_live", ..LIVEZ },
    Operation {
        path: "/healthz",
        name: "healthz",
        summary: "The same as /livez, by the older name",
        handler: || get(kubernetes::healthz),
        ..LIVEZ
    },
    Operation {
        path: "/livez/{check}",
        name: "livez_check",
        summary: "One check of liveness",
        faults: &[Fault::UnknownCheck],
        handler: || get(kubernetes::livez_check),
        ..LIVEZ
    },
    READYZ,
    Operation {
        path: "/readyz/{check}",
        name: "readyz_check",
        summary: "One check of readiness",
        faults: &[Fault::UnknownCheck],
        handler: || get(kubernetes::readyz_check),
        ..READYZ
    },
    HEALTH,
    Operation { path: "/api/health", name: "api_health", ..HEALTH },
    READY,
    Operation { path: "/health/ready", name: "health_ready", ..READY },
    Operation {
        path: "/ops/status",
        name: "ops_status",
        summary: "Every service in a word: up, protected or down",
        answers: &[json::<OpsStatusAnswer>(200, "The services")],
        handler: || get(operating::status),
        ..READY
    },
    Operation {
        path: "/health/queues",
        name: "queues",
        summary: "The agent's queues",
        answers: &[json::<QueuesAnswer>(200, "The queues")],
        handler: || get(operating::queues),
        ..READY
    },
    Operation {
        path: "/health/queues/{queue}",
        name: "queue",
        summary: "One of the agent's queues",
        answers: &[json::<QueueAnswer>(200, "The queue")],
        faults: &[Fault::UnknownQueue],
        handler: || get(operating::queue),
        ..READY
    },
    queue_board::QUEUE_BOARD,
    CACHES,
    Operation { path: "/health/catalog/cache", name: "catalog_cache", ..CACHES },
    integrations::INTEGRATIONS,
    Operation { path: "/auth/health-check", name: "auth_health_check", ..integrations::INTEGRATIONS },
    integrations::POOLS,
    integrations::STORE_POOL,
    METRICS,
    Operation { path: "/api/metrics", name: "api_metrics", ..METRICS },
    Operation {
        path: "/openapi.json",
        name: "openapi",
        summary: "This document",
        answers: &[Answer { status: 200, meaning: "OpenAPI 3.1", media: "application/json", schema: None }],
        handler: || get(openapi::openapi),
        ..READY
    },
    Operation {
        path: "/v1/instances/{instance}/failures",
        name: "failures",
        summary: "What this agent itself saw of an instance's failures: events, counts, its last results",
        answers: &[json::<FailuresAnswer>(200, "The failures, newest first")],
        faults: &[Fault::UnknownInstance],
        handler: || get(failures::failures),
        ..ASK
    },
    Operation {
        method: Method::Post,
        access: Access::Change(Scope::Operate),
        path: "/v1/instances/{instance}/probe",
        name: "probe",
        summary: "Have this agent probe an instance once, now, by the check it knows; it counts for nothing and changes nothing",
        answers: &[json::<ProbedAnswer>(200, "What came of it, be it a failure")],
        faults: &[Fault::UnknownInstance, Fault::Timeout, Fault::Conflict, Fault::NotHome, Fault::RateLimited],
        handler: || post(probing::probe),
        ..ASK
    },
    Operation {
        method: Method::Put,
        access: Access::Public,
        path: "/v1/push/{instance}",
        name: "push",
        summary: "An instance with a push check tells its home agent how it is, in a text of its own if it likes; with the check's token in X-Push-Token",
        parameters: &[&pushing::STATUS],
        answers: &[json::<PushAnswer>(200, "It is noted")],
        faults: &[Fault::UnknownInstance, Fault::Unauthorized, Fault::NotSecure],
        handler: || put(pushing::push),
        ..ASK
    },
    Operation {
        method: Method::Post,
        access: Access::Change(Scope::Operate),
        path: "/-/reload",
        name: "reload",
        summary: "Read anew what can be read anew, as SIGHUP does",
        answers: &[json::<ReloadAnswer>(200, "It is in use")],
        faults: &[Fault::NotReloaded],
        handler: || post(changes::reload),
        ..ASK
    },
    PAGE,
    Operation {
        path: "/page.css",
        name: "page_style",
        summary: "Its style",
        answers: &[text("text/css; charset=utf-8", "The style")],
        handler: || get(status_page::style),
        ..PAGE
    },
    Operation {
        path: "/page.js",
        name: "page_script",
        summary: "Its program",
        answers: &[text("text/javascript; charset=utf-8", "The program")],
        handler: || get(status_page::script),
        ..PAGE
    },
];

const LIVEZ: Operation = Operation {
    path: "/livez",
    access: Access::Public,
    name: "livez",
    summary: "Does this process work?",
    parameters: &[&kubernetes::VERBOSE, &kubernetes::EXCLUDE],
    freshness: Freshness::Momentary,
    answers: &[
        json::<ProbeAnswer>(200, "It does"),
        text(kubernetes::VERBOSE_TEXT, "With `verbose`: each check"),
        json::<ProbeAnswer>(503, "It should be restarted"),
        Answer { status: 503, meaning: "", media: kubernetes::VERBOSE_TEXT, schema: None },
    ],
    faults: &[],
    handler: || get(kubernetes::livez),
    ..ASK
};

const READYZ: Operation = Operation {
    path: "/readyz",
    name: "readyz",
    summary: "May others rely on this agent?",
    answers: &[
        json::<ProbeAnswer>(200, "They may"),
        text(kubernetes::VERBOSE_TEXT, "With `verbose`: each check"),
        json::<ProbeAnswer>(503, "Not now"),
        Answer { status: 503, meaning: "", media: kubernetes::VERBOSE_TEXT, schema: None },
    ],
    handler: || get(kubernetes::readyz),
    ..LIVEZ
};

const HEALTH: Operation = Operation {
    path: "/health",
    access: Access::Public,
    name: "agent_health",
    summary: "How this agent is, in the form asked for; the status is 200 while it works, even if it is degraded",
    parameters: &[&health_forms::FORMAT],
    freshness: Freshness::Momentary,
    answers: &[
        json::<AgentHealthAnswer>(200, "It works"),
        health_json(200, ""),
        text(CONTENT_TYPE, ""),
        text(OPEN_METRICS, ""),
        json::<AgentHealthAnswer>(503, "It should be restarted"),
        health_json(503, ""),
    ],
    faults: &[],
    handler: || get(health_forms::health),
    ..ASK
};

const READY: Operation = Operation {
    path: "/ready",
    access: Access::Public,
    name: "ready",
    summary: "May others rely on this agent? With each check and its latency",
    parameters: &[],
    freshness: Freshness::Momentary,
    answers: &[json::<ReadyAnswer>(200, "They may"), json::<ReadyAnswer>(503, "Not now")],
    faults: &[],
    handler: || get(health_forms::ready),
    ..ASK
};

const CACHES: Operation = Operation {
    path: "/health/cache",
    name: "caches",
    summary: "The agent's caches",
    answers: &[json::<CachesAnswer>(200, "The caches")],
    handler: || get(operating::caches),
    ..READY
};

const METRICS: Operation = Operation {
    path: "/metrics",
    name: "metrics",
    summary: "Metrics for Prometheus",
    parameters: &[&this_agent::FORM_OF_METRICS],
    freshness: Freshness::Momentary,
    answers: &[text(CONTENT_TYPE, "Prometheus' text format, or OpenMetrics when asked for"), text(OPEN_METRICS, "")],
    faults: &[],
    handler: || get(this_agent::metrics),
    ..ASK
};

const PAGE: Operation = Operation {
    path: "/",
    name: "page",
    summary: "The status page",
    parameters: &[],
    freshness: Freshness::Program,
    answers: &[text("text/html; charset=utf-8", "The page")],
    faults: &[],
    handler: || get(status_page::page),
    ..ASK
};

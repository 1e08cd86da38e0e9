//! What others' tools expect: Kubernetes' probes, the forms of `/health`, Prometheus' discovery, the page and its policy.

use super::fixture::{ask, get, instance, start, start_as, view};
use crate::agent::clock::wall;
use crate::agent::probes::LastProbe;
use crate::answers::{
    AgentHealthAnswer, AgentHealthStatus, CachesAnswer, HealthAnswer, HealthJsonAnswer, HealthJsonStatus,
    IntegrationStatus, IntegrationsAnswer, OpsStatus, OpsStatusAnswer, PoolAnswer, PoolsAnswer, QueuesAnswer,
    ReadyAnswer, ReadyStatus, TargetGroup, VotesAnswer,
};
use crate::export::Output;
use quorate_core::{InstanceId, Outcome, ProbeResult, ServiceName, Verdict};
use quorate_mesh::MeshView;
use std::sync::Arc;
use std::time::Duration;

fn unsettled() -> MeshView {
    MeshView { settled: false, ..view() }
}

#[tokio::test]
async fn kubernetes_probes_name_their_checks() {
    let fixture = start(view());
    let well = ask(fixture.api, "GET /readyz?verbose", &[]).await;
    assert_eq!(well.body, "[+]engine ok\n[+]membership ok\n[+]storage ok\n[+]mesh ok\nreadyz check passed\n");
    fixture.published.replace(unsettled());
    let failed = ask(fixture.api, "GET /readyz?verbose", &[]).await;
    assert_eq!(failed.status, 503);
    assert!(failed.body.contains("[-]mesh failed: the agent has not caught up with the mesh yet\n"), "{}", failed.body);
    assert!(failed.body.ends_with("readyz check failed\n"), "{}", failed.body);
    let without = ask(fixture.api, "GET /readyz?verbose&exclude=storage,mesh&exclude=odd", &[]).await;
    assert_eq!(without.status, 200);
    assert!(without.body.contains("[+]mesh excluded: ok\nwarn: some checks cannot be excluded: no matches for odd\n"));
    for (path, status) in
        [("/readyz/mesh", 503), ("/readyz/engine", 200), ("/livez", 200), ("/healthz", 200), ("/livez/mesh", 404)]
    {
        assert_eq!(ask(fixture.api, &format!("GET {path}"), &[]).await.status, status, "{path}");
    }
    assert_eq!(ask(fixture.api, "GET /livez?verbose", &[]).await.body, "[+]engine ok\nlivez check passed\n");
    let unknown = ask(fixture.api, "GET /livez/mesh", &[]).await.body;
    assert!(unknown.contains("GET /livez?verbose lists them"), "{unknown}");
}

#[tokio::test]
async fn health_has_the_form_that_is_asked_for() {
    let fixture = start(unsettled());
    let api = fixture.api;
    for path in ["/health", "/api/health", "/health?format=json"] {
        let answer: AgentHealthAnswer = get(api, path, 200).await;
        assert_eq!((answer.status, answer.checks["engine"]), (AgentHealthStatus::Degraded, AgentHealthStatus::Ok));
        assert_eq!(answer.checks["mesh"], AgentHealthStatus::Degraded);
    }
    let reply = ask(api, "GET /health", &["Accept: application/health+json, application/json;q=0.5"]).await;
    assert_eq!((reply.header("content-type"), reply.header("vary")), (Some("application/health+json"), Some("accept")));
    let answer: HealthJsonAnswer = reply.json();
    assert_eq!((answer.status, answer.service_id.as_str()), (HealthJsonStatus::Warn, "0000000000000001"));
    assert_eq!(answer.checks["engine:responseTime"][0].observed_unit.as_deref(), Some("ms"));
    assert!(answer.output.contains("caught up"), "{}", answer.output);
    fixture.published.replace(view());
    let well: AgentHealthAnswer = get(api, "/health", 200).await;
    assert_eq!((well.status, well.checks["mesh"]), (AgentHealthStatus::Ok, AgentHealthStatus::Ok));
    fixture.published.replace(MeshView { quorate: false, alive: 1, ..view() });
    let cut_off: AgentHealthAnswer = get(api, "/health", 200).await;
    let found = ["quorum", "mesh"].map(|name| cut_off.checks[name]);
    assert_eq!(
        (cut_off.status, found),
        (AgentHealthStatus::Degraded, [AgentHealthStatus::Degraded, AgentHealthStatus::Ok])
    );
    let answer: HealthJsonAnswer = get(api, "/health?format=health", 200).await;
    assert_eq!(answer.output, "reaches 1 of 3 agents that count, which is not more than half");
    let ready: ReadyAnswer = get(api, "/ready", 200).await;
    assert_eq!(ready.status, ReadyStatus::Healthy, "it still tells what it knew");
    fixture.published.replace(view());
    // As Prometheus asks, whose scrape may point here.
    let prometheus =
        "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    let open = ask(api, "GET /health", &[prometheus]).await;
    assert!(open.body.ends_with("# EOF\n") && open.body.contains("# TYPE http_requests counter\n"));
    let old = ask(api, "GET /health", &["Accept: text/plain;version=0.0.4"]).await;
    assert!(old.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(old.body.contains("# TYPE http_requests_total counter\n") && !old.body.contains("# EOF"));
    for unwanted in [
        "text/html,text/plain,*/*",
        "application/health+json;q=0, application/json",
        "application/health+json;q=0.5, application/json",
    ] {
        let plain = ask(api, "GET /health", &[&format!("Accept: {unwanted}")]).await;
        assert_eq!(plain.header("content-type"), Some("application/json"), "{unwanted}");
    }
    for (path, status) in
        [("/metrics?format=json", 400), ("/metrics?format=prometheus", 200), ("/health?format=json,health", 400)]
    {
        assert_eq!(ask(api, &format!("GET {path}"), &[]).await.status, status, "{path}");
    }
    let older = "Accept: application/openmetrics-text;q=0.1, text/plain;version=0.0.4";
    assert!(!ask(api, "GET /metrics", &[older]).await.body.contains("# EOF"));
}

#[tokio::test]
async fn readiness_lists_its_checks() {
    let fixture = start(unsettled());
    let answer: ReadyAnswer = get(fixture.api, "/ready", 503).await;
    assert_eq!((answer.status, answer.checks["mesh"].status), (ReadyStatus::Unhealthy, ReadyStatus::Unhealthy));
    assert!(answer.checks["engine"].latency_ms.is_some());
    fixture.published.replace(view());
    let answer: ReadyAnswer = get(fixture.api, "/health/ready", 200).await;
    assert_eq!(answer.status, ReadyStatus::Healthy);
}

#[tokio::test]
async fn operators_get_short_answers() {
    let fixture = start(view());
    let api = fixture.api;
    let answer: OpsStatusAnswer = get(api, "/ops/status", 200).await;
    assert_eq!((answer.services["web"], answer.services["db"]), (OpsStatus::Up, OpsStatus::Down));
    // An instance that fails says nothing of the others; one that lets everybody in does.
    for (id, service, guarded, seen) in [
        ("web@10.0.0.1:80", "web", true, OpsStatus::Protected),
        ("db@10.0.0.1:5432", "db", true, OpsStatus::Protected),
        ("web@10.0.0.4:80", "web", false, OpsStatus::Up),
    ] {
        let mut outcome = Outcome::pass(Duration::from_millis(1));
        if guarded {
            outcome.result = ProbeResult::Protected("401".to_owned());
        }
        let service = ServiceName::new(service).unwrap();
        let probe = LastProbe { ended: wall(), service, check: "http", outcome };
        fixture.local.note(InstanceId::new(id).unwrap(), probe);
        let answer: OpsStatusAnswer = get(api, "/ops/status", 200).await;
        assert_eq!((answer.services["web"], answer.services["db"]), (seen, OpsStatus::Down), "{id}");
    }
    for (verdict, seen) in [(Verdict::Maintenance, OpsStatus::Down), (Verdict::Draining, OpsStatus::Up)] {
        let one = Arc::new(instance("api@10.0.0.1:80", "api", 1, verdict));
        fixture.published.replace(MeshView { instances: Arc::new([(one.instance.clone(), one)].into()), ..view() });
        let answer: OpsStatusAnswer = get(api, "/ops/status", 200).await;
        assert_eq!(answer.services["api"], seen, "{verdict:?}");
    }
    let queues: QueuesAnswer = get(api, "/health/queues", 200).await;
    assert_eq!(
        (queues.queues["probes"].metrics.queue_size, queues.queues["probes"].metrics.average_wait_time),
        (0, None)
    );
    assert_eq!(queues.queues["probes"].metrics.average_execution_time, Some(1.5));
    let caches: CachesAnswer = get(api, "/health/cache", 200).await;
    assert_eq!((caches.dns.hit_rate, caches.answers.hit_rate), (None, None));
    // Answers are kept for a tenth of a second: of so many in a row some find one, and the first does not.
    let begun = std::time::Instant::now();
    let answers = loop {
        let _: HealthAnswer = get(api, "/v1/health", 200).await;
        let caches: CachesAnswer = get(api, "/health/cache", 200).await;
        if caches.answers.hits > 0 || begun.elapsed() > Duration::from_secs(20) {
            break caches.answers;
        }
    };
    assert!(answers.misses > 0 && answers.hit_rate.is_some_and(|rate| rate > 0.0 && rate < 1.0), "{answers:?}");
}

#[tokio::test]
async fn prometheus_discovers_agents_and_instances() {
    let api = start(view()).api;
    // Of three members whose API listens on loopback, only this one can be reached.
    let agents: Vec<TargetGroup> = get(api, "/v1/sd/prometheus", 200).await;
    assert_eq!(agents.len(), 1);
    assert_eq!(
        (agents[0].targets[0].as_str(), agents[0].labels["__meta_quorate_name"].as_str()),
        ("127.0.0.1:7701", "host-1")
    );
    let web: Vec<TargetGroup> = get(api, "/v1/sd/prometheus?service=web", 200).await;
    let targets: Vec<_> = web.iter().map(|group| group.targets[0].as_str()).collect();
    assert_eq!(targets, ["10.0.0.1:80", "10.0.0.3:80"]);
    assert_eq!(web[1].labels["__meta_quorate_verdict"], "down");
}

#[tokio::test]
async fn votes_are_a_matrix() {
    let api = start(view()).api;
    let answer: VotesAnswer = get(api, "/v1/votes?service=web", 200).await;
    assert_eq!(answer.observers.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["host-1", "host-2", "host-3"]);
    assert_eq!(answer.instances.len(), 2);
    let votes = &answer.instances[0].votes;
    assert_eq!((votes["0000000000000001"].as_str(), votes["0000000000000003"].as_str()), ("fail", "silent"));
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let api = start(view()).api;
    for (path, media) in [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")] {
        let reply = ask(api, &format!("GET {path}"), &[]).await;
        assert_eq!(reply.status, 200);
        assert!(reply.header("content-type").unwrap().starts_with(media));
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe") && !policy.contains("http"));
        assert_eq!(
            (reply.header("x-content-type-options"), reply.header("x-frame-options")),
            (Some("nosniff"), Some("DENY"))
        );
        for trace in ["http://", "https://", "innerHTML", "eval(", "style=", "onclick"] {
            assert!(!reply.body.contains(trace), "{path} holds {trace}");
        }
    }
    let page = ask(api, "GET /", &[]).await.body;
    for part in ["<html lang=\"en\">", "name=\"viewport\"", "role=\"alert\"", "class=\"skip\"", "<noscript>"] {
        assert!(page.contains(part), "the page lacks {part}");
    }
}

#[tokio::test]
async fn integrations_and_pools_are_told() {
    let fixture = start(view());
    for path in ["/health/integrations", "/auth/health-check"] {
        let answer: IntegrationsAnswer = get(fixture.api, path, 200).await;
        let status = |name: &str| answer.integrations[name].status;
        assert_eq!(answer.status, AgentHealthStatus::Ok);
        assert_eq!((status("containers"), status("names")), (IntegrationStatus::Off, IntegrationStatus::Off));
        assert_eq!((status("history"), status("load_balancers")), (IntegrationStatus::Ok, IntegrationStatus::Ok));
        let told = answer.integrations["load_balancers"].detail.as_deref();
        assert_eq!(told, Some("listens on 127.0.0.1:7702"));
    }
    let answer: PoolsAnswer = get(fixture.api, "/api/metrics/pools", 200).await;
    let names: Vec<_> = answer.pools.keys().map(String::as_str).collect();
    assert_eq!(names, ["api_connections", "event_streams", "probes", "store", "waiting_requests"]);
    let connections = answer.pools["api_connections"];
    assert!(connections.checkouts >= 1 && connections.size == 512, "this request came by one: {connections:?}");
    assert!(connections.usage_ratio > 0.0 && connections.usage_ratio < 1.0, "{connections:?}");
    assert_eq!((answer.pools["probes"].size, answer.pools["probes"].checkouts), (100, 0));
    let page = ask(fixture.api, "GET /metrics", &[]).await.body;
    assert!(page.contains("quorate_pool_usage_ratio{pool=\"probes\"} 0\n"), "the same as a metric");
    assert!(page.contains("queue_jobs_failed_total{job_name=\"http\",queue=\"probes\"} 1\n"), "{page}");
    assert!(page.contains("queue_jobs_total{queue=\"probes\",status=\"failed\"} 1\n"));
    let store: PoolAnswer = get(fixture.api, "/api/metrics/db-pool", 200).await;
    assert_eq!((store.overflow, store.size), (0, 20_000));
}

#[tokio::test]
async fn outputs_are_among_the_integrations() {
    let outputs = vec![Output::Statsd, Output::OtlpTraces];
    let fixture = start_as(view(), |about| about.outputs = outputs);
    let asked = || async {
        let answer: IntegrationsAnswer = get(fixture.api, "/health/integrations", 200).await;
        (answer.status, answer.integrations["statsd"].clone(), answer.integrations["otlp"].clone())
    };
    let (whole, statsd, otlp) = asked().await;
    let well = (AgentHealthStatus::Ok, IntegrationStatus::Ok, IntegrationStatus::Ok);
    assert_eq!((whole, statsd.status, otlp.status), well);
    // Metrics by OTLP are not used here.
    fixture.metrics.export_dropped(Output::OtlpMetrics, 1);
    fixture.metrics.export_dropped(Output::Statsd, 1);
    let (whole, statsd, otlp) = asked().await;
    let degraded = (AgentHealthStatus::Degraded, IntegrationStatus::Degraded, IntegrationStatus::Ok);
    assert_eq!((whole, statsd.status, otlp.status), degraded);
    assert!(statsd.detail.is_some_and(|detail| detail.contains("handed over")));
    fixture.metrics.exported(Output::Statsd, 1);
    assert_eq!(asked().await.0, AgentHealthStatus::Ok);
    let off: IntegrationsAnswer = get(start(view()).api, "/health/integrations", 200).await;
    assert_eq!(off.integrations["statsd"].status, IntegrationStatus::Off);
}

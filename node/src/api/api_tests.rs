//! The API against a picture made up for it.

use super::fixture::{ask, get, instance, start, start_as, view};
use super::words::time;
use crate::agent::claims::Claims;
use crate::agent::event_log::EventLog;
use crate::answers::{
    AgentAnswer, ErrorAnswer, EventAnswer, EventWhat, EventsAnswer, HealthAnswer, InstanceAnswer, InstancesAnswer,
    MembersAnswer, Membership, ProbeAnswer, ServiceAnswer, ServicesAnswer, Status,
};
use crate::metrics::CATALOGUE;
use quorate_core::{AgentId, Cause, InstanceId, Phase, UnixMs, Verdict};
use quorate_mesh::{Event, EventKind, MeshView};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

#[tokio::test]
async fn health_and_services() {
    let api = start(view()).api;
    let health: HealthAnswer = get(api, "/v1/health", 200).await;
    assert_eq!(health.status, Status::Unknown);
    assert_eq!(
        (health.verdicts[&Verdict::Up], health.verdicts[&Verdict::Down], health.verdicts[&Verdict::Unknown]),
        (1, 1, 1)
    );
    let services: Vec<_> = health.services.iter().map(|s| (s.service.as_str(), s.status, s.folded, s.stale)).collect();
    assert_eq!(services, [("db", Status::Unknown, 0, 1), ("web", Status::Degraded, 1, 0)]);
    assert_eq!((health.hosts.len(), health.hosts[0].agent, health.hosts[0].folded_instances), (1, AgentId(3), 1));
    assert_eq!((health.members.alive, health.members.suspect, health.members.failed), (1, 1, 1));
    assert_eq!(
        (health.view.stale_instances, health.view.index, health.view.at.as_str()),
        (1, 7, "2025-11-21T07:00:00.123Z")
    );
    assert!(health.view.quorate && health.view.age_ms < 10_000);

    let services: ServicesAnswer = get(api, "/v1/services?hosts=true", 200).await;
    assert_eq!(services.services.len(), 3);
    let web: ServiceAnswer = get(api, "/v1/services/web", 200).await;
    assert_eq!((web.summary.total, web.instances.len()), (2, 2));
    let unknown: ErrorAnswer = get(api, "/v1/services/wbe", 404).await;
    assert_eq!((unknown.error.as_str(), unknown.nearest.as_slice()), ("unknown_service", &["web".to_owned()][..]));
}

#[tokio::test]
async fn instances_members_and_the_agent() {
    let api = start(view()).api;
    let all: InstancesAnswer = get(api, "/v1/instances", 200).await;
    assert_eq!(all.instances.len(), 3);
    let down: InstancesAnswer = get(api, "/v1/instances?verdict=down&home=host-3", 200).await;
    assert_eq!(down.instances.len(), 1);
    let one: InstanceAnswer = get(api, "/v1/instances/web@10.0.0.3:80", 200).await;
    let encoded: InstanceAnswer = get(api, "/v1/instances/web%4010.0.0.3%3A80", 200).await;
    assert_eq!(one.summary.instance, encoded.summary.instance);
    assert_eq!((one.summary.votes.fail, one.summary.votes.silent), (2, 1));
    assert_eq!(one.settings.unwrap().target, "GET http://10.0.0.3:80/health");
    assert_eq!((one.observers[0].vote.as_deref(), one.observers[0].cause), (Some("fail"), Some(Cause::Refused)));
    let certificate = one.certificate.unwrap();
    assert_eq!(
        (certificate.endorsements[0].name.as_deref(), certificate.endorsements[1].name.clone()),
        (Some("host-1"), None)
    );
    assert_eq!(certificate.endorsements[0].signature, "ab01");
    let local = one.local.unwrap();
    assert_eq!((local.is_healthy, local.response_time_ms, local.phase), (false, 1.5, Some(Phase::Connect)));
    let unknown: ErrorAnswer = get(api, "/v1/instances/web@10.0.0.3:81", 404).await;
    assert_eq!((unknown.error.as_str(), unknown.nearest[0].as_str()), ("unknown_instance", "web@10.0.0.3:80"));

    let members: MembersAnswer = get(api, "/v1/members", 200).await;
    assert_eq!(
        members.members.iter().map(|m| m.state).collect::<Vec<_>>(),
        [Membership::Alive, Membership::Suspect, Membership::Failed]
    );
    let agent: AgentAnswer = get(api, "/v1/agent", 200).await;
    assert!(agent.ready && agent.issuer && agent.pid == std::process::id());
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let api = start(view()).api;
    for (path, code, error) in [
        ("/v1/helth", 404, "unknown_path"),
        ("/v1/instances?verdict=bad", 400, "bad_request"),
        ("/v1/instances?x=1", 400, "bad_request"),
        ("/v1/events?since=x", 400, "bad_request"),
    ] {
        let answer: ErrorAnswer = get(api, path, code).await;
        assert_eq!(answer.error, error, "{path}");
        assert!(!answer.remedy.is_empty() && !answer.detail.is_empty());
    }
    let reply = ask(api, "DELETE /v1/health", &[]).await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(reply.json::<ErrorAnswer>().error, "method_not_allowed");
}

#[tokio::test]
async fn a_path_that_is_no_text_is_refused_in_json() {
    let api = start(view()).api;
    for path in ["/v1/instances/%ff%fe", "/v1/services/%ff"] {
        let answer: ErrorAnswer = get(api, path, 400).await;
        assert_eq!(answer.error, "bad_request", "{path}");
    }
}

#[test]
fn a_claim_that_another_agent_has_is_noticed() {
    let ids = ["web@10.0.0.1:80", "web@10.0.0.3:80", "web@10.0.0.9:80"].map(|id| InstanceId::new(id).unwrap());
    let mut claims = Claims::new(ids.to_vec());
    let mut view = view();
    assert_eq!(claims.examine(&view), 2);
    let ours = ids[2].clone();
    let instances = Arc::make_mut(&mut view.instances);
    instances.insert(ours, Arc::new(instance("web@10.0.0.9:80", "web", 1, Verdict::Up)));
    assert_eq!(claims.examine(&view), 1);
}

#[tokio::test]
async fn readiness_has_reasons() {
    let mut alone = view();
    (alone.roster, alone.settled) = (1, true);
    let fixture = start(alone);
    let answer: ProbeAnswer = get(fixture.api, "/readyz", 503).await;
    assert_eq!(answer.reasons, ["no other member of the mesh has been reached yet"]);
    let mut unsettled = view();
    unsettled.settled = false;
    fixture.published.replace(unsettled);
    let _: ProbeAnswer = get(fixture.api, "/readyz", 503).await;
    fixture.published.replace(view());
    let _: ProbeAnswer = get(fixture.api, "/readyz", 200).await;
    fixture.published.leave();
    let answer: ProbeAnswer = get(fixture.api, "/readyz", 503).await;
    assert_eq!(answer.reasons, ["the agent is leaving the mesh"]);
    let _: ProbeAnswer = get(fixture.api, "/livez", 200).await;
}

fn push(events: &EventLog, index: u64) {
    events.push(&Event { index, at: UnixMs(index), kind: EventKind::Stalled { late_ms: index } });
}

#[tokio::test]
async fn events_are_a_stream_that_resumes() {
    let fixture = start(view());
    (1..=3).for_each(|index| push(&fixture.events, index));
    let stream = TcpStream::connect(fixture.api).await.unwrap();
    let mut stream = BufReader::new(stream);
    stream
        .get_mut()
        .write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 4-2\r\n\r\n")
        .await
        .unwrap();
    let mut found = Vec::new();
    let mut line = String::new();
    while found.len() < 2 {
        line.clear();
        assert!(stream.read_line(&mut line).await.unwrap() > 0);
        if let Some(data) = line.strip_prefix("data: ") {
            let event: EventAnswer = serde_json::from_str(data).unwrap();
            found.push((event.id, event.what));
            if found.len() == 1 {
                push(&fixture.events, 4);
            }
        }
    }
    let expected = |index: u64| (format!("4-{index}"), EventWhat::Stalled { late_ms: index });
    assert_eq!(found, [expected(3), expected(4)]);
    let page = ask(fixture.api, "GET /metrics", &[]).await.body;
    for line in [
        "sse_connections_total 1",
        "sse_connections_active 1",
        "sse_events_sent_total{event_type=\"stalled\"} 2",
        // The first of a stream, and no other.
        "sse_first_event_latency_seconds_count 1",
    ] {
        assert!(page.contains(&format!("\n{line}\n")), "{line}\n{page}");
    }

    let held: EventsAnswer = get(fixture.api, "/v1/events?format=json&since=3-9", 200).await;
    assert_eq!((held.reset, held.last.as_str(), held.events.len()), (true, "4-4", 4));
    let held: EventsAnswer = get(fixture.api, "/v1/events?format=json&limit=1", 200).await;
    assert_eq!((held.reset, held.events.len()), (false, 1));
}

#[tokio::test]
async fn a_stream_too_many_is_refused() {
    let fixture = start(view());
    let mut streams = Vec::new();
    for _ in 0..fixture.few_streams() {
        let mut stream = TcpStream::connect(fixture.api).await.unwrap();
        stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        streams.push(stream);
    }
    let answer: ErrorAnswer = get(fixture.api, "/v1/events", 503).await;
    assert_eq!(answer.error, "too_many_streams");
    drop(streams);
    let begun = std::time::Instant::now();
    loop {
        let mut stream = TcpStream::connect(fixture.api).await.unwrap();
        stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        if &head == b"HTTP/1.1 200" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "streams that ended are still counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As in reports: who is worked on burns no budget, and sets off no alert.
#[tokio::test]
async fn what_is_out_of_service_on_purpose_is_neither_up_nor_down_in_metrics() {
    use Verdict::{Degraded, Down, Draining, Maintenance, Partial, Starting, Unknown, Up};
    for (verdict, told) in [
        (Up, Some("1")),
        (Degraded, Some("1")),
        (Partial, Some("1")),
        (Down, Some("0")),
        (Starting, Some("0")),
        (Unknown, Some("0")),
        (Draining, None),
        (Maintenance, None),
    ] {
        let one = Arc::new(instance("web@10.0.0.1:80", "web", 1, verdict));
        let instances = Arc::new([(one.instance.clone(), one)].into());
        let fixture = start(MeshView { instances, ..view() });
        let page = ask(fixture.api, "GET /metrics", &[]).await.body;
        let line = page.lines().find_map(|line| line.strip_prefix("quorate_instance_up{"));
        assert_eq!(line.and_then(|line| line.rsplit(' ').next()), told, "{verdict:?}");
    }
}

#[tokio::test]
async fn metrics_are_those_of_the_catalogue() {
    let fixture = start(view());
    let _: HealthAnswer = get(fixture.api, "/v1/health", 200).await;
    let text = ask(fixture.api, "GET /metrics", &[]).await.body;
    let known: Vec<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(|line| line.split(' ').next().unwrap())
    {
        assert!(known.contains(&name), "{name}");
    }
    for line in [
        "http_requests_total{method=\"GET\",route=\"/v1/health\",status_code=\"200\"} 1",
        "quorate_instance_up{instance_id=\"web@10.0.0.1:80\",service=\"web\"} 1",
        "quorate_members{state=\"failed\"} 1",
        "quorate_hosts{verdict=\"down\"} 1",
        "quorate_persist_failures_total 1",
        "health_check_status{app_name=\"web\",check_type=\"http\",instance_id=\"web@10.0.0.3:80\"} 0",
        "health_check_errors_total{app_name=\"web\",error_type=\"connection\",status_code=\"none\"} 1",
        "external_calls_total{operation=\"probe:http\",service=\"web\",status=\"error\"} 1",
        "external_call_duration_seconds_count{operation=\"probe:http\",service=\"web\"} 1",
        "external_call_errors_total{error_type=\"connection\",operation=\"probe:http\",service=\"web\"} 1",
        "health_check_response_time_seconds_count{app_name=\"web\",check_type=\"http\",success=\"false\"} 1",
        "http_requests_in_flight{method=\"GET\",route=\"/metrics\"} 1",
        "http_requests_in_flight{method=\"GET\",route=\"/v1/health\"} 0",
        "queue_job_duration_seconds_count{job_name=\"http\",queue=\"probes\"} 1",
        "queue_jobs_active{queue=\"probes\"} 0",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("quorate_instance_up{instance_id=\"web@10.0.0.3:80\""));
    assert!(!text.contains("http_request_errors_total{"));
    fixture.published.replace(MeshView { settled: false, ..view() });
    let _: crate::answers::ReadyAnswer = get(fixture.api, "/ready", 503).await;
    let text = ask(fixture.api, "GET /metrics", &[]).await.body;
    let line = "http_request_errors_total{method=\"GET\",route=\"/ready\",status_code=\"503\"} 1\n";
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn names_that_others_use_too_can_have_a_prefix() {
    let fixture = start_as(view(), |about| about.metrics.prefix = Some("chatbot".to_owned()));
    let _: HealthAnswer = get(fixture.api, "/v1/health", 200).await;
    for path in ["/metrics", "/api/metrics", "/health?format=prometheus"] {
        let text = ask(fixture.api, &format!("GET {path}"), &[]).await.body;
        let line = "\nchatbot_http_requests_total{method=\"GET\",route=\"/v1/health\",status_code=\"200\"} 1\n";
        assert!(text.contains(line) && text.contains("\nquorate_ready 1\n"), "{path}: {text}");
        assert!(!text.contains("\nhttp_") && !text.contains("chatbot_quorate_"), "{path}: {text}");
    }
    let open = ask(fixture.api, "GET /metrics?format=openmetrics", &[]).await.body;
    assert!(open.contains("# TYPE chatbot_http_requests counter\n"), "{open}");
}

#[tokio::test]
async fn requests_can_have_the_labels_of_the_other_guide() {
    let fixture = start_as(view(), |about| about.metrics.http_labels = crate::config::HttpLabels::Path);
    assert_eq!(ask(fixture.api, "GET /v1/services/web", &[]).await.status, 200);
    let page = ask(fixture.api, "GET /metrics", &[]).await.body;
    let line = "\nhttp_requests_total{method=\"GET\",path=\"/v1/services/{service}\",status=\"200\"} 1\n";
    assert!(page.contains(line), "the template of the path, never what was asked: {page}");
    assert!(page.contains("\nhttp_requests_in_flight{method=\"GET\",path=\"/metrics\"} 1\n"), "{page}");
    assert!(!page.contains("route="), "{page}");
    assert!(
        page.contains("error_type=\"connection\",status_code=\"none\"} 1\n"),
        "of probes it is another label: {page}"
    );
}

#[tokio::test]
async fn every_series_has_the_environment_that_is_configured() {
    let fixture = start_as(view(), |about| about.environment = Some("production".to_owned()));
    for request in
        ["GET /metrics", "GET /api/metrics", "GET /health?format=prometheus", "GET /metrics?format=openmetrics"]
    {
        let page = ask(fixture.api, request, &[]).await.body;
        let bare = |line: &&str| !line.starts_with('#') && !line.contains("{environment=\"production\"");
        assert_eq!(page.lines().find(bare), None, "{request}");
        assert!(page.contains("\nhttp_requests_in_flight{environment=\"production\",method="), "{page}");
    }
    let agent: AgentAnswer = get(fixture.api, "/v1/agent", 200).await;
    assert_eq!(agent.environment.as_deref(), Some("production"));
}

#[test]
fn times_are_rfc_3339() {
    assert_eq!(time(UnixMs(0)), "1970-01-01T00:00:00.000Z");
    assert_eq!(time(UnixMs(1_763_708_400_123)), "2025-11-21T07:00:00.123Z");
}

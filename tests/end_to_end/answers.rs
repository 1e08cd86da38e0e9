//! The shape of the answers: each says who answers and how far its word goes; errors say what to do.

use quorate_tests::{AgentSetup, Host, Mesh, Target, agent_binary, folder, get, instance_id, run};
use serde_json::Value;
use std::ffi::OsString;
use std::time::Duration;

/// Are these fields there, whatever they hold?
fn has(value: &Value, fields: &[&str], what: &str) {
    for field in fields {
        assert!(value.get(field).is_some(), "{what} lacks `{field}`: {value}");
    }
}

const VIEW: [&str; 12] = [
    "agent",
    "name",
    "mesh",
    "at",
    "age_ms",
    "index",
    "quorate",
    "quorate_since",
    "alive",
    "roster",
    "settled",
    "stale_instances",
];

#[test]
fn every_agent_answers_alike_and_says_who_it_is() {
    let folder = folder();
    let host = Host::loopback();
    let target = Target::start("http", &host, folder.path());
    let setups: Vec<_> = (0..3).map(|n| AgentSetup::new(format!("agent-{n}"), host.clone())).collect();
    let setups = [setups[0].clone().serving("web", &target), setups[1].clone(), setups[2].clone()];
    let mesh = Mesh::start(&setups, folder);
    let id = instance_id("web", &target);
    mesh.await_verdict(&id, "up", Duration::from_secs(20));
    let paths = [
        "/v1/health",
        "/v1/services",
        "/v1/services/web",
        "/v1/instances",
        &format!("/v1/instances/{id}"),
        "/v1/members",
        "/v1/agent",
        "/v1/events?format=json",
    ];
    let mut meshes = Vec::new();
    for agent in &mesh.agents {
        for path in paths {
            let answer = agent.ask(path).expect("an answer");
            let view = &answer["view"];
            has(view, &VIEW, path);
            assert_eq!(view["name"], agent.name.as_str(), "{path}");
            assert_eq!((&view["alive"], &view["roster"], &view["quorate"]), (&3.into(), &3.into(), &true.into()));
            assert!(view["age_ms"].as_u64().is_some_and(|age| age < 5000), "{path}: {view}");
            meshes.push(view["mesh"].clone());
        }
        assert_eq!(get(agent.api, "/livez").expect("an answer").status, 200);
        assert_eq!(get(agent.api, "/readyz").expect("an answer").status, 200);
    }
    meshes.dedup();
    assert_eq!(meshes.len(), 1, "one mesh, one name: {meshes:?}");
    let seen = mesh.agents[2].ask(&format!("/v1/instances/{id}")).expect("the instance");
    assert_eq!(seen["observers"].as_array().map(Vec::len), Some(3), "{seen}");
    has(
        &seen["certificate"],
        &["incarnation", "term", "verdict", "class", "decided_at", "endorsements"],
        "certificate",
    );
    has(&seen["settings"], &["target", "period_ms", "timeout_ms", "failure_threshold"], "settings");
    assert_eq!(seen["settings"]["period_ms"], 1000);
    let hosts = mesh.agents[0].ask("/v1/services?hosts=true").expect("services");
    assert!(hosts["services"].as_array().into_iter().flatten().any(|service| service["service"] == "quorate-agent"));
}

#[test]
fn errors_say_what_to_do() {
    let mesh = Mesh::of(1);
    let api = mesh.agents[0].api;
    for (path, status, error) in [
        ("/v1/instances/web@10.0.0.1:1", 404, "unknown_instance"),
        ("/v1/services/web", 404, "unknown_service"),
        ("/v1/nothing", 404, "unknown_path"),
        ("/v1/instances?verdict=well", 400, "bad_request"),
    ] {
        let answer = get(api, path).expect("an answer");
        let body = answer.json().expect("JSON");
        assert_eq!((answer.status, &body["error"]), (status, &error.into()), "{path}: {body}");
        has(&body, &["detail", "remedy"], path);
    }
    let metrics = get(api, "/metrics").expect("metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.body.contains("\n# TYPE "), "{:.300}", metrics.body);
}

#[test]
fn a_plug_in_that_is_called_wrongly_raises_no_alarm() {
    for (arguments, code) in [
        (&["check", "--nagios"][..], 3),
        (&["check", "web", "--nagios", "--adr", "127.0.0.1:1"], 3),
        (&["check", "web", "--nagios", "--addr", "nonsense"], 3),
        (&["check", "web", "--nagios", "--addr", "127.0.0.1:1"], 3),
        (&["check", "--nagios", "--help"], 0),
        (&["check"], 2),
    ] {
        let words = std::iter::once(agent_binary().into()).chain(arguments.iter().map(OsString::from));
        let finished = run(words);
        assert_eq!(finished.code, Some(code), "{arguments:?}: {finished:?}");
    }
}

#[test]
fn who_waits_is_not_put_off_by_a_busy_agent() {
    let folder = folder();
    let file = folder.path().join("token");
    let mesh = Mesh::start(&[AgentSetup::new("alone", Host::loopback()).api("rate_limit = 1")], folder);
    let agent = &mesh.agents[0];
    std::fs::write(&file, agent.api_token(&["--scope", "read"])).expect("a file");
    let words = ["wait", "web", "--for", "up", "--timeout", "2s", "--addr", &agent.api.to_string()];
    let words = std::iter::once(agent_binary().into()).chain(words.iter().map(OsString::from));
    let finished = run(words.chain(["--api-token-file".into(), file.into()]));
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(
        finished.stderr.contains("web is not up after 2s; last: this client makes too many requests"),
        "{finished:?}"
    );
}

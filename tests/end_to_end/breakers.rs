//! Breakers that callers of real agents share: opened for all by a handful of failed calls, recovered by a few trials, and never by one broken caller.

use quorate_tests::{Agent, AgentSetup, Host, Mesh, Stopwatch, folder, get, send};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two calls of a caller: long enough for news to come round on a busy machine.
const PAUSE: Duration = Duration::from_secs(1);
/// Failures in a row after which a breaker opens by itself.
const ALONE: u32 = 5;

const PATH: &str = "/v1/breakers/api/api@10.0.0.9:80";

fn mesh() -> Mesh {
    let setups: Vec<_> = (0..3).map(|n| AgentSetup::new(format!("agent-{n}"), Host::loopback())).collect();
    Mesh::start(&setups, folder())
}

fn post(agent: &Agent, what: &str, body: &str) -> Value {
    let answer = send(agent.api, "POST", &format!("{PATH}/{what}"), None, body).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json().expect("JSON")
}

fn state(agent: &Agent) -> String {
    let all = agent.ask("/v1/breakers").expect("breakers");
    let breakers = all["breakers"].as_array().expect("a list");
    breakers
        .iter()
        .find(|b| b["instance"] == "api@10.0.0.9:80")
        .map_or("none", |b| b["state"].as_str().unwrap())
        .to_owned()
}

/// What came of a round of calls, one through each agent.
#[derive(Default)]
struct Calls {
    failed: BTreeMap<String, u32>,
    trials: u32,
    rejected: u32,
}

impl Calls {
    fn round(&mut self, mesh: &Mesh, serves: impl Fn(&Agent) -> bool) {
        for agent in &mesh.agents {
            let permit = post(agent, "permit", "");
            if permit["admitted"] != true {
                self.rejected += 1;
                continue;
            }
            self.trials += u32::from(permit["trial"] == true);
            let outcome = if serves(agent) {
                r#""success""#
            } else {
                *self.failed.entry(agent.name.clone()).or_default() += 1;
                r#""failure","fault":"answer""#
            };
            let permit = permit["permit"].as_str().expect("a permit");
            post(agent, "report", &format!(r#"{{"calls":[{{"permit":"{permit}","outcome":{outcome}}}]}}"#));
        }
        std::thread::sleep(PAUSE);
    }

    /// Rounds until all agents say `wanted`, at most `limit`.
    fn until(&mut self, mesh: &Mesh, wanted: &str, limit: Duration, serves: impl Fn(&Agent) -> bool) {
        let watch = Stopwatch::start();
        while !mesh.agents.iter().all(|agent| state(agent) == wanted) {
            let states: Vec<_> = mesh.agents.iter().map(state).collect();
            assert!(watch.elapsed() < limit, "not {wanted} after {limit:?}: {states:?}");
            self.round(mesh, &serves);
        }
    }
}

#[test]
fn callers_share_what_they_see() {
    let mesh = mesh();
    let mut calls = Calls::default();
    for _ in 0..3 {
        calls.round(&mesh, |_| true);
    }
    calls.until(&mesh, "open", Duration::from_secs(30), |_| false);
    let failed: u32 = calls.failed.values().sum();
    assert!(failed < 3 * ALONE, "each found out by itself: {:?}", calls.failed);
    let told = mesh.agents[2].ask("/v1/breakers/api").expect("the breakers of a service");
    assert_eq!(told["breakers"][0]["cause"], "callers_answered");
    assert!(told["breakers"][0]["first_name"].as_str().is_some_and(|name| name.starts_with("agent-")), "{told}");

    let mut recovery = Calls::default();
    recovery.until(&mesh, "closed", Duration::from_secs(90), |_| true);
    assert!(recovery.rejected > 0 && (2..=6).contains(&recovery.trials), "{} trials", recovery.trials);
    let page = get(mesh.agents[0].api, "/metrics").expect("metrics").body;
    assert!(page.contains(r#"circuit_breaker_rejects_total{service="api"}"#), "{page}");
}

#[test]
fn one_broken_caller_opens_it_for_nobody_else() {
    let mesh = mesh();
    let mut calls = Calls::default();
    for _ in 0..12 {
        calls.round(&mesh, |agent| agent.name != "agent-1");
    }
    let states: Vec<_> = mesh.agents.iter().map(state).collect();
    assert_eq!(states, ["closed", "open", "closed"]);
    assert!(calls.failed.keys().eq(["agent-1"].iter()), "{:?}", calls.failed);
}

#[test]
fn a_word_of_an_operator_holds_on_all_hosts() {
    let mut mesh = mesh();
    let token = mesh.agents[1].api_token(&["--scope", "operate"]);
    let body = r#"{"mode":"forced_open","reason":"an upgrade","seconds":600}"#;
    let put = send(mesh.agents[1].api, "PUT", &format!("{PATH}/override"), Some(&token), body).expect("an answer");
    assert_eq!(put.status, 202, "{}", put.body);
    let patience = Duration::from_secs(10);
    let is =
        |wanted: &'static str| move |agent: &Agent| if state(agent) == wanted { Ok(()) } else { Err(state(agent)) };
    mesh.each("the breaker is open", patience, is("open"));
    assert_eq!(post(&mesh.agents[2], "permit", "")["admitted"], false);
    mesh.agents[1].kill();
    mesh.agents[1].start();
    mesh.agents[1].await_ready();
    mesh.each("the breaker is still open", patience, is("open"));
    let token = mesh.agents[0].api_token(&["--scope", "operate"]);
    let lifted = send(mesh.agents[0].api, "DELETE", &format!("{PATH}/override"), Some(&token), "").expect("an answer");
    assert_eq!(lifted.status, 202, "{}", lifted.body);
    mesh.each("nobody holds it open", patience, |agent| match state(agent).as_str() {
        "open" => {
            let told = agent.ask("/v1/breakers/api").unwrap_or_default();
            if told["breakers"][0]["override"].is_null() { Ok(()) } else { Err(told.to_string()) }
        }
        _ => Ok(()),
    });
}

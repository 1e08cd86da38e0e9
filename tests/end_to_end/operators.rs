//! What operators and programs tell a mesh of real processes: registrations, draining, maintenance, and lost agents given up.

use quorate_tests::{
    Agent, AgentSetup, Host, Mesh, Target, agent_binary, eventually, folder, instance_id, optional, run, send,
};
use serde_json::Value;
use std::ffi::OsString;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn operator_token(agent: &Agent, scope: &str) -> String {
    let mut words: Vec<OsString> = vec![agent_binary().into(), "token".into(), "create".into(), "--scope".into()];
    words.extend([scope.into(), "--for".into(), "ann".into(), "--data-dir".into(), agent.data_dir().into()]);
    run(words).success().trim().to_owned()
}

/// Runs a command of an operator against an agent.
fn operate(agent: &Agent, arguments: &[&str]) -> String {
    let token = agent.data_dir().join("operator");
    if !token.exists() {
        std::fs::write(&token, operator_token(agent, "operate")).expect("a file");
    }
    let mut words: Vec<OsString> = vec![agent_binary().into()];
    words.extend(arguments.iter().map(OsString::from));
    words.extend(["--addr".into(), agent.api.to_string().into(), "--api-token-file".into(), token.into()]);
    run(words).success()
}

/// Waits until every agent that runs shows the instance with this verdict; returns it as one shows it.
fn shown(mesh: &Mesh, id: &str, verdict: &str) -> Value {
    let mut last = Value::Null;
    eventually(&format!("{id} is {verdict} everywhere"), PATIENCE, || {
        for agent in mesh.agents.iter().filter(|agent| agent.is_running()) {
            let answer = agent.ask(&format!("/v1/instances/{id}"))?;
            if answer["verdict"] != verdict {
                return Err(format!("{}: {}", agent.name, answer["verdict"]));
            }
            last = answer;
        }
        Ok(())
    });
    last
}

#[test]
fn an_instance_is_drained_and_worked_on_and_a_lost_agent_is_given_up() {
    let folder = folder();
    let target = Target::start("http", &Host::loopback(), folder.path());
    let agent = |name: &str| AgentSetup::new(name, Host::loopback());
    let setups = [agent("host-a").serving("web", &target), agent("host-b"), agent("host-c")];
    let mut mesh = Mesh::start(&setups, folder);
    let id = instance_id("web", &target);
    shown(&mesh, &id, "up");
    let told = operate(&mesh.agents[0], &["drain", &id, "--reason", "new release"]);
    assert!(told.contains("draining"), "{told}");
    let drained = shown(&mesh, &id, "draining");
    assert_eq!((&drained["decided"], &drained["intent"]["owner"]), (&"up".into(), &"ann".into()), "{drained}");
    assert_eq!(drained["intent"]["reason"], "new release");
    assert_eq!(drained["since"], drained["intent"]["since"], "not since it is up: {drained}");
    operate(&mesh.agents[0], &["maintenance", "on", "--all-here", "--for", "4s"]);
    shown(&mesh, &id, "maintenance");
    // Its time is over, and so is what was wanted before it.
    shown(&mesh, &id, "up");
    operate(&mesh.agents[0], &["drain", &id]);
    shown(&mesh, &id, "draining");
    mesh.agents[0].kill();
    mesh.agents[0].start();
    mesh.agents[0].await_ready();
    shown(&mesh, &id, "draining");
    operate(&mesh.agents[0], &["undrain", &id]);
    shown(&mesh, &id, "up");

    let gone = mesh.agents[2].name.clone();
    mesh.agents[2].kill();
    eventually("its host is down", PATIENCE, || {
        let member = mesh.agents[0].member(&gone)?;
        if member.state == "failed" { Ok(()) } else { Err(member.state) }
    });
    operate(&mesh.agents[0], &["forget", &gone]);
    eventually("it does not count any more", PATIENCE, || {
        let roster: Vec<Value> =
            mesh.agents[..2].iter().map(|agent| agent.ask("/v1/health")).collect::<Result<_, _>>()?;
        if roster.iter().all(|health| health["view"]["roster"] == 2) { Ok(()) } else { Err(format!("{roster:?}")) }
    });
}

#[test]
fn a_program_registers_by_curl_and_what_it_does_not_renew_is_withdrawn() {
    let Some(curl) = optional("curl") else { return };
    let folder = folder();
    let target = Target::start("http", &Host::loopback(), folder.path());
    let mesh = Mesh::of(2);
    let home: &Agent = &mesh.agents[0];
    let token = operator_token(home, "register");
    let put = |ttl: &str| {
        let body = format!(
            "{{\"service\": \"shop\", \"address\": \"{}\", \"weight\": 10, \"tags\": [\"blue\"], \"ttl\": \"{ttl}\", \
             \"check\": {{\"path\": \"/\", \"period\": \"1s\", \"timeout\": \"500ms\", \"initial_delay\": \"0s\"}}}}",
            target.address()
        );
        let url = format!("http://{}/v1/instances/shop-1", home.api);
        let header = format!("Authorization: Bearer {token}");
        let words =
            ["--silent", "--fail-with-body", "-X", "PUT", "-H", header.as_str(), "-d", body.as_str(), url.as_str()];
        let mut all: Vec<OsString> = vec![curl.clone().into()];
        all.extend(words.iter().map(OsString::from));
        run(all).success()
    };
    put("1h");
    let found = shown(&mesh, "shop-1", "up");
    // Who may register has not the agent ask other hosts for it.
    let elsewhere =
        r#"{"service": "shop", "address": "192.0.2.7:80", "check": {"path": "/", "period": "1s", "timeout": "500ms"}}"#;
    let sent = send(home.api, "PUT", "/v1/instances/shop-2", Some(&token), elsewhere).expect("an answer");
    assert!((200..300).contains(&sent.status), "{}", sent.body);
    eventually("it is not probed", PATIENCE, || {
        let told = home.ask("/v1/instances/shop-2")?.to_string();
        if told.contains("192.0.2.7 is not an address of the agent") { Ok(()) } else { Err(told) }
    });
    let withdrawn = send(home.api, "DELETE", "/v1/instances/shop-2", Some(&token), "").expect("an answer");
    assert!((200..300).contains(&withdrawn.status), "{}", withdrawn.body);
    assert_eq!((&found["weight"], &found["tags"][0]), (&10.into(), &"blue".into()), "{found}");
    let tagged = mesh.agents[1].ask("/v1/instances?tag=blue").expect("an answer");
    assert_eq!(tagged["total"], 1, "{tagged}");
    assert_eq!(mesh.agents[1].ask("/v1/instances?tag=blue,green").expect("an answer")["total"], 0);
    put("2s");
    eventually("it is withdrawn", PATIENCE, || {
        for agent in &mesh.agents {
            if agent.ask("/v1/services")?["total"] != 0 {
                return Err(format!("{} still has it", agent.name));
            }
        }
        Ok(())
    });
}

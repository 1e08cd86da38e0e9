//! One probe by hand: what it tells and how it ends; by another agent, too.

use quorate_tests::{AgentSetup, Host, Mesh, Target, agent_binary, eventually, folder, instance_id, run};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

/// Answers every connection with this; the port. It ends with the test's process.
fn serve(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut question = [0; 4096];
            let Ok(1..) = stream.read(&mut question) else { continue };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

fn probe(words: &[&str]) -> quorate_tests::Finished {
    let program: OsString = agent_binary().into();
    run([program, "probe".into(), "run".into()].into_iter().chain(words.iter().map(OsString::from)))
}

const PATIENCE: Duration = Duration::from_secs(60);
const WELL: &str = "HTTP/1.1 200 OK\r\nX-Service: web\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}";

#[test]
fn a_target_is_probed_and_explained() {
    let port = serve(WELL);
    let url = format!("http://127.0.0.1:{port}/health");
    let told = probe(&[&url, "--explain"]).success();
    for part in ["pass  GET http://127.0.0.1:", "connect", "first_byte", "status is 200; found 200", "x-service: web"] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    let told: Value = serde_json::from_str(&probe(&[&url, "-o", "json"]).success()).expect("JSON");
    assert_eq!((told["is_healthy"].as_bool(), told["status_code"].as_u64()), (Some(true), Some(200)));
    assert_eq!(told["judgements"][0]["grade"], "pass");
}

#[test]
fn a_check_of_the_file_is_probed_with_its_conditions() {
    let (port, folder) = (serve(WELL), folder());
    let file = folder.path().join("quorate.toml");
    let text = format!(
        "[[service]]\nname = \"web\"\n[service.check]\nport = {port}\n[[service.check.assert]]\njson = \"$.status\"\nequals = \"well\"\n\
         [[service.instance]]\n"
    );
    std::fs::write(&file, text).expect("a file");
    let file = file.display().to_string();
    let finished = probe(&["web", "--config", &file, "--explain"]);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stdout.contains("FAIL  json $.status equals \"well\"; found \"ok\""), "{}", finished.stdout);
    let finished = probe(&["wbe", "--config", &file]);
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("did you mean web?"), "{}", finished.stderr);
}

#[test]
fn a_closed_port_fails_with_its_cause() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let finished = probe(&[&format!("tcp://127.0.0.1:{port}"), "-o", "json"]);
    assert_eq!(finished.code, Some(1));
    let told: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert_eq!((&told["phase"], &told["cause"]), (&Value::from("connect"), &Value::from("refused")));
    assert_eq!(told["failure_type"], "port_not_listening");
}

#[test]
fn another_agent_probes_what_it_knows() {
    let folder = folder();
    let mut target = Target::start("http", &Host::loopback(), folder.path());
    let agent = |name: &str| AgentSetup::new(name, Host::loopback());
    let mesh = Mesh::start(&[agent("host-a").serving("web", &target), agent("host-b")], folder);
    let id = instance_id("web", &target);
    mesh.await_verdict(&id, "up", PATIENCE);
    let token = mesh.path().join("token");
    let scope = |scope: &str| {
        let made = mesh.agents[1].api_token(&["--scope", scope, "--for", "test"]);
        std::fs::write(&token, made).expect("a file");
    };
    let known = mesh.agents[0].api.to_string();
    let asked = |check: &str| {
        let file = token.display().to_string();
        probe(&[check, "--from", "host-b", "--addr", &known, "--api-token-file", &file, "--explain"])
    };
    scope("operate");
    let told = asked("web").success();
    for part in ["by host-b of web@", "pass  GET http://127.0.0.1:", "connect", "status is 200"] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    let arbitrary = asked("tcp://127.0.0.1:22");
    assert!(arbitrary.code == Some(2) && arbitrary.stderr.contains("only what it knows"), "{}", arbitrary.stderr);
    scope("register");
    let refused = asked(&id);
    assert!(refused.code == Some(1) && refused.stderr.contains("operate"), "{}", refused.stderr);

    scope("operate");
    target.kill();
    let failed = asked(&id);
    assert_eq!(failed.code, Some(1));
    assert!(failed.stdout.contains("port_not_listening"), "{}", failed.stdout);
    // Of its own accord the agent sees it, too, and tells.
    eventually("the failure is among the events", PATIENCE, || {
        let events = mesh.agents[0].ask("/v1/events?format=json&since=0")?;
        let of_web = |event: &&Value| event["type"] == "failure" && event["instance_id"] == id.as_str();
        let failures: Vec<&Value> = events["events"].as_array().into_iter().flatten().filter(of_web).collect();
        match failures.iter().find(|event| event["failure_type"] == "port_not_listening") {
            Some(event) if event["app_name"] == "web" && event["severity"] == "low" => Ok(()),
            _ => Err(format!("{failures:?}")),
        }
    });
}

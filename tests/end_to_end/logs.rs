//! The shipped pipelines for logs, held against the lines that an agent writes.

use quorate_tests::{Agent, AgentSetup, Host, folder};
use regex::Regex;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn shipped(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring/logs").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A request of its own id and trace.
fn ask(api: SocketAddr, path: &str, id: &str) {
    let mut stream = TcpStream::connect(api).expect("a connection");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {id}\r\ntraceparent: 00-{TRACE}-b7ad6b7169203331-00\r\n\
         Connection: close\r\n\r\n"
    )
    .expect("a request");
    let mut answer = String::new();
    let _bytes = stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// The line about a request, as it stands in a log of this format.
fn line(format: &str, id: &str, name: &str) -> Value {
    let folder = folder();
    let log = folder.path().join("agent.log");
    let section = format!("[log]\nformat = \"{format}\"\naccess = true\nfile = \"{}\"", log.display());
    let mut agent = Agent::new(&AgentSetup::new("alone", Host::loopback()).api(&section), folder.path());
    let _token = agent.init();
    agent.start();
    agent.await_ready();
    ask(agent.api, "/v1/members?state=alive", id);
    let text = std::fs::read_to_string(&log).expect("the log");
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.find(|line| line[name] == id).unwrap_or_else(|| panic!("no line about {id}: {text}"))
}

#[test]
fn a_request_is_found_by_its_id_and_its_trace() {
    let pino = line("pino", "by-hand-1", "correlationId");
    assert_eq!((&pino["trace_id"], &pino["statusCode"]), (&Value::from(TRACE), &Value::from(200)));
}

#[test]
fn the_pipelines_take_what_is_logged() {
    let line = line("json", "by-hand-2", "request_id");
    assert_eq!(line["trace_id"], TRACE, "whether or not the trace is recorded");

    let promtail: Value = serde_saphyr::from_str(&shipped("promtail.yaml")).expect("YAML");
    let stages = promtail["scrape_configs"][0]["pipeline_stages"].as_array().expect("stages");
    let stage = |name: &str| stages.iter().find_map(|stage| stage[name].as_object()).expect("a stage");
    let taken: BTreeMap<String, String> =
        serde_json::from_value(stage("json")["expressions"].clone()).expect("texts by name");
    let labels: BTreeSet<&String> = stage("labels").keys().collect();
    for (name, field) in &taken {
        assert!(!line[field].is_null(), "{name}: the agent writes no {field}: {line}");
    }
    assert!(taken.len() >= 5 && taken.contains_key("trace_id"), "{taken:?}");
    assert_eq!(labels, BTreeSet::from([&"level".to_owned(), &"path".to_owned()]));
    assert!(labels.iter().all(|label| taken.contains_key(*label)), "a label that nothing fills");

    let alloy = shipped("alloy.config");
    let inside = |name: &str| -> BTreeMap<String, String> {
        let block = Regex::new(&format!(r"{name}\s*=\s*\{{([^}}]*)\}}")).expect("a pattern");
        let pair = Regex::new(r#"(\w+)\s*=\s*"(\w*)""#).expect("a pattern");
        let found = block.captures(&alloy).unwrap_or_else(|| panic!("there is no {name}"));
        pair.captures_iter(&found[1]).map(|pair| (pair[1].to_owned(), pair[2].to_owned())).collect()
    };
    assert_eq!(inside("expressions"), taken, "both pipelines take the same");
    assert_eq!(inside("values").keys().collect::<BTreeSet<_>>(), labels);
    // Whatever a component is given comes from another one that is there.
    let defined = Regex::new(r#"(?m)^([a-z.]+) "(\w+)" \{"#).expect("a pattern");
    let known: BTreeSet<String> =
        defined.captures_iter(&alloy).map(|found| format!("{}.{}", &found[1], &found[2])).collect();
    let used = Regex::new(r"\b((?:discovery|loki)\.[a-z_.]+)\.(?:targets|output|receiver)\b").expect("a pattern");
    let used: BTreeSet<String> = used.captures_iter(&alloy).map(|found| found[1].to_owned()).collect();
    assert!(used.len() == 4 && used.is_subset(&known), "{used:?} of {known:?}");
    assert_eq!(alloy.matches('{').count(), alloy.matches('}').count());
}

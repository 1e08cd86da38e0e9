//! The shipped pipelines for logs, held against the lines that an agent writes.

use nix::sys::signal::Signal;
use quorate_tests::{Agent, AgentSetup, Host, eventually, folder, run};
use regex::Regex;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// How long an answer may take, and what it does.
const PATIENCE: Duration = Duration::from_secs(20);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn shipped(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring/logs").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A request of its own id and trace.
fn ask(api: SocketAddr, path: &str, id: &str) {
    let mut stream = TcpStream::connect_timeout(&api, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
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

/// The line about a request, as it stands in a log of this format; the log is left in the folder.
fn line(folder: &Path, format: &str, id: &str, name: &str) -> Value {
    let log = folder.join("quorate.log");
    let section = format!("[log]\nformat = \"{format}\"\naccess = true\nfile = \"{}\"", log.display());
    let mut agent = Agent::new(&AgentSetup::new("alone", Host::loopback()).api(&section), folder);
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
    let pino = line(folder().path(), "pino", "by-hand-1", "correlationId");
    assert_eq!((&pino["trace_id"], &pino["statusCode"]), (&Value::from(TRACE), &Value::from(200)));
}

#[test]
fn the_pipelines_take_what_is_logged() {
    let line = line(folder().path(), "json", "by-hand-2", "request_id");
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

#[test]
fn errors_stand_in_a_file_of_their_own_too() {
    let folder = folder();
    let (log, errors) = (folder.path().join("combined.log"), folder.path().join("error.log"));
    let section =
        format!("[log]\nformat = \"json\"\nfile = \"{}\"\nerror_file = \"{}\"", log.display(), errors.display());
    let mut agent = Agent::new(&AgentSetup::new("alone", Host::loopback()).api(&section), folder.path());
    let _token = agent.init();
    agent.start();
    agent.await_ready();
    std::fs::write(folder.path().join("alone.toml"), "[agent").expect("a file that cannot be read");
    agent.process().signal(Signal::SIGHUP);
    let read = |path: &Path| -> Vec<Value> {
        let text = std::fs::read_to_string(path).expect("a log");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    eventually("the error is told", Duration::from_secs(30), || {
        let told =
            read(&errors).iter().any(|line| line["msg"].as_str().is_some_and(|msg| msg.contains("not reloaded")));
        if told { Ok(()) } else { Err("no line about it".to_owned()) }
    });
    assert!(read(&errors).iter().all(|line| line["level"] == "error"));
    let levels: BTreeSet<String> = read(&log).iter().map(|line| line["level"].to_string()).collect();
    assert!(levels.contains("\"error\"") && levels.contains("\"info\""), "everything: {levels:?}");
}

/// Each command of the page runs as it stands there, on a real log; each field that the other recipes name is in a line about a request.
#[test]
fn the_recipes_find_what_they_look_for() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/logs.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let folder = folder();
    let line = line(folder.path(), "json", "deploy-1", "request_id");
    let log = folder.path().join("quorate.log");
    let begun = std::fs::read_to_string(&log).expect("the log");
    // What a healthy agent does not write.
    let (slow, failed) = (line.to_string(), r#"{"level":"error","msg":"x","failure":"health_check_failed"}"#);
    let slow = Regex::new(r#""duration_ms":[0-9.]+"#)
        .expect("a pattern")
        .replace(&slow, "\"duration_ms\":1500.25")
        .into_owned();
    let slow = slow.replace(r#""status":200"#, r#""status":500"#).replace("deploy-1", "deploy-2");
    std::fs::write(&log, format!("{begun}{slow}\n{failed}\n")).expect("the log");
    let block = |kind: &str| {
        let (_, rest) = page.split_once(&format!("```{kind}\n")).expect("a block");
        rest.split("```").next().expect("its text").to_owned()
    };
    let recipes = block("sh");
    let commands: Vec<&str> = recipes.lines().filter(|line| !line.starts_with('#')).collect();
    let found: Vec<String> = commands
        .iter()
        .map(|command| {
            let command = command.replace("/var/log/quorate/quorate.log", log.to_str().expect("text"));
            run(["sh", "-c", command.as_str()]).success().trim().to_owned()
        })
        .collect();
    let [errors, slow, failed, elsewhere, one] = found.as_slice() else { panic!("{commands:?}") };
    assert_eq!(errors, "1");
    assert!(slow.lines().count() == 1 && slow.contains("deploy-2"), "{slow}");
    assert!(failed.lines().count() == 1 && failed.contains("deploy-2"), "{failed}");
    assert_eq!(elsewhere, r#"{"level":"error","msg":"x","failure":"health_check_failed"}"#);
    assert!(one.lines().count() == 1 && one.contains("deploy-1"), "{one}");
    let named = Regex::new(r"\b(level|status|target|trace_id|duration_ms|method|path|msg)\b").expect("a pattern");
    for recipe in [block("logql"), block("text")] {
        let fields: BTreeSet<&str> = named.find_iter(&recipe).map(|found| found.as_str()).collect();
        assert!(fields.len() >= 4 && fields.iter().all(|field| !line[*field].is_null()), "{fields:?} of {line}");
    }
}

#[test]
fn the_environment_stands_in_every_line_and_series() {
    for format in ["text", "json", "pino"] {
        let folder = folder();
        let log = folder.path().join("quorate.log");
        let section = format!("[log]\nformat = \"{format}\"\naccess = true\nfile = \"{}\"", log.display());
        let setup = AgentSetup::new("alone", Host::loopback()).agent("environment = \"production\"").api(&section);
        let mut agent = Agent::new(&setup, folder.path());
        let _token = agent.init();
        agent.start();
        agent.await_ready();
        ask(agent.api, "/v1/members", "by-hand-3");
        let text = std::fs::read_to_string(&log).expect("the log");
        let tells = |line: &str| match format {
            "text" => line.starts_with("production 20"),
            _ => serde_json::from_str::<Value>(line).expect("JSON")["environment"] == "production",
        };
        assert!(text.lines().count() > 2 && text.lines().all(tells), "{format}: {text}");
        let page = quorate_tests::get(agent.api, "/metrics").expect("the metrics").body;
        let mut series = page.lines().filter(|line| !line.starts_with('#'));
        assert!(series.all(|line| line.contains("{environment=\"production\"")), "{page}");
    }
}

/// What a check sends may be secret, and so may be what comes back.
#[test]
fn what_probes_send_and_hear_is_not_logged() {
    let folder = folder();
    let target = quorate_tests::Target::start("http", &Host::loopback(), folder.path());
    let log = folder.path().join("quorate.log");
    let (address, log_file) = (target.address(), log.display());
    let section = format!(
        "[log]\nlevel = \"debug\"\naccess = true\nfile = \"{log_file}\"\n[[service]]\nname = \"web\"\n[[service.instance]]\n\
         address = \"{address}\"\n[service.check]\nmethod = \"POST\"\nheaders = {{ X-Key = \"hush-header\" }}\nbody = \"hush-body\"\n\
         expected_status_codes = [299]\nperiod = \"1s\"\ntimeout = \"500ms\"\ninitial_delay = \"0s\""
    );
    let mut agent = Agent::new(&AgentSetup::new("alone", Host::loopback()).api(&section), folder.path());
    let token = agent.init();
    agent.start();
    agent.await_ready();
    let logged = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("its probes fail, and that is logged", Duration::from_secs(30), || {
        if logged().contains("to=down") { Ok(()) } else { Err(logged()) }
    });
    ask(agent.api, "/v1/instances", "by-hand-4");
    let text = logged() + &agent.log();
    assert!(text.contains("DEBUG") && text.contains("by-hand-4"), "{text}");
    assert!(text.contains(" failure=health_check_failed"), "the field that a recipe looks for: {text}");
    for secret in ["hush-header", "hush-body", token.as_str()] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

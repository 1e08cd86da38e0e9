//! The trace in the eyes of a stranger: what is written is what its document describes, and promises can be checked with nothing else.

use super::recording::Recording;
use crate::library;
use crate::plan::Plan;
use crate::plan_table;
use crate::runner::{self, Manner};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Arc, Mutex};

const DOCUMENT: &str = include_str!("../../../docs/trace-format.md");

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The lines of a run of a plan of the library, with some keys changed.
pub(super) fn lines(name: &str, changes: &[&str]) -> Vec<Value> {
    let (name, plan) = library::load(name).unwrap();
    lines_of(&name, &changes.iter().fold(plan, |plan, change| plan_table::with(&plan, change).unwrap()))
}

/// The lines of a run, after a comparison of its hash with that of a run of which nobody takes notes.
fn lines_of(name: &str, plan: &Plan) -> Vec<Value> {
    let shared = Shared::default();
    let mut recording = Recording::default();
    recording.writer = Some(Box::new(shared.clone()));
    recording.sends = true;
    let (with, _) = runner::run(name, plan, 1, Manner { recording, ..Manner::default() }).unwrap();
    let (without, _) = runner::run(name, plan, 1, Manner::default()).unwrap();
    assert_eq!(with.trace_hash, without.trace_hash, "being watched changes nothing");
    let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The fields described for each kind: the rows of the table under the heading of its name.
fn described() -> BTreeMap<String, BTreeSet<String>> {
    let mut kinds: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut kind = None;
    for line in DOCUMENT.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            kind = heading.trim_start_matches('#').trim().strip_prefix('`').and_then(|name| name.strip_suffix('`'));
            kind.map(|name| kinds.entry(name.to_owned()).or_default());
        } else if let (Some(kind), Some(row)) = (kind, line.strip_prefix("| `")) {
            let field = row.split('`').next().unwrap().to_owned();
            kinds.entry(kind.to_owned()).or_default().insert(field);
        }
    }
    kinds
}

#[test]
fn every_kind_of_line_and_every_field_is_described_and_occurs() {
    let mut written: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let plans: [(&str, &[&str]); 7] = [
        ("killed-instance", &[]),
        ("split-3-2", &["bounds.quorate=100ms"]),
        ("leave-and-return", &[]),
        ("faulty-replayer", &[]),
        ("calls-liar", &[]),
        ("lossy-agent", &[]),
        ("withdrawn-while-split", &[]),
    ];
    for (plan, changes) in plans {
        for line in lines(plan, changes) {
            let fields = line.as_object().unwrap().keys().filter(|key| *key != "kind" && *key != "t_ns").cloned();
            written.entry(line["kind"].as_str().unwrap().to_owned()).or_default().extend(fields);
        }
    }
    assert_eq!(described(), written);
}

/// What is known of the run while its lines are read, by names.
#[derive(Default)]
struct Stranger {
    /// Votes of each agent on each instance.
    votes: BTreeMap<(String, String), String>,
    /// When each observer last found something other than healthy, or would have, by instance.
    bad_until: BTreeMap<(String, String), u64>,
    target: BTreeMap<(String, String), String>,
    certificates: BTreeSet<(String, u64, u64)>,
    complaints: Vec<String>,
}

pub(super) fn text(line: &Value, field: &str) -> String {
    line[field].as_str().unwrap().to_owned()
}

/// Of which copy of which instance a line speaks, and in which term.
fn copy(line: &Value) -> (String, u64, u64) {
    (text(line, "instance"), line["incarnation"].as_u64().unwrap(), line["term"].as_u64().unwrap())
}

pub(super) fn names(line: &Value, field: &str) -> Vec<String> {
    line[field].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

impl Stranger {
    /// Promise 1: nobody states `down` without a certificate of more than half of the assigned observers, each of which votes that it
    /// fails and had reason to: the instance was not healthy in its eyes within the last three seconds, or silent hosts stand for it.
    fn quorum(lines: &[Value]) -> Vec<String> {
        let mut stranger = Self::default();
        for line in lines {
            stranger.read(line);
        }
        stranger.complaints
    }

    fn read(&mut self, line: &Value) {
        let now = line["t_ns"].as_u64().unwrap();
        match line["kind"].as_str().unwrap() {
            "target" => {
                for observer in names(line, "observers") {
                    let key = (observer, text(line, "instance"));
                    if self.target.insert(key.clone(), text(line, "state")).is_some_and(|old| old != "healthy") {
                        self.bad_until.insert(key, now);
                    }
                }
            }
            "vote" => _ = self.votes.insert((text(line, "agent"), text(line, "instance")), line["vote"].to_string()),
            "certificate" => self.certificate(line, now),
            "verdict" if line["decided"] == "down" => {
                let stated = copy(line);
                if !self.certificates.contains(&stated) {
                    self.complaints.push(format!("{stated:?} is stated down without a certificate"));
                }
            }
            _ => {}
        }
    }

    fn certificate(&mut self, line: &Value, now: u64) {
        let (instance, incarnation, term) = copy(line);
        if line["verdict"] != "down" {
            return;
        }
        let signers = line["signers"].as_array().unwrap();
        let distinct: BTreeSet<String> = signers.iter().map(|signer| text(signer, "agent")).collect();
        if (distinct.len() as u64) <= line["observers"].as_u64().unwrap() / 2 {
            self.complaints.push(format!("{instance} term {term}: {} signers", distinct.len()));
        }
        let assigned = names(line, "assigned");
        if let Some(other) = distinct.iter().find(|signer| !assigned.contains(signer)) {
            self.complaints.push(format!("{instance} term {term}: {other} is not assigned"));
        }
        for signer in signers {
            let key = (text(signer, "agent"), instance.clone());
            let bad = self.target.get(&key).is_some_and(|state| state != "healthy")
                || self.bad_until.get(&key).is_some_and(|until| now - until < 3_000_000_000);
            if signer["vote"].get("fail").is_none() || !(bad || instance.starts_with("quorate-agent@")) {
                self.complaints.push(format!("{key:?} signs {} at {now} and had no reason", signer["vote"]));
            }
        }
        self.certificates.insert((instance, incarnation, term));
    }
}

/// Promise 7 for `instance`: once nobody finds it healthy, every agent that runs states `down` in time. By agent, what is wrong.
fn detection(lines: &[Value], instance: &str) -> Vec<String> {
    let (mut healthy, mut since, mut down) = (BTreeSet::new(), None, BTreeMap::new());
    let run = &lines[0];
    let agents: Vec<String> = run["agents"].as_array().unwrap().iter().map(|agent| text(agent, "name")).collect();
    healthy.extend(agents.iter().cloned());
    let check = run["instances"].as_array().unwrap().iter().find(|check| check["name"] == instance).unwrap();
    let number = |field: &str| check[field].as_u64().unwrap();
    let bound_ms = number("failure_threshold") * number("period_ms") + number("timeout_ms") + 3000;
    for line in lines.iter().filter(|line| line["instance"] == instance) {
        let now = line["t_ns"].as_u64().unwrap();
        match line["kind"].as_str().unwrap() {
            "target" => {
                for observer in names(line, "observers") {
                    _ = if line["state"] == "healthy" { healthy.insert(observer) } else { healthy.remove(&observer) };
                }
                since = since.or(healthy.is_empty().then_some(now));
            }
            "verdict" if line["decided"] == "down" => _ = down.entry(text(line, "agent")).or_insert(now),
            _ => {}
        }
    }
    let since = since.expect("the instance fails for everybody at some time");
    let late = |agent: &&String| down.get(*agent).is_none_or(|at| at - since > bound_ms * 1_000_000);
    agents.iter().filter(late).map(|agent| format!("{agent} is late by {instance}")).collect()
}

#[test]
fn a_stranger_can_check_the_quorum() {
    let good = lines("killed-instance", &[]);
    assert_eq!(Stranger::quorum(&good), Vec::<String>::new());
    let down = |line: &Value| line["kind"] == "certificate" && line["verdict"] == "down";
    assert!(good.iter().any(down));
    let without: Vec<Value> = good.iter().filter(|line| !down(line)).cloned().collect();
    assert!(!Stranger::quorum(&without).is_empty(), "a missing certificate is noticed");
    let mut thin = good.clone();
    let certificate = thin.iter_mut().find(|line| down(line)).unwrap();
    certificate["signers"].as_array_mut().unwrap().truncate(2);
    assert_eq!(Stranger::quorum(&thin).len(), 1, "a missing signature is noticed");
    let healthy: Vec<Value> = good.iter().filter(|line| line["kind"] != "target").cloned().collect();
    assert!(Stranger::quorum(&healthy).len() >= 3, "a signer without a reason is noticed");
    assert_eq!(Stranger::quorum(&lines("split-3-2", &[])), Vec::<String>::new());
}

#[test]
fn a_stranger_can_check_the_detection() {
    let good = lines("killed-instance", &[]);
    let instance = good.iter().find(|line| line["kind"] == "target").map(|line| text(line, "instance")).unwrap();
    assert_eq!(detection(&good, &instance), Vec::<String>::new());
    let deaf: Vec<Value> =
        good.iter().filter(|line| !(line["kind"] == "verdict" && line["agent"] == "a3")).cloned().collect();
    assert_eq!(detection(&deaf, &instance), [format!("a3 is late by {instance}")]);
}

/// Whose signatures are from a time at which neither its own process nor a clone's was up.
fn ghosts(lines: &[Value]) -> Vec<String> {
    let mut lives: BTreeMap<String, Vec<(u64, bool)>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["kind"] == "process") {
        let life = (line["t_ns"].as_u64().unwrap(), line["state"] == "up");
        lives.entry(text(line, "agent")).or_default().push(life);
    }
    let up = |name: &str, at: u64| {
        let told = lives.get(name).and_then(|life| life.iter().rfind(|(since, _)| *since <= at));
        told.is_some_and(|(_, up)| *up)
    };
    let certificates = lines.iter().filter(|line| line["kind"] == "certificate");
    let signers = certificates.flat_map(|line| line["signers"].as_array().unwrap());
    let signed = signers.map(|signer| (text(signer, "agent"), signer["signed_ns"].as_u64().unwrap()));
    let ghosts = signed.filter(|(agent, at)| !up(agent, *at) && !up(&format!("{agent}'"), *at));
    ghosts.map(|(agent, at)| format!("{agent} signed at {at}")).collect()
}

/// An agent crashes, its clone runs instead for a while and sees an instance die, of which nobody else knows but its home, and the agent comes back.
const CLONED: &str = r#"
summary = "t"
duration = "80s"
mesh.agents = 3
[[services]]
name = "web"
homes = [0]
[[faults]]
kind = "crash"
agent = 1
at = "25s"
restart_at = "60s"
[[faults]]
kind = "clone"
agent = 1
from = "28s"
to = "55s"
[[faults]]
kind = "crash"
agent = 2
at = "40s"
restart_at = "60s"
[[faults]]
kind = "target"
instance = "web@0"
mode = "dead"
from = "45s"
to = "60s"
"#;

#[test]
fn a_clone_lives_and_signs_in_the_eyes_of_a_stranger() {
    let lines = lines_of("cloned", &Plan::parse(CLONED).unwrap());
    let clone = |line: &&Value| line["kind"] == "process" && line["agent"] == "a1'";
    let life = |line: &Value| (line["t_ns"].as_u64().unwrap() / 1_000_000_000, text(line, "state"));
    let lives: Vec<(u64, String)> = lines.iter().filter(clone).map(life).collect();
    assert_eq!(lives, [(28, "up".to_owned()), (55, "crashed".to_owned())]);
    assert_eq!(ghosts(&lines), Vec::<String>::new());
    let untold: Vec<Value> = lines.iter().filter(|line| !clone(line)).cloned().collect();
    assert!(ghosts(&untold).iter().all(|ghost| ghost.starts_with("a1 signed at ")), "{:?}", ghosts(&untold));
    assert!(!ghosts(&untold).is_empty(), "it has signed while its agent was away");
}

/// Promises about the calls of a plan in which nothing else goes wrong: a breaker opens by its callers' word only once three of them had failed
/// calls, no more than six trials are lent in any five seconds, and a result from before the breaker turned counts for nothing.
fn calls(lines: &[Value]) -> Vec<String> {
    let (mut failed, mut lent, mut complaints) = (BTreeSet::new(), Vec::new(), Vec::new());
    for line in lines {
        let (now, event, outcome) = (line["t_ns"].as_u64().unwrap(), &line["event"], &line["outcome"]);
        let opens = event["type"] == "breaker" && event["state"] == "open" && event["cause"] == "callers_answered";
        if opens && failed.len() < 3 {
            complaints.push(format!("the breaker opens at {now} when {} callers had failed calls", failed.len()));
        }
        if line["kind"] == "call" && outcome.is_null() && line["trial"] == true {
            lent.push(now);
            if lent.iter().filter(|at| now - **at <= 5_000_000_000).count() > 6 {
                complaints.push(format!("too many trials by {now}"));
            }
        }
        if outcome["failed"] == true {
            failed.insert(text(line, "agent"));
        }
        if outcome["counted"] == true && outcome["stale"] == true {
            complaints.push(format!("a late result counts at {now}"));
        }
    }
    complaints
}

#[test]
fn a_stranger_can_check_the_calls() {
    let good = lines("calls-dead", &[]);
    assert_eq!(calls(&good), Vec::<String>::new());
    let began: BTreeSet<(String, u64)> = good
        .iter()
        .filter(|line| line["kind"] == "call" && line["admitted"] == true && line["outcome"].is_null())
        .map(|line| (text(line, "agent"), line["t_ns"].as_u64().unwrap()))
        .collect();
    let ended: Vec<&Value> = good.iter().filter(|line| line["outcome"].is_object()).collect();
    assert!(ended.len() > 500, "{}", ended.len());
    let known = |line: &&Value| began.contains(&(text(line, "agent"), line["began_ns"].as_u64().unwrap()));
    assert!(ended.iter().all(known), "what ends has begun");
    assert!(good.iter().any(|line| line["admitted"] == false) && good.iter().any(|line| line["trial"] == true));
    let silent: Vec<Value> = good.iter().filter(|line| line["kind"] != "call").cloned().collect();
    assert!(!calls(&silent).is_empty(), "a breaker that opens without failures is noticed");
    let mut eager = good.clone();
    eager.iter_mut().filter(|line| line["kind"] == "call").for_each(|line| line["trial"] = true.into());
    assert!(!calls(&eager).is_empty(), "too many trials are noticed");
}

#[test]
fn a_host_of_which_nothing_was_decided_divides_nobody() {
    let lines = lines("split-3-2", &[]);
    let healed = lines[0]["last_fault_ns"].as_u64().unwrap() + 1_000_000_000;
    let after = |line: &&Value| line["kind"] == "survey" && line["t_ns"].as_u64() >= Some(healed);
    let found: BTreeSet<(u64, u64)> = (lines.iter().filter(after))
        .map(|line| (line["agreeing"].as_u64().unwrap(), line["pictures"].as_u64().unwrap()))
        .collect();
    assert_eq!(found, BTreeSet::from([(5, 1)]));
}

//! What the trace tells of the agents is whole: what begins and ends, where each stands, and who may sign.

use super::stranger_tests::{lines, names, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What of the statements is told in vain, or of none; and what is stated in the end, by agent and instance.
fn statements(lines: &[Value]) -> (Vec<String>, BTreeMap<(String, String), Value>) {
    let (mut stated, mut complaints) = (BTreeMap::<(String, String), Value>::new(), Vec::new());
    for line in lines {
        let key = |line: &Value| (text(line, "agent"), text(line, "instance"));
        match line["kind"].as_str().unwrap() {
            "process" if line["state"] != "up" && line["state"] != "paused" => {
                stated.retain(|(agent, _), _| *agent != text(line, "agent"));
            }
            "verdict" => {
                let mut statement = line.clone();
                statement["t_ns"].take();
                if stated.insert(key(line), statement.clone()) == Some(statement) {
                    complaints.push(format!("told again: {line}"));
                }
            }
            "unstated" if stated.remove(&key(line)).is_none() => complaints.push(format!("the end of nothing: {line}")),
            _ => {}
        }
    }
    (complaints, stated)
}

#[test]
fn a_statement_is_told_once_and_ends() {
    for plan in ["cloned-identity", "lossy", "rolling-restart", "withdrawn-while-split", "leave-and-return"] {
        assert_eq!(statements(&lines(plan, &[])).0, Vec::<String>::new(), "{plan}");
    }
    let lines = lines("cloned-identity", &[]);
    let (agent, host) = ("a2".to_owned(), "quorate-agent@a1".to_owned());
    let of_host = |line: &&Value| {
        line["kind"] == "verdict" && line["agent"] == agent.as_str() && line["instance"] == host.as_str()
    };
    assert!(lines.iter().any(|line| of_host(&line)), "it was in doubt");
    assert!(!statements(&lines).1.contains_key(&(agent.clone(), host.clone())), "all is well in the end");
    let endless: Vec<Value> = lines.iter().filter(|line| line["kind"] != "unstated").cloned().collect();
    assert!(statements(&endless).1.contains_key(&(agent, host)), "without the end nobody would know");
}

/// Where each agent that runs stands in the end: quorate, epoch, roster.
fn standings(lines: &[Value]) -> BTreeMap<String, (bool, u64, BTreeSet<String>)> {
    let agents = lines[0]["agents"].as_array().unwrap();
    let by_id: BTreeMap<&str, String> = agents.iter().map(|a| (a["id"].as_str().unwrap(), text(a, "name"))).collect();
    let list = |line: &Value, field: &str| line[field].as_array().unwrap().clone();
    let mut standings: BTreeMap<String, (bool, u64, BTreeSet<String>)> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["agent"].is_string()) {
        let (agent, event) = (text(line, "agent"), &line["event"]);
        match (line["kind"].as_str().unwrap(), event["type"].as_str()) {
            ("process", _) if line["state"] == "crashed" || line["state"] == "left" => _ = standings.remove(&agent),
            ("standing", _) => {
                let roster = names(line, "roster").into_iter().collect();
                standings.insert(agent, (line["quorate"] == true, line["epoch"].as_u64().unwrap(), roster));
            }
            ("event", Some("quorate")) => {
                standings.entry(agent).or_default().0 = event["quorate"] == true;
            }
            ("event", Some("roster")) => {
                let standing = standings.entry(agent).or_default();
                standing.1 = event["epoch"].as_u64().unwrap();
                list(event, "removed").iter().for_each(|id| _ = standing.2.remove(&by_id[id.as_str().unwrap()]));
                standing.2.extend(list(event, "admitted").iter().map(|id| by_id[id.as_str().unwrap()].clone()));
            }
            _ => {}
        }
    }
    standings
}

#[test]
fn where_every_agent_stands_can_be_followed_from_its_start() {
    for (plan, changes) in [
        ("restart", &[][..]),
        ("leave-and-return", &[]),
        ("brief-outage", &[]),
        ("restart", &["mesh.start=formed"]),
        ("one-agent", &[]),
    ] {
        let lines = lines(plan, changes);
        let found = standings(&lines);
        let agents = lines[0]["agents"].as_array().unwrap();
        let all: BTreeSet<String> = agents.iter().map(|agent| text(agent, "name")).collect();
        assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), all, "{plan}");
        let epochs: BTreeSet<u64> = found.values().map(|(_, epoch, _)| *epoch).collect();
        assert_eq!(epochs.len(), 1, "{plan}");
        assert!(found.values().all(|(quorate, _, roster)| *quorate && *roster == all), "{plan}: {found:?}");
        let without: Vec<Value> = lines.iter().filter(|line| line["kind"] != "standing").cloned().collect();
        assert_ne!(standings(&without), found, "{plan}");
    }
}

#[test]
fn who_signs_is_one_of_those_who_may() {
    let mut itself = 0;
    for plan in ["rolling-restart", "restart", "lost-observers", "home-checks", "few-observers"] {
        for line in lines(plan, &[]).iter().filter(|line| line["kind"] == "certificate") {
            let (assigned, observers) = (names(line, "assigned"), line["observers"].as_u64().unwrap());
            let signers: Vec<String> = line["signers"].as_array().unwrap().iter().map(|s| text(s, "agent")).collect();
            assert!(signers.iter().all(|signer| assigned.contains(signer)), "{plan}: {line}");
            let own =
                assigned.iter().filter(|agent| text(line, "instance") == format!("quorate-agent@{agent}")).count();
            assert!(own == 0 || observers % 2 == 0 && line["verdict"] == "up", "{plan}: {line}");
            assert!((assigned.len() - own) as u64 <= observers, "{plan}: {line}");
            itself += own;
        }
    }
    assert!(itself > 0);
}

#[test]
fn a_vote_on_a_host_ends_with_the_doubt() {
    let lines = lines("restart", &[]);
    let mut votes = BTreeMap::new();
    for line in lines.iter().filter(|line| line["kind"] == "vote" && text(line, "instance") == "quorate-agent@a2") {
        let before = votes.insert(text(line, "agent"), line["vote"].clone());
        assert!(!line["vote"].is_null() || before.is_some_and(|vote| !vote.is_null()), "the end of nothing: {line}");
    }
    assert!(!votes.is_empty() && votes.values().all(Value::is_null), "{votes:?}");
}

//! What real agents record, the simulator's program runs again: the same decisions, bit for bit.

use quorate_tests::{Agent, AgentSetup, Finished, Host, Instance, Mesh, Target};
use quorate_tests::{eventually, folder, instance_id, measured, run, simulator_binary};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

fn replay(file: &Path, arguments: &[&str]) -> Finished {
    let mut words = vec![simulator_binary().as_os_str().to_owned(), "replay".into(), file.into()];
    words.extend(arguments.iter().map(Into::into));
    run(words)
}

/// The replay of a recording that must be the same in every bit, as JSON.
fn identical(file: &Path) -> Value {
    let told: Value = serde_json::from_str(&replay(file, &["-o", "json"]).success()).expect("JSON");
    assert_eq!((&told["identical"], &told["difference"]), (&Value::Bool(true), &Value::Null), "{told}");
    told
}

/// The change of `instance` in `term`, and its certificate, in what a replay told.
fn change<'a>(told: &'a Value, instance: &str, term: u64) -> (&'a Value, &'a Value) {
    let of = |value: &Value| value["instance"] == instance && value["term"] == term;
    let events = told["events"].as_array().expect("events");
    let find = |list: &str| {
        let mut all = events.iter().filter_map(|event| event[list].as_array()).flatten();
        all.find(|value| of(value)).unwrap_or_else(|| panic!("no {list} of {instance} in term {term}: {told}"))
    };
    (find("changes"), find("certificates"))
}

/// Does the replay tell of the verdict what the agent itself did?
fn tells_of(told: &Value, seen: &Instance) {
    let (change, certificate) = change(told, &seen.instance, seen.term);
    let proof = seen.certificate.as_ref().expect("its proof");
    assert_eq!(change["to"], seen.verdict.as_str());
    let signers = |list: &Value, name: fn(&Value) -> &Value| -> BTreeSet<String> {
        let list = list.as_array().expect("a list").iter();
        list.map(|value| name(value).as_str().expect("an id").to_owned()).collect()
    };
    let signed: BTreeSet<String> = proof.endorsements.iter().map(|vote| vote.agent.clone()).collect();
    assert_eq!(signers(&change["signers"], |value| value), signed);
    assert_eq!(signers(&certificate["signed"], |value| &value["agent"]), signed);
    assert!(certificate["signed"].as_array().expect("a list").iter().all(|by| {
        let vote = by["vote"].as_str().expect("a vote");
        vote.starts_with("fail") && vote.contains("refused")
    }));
}

fn mesh_of_recorded(count: usize) -> (Mesh, Target, String) {
    let folder = folder();
    let host = Host::loopback();
    let target = Target::start("http", &host, folder.path());
    let mut setups: Vec<_> =
        (0..count).map(|n| AgentSetup::new(format!("agent-{n}"), host.clone()).recorded()).collect();
    setups[0] = setups[0].clone().serving("web", &target);
    let id = instance_id("web", &target);
    (Mesh::start(&setups, folder), target, id)
}

/// Waits until what the agent has shown of the instance is on its disk, too: that is a moment later.
fn recording_holds(agent: &Agent, seen: &Instance) {
    let of = |value: &Value| value["instance"] == seen.instance.as_str() && value["term"] == seen.term;
    eventually("the change in the recording", PATIENCE, || {
        let told = identical(&agent.recording());
        let mut changes =
            told["events"].as_array().into_iter().flatten().filter_map(|event| event["changes"].as_array());
        changes.any(|list| list.iter().any(of)).then_some(()).ok_or_else(|| told.to_string())
    });
}

fn recording_grows(agent: &Agent) {
    let size = || std::fs::metadata(agent.recording()).map_or(0, |found| found.len());
    let before = size();
    eventually("two more writes", PATIENCE, || {
        // One may have been under way.
        if size() > before + 2000 { Ok(()) } else { Err(format!("{} bytes", size())) }
    });
}

#[test]
fn an_incident_is_replayed_bit_for_bit() {
    let (mut mesh, mut target, id) = mesh_of_recorded(3);
    mesh.await_verdict(&id, "up", PATIENCE);
    target.kill();
    mesh.await_verdict(&id, "down", PATIENCE);
    let seen: Vec<_> = mesh.agents.iter().map(|agent| agent.instance(&id).expect("the instance")).collect();
    for agent in &mesh.agents {
        assert_eq!(agent.metric("quorate_recording", ""), Ok(1.0));
    }

    // One ends as it should, one is killed in the middle of its work, one runs on while it is looked at.
    for (agent, seen) in mesh.agents.iter().zip(&seen) {
        recording_holds(agent, seen);
    }
    assert!(mesh.agents[0].leave().success());
    mesh.agents[1].kill();
    for (agent, seen) in mesh.agents.iter().zip(&seen) {
        let told = identical(&agent.recording());
        tells_of(&told, seen);
        let bytes = std::fs::metadata(agent.recording()).expect("a file").len();
        let lasted = told["events"].as_array().expect("events").last().expect("one")["after_s"].clone();
        measured(&format!(
            "{}: {} inputs, {} outputs, {bytes} bytes until {lasted} s",
            agent.name, told["inputs"], told["outputs"]
        ));
    }

    // In words: the decision, who signed it by which vote, and the comparison.
    let said = replay(&mesh.agents[0].recording(), &[]).success();
    for words in
        [&format!("{id}: up -> down (term {}", seen[0].term), "signed by agent-", "fail(refused", "identical: "]
    {
        assert!(said.contains(words), "no {words:?} in:\n{said}");
    }

    // A restart begins anew and keeps what was.
    let before = std::fs::read(mesh.agents[1].recording()).expect("a recording");
    mesh.agents[1].start();
    mesh.agents[1].await_ready();
    let old = mesh.agents[1].recording().with_extension("old");
    eventually("a new file", PATIENCE, || old.exists().then_some(()).ok_or_else(|| "none yet".to_owned()));
    recording_grows(&mesh.agents[1]);
    let told = identical(&mesh.agents[1].recording());
    assert!(told["recording"]["stored_bytes"].as_u64() > Some(0), "{told}");
    assert_eq!(std::fs::read(old).expect("the recording before"), before);
}

#[test]
fn a_changed_recording_is_refused() {
    let (mut mesh, _target, _) = mesh_of_recorded(1);
    recording_grows(&mesh.agents[0]);
    assert!(mesh.agents[0].leave().success());
    let whole = std::fs::read(mesh.agents[0].recording()).expect("a recording");
    let _ = identical(&mesh.agents[0].recording());
    let file = mesh.path().join("changed");
    for index in [0, 7, 9, 40, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[index] ^= 1;
        std::fs::write(&file, changed).expect("a file");
        let finished = replay(&file, &[]);
        assert_eq!(finished.code, Some(2), "byte {index}: {}", finished.stdout);
        assert!(finished.stderr.contains("recording"), "{}", finished.stderr);
    }
    std::fs::write(&file, &whole[..whole.len() - 3]).expect("a file");
    let finished = replay(&file, &[]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stdout.contains("unfinished record"), "{}", finished.stdout);
}

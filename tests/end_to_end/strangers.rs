//! Those who are no members: an agent of another mesh, a copied data directory.

use quorate_tests::{Agent, AgentSetup, Host, Mesh, complete, eventually, measured};
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the folder").map(|entry| entry.expect("an entry")) {
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

#[test]
fn a_copied_data_directory_is_found_out() {
    let mut mesh = Mesh::of(3);
    let original = mesh.agents[2].id().expect("its id");
    let mut clone = Agent::new(&AgentSetup::new("clone", Host::loopback()), mesh.path());
    copy(mesh.agents[2].data_dir(), clone.data_dir());
    clone.start();
    // One of the two stops, and says why; the other one serves on. Which of them is not promised.
    let mut ended = None;
    eventually("one of the two stops", PATIENCE, || {
        for (name, agent) in [("clone", &mut clone), ("original", &mut mesh.agents[2])] {
            if let Some(status) = agent.process().ended() {
                ended = Some((name, status, agent.log()));
                return Ok(());
            }
        }
        Err("both run".to_owned())
    });
    let (name, status, log) = ended.expect("one of them");
    measured(&format!("stopped: the {name}, {status}"));
    assert!(!status.success(), "{status}");
    assert!(log.contains("identity is in use by another"), "{log}");
    // The others have seen it, too: in words and in numbers.
    eventually("the others say and count it", PATIENCE, || {
        let told = mesh.agents[..2].iter().any(|agent| agent.log().contains("two processes use one identity"));
        let mut count = 0.0;
        for agent in &mesh.agents[..2] {
            count += agent.metric(CONFLICTS, "")?;
        }
        if told && count >= 1.0 { Ok(()) } else { Err(format!("told {told}, counted {count}")) }
    });
    let survivor = if name == "clone" { &mesh.agents[2] } else { &clone };
    assert_eq!(survivor.id(), Ok(original));
    let rest = [&mesh.agents[0], &mesh.agents[1], survivor];
    quorate_tests::among(&rest, "the roster is three", PATIENCE, |agent| complete(agent, 3));
}

/// The counter of identities met twice.
const CONFLICTS: &str = "quorate_identity_conflicts_total";

#[test]
fn an_agent_of_another_mesh_is_refused() {
    let (mesh, mut other) = (Mesh::of(2), Mesh::of(2));
    let asked = mesh.agents[0].mesh;
    other.agents[1].kill();
    other.agents[1].start_towards(asked);
    for agent in [&other.agents[1], &mesh.agents[0]] {
        eventually(&format!("{} says and counts it", agent.name), PATIENCE, || {
            let count = agent.metric("quorate_link_refusals_total", "reason=\"other_mesh\"")?;
            let told = agent.log().contains("another mesh");
            if told && count >= 1.0 { Ok(()) } else { Err(format!("told {told}, counted {count}")) }
        });
    }
    for agent in mesh.agents.iter().chain(&other.agents) {
        quorate_tests::among(&[agent], "two of two", PATIENCE, |agent| complete(agent, 2));
    }
}

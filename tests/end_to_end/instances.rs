//! What happens to an instance, and what every agent then says of it.

use quorate_tests::{Agent, AgentSetup, Host, Instance, Mesh, Target, folder, instance_id, measured};
use std::collections::BTreeSet;
use std::time::Duration;

/// Far more than detection should take; what it took is printed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Does the agent hold a certificate for `down` that at least three of the five observers signed, each of which saw `cause` itself?
fn down_by_quorum(agent: &Agent, id: &str, cause: &str) -> Result<(), String> {
    let seen = agent.instance(id)?;
    let proof = seen.certificate.as_ref().ok_or_else(|| format!("no certificate: {seen:?}"))?;
    let signers: BTreeSet<&str> = proof.endorsements.iter().map(|vote| vote.agent.as_str()).collect();
    let fail = proof
        .endorsements
        .iter()
        .all(|vote| vote.vote.as_deref() == Some("fail") && vote.cause.as_deref().is_some_and(|seen| seen == cause));
    let decided = seen.verdict == "down" && seen.decided == "down" && proof.verdict == "down";
    let well = decided && proof.term == seen.term && (seen.assigned, seen.quorum) == (5, 3);
    if well && signers.len() >= 3 && fail { Ok(()) } else { Err(format!("{seen:?}")) }
}

fn up_in_a_later_term(agent: &Agent, before: &Instance) -> Result<(), String> {
    let seen = agent.instance(&before.instance)?;
    if seen.verdict == "up" && seen.term > before.term { Ok(()) } else { Err(format!("{seen:?}")) }
}

#[test]
fn killed_hung_and_answering_badly() {
    let folder = folder();
    let host = Host::loopback();
    let mut targets: Vec<_> = (0..3).map(|_| Target::start("http", &host, folder.path())).collect();
    let mut setups: Vec<_> = (0..5).map(|n| AgentSetup::new(format!("agent-{n}"), host.clone())).collect();
    for (setup, target) in setups.iter_mut().zip(&targets) {
        *setup = setup.clone().serving("web", target);
    }
    let mesh = Mesh::start(&setups, folder);
    let ids: Vec<_> = targets.iter().map(|target| instance_id("web", target)).collect();
    for id in &ids {
        mesh.await_verdict(id, "up", PATIENCE);
    }

    // Each is broken in its own way, one after the other, and repaired.
    for (index, (what, cause)) in
        [("killed", "refused"), ("hung", "timeout"), ("answering badly", "status")].into_iter().enumerate()
    {
        let (id, target) = (&ids[index], &mut targets[index]);
        match what {
            "killed" => target.kill(),
            "hung" => target.hang(),
            _ => target.answer_with(500),
        }
        let down = mesh.each(&format!("{what}: down by quorum"), PATIENCE, |agent| down_by_quorum(agent, id, cause));
        measured(&format!("{what}: down: {down}"));
        let before = mesh.agents[0].instance(id).expect("its verdict");
        let broken = |seen: &Instance| seen.verdict != "up" && seen.instance != *id;
        let others = mesh.agents[0].instances().expect("all instances");
        assert!(!others.iter().any(broken), "{others:?}");
        match what {
            "killed" => target.restart(),
            "hung" => target.resume(),
            _ => target.answer_with(200),
        }
        let up = mesh.each(&format!("{what}: up again"), PATIENCE, |agent| up_in_a_later_term(agent, &before));
        measured(&format!("{what}, then repaired: up: {up}"));
    }
    let status = mesh.agents[4].health().expect("health").status;
    assert_eq!(status, "up");
}

#[test]
fn a_port_that_closes_and_opens() {
    let folder = folder();
    let host = Host::loopback();
    let mut target = Target::start("tcp", &host, folder.path());
    let setups: Vec<_> = (0..3).map(|n| AgentSetup::new(format!("agent-{n}"), host.clone())).collect();
    let setups = [setups[0].clone().serving("cache", &target), setups[1].clone(), setups[2].clone()];
    let mesh = Mesh::start(&setups, folder);
    let id = instance_id("cache", &target);
    mesh.await_verdict(&id, "up", PATIENCE);
    target.kill();
    measured(&format!("down: {}", mesh.await_verdict(&id, "down", PATIENCE)));
    target.restart();
    measured(&format!("up: {}", mesh.await_verdict(&id, "up", PATIENCE)));
}

//! What happens to an agent and its host: killed, returned, left on purpose, restarted.

use quorate_tests::{
    Agent, AgentSetup, Health, Host, Mesh, Stopwatch, Target, complete, folder, instance_id, measured, states,
};
use std::time::Duration;

/// Far more than detection should take; what it took is printed.
const PATIENCE: Duration = Duration::from_secs(30);

fn sees(agent: &Agent, name: &str, state: &str, host: &str) -> Result<(), String> {
    let member = agent.member(name)?;
    if member.state == state && member.host == host { Ok(()) } else { Err(format!("{member:?}")) }
}

fn roster(agent: &Agent, roster: u64) -> Result<Health, String> {
    let health = agent.health()?;
    if health.roster == roster { Ok(health) } else { Err(format!("{health:?}")) }
}

#[test]
fn killed_and_returned() {
    let folder = folder();
    let host = Host::loopback();
    let mut dying = Target::start("http", &host, folder.path());
    let living = Target::start("http", &host, folder.path());
    let mut setups: Vec<_> = (0..5).map(|n| AgentSetup::new(format!("agent-{n}"), host.clone())).collect();
    setups[4] = setups[4].clone().serving("web", &dying).serving("web", &living);
    let mut mesh = Mesh::start(&setups, folder);
    let (lost, kept) = (instance_id("web", &dying), instance_id("web", &living));
    mesh.await_verdict(&lost, "up", PATIENCE);
    mesh.await_verdict(&kept, "up", PATIENCE);
    let victim = mesh.agents[4].id().expect("its id");

    // The agent dies, and one of the two instances with it: the host is down, that instance folds under it, the other one serves.
    mesh.agents[4].kill();
    dying.kill();
    let host_id = format!("quorate-agent@{victim}");
    let down = mesh.each("the host is down by quorum", PATIENCE, |agent| {
        sees(agent, "agent-4", "failed", "down")?;
        states(agent, &host_id, "down")?;
        let proof = agent.instance(&host_id)?.certificate.ok_or("no certificate")?;
        if proof.endorsements.len() >= 3 { Ok(()) } else { Err(format!("{proof:?}")) }
    });
    measured(&format!("killed agent: host down: {down}"));
    mesh.each("the instance folds under the host", PATIENCE, |agent| {
        let seen = agent.instance(&lost)?;
        let folded = seen.folded_under.as_deref() == Some(host_id.as_str());
        if seen.verdict == "down" && seen.class == "host_down" && folded { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    mesh.each("the living instance is not accused", PATIENCE, |agent| {
        let seen = agent.instance(&kept)?;
        if seen.verdict == "up" && seen.folded_under.is_none() { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    mesh.each("a failed agent still counts", PATIENCE, |agent| roster(agent, 5).map(drop));

    // It comes back by itself: same identity, full roster, and everything it knew.
    dying.restart();
    let watch = Stopwatch::start();
    mesh.agents[4].start();
    mesh.agents[4].await_ready();
    mesh.each("all five are back", PATIENCE, |agent| complete(agent, 5));
    measured(&format!("restarted agent: full roster everywhere after {:.2} s", watch.elapsed().as_secs_f64()));
    assert_eq!(mesh.agents[4].id(), Ok(victim));
    for id in [&host_id, &lost, &kept] {
        measured(&format!("{id}: up again: {}", mesh.await_verdict(id, "up", PATIENCE)));
    }
}

#[test]
fn left_and_returned() {
    let mut mesh = Mesh::of(5);
    let leaver = mesh.agents[2].id().expect("its id");
    let status = mesh.agents[2].leave();
    assert!(status.success(), "{status}");
    let left = mesh.each("the agent has left, the roster is four", PATIENCE, |agent| {
        let member = agent.member("agent-3")?;
        let health = roster(agent, 4)?;
        if member.state == "left" && health.quorate { Ok(()) } else { Err(format!("{member:?} {health:?}")) }
    });
    measured(&format!("left: {left}"));
    for agent in mesh.agents.iter().filter(|agent| agent.is_running()) {
        let health = agent.ask("/v1/health").expect("health");
        assert_eq!(health["hosts"].as_array().map(Vec::len), Some(0), "leaving is no fault: {health}");
    }
    mesh.agents[2].start();
    mesh.agents[2].await_ready();
    mesh.each("all five are back", PATIENCE, |agent| complete(agent, 5));
    assert_eq!(mesh.agents[2].id(), Ok(leaver));
}

#[test]
fn all_restarted_at_once() {
    let mut mesh = Mesh::of(3);
    let ids: Vec<_> = mesh.agents.iter().map(|agent| agent.id().expect("its id")).collect();
    mesh.agents.iter_mut().for_each(Agent::kill);
    mesh.agents.iter_mut().for_each(Agent::start);
    mesh.agents.iter_mut().for_each(Agent::await_ready);
    mesh.each("all three are back", PATIENCE, |agent| complete(agent, 3));
    let again: Vec<_> = mesh.agents.iter().map(|agent| agent.id().expect("its id")).collect();
    assert_eq!(ids, again);
}

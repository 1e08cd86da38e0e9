//! An agent that leaves for good: the others agree that it no longer counts and call nothing down, it stays away, and a later join brings it back.

use nix::sys::signal::Signal;
use quorate_tests::{
    Agent, AgentSetup, Finished, Host, Mesh, Target, agent_binary, complete, eventually, folder, instance_id, run,
};
use serde_json::Value;
use std::ffi::OsString;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn leave(agent: &Agent, arguments: &[&str]) -> Finished {
    let token = agent.data_dir().join("operator");
    if !token.exists() {
        std::fs::write(&token, agent.api_token(&["--scope", "operate", "--for", "ann"])).expect("a file");
    }
    let mut words: Vec<OsString> = vec![agent_binary().into(), "leave".into()];
    words.extend(arguments.iter().map(OsString::from));
    words.extend(["--addr".into(), agent.api.to_string().into(), "--api-token-file".into(), token.into()]);
    run(words)
}

/// Every verdict that was told since the agent's start.
fn verdicts(agent: &Agent) -> Vec<Value> {
    let events = agent.ask("/v1/events?format=json&since=0").expect("events");
    let events = events["events"].as_array().expect("a list").iter();
    events.flat_map(|event| event["changes"].as_array().cloned().unwrap_or_default()).collect()
}

#[test]
fn a_leave_for_good_condemns_nobody_and_a_join_brings_the_agent_back() {
    let folder = folder();
    let host = Host::loopback();
    let target = Target::start("http", &host, folder.path());
    let mut setups: Vec<_> = (0..5).map(|n| AgentSetup::new(format!("agent-{n}"), host.clone())).collect();
    setups[2] = setups[2].clone().serving("web", &target);
    let mut mesh = Mesh::start(&setups, folder);
    let (web, leaver) = (instance_id("web", &target), mesh.agents[2].id().expect("its id"));
    mesh.await_verdict(&web, "up", PATIENCE);

    // Without the flag it is only said what would happen.
    let told = leave(&mesh.agents[2], &[]);
    assert_eq!((told.code, told.stdout.as_str()), (Some(2), ""), "{told:?}");
    for part in ["would count 4 instead of 5 agents", "where 3 of them", "1 instance would be withdrawn", &web, "--yes"]
    {
        assert!(told.stderr.contains(part), "{part}: {}", told.stderr);
    }
    assert_eq!(mesh.agents[2].health().map(|health| health.roster), Ok(5));

    let left = leave(&mesh.agents[2], &["--yes"]);
    assert_eq!(left.code, Some(0), "{left:?}");
    assert!(left.stdout.contains(&leaver) && left.stdout.contains("has left"), "{left:?}");
    let status = mesh.agents[2].process().wait(PATIENCE);
    assert!(status.success(), "{status}");
    mesh.agents[2].kill();
    mesh.each("it has left, and four count", PATIENCE, |agent| {
        let (member, health) = (agent.member("agent-2")?, agent.health()?);
        let gone = member.state == "left" && health.quorate && health.roster == 4 && health.alive == 4;
        let instances = agent.ask("/v1/instances")?["total"].clone();
        if gone && instances == 0 { Ok(()) } else { Err(format!("{member:?} {health:?} {instances}")) }
    });
    for agent in mesh.agents.iter().filter(|agent| agent.is_running()) {
        let down: Vec<_> = verdicts(agent).into_iter().filter(|change| change["to"] == "down").collect();
        assert!(down.is_empty(), "leaving is no fault: {down:?}");
    }
    let audit = std::fs::read_to_string(mesh.agents[2].data_dir().join("audit.log")).expect("an audit log");
    assert!(audit.lines().any(|line| line.contains("\"leave\"") && line.contains("\"ann\"")), "{audit}");

    // Four count: without two of them the other two are no majority, as they would be of three.
    mesh.agents[3].kill();
    mesh.agents[4].kill();
    mesh.each("two of four are not quorate", PATIENCE, |agent| {
        let health = agent.health()?;
        if !health.quorate && health.roster == 4 { Ok(()) } else { Err(format!("{health:?}")) }
    });
    for back in [3, 4] {
        mesh.agents[back].start();
        mesh.agents[back].await_ready();
    }

    // It does not come back by itself, and says how it does.
    mesh.agents[2].start();
    let refused = mesh.agents[2].process().wait(PATIENCE);
    assert_eq!(refused.code(), Some(2));
    assert!(mesh.agents[2].log().contains("left its mesh for good") && mesh.agents[2].log().contains("--join"));
    let member = mesh.agents[0].mesh;
    mesh.agents[2].start_towards(member);
    mesh.agents[2].await_ready();
    mesh.each("all five are back", PATIENCE, |agent| complete(agent, 5));
    assert_eq!(mesh.agents[2].id(), Ok(leaver));
    mesh.await_verdict(&web, "up", PATIENCE);

    // From then on it comes back by itself again.
    mesh.agents[2].kill();
    mesh.agents[2].start();
    mesh.agents[2].await_ready();
    mesh.each("all five are there", PATIENCE, |agent| complete(agent, 5));
}

#[test]
fn who_cannot_be_heard_leaves_and_says_that_nobody_agreed() {
    let mut mesh = Mesh::of(3);
    mesh.agents[1].kill();
    mesh.agents[2].kill();
    eventually("the first one is cut off", PATIENCE, || {
        let health = mesh.agents[0].health()?;
        if health.quorate { Err(format!("{health:?}")) } else { Ok(()) }
    });
    assert!(leave(&mesh.agents[0], &[]).stderr.contains("cut off"), "it is said before");
    let left = leave(&mesh.agents[0], &["--yes"]);
    assert_eq!(left.code, Some(1), "{left:?}");
    assert!(left.stderr.contains("quorate forget"), "{left:?}");
    assert!(mesh.agents[0].process().wait(PATIENCE).success());
}

/// It was told at its join to call the founder, which has left.
#[test]
fn the_last_one_left_is_quorate_again_after_a_restart() {
    let mut mesh = Mesh::of(2);
    let left = leave(&mesh.agents[0], &["--yes"]);
    assert_eq!(left.code, Some(0), "{left:?}");
    assert!(mesh.agents[0].process().wait(PATIENCE).success());
    let counts_alone = |agent: &Agent| {
        let health = agent.health()?;
        if health.quorate && health.roster == 1 { Ok(()) } else { Err(format!("{health:?}")) }
    };
    eventually("it counts alone", PATIENCE, || counts_alone(&mesh.agents[1]));
    mesh.agents[1].kill();
    mesh.agents[1].start();
    eventually("it does so after a restart", PATIENCE, || counts_alone(&mesh.agents[1]));
}

/// As from a terminal: the first interrupt leaves in order, a second one does not wait for those who do not answer.
#[test]
fn an_interrupt_ends_it_in_order_and_a_second_one_at_once() {
    let mut alone = Mesh::of(1);
    let process = alone.agents[0].process();
    // A supervisor may signal the process and its group: that is one wish.
    process.signal(Signal::SIGINT);
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait(PATIENCE).code(), Some(0));
    assert!(alone.agents[0].log().contains("leaving the mesh") && alone.agents[0].log().contains(" stopped"));

    let mut mesh = Mesh::of(2);
    mesh.agents[1].kill();
    mesh.agents[0].process().signal(Signal::SIGINT);
    eventually("it asks the other, which is gone", PATIENCE, || {
        let log = mesh.agents[0].log();
        if log.contains("leaving the mesh") { Ok(()) } else { Err(log) }
    });
    eventually("a further one does not wait, once it is not the same any more", PATIENCE, || {
        mesh.agents[0].process().signal(Signal::SIGINT);
        let log = mesh.agents[0].log();
        if log.contains("stopping at once") { Ok(()) } else { Err(log) }
    });
    assert_eq!(mesh.agents[0].process().wait(PATIENCE).code(), Some(1));
    let log = mesh.agents[0].log();
    assert!(log.contains("stopping at once") && !log.contains("has not agreed to the leave in time"), "{log}");
}

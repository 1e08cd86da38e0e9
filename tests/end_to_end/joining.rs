//! Joining: by any member, with any agent between the newcomer and the one that may admit it.

use quorate_tests::{Agent, AgentSetup, Host, Mesh, complete, folder, measured};
use std::collections::BTreeSet;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn five_agents_join_each_by_the_one_before() {
    let mesh = Mesh::of(5);
    let ids: BTreeSet<_> = mesh.agents.iter().map(|agent| agent.id().expect("its id")).collect();
    assert_eq!(ids.len(), 5);
    for (index, agent) in mesh.agents.iter().enumerate() {
        let this = agent.ask("/v1/agent").expect("itself");
        assert_eq!(this["issuer"], index == 0, "only the first may admit: {this}");
        let members = agent.members().expect("the members");
        let seen: BTreeSet<_> = members.iter().map(|member| member.agent.clone()).collect();
        assert_eq!(seen, ids);
        assert!(members.iter().all(|member| member.state == "alive"), "{members:?}");
    }
    let hosts = mesh.each("all hosts are up", PATIENCE, |agent| {
        let members = agent.members()?;
        if members.iter().all(|member| member.host == "up") { Ok(()) } else { Err(format!("{members:?}")) }
    });
    measured(&format!("all hosts up: {hosts}"));
}

#[test]
fn one_token_admits_as_often_as_it_says() {
    let mut mesh = Mesh::of(1);
    let token = mesh.agents[0].token(&["--uses", "3"]);
    let first = mesh.agents[0].mesh;
    for number in 2..=4 {
        let mut agent = Agent::new(&AgentSetup::new(format!("agent-{number}"), Host::loopback()), mesh.path());
        agent.start_joining(first, &token);
        mesh.agents.push(agent);
    }
    mesh.agents.iter_mut().for_each(Agent::await_ready);
    mesh.each("three joined at once", PATIENCE, |agent| complete(agent, 4));
}

#[test]
fn the_line_that_init_prints_admits_another_host() {
    let folder = folder();
    let mut first = Agent::new(&AgentSetup::new("first", Host::loopback()), folder.path());
    let token = first.init();
    first.start();
    first.await_ready();
    let mut second = Agent::new(&AgentSetup::new("second", Host::loopback()), folder.path());
    second.start_joining(first.mesh, &token);
    second.await_ready();
    quorate_tests::among(&[&first, &second], "both see both", PATIENCE, |agent| complete(agent, 2));
}

#[test]
fn an_agent_that_has_joined_needs_no_token_again() {
    let mut mesh = Mesh::of(2);
    let token = mesh.agents[0].token(&[]);
    let first = mesh.agents[0].mesh;
    mesh.agents[1].kill();
    // Started as a unit file would: with the same words each time, though it is a member already.
    mesh.agents[1].start_joining(first, &token);
    mesh.agents[1].await_ready();
    mesh.each("both see both", PATIENCE, |agent| complete(agent, 2));
    let mut third = Agent::new(&AgentSetup::new("third", Host::loopback()), mesh.path());
    third.start_joining(first, &token);
    third.await_ready();
}

#[test]
fn a_token_may_be_in_a_file_that_is_needed_once() {
    let mut mesh = Mesh::of(1);
    let (first, file) = (mesh.agents[0].mesh, mesh.path().join("token"));
    let mut agent = Agent::new(&AgentSetup::new("second", Host::loopback()), mesh.path());
    agent.start_joining_by_file(first, &file);
    assert_eq!(agent.process().wait(PATIENCE).code(), Some(2), "there is no such file");
    assert!(agent.log().contains("the token's file"), "{}", agent.log());
    std::fs::write(&file, format!("{}\n", mesh.agents[0].token(&[]))).expect("a file");
    agent.start_joining_by_file(first, &file);
    agent.await_ready();
    std::fs::remove_file(&file).expect("it was there");
    agent.kill();
    agent.start_joining_by_file(first, &file);
    agent.await_ready();
    mesh.agents.push(agent);
    mesh.each("both see both", PATIENCE, |agent| complete(agent, 2));
}

#[test]
fn an_agent_that_cannot_listen_has_not_joined() {
    let mesh = Mesh::of(1);
    let member = mesh.agents[0].mesh;
    let token = mesh.agents[0].token(&["--uses", "1"]);
    let mut newcomer = Agent::new(&AgentSetup::new("second", Host::loopback()), mesh.path());
    let (api, udp) = (std::net::TcpListener::bind(newcomer.api).expect("its port"), newcomer.mesh);
    let refused = newcomer.run_joining(member, &token);
    assert!(refused.code != Some(0) && refused.stderr.contains("the API cannot listen on"), "{refused:?}");
    drop(api);
    let taken = std::net::UdpSocket::bind(udp).expect("its port");
    let refused = newcomer.run_joining(member, &token);
    assert!(refused.code != Some(0) && refused.stderr.contains("the mesh cannot listen on"), "{refused:?}");
    drop(taken);
    assert_eq!(mesh.agents[0].members().expect("the members").len(), 1, "nobody has come");
    // The token's one use is left.
    newcomer.start_joining(member, &token);
    newcomer.await_ready();
}

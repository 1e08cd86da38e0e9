//! Rolling upgrades: agents of two releases in one mesh, one after the other replaced, and back.

use quorate_tests::{
    Agent, AgentSetup, Host, Mesh, Target, agent_binary, complete, eventually, folder, instance_id, next_agent_binary,
};
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Ends agent `index` as a crash does and starts it with another program; all must see all again.
fn replace(mesh: &mut Mesh, index: usize, program: &Path) {
    mesh.agents[index].kill();
    mesh.agents[index].upgrade_to(program);
    mesh.agents[index].start();
    mesh.agents[index].await_ready();
    let count = mesh.agents.len() as u64;
    mesh.each("every agent sees every other alive", PATIENCE, |agent| complete(agent, count));
}

/// How many of an agent's links carry less than the newest wire version that it speaks.
fn older_links(agent: &Agent, expected: impl Fn(f64) -> bool) {
    eventually(&format!("{} counts its links to older agents", agent.name), PATIENCE, || {
        match agent.metric("quorate_links_older_version", "")? {
            links if expected(links) => Ok(()),
            links => Err(format!("{links} links")),
        }
    });
}

fn nothing_was_unreadable(mesh: &Mesh) {
    for agent in &mesh.agents {
        assert_eq!(agent.metric("quorate_engine_packets_malformed_total", ""), Ok(0.0), "{}", agent.name);
        assert_eq!(agent.metric("quorate_link_refusals_total", "reason=\"wrong_version\""), Ok(0.0), "{}", agent.name);
    }
}

#[test]
fn a_mesh_is_upgraded_one_agent_at_a_time_and_back() {
    let folder = folder();
    let mut target = Target::start("http", &Host::loopback(), folder.path());
    let web = instance_id("web", &target);
    let setups: Vec<_> = (1..=3)
        .map(|number| {
            let setup = AgentSetup::new(format!("agent-{number}"), Host::loopback());
            if number == 1 { setup.serving("web", &target) } else { setup }
        })
        .collect();
    let mut mesh = Mesh::start(&setups, folder);
    mesh.await_verdict(&web, "up", PATIENCE);

    // One new agent among old ones: it speaks as they do.
    replace(&mut mesh, 2, next_agent_binary());
    older_links(&mesh.agents[2], |links| links >= 1.0);
    older_links(&mesh.agents[0], |links| links == 0.0);
    mesh.await_verdict(&web, "up", PATIENCE);
    // The quorum is made of both: two of three observers are needed, and all three see it.
    target.kill();
    mesh.await_verdict(&web, "down", PATIENCE);
    nothing_was_unreadable(&mesh);

    // Two new ones, which speak the newer version to each other and the older one to the third.
    replace(&mut mesh, 1, next_agent_binary());
    older_links(&mesh.agents[2], |links| links == 1.0);
    mesh.await_verdict(&web, "down", PATIENCE);
    target.restart();
    mesh.await_verdict(&web, "up", PATIENCE);
    nothing_was_unreadable(&mesh);

    // All of them.
    replace(&mut mesh, 0, next_agent_binary());
    mesh.agents.iter().for_each(|agent| older_links(agent, |links| links == 0.0));
    mesh.await_verdict(&web, "up", PATIENCE);

    // And one step back.
    replace(&mut mesh, 1, agent_binary());
    older_links(&mesh.agents[0], |links| links >= 1.0);
    target.kill();
    mesh.await_verdict(&web, "down", PATIENCE);
    nothing_was_unreadable(&mesh);
}

#[test]
fn a_data_directory_of_a_later_release_is_refused_in_clear_words() {
    let mut mesh = Mesh::of(1);
    mesh.agents[0].kill();
    let format = mesh.agents[0].data_dir().join("format");
    assert_eq!(std::fs::read_to_string(&format).expect("the format"), "2\n");
    std::fs::write(&format, "3\n").expect("another format");
    mesh.agents[0].start();
    let status = mesh.agents[0].process().wait(PATIENCE);
    assert_eq!(status.code(), Some(1));
    let log = mesh.agents[0].log();
    assert!(log.contains("has format 3, this release knows up to 2: run the release that wrote it"), "{log}");

    // As a release before the number would have left it.
    std::fs::remove_file(&format).expect("no format");
    mesh.agents[0].start();
    mesh.agents[0].await_ready();
    assert_eq!(std::fs::read_to_string(&format).expect("the format"), "2\n");
}

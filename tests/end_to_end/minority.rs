//! Half of the roster is no majority: of two agents, the one that is left never calls anything down.

use quorate_tests::{AgentSetup, Host, Mesh, Target, agent_binary, eventually, folder, holds_for, instance_id, run};
use std::time::Duration;

#[test]
fn the_last_of_two_agents_declares_nothing_down() {
    let folder = folder();
    let host = Host::loopback();
    let (kept, mut killed) = (Target::start("http", &host, folder.path()), Target::start("http", &host, folder.path()));
    let setups = [
        AgentSetup::new("survivor", host.clone()).serving("web", &kept),
        AgentSetup::new("victim", host).serving("web", &killed),
    ];
    let mut mesh = Mesh::start(&setups, folder);
    for target in [&kept, &killed] {
        mesh.await_verdict(&instance_id("web", target), "up", Duration::from_secs(20));
    }
    mesh.agents[1].kill();
    killed.kill();
    let survivor = &mesh.agents[0];
    eventually("the survivor knows that it is alone", Duration::from_secs(20), || {
        let (health, member) = (survivor.health()?, survivor.member("victim")?);
        let alone = !health.quorate && member.state == "failed" && health.roster == 2;
        if alone { Ok(()) } else { Err(format!("{health:?} {member:?}")) }
    });
    // Long enough for ten rounds of probes after that: with a quorum it would have been down three times over.
    holds_for("nothing is declared down", Duration::from_secs(10), || {
        let down = survivor.instances()?.into_iter().find(|seen| seen.verdict == "down" || seen.decided == "down");
        down.map_or(Ok(()), |seen| Err(format!("{seen:?}")))
    });
    let lost = survivor.instance(&instance_id("web", &killed)).expect("still known");
    assert!(lost.stale, "{lost:?}");
    let addr = survivor.api.to_string();
    let waited = run([
        agent_binary().as_os_str(),
        "wait".as_ref(),
        "web".as_ref(),
        "--timeout=1s".as_ref(),
        "--addr".as_ref(),
        addr.as_ref(),
    ]);
    assert!(waited.code == Some(1) && waited.stderr.contains("before the agent was cut off"), "{waited:?}");
    assert_eq!(survivor.ask("/health").expect("an answer")["status"], "degraded");
}

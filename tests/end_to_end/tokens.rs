//! Tokens that admit nobody: each kind gets its own words on both sides, and is counted.

use quorate_tests::{Agent, AgentSetup, Finished, Host, Mesh, Stopwatch, eventually, folder};
use std::time::Duration;

/// A newcomer's attempt that must be refused. Its data directory is new.
fn refused(mesh: &Mesh, name: &str, member: usize, token: &str) -> Finished {
    let newcomer = Agent::new(&AgentSetup::new(name, Host::loopback()), mesh.path());
    let finished = newcomer.run_joining(mesh.agents[member].mesh, token);
    assert!(finished.code.is_some_and(|code| code != 0), "{name} was admitted: {finished:?}");
    finished
}

/// What the newcomer is told, on standard error; logs may stand before it.
fn told(finished: &Finished, words: &str) {
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert!(said.contains(words), "not told {words:?}: {said}");
}

/// The same token with another secret: its last letters are changed.
fn other_secret(token: &str) -> String {
    let (head, secret) = token.rsplit_once('.').expect("parts");
    let swapped: String = secret.chars().map(|c| if c == 'A' { 'B' } else { 'A' }).collect();
    format!("{head}.{swapped}")
}

/// Waits until the member that was asked has counted a refusal with this reason.
fn counted(member: &Agent, metric: &str, reason: &str) {
    eventually(&format!("{reason} is counted by {}", member.name), Duration::from_secs(10), || {
        let seen = member.metric(metric, &format!("reason=\"{reason}\""))?;
        if seen >= 1.0 { Ok(()) } else { Err(format!("{seen}")) }
    });
}

/// Waits until the agent's log holds these words.
fn logged(agent: &Agent, words: &str) {
    eventually(&format!("{} logs {words:?}", agent.name), Duration::from_secs(10), || {
        if agent.log().contains(words) { Ok(()) } else { Err(agent.log()) }
    });
}

/// The counter of joins that were refused.
const JOINS: &str = "quorate_join_refusals_total";
/// The counter of links that were.
const LINKS: &str = "quorate_link_refusals_total";

#[test]
fn each_fault_of_a_token_has_its_own_words() {
    let mesh = Mesh::of(2);
    let issuer = &mesh.agents[0];
    // By the member that cannot admit: what the issuer says reaches the newcomer all the same.
    let wrong = refused(&mesh, "wrong-secret", 1, &other_secret(&issuer.token(&[])));
    told(&wrong, "secret is wrong");
    counted(&mesh.agents[1], JOINS, "wrong_secret");
    logged(issuer, "wrong_secret");

    let token = issuer.token(&["--uses", "1"]);
    let mut first = Agent::new(&AgentSetup::new("first-use", Host::loopback()), mesh.path());
    first.start_joining(mesh.agents[1].mesh, &token);
    first.await_ready();
    told(&refused(&mesh, "second-use", 1, &token), "used up");
    counted(&mesh.agents[1], JOINS, "token_used");
    logged(issuer, "token_used");

    let short = issuer.token(&["--ttl", "1s"]);
    let age = Stopwatch::start();
    eventually("the token's time is over", Duration::from_secs(5), || {
        if age.elapsed() > Duration::from_millis(1100) { Ok(()) } else { Err("not yet".to_owned()) }
    });
    told(&refused(&mesh, "expired", 1, &short), "expired");
    counted(&mesh.agents[1], JOINS, "token_expired");
    logged(issuer, "token_expired");

    told(&refused(&mesh, "malformed", 0, "QRT1.abc"), "4 parts");
    told(&refused(&mesh, "no-token", 0, "open-sesame"), "begins with");
    let roster = issuer.health().expect("health").roster;
    assert_eq!(roster, 3, "nobody was admitted but the first use");
}

#[test]
fn a_token_of_another_mesh_is_told_apart() {
    let (mesh, other) = (Mesh::of(1), Mesh::of(1));
    let finished = refused(&mesh, "lost", 0, &other.agents[0].token(&[]));
    told(&finished, "another mesh");
    counted(&mesh.agents[0], LINKS, "other_mesh");
    logged(&mesh.agents[0], "another mesh");
    // Nothing of it is left behind: the same host joins with the right token.
    let mut host = Agent::new(&AgentSetup::new("lost", Host::loopback()), mesh.path());
    host.start_joining(mesh.agents[0].mesh, &mesh.agents[0].token(&[]));
    host.await_ready();
}

#[test]
fn nobody_answers_at_that_address() {
    let folder = folder();
    let mesh = Mesh::of(1);
    let newcomer = Agent::new(&AgentSetup::new("astray", Host::loopback()), folder.path());
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], quorate_tests::free_udp_port()));
    let finished = newcomer.run_joining(nobody, &mesh.agents[0].token(&[]));
    assert!(finished.code.is_some_and(|code| code != 0), "{finished:?}");
    told(&finished, &nobody.to_string());
}

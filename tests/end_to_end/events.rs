//! The event stream: it can be resumed without a gap, and says so when it cannot.

use quorate_tests::{AgentSetup, EventStream, Host, Mesh, StreamedEvent, Target, folder, instance_id};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

fn turns(event: &StreamedEvent, instance: &str, verdict: &str) -> bool {
    let changes = event.data["changes"].as_array().into_iter().flatten();
    event.event == "verdicts" && changes.into_iter().any(|c| c["instance"] == instance && c["to"] == verdict)
}

/// The boot and the index of an id.
fn place(event: &StreamedEvent) -> (u64, u64) {
    let (boot, index) = event.id.split_once('-').expect("boot and index");
    (boot.parse().expect("a boot"), index.parse().expect("an index"))
}

#[test]
fn a_stream_is_resumed_where_it_ended() {
    let folder = folder();
    let host = Host::loopback();
    let mut target = Target::start("http", &host, folder.path());
    let setups: Vec<_> = (0..3).map(|n| AgentSetup::new(format!("agent-{n}"), host.clone())).collect();
    let setups = [setups[0].clone().serving("web", &target), setups[1].clone(), setups[2].clone()];
    let mut mesh = Mesh::start(&setups, folder);
    let id = instance_id("web", &target);
    mesh.await_verdict(&id, "up", PATIENCE);

    let asked = mesh.agents[1].api;
    let mut stream = EventStream::open(asked, "/v1/events", None);
    target.kill();
    let seen = stream.until("the instance is down", |event| turns(event, &id, "down"));
    drop(stream);
    let last = seen.last().expect("an event");
    // What happens while nobody listens is not lost.
    target.restart();
    mesh.await_verdict(&id, "up", PATIENCE);
    let mut resumed = EventStream::open(asked, "/v1/events", Some(&last.id));
    let missed = resumed.until("the instance is up again", |event| turns(event, &id, "up"));
    let mut expected = place(last);
    for event in &missed {
        expected.1 += 1;
        assert_eq!(place(event), expected, "{missed:?}");
        assert_eq!(event.data["id"], event.id.as_str());
    }
    let all = mesh.agents[1].ask("/v1/events?format=json&since=0").expect("all events");
    let held = all["events"].as_array().expect("a list");
    assert!(held.len() >= seen.len() + missed.len());
    assert_eq!(held[0]["index"], 1);

    // After a restart the old id is of another run: a reset says that something was missed.
    let old = missed.last().expect("an event").id.clone();
    mesh.agents[1].kill();
    mesh.agents[1].start();
    mesh.agents[1].await_ready();
    let mut anew = EventStream::open(asked, "/v1/events", Some(&old));
    let first = anew.next_event().expect("an event");
    assert_eq!(first.event, "reset", "{first:?}");
}

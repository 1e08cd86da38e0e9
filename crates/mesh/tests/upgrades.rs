//! Agents of different releases: what a later one states passes through an earlier one, and what an earlier one stored is read.

#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "a test")]

mod world;

use quorate_core::{AgentId, InstanceId, Verdict, Zone};
use quorate_mesh::{Engine, EngineConfig, Input, Keys, LinkEvent, Output, StartError, Timing, WIRE_VERSIONS};
use quorate_wire::{Batch, Delta, OwnerDelta, OwnerMark, Packet, Profile, Record, decode, encode};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use world::{HashKeys, Target, World};

/// An agent of a later release, which runs elsewhere.
const LATER: AgentId = AgentId(9);

/// Its batch, with a kind of record that this release does not know.
fn batch_of_a_later_release() -> Batch {
    let profile = Profile {
        name: "later".into(),
        zone: Zone::default(),
        address: "127.0.0.1:7009".parse().unwrap(),
        api_address: String::new(),
        version: "99".into(),
        left: false,
    };
    let extension = Record::Extension { kind: 4_000, about: b"a thing".to_vec(), body: vec![0xee; 200] };
    let records = vec![Record::Profile(profile.into()), extension];
    let mut batch = Batch { owner: LATER, epoch: 1, seq: 1, live: vec![1], records, signature: Vec::new() };
    batch.signature = HashKeys(LATER).sign(&batch.signing_bytes());
    batch
}

/// What `agent` tells `asker` of the later agent's records when it is asked for them.
fn told(world: &mut World, agent: u64, asker: u64) -> Vec<Arc<Batch>> {
    let mark = OwnerMark { owner: LATER, epoch: 0, head: 0, missing: Vec::new() };
    let ask = Packet::Delta(Delta { want_owners: vec![mark], last: true, ..Delta::default() });
    let mut batches = Vec::new();
    for output in world.outputs(agent, Input::Message { from: AgentId(asker), bytes: encode(&ask) }) {
        if let Output::Message { bytes, .. } | Output::Datagram { bytes, .. } = output
            && let Ok(Packet::Delta(delta)) = decode(&bytes)
        {
            batches.extend(delta.owners.into_iter().filter(|owner| owner.owner == LATER).flat_map(|o| o.batches));
        }
    }
    batches
}

#[test]
fn what_a_later_release_states_is_kept_and_passed_on_as_it_was_signed() {
    let mut world = World::formed(3);
    let batch = batch_of_a_later_release();
    let credential = Some(Arc::from(LATER.0.to_le_bytes()));
    let owners = [OwnerDelta { owner: LATER, credential, batches: vec![Arc::new(batch.clone())] }];
    world.input(1, Input::Message { from: AgentId(3), bytes: encode(&Packet::push(&owners, &[])) });
    world.run(2_000);
    for agent in [1, 2] {
        assert_eq!(told(&mut world, agent, 3), [Arc::new(batch.clone())], "agent {agent}");
        let stats = world.view(agent).stats;
        assert_eq!((stats.packets_malformed, stats.batches_refused), (0, 0));
    }
    // And it is still there after a restart.
    world.run(60_000);
    world.crash(2);
    world.boot(2);
    world.contact(2, 1);
    assert_eq!(told(&mut world, 2, 3), [Arc::new(batch)]);
}

#[test]
fn an_extension_beyond_its_limits_is_refused() {
    let mut world = World::formed(2);
    let mut batch = batch_of_a_later_release();
    let body = vec![1; Record::MAX_EXTENSION_BYTES + 1];
    batch.records.push(Record::Extension { kind: 1, about: Vec::new(), body });
    batch.signature = HashKeys(LATER).sign(&batch.signing_bytes());
    let credential = Some(Arc::from(LATER.0.to_le_bytes()));
    let owners = [OwnerDelta { owner: LATER, credential, batches: vec![Arc::new(batch)] }];
    world.input(1, Input::Message { from: AgentId(2), bytes: encode(&Packet::push(&owners, &[])) });
    assert_eq!(world.view(1).stats.batches_refused, 1);
    assert_eq!(told(&mut world, 1, 2), []);
}

#[test]
fn a_packet_goes_out_in_the_version_of_its_link() {
    let mut world = World::formed(2);
    for version in [*WIRE_VERSIONS.start(), *WIRE_VERSIONS.end(), 0, u8::MAX] {
        let event = LinkEvent::Up { version };
        world.input(1, Input::Link { peer: AgentId(2), event });
        let ping = encode(&Packet::Ping { nonce: 1 });
        let outputs = world.outputs(1, Input::Datagram { from: AgentId(2), bytes: ping });
        let first = outputs.iter().find_map(|output| match output {
            Output::Datagram { to: AgentId(2), bytes } => bytes.first().copied(),
            _ => None,
        });
        assert_eq!(first, Some(version.clamp(*WIRE_VERSIONS.start(), *WIRE_VERSIONS.end())));
    }
}

fn golden(name: &str, bytes: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    if !path.exists() {
        assert!(std::env::var_os("UPDATE_EXPECT").is_some(), "{} is missing", path.display());
        let hex = bytes().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        std::fs::write(&path, hex + "\n").unwrap();
    }
    let hex = std::fs::read_to_string(path).unwrap();
    let hex = hex.trim();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The state of agent 2 of three, each with an instance that is up.
fn state() -> Vec<u8> {
    let mut world = World::formed(3);
    world.run(60_000);
    world.hosts[&2].engine.as_ref().unwrap().state()
}

fn start(stored: &[u8]) -> Result<World, StartError> {
    let config = EngineConfig {
        agent: AgentId(2),
        name: "a2".into(),
        zone: Zone::default(),
        address: "127.0.0.1:7002".parse().unwrap(),
        api_address: String::new(),
        version: "test".into(),
        credential: 2_u64.to_le_bytes().to_vec(),
        founder: false,
        boot_floor: 0,
        registrations: Vec::new(),
        seed: 7,
        timing: Timing::default(),
    };
    Engine::new(config, Some(stored), Box::new(HashKeys(AgentId(2))), World::new().clock())?;
    let mut world = World::new();
    for home in 1..=3 {
        world.targets.insert(InstanceId::new(format!("web@{home}")).unwrap(), (2, Target::Hung));
    }
    world.start(2, &[]);
    world.crash(2);
    world.hosts.get_mut(&2).unwrap().disk = Some(stored.to_vec());
    world.boot(2);
    Ok(world)
}

#[test]
fn the_state_of_every_format_is_read() {
    // Format 1 had neither mark nor number; its content is that of format 2.
    let first = golden("state-format-1.hex", || state()[10..].to_vec());
    let second = golden("state-format-2.hex", state);
    for (format, stored) in [(1, first), (2, second)] {
        let mut world = start(&stored).unwrap_or_else(|error| panic!("format {format}: {error}"));
        let view = world.view(2);
        assert_eq!(view.members.len(), 3, "format {format}");
        assert_eq!(view.instances[&InstanceId::new("web@1").unwrap()].verdict, Verdict::Up);
        let written = world.hosts[&2].engine.as_ref().unwrap().state();
        assert_eq!(written[..10], *b"QRTSTATE\x02\x00", "format {format}");
        start(&written).unwrap();
    }
}

#[test]
fn the_state_of_a_later_release_is_refused_in_clear_words() {
    let said = |stored: &[u8]| start(stored).err().map(|error| error.to_string()).unwrap_or_default();
    let newer = said(b"QRTSTATE\x03\x00whatever");
    assert!(newer.starts_with("the stored state has format 3, this release reads up to 2: run the release"), "{newer}");
    assert!(said(b"QRTSTATE\x02\x00whatever").starts_with("the stored state cannot be read"));
    assert!(said(b"QRTSTATE").starts_with("the stored state cannot be read"));
    assert!(said(b"").starts_with("the stored state cannot be read"));
}

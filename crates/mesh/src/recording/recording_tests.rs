//! A lone agent is recorded while its instance dies and comes back, and replayed; then the recording is harmed in every way.

use super::*;
use crate::{EngineConfig, EventKind, Input, Keys, Output, ProbeRequest, Timing};
use quorate_core::{
    AgentId, Cause, Check, InstanceId, Mono, Now, Outcome, Phase, Registration, ServiceName, UnixMs, Verdict, Zone,
    hash,
};
use std::sync::Arc;
use std::time::Duration;

const ME: AgentId = AgentId(7);
const WALL: u64 = 1_700_000_000_000;

struct TestKeys;

impl Keys for TestKeys {
    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        hash::bytes(bytes).to_le_bytes().repeat(8)
    }
    fn admit(&self, credential: &[u8]) -> Option<AgentId> {
        (credential == b"me").then_some(ME)
    }
    fn verify(&self, _credential: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
        signature == self.sign(bytes)
    }
}

fn config() -> EngineConfig {
    let check = Check { initial_delay: Duration::ZERO, period: Duration::from_secs(1), ..Check::default() };
    let registration = Registration {
        instance: InstanceId::new("web@me").unwrap(),
        service: ServiceName::new("web").unwrap(),
        address: "127.0.0.1:80".into(),
        check: Check { timeout: Duration::from_millis(500), ..check }.into(),
        observers: 5,
        placement: Default::default(),
    };
    EngineConfig {
        agent: ME,
        name: "me".into(),
        zone: Zone::default(),
        address: ([127, 0, 0, 1], 7700).into(),
        api_address: String::new(),
        version: "0".into(),
        credential: b"me".to_vec(),
        founder: true,
        boot_floor: 0,
        registrations: vec![registration],
        seed: 11,
        timing: Timing::default(),
    }
}

fn outcome(at_ms: u64) -> Outcome {
    let took = Duration::from_millis(3);
    if (10_000..20_000).contains(&at_ms) {
        return Outcome::fail(Phase::Connect, Cause::Refused, "refused", took);
    }
    Outcome { excerpt: "a secret".into(), headers: vec![("set-cookie".into(), "s".into())], ..Outcome::pass(took) }
}

/// Drives an engine for `ms` milliseconds, its wall clock being what `wall` makes of its monotonic one, in milliseconds. Returns what it
/// put out, and the recording, a frame per second.
fn recorded_run(ms: u64, wall: impl Fn(u64) -> u64) -> (Vec<Output>, Vec<u8>) {
    let now = |at: u64| Now { mono: Mono(at * 1_000_000), wall: UnixMs(wall(at)) };
    let mut engine = Recorded::new(config(), None, Box::new(TestKeys), now(0), true).unwrap();
    let (mut outputs, mut bytes) = (Vec::new(), Vec::new());
    let mut running: Vec<ProbeRequest> = Vec::new();
    for at in 0..ms {
        while let Some(output) = engine.poll_output() {
            if let Output::Probe(request) = &output {
                running.push(request.clone());
            }
            outputs.push(output);
        }
        for request in std::mem::take(&mut running) {
            engine.handle(now(at), Input::Probe { id: request.id, outcome: outcome(at) });
        }
        if engine.next_wakeup() <= now(at).mono {
            engine.handle(now(at), Input::Wake);
        }
        if at % 1000 == 999 {
            let segment = engine.take_recording();
            assert_eq!(segment.begins, bytes.is_empty());
            bytes.extend(segment.bytes);
        }
    }
    while let Some(output) = engine.poll_output() {
        outputs.push(output);
    }
    bytes.extend(engine.take_recording().bytes);
    (outputs, bytes)
}

fn straight(at: u64) -> u64 {
    WALL + at
}

fn replayed(bytes: &[u8]) -> Result<(Vec<Output>, Summary), ReplayError> {
    let mut replay = Replay::open(bytes)?;
    let mut outputs = Vec::new();
    while let Some(step) = replay.step()? {
        outputs.extend(step.outputs);
    }
    Ok((outputs, replay.summary()))
}

fn verdicts(outputs: &[Output]) -> Vec<Verdict> {
    let changes = outputs.iter().filter_map(|output| match output {
        Output::Event(event) => match &event.kind {
            EventKind::Verdicts { changes, .. } => Some(changes.iter().map(|change| change.to)),
            _ => None,
        },
        _ => None,
    });
    changes.flatten().collect()
}

#[test]
fn a_replay_puts_out_the_same() {
    let (outputs, bytes) = recorded_run(30_000, straight);
    assert_eq!(verdicts(&outputs), [Verdict::Up, Verdict::Down, Verdict::Up]);
    let (again, summary) = replayed(&bytes).unwrap();
    assert_eq!(format!("{again:?}"), format!("{outputs:?}"));
    assert_eq!((summary.outputs, summary.difference, summary.torn_bytes), (outputs.len() as u64, None, 0));
    assert!(summary.inputs > 60, "{}", summary.inputs);
}

#[test]
fn a_recording_does_not_hold_what_targets_answer() {
    let (_, bytes) = recorded_run(5_000, straight);
    assert!(!bytes.windows(8).any(|window| window == b"a secret"));
    assert!(bytes.windows(6).any(|window| window == b"web@me"));
}

/// Promises rest on the monotonic clock: a wall clock that jumps changes what is told, and neither what is decided nor when.
#[test]
fn a_stepped_wall_clock_decides_nothing() {
    let hour = 3_600_000;
    let forward = |at: u64| WALL + at + if at > 9_000 { hour } else { 0 };
    let back_and_forth = |at: u64| WALL + at - if (9_000..15_000).contains(&at) { hour } else { 0 };
    let (outputs, _) = recorded_run(30_000, straight);
    let moments = |outputs: &[Output]| outputs.iter().map(std::mem::discriminant).collect::<Vec<_>>();
    for (stepped, bytes) in [recorded_run(30_000, forward), recorded_run(30_000, back_and_forth)] {
        assert_eq!(verdicts(&stepped), verdicts(&outputs));
        assert_eq!(moments(&stepped), moments(&outputs));
        assert_eq!(replayed(&bytes).unwrap().1.difference, None);
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let (_, bytes) = recorded_run(3_000, straight);
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 0x10;
        match replayed(&changed) {
            Err(_) => {}
            Ok((_, summary)) => panic!("byte {index} of {} was changed: {summary:?}", bytes.len()),
        }
    }
}

#[test]
fn a_torn_tail_costs_the_last_record_only() {
    let (_, bytes) = recorded_run(6_000, straight);
    let whole = replayed(&bytes).unwrap().1;
    let mut inputs = Vec::new();
    for length in MAGIC.len() + 2..bytes.len() {
        match replayed(&bytes[..length]) {
            Ok((_, summary)) => {
                assert_eq!(summary.difference, None);
                inputs.push(summary.inputs);
            }
            Err(error) => {
                assert!(matches!(error, ReplayError::Damage(Damage::TooShort(_))), "{error}");
                assert!(inputs.is_empty());
            }
        }
    }
    assert!(inputs.is_sorted() && inputs.first() == Some(&0) && inputs.last() < Some(&whole.inputs), "{inputs:?}");
    let mut steps = inputs.clone();
    steps.dedup();
    assert!(steps.len() >= 6, "{steps:?}");
}

#[test]
fn what_is_no_recording_is_named() {
    let error = |bytes: &[u8]| replayed(bytes).map(|_| ()).unwrap_err().to_string();
    assert!(error(b"").contains("not a recording"));
    assert!(error(b"[agent]\nname = 1").contains("not a recording"));
    assert!(error(b"QRTREC").contains("ends within"));
    assert!(error(b"QRTREC\xff\x00").contains("format 255"));
}

/// An engine that behaves otherwise, as a later release may: the settings differ from those that were recorded.
#[test]
fn another_behaviour_is_named_where_it_begins() {
    let (_, bytes) = recorded_run(5_000, straight);
    let (mut reader, mut header) = format::Reader::open(&bytes).unwrap();
    let format::Base::Start { config, .. } = &mut header.base;
    Arc::make_mut(&mut config.registrations[0].check).period = Duration::from_millis(1_300);
    let mut other = format::mark();
    let mut chain = 0;
    format::put_frame(&mut other, &mut chain, &quorate_wire::encode_value(&header));
    let (mut block, mut last) = (Vec::new(), header.now);
    while let Some(turn) = reader.turn().unwrap() {
        let input = quorate_wire::encode_value(&turn.input);
        format::put_turn(&mut block, last, turn.now, &input, &turn.answers, &turn.outputs);
        last = turn.now;
    }
    format::put_frame(&mut other, &mut chain, &block);
    let difference = replayed(&other).unwrap().1.difference.expect("a difference");
    assert!(difference.what.starts_with("output "), "{difference}");
}

#[test]
fn a_recording_ends_when_told_to() {
    let now = Now { mono: Mono(0), wall: UnixMs(WALL) };
    let mut engine = Recorded::new(config(), None, Box::new(TestKeys), now, true).unwrap();
    assert!(engine.is_recording() && engine.recorded_bytes() > 0);
    engine.stop_recording();
    engine.handle(now, Input::Wake);
    assert!(!engine.is_recording());
    assert_eq!(engine.take_recording(), Segment::default());
    assert!(engine.poll_output().is_some());
}

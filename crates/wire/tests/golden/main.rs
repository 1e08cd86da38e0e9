//! The bytes of every version that this release speaks, as files. What a version writes never changes once it is released: whoever changes a packet
//! makes a new version, and whoever changes a record makes an extension.
//!
//! `UPDATE_EXPECT=1` writes down what is not there yet, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // the lint spares test functions, not their helpers

mod samples;

use quorate_wire::{
    EpochTalk, OLDEST_VERSION, Packet, Record, RosterProof, VERSION, decode, decode_value, encode_as, encode_value,
};
use samples::{batch, records, samples};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Closed on purpose: whoever adds a kind finds out here that it needs a sample, and a version.
fn packet_name(packet: &Packet) -> &'static str {
    match packet {
        Packet::Swim(_) => "swim",
        Packet::Suspicions(_) => "suspicions",
        Packet::HeldFailed { .. } => "held_failed",
        Packet::Push { .. } => "push",
        Packet::Digest(_) => "digest",
        Packet::Summary(_) => "summary",
        Packet::Delta(_) => "delta",
        Packet::RollCall { .. } => "roll_call",
        Packet::Present { .. } => "present",
        Packet::Epoch(EpochTalk::Prepare { .. }) => "epoch_prepare",
        Packet::Epoch(EpochTalk::Promise { .. }) => "epoch_promise",
        Packet::Epoch(EpochTalk::Accept { .. }) => "epoch_accept",
        Packet::Epoch(EpochTalk::Accepted { .. }) => "epoch_accepted",
        Packet::Epoch(EpochTalk::Refused { .. }) => "epoch_refused",
        Packet::Epoch(EpochTalk::Ask { .. }) => "epoch_ask",
        Packet::Epoch(EpochTalk::Tell { .. }) => "epoch_tell",
        Packet::Ping { .. } => "ping",
        Packet::Pong { .. } => "pong",
        Packet::Propose { .. } => "propose",
        Packet::Answers { .. } => "answers",
        Packet::Roots(_) => "roots",
        Packet::LookNow { .. } => "look_now",
        Packet::UsedUp { .. } => "used_up",
    }
}

/// How many names [`packet_name`] has.
const PACKETS: usize = 23;

fn record_name(record: &Record) -> &'static str {
    match record {
        Record::Profile(_) => "profile",
        Record::Instance { .. } => "instance",
        Record::InstanceGone(_) => "instance_gone",
        Record::Observed { .. } => "observed",
        Record::ObservedGone(_) => "observed_gone",
        Record::Breaker(_) => "breaker",
        Record::BreakerGone(_) => "breaker_gone",
        Record::Override(_) => "override",
        Record::OverrideGone(_) => "override_gone",
        Record::Extension { .. } => "extension",
    }
}

/// How many names [`record_name`] has.
const RECORDS: usize = 10;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The file's lines, name and bytes; those of `found` that it lacks are an error, or are added when the tree is being updated.
fn golden(name: &str, found: &[(String, Vec<u8>)]) -> BTreeMap<String, Vec<u8>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let lines = text.lines().map(|line| line.split_once(' ').expect("a name and bytes"));
    let mut golden: BTreeMap<_, _> = lines.map(|(name, hex)| (name.to_owned(), bytes(hex))).collect();
    let missing: Vec<_> = found.iter().filter(|(name, _)| !golden.contains_key(name)).collect();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|(name, _)| name).collect();
        assert!(std::env::var_os("UPDATE_EXPECT").is_some(), "{} lacks {names:?}", path.display());
        let added = missing.iter().map(|(name, bytes)| format!("{name} {}\n", hex(bytes)));
        std::fs::write(&path, text + &added.collect::<String>()).unwrap();
        golden.extend(missing.into_iter().cloned());
    }
    golden
}

fn numbered<T>(values: Vec<T>, name: impl Fn(&T) -> &'static str) -> Vec<(String, T)> {
    let mut seen = BTreeMap::new();
    let number = |value| {
        let name = name(&value);
        let count = seen.entry(name).or_insert(0);
        *count += 1;
        let name = if *count == 1 { name.to_owned() } else { format!("{name}_{count}") };
        (name, value)
    };
    values.into_iter().map(number).collect()
}

#[test]
fn every_packet_has_its_bytes_in_every_version() {
    let samples = numbered(samples(), packet_name);
    let kinds: BTreeSet<_> = samples.iter().map(|(_, packet)| packet_name(packet)).collect();
    assert_eq!(kinds.len(), PACKETS, "a kind of packet has no sample");
    for version in OLDEST_VERSION..=VERSION {
        let found: Vec<_> = samples.iter().map(|(name, packet)| (name.clone(), encode_as(packet, version))).collect();
        let golden = golden(&format!("packets-v{version}.txt"), &found);
        assert_eq!(golden.len(), found.len(), "version {version}: what was once written must still be read");
        for ((name, packet), (_, bytes)) in samples.iter().zip(&found) {
            assert_eq!(hex(bytes), hex(&golden[name]), "{name} of version {version} has other bytes than it had");
            assert_eq!(bytes[0], version);
            assert_eq!(decode(&golden[name]).as_ref(), Ok(packet), "{name} of version {version}");
        }
    }
}

#[test]
fn every_record_has_its_bytes_and_what_is_signed_too() {
    let records = numbered(records(), record_name);
    let kinds: BTreeSet<_> = records.iter().map(|(_, record)| record_name(record)).collect();
    assert_eq!(kinds.len(), RECORDS, "a kind of record has no sample");
    let mut found: Vec<_> = records.iter().map(|(name, record)| (name.clone(), encode_value(record))).collect();
    let batch = batch();
    found.push(("batch_as_signed".to_owned(), batch.signing_bytes()));
    let Some(Packet::Epoch(EpochTalk::Tell { proofs, .. })) =
        samples().into_iter().find(|p| packet_name(p) == "epoch_tell")
    else {
        panic!("a sample is missing")
    };
    let proof = &proofs[0];
    let signed = RosterProof::signing_bytes(proof.epoch, proof.before, proof.ballot, &proof.change);
    found.push(("epoch_as_signed".to_owned(), signed));
    let golden = golden("records.txt", &found);
    assert_eq!(golden.len(), found.len(), "what was once written must still be read");
    for (name, bytes) in &found {
        assert_eq!(hex(bytes), hex(&golden[name]), "{name} has other bytes than it had");
    }
    for (name, record) in &records {
        assert_eq!(decode_value(&golden[name]).as_ref(), Ok(record), "{name}");
    }
}

#[test]
fn a_later_kind_of_record_is_read_kept_and_written_as_it_came() {
    // As a release that knows kind 700 wrote it: this one need not understand it to verify the batch it is in.
    let later = Record::Extension { kind: 700, about: vec![1, 2], body: vec![0xff; 300] };
    let mut batch = batch();
    batch.records.push(later.clone());
    let bytes = encode_value(&batch);
    let read: quorate_wire::Batch = decode_value(&bytes).unwrap();
    assert_eq!(read.records.last(), Some(&later));
    assert_eq!((encode_value(&read), read.signing_bytes()), (bytes, batch.signing_bytes()));
    assert!(!later.is_tombstone());
    let gone = Record::Extension { kind: 700, about: vec![1, 2], body: Vec::new() };
    assert!(gone.is_tombstone() && gone.key() == later.key());
}

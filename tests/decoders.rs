//! What a member may send us: valid packets of every kind, cut short, spliced and repeated at random. The decoder refuses or reads them; it
//! neither panics nor changes its mind when it reads what it has read again. Plain arbitrary bytes are tried beside the decoder itself.

use proptest::prelude::*;
use proptest::sample::Index;
use quorate_wire::{decode, encode};
use samples::samples;

#[path = "../crates/wire/tests/golden/samples.rs"]
mod samples;
/// One thing that happens to a packet on its way.
#[derive(Debug, Clone)]
enum Damage {
    Overwrite(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    CutShort(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Overwrite(at, byte)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<Index>(), 1..9_usize).prop_map(|(at, count)| Damage::Remove(at, count)),
        (any::<Index>(), 1..65_usize).prop_map(|(at, count)| Damage::Repeat(at, count)),
        any::<Index>().prop_map(Damage::CutShort),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    let span = |at: &Index, count: usize| at.index(bytes.len())..(at.index(bytes.len()) + count).min(bytes.len());
    match damage {
        Damage::Overwrite(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Damage::Insert(at, more) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, more.iter().copied());
        }
        Damage::Remove(at, count) => {
            let span = span(at, *count);
            bytes.drain(span);
        }
        Damage::Repeat(at, count) => {
            let span = span(at, *count);
            let again = bytes[span.clone()].to_vec();
            bytes.splice(span.end..span.end, again);
        }
        Damage::CutShort(at) => bytes.truncate(at.index(bytes.len())),
    }
}

#[test]
fn every_kind_survives_the_journey() {
    for packet in samples() {
        assert_eq!(decode(&encode(&packet)), Ok(packet));
    }
}

#[test]
fn no_beginning_of_a_packet_is_a_packet() {
    for packet in samples() {
        let bytes = encode(&packet);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} of {} bytes of {packet:?}", bytes.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_packets_are_refused_or_read(which in any::<Index>(), damages in prop::collection::vec(damage(), 1..5)) {
        let samples = samples();
        let mut bytes = encode(&samples[which.index(samples.len())]);
        for damage in &damages {
            apply(&mut bytes, damage);
        }
        if let Ok(packet) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&packet)), Ok(packet));
        }
    }

    #[test]
    fn a_joined_packet_is_not_two(first in any::<Index>(), second in any::<Index>()) {
        let samples = samples();
        let joined = [&samples[first.index(samples.len())], &samples[second.index(samples.len())]].map(encode).concat();
        prop_assert!(decode(&joined).is_err());
    }
}

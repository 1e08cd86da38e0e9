//! Decoders face arbitrary bytes; encodings are stable.

use super::*;
use crate::{Batch, Digest, OwnerDelta, Profile, Record, Suspicion};
use proptest::prelude::*;
use quorate_core::{AgentId, Zone};
use std::sync::Arc;

fn samples() -> Vec<Packet> {
    let profile = Profile {
        name: "a".into(),
        zone: Zone::default(),
        address: "127.0.0.1:7700".parse().unwrap(),
        api_address: String::new(),
        version: "0".into(),
        left: false,
    };
    let records = vec![Record::Profile(profile.into())];
    let batch = Batch { owner: AgentId(7), epoch: 1, seq: 2, live: vec![1, 2], records, signature: vec![0; 64] };
    vec![
        Packet::Swim(vec![1, 2, 3]),
        Packet::Suspicions(vec![Suspicion { by: AgentId(1), of: AgentId(2), counter: 3, incarnation: 4 }]),
        Packet::push(&[OwnerDelta { owner: AgentId(7), credential: None, batches: vec![Arc::new(batch)] }], &[]),
        Packet::Digest(Digest { epoch: 1, owners: vec![1; 32], certificates: vec![2; 64], members: 3 }),
        Packet::RollCall { nonce: u64::MAX },
    ]
}

#[test]
fn packets_survive_the_journey() {
    for packet in samples() {
        assert_eq!(decode(&encode(&packet)), Ok(packet));
    }
}

#[test]
fn each_fault_has_its_error() {
    let bytes = encode(&Packet::Ping { nonce: 1 });
    assert_eq!(decode(&[]), Err(DecodeError::Empty));
    assert_eq!(decode(&[9, 0]), Err(DecodeError::Version { found: 9 }));
    assert_eq!(decode(&[bytes.clone(), vec![0]].concat()), Err(DecodeError::Trailing(1)));
    assert!(matches!(decode(&bytes[..1]), Err(DecodeError::Malformed(_))));
    assert_eq!(decode(&vec![VERSION; MAX_PACKET_BYTES + 1]), Err(DecodeError::TooLong(MAX_PACKET_BYTES + 1)));
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    // `Swim` with a claimed length of 2^62 bytes.
    let bytes = [&[VERSION, 0, 253][..], &(1u64 << 62).to_le_bytes()].concat();
    assert!(matches!(decode(&bytes), Err(DecodeError::Malformed(_))));
}

#[test]
fn what_is_signed_depends_on_its_domain() {
    assert_ne!(signing_bytes("a", &1u8), signing_bytes("b", &1u8));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode(&bytes);
        let _ = decode(&[&[VERSION][..], &bytes].concat());
    }

    #[test]
    fn damaged_packets_never_panic(which in 0usize..5, at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = encode(&samples()[which]);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(packet) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&packet)), Ok(packet));
        }
    }
}

#[test]
fn bytes_in_one_piece_are_written_as_numbers_are() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Whole {
        #[serde(with = "quorate_core::blob")]
        signature: Vec<u8>,
        #[serde(with = "quorate_core::blob::optional")]
        credential: Option<Arc<[u8]>>,
    }
    #[derive(serde::Serialize)]
    struct Numbers {
        signature: Vec<u8>,
        credential: Option<Arc<[u8]>>,
    }
    for credential in [None, Some(Arc::from([7; 300]))] {
        let signature: Vec<u8> = (0..=255).collect();
        let numbers = encode_value(&Numbers { signature: signature.clone(), credential: credential.clone() });
        let whole = Whole { signature, credential };
        assert_eq!(encode_value(&whole), numbers);
        assert_eq!(decode_value(&numbers), Ok(whole));
    }
}

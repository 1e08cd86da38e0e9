//! The signing rules as a reviewable table, and the property they exist for.

use super::*;
use proptest::prelude::*;

fn at(ms: u64) -> Mono {
    Mono(ms * 1_000_000)
}

#[test]
fn the_rules_as_a_table() {
    use Refusal::*;
    use Verdict::{Down, Up};
    let signed = |term, verdict| Some(Signed { term, verdict, at: at(0) });
    let cases = [
        // certified, signed, proposed, at ms, answer
        (0, None, (1, Down), 0, Ok(())),
        (3, None, (3, Down), 0, Err(Certified { term: 3 })),
        (3, None, (2, Down), 0, Err(Certified { term: 3 })),
        (3, signed(4, Down), (4, Down), 500, Ok(())),
        (3, signed(4, Down), (4, Up), 500, Err(Taken { term: 4 })),
        (3, signed(5, Down), (4, Down), 500, Err(Taken { term: 5 })),
        (3, signed(4, Down), (5, Up), 500, Ok(())),
        (3, signed(4, Down), (4, Up), 9_999, Err(Taken { term: 4 })),
        (3, signed(4, Down), (4, Up), 10_000, Ok(())),
        (4, signed(4, Down), (5, Up), 0, Ok(())),
        (0, None, (16, Up), 0, Ok(())),
        (0, None, (17, Up), 0, Err(TooFarAhead { limit: 16 })),
        (u64::MAX, None, (u64::MAX, Up), 0, Err(Certified { term: u64::MAX })),
    ];
    for (certified, signed, (term, verdict), ms, expected) in cases {
        let signer = Signer { certified, signed };
        assert_eq!(
            signer.may_sign(term, verdict, at(ms)),
            expected,
            "{signer:?} asked for {term} {verdict} at {ms} ms"
        );
    }
}

proptest! {
    /// Whatever is asked in whatever order within a signature's memory, no term ever collects a quorum for two verdicts.
    #[test]
    fn no_term_has_two_quorums(asks in proptest::collection::vec((0usize..5, 1u64..6, 0u8..3), 1..200)) {
        let mut signers = [Signer::default(); 5];
        let mut given = std::collections::BTreeSet::new();
        for (ms, (who, term, verdict)) in asks.into_iter().enumerate() {
            let verdict = [Verdict::Up, Verdict::Down, Verdict::Partial][usize::from(verdict)];
            let now = at(ms as u64);
            if signers[who].may_sign(term, verdict, now).is_ok() {
                signers[who].sign(term, verdict, now);
                given.insert((term, verdict, who));
            }
        }
        for term in 1..6 {
            let quorums = [Verdict::Up, Verdict::Down, Verdict::Partial]
                .iter()
                .filter(|v| given.iter().filter(|(t, w, _)| *t == term && w == *v).count() >= 3)
                .count();
            prop_assert!(quorums <= 1);
        }
    }
}

//! How far a sample can mislead.

use super::*;

fn ln_choose(of: usize, take: usize) -> f64 {
    (0..take).map(|i| ((of - i) as f64 / (i + 1) as f64).ln()).sum()
}

/// The probability that at least `enough` of `drawn` out of `others` answer, of whom `reached` can.
fn tail(others: usize, reached: usize, drawn: usize, enough: usize) -> f64 {
    let possible = |k: &usize| *k <= reached && drawn - k <= others - reached;
    let ways = |k: usize| ln_choose(reached, k) + ln_choose(others - reached, drawn - k) - ln_choose(others, drawn);
    (enough..=drawn).filter(possible).map(|k| ways(k).exp()).sum()
}

#[test]
fn a_sample_does_not_mislead() {
    assert!((tail(10, 5, 4, 0) - 1.0).abs() < 1e-9);
    for roster in (SAMPLE + 2..600).chain([1000, crate::engine::limits::MAX_AGENTS]) {
        // The most others that are no majority together with the caller.
        let reached = roster / 2 - 1;
        assert!(!quorate_core::quorum::majority(reached + 1, roster), "{roster}");
        let error = tail(roster - 1, reached, SAMPLE, SAMPLE_ENOUGH);
        assert!(error < 3e-10, "{roster}: {error:e}");
    }
}

//! The cases as a test: every defect is found where it should be, and the engine as it is keeps its promises there.

use super::{CASES, Ending, run};
use crate::invariants;
use quorate_mesh::Defect;
use std::collections::BTreeSet;

#[test]
fn every_defect_is_caught_and_the_engine_as_it_is_is_not() {
    let outcomes = run(CASES, 2, |_| {}).unwrap();
    let missed: Vec<_> = outcomes.iter().filter(|outcome| outcome.ending != Ending::Caught).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn every_defect_has_its_case() {
    let with: BTreeSet<Defect> = CASES.iter().map(|case| case.defect).collect();
    let all: BTreeSet<Defect> = Defect::ALL.iter().copied().collect();
    assert_eq!((with, CASES.len()), (all, Defect::ALL.len()));
}

#[test]
fn every_case_names_a_valid_plan_and_real_invariants() {
    let mut names: BTreeSet<&str> = invariants::all().iter().map(|invariant| invariant.name()).collect();
    names.insert("convergence");
    for case in CASES {
        case.ground.plan().unwrap().check().unwrap();
        assert!(!case.found_by.is_empty() && case.found_by.iter().all(|name| names.contains(name)), "{case:?}");
    }
}

//! The ground truth answers for small fabricated histories.

use super::*;
use crate::plan::Plan;

/// Five agents that started at zero, a partition 3/2 from 20 s to 40 s, an instance on agents 0 and 4.
pub fn split() -> Truth {
    let text = r#"
summary = "t"
[[services]]
name = "web"
homes = [0, 4]
[[faults]]
kind = "partition"
groups = [[0, 1, 2], [3, 4]]
from = "20s"
to = "40s"
[[faults]]
kind = "target"
instance = "web@0"
mode = "flapping"
flap_period = "2s"
from = "50s"
to = "60s"
"#;
    let mut truth = Truth::new(Scenario::new("t", &Plan::parse(text).unwrap(), 1).unwrap());
    (0..5).for_each(|agent| truth.started(agent));
    truth
}

fn at(secs: u64) -> SimTime {
    SimTime::from_ms(secs * 1000)
}

#[test]
fn a_side_of_two_in_five_is_a_minority_only_while_it_is_cut_off() {
    let truth = split();
    assert!(!truth.minority(3, at(15)));
    assert!(truth.minority(3, at(20)) && truth.cornered(4, at(30)));
    assert!(!truth.minority(0, at(30)) && !truth.cornered(2, at(30)));
    assert!(truth.minority_throughout(3, at(21), at(39)));
    assert!(!truth.minority_throughout(3, at(19), at(21)) && !truth.minority_throughout(3, at(38), at(41)));
}

#[test]
fn who_answers_in_the_course_of_a_roll_call_counts_though_cuts_take_turns() {
    let cut = |other: &str, from: &str, to: &str| {
        format!("[[faults]]\nkind = \"partition\"\ngroups = [[4], [{other}]]\nfrom = \"{from}\"\nto = \"{to}\"\n")
    };
    // First 3 alone is within reach, then 0 alone: two in five at any moment, three within a roll call.
    let turns = format!("summary = \"t\"\n{}{}", cut("0, 1, 2", "20s", "30s"), cut("1, 2, 3", "30s", "40s"));
    let mut truth = Truth::new(Scenario::new("t", &Plan::parse(&turns).unwrap(), 1).unwrap());
    (0..5).for_each(|agent| truth.started(agent));
    assert!(truth.minority(4, at(29)) && truth.minority(4, at(30)));
    assert!(truth.minority_throughout(4, at(21), at(29)) && truth.minority_throughout(4, at(31), at(39)));
    assert!(!truth.minority_throughout(4, at(29), at(31)));
}

#[test]
fn nobody_is_surely_a_minority_while_the_mesh_forms() {
    assert!(!split().minority(3, at(5)));
}

#[test]
fn a_pause_or_a_crash_takes_an_agent_away() {
    let mut truth = split();
    truth.now = at(12);
    truth.paused(1);
    truth.now = at(14);
    truth.resumed(1);
    assert!(!truth.awake(1, at(13)) && truth.running(1, at(13)) && truth.awake(1, at(14)));
    assert_eq!(truth.last_pause(1, at(15)).map(|pause| pause.to), Some(at(14)));
    truth.now = at(16);
    truth.ended(1);
    assert!(!truth.running(1, at(16)) && truth.member(1, at(17)));
    assert!(truth.running_throughout(1, at(1), at(15)) && !truth.running_throughout(1, at(1), at(17)));
}

#[test]
fn a_bridge_reaches_all_but_joins_only_what_it_touches() {
    let text =
        "summary = \"t\"\n[[faults]]\nkind = \"partition\"\ngroups = [[0, 1], [3, 4]]\nfrom = \"20s\"\nto = \"40s\"\n";
    let mut truth = Truth::new(Scenario::new("t", &Plan::parse(text).unwrap(), 1).unwrap());
    (0..5).for_each(|agent| truth.started(agent));
    assert!(!truth.minority(2, at(30)), "the bridge reaches everybody");
    assert!(!truth.minority(0, at(30)), "itself, its neighbour and the bridge are three of five");
    assert!(!truth.cornered(0, at(30)));
    assert!(!truth.split_clean(at(25), at(30)) && truth.split_clean(at(5), at(19)));
    assert!(split().split_clean(at(15), at(45)), "a clean partition leaves no doubt who is where");
}

#[test]
fn instances_appear_as_their_faults_and_paths_have_it() {
    let truth = split();
    assert_eq!(truth.appearance(0, 3, at(10)), Appearance::Healthy);
    assert_eq!(truth.appearance(0, 3, at(30)), Appearance::Silent);
    assert_eq!(truth.appearance(0, 1, at(51)), Appearance::Refused);
    assert_eq!(truth.appearance(0, 1, at(53)), Appearance::Healthy);
    assert!(truth.reaches_throughout(1, 0, at(41), at(49)) && !truth.reaches_throughout(1, 0, at(41), at(51)));
    assert!(truth.well_throughout(1, at(0), at(90)) && !truth.well_throughout(0, at(0), at(90)));
}

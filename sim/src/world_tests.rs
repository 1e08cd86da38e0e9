//! Whole runs: of the library's plans, of drawn plans, twice of the same seed, and of a stand-in for the engine that tells what it got.

use crate::library;
use crate::plan::Plan;
use crate::report::Report;
use crate::runner::{self, Manner, Sweep};
use crate::swarm::Profile;

fn run(name: &str, plan: &Plan, seed: u64) -> Report {
    let manner = Manner { lines: None, stop_at_first: false, reproduce: String::new() };
    runner::run(name, plan, seed, manner).unwrap().0
}

fn clean(name: &str, seeds: &[u64]) {
    let (name, plan) = library::load(name).unwrap();
    for seed in seeds {
        let report = run(&name, &plan, *seed);
        assert!(report.clean(), "{}", report.text());
    }
}

macro_rules! clean_plans {
    ($($test:ident: $name:literal, $seeds:expr;)*) => {
        $(#[test] fn $test() { clean($name, &$seeds); })*

        /// Every plan of the library has its test.
        #[test]
        fn every_plan_is_run() {
            let tested = [$($name),*];
            let all: Vec<&str> = library::PLANS.iter().map(|(name, _)| *name).collect();
            assert_eq!(tested.as_slice(), all);
        }
    };
}

clean_plans! {
    steady: "steady", [1, 2];
    killed_instance: "killed-instance", [1, 2];
    hung_instance: "hung-instance", [1, 2];
    erroring_instance: "erroring-instance", [1, 2];
    flapping_instance: "flapping-instance", [1, 2];
    seen_by_few: "seen-by-few", [1, 2];
    killed_host: "killed-host", [1, 2];
    dead_agent: "dead-agent", [1, 2];
    split_3_2: "split-3-2", [1, 2];
    split_zones: "split-zones", [1, 2];
    one_way_cut: "one-way-cut", [1, 2];
    bridge: "bridge", [1, 2];
    isolated_agent: "isolated-agent", [1, 2];
    restart: "restart", [1, 2];
    restart_empty: "restart-empty", [1, 2];
    restart_stale: "restart-stale", [1, 2];
    restart_all: "restart-all", [1, 2];
    pause: "pause", [1, 2];
    pause_timers_first: "pause-timers-first", [1, 2];
    leave_and_return: "leave-and-return", [1, 2];
    cold_join: "cold-join", [1, 2];
    lossy: "lossy", [1, 2];
    slow_network: "slow-network", [1, 2];
    two_agents: "two-agents", [1, 2];
    lost_majority: "lost-majority", [1, 2];
    heal_50: "heal-50", [1];
}

fn swarm(seeds: (u64, u64)) -> Sweep {
    Sweep { profile: Profile::Swarm, seeds, agents: None, jobs: 2, limit: None }
}

#[test]
fn drawn_plans_are_clean() {
    let mut failed = Vec::new();
    let watch = |report: Option<&Report>| failed.extend(report.filter(|report| !report.clean()).map(Report::text));
    swarm((0, 6)).run(watch).unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_same_seed_gives_the_same_run_twice() {
    for seed in 0..3 {
        let (first, second) = (swarm((0, 1)).seed(seed).unwrap(), swarm((0, 1)).seed(seed).unwrap());
        assert_eq!(first.1.first_difference(&second.1), None, "seed {seed}");
        assert_eq!(first.0.trace_hash, second.0.trace_hash);
    }
}

#[test]
fn another_seed_gives_another_run() {
    let (_, plan) = library::load("killed-instance").unwrap();
    assert_ne!(run("t", &plan, 1).trace_hash, run("t", &plan, 2).trace_hash);
}

#[test]
fn a_dead_instance_is_detected_and_measured_on_every_agent() {
    let (name, plan) = library::load("killed-instance").unwrap();
    let report = run(&name, &plan, 5);
    assert_eq!((report.detections.len(), report.recoveries.len()), (5, 5), "{}", report.text());
    assert!(report.convergence_s.is_some() && report.false_down == 0 && report.bytes_per_agent_per_s > 0.0);
}

#[test]
fn the_trace_tells_what_was_true_and_what_was_said() {
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (name, plan) = library::load("killed-instance").unwrap();
    let lines = Shared::default();
    let manner = Manner { lines: Some(Box::new(lines.clone())), stop_at_first: false, reproduce: String::new() };
    let (with, _) = runner::run(&name, &plan, 1, manner).unwrap();
    assert_eq!(with.trace_hash, run(&name, &plan, 1).trace_hash, "being watched changes nothing");
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        kinds.insert(line["kind"].as_str().unwrap().to_owned());
    }
    for kind in ["run", "action", "link", "probe", "event", "certificate", "send"] {
        assert!(kinds.contains(kind), "{kind} is missing among {kinds:?}");
    }
}

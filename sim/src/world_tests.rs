//! Whole runs: of the library's plans, of drawn plans, twice of the same seed, and of a stand-in for the engine that tells what it got.

use crate::invariants::determinism::differ;
use crate::library;
use crate::plan::Plan;
use crate::report::Report;
use crate::runner::{self, Manner, Shard, Sweep};
use crate::scenario::{Interval, Scenario, Subject};
use crate::swarm::Profile;
use crate::time::SimTime;
use crate::trace::Trace;
use crate::trace::recording::Recording;
use crate::world::{World, view_of};
use quorate_core::Verdict;

fn run(name: &str, plan: &Plan, seed: u64) -> Report {
    runner::run(name, plan, seed, Manner::default()).unwrap().0
}

fn world_of(plan: &Plan, seed: u64) -> World {
    let scenario = Scenario::new("t", plan, seed).unwrap();
    let trace = Trace::new(&scenario, Recording::default());
    World::new(scenario, Manner::default().starter, trace)
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
    whole_service: "whole-service", [1, 2, 3, 4];
    brief_outage: "brief-outage", [1, 2];
    flapping_instance: "flapping-instance", [1, 2];
    seen_by_few: "seen-by-few", [1, 2];
    killed_host: "killed-host", [1, 2];
    dead_agent: "dead-agent", [1, 2];
    split_3_2: "split-3-2", [1, 2];
    split_zones: "split-zones", [1, 2];
    one_way_cut: "one-way-cut", [1, 2];
    bridge: "bridge", [1, 2];
    bridge_of_zones: "bridge-of-zones", [1, 2, 3, 4];
    isolated_agent: "isolated-agent", [1, 2];
    restart: "restart", [1, 2];
    restart_empty: "restart-empty", [1, 2];
    forgotten_copies: "forgotten-copies", [1, 2];
    restart_stale: "restart-stale", [1, 2];
    restart_all: "restart-all", [1, 2];
    five_return: "five-return", [1, 2];
    pause: "pause", [1, 2];
    pause_timers_first: "pause-timers-first", [1, 2];
    leave_and_return: "leave-and-return", [1, 2];
    cold_join: "cold-join", [1, 2];
    copies_of_two: "copies-of-two", [1, 2];
    lossy: "lossy", [1, 2];
    slow_network: "slow-network", [1, 2];
    one_agent: "one-agent", [1, 2];
    two_agents: "two-agents", [1, 2];
    few_observers: "few-observers", [1, 2];
    lost_observers: "lost-observers", [1, 2, 3];
    lost_zone: "lost-zone", [1, 2];
    lost_majority: "lost-majority", [1, 2];
    heal_50: "heal-50", [1];
    ring: "ring", [1, 2];
    lossy_agent: "lossy-agent", [1, 2];
    flapping_ingress: "flapping-ingress", [1, 2];
    delayed: "delayed", [1, 2];
    narrow_line: "narrow-line", [1, 2];
    broken_links: "broken-links", [1, 2];
    regions: "regions", [1, 2];
    slow_process: "slow-process", [1, 2];
    withdrawn_while_split: "withdrawn-while-split", [1, 2];
    wrong_clocks: "wrong-clocks", [1, 2];
    cloned_identity: "cloned-identity", [1, 2];
    rolling_restart: "rolling-restart", [1, 2];
    replaced_agents: "replaced-agents", [1, 2];
    growth: "growth", [2];
    join_storm: "join-storm", [1, 2];
    mass_leave: "mass-leave", [1, 2];
    slow_instance: "slow-instance", [1, 2];
    overloaded_instance: "overloaded-instance", [1, 2];
    second_opinion: "second-opinion", [1, 2];
    home_checks: "home-checks", [1, 2];
    core_heals: "core-heals", [1, 2];
    faulty_always_down: "faulty-always-down", [1, 2];
    faulty_always_up: "faulty-always-up", [1, 2];
    faulty_random: "faulty-random", [1, 2];
    faulty_replayer: "faulty-replayer", [1, 2];
    faulty_forger: "faulty-forger", [1, 2];
    faulty_inflater: "faulty-inflater", [1, 2];
    faulty_garbage: "faulty-garbage", [1, 2];
    calls_dead: "calls-dead", [1, 2];
    calls_hung: "calls-hung", [1, 2];
    calls_a_third_fails: "calls-a-third-fails", [1, 2];
    calls_a_third_of_callers: "calls-a-third-of-callers", [1, 2];
    calls_slow: "calls-slow", [1, 2];
    calls_one_broken_caller: "calls-one-broken-caller", [1, 2];
    calls_one_zones_path: "calls-one-zones-path", [1, 2];
    calls_liar: "calls-liar", [1, 2];
    calls_flapping: "calls-flapping", [1, 2];
    calls_partition: "calls-partition", [1, 2];
    calls_word_against_verdict: "calls-word-against-verdict", [1, 2];
    calls_word_survives: "calls-word-survives", [1, 2];
    calls_restart_while_open: "calls-restart-while-open", [1, 2];
    calls_late_results: "calls-late-results", [1, 2];
    calls_recovery_of_many: "calls-recovery-of-many", [1];
}

fn swarm(seeds: (u64, u64)) -> Sweep {
    Sweep { profile: Profile::Swarm, seeds, shard: Shard::WHOLE, agents: None, jobs: 2, limit: None }
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
        assert_eq!(differ(&first.1.cells, &second.1.cells), None, "seed {seed}");
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
fn a_formed_mesh_is_whole_from_the_start_and_survives_restarts() {
    let text = r#"
summary = "t"
duration = "20s"
[mesh]
agents = 12
start = "formed"
[[services]]
name = "web"
homes = [0, 5]
[[faults]]
kind = "target"
instance = "web@5"
mode = "dead"
from = "5s"
[[faults]]
kind = "crash"
agent = 3
at = "12s"
restart_at = "18s"
"#;
    let plan = Plan::parse(text).unwrap();
    let report = run("formed", &plan, 1);
    assert!(report.clean(), "{}", report.text());
    // The instance on all, the host on all others.
    assert_eq!(report.detections.iter().filter(|took| **took < 5.0).count(), 12 + 11, "{}", report.text());
    let quiet = Plan { faults: Vec::new(), ..plan };
    let (first, second) = (run("formed", &quiet, 1), run("formed", &quiet, 2));
    assert!(first.convergence_s.is_some_and(|took| took < 3.0), "{}", first.text());
    assert_ne!(first.trace_hash, second.trace_hash);
}

#[test]
fn in_a_settled_mesh_nothing_is_left_to_say() {
    let plan = |more: &str| {
        Plan::parse(&format!(
            "summary = \"t\"\nduration = \"30s\"\n[mesh]\nagents = 12\nzones = 3\nstart = \"settled\"\n\
             [[services]]\nname = \"web\"\nhomes = [0, 5, 7]\n{more}"
        ))
        .unwrap()
    };
    let quiet = run("settled", &plan(""), 1);
    assert!(quiet.clean(), "{}", quiet.text());
    let empty = run("empty", &Plan { services: Vec::new(), ..plan("") }, 1);
    let ratio = quiet.bytes_per_agent_per_s / empty.bytes_per_agent_per_s;
    assert!(ratio < 1.05, "{ratio}");
    let own = "[[services]]\nname = \"own\"\nhomes = [1]\nhome_only = true\n";
    let report = run("settled", &plan(own), 1);
    assert!(report.clean(), "what only its home sees gets its verdict by a look: {}", report.text());
    let dead = "[[faults]]\nkind = \"target\"\ninstance = \"web@5\"\nmode = \"dead\"\nfrom = \"8s\"\n";
    let report = run("settled", &plan(dead), 1);
    assert!(report.clean() && report.detections.len() == 12, "{}", report.text());
}

/// Whoever they are, that four of an instance's five observers vanish at once costs no more than the time to see that they have.
#[test]
fn four_of_five_observers_lost_are_replaced() {
    for seed in [1, 2, 3] {
        let text = "summary = \"t\"\nduration = \"60s\"\n[mesh]\nagents = 12\nstart = \"settled\"\n\
                    [[services]]\nname = \"web\"\nhomes = [0]\n";
        let id = quorate_core::InstanceId::new("web@0").unwrap();
        let mut world = world_of(&Plan::parse(text).unwrap(), seed);
        world.advance(SimTime::from_ms(3_000), |_| false);
        let observers: Vec<usize> = {
            let view = view_of(&world.hosts[0]).unwrap();
            let agents = view.instances[&id].observers.iter().map(|observer| observer.agent);
            agents.filter_map(|agent| world.truth.scenario.agent(agent)).filter(|agent| *agent != 0).collect()
        };
        let crash = |agent: &usize| format!("[[faults]]\nkind = \"crash\"\nagent = {agent}\nat = \"10s\"\n");
        let crashes: String = observers.iter().take(4).map(crash).collect();
        let dead = "[[faults]]\nkind = \"target\"\ninstance = \"web@0\"\nmode = \"dead\"\nfrom = \"25s\"\n";
        let plan = Plan::parse(&format!("{text}{crashes}{dead}")).unwrap();
        let report = run("t", &plan, seed);
        assert!(report.clean(), "{}", report.text());
        // Hosts are among them: each of four on eight others, and the instance on eight.
        assert_eq!(report.detections.len(), 4 * 8 + 8, "{}", report.text());
        let mut world = world_of(&plan, seed);
        world.run();
        let when = Interval { from: SimTime::from_ms(25_000), to: SimTime::NEVER };
        let down = |agent| world.checks.timeline.reached(Subject::Instance(0), agent, Verdict::Down, when);
        let took: Vec<_> = (0..12).filter_map(down).map(|at| at.since(when.from)).collect();
        assert!(took.len() == 8 && took.iter().all(|took| took.as_secs() < 5), "{took:?}");
    }
}

/// Accusations travel no faster than the answers to them: by a third of the callers alone nobody is condemned before the others are heard. Which of them
/// speak first is chance.
#[test]
fn callers_who_are_served_are_let_through_beside_those_who_fail() {
    let plan = library::load("calls-a-third-of-callers").unwrap().1;
    let (mut served, mut rejected) = (0, 0);
    for seed in 1..=4 {
        let mut world = world_of(&plan, seed);
        world.run();
        let counted = &world.callers.tallies().next().unwrap().by_calls[&0];
        served += counted.admitted - counted.doomed;
        rejected += counted.rejected_well;
    }
    assert!(served > 10_000 && rejected * 6 < served, "{rejected} rejected, {served} served");
}

/// Who hears that an agent counts no longer before it hears that it has left, and who hears it the other way round, have the same in the end.
#[test]
fn after_many_have_left_the_rest_have_nothing_to_tell_each_other() {
    let leavers: Vec<usize> = (0..100).step_by(3).collect();
    let plan = Plan::parse(&format!(
        "summary = \"t\"\nduration = \"45s\"\n[mesh]\nagents = 100\nstart = \"settled\"\n\
         [[faults]]\nkind = \"mass-leave\"\nagents = {leavers:?}\nfrom = \"2s\"\nto = \"4s\"\n"
    ));
    let mut world = world_of(&plan.unwrap(), 1);
    let mut sent_by = |s: u64| {
        world.advance(SimTime::from_ms(1_000 * s), |_| false);
        world.truth.sent.iter().sum::<u64>()
    };
    let (before, after) = (sent_by(20), sent_by(40));
    let each = (after - before) / 20 / 66;
    assert!(each < 80, "{each} bytes a second");
}

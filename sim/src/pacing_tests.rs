//! When observers probe: at once when another asks, faster while a vote may change, at another pace while the instance is down.

use crate::library;
use crate::node;
use crate::plan::Plan;
use crate::process_tests::{Lines, told};
use crate::scenario::Scenario;
use crate::trace::Trace;
use crate::trace::recording::Recording;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// What a run tells, sends included.
pub(crate) fn lines(plan: &Plan, seed: u64) -> Vec<serde_json::Value> {
    let scenario = Scenario::new("t", plan, seed).unwrap();
    let lines = Lines::default();
    let mut recording = Recording::default();
    recording.writer = Some(Box::new(lines.clone()));
    recording.sends = true;
    let trace = Trace::new(&scenario, recording);
    let mut world = World::new(scenario, Box::new(node::engine), trace);
    world.run();
    assert!(world.checks.violations.is_empty());
    told(&lines)
}

/// Each observer's probes of `web@1`, which dies at 30 s and revives at 60 s: start in milliseconds, and whether it failed.
fn probes(pace: &str) -> BTreeMap<String, Vec<(u64, bool)>> {
    let text = format!(
        "summary = \"t\"\nduration = \"75s\"\n[mesh]\nagents = 6\nstart = \"formed\"\n\
         [[services]]\nname = \"web\"\nhomes = [1]\nperiod = \"10s\"\n{pace}\n\
         [[faults]]\nkind = \"target\"\ninstance = \"web@1\"\nmode = \"dead\"\nfrom = \"30s\"\nto = \"60s\"\n"
    );
    let lines = lines(&Plan::parse(&text).unwrap(), 1);
    let mut found: BTreeMap<String, Vec<(u64, bool)>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["kind"] == "probe") {
        let started = line["started_ns"].as_u64().unwrap() / 1_000_000;
        let failed = line["result"].to_string().contains("refused");
        found.entry(line["agent"].as_str().unwrap().to_owned()).or_default().push((started, failed));
    }
    assert!(found.len() >= 5, "all observers probe: {found:?}");
    found
}

fn firsts(probes: &BTreeMap<String, Vec<(u64, bool)>>, failed: bool, after: u64) -> Vec<u64> {
    let first = |all: &Vec<(u64, bool)>| all.iter().find(|(at, f)| *f == failed && *at >= after).map(|(at, _)| *at);
    probes.values().filter_map(first).collect()
}

fn spread(times: &[u64]) -> u64 {
    times.iter().max().unwrap() - times.iter().min().unwrap()
}

#[test]
fn whoever_sees_a_failure_first_asks_the_others() {
    let probes = probes("");
    let failures = firsts(&probes, true, 30_000);
    assert!(failures.len() >= 5 && spread(&failures) < 100, "the others look at once: {failures:?}");
    let again = firsts(&probes, false, 60_000);
    assert!(again.len() >= 5 && spread(&again) < 100, "and when it answers again: {again:?}");
    for (agent, all) in &probes {
        let well: Vec<u64> = all.iter().map(|(at, _)| *at).filter(|at| *at < 30_000).collect();
        let gaps: Vec<u64> = well.windows(2).map(|two| two[1] - two[0]).collect();
        // The first look is soon, and tells nothing of its place in the period.
        assert!(gaps[0] <= 10_000, "{agent} looks again within a period: {well:?}");
        assert!(gaps[1..].iter().all(|gap| *gap == 10_000), "{agent} keeps its period while all is well: {well:?}");
    }
}

#[test]
fn a_first_failure_makes_probes_fast_and_a_verdict_gives_them_their_pace() {
    let probes = probes("fast_interval = \"200ms\"\ndown_interval = \"3s\"");
    for (agent, all) in &probes {
        let failed: Vec<u64> = all.iter().filter(|(_, failed)| *failed).map(|(at, _)| *at).collect();
        let gaps: Vec<u64> = failed.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(gaps[..2].iter().all(|gap| *gap <= 200), "{agent} is fast until the threshold: {failed:?}");
        assert!(gaps[2..].iter().all(|gap| *gap == 3000), "{agent} then probes every three seconds: {failed:?}");
    }
}

/// The same where it takes long to fail, so that the next place of the grid comes meanwhile.
const BRIEFLY_HUNG: &str = "summary = \"t\"\nduration = \"60s\"\n[mesh]\nagents = 5\nstart = \"settled\"\n[[services]]\nname = \"web\"\n\
     homes = [0, 1, 2, 3, 4]\nperiod = \"10s\"\ntimeout = \"3s\"\nfailure_threshold = 2\n";

#[test]
fn what_is_over_before_the_threshold_can_be_passed_is_not_declared() {
    let hung = |n: u64| {
        format!(
            "[[faults]]\nkind = \"target\"\ninstance = \"web@{n}\"\nmode = \"hung\"\nfrom = \"20s\"\nto = \"29s\"\n"
        )
    };
    let hung = Plan::parse(&format!("{BRIEFLY_HUNG}{}", (0..5).map(hung).collect::<String>())).unwrap();
    let (_, dead) = library::load("brief-outage").unwrap();
    for (plan, seeds) in [(dead, 1..=8), (hung, 1..=8)] {
        assert_eq!(declared_down(&plan, seeds), 0);
    }
}

fn declared_down(plan: &Plan, seeds: std::ops::RangeInclusive<u64>) -> usize {
    let mut declared = 0;
    for seed in seeds {
        let lines = lines(plan, seed);
        let asked = lines.iter().filter(|line| line["kind"] == "send" && line["packet"] == "look_now").count();
        assert!(asked > 0, "somebody has seen it and asked the others");
        declared += lines.iter().filter(|line| line["kind"] == "certificate" && line["verdict"] == "down").count();
    }
    declared
}

/// A delta of more than this tells of many agents.
const LARGE_DELTA_BYTES: u64 = 8000;

#[test]
fn whoever_returns_is_told_what_it_missed_by_a_few() {
    let (_, plan) = library::load("five-return").unwrap();
    let mut tellers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in lines(&plan, 1) {
        let at = line["t_ns"].as_u64().unwrap_or(0);
        let soon = (50_000_000_000..51_000_000_000).contains(&at);
        if soon && line["packet"] == "delta" && line["bytes"].as_u64() > Some(LARGE_DELTA_BYTES) {
            let name = |key: &str| line[key].as_str().unwrap().to_owned();
            tellers.entry(name("to")).or_default().insert(name("agent"));
        }
    }
    let few = tellers.values().map(BTreeSet::len).max();
    assert!(few.is_some_and(|few| few <= 8), "of nineteen: {tellers:?}");
}

/// The way between zones becomes three times as long, as when it leads another way round: nobody gives up its majority for that.
#[test]
fn a_longer_way_costs_no_quorum() {
    let text = "summary = \"t\"\nduration = \"100s\"\n[mesh]\nagents = 9\nzones = 3\nstart = \"joining\"\n\
         [network]\nbetween_zones_us = [[0, 50000, 50000], [50000, 0, 50000], [50000, 50000, 0]]\n\
         [[services]]\nname = \"web\"\nhomes = [0, 1, 2, 3]\nperiod = \"2s\"\ntimeout = \"1900ms\"\n\
         [[faults]]\nkind = \"delay\"\nextra_us = [110000, 112000]\nfrom = \"30s\"\nto = \"90s\"\n\
         [[faults]]\nkind = \"target\"\ninstance = \"web@1\"\nmode = \"dead\"\nfrom = \"60s\"\nto = \"80s\"\n";
    let lines = lines(&Plan::parse(text).unwrap(), 1);
    let at = |line: &serde_json::Value| line["t_ns"].as_u64().unwrap() / 1_000_000_000;
    let told = lines.iter().filter(|line| line["kind"] == "event" && line["event"]["type"] == "quorate");
    let (before, after): (Vec<_>, Vec<_>) = told.partition(|line| at(line) < 30);
    assert!(before.len() >= 9 && after.is_empty(), "{after:?}");
}

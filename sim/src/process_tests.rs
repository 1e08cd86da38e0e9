//! What is wrong with a process, an identity, a clock or a target shows in what the agents do.

use crate::node;
use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::trace::Trace;
use crate::trace::recording::Recording;
use crate::world::World;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What was told so far, line by line.
pub(crate) fn told(lines: &Lines) -> Vec<Value> {
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Five agents that have long known each other, two instances and one fault; the world after the run, and its lines.
fn run(duration: &str, fault: &str) -> (World, Vec<Value>) {
    let text = format!(
        "summary = \"t\"\nduration = \"{duration}\"\n[mesh]\nstart = \"formed\"\nclock_offset = \"0s\"\n\
         [[services]]\nname = \"web\"\nhomes = [0, 4]\n[[faults]]\n{fault}\n"
    );
    run_plan(&text)
}

fn run_plan(text: &str) -> (World, Vec<Value>) {
    let scenario = Scenario::new("t", &Plan::parse(text).unwrap(), 1).unwrap();
    let lines = Lines::default();
    let mut recording = Recording::default();
    recording.writer = Some(Box::new(lines.clone()));
    recording.sends = true;
    let trace = Trace::new(&scenario, recording);
    let mut world = World::new(scenario, Box::new(node::engine), trace);
    world.run();
    (world, told(&lines))
}

fn broken(world: &World) -> Vec<String> {
    world.checks.violations.iter().map(|violation| format!("{}: {}", violation.invariant, violation.detail)).collect()
}

/// What became of an agent's process, each time with the second.
fn states(lines: &[Value], agent: &str) -> Vec<String> {
    let of = lines.iter().filter(|line| line["kind"] == "process" && line["agent"] == agent);
    let told = |line: &Value| {
        format!("{} {}", line["state"].as_str().unwrap(), line["t_ns"].as_u64().unwrap() / 1_000_000_000)
    };
    of.map(told).collect()
}

/// What the probes of `web@0` by other agents came to, from 10 s to 20 s.
fn probes(lines: &[Value]) -> Vec<String> {
    let of_fault = |line: &&Value| {
        line["kind"] == "probe"
            && line["instance"] == "web@0"
            && line["agent"] != "a0"
            && (10_000_000_000..20_000_000_000).contains(&line["started_ns"].as_u64().unwrap())
    };
    lines.iter().filter(of_fault).map(|line| line["result"].to_string()).collect()
}

fn target(how: &str) -> Vec<String> {
    let fault = format!("kind = \"target\"\ninstance = \"web@0\"\nfrom = \"10s\"\nto = \"20s\"\n{how}");
    let (world, lines) = run("22s", &fault);
    assert_eq!(broken(&world), Vec::<String>::new(), "{how}");
    probes(&lines)
}

#[test]
fn a_slow_process_handles_one_input_after_the_other() {
    let slow = "kind = \"slow\"\nagents = [1]\nper_input = \"300ms\"\nfrom = \"10s\"\nto = \"20s\"";
    let (world, lines) = run("40s", slow);
    let longest = |agent: &str| {
        let probes = lines.iter().filter(|line| line["kind"] == "probe" && line["agent"] == agent);
        probes.map(|line| (line["t_ns"].as_u64().unwrap() - line["started_ns"].as_u64().unwrap()) / 1_000_000).max()
    };
    assert!(longest("a1") > Some(2000), "what waits has waited long: {:?} ms", longest("a1"));
    assert!(longest("a2") < Some(100), "the others are as fast as ever: {:?} ms", longest("a2"));
    assert_eq!(broken(&world), Vec::<String>::new());
}

#[test]
fn a_process_stands_still_until_no_pause_holds_it() {
    let pause = |(from, to): (u32, u32)| format!("kind = \"pause\"\nagent = 1\nfrom = \"{from}s\"\nto = \"{to}s\"");
    for (one, other) in [((30, 40), (35, 60)), ((35, 60), (30, 40)), ((30, 60), (35, 40)), ((40, 60), (30, 40))] {
        let (_, lines) = run("65s", &format!("{}\n[[faults]]\n{}", pause(one), pause(other)));
        assert_eq!(states(&lines, "a1"), ["up 0", "paused 30", "up 60"], "{one:?} and {other:?}");
    }
}

/// Nobody can let it in before its host goes dark, and everybody can while it is.
#[test]
fn who_has_yet_to_join_does_not_come_up_on_a_dark_host() {
    let late = "kind = \"join\"\nagent = 4\nat = \"10s\"\n[[faults]]\nkind = \"isolate\"\nagents = [0, 1, 2, 3]\nfrom = \"6s\"\nto = \"20s\"\n\
                [[faults]]\nkind = \"crash\"\nagent = 4\nat = \"15s\"\nrestart_at = \"45s\"";
    let (_, lines) = run("60s", late);
    let states = states(&lines, "a4");
    assert!(states == ["up 45"] || states == ["up 46"], "{states:?}");
}

#[test]
fn a_host_that_is_dark_at_the_start_comes_up_when_it_restarts() {
    for at in ["0s", "1ms"] {
        let text = format!(
            "summary = \"t\"\nduration = \"40s\"\n[[services]]\nname = \"web\"\nhomes = [0]\n\
             [[faults]]\nkind = \"crash\"\nagent = 3\nat = \"{at}\"\nrestart_at = \"20s\"\n"
        );
        let (_, lines) = run_plan(&text);
        assert_eq!(states(&lines, "a3"), ["up 20"], "{at}");
    }
}

#[test]
fn clocks_drift_and_leap() {
    let ahead = |fault: &str| {
        let (mut world, _) = run("42s", fault);
        assert_eq!(broken(&world), Vec::<String>::new());
        let mut shown = |agent: usize| world.hosts[agent].process.as_mut().unwrap().node.view().at.0.cast_signed();
        shown(1) - shown(0)
    };
    let fast = ahead("kind = \"drift\"\nagent = 1\nppm = 100000\nfrom = \"10s\"\nto = \"40s\"");
    assert!((1500..4500).contains(&fast), "three seconds in thirty, and views are up to a second old: {fast}");
    let back = ahead("kind = \"clock-step\"\nagent = 1\nat = \"20s\"\nby_ms = -60000");
    assert!((-61_500..-58_500).contains(&back), "{back}");
}

#[test]
fn a_clone_is_refused_where_the_original_answers_and_let_in_where_it_does_not() {
    let clone = "kind = \"clone\"\nagent = 2\nfrom = \"20s\"\nto = \"40s\"";
    let links = |lines: &[Value]| {
        let up = |line: &&Value| line["kind"] == "link" && line["agent"] == "a2'" && line["up"] == true;
        lines.iter().filter(up).count()
    };
    let (world, lines) = run("60s", clone);
    assert!(lines.iter().any(|line| line["kind"] == "send" && line["agent"] == "a2'"), "it lives and tries");
    assert_eq!((links(&lines), broken(&world)), (0, Vec::new()));
    let gone = "[[faults]]\nkind = \"isolate\"\nagents = [1]\nfrom = \"21s\"\nto = \"22s\"\n[[faults]]\nkind = \"crash\"\nagent = 2\n\
                at = \"8s\"\nrestart_at = \"30s\"";
    let (world, lines) = run("80s", &format!("{clone}\n{gone}"));
    assert!(links(&lines) >= 4, "{}", links(&lines));
    assert_eq!(broken(&world), Vec::<String>::new());
}

#[test]
fn a_slow_target_passes_until_it_takes_longer_than_the_timeout() {
    let late = target("mode = \"slow\"\nanswer_after = \"400ms\"");
    assert!(late.len() > 20 && late.iter().all(|result| !result.contains("fail")), "{late:?}");
    let too_late = target("mode = \"slow\"\nanswer_after = \"600ms\"");
    assert!(too_late.len() > 20 && too_late.iter().all(|result| result.contains("timeout")), "{too_late:?}");
}

#[test]
fn an_overloaded_target_fails_the_probes_that_are_too_many() {
    let results = target("mode = \"overloaded\"\nprobes_per_s = 3");
    let failed = results.iter().filter(|result| result.contains("status")).count();
    assert!(failed > 5 && failed < results.len(), "{failed} of {}", results.len());
    let enough = target("mode = \"overloaded\"\nprobes_per_s = 30");
    assert!(enough.iter().all(|result| !result.contains("status")), "{enough:?}");
}

#[test]
fn a_silent_target_answers_nobody() {
    let results = target("mode = \"silent\"");
    assert!(results.len() > 20 && results.iter().all(|result| result.contains("timeout")), "{results:?}");
}

#[test]
fn probes_alone_can_be_lost() {
    let loss = "kind = \"loss\"\nper_mille = 1000\nonly = \"probe\"\nsenders = [1]\nfrom = \"10s\"\nto = \"20s\"";
    let (world, lines) = run("30s", loss);
    let failed = |agent: &str| {
        let by = lines.iter().filter(|line| line["kind"] == "probe" && line["agent"] == agent);
        by.filter(|line| line["result"].to_string().contains("timeout")).count()
    };
    assert!(failed("a1") > 5 && failed("a2") == 0);
    assert_eq!(broken(&world), Vec::<String>::new());
}

/// An agent that has lost its disk numbers its records as it did before. Written while it was cut off, they are pushed to nobody; and by the time it is
/// back its list may be as long as the one that the others hold. Then nobody noticed, in one run of ten.
#[test]
fn numbers_given_twice_while_cut_off_are_noticed() {
    let text = r#"
summary = "Agents restart one after the other without their disks; the last one comes up cut off."
duration = "100ms"
network = { latency_us = [100, 5000] }
services = [{ name = "s0", homes = [4] }, { name = "s2", homes = [3] }]
calls = [{ instance = "s0@4", every = "200ms", from = "1204ms", to = "58607ms" }]
[[faults]]
kind = "rolling-restart"
agents = [0, 1, 2, 3]
disk = "lose"
down = "4106ms"
every = "669ms"
from = "15s"
[[faults]]
kind = "partition"
from = "20840ms"
groups = [[0, 1, 2, 4], [3]]
to = "22516ms"
"#;
    let plan = Plan::parse(text).unwrap();
    for seed in (1..=30).chain([313_356]) {
        let scenario = Scenario::new("t", &plan, seed).unwrap();
        let trace = Trace::new(&scenario, Recording::default());
        let mut world = World::new(scenario, Box::new(node::engine), trace);
        world.run();
        assert_eq!(broken(&world), Vec::<String>::new(), "seed {seed}");
    }
}

/// A verdict that an agent missed while it was cut off holds although who signed it has left meanwhile, and no longer has a place among the observers.
#[test]
fn a_verdict_signed_by_one_that_has_left_since_is_believed() {
    let text = r#"
summary = "The home of an instance with one observer is cut off, and the observer that saw that leaves."
duration = "100ms"
mesh = { agents = 19, start = "formed" }
network = { ordered = true }
services = [{ name = "s2", homes = [17], observers = 1 }]
[[faults]]
kind = "isolate"
agents = [17]
from = "15s"
to = "20690ms"
[[faults]]
kind = "leave"
agent = 14
at = "19790ms"
"#;
    let plan = Plan::parse(text).unwrap();
    let scenario = Scenario::new("t", &plan, 424_785).unwrap();
    let trace = Trace::new(&scenario, Recording::default());
    let mut world = World::new(scenario, Box::new(node::engine), trace);
    world.run();
    assert_eq!(broken(&world), Vec::<String>::new());
}

/// Of a service half of which is down already a further instance is found down by all its observers or not at all: one that lies may keep it up, and
/// that is no fault. Without the liar it is down.
#[test]
fn one_may_save_the_last_of_a_service() {
    for liar in ["[[faults]]\nkind = \"faulty\"\nagent = 2\nbehaviour = \"always-up\"\nfrom = \"15s\"\n", ""] {
        let text = format!(
            "summary = \"t\"\nduration = \"32440ms\"\nmesh = {{ agents = 7 }}\nservices = [{{ name = \"s1\", homes = [0, 1] }}]\n\
             [[faults]]\nkind = \"replace\"\nagents = [0, 1]\nby = [4, 5]\nafter = \"4595ms\"\nevery = \"2110ms\"\nfrom = \"17342ms\"\n{liar}"
        );
        let scenario = Scenario::new("t", &Plan::parse(&text).unwrap(), 529_058).unwrap();
        let trace = Trace::new(&scenario, Recording::default());
        let mut world = World::new(scenario, Box::new(node::engine), trace);
        world.run();
        assert_eq!(broken(&world), Vec::<String>::new(), "{liar}");
    }
}

/// Who has restarted counts the outages of a breaker from the first again: what it sees of the next is news to those who know of earlier ones.
#[test]
fn who_has_forgotten_an_outage_is_believed_about_the_next() {
    let text = "summary = \"t\"\nduration = \"100s\"\n[mesh]\nagents = 3\nstart = \"formed\"\n\
         [[calls]]\ninstance = \"api@1\"\nevery = \"100ms\"\nfrom = \"5s\"\nto = \"95s\"\n\
         [[calls.troubles]]\nmode = \"refused\"\nfrom = \"20s\"\nto = \"22s\"\n\
         [[calls.troubles]]\nmode = \"refused\"\nfrom = \"80s\"\nto = \"90s\"\n\
         [[faults]]\nkind = \"crash\"\nagent = 2\nat = \"60s\"\nrestart_at = \"62s\"\n";
    for seed in [2, 5] {
        let lines = crate::pacing_tests::lines(&Plan::parse(text).unwrap(), seed);
        let opens = |line: &&serde_json::Value| line["event"]["type"] == "breaker" && line["event"]["state"] == "open";
        let late = lines.iter().filter(opens).filter(|line| line["t_ns"].as_u64().unwrap() > 80_000_000_000);
        let opened: BTreeSet<_> = late.map(|line| line["agent"].as_str().unwrap()).collect();
        assert_eq!(opened, BTreeSet::from(["a0", "a1", "a2"]), "seed {seed}");
    }
}

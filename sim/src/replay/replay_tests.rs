//! Every agent of a simulated run is recorded, and each recording replayed when its process ends; and clocks that jump.

use crate::node::{self, Node, Starter};
use crate::plan::{Fault, Plan, Start};
use crate::report::Report;
use crate::runner::Manner;
use crate::scenario::Scenario;
use crate::swarm::{self, Profile};
use crate::trace::Trace;
use crate::world::World;
use crate::{library, runner};
use quorate_core::{Mono, Now, UnixMs};
use quorate_mesh::recording::{Recorded, Replay, Summary};
use quorate_mesh::{
    Acquaintance, Engine, EngineConfig, Formation, Glance, Input, Keys, MeshView, Output, StartError, Testimony,
};
use std::cell::RefCell;
use std::time::Duration;

thread_local! {
    /// How each replay of this test went.
    static REPLAYED: RefCell<Vec<Summary>> = const { RefCell::new(Vec::new()) };
}

/// An engine that is recorded, and replayed when its process ends.
struct Taped {
    engine: Recorded,
    bytes: Vec<u8>,
}

impl Taped {
    fn keep(&mut self) {
        self.bytes.extend(self.engine.take_recording().bytes);
    }
}

impl Drop for Taped {
    fn drop(&mut self) {
        self.keep();
        let mut replay = Replay::open(&self.bytes).expect("a recording");
        while replay.step().expect("a whole one").is_some() {}
        REPLAYED.with_borrow_mut(|all| all.push(replay.summary()));
    }
}

impl Node for Taped {
    fn handle(&mut self, now: Now, input: Input) {
        self.engine.handle(now, input);
        if self.engine.recorded_bytes() > 4096 {
            self.keep();
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.engine.poll_output()
    }

    fn state(&self) -> Vec<u8> {
        self.engine.state()
    }

    fn next_wakeup(&self) -> Mono {
        self.engine.next_wakeup()
    }

    fn view_changed(&self) -> bool {
        self.engine.view_changed()
    }

    fn glance(&mut self) -> Glance {
        self.engine.glance()
    }

    fn view(&mut self) -> MeshView {
        self.engine.view()
    }

    fn acquaintance(&self) -> Option<Acquaintance> {
        panic!("a real mesh is not formed by decree, nor recorded in one")
    }

    fn form(&mut self, _all: &Formation) {
        panic!("a real mesh is not formed by decree, nor recorded in one")
    }
}

fn taped(
    config: EngineConfig,
    stored: Option<&[u8]>,
    keys: Box<dyn Keys>,
    now: Now,
) -> Result<Box<dyn Node>, StartError> {
    Ok(Box::new(Taped { engine: Recorded::new(config, stored, keys, now, true)?, bytes: Vec::new() }))
}

fn run(name: &str, plan: &Plan, seed: u64, starter: Starter) -> (Report, u64) {
    let scenario = Scenario::new(name, plan, seed).unwrap();
    let trace = Trace::new(&scenario, crate::trace::recording::Recording::default());
    let mut world = World::new(scenario, Box::new(starter), trace);
    world.run();
    let report = Report::of(&world, Duration::from_secs(1), String::new());
    (report, world.trace.hash())
}

/// Runs a plan twice, recorded and not, and checks that this makes no difference and that every recording replays the same.
fn replays(name: &str, plan: &Plan, seed: u64, processes_at_least: usize) {
    let (_, hash) = run(name, plan, seed, taped);
    let replayed = REPLAYED.take();
    assert!(replayed.len() >= processes_at_least, "{name}: {} processes", replayed.len());
    for summary in &replayed {
        assert_eq!((&summary.difference, summary.torn_bytes), (&None, 0), "{name}, seed {seed}");
    }
    let inputs: u64 = replayed.iter().map(|summary| summary.inputs).sum();
    let (report, trace) = runner::run(name, plan, seed, Manner::default()).unwrap();
    assert_eq!((hash, inputs), (trace.hash(), report.events), "{name}, seed {seed}");
}

#[test]
fn what_simulated_agents_record_replays_the_same() {
    for (name, processes) in
        [("restart", 6), ("restart-stale", 6), ("pause", 5), ("split-3-2", 5), ("leave-and-return", 6)]
    {
        let (name, plan) = library::load(name).unwrap();
        replays(&name, &plan, 3, processes);
    }
}

#[test]
fn so_it_does_in_drawn_plans() {
    for seed in 100..106 {
        let mut plan = swarm::plan(Profile::Swarm, seed, Some(5));
        // A real mesh is not formed by decree, and a recording is of one process.
        plan.mesh.start = Start::Joining;
        plan.faults.retain(|fault| !matches!(fault, Fault::Clone { .. }));
        replays("drawn", &plan, seed, 5);
    }
}

/// An engine whose wall clock jumps by an hour, forward or back, while the monotonic one goes on.
struct Stepped(Engine);

impl Node for Stepped {
    fn handle(&mut self, now: Now, input: Input) {
        const HOUR_MS: u64 = 3_600_000;
        // Not all at once: each agent after a time of its own, and every third not at all.
        let offset = now.wall.0 % 7;
        let wall = match now.mono.0 / 1_000_000_000 {
            second if second > 29 + offset && offset.is_multiple_of(2) => now.wall.0 + HOUR_MS,
            second if second > 29 && offset.is_multiple_of(3) => now.wall.0 - HOUR_MS,
            _ => now.wall.0,
        };
        Engine::handle(&mut self.0, Now { mono: now.mono, wall: UnixMs(wall) }, input);
    }

    fn poll_output(&mut self) -> Option<Output> {
        Engine::poll_output(&mut self.0)
    }

    fn state(&self) -> Vec<u8> {
        Engine::state(&self.0)
    }

    fn next_wakeup(&self) -> Mono {
        Engine::next_wakeup(&self.0)
    }

    fn view_changed(&self) -> bool {
        Engine::view_changed(&self.0)
    }

    fn glance(&mut self) -> Glance {
        Engine::glance(&mut self.0)
    }

    fn view(&mut self) -> MeshView {
        Engine::view(&mut self.0)
    }

    fn acquaintance(&self) -> Option<Acquaintance> {
        Some(Engine::acquaintance(&self.0))
    }

    fn testify(&mut self, mesh: &Formation) -> Option<Testimony> {
        Some(Engine::testify(&mut self.0, mesh))
    }

    fn form(&mut self, all: &Formation) {
        Engine::form(&mut self.0, all);
    }
}

fn stepped(
    config: EngineConfig,
    stored: Option<&[u8]>,
    keys: Box<dyn Keys>,
    now: Now,
) -> Result<Box<dyn Node>, StartError> {
    Ok(Box::new(Stepped(Engine::new(config, stored, keys, now)?)))
}

/// The wall clocks of most agents jump back or forth by an hour from half a minute on, as under a broken time service. All happens as it
/// does otherwise, packet by packet. (The promises about signatures cannot be checked: the simulator reads their moment from these clocks.)
#[test]
fn wall_clocks_that_jump_change_nothing() {
    for name in ["killed-instance", "killed-host", "split-3-2", "restart"] {
        let (name, plan) = library::load(name).unwrap();
        let (report, hash) = run(&name, &plan, 4, stepped);
        let (straight, straight_hash) = run(&name, &plan, 4, node::engine);
        assert_ne!(hash, straight_hash, "{name}: no clock jumped");
        let times = |report: &Report| (report.detections.clone(), report.recoveries.clone(), report.convergence_s);
        assert_eq!(times(&report), times(&straight), "{name}");
        assert_eq!((report.events, report.packets), (straight.events, straight.packets), "{name}");
    }
}

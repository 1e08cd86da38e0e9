//! Many checks on one agent: how late its probes begin, and how much memory it takes.
//!
//! An agent is home to 4,096 instances at most. So three share them, and each observes all: the one that is measured on a core of its own, the
//! others where there is room.

use crate::histogram::Histogram;
use crate::scene::{Agent, Service};
use crate::{Bench, Spread};
use std::time::{Duration, Instant};

const AGENTS: usize = 3;
/// Unless the bench is told another number.
pub const CHECKS: usize = 10_000;
const PERIOD: Duration = Duration::from_secs(10);
/// From the moment when all are known until everything runs evenly.
const SETTLING: Duration = Duration::from_secs(25);
/// Probes that must have begun for a measurement to count, in percent of those that were due.
const BEGUN_PERCENT: f64 = 97.0;
const MAX_LAG_MS: f64 = 50.0;
const MAX_MEMORY_MB: f64 = 250.0;

/// Measures, as often as the bench repeats, over two periods at least.
pub fn schedule(bench: &mut Bench) {
    let share = bench.checks.div_ceil(AGENTS);
    let services =
        |agent: usize| -> [Service; 1] { [Service { name: format!("shop-{agent}"), instances: share, period: "10s" }] };
    let measured = Agent::start(&services(0));
    let checks = share * AGENTS;
    let mut others = Vec::new();
    for agent in 1..AGENTS {
        // Who has just begun to look at thousands of instances has no time for those who join.
        measured.await_up(share * agent);
        others.push(measured.another_aside(&services(agent)));
    }
    measured.await_up(checks);
    others.iter().for_each(|agent: &Agent| agent.await_instances(checks));
    std::thread::sleep(SETTLING);
    let lag = || Histogram::read(&measured.text("/metrics"), "quorate_probe_lag_seconds");
    let (mut p99_ms, mut begun_percent, mut memory_mb) = (Spread(vec![]), Spread(vec![]), Spread(vec![]));
    let before_all = measured.processor_time();
    let begun_all = Instant::now();
    for _ in 0..bench.repeats {
        let (before, begun) = (lag(), Instant::now());
        std::thread::sleep(bench.time.max(PERIOD * 2));
        let seen = lag().since(&before);
        let due = checks as f64 * begun.elapsed().as_secs_f64() / PERIOD.as_secs_f64();
        p99_ms.0.push(seen.percentile(0.99) * 1e3);
        begun_percent.0.push(seen.count() / due * 100.0);
        memory_mb.0.push(measured.memory_bytes() / 1e6);
    }
    let load = (measured.processor_time() - before_all) / begun_all.elapsed().as_secs_f64();
    println!(
        "{checks} checks: {} of what was due began; {:.0} % of a core",
        begun_percent.shown(" %", 1),
        load * 100.0
    );
    let on_time = p99_ms.median() < MAX_LAG_MS && begun_percent.median() >= BEGUN_PERCENT;
    bench.figure(
        "checks each 10 s on one agent (goal: 10,000): schedule lag p99",
        "< 50 ms",
        format!("{} with {checks}", p99_ms.shown(" ms", 2)),
        on_time,
    );
    let small = memory_mb.median() < MAX_MEMORY_MB;
    bench.figure(
        "checks each 10 s on one agent (goal: 10,000): memory",
        "< 250 MB",
        format!("{} with {checks}", memory_mb.shown(" MB", 0)),
        small,
    );
}

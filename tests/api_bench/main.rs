//! The figures of the API, and of many checks on one agent, on real agents: `cargo run --release -p quorate-tests --bin api-bench`. Linux, two cores and `taskset` are needed; nginx
//! for the comparison.
//!
//! Servers run on one core, the clients on the others. Beside what was seen, each rate is given per second of the server's processor time: that is
//! what one core gives, whatever else the machine does meanwhile.

mod histogram;
mod load;
mod scene;
mod schedule;
mod streams;

use histogram::Histogram;
use load::{Load, request, run};
use scene::{Agent, Nginx, Service, get_load, measure};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Clients of the event stream.
const STREAMS: usize = 1_000;
/// Scrapes of the largest agent.
const SCRAPES: usize = 20;

/// Until a large mesh that has just been formed is at rest.
const QUIET: Duration = Duration::from_secs(20);

/// What is measured, and what it should come to.
struct Figure {
    name: &'static str,
    goal: &'static str,
    value: String,
    met: bool,
}

struct Bench {
    /// For how long each load runs.
    time: Duration,
    /// How often each is repeated; the median counts.
    repeats: usize,
    /// Checks on one agent.
    checks: usize,
    figures: Vec<Figure>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut seconds, mut repeats, mut checks, mut only) = (5, 3, schedule::CHECKS, None);
    while let Some(argument) = arguments.next() {
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
        match argument.as_str() {
            "--seconds" => seconds = number(arguments.next()).unwrap_or(seconds),
            "--repeats" => repeats = number(arguments.next()).map_or(repeats, |count: u64| count.max(1)),
            "--checks" => checks = number(arguments.next()).and_then(|n| usize::try_from(n).ok()).unwrap_or(checks),
            "--only" => only = arguments.next(),
            _ => {
                eprintln!(
                    "usage: api-bench [--seconds N] [--repeats N] [--checks N] [--only service|health|engine|streams|scrape|permits|schedule]"
                );
                return ExitCode::from(2);
            }
        }
    }
    scene::raise_descriptors();
    let repeats = usize::try_from(repeats).unwrap_or(1);
    let mut bench = Bench { time: Duration::from_secs(seconds), repeats, checks, figures: Vec::new() };
    type Measure = fn(&mut Bench);
    let all: [(&str, Measure); 7] = [
        ("service", service),
        ("health", health),
        ("permits", permits),
        ("scrape", scrape),
        ("streams", event_streams),
        ("engine", engine),
        ("schedule", schedule::schedule),
    ];
    for (_, measure) in all.iter().filter(|(name, _)| only.as_deref().is_none_or(|wanted| wanted == *name)) {
        measure(&mut bench);
    }
    println!("\n| figure | goal | measured | |\n|---|---|---|---|");
    for Figure { name, goal, value, met } in &bench.figures {
        println!("| {name} | {goal} | {value} | {} |", if *met { "met" } else { "MISSED" });
    }
    if bench.figures.iter().all(|figure| figure.met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Several measurements of one thing.
struct Spread(Vec<f64>);

impl Spread {
    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    fn shown(&self, unit: &str, digits: usize) -> String {
        let low = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{:.digits$}{unit} ({low:.digits$} to {high:.digits$}, N={})", self.median(), self.0.len())
    }
}

/// Per core and as seen, and the latency that 99 of 100 do not exceed, in milliseconds.
struct Rates {
    per_core: Spread,
    seen: Spread,
    p99_ms: Spread,
    body_bytes: usize,
}

impl Bench {
    fn rates(&self, what: &str, load: &Load, processor_time: impl Fn() -> f64) -> Rates {
        let mut rates = Rates { per_core: Spread(vec![]), seen: Spread(vec![]), p99_ms: Spread(vec![]), body_bytes: 0 };
        for _ in 0..self.repeats {
            let measured = measure(&Load { time: self.time, ..load.clone() }, &processor_time);
            rates.per_core.0.push(measured.per_core);
            rates.seen.0.push(measured.outcome.rate());
            rates.p99_ms.0.push(measured.outcome.percentile(99).as_secs_f64() * 1000.0);
            rates.body_bytes = measured.outcome.body_bytes;
        }
        println!(
            "{what}: {} per core; seen {}, p99 {}; {} bytes",
            rates.per_core.shown("/s", 0),
            rates.seen.shown("/s", 0),
            rates.p99_ms.shown(" ms", 2),
            rates.body_bytes
        );
        rates
    }

    fn figure(&mut self, name: &'static str, goal: &'static str, value: String, met: bool) {
        self.figures.push(Figure { name, goal, value, met });
    }
}

fn service(bench: &mut Bench) {
    let agent = Agent::start(&web());
    let load = get_load(agent.api, "/v1/services/web", bench.time);
    let rates = bench.rates("one service of ten instances", &load, || agent.processor_time());
    let (rate, p99) = (rates.per_core.median(), rates.p99_ms.median());
    let value = format!("{}, p99 {}", rates.per_core.shown("/s", 0), rates.p99_ms.shown(" ms", 2));
    bench.figure(
        "one service of ten instances, one core",
        ">= 20,000/s, p99 < 5 ms",
        value,
        rate >= 20_000.0 && p99 < 5.0,
    );
}

/// That many instances in twenty services.
fn instances(count: usize, period: &'static str) -> Vec<Service> {
    let named = |number| Service { name: format!("service-{number}"), instances: count / 20, period };
    (0..20).map(named).collect()
}

/// That many instances of one service.
fn named(name: &str, instances: usize) -> [Service; 1] {
    [Service { name: name.to_owned(), instances, period: "20s" }]
}

/// Ten instances of the service `web`.
fn web() -> [Service; 1] {
    [Service { name: "web".to_owned(), instances: 10, period: "1s" }]
}

fn health(bench: &mut Bench) {
    let agent = Agent::start(&instances(1_000, "30s"));
    let load = get_load(agent.api, "/v1/health", bench.time);
    let ours = bench.rates("/v1/health of 1,000 instances", &load, || agent.processor_time());
    if let Some(nginx) = Nginx::start(ours.body_bytes) {
        let load = get_load(nginx.address, "/file.json", bench.time);
        let theirs = bench.rates("nginx, a static file of that size", &load, || nginx.processor_time());
        let ratio = ours.per_core.median() / theirs.per_core.median();
        let value = format!("{ratio:.2} ({} against {})", ours.per_core.shown("/s", 0), theirs.per_core.shown("/s", 0));
        bench.figure("`/v1/health` of 1,000 instances against nginx", ">= 0.5 of its rate", value, ratio >= 0.5);
    }
    // Whoever asks again with the tag of the last answer. The picture changes now and then, so the tag is one that never fits otherwise.
    let any = Load { request: request("GET", "/v1/health", "If-None-Match: *\r\n"), status: 304, ..load };
    let unchanged = bench.rates("304", &any, || agent.processor_time());
    let met = unchanged.per_core.median() >= 20_000.0;
    bench.figure("`304` of the same, one core", ">= 20,000/s", unchanged.per_core.shown("/s", 0), met);
}

fn permits(bench: &mut Bench) {
    let agent = Agent::start(&web());
    let post = request("POST", "/v1/breakers/web/web@3/permit", "Content-Length: 0\r\n");
    let load = Load { request: post, connections: 8, pipelined: 32, ..get_load(agent.api, "", bench.time) };
    let rates =
        bench.rates("permits, 32 requests in flight on each of 8 connections", &load, || agent.processor_time());
    let met = rates.per_core.median() >= 50_000.0;
    bench.figure("permits, pipelined, one core", ">= 50,000/s", rates.per_core.shown("/s", 0), met);
}

fn scrape(bench: &mut Bench) {
    // One agent is home to 4,096 instances at most.
    let agent = Agent::start_on_all(&named("a", 3_400));
    let others = ["b", "c"].map(|prefix| agent.another_aside(&named(prefix, 3_300)));
    agent.await_up(10_000);
    std::thread::sleep(QUIET);
    let (mut times, mut bytes) = (Vec::new(), 0);
    let before = agent.processor_time();
    for _ in 0..SCRAPES {
        let begun = Instant::now();
        bytes = agent.text("/metrics").len();
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    let used_ms = (agent.processor_time() - before) * 1000.0 / SCRAPES as f64;
    let times = Spread(times);
    let value = format!(
        "{}; {} KiB; the agent used {used_ms:.0} ms of processor time meanwhile, its probes included",
        times.shown(" ms", 0),
        bytes / 1024
    );
    drop(others);
    bench.figure("scrape of 10,000 instances", "< 100 ms", value, times.median() < 100.0);
}

fn event_streams(bench: &mut Bench) {
    let agent = Agent::start(&web());
    let (open, spread) = streams::follow(&agent, STREAMS);
    let value = format!("all {open} have an event {:.0} ms after the first", spread.as_secs_f64() * 1000.0);
    bench.figure("1,000 clients of the event stream", "all are served", value, open == STREAMS);
}

/// The engine works on 200 probes a second; how long its turns take while two loads read as fast as they can, and while nobody reads.
fn engine(bench: &mut Bench) {
    let agent = Agent::start_on_all(&instances(1_000, "5s"));
    let turns = || Histogram::read(&agent.text("/metrics"), "quorate_engine_turn_seconds");
    let mut ratios = Vec::new();
    let (mut quiet_us, mut loaded_us) = (Vec::new(), Vec::new());
    std::thread::sleep(Duration::from_secs(5));
    for _ in 0..bench.repeats {
        let before = turns();
        std::thread::sleep(bench.time);
        let quiet = turns().since(&before).percentile(0.99);
        let before = turns();
        let load = get_load(agent.api, "/v1/health", bench.time);
        run(&load).expect("the load");
        let loaded = turns().since(&before).percentile(0.99);
        ratios.push(loaded / quiet);
        quiet_us.push(quiet * 1e6);
        loaded_us.push(loaded * 1e6);
    }
    let ratios = Spread(ratios);
    let value = format!(
        "{}; {} idle, {} under load",
        ratios.shown("", 2),
        Spread(quiet_us).shown(" µs", 0),
        Spread(loaded_us).shown(" µs", 0)
    );
    bench.figure("engine turn p99 under reads against none", "<= 1.2", value, ratios.median() <= 1.2);
}

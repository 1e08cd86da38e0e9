//! Five runs and what each came to when it was last looked at. A change of the engine, the simulator or a dependency that changes what any agent
//! says changes a hash here: wanted or not, it is to be seen.
//!
//! `UPDATE_EXPECT=1 cargo test -p quorate-sim golden` writes the hashes anew; commit them only when you know why they differ.

use crate::library;
use crate::plan::Plan;
use crate::runner::{self, Manner};
use crate::swarm::{self, Profile};

/// A line of the file: a plan of the library, or `drawn`, and a seed.
fn plan(name: &str, seed: u64) -> Plan {
    match name {
        "drawn" => swarm::plan(Profile::Swarm, seed, None),
        _ => library::load(name).unwrap().1,
    }
}

fn hashed(line: &str) -> String {
    let mut words = line.split_whitespace();
    let (Some(name), Some(seed)) = (words.next(), words.next()) else { panic!("{line:?}: write PLAN SEED HASH") };
    let seed: u64 = seed.parse().unwrap();
    let (report, _) = runner::run(name, &plan(name, seed), seed, Manner::default()).unwrap();
    format!("{name} {seed} {}", report.trace_hash)
}

#[test]
fn golden_hashes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let comment = |line: &str| line.is_empty() || line.starts_with('#');
    let now: Vec<String> =
        text.lines().map(|line| if comment(line) { line.to_owned() } else { hashed(line) }).collect();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, now.join("\n") + "\n").unwrap();
        return;
    }
    assert!(text.lines().filter(|line| !comment(line)).count() >= 5, "{path} has lost its runs");
    for (was, is) in text.lines().zip(&now) {
        assert_eq!(
            was, is,
            "this run is no longer what it was. If that is what the change is meant to do, `UPDATE_EXPECT=1 cargo test -p quorate-sim \
             golden` writes sim/golden.txt anew, to be committed with it; `quorate-sim determinism --against` a build from before names \
             the second and the agent where drawn runs begin to differ"
        );
    }
}

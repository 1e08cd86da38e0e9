//! What the programs offer is documented: every configuration key, every metric, every plan of the simulator.

use crate::tree::{report, root};
use quorate_tests::{agent_binary, run};
use std::ffi::OsString;

fn document(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first word of each line that the agent's program prints for `arguments`.
fn listed(arguments: [&str; 2]) -> Vec<String> {
    let words = std::iter::once(agent_binary().into()).chain(arguments.map(OsString::from));
    let printed = run(words).success();
    let names: Vec<_> = printed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(!names.is_empty(), "{arguments:?} prints nothing");
    names
}

fn undocumented(names: &[String], path: &str) -> Vec<String> {
    let text = document(path);
    names.iter().filter(|name| !text.contains(&format!("`{name}`"))).map(|name| format!("{name} in {path}")).collect()
}

#[test]
fn every_configuration_key_is_documented() {
    report("documented configuration keys", &undocumented(&listed(["config", "keys"]), "docs/configuration.md"));
}

#[test]
fn every_metric_is_documented() {
    report("documented metrics", &undocumented(&listed(["metrics", "names"]), "docs/metrics.md"));
}

#[test]
fn every_deliberate_defect_is_documented() {
    let source = document("crates/mesh/src/sabotage.rs");
    let names = source.lines().filter_map(|line| line.trim().strip_suffix("\",")?.split_once(" = \""));
    let names: Vec<String> = names.map(|(_, name)| name.to_owned()).collect();
    assert!(names.len() >= 14, "{names:?}");
    report("documented defects", &undocumented(&names, "docs/simulator.md"));
}

#[test]
fn every_plan_is_named_in_the_simulators_document() {
    let mut faults = Vec::new();
    let text = document("docs/simulator.md");
    let plans = std::fs::read_dir(root().join("sim/plans")).expect("the folder of plans");
    for plan in plans.map(|entry| entry.expect("an entry").path()) {
        let name = plan.file_stem().expect("a name").to_string_lossy().into_owned();
        if !text.contains(&name) {
            faults.push(name);
        }
    }
    faults.sort();
    report("plans named in docs/simulator.md", &faults);
}

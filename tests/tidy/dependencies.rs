//! Who may import whom: the arrows of ARCHITECTURE.md, and the walls around the heavy dependencies.

use crate::tree::{report, root, texts_ending};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use std::collections::{BTreeMap, BTreeSet};

/// Package, then the packages of ours that it may import. What is not in the table is not allowed.
const ARROWS: [(&str, &[&str]); 9] = [
    ("quorate-core", &[]),
    ("quorate-breaker", &["quorate-core"]),
    ("quorate-wire", &["quorate-core"]),
    ("quorate-probe", &["quorate-core"]),
    ("quorate-transport", &[]),
    ("quorate-mesh", &["quorate-core", "quorate-breaker", "quorate-wire"]),
    ("quorate", &["quorate-mesh", "quorate-transport", "quorate-probe", "quorate-core", "quorate-breaker"]),
    // The simulator writes and reads packets of its own: its faulty members forge them, its invariants compare signatures.
    ("quorate-sim", &["quorate-mesh", "quorate-breaker", "quorate-core", "quorate-wire"]),
    (
        "quorate-tests",
        &[
            "quorate",
            "quorate-breaker",
            "quorate-core",
            "quorate-mesh",
            "quorate-probe",
            "quorate-sim",
            "quorate-transport",
            "quorate-wire",
        ],
    ),
];

/// A heavy dependency, then the packages that may name it. The simulator runs foca without us around it, to compare.
const WALLS: [(&str, &[&str]); 3] =
    [("bincode", &["quorate-wire"]), ("foca", &["quorate-mesh", "quorate-sim"]), ("quinn", &["quorate-transport"])];

/// Packages that must stay a pure function of their inputs.
const PURE: [&str; 5] = ["quorate-core", "quorate-breaker", "quorate-wire", "quorate-mesh", "quorate-sim"];

/// What would bring a clock, a socket, a task or another's randomness into them.
const IMPURE: [&str; 7] = ["tokio", "mio", "socket2", "quinn", "quinn-proto", "rustls", "hyper"];

/// The workspace's graph on this platform; nothing is downloaded that the build did not need.
pub fn metadata() -> Metadata {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(vec!["--filter-platform".to_owned(), platform])
        .exec()
        .expect("cargo metadata")
}

/// The README begins with `cargo run`: a further program in that package must not make cargo ask which one is meant.
#[test]
fn cargo_run_runs_the_agent() {
    let metadata = metadata();
    let run: Vec<_> = metadata.workspace_default_packages().into_iter().map(|package| &package.default_run).collect();
    assert_eq!(run, [&Some("quorate".to_owned())]);
}

#[test]
fn the_arrows_are_those_of_the_architecture() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut faults = Vec::new();
    for package in metadata.workspace_packages() {
        let Some(allowed) = allowed.get(package.name.as_str()) else {
            faults.push(format!("{} is not in the table", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            if ours.contains(name) && !allowed.contains(&name) {
                faults.push(format!("{} imports {name}", package.name));
            }
        }
    }
    report("only the arrows of the table", &faults);
}

#[test]
fn heavy_dependencies_stay_behind_their_wall() {
    let metadata = metadata();
    let mut faults = Vec::new();
    for package in metadata.workspace_packages() {
        for dependency in &package.dependencies {
            let wall = WALLS.iter().find(|(heavy, _)| *heavy == dependency.name);
            if let Some((heavy, owners)) = wall.filter(|(_, owners)| !owners.contains(&package.name.as_str())) {
                faults.push(format!("{} imports {heavy}, which is for {}", package.name, owners.join(", ")));
            }
        }
    }
    report("heavy dependencies only where they belong", &faults);
}

#[test]
fn the_engine_and_the_simulator_reach_no_clock_and_no_socket() {
    let metadata = metadata();
    let mut faults = Vec::new();
    for package in metadata.workspace_packages().iter().filter(|package| PURE.contains(&package.name.as_str())) {
        for path in paths_to_impure(&metadata, &package.id) {
            faults.push(path);
        }
    }
    report("pure packages build on pure packages", &faults);
}

/// A defect can be set only where this feature is on and someone calls for it: the simulator.
#[test]
fn only_the_simulator_can_break_the_engine() {
    let metadata = metadata();
    let mut faults = Vec::new();
    for package in metadata.workspace_packages() {
        let (name, by_default) = (package.name.as_str(), package.features.get("default"));
        if by_default.is_some_and(|features| features.iter().any(|feature| feature.contains("sabotage"))) {
            faults.push(format!("{name} is broken by default"));
        }
        let asks = package.dependencies.iter().any(|d| d.features.iter().any(|feature| feature == "sabotage"));
        if asks && name != "quorate-sim" {
            faults.push(format!("{name} asks for the feature"));
        }
    }
    let elsewhere = |path: &str| !["crates/mesh/", "sim/", "tests/tidy/"].iter().any(|home| path.starts_with(home));
    let calls = texts_ending(".rs").into_iter().filter(|file| elsewhere(&file.path) && file.text.contains("sabotage"));
    faults.extend(calls.map(|file| format!("{} speaks of it", file.path)));
    report("nobody but the simulator can break the engine", &faults);
}

/// What a pure package offers to others behind a feature does not make it impure, as long as no pure package asks for it.
#[test]
fn pure_packages_ask_the_breaker_for_no_clock() {
    let metadata = metadata();
    let mut faults = Vec::new();
    for package in metadata.workspace_packages().iter().filter(|package| PURE.contains(&package.name.as_str())) {
        for dependency in package.dependencies.iter().filter(|dependency| dependency.name == "quorate-breaker") {
            if dependency.uses_default_features || !dependency.features.is_empty() {
                faults.push(format!("{} asks for more than the machine", package.name));
            }
        }
    }
    report("pure packages take the breaker without its features", &faults);
}

/// Every chain of normal dependencies from `start` to something impure, as text; optional dependencies of our own packages left out.
fn paths_to_impure(metadata: &Metadata, start: &PackageId) -> Vec<String> {
    let resolve = metadata.resolve.as_ref().expect("a resolved graph");
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut seen = BTreeSet::new();
    let mut pending = vec![(start, metadata[start].name.to_string())];
    let mut found = Vec::new();
    while let Some((id, path)) = pending.pop() {
        if !seen.insert(id) {
            continue;
        }
        if IMPURE.contains(&metadata[id].name.as_str()) {
            found.push(path);
            continue;
        }
        let package = &metadata[id];
        let ours = metadata.workspace_members.contains(id);
        for dependency in &nodes[id].deps {
            let name = &metadata[&dependency.pkg].name;
            let optional =
                ours && package.dependencies.iter().any(|asked| asked.name == name.as_str() && asked.optional);
            if !optional && dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal) {
                pending.push((&dependency.pkg, format!("{path} -> {}", metadata[&dependency.pkg].name)));
            }
        }
    }
    found
}

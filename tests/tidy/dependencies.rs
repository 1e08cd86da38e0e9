//! Who may import whom: the arrows of ARCHITECTURE.md, and the walls around the heavy dependencies.

use crate::tree::{report, root};
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
    ("quorate-sim", &["quorate-mesh", "quorate-core"]),
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

/// A heavy dependency, then the one package that may name it.
const WALLS: [(&str, &str); 3] =
    [("bincode", "quorate-wire"), ("foca", "quorate-mesh"), ("quinn", "quorate-transport")];

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
            if let Some((heavy, owner)) = wall.filter(|(_, owner)| *owner != package.name.as_str()) {
                faults.push(format!("{} imports {heavy}, which is {owner}'s", package.name));
            }
        }
    }
    report("one package per heavy dependency", &faults);
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

/// Every chain of normal dependencies from `start` to something impure, as text.
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
        for dependency in &nodes[id].deps {
            if dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal) {
                pending.push((&dependency.pkg, format!("{path} -> {}", metadata[&dependency.pkg].name)));
            }
        }
    }
    found
}

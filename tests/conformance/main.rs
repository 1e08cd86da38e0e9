//! The rows of the guides that the project began from, each beside the tests that show it: `rows.txt`. A row whose test is renamed or taken away is
//! found here, and so is a row that is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A line of the table.
struct Row {
    id: String,
    document: String,
    evidence: Vec<(String, String)>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in a folder of the project")
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("tests/conformance/rows.txt")).expect("the table");
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(row).collect()
}

/// `ID DOCUMENT | what | path::test, path::test`
fn row(line: &str) -> Row {
    let columns: Vec<&str> = line.split('|').map(str::trim).collect();
    let [head, what, evidence] = columns.as_slice() else { panic!("three columns: {line}") };
    let (id, document) = head.split_once(' ').unwrap_or_else(|| panic!("ID and document: {line}"));
    assert!(!what.is_empty(), "{line}");
    let evidence = evidence
        .split(',')
        .map(str::trim)
        .map(|test| test.rsplit_once("::").unwrap_or_else(|| panic!("path::test: {test} in {line}")));
    let evidence = evidence.map(|(path, test)| (path.to_owned(), test.to_owned())).collect();
    Row { id: id.to_owned(), document: document.trim().to_owned(), evidence }
}

/// Every row of one document names tests that exist.
fn walk(document: &str) {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut walked = 0;
    for row in rows().into_iter().filter(|row| row.document.split('+').any(|one| one == document)) {
        walked += 1;
        for (path, test) in row.evidence {
            let text = files.entry(path.clone()).or_insert_with(|| {
                std::fs::read_to_string(root().join(&path))
                    .unwrap_or_else(|error| panic!("{}: {path}: {error}", row.id))
            });
            let found = text.contains(&format!("fn {test}(")) || text.contains(&format!("{test}: \""));
            assert!(found, "{}: there is no test {test} in {path}", row.id);
        }
    }
    assert!(walked > 0, "the table holds no row of {document}");
}

#[test]
fn each_row_is_there_once() {
    let mut found = BTreeSet::new();
    for row in rows() {
        assert!(found.insert(row.id.clone()), "{} is there twice", row.id);
    }
    let expected: BTreeSet<String> = (1..=43)
        .map(|n| format!("P{n}"))
        .chain((1..=35).map(|n| format!("F{n}")))
        .chain((1..=5).map(|n| format!("M-T{n}")))
        // Synthetic alerts (10) and actions (20) belong to alerts and recovery.
        .chain((1..=19).filter(|n| *n != 10).map(|n| format!("E{n}")))
        .chain((1..=3).map(|n| format!("G{n}")))
        // Notifications (16) and actions (22 to 24) come with alerts and recovery; CloudWatch (33) is a recipe that takes an account.
        .chain((1..=35).filter(|n| !matches!(n, 16 | 22..=24 | 33)).map(|n| format!("M{n}")))
        // What is ignored by git (9) and Datadog (12) take no test.
        .chain((1..=17).filter(|n| !matches!(n, 9 | 12)).map(|n| format!("L{n}")))
        .chain((1..=13).map(|n| format!("Q{n}")))
        // A database's own panels (7) take a database.
        .chain((1..=13).filter(|n| *n != 7).map(|n| format!("D{n}")))
        // What an operator sees of running it; the rest is about how the project works, or comes with alerts and recovery.
        .chain([2, 4, 9, 12, 14, 16, 20, 21, 22, 25, 26].map(|n| format!("O{n}")))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn resilience_and_metrics() {
    walk("S0");
}

#[test]
fn monitoring_dashboards() {
    walk("S1");
}

#[test]
fn operations() {
    walk("S2");
}

#[test]
fn monitoring_guide() {
    walk("S3");
}

#[test]
fn health_monitoring_system() {
    walk("S4");
}

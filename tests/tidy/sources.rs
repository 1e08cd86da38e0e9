//! Rules for source files: a header, a bounded size, a name that says something, no path of anyone's machine.

use crate::tree::{report, texts, texts_ending};
use regex::Regex;

/// Most lines of a source file, its own tests included. Tests that need more have a file of their own, `..._tests.rs`.
const LINES_MAX: usize = 500;

/// Files that may be longer: path, most lines, reason. Empty is the goal.
const LONGER: [(&str, usize, &str); 0] = [];

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 9] =
    ["util", "utils", "common", "helper", "helpers", "handler", "handlers", "manager", "managers"];

#[test]
fn each_source_file_begins_with_its_purpose() {
    let faults: Vec<_> =
        texts_ending(".rs").into_iter().filter(|file| !file.text.starts_with("//! ")).map(|file| file.path).collect();
    report("a source file begins with a `//!` header", &faults);
}

#[test]
fn no_source_file_is_too_long() {
    let mut faults = Vec::new();
    for file in texts_ending(".rs").iter().filter(|file| !file.path.ends_with("_tests.rs")) {
        let lines = file.text.lines().count();
        let exception = LONGER.iter().find(|(path, _, _)| *path == file.path);
        let limit = exception.map_or(LINES_MAX, |(_, limit, _)| *limit);
        if lines > limit {
            faults.push(format!("{}: {lines} lines, at most {limit}", file.path));
        } else if exception.is_some() && lines <= LINES_MAX {
            faults.push(format!("{}: {lines} lines need no exception; take it off the list", file.path));
        }
    }
    report("a source file is read in one go", &faults);
}

#[test]
fn names_say_what_is_inside() {
    let mut faults = Vec::new();
    for file in texts() {
        let parts = file.path.split('/').map(|part| part.trim_end_matches(".rs"));
        if parts.into_iter().any(|part| EMPTY_NAMES.contains(&part)) {
            faults.push(file.path);
        }
    }
    report("no file and no folder bears an empty name", &faults);
}

#[test]
fn no_path_of_anyones_machine() {
    let machine = Regex::new(r#"(^|[\s"'=(`:,])/(home|root|work|Users)/"#).expect("a pattern");
    let mut faults = Vec::new();
    for file in texts() {
        for (number, line) in file.text.lines().enumerate() {
            if machine.is_match(line) {
                faults.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    report("no path of one machine in a file for all", &faults);
}

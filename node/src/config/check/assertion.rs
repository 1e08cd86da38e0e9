//! One `[[service.check.assert]]`.

use super::super::reader::{Faults, Section};
use super::one_line;
use quorate_core::{Assertion, Check, CheckKind, Condition, Grade, HttpCheck, Level, Subject};

const CONDITIONS: [&str; 6] = ["exists", "equals", "contains", "matches", "above", "below"];

/// Reads it; nothing when it is no whole assertion.
pub(super) fn read(section: &Section<'_>, faults: &mut Faults) -> Option<Assertion> {
    let subject = match (section.take::<String>("header", faults), section.take::<String>("json", faults)) {
        (Some(_), Some(json)) => {
            faults.add(json.at, section.key("json"), "cannot stand beside `header`; write two assertions");
            return None;
        }
        (Some(header), None) => Subject::Header(header.value),
        (None, Some(path)) => Subject::Json(path.value),
        (None, None) if section.has("header") || section.has("json") => return None,
        (None, None) => Subject::Body,
    };
    let given: Vec<&str> = CONDITIONS.into_iter().filter(|name| section.has(name)).collect();
    let name = match given.as_slice() {
        [name] => *name,
        [] => {
            faults.add(section.at, section.path.clone(), format!("says nothing; add one of {}", CONDITIONS.join(", ")));
            return None;
        }
        [first, second, ..] => {
            let message = format!("cannot stand beside `{first}`; write two assertions");
            faults.add(section.key_place(second), section.key(second), message);
            return None;
        }
    };
    let mut text = || section.take::<String>(name, faults).map(|found| found.value);
    let (condition, exists) = match name {
        "exists" => (Condition::Exists, section.take::<bool>(name, faults)?.value),
        "equals" => (Condition::Equals(text()?), true),
        "contains" => (Condition::Contains(text()?), true),
        "matches" => (Condition::Matches(text()?), true),
        "above" => (Condition::Above(section.take::<Level>(name, faults)?.value), true),
        _ => (Condition::Below(section.take::<Level>(name, faults)?.value), true),
    };
    let negate = section.take::<bool>("negate", faults).is_some_and(|found| found.value);
    let mut otherwise = Grade::Fail;
    if let Some(severity) = section.take::<String>("severity", faults) {
        match severity.value.as_str() {
            "fail" => {}
            "warn" => otherwise = Grade::Warn,
            other => {
                let message = format!("{other:?} is not allowed; use \"fail\" or \"warn\"");
                faults.add(severity.at, section.key("severity"), message);
            }
        }
    }
    usable(Assertion { subject, condition, negated: negate == exists, otherwise }, section, faults)
}

/// Holds it to the rules of a check, each told at its own table.
fn usable(assertion: Assertion, section: &Section<'_>, faults: &mut Faults) -> Option<Assertion> {
    let http = HttpCheck { assertions: vec![assertion.clone()], ..HttpCheck::default() };
    let check = Check { kind: CheckKind::Http(http), ..Check::default() };
    let mut errors = check.validate();
    if errors.is_empty() {
        errors = quorate_probe::validate_patterns(&check);
    }
    if errors.is_empty() {
        return Some(assertion);
    }
    for error in errors {
        faults.add(section.at, section.path.clone(), one_line(error.message));
    }
    None
}

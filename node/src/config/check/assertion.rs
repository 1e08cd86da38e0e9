//! One `[[service.check.assert]]`.

use super::super::reader::{Faults, Section};
use super::{broken, one_line};
use quorate_core::{Assertion, Check, CheckKind, Condition, Grade, HttpCheck, Level, Subject};

const CONDITIONS: [&str; 6] = ["exists", "equals", "contains", "matches", "above", "below"];

/// Reads it; nothing when it is no whole assertion.
pub(super) fn read(section: &Section<'_>, faults: &mut Faults) -> Option<Assertion> {
    let (subject, of) = match (section.take::<String>("header", faults), section.take::<String>("json", faults)) {
        (Some(_), Some(json)) => {
            faults.add(json.at, section.key("json"), "cannot stand beside `header`; write two assertions");
            return None;
        }
        (Some(header), None) => (Subject::Header(header.value), Some("header")),
        (None, Some(path)) => (Subject::Json(path.value), Some("json")),
        (None, None) if section.has("header") || section.has("json") => return None,
        (None, None) => (Subject::Body, None),
    };
    let found =
        Assertion { subject: subject.clone(), condition: Condition::Exists, negated: false, otherwise: Grade::Fail };
    let sound = of.is_none_or(|of| usable(found, of, section, faults));
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
    let assertion = Assertion { subject, condition, negated: negate == exists, otherwise };
    let holds = Assertion { subject: Subject::Body, ..assertion.clone() };
    (usable(holds, name, section, faults) && sound).then_some(assertion)
}

/// Holds one half of it, with another that is sound, to the rules of a check; each is told at the key of that half.
fn usable(assertion: Assertion, key: &str, section: &Section<'_>, faults: &mut Faults) -> bool {
    let http = HttpCheck { assertions: vec![assertion], ..HttpCheck::default() };
    let check = Check { kind: CheckKind::Http(http), ..Check::default() };
    let errors = broken(&check);
    let (at, key) = section.place(key);
    for error in &errors {
        faults.add(at, key.clone(), one_line(error.message.clone()));
    }
    errors.is_empty()
}

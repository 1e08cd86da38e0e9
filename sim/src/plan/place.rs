//! Where in a fault a wrong value stands: the reader of a table that is told by its `kind` forgets it.

use super::Fault;
use toml::{Table, Value};

const KIND: &str = "kind";

/// The error with the fault and the key of it that is wrong, where it is a fault's: the key without which it is wrong in another way, or not at all.
pub(super) fn with_place(text: &str, error: toml::de::Error) -> anyhow::Error {
    let table: Table = text.parse().unwrap_or_default();
    let faults = table.get("faults").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let wrong = |fault: &Table| fault.clone().try_into::<Fault>().err().map(|error| error.message().to_owned());
    let same = |fault: &Table| wrong(fault).as_deref() == Some(error.message());
    let without = |fault: &Table, key: &String| {
        let mut fault = fault.clone();
        fault.remove(key);
        fault
    };
    let found = faults.iter().filter_map(Value::as_table).enumerate().find(|(_, fault)| same(fault));
    let Some((index, fault)) = found else { return error.into() };
    if error.message().starts_with("missing field") {
        // That is no key that is there, and the reader names the line of the first fault.
        return anyhow::anyhow!("faults: number {} is wrong: {}", index + 1, error.message());
    }
    // Without its kind no fault is anything.
    let mut others = fault.keys().filter(|key| *key != KIND);
    let key = others.find(|key| !same(&without(fault, key))).map_or(KIND, String::as_str);
    anyhow::Error::new(error).context(format!("faults: number {} is wrong: {key}", index + 1))
}

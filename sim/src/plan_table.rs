//! A plan as a table of keys: to change one by its name, and to write it with nothing in it that goes without saying.

use crate::plan::Plan;
use anyhow::{Context, bail};
use toml::{Table, Value};

/// `plan` with some keys changed, each by `KEY=VALUE`: the key as a path with dots (`network.loss_per_mille`, `services.0.period`), the value as
/// in TOML, the quotes of a text being optional. All are changed before the plan is checked: some belong together.
///
/// # Errors
/// When one is not written so, or the plan has no such key, or they may not have these values.
pub fn changed(plan: Plan, changes: &[String]) -> anyhow::Result<Plan> {
    if changes.is_empty() {
        return Ok(plan);
    }
    let mut table = Table::try_from(&plan)?;
    for change in changes {
        let (key, value) = change
            .split_once('=')
            .with_context(|| format!("{change:?} is not KEY=VALUE; write it as network.loss_per_mille=50"))?;
        *place(&mut table, key.trim())? = value_of(value.trim());
    }
    let named: Vec<String> = changes.iter().map(|change| format!("{change:?}")).collect();
    read(table).with_context(|| match named.as_slice() {
        [one] => format!("{one} does not make a plan"),
        all => format!("{} do not make a plan", all.join(" and ")),
    })
}

/// `plan` with one key changed.
#[cfg(test)]
pub fn with(plan: &Plan, change: &str) -> anyhow::Result<Plan> {
    changed(plan.clone(), &[change.to_owned()])
}

/// The plan in a table.
///
/// # Errors
/// When there is none, or it is wrong.
pub fn read(table: Table) -> anyhow::Result<Plan> {
    let plan: Plan = table.try_into()?;
    plan.check()?;
    Ok(plan)
}

/// The plan without the keys whose absence means the same.
///
/// # Errors
/// When the plan holds something TOML cannot state; no valid plan does.
pub fn shortest(plan: &Plan) -> anyhow::Result<Table> {
    let mut table = Table::try_from(plan)?;
    for path in paths(&table) {
        let mut shorter = table.clone();
        remove(&mut shorter, &path);
        if shorter.clone().try_into::<Plan>().is_ok_and(|same| same == *plan) {
            table = shorter;
        }
    }
    Ok(table)
}

/// The plan as a person would write it: nothing that goes without saying, names before the rest, lists of tables last.
///
/// # Errors
/// As [`shortest`].
pub fn text(plan: &Plan) -> anyhow::Result<String> {
    let table = shortest(plan)?;
    let mut text = String::new();
    let plain: Table = table
        .iter()
        .filter(|(_, value)| !value.is_table() && !lists_tables(value))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    write_keys(&plain, &mut text);
    for (key, value) in &table {
        if let Value::Table(inner) = value {
            text.push_str(&format!("\n[{key}]\n"));
            write_keys(inner, &mut text);
        }
    }
    for (key, value) in table.iter().rev().filter(|(_, value)| lists_tables(value)) {
        for inner in value.as_array().into_iter().flatten().filter_map(Value::as_table) {
            text.push_str(&format!("\n[[{key}]]\n"));
            write_keys(inner, &mut text);
        }
    }
    Ok(text)
}

/// Keys that come first, where they appear.
const FIRST: &[&str] = &["summary", "kind", "name", "instance", "agent", "agents"];

/// Writes a line for each key; tables inside stand in their line.
fn write_keys(table: &Table, text: &mut String) {
    let mut keys: Vec<(&String, &Value)> = table.iter().collect();
    keys.sort_by_key(|(key, _)| FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()));
    for (key, value) in keys {
        text.push_str(&format!("{key} = {value}\n"));
    }
}

fn lists_tables(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().any(Value::is_table))
}

/// A step from a value to one inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// In a table.
    Key(String),
    /// In a list.
    Index(usize),
}

/// The paths to everything in a table that stands under a key, the outer before the inner.
pub fn paths(table: &Table) -> Vec<Vec<At>> {
    fn within(value: &Value, path: &[At], paths: &mut Vec<Vec<At>>) {
        let mut go = |at: At, value: &Value| {
            let path = [path, &[at]].concat();
            if matches!(path.last(), Some(At::Key(_))) {
                paths.push(path.clone());
            }
            within(value, &path, paths);
        };
        match value {
            Value::Table(table) => table.iter().for_each(|(key, value)| go(At::Key(key.clone()), value)),
            Value::Array(list) => list.iter().enumerate().for_each(|(index, value)| go(At::Index(index), value)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    within(&Value::Table(table.clone()), &[], &mut found);
    found
}

/// What stands at the end of a path.
pub fn find<'a>(table: &'a mut Table, path: &[At]) -> Option<&'a mut Value> {
    let (At::Key(first), rest) = path.split_first()? else { return None };
    rest.iter().try_fold(table.get_mut(first)?, |value, at| match at {
        At::Key(key) => value.get_mut(key),
        At::Index(index) => value.get_mut(*index),
    })
}

/// Removes the key at the end of a path.
pub fn remove(table: &mut Table, path: &[At]) {
    let Some((At::Key(last), outer)) = path.split_last() else { return };
    if outer.is_empty() {
        table.remove(last);
    } else if let Some(Value::Table(inner)) = find(table, outer) {
        inner.remove(last);
    }
}

/// Where a key's value goes; tables that are not there yet are made.
fn place<'a>(table: &'a mut Table, key: &str) -> anyhow::Result<&'a mut Value> {
    let mut words = key.split('.');
    let first = words.next().unwrap_or_default();
    let mut value = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
    for word in words {
        value = match value {
            Value::Table(inner) => inner.entry(word).or_insert_with(|| Value::Table(Table::new())),
            Value::Array(list) => {
                let count = list.len();
                let index = word.parse().ok().filter(|index: &usize| *index < count);
                let index = index.with_context(|| format!("{key}: {word:?} is not a number below {count}"))?;
                &mut list[index]
            }
            _ => bail!("{key}: there is nothing inside of what comes before {word:?}"),
        };
    }
    Ok(value)
}

fn value_of(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}"));
    let alone = parsed.ok().filter(|table| table.len() == 1);
    alone.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library;
    use crate::time::Span;

    fn plan() -> Plan {
        library::load("split-3-2").unwrap().1
    }

    #[test]
    fn a_key_is_changed_by_its_path() {
        assert_eq!(with(&plan(), "network.loss_per_mille=50").unwrap().network.loss_per_mille, 50);
        assert_eq!(with(&plan(), "timing.settle = 3s").unwrap().timing.settle, Some(Span::secs(3)));
        assert_eq!(with(&plan(), "services.0.period=\"2s\"").unwrap().services[0].period, Span::secs(2));
        assert_eq!(with(&plan(), "network.latency_us=[1, 2]").unwrap().network.latency_us, [1, 2]);
    }

    #[test]
    fn a_key_that_cannot_be_changed_is_named() {
        for (change, message) in [
            ("network.loss_per_mille", "is not KEY=VALUE"),
            ("network.los=50", "unknown field `los`, expected one of"),
            ("network.loss_per_mille=950", "use 0 to 900"),
            ("services.7.period=2s", "is not a number below"),
            ("summary.of=x", "nothing inside"),
            ("timing.settle=3", "does not make a plan"),
        ] {
            let error = format!("{:#}", with(&plan(), change).unwrap_err());
            assert!(error.contains(message), "{change}: {error}");
        }
    }

    #[test]
    fn keys_that_belong_together_are_changed_together() {
        let plan = library::load("regions").unwrap().1;
        let (zones, between) = ("mesh.zones=2", "network.between_zones_us=[[0, 1], [1, 0]]");
        let with = |changes: [&str; 2]| changed(plan.clone(), &changes.map(str::to_owned));
        for changes in [[zones, between], [between, zones]] {
            let changed = with(changes).unwrap();
            assert_eq!((changed.mesh.zones, changed.network.between_zones_us), (2, vec![vec![0, 1], vec![1, 0]]));
        }
        let error = format!("{:#}", with([zones, "duration=9s"]).unwrap_err());
        assert!(error.starts_with("\"mesh.zones=2\" and \"duration=9s\" do not make a plan: "), "{error}");
        assert_eq!(changed(plan.clone(), &[]).unwrap(), plan);
    }

    #[test]
    fn what_goes_without_saying_is_not_written() {
        for (name, _) in library::PLANS {
            let plan = library::load(name).unwrap().1;
            let table = shortest(&plan).unwrap();
            assert_eq!(read(table).unwrap(), plan, "{name}");
            assert_eq!(Plan::parse(&text(&plan).unwrap()).unwrap(), plan, "{name}");
        }
        let keys: Vec<String> = shortest(&plan()).unwrap().keys().cloned().collect();
        assert!(["bounds", "network", "timing"].iter().all(|key| !keys.iter().any(|kept| kept == key)), "{keys:?}");
    }
}

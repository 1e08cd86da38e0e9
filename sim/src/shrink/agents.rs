//! A plan with fewer agents: those that are left are numbered anew, and what was about the others goes with them.

use crate::plan_table;
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

/// Keys of faults, services and calls under which agents stand by their numbers, alone or in lists.
const AGENT_KEYS: &[&str] = &[
    "agent",
    "agents",
    "groups",
    "senders",
    "receivers",
    "seen_by",
    "homes",
    "peers",
    "by",
    "callers",
    "liars",
    "through",
];
/// Keys under which an instance stands by its name.
const INSTANCE_KEYS: &[&str] = &["instance"];

/// How many agents the plan has.
pub fn count(plan: &Table) -> usize {
    let stated = plan.get("mesh").and_then(|mesh| mesh.get("agents")).and_then(Value::as_integer);
    stated.and_then(|count| usize::try_from(count).ok()).unwrap_or_else(|| crate::plan::MeshPlan::default().agents)
}

/// The plan with the agents in `kept` only; none when there are none.
pub fn keep(plan: &Table, kept: &[usize]) -> Option<Table> {
    if kept.is_empty() {
        return None;
    }
    let numbers: BTreeMap<usize, usize> = kept.iter().enumerate().map(|(new, old)| (*old, new)).collect();
    let mut plan = plan.clone();
    let mesh = plan.entry("mesh").or_insert_with(|| Value::Table(Table::new())).as_table_mut()?;
    mesh.insert("agents".to_owned(), Value::Integer(i64::try_from(kept.len()).ok()?));
    if let Some(Value::Integer(zones)) = mesh.get_mut("zones") {
        *zones = (*zones).min(i64::try_from(kept.len()).ok()?);
    }
    let services = names_of(&plan);
    for key in ["services", "faults"] {
        if let Some(Value::Array(list)) = plan.get_mut(key) {
            list.retain_mut(|entry| renumber(entry, &numbers, false).is_some());
        }
    }
    if let Some(Value::Array(list)) = plan.get_mut("calls") {
        list.retain_mut(|calls| renumber_calls(calls, &numbers, &services).is_some());
    }
    Some(without_dangling(plan))
}

fn names_of(plan: &Table) -> BTreeSet<String> {
    let services = plan.get("services").and_then(Value::as_array);
    services.into_iter().flatten().filter_map(|service| Some(service.get("name")?.as_str()?.to_owned())).collect()
}

/// The same for calls: what they go to may be none of the plan's instances, and is then named after no agent.
fn renumber_calls(calls: &mut Value, numbers: &BTreeMap<usize, usize>, services: &BTreeSet<String>) -> Option<()> {
    let instance = calls.get("instance")?.as_str()?.to_owned();
    if services.contains(instance.split('@').next()?) {
        return renumber(calls, numbers, false);
    }
    calls.as_table_mut()?.remove("instance");
    renumber(calls, numbers, false)?;
    calls.as_table_mut()?.insert("instance".to_owned(), Value::String(instance));
    Some(())
}

/// Gives agents their new numbers; none when nothing is left of `value`.
fn renumber(value: &mut Value, numbers: &BTreeMap<usize, usize>, agents: bool) -> Option<()> {
    match value {
        Value::Integer(number) if agents => {
            *number = i64::try_from(*numbers.get(&usize::try_from(*number).ok()?)?).ok()?;
        }
        Value::Array(list) => {
            let any = !list.is_empty();
            list.retain_mut(|entry| renumber(entry, numbers, agents).is_some());
            if any && list.is_empty() {
                return None;
            }
        }
        Value::Table(table) => {
            for (key, value) in table.iter_mut() {
                if INSTANCE_KEYS.contains(&key.as_str()) {
                    let (service, home) = value.as_str()?.split_once('@')?;
                    let home = numbers.get(&home.parse().ok()?)?;
                    *value = Value::String(format!("{service}@{home}"));
                } else {
                    renumber(value, numbers, AGENT_KEYS.contains(&key.as_str()))?;
                }
            }
        }
        _ => {}
    }
    Some(())
}

/// The plan without faults that make no sense any more (of an instance that is gone, a partition of one group), and without empty lists.
pub fn without_dangling(mut plan: Table) -> Table {
    let parts = ["faults", "calls"].map(|key| (key, plan.remove(key)));
    for (key, part) in &parts {
        if let Some(Value::Array(entries)) = part {
            let sensible = |entry: &&Value| {
                let mut alone = plan.clone();
                alone.insert((*key).to_owned(), Value::Array(vec![(*entry).clone()]));
                alone.remove(if *key == "faults" { "calls" } else { "faults" });
                // Whether a mesh begins is for the whole plan to say.
                if let Value::Table(mesh) = alone.entry("mesh").or_insert_with(|| Value::Table(Table::new())) {
                    mesh.insert("start".to_owned(), Value::String("formed".to_owned()));
                }
                plan_table::read(alone).is_ok()
            };
            let kept = entries.iter().filter(sensible).cloned().collect();
            plan.insert((*key).to_owned(), Value::Array(kept));
        }
    }
    for key in ["services", "faults", "calls"] {
        if plan.get(key).and_then(Value::as_array).is_some_and(Vec::is_empty) {
            plan.remove(key);
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Fault;
    use crate::swarm::{self, Profile};

    #[test]
    fn those_that_are_left_are_numbered_anew() {
        let text = r#"
summary = "t"
mesh = { agents = 4, zones = 4 }
services = [{ name = "a", homes = [0, 3] }, { name = "b", homes = [1] }]
faults = [
    { kind = "target", instance = "a@3", mode = "dead", from = "20s", seen_by = [1, 2] },
    { kind = "target", instance = "b@1", mode = "dead", from = "20s" },
    { kind = "crash", agent = 1, at = "20s" },
    { kind = "partition", groups = [[0, 1], [2, 3]], from = "20s", to = "30s" },
    { kind = "isolate", agents = [1], from = "20s", to = "30s" },
]
calls = [
    { instance = "api@1", from = "1s", to = "40s", liars = [3] },
    { instance = "a@3", from = "1s", to = "40s" },
    { instance = "b@1", from = "1s", to = "40s" },
]
"#;
        let wanted = r#"
summary = "t"
mesh = { agents = 3, zones = 3 }
services = [{ name = "a", homes = [0, 2] }]
faults = [
    { kind = "target", instance = "a@2", mode = "dead", from = "20s", seen_by = [1] },
    { kind = "partition", groups = [[0], [1, 2]], from = "20s", to = "30s" },
]
calls = [
    { instance = "api@1", from = "1s", to = "40s", liars = [2] },
    { instance = "a@2", from = "1s", to = "40s" },
]
"#;
        let kept = keep(&toml::from_str(text).unwrap(), &[0, 2, 3]).unwrap();
        assert_eq!(kept, toml::from_str::<Table>(wanted).unwrap());
        plan_table::read(kept).unwrap();
    }

    /// Alone, the return of agent 0 would be that of one with whom no mesh begins.
    #[test]
    fn who_leaves_and_returns_still_does_among_fewer() {
        let text = "summary = \"t\"\nfaults = [{ kind = \"leave\", agent = 0, at = \"20s\" }, { kind = \"join\", agent = 0, at = \"40s\" }]\n";
        let plan: Table = toml::from_str(text).unwrap();
        let kept = keep(&plan, &[0, 1, 2]).unwrap();
        assert_eq!(kept.get("faults"), plan.get("faults"));
        plan_table::read(kept).unwrap();
    }

    /// A kind of fault that names its agents under a key of its own would be lost with any agent.
    #[test]
    fn any_drawn_plan_stays_a_plan_with_half_of_its_agents() {
        let mut kinds = BTreeSet::new();
        for seed in 0..400 {
            let mut plan = swarm::plan(Profile::Swarm, seed, Some(9));
            // So many faulty members would be too many for half of the mesh.
            plan.faults.retain(|fault| !matches!(fault, Fault::Faulty { .. }));
            kinds.extend(plan.faults.iter().map(|fault| format!("{:?}", std::mem::discriminant(fault))));
            let table = plan_table::shortest(&plan).unwrap();
            assert_eq!(keep(&table, &[0, 1, 2, 3, 4, 5, 6, 7, 8]), Some(table.clone()), "seed {seed}");
            // Without agent 0 it may be one in which no mesh begins.
            plan_table::read(keep(&table, &[0, 3, 5, 8]).unwrap()).unwrap();
            let backwards = keep(&table, &[8, 7, 6, 5, 4, 3, 2, 1, 0]).unwrap();
            let of = |plan: &Table| plan.get("faults").map_or_else(BTreeMap::new, |list| integers(list, String::new()));
            for (path, before) in of(&table) {
                let after = of(&backwards).remove(&path);
                let name = !PLAIN_NUMBERS.contains(&path.rsplit('.').next().unwrap());
                let wanted = if name { 8 - before } else { before };
                assert_eq!(after, Some(wanted), "{path} (seed {seed}): add its key to AGENT_KEYS, or to PLAIN_NUMBERS");
            }
        }
        assert!(kinds.len() >= 8, "{}", kinds.len());
    }

    /// Keys of faults whose numbers are no agents.
    const PLAIN_NUMBERS: &[&str] = &[
        "per_mille",
        "extra_us",
        "bytes_per_s",
        "queue_bytes",
        "larger_than",
        "reach",
        "ppm",
        "by_ms",
        "probes_per_s",
    ];

    /// Every whole number with the keys above it.
    fn integers(value: &Value, path: String) -> BTreeMap<String, i64> {
        match value {
            Value::Integer(number) => BTreeMap::from([(path, *number)]),
            Value::Array(list) => {
                list.iter().enumerate().flat_map(|(n, value)| integers(value, format!("{n}.{path}"))).collect()
            }
            Value::Table(table) => {
                table.iter().flat_map(|(key, value)| integers(value, format!("{path}.{key}"))).collect()
            }
            _ => BTreeMap::new(),
        }
    }
}

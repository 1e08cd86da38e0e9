//! Who is called what decides nothing: a plan and its twin, in which the agents have changed numbers, come to the same verdicts.
//!
//! Numbers become identities, and identities decide who observes what; so the runs differ in every packet, and only what is true of the
//! faults themselves is the same.

use crate::library;
use crate::node;
use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::trace::{Trace, recording::Recording};
use crate::world::{World, view_of};
use quorate_core::Verdict;
use serde_json::Value;
use std::collections::BTreeMap;

/// The agents' new numbers: the founder keeps its own, the others change places.
fn renamed_agent(agent: u64, agents: usize) -> u64 {
    if agent == 0 { 0 } else { agents as u64 - agent }
}

fn renamed_instance(name: &str, agents: usize) -> String {
    let (service, home) = name.split_once('@').unwrap();
    format!("{service}@{}", renamed_agent(home.parse().unwrap(), agents))
}

/// Changes every number of an agent below `value`.
fn rename_all(value: &mut Value, agents: usize) {
    match value {
        Value::Number(number) => *value = renamed_agent(number.as_u64().unwrap(), agents).into(),
        Value::Array(list) => list.iter_mut().for_each(|item| rename_all(item, agents)),
        _ => {}
    }
}

/// The same plan with other numbers.
fn twin(plan: &Plan) -> Plan {
    const WHO: [&str; 9] =
        ["agent", "agents", "groups", "senders", "receivers", "peers", "seen_by", "homes", "observed_by"];
    let agents = plan.mesh.agents;
    let mut value = serde_json::to_value(plan).unwrap();
    for list in ["faults", "services"] {
        for item in value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            for (key, inner) in item.as_object_mut().unwrap().iter_mut() {
                match inner {
                    Value::String(name) if key == "instance" => *inner = renamed_instance(name, agents).into(),
                    inner if WHO.contains(&key.as_str()) => rename_all(inner, agents),
                    _ => {}
                }
            }
        }
    }
    serde_json::from_value(value).unwrap()
}

/// The verdicts that the founder holds in the end: of instances by name, of hosts by number.
fn verdicts(plan: &Plan, rename: bool) -> BTreeMap<String, Verdict> {
    let agents = plan.mesh.agents;
    let scenario = Scenario::new("t", plan, 3).unwrap();
    let trace = Trace::new(&scenario, Recording::default());
    let mut world = World::new(scenario, Box::new(node::engine), trace);
    world.run();
    assert!(world.checks.violations.is_empty(), "{:?}", world.checks.violations);
    let view = view_of(&world.hosts[0]).unwrap();
    let scenario = &world.truth.scenario;
    let named = |name: String| if rename { renamed_instance(&name, agents) } else { name };
    let instances = view.instances.values().filter(|instance| instance.instance.host_of().is_none());
    let instances = instances.map(|instance| (named(instance.instance.as_str().to_owned()), instance.decided));
    let hosts = scenario.agents.iter().enumerate().filter_map(|(number, agent)| {
        let (verdict, ..) = view.host(agent.id)?;
        Some((named(format!("host@{number}")), verdict))
    });
    instances.chain(hosts).collect()
}

#[test]
fn a_twin_changes_numbers_and_nothing_else() {
    let (_, plan) = library::load("killed-host").unwrap();
    let other = twin(&plan);
    assert_ne!(plan, other);
    assert_eq!(twin(&other), plan);
}

#[test]
fn other_numbers_bring_the_same_verdicts() {
    let plans =
        ["killed-instance", "killed-host", "dead-agent", "split-3-2", "restart", "core-heals", "faulty-always-down"];
    for name in plans {
        let (_, mut plan) = library::load(name).unwrap();
        plan.services.iter_mut().for_each(|service| service.homes.sort_unstable());
        assert_eq!(verdicts(&plan, false), verdicts(&twin(&plan), true), "{name}");
    }
}

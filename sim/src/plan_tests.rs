//! Plans are read, refused with a reason, and written as they are read.

use super::*;

const GOOD: &str = r#"
summary = "a test"
duration = "30s"
[mesh]
agents = 5
[[services]]
name = "web"
homes = [0, 1]
[[faults]]
kind = "partition"
groups = [[0, 1, 2], [3, 4]]
from = "10s"
to = "20s"
[[faults]]
kind = "target"
instance = "web@1"
mode = "dead"
from = "10s"
"#;

#[test]
fn a_plan_is_written_as_it_is_read() {
    let plan = Plan::parse(GOOD).unwrap();
    assert_eq!(plan.instances().collect::<Vec<_>>(), ["web@0", "web@1"]);
    assert_eq!(Plan::parse(&plan.to_toml().unwrap()).unwrap(), plan);
}

#[test]
fn a_wrong_plan_is_refused_with_its_reason() {
    let cases = [
        ("agents = 5", "agents = 0", "mesh.agents: 0 is not allowed"),
        ("agents = 5", "agents = 2", "there is no agent 2"),
        ("agents = 5", "agents = 5\nzones = 9", "mesh.zones"),
        ("agents = 5", "agent = 5", "unknown field `agent`"),
        ("duration = \"30s\"", "duration = \"30\"", "is not a time"),
        ("homes = [0, 1]", "homes = [0, 7]", "there is no agent 7"),
        ("homes = [0, 1]", "homes = [0, 0, 1]", "web@0 appears twice"),
        ("homes = [0, 1]", "homes = [0, 1]\ntimeout = \"2s\"", "must be at least the timeout"),
        ("kind = \"partition\"", "kind = \"earthquake\"", "earthquake"),
        ("groups = [[0, 1, 2], [3, 4]]", "groups = [[0, 1, 2], [2, 4]]", "in two groups"),
        ("groups = [[0, 1, 2], [3, 4]]", "groups = [[0, 1, 2]]", "two groups at least"),
        ("to = \"20s\"", "to = \"10s\"", "before it begins"),
        ("to = \"20s\"", "to = \"20s\"\nsides = 2", "unknown field"),
        ("instance = \"web@1\"", "instance = \"web@2\"", "there is no instance"),
        ("mode = \"dead\"", "mode = \"tired\"", "tired"),
    ];
    for (from, to, message) in cases {
        assert!(GOOD.contains(from), "{from}");
        let error = Plan::parse(&GOOD.replacen(from, to, 1)).expect_err(to);
        assert!(format!("{error:#}").contains(message), "{to}: {error:#}");
    }
}

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
    assert_eq!(Plan::parse(&crate::plan_table::text(&plan).unwrap()).unwrap(), plan);
}

#[test]
fn a_wrong_plan_is_refused_with_its_reason() {
    let cases = [
        ("agents = 5", "agents = 0", "mesh.agents: 0 is not allowed"),
        ("agents = 5", "agents = 2", "there is no agent 2"),
        ("agents = 5", "agents = 5\nzones = 9", "mesh.zones"),
        ("agents = 5", "agents = 5\n[network]\nbetween_zones_us = [[0, 1]]", "1 rows of 1"),
        ("agents = 5", "agents = 5\n[network]\ndial_timeout = \"0s\"", "network.dial_timeout"),
        ("agents = 5", "agents = 5\n[network]\nidle_timeout = \"0s\"", "network.idle_timeout"),
        ("agents = 5", "agent = 5", "unknown field `agent`"),
        ("duration = \"30s\"", "duration = \"30\"", "is not a time"),
        ("homes = [0, 1]", "homes = [0, 7]", "there is no agent 7"),
        ("homes = [0, 1]", "homes = []", "homes: names nobody"),
        ("homes = [0, 1]", "homes = [0, 0, 1]", "web@0 appears twice"),
        ("homes = [0, 1]", "homes = [0, 1]\ntimeout = \"2s\"", "must be at least the timeout"),
        ("kind = \"partition\"", "kind = \"earthquake\"", "earthquake"),
        ("groups = [[0, 1, 2], [3, 4]]", "groups = [[0, 1, 2], [2, 4]]", "in two groups"),
        ("groups = [[0, 1, 2], [3, 4]]", "groups = [[0, 1, 2]]", "two groups at least"),
        ("groups = [[0, 1, 2], [3, 4]]", "groups = [[], []]", "groups: all are empty"),
        ("groups = [[0, 1, 2], [3, 4]]", "groups = [[0, 1], []]", "nobody is cut off"),
        ("groups = [[0, 1, 2], [3, 4]]", "symmetric = false\ngroups = [[], [1], [2]]", "nobody is cut off"),
        ("groups = [[0, 1, 2], [3, 4]]", "symmetric = false\ngroups = [[1], []]", "nobody is cut off"),
        ("duration = \"30s\"", "duration = \"999999999m\"", "\"999999999m\" is too long: a time of a plan is 7 days"),
        ("from = \"10s\"\nto", "from = \"999999999m\"\nto", "faults: number 1 is wrong: from: "),
        ("agents = 5", "agents = 5\n[bounds]\nconvergence = \"10081m\"", "7 days at most"),
        ("to = \"20s\"", "to = \"10s\"", "must end after it begins"),
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

#[test]
fn a_wrong_value_of_a_fault_is_told_with_its_key() {
    let told = |from, to| format!("{:#}", Plan::parse(&GOOD.replacen(from, to, 1)).expect_err(to));
    let partition = told("to = \"20s\"", "to = \"20x\"");
    assert!(partition.starts_with("faults: number 1 is wrong: to: ") && partition.contains("\"20x\" is not a time"));
    assert!(told("mode = \"dead\"", "mode = 3").starts_with("faults: number 2 is wrong: mode: "));
    assert!(told("kind = \"partition\"", "kind = \"earthquake\"").starts_with("faults: number 1 is wrong: kind: "));
    let missing = told("to = \"20s\"\n", "\n");
    assert_eq!(missing, "faults: number 1 is wrong: missing field `to`");
    assert!(!told("duration = \"30s\"", "duration = \"30\"").starts_with("faults"), "that is no fault's");
}

/// What is replaced, by what, and what is said of it.
type Wrong = (&'static str, &'static str, &'static str);

/// One fault of each kind with all its keys, and what is wrong with it after a change.
const FAULTS: &[(&str, &[Wrong])] = &[
    (
        "kind = \"ring\"\nagents = [0, 1, 2, 3]\nreach = 1\nfrom = \"1s\"\nto = \"2s\"",
        &[
            ("[0, 1, 2, 3]", "[0, 1, 2, 2]", "agents: an agent is listed twice"),
            ("[0, 1, 2, 3]", "[]", "names nobody"),
            ("reach = 1", "reach = 2", "reach: 2 is not allowed"),
            ("reach = 1", "reach = 0", "reach: 0 is not allowed"),
            ("reach = 1", "reach = 9223372036854775807", "reach: 9223372036854775807 is not allowed"),
        ],
    ),
    (
        "kind = \"cut\"\nsenders = [0]\nreceivers = [1]\nfrom = \"1s\"\nto = \"2s\"",
        &[
            ("[0]", "[]", "senders: names nobody"),
            ("[1]", "[]", "receivers: names nobody"),
            ("[1]", "[0]", "one and the same agent"),
            ("[1]", "[0, 0]", "receivers: an agent is listed twice"),
        ],
    ),
    (
        "kind = \"isolate\"\nagents = [0]\nfrom = \"1s\"\nto = \"2s\"",
        &[("[0]", "[]", "agents: names nobody"), ("[0]", "[5]", "there is no agent 5")],
    ),
    (
        "kind = \"loss\"\nper_mille = 1000\nsenders = [0]\nreceivers = [1]\nonly = \"probe\"\nlarger_than = 600\n\
         burst = { bad = \"1s\", good = \"2s\" }\nfrom = \"1s\"\nto = \"9s\"\ncycle = { on = \"1s\", off = \"1s\" }",
        &[
            ("per_mille = 1000", "per_mille = 1001", "use 1 to 1000"),
            ("senders = [0]", "senders = [5]", "there is no agent 5"),
            ("receivers = [1]", "receivers = []", "receivers: names nobody"),
            ("only = \"probe\"", "only = \"letter\"", "letter"),
            ("bad = \"1s\"", "bad = \"0s\"", "longer than nothing"),
            ("on = \"1s\"", "on = \"1ms\"", "must last 10ms at least"),
            ("to = \"9s\"", "to = \"9999s\"", "more than 1000 turns"),
            ("on = \"1s\", ", "", "missing field `on`"),
        ],
    ),
    (
        "kind = \"delay\"\nextra_us = [10, 20]\nper_mille = 5\nsenders = [0]\nreceivers = [1]\nonly = \"message\"\n\
         from = \"1s\"\nto = \"2s\"",
        &[
            ("[10, 20]", "[20, 10]", "extra_us: [20, 10]"),
            ("[10, 20]", "[0, 0]", "extra_us: [0, 0]"),
            ("[10, 20]", "[0, 10000001]", "extra_us"),
            ("per_mille = 5", "per_mille = 0", "use 1 to 1000"),
        ],
    ),
    (
        "kind = \"duplicate\"\nper_mille = 5\nsenders = [0]\nreceivers = [1]\nfrom = \"1s\"\nto = \"2s\"",
        &[("per_mille = 5", "per_mille = 2000", "use 1 to 1000"), ("[0]", "[9]", "there is no agent 9")],
    ),
    (
        "kind = \"throttle\"\nagents = [0]\nbytes_per_s = 1000\nqueue_bytes = 500\nfrom = \"1s\"\nto = \"2s\"",
        &[("bytes_per_s = 1000", "bytes_per_s = 0", "isolate"), ("[0]", "[]", "names nobody")],
    ),
    (
        "kind = \"reset\"\nagents = [0]\npeers = [1]\nat = \"1s\"\nevery = \"1s\"\nto = \"5s\"",
        &[
            ("every = \"1s\"\n", "", "give both"),
            ("to = \"5s\"", "to = \"1s\"", "must end after it begins"),
            ("peers = [1]", "peers = [7]", "there is no agent 7"),
        ],
    ),
    (
        "kind = \"faulty\"\nagent = 1\nbehaviour = \"forger\"\nfrom = \"1s\"\nto = \"2s\"",
        &[
            ("forger", "saint", "unknown variant `saint`"),
            ("agent = 1", "agent = 5", "there is no agent 5"),
            ("to = \"2s\"", "to = \"1s\"", "must end after it begins"),
        ],
    ),
    (
        "kind = \"abandon\"\nagents = [1, 2]\nat = \"1s\"\nalive = true",
        &[
            ("[1, 2]", "[0, 1, 2]", "more than half of the 5 agents must remain"),
            ("[1, 2]", "[9]", "there is no agent 9"),
            ("[1, 2]", "[]", "agents: names nobody"),
        ],
    ),
    (
        "kind = \"slow\"\nagents = [0]\nper_input = \"5ms\"\nfrom = \"1s\"\nto = \"2s\"",
        &[
            ("\"5ms\"", "\"0ms\"", "per_input: 0s"),
            ("\"5ms\"", "\"11s\"", "per_input: 11s"),
            ("[0]", "[]", "names nobody"),
        ],
    ),
    (
        "kind = \"drift\"\nagent = 0\nppm = -200\nfrom = \"1s\"\nto = \"2s\"",
        &[
            ("-200", "0", "ppm: 0"),
            ("-200", "-100001", "ppm: -100001"),
            ("-200", "-9223372036854775808", "ppm: -9223372036854775808"),
            ("to = \"2s\"", "to = \"1s\"", "must end after it begins"),
        ],
    ),
    (
        "kind = \"clock-step\"\nagent = 0\nat = \"1s\"\nby_ms = -60000",
        &[
            ("-60000", "0", "by_ms: 0"),
            ("-60000", "-9223372036854775808", "by_ms: -9223372036854775808"),
            ("agent = 0", "agent = 5", "there is no agent 5"),
        ],
    ),
    (
        "kind = \"clone\"\nagent = 0\nfrom = \"1s\"\nto = \"2s\"",
        &[
            ("agent = 0", "agent = 5", "there is no agent 5"),
            ("to = \"2s\"", "to = \"1s\"", "must end after it begins"),
        ],
    ),
    (
        "kind = \"rolling-restart\"\nagents = [0, 1]\nfrom = \"1s\"\nevery = \"5s\"\ndown = \"2s\"\ndisk = \"lose\"\n\
         targets_survive = false",
        &[("[0, 1]", "[1, 1]", "listed twice"), ("every = \"5s\"", "every = \"0s\"", "longer than nothing")],
    ),
    (
        "kind = \"replace\"\nagents = [1]\nby = [4]\nfrom = \"1s\"\nevery = \"5s\"\nafter = \"2s\"\ngoodbye = true",
        &[
            ("by = [4]", "by = [3, 4]", "as many as agents"),
            ("by = [4]", "by = [1]", "listed twice"),
            ("by = [4]", "by = [5]", "there is no agent 5"),
            ("after = \"2s\"", "after = \"0s\"", "longer than nothing"),
        ],
    ),
    (
        "kind = \"join-storm\"\nagents = [3, 4]\nfrom = \"1s\"\nto = \"2s\"",
        &[("[3, 4]", "[]", "names nobody"), ("[3, 4]", "[3, 3]", "listed twice")],
    ),
    (
        "kind = \"mass-leave\"\nagents = [3, 4]\nfrom = \"1s\"\nto = \"2s\"",
        &[("[3, 4]", "[3, 9]", "there is no agent 9"), ("to = \"2s\"", "to = \"1s\"", "must end after it begins")],
    ),
    (
        "kind = \"target\"\ninstance = \"web@1\"\nmode = \"slow\"\nanswer_after = \"200ms\"\nfrom = \"1s\"",
        &[
            ("answer_after = \"200ms\"\n", "", "answer_after: belongs to"),
            ("mode = \"slow\"", "mode = \"dead\"", "answer_after: belongs to"),
            ("\"200ms\"", "\"0ms\"", "longer than nothing"),
        ],
    ),
    (
        "kind = \"target\"\ninstance = \"web@1\"\nmode = \"flapping\"\nflap_period = \"20ms\"\nfrom = \"1s\"\nto = \"5s\"",
        &[
            ("\"20ms\"", "\"1us\"", "flap_period: must last 10ms at least"),
            ("to = \"5s\"", "to = \"50s\"", "flap_period: more than 1000 turns between 1s and 50s"),
            ("to = \"5s\"", "", "flap_period: more than 1000 turns between 1s and 60s"),
            ("to = \"5s\"", "to = \"999999999s\"", "7 days at most"),
        ],
    ),
    (
        "kind = \"target\"\ninstance = \"web@1\"\nmode = \"overloaded\"\nprobes_per_s = 3\nfrom = \"1s\"",
        &[
            ("probes_per_s = 3\n", "", "probes_per_s: belongs to"),
            ("mode = \"overloaded\"", "mode = \"silent\"", "probes_per_s: belongs to"),
        ],
    ),
];

#[test]
fn every_fault_is_written_as_it_is_read_and_refused_with_its_reason() {
    for (fault, cases) in FAULTS {
        let head = "summary = \"t\"\n[[services]]\nname = \"web\"\nhomes = [1]\n[[faults]]\n";
        let read = |fault: &str| Plan::parse(&format!("{head}{fault}\n"));
        let plan = read(fault).expect(fault);
        let written = toml::to_string(&plan).unwrap();
        assert_eq!(Plan::parse(&written).unwrap(), plan);
        let written = toml::to_string(&plan).unwrap();
        for key in fault.lines().map(|line| line.split(' ').next().unwrap()) {
            assert!(
                written.contains(&format!("{key} =")) || written.contains(&format!("faults.{key}]")),
                "{key}: {written}"
            );
        }
        for (from, to, message) in *cases {
            assert!(fault.contains(from), "{from}");
            let error = read(&fault.replacen(from, to, 1)).expect_err(to);
            assert!(format!("{error:#}").contains(message), "{to}: {error:#}");
        }
    }
}

#[test]
fn wrong_calls_are_refused_with_their_reason() {
    let calls = "summary = \"t\"\n[[calls]]\ninstance = \"api@1\"\ncallers = [0]\nfrom = \"1s\"\nto = \"9s\"\n\
                 [[calls.troubles]]\nmode = \"hung\"\nfrom = \"1s\"\nto = \"2s\"\nseen_by = [0]\n\
                 [[calls.words]]\nat = \"2s\"\nthrough = 2\nmode = \"forced-open\"\nlasts = \"43200m\"\n";
    Plan::parse(calls).unwrap();
    for (from, to, message) in [
        ("callers = [0]", "callers = []", "callers: names nobody"),
        ("callers = [0]", "callers = [5]", "there is no agent 5"),
        ("callers = [0]", "liars = [5]", "there is no agent 5"),
        ("callers = [0]", "callers = [0, 0]", "callers: an agent is listed twice"),
        ("callers = [0]", "callers = [0]\nliars = [1]", "liars: 1 is none of the callers"),
        ("seen_by = [0]", "seen_by = [1]", "seen_by: names no caller"),
        ("seen_by = [0]", "seen_by = []", "seen_by: names nobody"),
        ("through = 2", "through = 5", "there is no agent 5"),
        ("\"43200m\"", "\"0s\"", "lasts: 0s is not allowed"),
        ("\"43200m\"", "\"43201m\"", "lasts: 2592060s is not allowed"),
    ] {
        let error = Plan::parse(&calls.replacen(from, to, 1)).expect_err(to);
        assert!(format!("{error:#}").contains(message), "{to}: {error:#}");
    }
    let mistyped = format!("{calls}[[services]]\nname = \"api\"\nhomes = [0]\n");
    let error = Plan::parse(&mistyped).expect_err("api@0 is");
    assert!(
        format!("{error:#}").contains("there is no \"api@1\"; of this service the plan has \"api@0\""),
        "{error:#}"
    );
}

#[test]
fn as_many_instances_as_an_agent_takes_are_allowed_and_no_more() {
    let plan = |services: usize| {
        let service = |number: usize| format!("[[services]]\nname = \"s{number}\"\nhomes = [0]\n");
        Plan::parse(&format!("summary = \"t\"\n{}", (0..services).map(service).collect::<String>()))
    };
    plan(quorate_mesh::MAX_INSTANCES_PER_HOME).unwrap();
    let error = plan(quorate_mesh::MAX_INSTANCES_PER_HOME + 1).unwrap_err().to_string();
    assert!(error.contains("10001 instances are too many for home 0"), "{error}");
}

/// Every key that a plan can have, by its dotted path; lists by their heads.
fn keys() -> Vec<String> {
    let full = "[mesh]\nzones = 1\nstart = \"formed\"\n[network]\nbetween_zones_us = [[9]]\ndistribution = \"lognormal\"\n\
                setup = \"1ms\"\nordered = true";
    let text = GOOD.replacen("[mesh]", full, 1).replacen("agents = 5", "[bounds]", 1);
    let plan = Plan { timing: TimingPlan::all(), ..Plan::parse(&text).unwrap() };
    let mut keys = Vec::new();
    let table: toml::Table = toml::from_str(&toml::to_string(&plan).unwrap()).unwrap();
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) => keys.extend(inner.keys().map(|key| format!("{name}.{key}"))),
            toml::Value::Array(_) => keys.push(format!("[[{name}]]")),
            _ => keys.push(name),
        }
    }
    keys
}

#[test]
fn every_key_is_documented() {
    let text = include_str!("../../../docs/simulator.md");
    let missing: Vec<String> = keys().into_iter().filter(|key| !text.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "add to docs/simulator.md: {missing:?}");
}

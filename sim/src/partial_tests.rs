//! What only a part of the mesh reaches is found to be so, also where the only voice for it is its home, which is not among its observers.

use crate::pacing_tests::lines;
use crate::plan::Plan;
use serde_json::{Value, json};

/// The verdicts, in order, that were decided of `instance`, each with those whose signatures counted.
fn decided(plan: &str, instance: &str, seed: u64) -> Vec<(String, Value)> {
    let told = lines(&Plan::parse(plan).unwrap(), seed);
    let of = |line: &&Value| line["kind"] == "certificate" && line["instance"] == instance;
    let verdict = |line: &Value| (line["verdict"].as_str().unwrap().to_owned(), line["assigned"].clone());
    told.iter().filter(of).map(verdict).collect()
}

fn dead(home: usize, from: &str, seen_by_others: Option<usize>) -> String {
    let seen_by = seen_by_others.map(|agents| {
        let others: Vec<usize> = (0..agents).filter(|agent| *agent != home).collect();
        format!("seen_by = {others:?}\n")
    });
    let seen_by = seen_by.unwrap_or_default();
    format!("[[faults]]\nkind = \"target\"\ninstance = \"web@{home}\"\nmode = \"dead\"\nfrom = \"{from}\"\n{seen_by}")
}

fn plan(agents: usize, service: &str, faults: &[String]) -> String {
    format!(
        "summary = \"t\"\nduration = \"80s\"\n[mesh]\nagents = {agents}\nstart = \"settled\"\n[[services]]\nname = \"web\"\n{service}\n{}",
        faults.concat()
    )
}

#[test]
fn one_observer_fails_and_home_reaches_it() {
    let faults: Vec<String> = (1..4).map(|home| dead(home, "20s", Some(5))).collect();
    let plan = plan(5, "homes = [0, 1, 2, 3, 4]\nobservers = 1", &faults);
    let mut watched_from_elsewhere = 0;
    for (home, seed) in [(1, 1), (2, 1), (3, 1), (1, 2), (2, 3), (3, 3)] {
        let verdicts = decided(&plan, &format!("web@{home}"), seed);
        let (last, assigned) = verdicts.last().unwrap();
        // Where home is itself the one observer, nothing is wrong.
        let itself = *assigned == json!([format!("a{home}")]);
        assert_eq!(last, if itself { "up" } else { "partial" }, "web@{home}, {seed}: {verdicts:?}");
        watched_from_elsewhere += usize::from(!itself);
    }
    assert!(watched_from_elsewhere >= 3, "{watched_from_elsewhere}");
}

#[test]
fn of_a_strained_service_what_its_home_alone_reaches_is_partial() {
    let faults = [dead(0, "20s", None), dead(1, "20s", None), dead(4, "35s", Some(12)), dead(5, "35s", Some(12))];
    let plan = plan(12, "homes = [0, 1, 4, 5]", &faults);
    for seed in 1..=4 {
        for home in [4, 5] {
            let verdicts = decided(&plan, &format!("web@{home}"), seed);
            assert_eq!(verdicts.last().unwrap().0, "partial", "web@{home}, {seed}: {verdicts:?}");
        }
    }
}

//! Configuration: an agent runs without a file, and one that is wrong is refused with all its errors at once.

use quorate_tests::{agent_binary, folder, run};
use std::ffi::OsString;
use std::path::Path;

/// Four faults of four kinds: a wrong address, an unknown key, a rule of checks, a missing name.
const WRONG: &str = r#"
[agent]
name = "a"
listen = "nowhere"

[[service]]
name = "web"
[service.check]
tiemout = "1s"
failure_threshold = 0
[[service.instance]]

[[service]]
[[service.instance]]
"#;

fn words(parts: &[&str], path: &Path) -> Vec<OsString> {
    let mut words = vec![agent_binary().into()];
    words.extend(parts.iter().map(OsString::from));
    words.push(path.into());
    words
}

#[test]
fn a_wrong_file_is_refused_with_all_its_errors() {
    let folder = folder();
    let path = folder.path().join("wrong.toml");
    std::fs::write(&path, WRONG).expect("a file");
    let data_dir = folder.path().join("data").display().to_string();
    let started = run(words(&["agent", "--data-dir", &data_dir, "--config"], &path));
    let checked = run(words(&["config", "check"], &path));
    assert_eq!(started.code, Some(2), "{}", started.stderr);
    assert!(matches!(checked.code, Some(1 | 2)), "{:?}: {}", checked.code, checked.stderr);
    for finished in [started, checked] {
        let said = finished.stderr;
        for (line, key) in [
            (4, "agent.listen"),
            (9, "service[0].check.tiemout"),
            (10, "service[0].check.failure_threshold"),
            (13, "service[1].name"),
        ] {
            let place = format!("wrong.toml:{line}:");
            assert!(said.lines().any(|told| told.contains(&place) && told.contains(key)), "{place} {key}\n{said}");
        }
        assert!(said.contains("did you mean `timeout`?"), "{said}");
    }
}

#[test]
fn a_file_that_is_missing_is_told() {
    let folder = folder();
    let path = folder.path().join("absent.toml");
    let finished = run(words(&["agent", "--config"], &path));
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    assert!(finished.stderr.contains("absent.toml"), "{}", finished.stderr);
}

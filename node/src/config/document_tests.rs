//! Several places as one document: what goes before what, what is said twice, and where a fault is.

use super::super::file::load;
use super::*;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn said(files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    let errors = load(Some(folder.path())).unwrap_err().to_string();
    errors.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn files_of_a_directory_are_laid_together() {
    let folder = folder(&[
        (
            "10-agent.toml",
            "[agent]\nname = \"a\"\n[log]\nlevel = \"warn\"\n[[service]]\nname = \"web\"\n[[service.instance]]\n",
        ),
        (
            "20-more.yaml",
            "log:\n  format: json\n  file:\nservice:\n  - name: db\n    check: {protocol: tcp, period: 10s, timeout: 2}\n    instance: [{address: '10.0.0.1:5432'}]\n",
        ),
        ("README", "not a configuration"),
    ]);
    let settings = load(Some(folder.path())).unwrap();
    assert_eq!((settings.name.as_deref(), settings.log.level.as_str()), (Some("a"), "warn"));
    assert_eq!(settings.log.format, crate::config::LogFormat::Json);
    let names: Vec<_> = settings.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["web", "db"]);
    assert_eq!(settings.services[1].check.period.as_secs(), 10);
}

#[test]
fn faults_are_told_by_file_and_place() {
    let one = ("a.toml", "[agent]\nname = \"a\"\nzone = \"a b\"\n");
    let errors = said(&[one, ("b.toml", "\n[agent]\n  name = \"b\"\n"), ("c.yaml", "agent:\n  listen: here\n")]);
    assert_eq!(errors, "b.toml:3:10: agent.name: is said in another file already; keep one of them");
    let errors = said(&[one, ("c.yaml", "agent:\n  listen: here\nlgo: 1\n")]);
    let lines: Vec<_> = errors.lines().collect();
    assert!(lines[0].starts_with("a.toml:3:8: agent.zone: "), "{errors}");
    assert!(lines.iter().any(|line| line.starts_with("c.yaml: agent.listen: \"here\" is not IP:PORT")), "{errors}");
    assert!(lines.iter().any(|line| line.contains("lgo: is not a known key; did you mean `log`?")), "{errors}");
    assert!(said(&[("b.toml", "x = \n"), one]).contains("b.toml:1:"), "syntax");
    assert_eq!(
        said(&[("a.yaml", "log:\n  level: info\n  level: warn\n")]),
        "a.yaml:3:3: duplicate mapping key `level` is not allowed here"
    );
    assert_eq!(
        said(&[("a.yaml", "log: {}\n---\nlog: {}\n")]),
        "a.yaml:3:1: only single YAML document expected but multiple found"
    );
    assert!(said(&[("a.yaml", "a: [\n")]).starts_with("a.yaml:1:4: unclosed"));
    assert_eq!(said(&[("a.yaml", "[]\n")]), "a.yaml: must be a mapping of sections, such as `agent:`");
    assert!(said(&[]).contains("holds no file"));
}

fn document(text: &str, variables: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<Table, String> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let texts = Texts::of("x.toml", text).environment(environment);
    let known = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    texts.document(known).map(|table| as_table(&table)).map_err(|errors| errors.to_string())
}

#[test]
fn variables_fill_texts_and_break_nothing() {
    let text = "[a]\nx = \"${HOST}:${PORT:-80}\"\nlist = [\"${HOST}\"]\nre = \"^a$\"\ncost = \"$$5 $${HOST}\"\nn = 1\n";
    let found = document(text, &[("HOST", "h\" evil = \"1"), ("PORT", "")], &[]).unwrap();
    let a = found["a"].as_table().unwrap();
    assert_eq!(a["x"].as_str(), Some("h\" evil = \"1:80"));
    assert_eq!((a["re"].as_str(), a["cost"].as_str(), a.len()), (Some("^a$"), Some("$5 ${HOST}"), 5));
    for (text, words) in [
        ("x = \"${NOPE}\"", "x.toml:1:5: x: the variable NOPE is not set"),
        ("x = \"${A\"", "has a `${` without its `}`"),
        ("x = [\"${A B}\"]", "x[0]: ${A B} names no variable"),
    ] {
        let error = document(text, &[], &[]).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn the_environment_goes_before_the_files() {
    let environment = [
        ("QUORATE__LOG__LEVEL", "debug"),
        ("QUORATE__API__RATE_LIMIT", "7"),
        ("QUORATE__PROBE__ALLOW_TARGETS", "[\"10.0.0.0/8\"]"),
        ("QUORATE_NAME", "not a key"),
    ];
    let found = document("[log]\nlevel = \"info\"\nformat = \"json\"\n", &[], &environment).unwrap();
    assert_eq!((found["log"]["level"].as_str(), found["log"]["format"].as_str()), (Some("debug"), Some("json")));
    assert_eq!((found["api"]["rate_limit"].as_integer(), found.len()), (Some(7), 3));
    let flat = flattened(&found);
    assert_eq!(flat["api.rate_limit"], "7");
    assert_eq!(flat["probe.allow_targets"], "[\"10.0.0.0/8\"]");
    let texts = Texts::default().environment([("QUORATE__LOG__LEVLE".to_owned(), "x".to_owned())].into_iter());
    let document = texts.document(|_| None).unwrap();
    assert_eq!(
        as_table(&document)["log"]["levle"].as_str(),
        Some("x"),
        "told by whoever reads it, under the variable's name"
    );
}

#[test]
fn names_that_others_gave_go_before_the_files_and_clash_with_ours() {
    let text = "[log]\nlevel = \"info\"\n";
    let table = document(text, &[], &[("LOGGING_LEVEL", "DEBUG"), ("LOG_JSON", "yes")]).unwrap();
    assert_eq!(table["log"]["level"].as_str(), Some("debug"));
    assert_eq!(table["log"]["format"].as_str(), Some("json"));
    let both = document(text, &[], &[("LOGGING_LEVEL", "DEBUG"), ("QUORATE__LOG__LEVEL", "warn")]).unwrap_err();
    assert_eq!(both, "LOGGING_LEVEL: says the same as QUORATE__LOG__LEVEL; keep one of them");
}

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
    assert!(
        lines.iter().any(|line| line.starts_with("c.yaml:2:11: agent.listen: \"here\" is not IP:PORT")),
        "{errors}"
    );
    assert!(
        lines.iter().any(|line| line.starts_with("c.yaml:3:1: lgo: is not a known key; did you mean `log`?")),
        "{errors}"
    );
    assert!(said(&[("b.toml", "x = \n"), one]).contains("b.toml:1:"), "syntax");
    assert_eq!(
        said(&[("a.yaml", "log:\n  level: info\n  level: warn\n")]),
        "a.yaml:3:3: log.level: is said twice; keep one of them"
    );
    assert_eq!(
        said(&[("a.toml", "[log]\nlevel = \"info\"\nlevel = \"warn\"\n[dns]\n[log]\n")]),
        "a.toml:3:1: level: is said twice; keep one of them\na.toml:5:2: log: is said twice; keep one of them"
    );
    assert_eq!(
        said(&[("a.yaml", "log: {}\n---\nlog: {}\n")]),
        "a.yaml:3:1: only single YAML document expected but multiple found"
    );
    assert!(said(&[("a.yaml", "a: [\n")]).starts_with("a.yaml:1:4: unclosed"));
    assert_eq!(said(&[("a.yaml", "[]\n")]), "a.yaml:1:1: must be a mapping of sections, such as `agent:`");
    assert!(said(&[]).contains("holds no file"));
}

#[test]
fn each_fault_of_a_text_in_yaml_stands_at_its_key() {
    // Spaces, a mark and letters of several bytes before them; an alias and a merge, which bring in what stands elsewhere.
    let text = "\u{feff}# \u{e4}\u{20ac}\nagent:\n  zone: \"\u{e4} b\"\nx-base: &base\n  tiemout: 1s\nprobe:\n  allow_targets:\n  - 10.0.0.0/8\n  - 10.0.0.0/99\n\
        service:\n- name: web\n  check:\n    <<: *base\n    period: soon\n    assert:\n    - {json: $.a, equals: x}\n    - json: $..a..b\n      matches: (\n\
        \x20   - header: a b\n      exists: true\n      contain: x\n  instance:\n  - {address: \"h:1\"}\n  - address: \"0.0.0.0:80\"\n    adress: x\n  - 7\n";
    let errors = said(&[("a.toml", "[log]\nlevel = \"warn\"\n"), ("b.yaml", text)]);
    let places = |line: &str| line.splitn(5, ':').take(4).collect::<Vec<_>>().join(":");
    let places: Vec<_> = errors.lines().map(places).collect();
    let expected = [
        "b.yaml:3:9: agent.zone",
        "b.yaml:4:1: x-base",
        "b.yaml:5:3: service[0].check.tiemout",
        "b.yaml:9:5: probe.allow_targets",
        "b.yaml:14:13: service[0].check.period",
        "b.yaml:17:13: service[0].check.assert[1].json",
        "b.yaml:18:16: service[0].check.assert[1].matches",
        "b.yaml:19:15: service[0].check.assert[2].header",
        "b.yaml:21:7: service[0].check.assert[2].contain",
        "b.yaml:24:14: service[0].instance[1].address",
        "b.yaml:25:5: service[0].instance[1].adress",
        "b.yaml:26:5: service[0].instance[2]",
    ];
    assert_eq!(places, expected, "{errors}");
    assert!(errors.contains("did you mean `timeout`?") && errors.contains("did you mean `address`?"), "{errors}");
}

#[test]
fn every_key_that_is_there_twice_is_told_in_every_file() {
    let yaml = "log:\n  level: info\nservice:\n- check: {port: 1, port: 2}\n  name: a\n  name: b\nlog: {}\n";
    let toml = "[log]\n\"level\" = 1\n\"level\" = 2\n[[service]]\ncheck = { port = 1, port = 2 }\n";
    let errors = said(&[("a.yaml", yaml), ("b.toml", toml), ("c.yaml", "a: {b: [\n"), ("d.yaml", "a: 1\na: 2\n")]);
    let (twice, broken): (Vec<_>, Vec<_>) =
        errors.lines().partition(|line| line.ends_with(": is said twice; keep one of them"));
    let places: Vec<_> = twice.iter().map(|line| line.rsplitn(3, ':').last().unwrap_or_default()).collect();
    let expected = ["a.yaml:4:20", "a.yaml:6:3", "a.yaml:7:1", "b.toml:3:1", "b.toml:5:21", "d.yaml:2:1"];
    assert_eq!(places, expected, "{errors}");
    for key in [" service[0].check.port:", " service[0].name:", " log:", " log.level:", " a:"] {
        assert!(twice.iter().any(|line| line.contains(key)), "{key} {errors}");
    }
    assert!(broken.len() == 1 && broken[0].starts_with("c.yaml:1:"), "{errors}");
}

#[test]
fn a_key_that_is_there_twice_is_told_with_its_path() {
    let keys = |text: &str| {
        let errors = Texts::of("x", text).literal().unwrap_err();
        errors.said().iter().map(|line| line.replace(": is said twice; keep one of them", "")).collect::<Vec<_>>()
    };
    let service = "[[service]]\nname = \"a\"\n[[service.instance]]\n[[service]]\n";
    for (text, key) in [
        ("check = { protocol = \"http\", protocol = \"tcp\" }", "service[1].check.protocol"),
        ("check = { headers = { A = \"{\", B = \"x\", A = \"y\" } }", "service[1].check.headers.A"),
        ("check = { headers = { port = \"x\" }, port = 1, port = 2 }", "service[1].check.port"),
        ("check = { assert = [{}, { json = \"a\", json = \"b\" }] }", "service[1].check.assert[1].json"),
        ("instance = [\n  { id = \"a\" },\n  { id = \"b\", id = \"c\" },\n]", "service[1].instance[1].id"),
        ("[service.check]\nport = 1\n'port' = 2\n[[service.instance]]", "service[1].check.port"),
        ("[[service.instance]]\nid = \"a\"\nid = \"b\"", "service[1].instance[0].id"),
        ("check.port = 1\ncheck . port = 2", "service[1].check.port"),
        ("name = \"b\"\n\"name\" = \"c\"", "service[1].name"),
        ("[log]\n[log]", "log"),
    ] {
        assert_eq!(keys(&format!("{service}{text}\n")), [key], "{text}");
    }
    assert_eq!(keys("a = 1\na = 2\n"), ["a"]);
    assert_eq!(keys("\"a.b\" = 1\n\"a.b\" = 2\n"), ["\"a.b\""], "as it is written where its table cannot be told");
}

#[test]
fn a_text_in_yaml_says_what_one_in_toml_says() {
    let yaml =
        "a: {n: -5, f: 1.5, large: 1e20, t: true, s: '5', none: , list: [1, x, ]}\n2: {}\nbig: 18446744073709551615\n";
    let folder = folder(&[("a.yaml", yaml), ("b.yaml", ""), ("c.yml", "# nothing\n---\n")]);
    let texts = Texts::read(folder.path()).unwrap();
    let toml = "big = \"18446744073709551615\"\n[a]\nn = -5\nf = 1.5\nlarge = 1e20\nt = true\ns = \"5\"\nlist = [1, \"x\"]\n[2]\n";
    assert_eq!(as_table(&texts.literal().unwrap()), toml.parse::<Table>().unwrap());
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

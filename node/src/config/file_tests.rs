//! Every invalid file of the test data gives exactly the messages beside it; `UPDATE_EXPECT=1` writes them anew.

use super::parse;
use quorate_core::{CheckKind, Expect};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config").join(folder);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn shown(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn invalid_files_give_their_messages() {
    let mut wrong = Vec::new();
    for path in files("invalid") {
        let text = std::fs::read_to_string(&path).unwrap();
        let found = match parse(&shown(&path), &text) {
            Ok(_) => "valid\n".to_owned(),
            Err(errors) => format!("{errors}\n"),
        };
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&expected, &found).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "other messages than expected:\n{}", wrong.join("\n"));
}

#[test]
fn valid_files_are_valid() {
    for path in files("valid") {
        let text = std::fs::read_to_string(&path).unwrap();
        if let Err(errors) = parse(&shown(&path), &text) {
            panic!("{errors}");
        }
    }
}

#[test]
fn the_example_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/quorate.toml");
    if let Err(errors) = parse("quorate.toml", &std::fs::read_to_string(path).unwrap()) {
        panic!("{errors}");
    }
}

#[test]
fn defaults_are_those_of_the_guide() {
    let settings = parse("x", "[[service]]\nname = \"web\"\n[[service.instance]]\n").unwrap();
    let service = &settings.services[0];
    assert_eq!(service.check, quorate_core::Check::default());
    let registrations = service.registrations(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(registrations[0].address, "10.0.0.1:8000");
    assert_eq!(registrations[0].instance.as_str(), "web@10.0.0.1:8000");
    assert_eq!(registrations[0].observers, 5);
}

#[test]
fn everything_is_read() {
    let text = r#"
        [agent]
        name = "a"
        zone = "z"
        [[service]]
        name = "db"
        observers = 3
        [service.check]
        protocol = "TCP"
        port = 6379
        period_seconds = 2
        timeout = "250ms"
        initial_delay = 0.5
        probe_data_hex = "50 49 4e 47"
        expected_regex = "^\\+PONG"
        [[service.instance]]
        address = "db-1"
        [[service.instance]]
        address = "::1"
        id = "db-two"
        [[service.instance]]
        address = "[::1]:6380"
    "#;
    let settings = parse("x", text).unwrap();
    let service = &settings.services[0];
    assert_eq!(service.check.period, Duration::from_secs(2));
    assert_eq!(service.check.timeout, Duration::from_millis(250));
    assert_eq!(service.check.initial_delay, Duration::from_millis(500));
    let CheckKind::Tcp(tcp) = &service.check.kind else { panic!("{:?}", service.check.kind) };
    assert_eq!(tcp.send, b"PING");
    assert_eq!(tcp.expect, Some(Expect::Regex("^\\+PONG".to_owned())));
    let own = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let addresses: Vec<_> =
        service.registrations(own).into_iter().map(|r| (r.instance.to_string(), r.address)).collect();
    let expected = [("db@db-1:6379", "db-1:6379"), ("db-two", "[::1]:6379"), ("db@[::1]:6380", "[::1]:6380")]
        .map(|(i, a)| (i.to_owned(), a.to_owned()));
    assert_eq!(addresses, expected);
}

#[test]
fn an_address_that_is_another_host_for_everyone_is_refused() {
    for address in ["0.0.0.0:80", "0.0.0.0", "[::]:80", "::"] {
        let text = format!("[[service]]\nname = \"web\"\n[[service.instance]]\naddress = \"{address}\"\n");
        let errors = parse("x", &text).unwrap_err().to_string();
        assert!(
            errors.contains("x:4:11: service[0].instance[0].address") && errors.contains("another host"),
            "{errors}"
        );
    }
}

#[test]
fn a_file_without_an_end_is_refused() {
    let errors = super::load(std::path::Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(errors.contains("is too large"), "{errors}");
}

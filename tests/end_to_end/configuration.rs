//! Configuration: an agent runs without a file, and one that is wrong is refused with all its errors at once.

use nix::sys::signal::Signal;
use quorate_tests::{Finished, Host, Process, Target, agent_binary, eventually, folder, free_tcp_port, get, run};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// An agent on loopback with this configuration in a directory of files.
struct Scene {
    agent: Process,
    api: std::net::SocketAddr,
    files: PathBuf,
    token: PathBuf,
    _folder: tempfile::TempDir,
}

fn scene(target: &Target) -> Scene {
    let folder = folder();
    let (files, data) = (folder.path().join("conf.d"), folder.path().join("data"));
    std::fs::create_dir(&files).expect("a folder");
    let api: std::net::SocketAddr = format!("127.0.0.1:{}", free_tcp_port()).parse().expect("an address");
    let agent =
        format!("[agent]\nname = \"${{AGENT_NAME:-alone}}\"\nlisten = \"127.0.0.1:0\"\n[api]\nlisten = \"{api}\"\n");
    std::fs::write(files.join("10-agent.toml"), agent).expect("a file");
    write_service(&files, "web", target);
    let data_dir = data.display().to_string();
    let quorate = |arguments: &[&str]| {
        let mut all: Vec<OsString> = vec![agent_binary().into()];
        all.extend(arguments.iter().map(OsString::from));
        all.extend(["--data-dir".into(), data_dir.clone().into()]);
        all
    };
    let _line = run(quorate(&["init"])).success();
    let token = folder.path().join("token");
    let made = run(quorate(&["token", "create", "--scope", "operate"])).success();
    std::fs::write(&token, made).expect("a file");
    let config = files.display().to_string();
    let agent = Process::start("alone", &quorate(&["agent", "--config", &config]), &folder.path().join("log"));
    eventually("it is ready", Duration::from_secs(30), || {
        let answer = get(api, "/readyz").map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(answer.body) }
    });
    Scene { agent, api, files, token, _folder: folder }
}

/// With an objective of its own unless it is `web`.
fn write_service(files: &Path, name: &str, target: &Target) {
    let slo = if name == "web" { "" } else { "slo: {objective: 0.9995}\n    " };
    let text = format!(
        "service:\n  - name: {name}\n    {slo}check: {{period: 1s, timeout: 500ms, initial_delay: 0s, path: /}}\n    \
         instance: [{{address: '{}'}}]\n",
        target.address()
    );
    std::fs::write(files.join("20-services.yaml"), text).expect("a file");
}

impl Scene {
    fn services(&self) -> Vec<String> {
        let answer = get(self.api, "/v1/services").expect("an answer").json().expect("JSON");
        let services = answer["services"].as_array().expect("a list");
        services.iter().map(|service| service["service"].as_str().expect("a name").to_owned()).collect()
    }

    fn metric(&self, name: &str) -> String {
        let page = get(self.api, "/metrics").expect("an answer").body;
        let line = page.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.and_then(|line| line.rsplit(' ').next()).unwrap_or_default().to_owned()
    }

    fn reload(&self) -> Finished {
        self.ask(&["reload"])
    }

    fn ask(&self, command: &[&str]) -> Finished {
        let mut all: Vec<OsString> = vec![agent_binary().into()];
        all.extend(command.iter().map(OsString::from));
        all.extend([
            "--addr".into(),
            self.api.to_string().into(),
            "--api-token-file".into(),
            self.token.clone().into(),
        ]);
        run(all)
    }
}

const SUCCESSFUL: &str = "quorate_config_last_reload_successful";

#[test]
fn a_directory_is_read_anew_and_one_that_is_wrong_changes_nothing() {
    let targets = folder();
    let target = Target::start("http", &Host::loopback(), targets.path());
    let scene = scene(&target);
    assert_eq!(scene.services(), ["web"]);
    assert_eq!(scene.metric("quorate_service_objective_ratio{service=\"web\"}"), "0.995");
    write_service(&scene.files, "shop", &target);
    scene.agent.signal(Signal::SIGHUP);
    eventually("SIGHUP brings the other service", Duration::from_secs(10), || {
        let services = scene.services();
        if services == ["shop"] { Ok(()) } else { Err(format!("{services:?}")) }
    });
    assert_eq!(scene.metric(SUCCESSFUL), "1");
    assert_eq!(scene.metric("quorate_service_objective_ratio{service=\"shop\"}"), "0.9995");
    let report = scene.ask(&["report", "shop"]).success();
    assert!(report.contains("  objective  99.95 %   ("), "{report}");

    let services = scene.files.join("20-services.yaml");
    let good = std::fs::read_to_string(&services).expect("a file");
    std::fs::write(&services, good.replace("timeout", "tiemout")).expect("a file");
    let refused = scene.reload();
    assert!(refused.code == Some(1) && refused.stderr.contains("did you mean `timeout`?"), "{refused:?}");
    assert_eq!((scene.services(), scene.metric(SUCCESSFUL)), (vec!["shop".to_owned()], "0".to_owned()));
    scene.agent.signal(Signal::SIGHUP);
    eventually("the audit log tells how each reload ended", Duration::from_secs(10), || {
        let audit =
            std::fs::read_to_string(scene.token.with_file_name("data").join("audit.log")).expect("an audit log");
        let done = |line: &str| line.contains("\"reload\"").then(|| line.contains("\"done\":true"));
        let ended: Vec<_> = audit.lines().filter_map(done).collect();
        if ended == [true, false, false] { Ok(()) } else { Err(audit) }
    });

    write_service(&scene.files, "api", &target);
    std::fs::write(scene.files.join("30-more.toml"), "[log]\nlevel = \"debug\"\n[agent]\nzone = \"b\"\n")
        .expect("a file");
    let reloaded = scene.reload();
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    assert!(reloaded.stdout.contains("log.level, service"), "{reloaded:?}");
    assert!(reloaded.stderr.contains("take a new start of the agent: agent.zone"), "{reloaded:?}");
    eventually("the service is there", Duration::from_secs(10), || {
        let services = scene.services();
        if services == ["api"] { Ok(()) } else { Err(format!("{services:?}")) }
    });
    assert_eq!(scene.metric(SUCCESSFUL), "1");
    eventually("the log tells more", Duration::from_secs(30), || {
        if scene.agent.log().contains("DEBUG") { Ok(()) } else { Err("no line at DEBUG".to_owned()) }
    });
    // Whoever brings a token is held to the new rate at once.
    std::fs::write(scene.files.join("40-rate.toml"), "[api]\nrate_limit = 2\n").expect("a file");
    let reloaded = scene.reload();
    assert!(reloaded.stdout.contains("api.rate_limit"), "{reloaded:?}");
    let asked: Vec<_> = (0..4).map(|_| scene.reload()).collect();
    assert!(asked.iter().any(|asked| asked.stderr.contains("too many requests")), "{asked:?}");
}

#[test]
fn what_is_configured_is_shown_without_secrets() {
    let folder = folder();
    let text = "[log]\nlevel = \"${SHOWN_LEVEL}\"\n[agent]\napi = \"127.0.0.1:7711\"\nname = \"${SHOWN_NAME:-a}$$b\"\n";
    std::fs::write(folder.path().join("a.toml"), text).expect("a file");
    std::fs::write(folder.path().join("b.yaml"), "probe:\n  max_concurrent: 7\n").expect("a file");
    let shown = |more: &[&str]| {
        let mut all = words(&["config", "show"], folder.path());
        all.extend(more.iter().map(OsString::from));
        run(all).success()
    };
    let plain = shown(&[]);
    assert!(plain.contains("level = \"${SHOWN_LEVEL}\"") && plain.contains("max_concurrent = 7"), "{plain}");
    assert!(plain.contains("name = \"${SHOWN_NAME:-a}$$b\""), "as it is written, so that it can be used: {plain}");
    assert!(!plain.contains("max_per_host"), "{plain}");
    let resolved = shown(&["--resolved"]);
    assert!(resolved.contains("max_concurrent = 7") && resolved.contains("max_per_host = 20"), "{resolved}");
    assert!(resolved.contains("127.0.0.1:7711") && !resolved.contains("127.0.0.1:7701"), "said once: {resolved}");
    let checked = run(words(&["config", "check"], folder.path()));
    assert!(checked.code == Some(1) && checked.stderr.contains("the variable SHOWN_LEVEL is not set"), "{checked:?}");
}

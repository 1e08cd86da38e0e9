//! Prometheus as operators run it: the shipped rules are sound and do as they say, and a real one finds and scrapes real agents.

use quorate_tests::{AgentSetup, Host, Mesh, Process, Target, eventually, folder, free_tcp_port, get, optional, run};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring")
}

fn words(program: &Path, arguments: &[&str], file: &str) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![program.into()];
    words.extend(arguments.iter().map(OsString::from));
    words.push(shipped().join(file).into());
    words
}

#[test]
fn the_rules_do_as_they_say() {
    let Some(promtool) = optional("promtool") else { return };
    let _checked = run(words(&promtool, &["check", "rules"], "alerts.yml")).success();
    let _checked = run(words(&promtool, &["check", "config"], "prometheus.yml")).success();
    let tested = run(words(&promtool, &["test", "rules"], "alerts_test.yml"));
    assert_eq!(tested.code, Some(0), "{}{}", tested.stdout, tested.stderr);
}

/// What the compose file mounts is there, and nothing in it listens beyond loopback. `docker compose` itself is not asked.
#[test]
fn the_compose_file_keeps_to_loopback_and_mounts_what_exists() {
    let deploy = shipped().join("..");
    let text = std::fs::read_to_string(deploy.join("compose.yaml")).expect("the file");
    for part in ["profiles: [monitoring]", "127.0.0.1:9090", "GF_SERVER_HTTP_ADDR: 127.0.0.1", "\"3001\""] {
        assert!(text.contains(part), "{part}");
    }
    assert!(!text.contains("ports:") && !text.contains("0.0.0.0"), "everything is on loopback");
    let mounted = text.lines().filter_map(|line| line.trim().strip_prefix("- ./"));
    let mounted: Vec<&str> = mounted.filter_map(|rest| rest.split(':').next()).collect();
    assert_eq!(mounted.len(), 4);
    for path in mounted {
        assert!(deploy.join(path).exists(), "{path}");
    }
}

/// The same rules for the operator of Kubernetes. `UPDATE_EXPECT=1` writes them anew.
#[test]
fn the_manifest_has_the_same_rules() {
    let rules = std::fs::read_to_string(shipped().join("alerts.yml")).expect("the rules");
    let (_, groups) = rules.split_once("groups:\n").expect("groups");
    let indented: String =
        groups.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect();
    let wanted = format!(
        "# Made from ../alerts.yml, which says what the rules are for.\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n\
         metadata:\n  name: quorate\n  labels:\n    app: quorate\nspec:\n  groups:\n{indented}"
    );
    let path = shipped().join("kubernetes/prometheusrule.yaml");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &wanted).expect("a file");
    }
    assert_eq!(std::fs::read_to_string(&path).expect("the manifest"), wanted, "UPDATE_EXPECT=1 rewrites it");
}

#[test]
fn a_real_prometheus_finds_and_scrapes_every_agent() {
    let Some(prometheus) = optional("prometheus") else { return };
    let scene = folder();
    let target = Target::start("http", &Host::loopback(), scene.path());
    let agent = |name: &str| AgentSetup::new(name, Host::loopback());
    let mesh = Mesh::start(&[agent("host-a").serving("web", &target), agent("host-b")], folder());
    let config = std::fs::read_to_string(shipped().join("prometheus.yml")).expect("the configuration");
    let config = config.replace("127.0.0.1:7701", &mesh.agents[0].api.to_string()).replace("15s", "1s");
    let config = config
        .replace("http_sd_configs:\n", "http_sd_configs:\n      - refresh_interval: 1s\n")
        .replace("      - url:", "        url:");
    let path = scene.path().join("prometheus.yml");
    std::fs::write(&path, config).expect("a file");
    std::fs::copy(shipped().join("alerts.yml"), scene.path().join("alerts.yml")).expect("the rules");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_tcp_port()));
    let arguments = [
        format!("--config.file={}", path.display()),
        format!("--storage.tsdb.path={}", scene.path().join("data").display()),
        format!("--web.listen-address={address}"),
    ];
    let mut all: Vec<OsString> = vec![prometheus.into()];
    all.extend(arguments.iter().map(OsString::from));
    let _server = Process::start("prometheus", &all, &scene.path().join("prometheus.log"));
    let query = |expression: &str| {
        let answer =
            get(address, &format!("/api/v1/query?query={expression}")).map_err(|error| error.to_string())?.json()?;
        answer["data"]["result"].as_array().cloned().ok_or_else(|| answer.to_string())
    };
    eventually("both agents are scraped", Duration::from_secs(60), || {
        let up = query("up%7Bjob%3D%22quorate%22%7D==1")?;
        if up.len() == 2 { Ok(()) } else { Err(format!("{up:?}")) }
    });
    eventually("the instance is told by its home alone", Duration::from_secs(60), || {
        let found = query("quorate_instance_up==1")?;
        match found.as_slice() {
            [one] if one["metric"]["service"] == "web" => Ok(()),
            _ => Err(format!("{found:?}")),
        }
    });
    eventually("the recorded series exist", Duration::from_secs(60), || {
        let found = query("service:down:ratio5m==0")?;
        if found.len() == 1 { Ok(()) } else { Err(format!("{found:?}")) }
    });
    let rules = get(address, "/api/v1/rules").expect("an answer").body;
    assert!(rules.contains("QuorateInstanceDown") && !rules.contains("\"health\":\"err\""), "{rules:.2000}");
}

//! Prometheus as operators run it: the shipped rules are sound and do as they say, and a real one finds and scrapes real agents.

use quorate_tests::{
    AgentSetup, Host, Mesh, Process, Target, agent_binary, eventually, folder, free_tcp_port, get, optional, run,
};
use serde_json::{Value, json};
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

fn printed(arguments: &[&str]) -> String {
    let mut words: Vec<OsString> = vec![agent_binary().into(), "metrics".into()];
    words.extend(arguments.iter().map(OsString::from));
    run(words).success()
}

/// The same tests, with the recorded series named as an agent with `metrics.prefix` names them.
#[test]
fn the_rules_for_a_prefix_do_as_they_say() {
    let shipped_rules = std::fs::read_to_string(shipped().join("alerts.yml")).expect("the rules");
    assert_eq!(printed(&["rules"]), shipped_rules);
    let names = printed(&["names"]);
    let others: Vec<&str> = names.lines().filter(|name| !name.starts_with("quorate_")).collect();
    let pattern = format!(r"\b({})(_bucket|_count|_sum)?\b", others.join("|"));
    let pattern = regex::Regex::new(&pattern).expect("a pattern");
    let prefixed = |text: &str| pattern.replace_all(text, "chatbot_$0").into_owned();
    assert_eq!(printed(&["names", "--prefix", "chatbot"]), prefixed(&names));
    let scene = folder();
    let rules = printed(&["rules", "--prefix", "chatbot", "--http-labels", "path"]);
    assert_ne!(rules, shipped_rules);
    std::fs::write(scene.path().join("alerts.yml"), rules).expect("a file");
    let cases = std::fs::read_to_string(shipped().join("alerts_test.yml")).expect("the tests");
    let path = scene.path().join("alerts_test.yml");
    // Requests have other labels, too: in what is recorded, and in what is told.
    let cases =
        prefixed(&cases).replace("route=", "path=").replace("route: ", "path: ").replace("A route of", "A path of");
    std::fs::write(&path, cases).expect("a file");
    let Some(promtool) = optional("promtool") else { return };
    let tested = run([promtool.into_os_string(), "test".into(), "rules".into(), path.into_os_string()]);
    assert_eq!(tested.code, Some(0), "{}{}", tested.stdout, tested.stderr);
    let program = agent_binary().display().to_string();
    let refused = run([program.as_str(), "metrics", "rules", "--prefix=quorate"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("agent's own names"), "{refused:?}");
}

/// An alert that no recorded series sets off may never go off.
#[test]
fn every_alert_goes_off_in_a_test() {
    let told: Vec<Value> = yaml("alerts_test.yml")["tests"]
        .as_array()
        .expect("tests")
        .iter()
        .flat_map(|test| list(&test["alert_rule_test"]))
        .collect();
    let goes_off =
        |name: &Value| told.iter().any(|case| case["alertname"] == *name && !list(&case["exp_alerts"]).is_empty());
    let groups = list(&yaml("alerts.yml")["groups"]);
    let alerts: Vec<Value> = groups
        .iter()
        .flat_map(|group| list(&group["rules"]))
        .map(|rule| rule["alert"].clone())
        .filter(Value::is_string)
        .collect();
    assert!(alerts.len() > 25, "{alerts:?}");
    let never: Vec<_> = alerts.iter().filter(|name| !goes_off(name)).collect();
    assert!(never.is_empty(), "{never:?}");
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
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

fn yaml(file: &str) -> Value {
    let text = std::fs::read_to_string(shipped().join(file)).expect("the file");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn grafana_is_given_its_sources_and_its_dashboard() {
    let sources = yaml("grafana/provisioning/datasources/datasources.yml");
    let sources = sources["datasources"].as_array().expect("a list");
    let found: Vec<_> = sources.iter().map(|one| (one["type"].as_str(), one["url"].as_str())).collect();
    let wanted = [("prometheus", "http://127.0.0.1:9090"), ("loki", "http://127.0.0.1:3100")];
    assert_eq!(found, wanted.map(|(kind, url)| (Some(kind), Some(url))));
    let folder = yaml("grafana/provisioning/dashboards/dashboards.yml")["providers"][0]["options"]["path"].clone();
    let compose = std::fs::read_to_string(shipped().join("../compose.yaml")).expect("the file");
    let mount = format!("- ./monitoring/grafana/dashboards:{}:ro", folder.as_str().expect("a path"));
    assert!(compose.contains(&mount), "{mount}");
    let dashboard = std::fs::read_to_string(shipped().join("grafana/dashboards/quorate-observability.json"));
    let dashboard: Value = serde_json::from_str(&dashboard.expect("the dashboard")).expect("JSON");
    assert_eq!(dashboard["title"], "Quorate - Observability");
}

#[test]
fn scraping_in_kubernetes_finds_the_same_port_by_both_ways() {
    let monitor = yaml("kubernetes/servicemonitor.yaml");
    assert_eq!(
        (monitor["apiVersion"].as_str(), monitor["kind"].as_str()),
        (Some("monitoring.coreos.com/v1"), Some("ServiceMonitor"))
    );
    assert_eq!(monitor["spec"]["selector"]["matchLabels"]["app"], "quorate");
    let endpoint = &monitor["spec"]["endpoints"][0];
    let said = ["port", "path", "interval", "scheme"].map(|key| endpoint[key].as_str().expect("a text"));
    assert_eq!(said, ["http", "/metrics", "15s", "https"]);

    let job = yaml("kubernetes/prometheus.yml")["scrape_configs"][0].clone();
    assert_eq!((&job["kubernetes_sd_configs"][0]["role"], &job["scheme"]), (&json!("endpoints"), &json!("https")));
    let kept: Vec<_> = job["relabel_configs"]
        .as_array()
        .expect("rules")
        .iter()
        .filter(|rule| rule["action"] == "keep")
        .map(|rule| (rule["source_labels"][0].as_str().expect("a label"), rule["regex"].as_str().expect("a value")))
        .collect();
    let wanted = [("__meta_kubernetes_service_label_app", "quorate"), ("__meta_kubernetes_endpoint_port_name", "http")];
    assert_eq!(kept, wanted);
}

/// The same rules for the operator of Kubernetes.
#[test]
fn the_manifest_has_the_same_rules() {
    let manifest = yaml("kubernetes/prometheusrule.yaml");
    assert_eq!(manifest["spec"]["groups"], yaml("alerts.yml")["groups"]);
    assert_eq!(
        (&manifest["apiVersion"], &manifest["kind"], &manifest["metadata"]["name"]),
        (&json!("monitoring.coreos.com/v1"), &json!("PrometheusRule"), &json!("quorate"))
    );
    let text = std::fs::read_to_string(shipped().join("kubernetes/prometheusrule.yaml")).expect("the manifest");
    assert_eq!(printed(&["rules", "--kubernetes"]), text);
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

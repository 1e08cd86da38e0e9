//! The manifests for Kubernetes: what belongs together has the same names and ports, and the agent understands what it is given. No cluster is asked.

use quorate_tests::{agent_binary, folder, run};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

fn manifests() -> BTreeMap<String, Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/quorate.yaml");
    let text = std::fs::read_to_string(path).expect("the manifests");
    let read = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let all = text.split("\n---\n").map(read).map(|one| (one["kind"].as_str().expect("a kind").to_owned(), one));
    all.collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn names_labels_and_ports_belong_together() {
    let all = manifests();
    let kinds: Vec<&str> = all.keys().map(String::as_str).collect();
    let wanted = ["ConfigMap", "DaemonSet", "Namespace", "NetworkPolicy", "PodDisruptionBudget", "Service"];
    assert_eq!(kinds, wanted);
    let app = json!({ "app": "quorate" });
    for (kind, one) in &all {
        assert_eq!((&one["metadata"]["name"], &one["metadata"]["labels"]), (&json!("quorate"), &app), "{kind}");
        let namespace = &one["metadata"]["namespace"];
        assert!(kind == "Namespace" || namespace == "quorate", "{kind} is in {namespace}");
    }
    let spec = |kind: &str| &all[kind]["spec"];
    let pods = &spec("DaemonSet")["template"];
    for selector in [
        &spec("DaemonSet")["selector"]["matchLabels"],
        &spec("NetworkPolicy")["podSelector"]["matchLabels"],
        &spec("PodDisruptionBudget")["selector"]["matchLabels"],
        &spec("Service")["selector"],
        &pods["metadata"]["labels"],
    ] {
        assert_eq!(selector, &app);
    }
    let container = &pods["spec"]["containers"][0];
    let ports: BTreeMap<&str, u64> = list(&container["ports"])
        .iter()
        .map(|one| (one["name"].as_str().expect("a name"), one["containerPort"].as_u64().expect("a port")))
        .collect();
    let text = all["ConfigMap"]["data"]["quorate.toml"].as_str().expect("a configuration");
    let config: toml::Table = text.parse().expect("TOML");
    for (name, section, key) in
        [("mesh", "agent", "listen"), ("http", "api", "tls_listen"), ("health", "api", "health_listen")]
    {
        let listens = config[section][key].as_str().expect("an address");
        assert_eq!(listens, format!("0.0.0.0:{}", ports[name]), "{section}.{key}");
    }
    let named: BTreeSet<&str> = [
        &container["livenessProbe"]["httpGet"]["port"],
        &container["readinessProbe"]["httpGet"]["port"],
        &spec("Service")["ports"][0]["targetPort"],
    ]
    .into_iter()
    .chain(
        list(&spec("NetworkPolicy")["ingress"]).iter().flat_map(|rule| list(&rule["ports"])).map(|port| &port["port"]),
    )
    .map(|port| port.as_str().expect("a port's name"))
    .collect();
    assert_eq!(named, ports.keys().copied().collect(), "every port is let in, and no other is named");
    assert_eq!(spec("Service")["ports"][0]["port"], json!(ports["http"]));
    // Whoever scrapes by the other manifests finds this port.
    assert_eq!(spec("Service")["ports"][0]["name"], "http");
    assert_eq!(
        (&container["livenessProbe"]["httpGet"]["path"], &container["readinessProbe"]["httpGet"]["path"]),
        (&json!("/livez"), &json!("/readyz"))
    );
    let open = list(&spec("NetworkPolicy")["ingress"]).iter().filter(|rule| rule["from"].is_null());
    let open: BTreeSet<&str> =
        open.flat_map(|rule| list(&rule["ports"])).filter_map(|port| port["port"].as_str()).collect();
    assert_eq!(open, BTreeSet::from(["mesh", "health"]), "the API is not for everyone");
}

#[test]
fn the_agent_understands_what_it_is_given() {
    let all = manifests();
    let folder = folder();
    let file = folder.path().join("quorate.toml");
    std::fs::write(&file, all["ConfigMap"]["data"]["quorate.toml"].as_str().expect("a text")).expect("a file");
    let words: [OsString; 4] = [agent_binary().into(), "config".into(), "check".into(), file.into()];
    let _checked = run(words).success();
    let container = &all["DaemonSet"]["spec"]["template"]["spec"]["containers"][0];
    let help = run([agent_binary().into(), OsString::from("agent"), "--help".into()]).success();
    let args = list(&container["args"]).iter().filter_map(Value::as_str);
    let names = list(&container["env"]).iter().filter_map(|variable| variable["name"].as_str());
    let known: Vec<String> = args
        .filter(|word| word.starts_with("--"))
        .map(|word| format!("{word} <"))
        .chain(names.map(|name| format!("[env: {name}")))
        .collect();
    assert_eq!(known.len(), 5, "{known:?}");
    for word in known {
        assert!(help.contains(&word), "{word} is not in {help}");
    }
    let args = list(&container["args"]);
    let after = |flag: &str| {
        let place = args.iter().position(|word| word == flag).expect("the flag");
        Path::new(args[place + 1].as_str().expect("a path")).to_owned()
    };
    let mounts: BTreeSet<&Path> = list(&container["volumeMounts"])
        .iter()
        .filter_map(|mount| mount["mountPath"].as_str())
        .map(Path::new)
        .collect();
    let (config, data) = (after("--config"), after("--data-dir"));
    assert!(mounts.contains(config.parent().expect("a folder")) && mounts.contains(data.as_path()), "{mounts:?}");
}

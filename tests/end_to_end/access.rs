//! Who is let in: tokens over TLS and on loopback, with every reason to be turned away; what is shown is the certificate of the mesh, or files
//! that are read anew.

use quorate_tests::{
    Agent, AgentSetup, Finished, Host, agent_binary, eventually, folder, free_tcp_port, get, optional, run,
};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

struct Scene {
    agent: Agent,
    tls: SocketAddr,
    folder: tempfile::TempDir,
}

/// An agent that is reached by TLS too; further lines for `[api]`.
fn scene(lines: &str) -> Scene {
    let folder = folder();
    let tls: SocketAddr = format!("127.0.0.1:{}", free_tcp_port()).parse().expect("an address");
    let setup = AgentSetup::new("alone", Host::loopback()).api(&format!("tls_listen = \"{tls}\"\n{lines}"));
    let mut agent = Agent::new(&setup, folder.path());
    let _token = agent.init();
    agent.start();
    agent.await_ready();
    Scene { agent, tls, folder }
}

impl Scene {
    fn data_dir(&self) -> OsString {
        self.agent.data_dir().as_os_str().to_owned()
    }

    fn token(&self, arguments: &[&str]) -> String {
        let mut words: Vec<OsString> = vec![agent_binary().into(), "token".into(), "create".into()];
        words.extend(["--data-dir".into(), self.data_dir()]);
        words.extend(arguments.iter().map(OsString::from));
        run(words).success().trim().to_owned()
    }

    /// Asks over TLS with the command line, believing the agents of this mesh.
    fn ask(&self, token: Option<&str>) -> Finished {
        let file = self.folder.path().join("token");
        let mut words: Vec<OsString> = vec![agent_binary().into(), "services".into(), "--addr".into()];
        words.extend([format!("https://{}", self.tls).into(), "--ca".into(), self.data_dir()]);
        if let Some(token) = token {
            std::fs::write(&file, token).expect("a file");
            words.extend(["--api-token-file".into(), file.into_os_string()]);
        }
        run(words)
    }
}

fn id_of(token: &str) -> &str {
    token.split('.').nth(1).expect("an id")
}

#[test]
fn each_reason_to_be_turned_away_is_told_and_counted() {
    let scene = scene("");
    let good = scene.token(&["--scope", "read", "--for", "grafana"]);
    let asked = scene.ask(Some(&good));
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    assert!(scene.ask(None).stderr.contains("unauthorized"));

    let brief = scene.token(&["--scope", "read", "--ttl", "1s"]);
    let elsewhere = scene.token(&["--scope", "read", "--from", "10.0.0.0/8,fd00::/8"]);
    let revoked = scene.token(&["--scope", "operate"]);
    let mut words: Vec<OsString> = vec![agent_binary().into(), "token".into(), "revoke".into()];
    words.extend(["--data-dir".into(), scene.data_dir(), id_of(&revoked).into()]);
    let _told = run(words).success();
    let (head, secret) = good.rsplit_once('.').expect("parts");
    let swapped: String = secret.chars().map(|c| if c == 'A' { 'B' } else { 'A' }).collect();
    let wrong = format!("{head}.{}A", &swapped[..swapped.len() - 1]);
    eventually("the token's second is over", Duration::from_secs(10), || {
        let said = scene.ask(Some(&brief)).stderr;
        if said.contains("expired") { Ok(()) } else { Err(said) }
    });
    for (token, word) in [(&wrong, "invalid"), (&revoked, "revoked"), (&brief, "expired"), (&elsewhere, "ip_blocked")] {
        let asked = scene.ask(Some(token));
        assert!(asked.code == Some(1) && asked.stderr.contains(word), "{word}: {}", asked.stderr);
        let counted = scene.agent.metric("auth_failures_total", &format!("reason=\"{word}\"")).expect("a metric");
        assert!(counted >= 1.0, "{word}");
    }

    let mut words: Vec<OsString> = vec![agent_binary().into(), "token".into(), "list".into()];
    words.extend(["--data-dir".into(), scene.data_dir()]);
    let listed = run(words).success();
    for part in ["grafana", "good", "revoked", "expired", "10.0.0.0/8,fd00::/8", "join"] {
        assert!(listed.contains(part), "{part}\n{listed}");
    }
    let stored = std::fs::read_to_string(scene.agent.data_dir().join("api_tokens.json")).expect("a file");
    assert!(!stored.contains(secret) && !listed.contains(secret) && !scene.agent.log().contains(secret), "the secret");
}

#[test]
fn one_token_may_be_good_at_many_agents() {
    let (one, other) = (scene(""), scene(""));
    let token = one.token(&["--scope", "read", "--for", "prometheus"]);
    assert_eq!(one.ask(Some(&token)).code, Some(0));
    assert!(other.ask(Some(&token)).stderr.contains("invalid"), "an agent knows its own tokens alone");
    let file = other.folder.path().join("shared");
    std::fs::write(&file, format!("{token}\n")).expect("a file");
    let path = file.display().to_string();
    assert_eq!(other.token(&["--scope", "read", "--same-as", &path]), token);
    assert_eq!(other.ask(Some(&token)).code, Some(0));
    std::fs::write(&file, "no token").expect("a file");
    let mut words: Vec<OsString> = vec![agent_binary().into(), "token".into(), "create".into()];
    words.extend([
        "--data-dir".into(),
        other.data_dir(),
        "--scope".into(),
        "read".into(),
        "--same-as".into(),
        path.into(),
    ]);
    let refused = run(words);
    assert!(refused.code == Some(2) && refused.stderr.contains("no token of the API"), "{refused:?}");
}

#[test]
fn strangers_certificates_are_not_believed() {
    let scene = scene("");
    let other = folder();
    let stranger = Agent::new(&AgentSetup::new("other", Host::loopback()), other.path());
    let _token = stranger.init();
    let mut words: Vec<OsString> = vec![agent_binary().into(), "services".into(), "--addr".into()];
    words.extend([format!("https://{}", scene.tls).into(), "--ca".into(), stranger.data_dir().into()]);
    let asked = run(words);
    assert!(asked.code == Some(1) && asked.stderr.contains("no trusted connection"), "{}", asked.stderr);
    eventually("the failure is counted", Duration::from_secs(5), || {
        let seen = scene.agent.metric("quorate_api_tls_failures_total", "")?;
        if seen >= 1.0 { Ok(()) } else { Err(format!("{seen}")) }
    });
}

#[test]
fn an_api_in_the_clear_off_loopback_is_refused_at_the_start() {
    let folder = folder();
    let data_dir = folder.path().join("data").display().to_string();
    let finished = run([&agent_binary().display().to_string(), "agent", "--data-dir", &data_dir, "--api", "0.0.0.0:0"]);
    assert_eq!(finished.code, Some(2));
    assert!(
        finished.stderr.contains("not a loopback address") && finished.stderr.contains("tls_listen"),
        "{finished:?}"
    );
}

/// A certificate for `127.0.0.1` with this name.
pub fn make_certificate(folder: &Path, openssl: &Path, name: &str) {
    let (key, certificate) = (folder.join("tls.key"), folder.join("tls.crt"));
    let words: Vec<OsString> = vec![
        openssl.into(),
        "req".into(),
        "-x509".into(),
        "-newkey".into(),
        "rsa:2048".into(),
        "-nodes".into(),
        "-subj".into(),
        format!("/CN={name}").into(),
        "-addext".into(),
        "subjectAltName=IP:127.0.0.1".into(),
        "-keyout".into(),
        key.into(),
        "-out".into(),
        certificate.into(),
    ];
    let _said = run(words).success();
}

#[test]
fn curl_asks_by_an_own_certificate_that_is_read_anew() {
    let (Some(curl), Some(openssl)) = (optional("curl"), optional("openssl")) else { return };
    let certificates = folder();
    make_certificate(certificates.path(), &openssl, "first");
    let (key, certificate) = (certificates.path().join("tls.key"), certificates.path().join("tls.crt"));
    let lines = format!("tls_cert_file = \"{}\"\ntls_key_file = \"{}\"", certificate.display(), key.display());
    let scene = scene(&lines);
    let ask = |address: &SocketAddr, scheme: &str, path: &str, more: &[&str]| {
        let mut words: Vec<OsString> = vec![curl.clone().into(), "--silent".into(), "--max-time".into(), "10".into()];
        words.extend(["--cacert".into(), certificate.clone().into(), "--write-out".into(), "\n%{http_code}".into()]);
        words.extend(more.iter().map(OsString::from));
        words.push(format!("{scheme}://{address}{path}").into());
        let said = run(words).stdout;
        let (body, code) = said.rsplit_once('\n').expect("a code");
        (code.to_owned(), body.to_owned())
    };
    let (read, operate) = (scene.token(&["--scope", "read"]), scene.token(&["--scope", "operate"]));
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let tls = |path: &str, more: &[&str]| ask(&scene.tls, "https", path, more);
    assert_eq!(tls("/livez", &[]).0, "200");
    assert_eq!(tls("/v1/health", &[]).0, "401");
    assert_eq!(tls("/health?format=prometheus", &[]).0, "401", "metrics by another name");
    assert_eq!(tls("/v1/health", &["-H", &bearer(&read)]).0, "200");
    assert_eq!(tls("/metrics", &["-u", &format!("prometheus:{read}")]).0, "200");

    let reload = ["-X", "POST", "-H"];
    let with = |token: &str| [reload.map(str::to_owned).to_vec(), vec![bearer(token)]].concat();
    let change = |address: &SocketAddr, scheme: &str, more: &[String]| {
        ask(address, scheme, "/-/reload", &more.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(
        change(&scene.agent.api, "http", &["-X".to_owned(), "POST".to_owned()]).0,
        "401",
        "loopback alone is not enough"
    );
    assert_eq!(change(&scene.tls, "https", &with(&read)).0, "403");
    let basic = ["-X".to_owned(), "POST".to_owned(), "-u".to_owned(), format!("x:{operate}")];
    assert_eq!(change(&scene.tls, "https", &basic).0, "403", "a browser might send that by itself");

    // Who may only read tells nothing that others act upon; on this host programs ask before each call, and count with a token.
    let register = scene.token(&["--scope", "register"]);
    let permit = "/v1/breakers/web/web@1/permit";
    let post = |token: &str| -> Vec<String> {
        let words = ["-X", "POST", "-H", "Content-Type: application/json", "-d", "{}", "-H"].map(str::to_owned);
        words.into_iter().chain([bearer(token)]).collect()
    };
    let told = |address: &SocketAddr, scheme: &str, path: &str, more: &[String]| {
        ask(address, scheme, path, &more.iter().map(String::as_str).collect::<Vec<_>>()).0
    };
    for path in [permit, "/v1/metrics/deploys_total"] {
        assert_eq!(tls(path, &["-X", "POST"]).0, "401", "{path}");
        assert_eq!(told(&scene.tls, "https", path, &post(&read)), "403", "{path}");
        assert_eq!(told(&scene.tls, "https", path, &post(&register)), "200", "{path}");
    }
    assert_eq!(told(&scene.agent.api, "http", permit, &["-X".to_owned(), "POST".to_owned()]), "200");
    assert_eq!(told(&scene.agent.api, "http", "/v1/metrics/deploys_total", &post(&read)), "403");

    // A new certificate is shown once it is read anew; one that cannot be used leaves the old one in use.
    let old = std::fs::read(&certificate).expect("a certificate");
    make_certificate(certificates.path(), &openssl, "second");
    assert_eq!(tls("/livez", &[]).0, "000", "the old one is still shown, and is not believed any more");
    let (code, body) = change(&scene.agent.api, "http", &with(&operate));
    assert!(code == "200" && body.contains("api.tls_cert_file"), "{body}");
    assert_eq!(tls("/livez", &[]).0, "200");
    std::fs::write(&certificate, &old).expect("a file");
    let (code, body) = change(&scene.agent.api, "http", &with(&operate));
    assert!(code == "422" && body.contains("do not go together"), "{body}");
    assert_eq!(scene.agent.metric("quorate_config_last_reload_successful", ""), Ok(0.0));
}

#[test]
fn who_asks_too_often_has_to_wait() {
    let scene = scene("rate_limit = 5");
    let token = scene.token(&["--scope", "read"]);
    let asked: Vec<_> = (0..8).map(|_| scene.ask(Some(&token))).collect();
    let refused: Vec<_> = asked.iter().filter(|asked| asked.code != Some(0)).collect();
    assert!(!refused.is_empty() && refused.len() < 8, "{asked:?}");
    assert!(refused.iter().all(|asked| asked.stderr.contains("too many requests")), "{refused:?}");
    assert!(scene.agent.metric("ratelimit_rejected_total", "").expect("a metric") >= 1.0);
    assert!((0..20).all(|_| scene.agent.health().is_ok()), "who asks on this host is not held to it");
}

/// The lines of a file, as JSON.
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn requests_are_logged_in_files_that_are_rotated_and_changes_are_audited() {
    let logs = folder();
    let log = logs.path().join("agent.log");
    let section = format!(
        "[log]\nformat = \"pino\"\naccess = true\nfile = \"{}\"\nmax_bytes = 65536\nmax_files = 2",
        log.display()
    );
    let scene = scene(&section);
    let token = scene.token(&["--scope", "operate", "--for", "deploy"]);
    let reload = || {
        let file = scene.folder.path().join("operator");
        std::fs::write(&file, &token).expect("a file");
        let addr = scene.agent.api.to_string();
        let mut words: Vec<OsString> = vec![agent_binary().into(), "reload".into(), "--addr".into(), addr.into()];
        words.extend(["--api-token-file".into(), file.into_os_string()]);
        run(words)
    };
    let said = reload();
    assert_eq!(said.code, Some(0), "{said:?}");
    let asked = get(scene.agent.api, "/v1/members?state=alive").expect("an answer");
    let id = asked.header("x-request-id").expect("an id").to_owned();
    let line =
        lines(&log).into_iter().find(|line| line["correlationId"] == id.as_str()).expect("a line about the request");
    assert_eq!((&line["path"], &line["method"], &line["level"]), (&json!("/v1/members"), &json!("GET"), &json!(30)));
    assert!(line["statusCode"] == 200 && line["duration"].is_number() && line["client_ip"] == "127.0.0.1", "{line}");

    let audit = lines(&scene.agent.data_dir().join("audit.log"));
    let actions: Vec<_> = audit.iter().filter_map(|change| change["action"].as_str()).collect();
    assert_eq!(actions, ["token_create", "reload"]);
    assert!(audit[0]["by"]["uid"].is_u64(), "{}", audit[0]);
    assert_eq!((&audit[1]["by"]["name"], &audit[1]["by"]["token"]), (&json!("deploy"), &json!(id_of(&token))));
    assert_eq!((&audit[1]["status"], &audit[1]["by"]["address"]), (&json!(200), &json!("127.0.0.1")));

    while !logs.path().join("agent.log.2").exists() {
        for _ in 0..100 {
            let _asked = get(scene.agent.api, "/livez").expect("an answer");
        }
    }
    for n in 0..60 {
        let _asked = get(scene.agent.api, &format!("/livez?n={n}")).expect("an answer");
    }
    let files: Vec<_> =
        std::fs::read_dir(logs.path()).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    assert!(files.len() == 3, "{files:?}");
    for file in &files {
        assert!(std::fs::metadata(file).expect("its size").len() <= 65536 && !lines(file).is_empty());
    }
}

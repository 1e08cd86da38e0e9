//! Every invalid file of the test data gives exactly the messages beside it; `UPDATE_EXPECT=1` writes them anew.

use super::parse;
use crate::config::settings::FileSettings;
use crate::config::{Flags, HttpLabels, Settings};
use quorate_core::check::{
    Bad, BasicAuth, ContainerCheck, DialogueCheck, DialogueStep, DnsCheck, DnsTransport, GrpcCheck, IcmpCheck,
    MetricCheck, PostgresCheck, PushCheck, Reading, RecordType, RedisCheck, Secret, SecretSource, StartTls,
    SystemdCheck, UdpCheck, UnixCheck, UsageLimits, Value,
};
use quorate_core::{
    Assertion, CheckKind, Condition, Expect, Grade, HttpVersion, Level, Subject, TlsOptions, TlsVersion,
};
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
    assert_eq!(*service.check, quorate_core::Check::default());
    let registrations = service.registrations(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(registrations[0].address, "10.0.0.1:8000");
    assert_eq!(registrations[0].instance.as_str(), "web@10.0.0.1:8000");
    assert_eq!(registrations[0].observers, 5);
}

#[test]
fn words_that_become_part_of_metrics_are_held_to_their_rules() {
    for (text, words) in [
        ("[agent]\nenvironment = 'a b'", "agent.environment: \"a b\" is not allowed"),
        ("[agent]\nenvironment = ''", "use 1 to 64 letters"),
        ("[agent]\nenvironment = 'a\"b'", "is not allowed"),
        ("[metrics]\nprefix = 'quorate'", "what the agent's own names begin with"),
        ("[metrics]\nprefix = 'quorate_x'", "what the agent's own names begin with"),
        ("[metrics]\nprefix = '9'", "is no prefix"),
        ("[metrics]\nhttp_labels = 's3'", "use \"route\" or \"path\""),
    ] {
        let errors = parse("x", text).unwrap_err().to_string();
        assert!(errors.contains(words), "{text}: {errors}");
    }
    assert!(parse("x", "[metrics]\nprefix = 'quorates'").is_ok());
}

#[test]
fn the_api_is_on_loopback_and_limited_unless_told_otherwise() {
    let settings = Settings::resolve(FileSettings::default(), &Flags::default()).unwrap();
    assert!(settings.api.ip().is_loopback() && settings.api_access.tls_listen.is_none());
    assert!(settings.api_access.health_listen.is_none() && settings.dns.is_none() && settings.agent_check.is_none());
    assert_eq!((settings.api_access.rate_limit, settings.environment), (6000, None));
    let flags = Flags { environment: Some("a b".to_owned()), ..Flags::default() };
    assert!(Settings::resolve(FileSettings::default(), &flags).is_err());
}

#[test]
fn everything_is_read() {
    let text = r#"
        [agent]
        name = "a"
        zone = "z"
        environment = "production"
        [metrics]
        prefix = "chatbot"
        http_labels = "path"
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
    let said = (settings.environment.as_deref(), settings.metrics.prefix.as_deref(), settings.metrics.http_labels);
    assert_eq!(said, (Some("production"), Some("chatbot"), HttpLabels::Path));
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
fn each_setting_of_an_answer_is_read() {
    let text = r#"
        [[service]]
        name = "web"
        [service.check]
        protocol = "https"
        http_version = "2"
        protected_status_codes = []
        degraded_status_codes = ["5xx"]
        min_tls_version = "1.3"
        certificate_warning = "3days"
        certificate_critical = "1day"
        max_response_time = "1s"
        critical_response_time = "2s"
        [[service.check.assert]]
        json = "$.depth"
        above = 10.5
        negate = true
        severity = "warn"
        [[service.check.assert]]
        header = "X-A"
        exists = false
        [[service.check.assert]]
        matches = "a+"
        [[service.instance]]
    "#;
    let settings = parse("x", text).unwrap();
    let check = &settings.services[0].check;
    let seconds = Duration::from_secs;
    assert_eq!((check.max_response_time, check.critical_response_time), (seconds(1), Some(seconds(2))));
    let CheckKind::Http(http) = &check.kind else { panic!("{check:?}") };
    assert_eq!(http.version, HttpVersion::Http2);
    assert!(
        http.protected_status.is_empty() && http.degraded_status.contains(503) && !http.degraded_status.contains(429)
    );
    let days = |n: u64| Some(seconds(n * 24 * 3600));
    let tls = TlsOptions {
        min_version: TlsVersion::V1_3,
        expiry_warning: days(3),
        expiry_critical: days(1),
        ..TlsOptions::default()
    };
    assert_eq!(http.tls, tls);
    let assertion = |subject, condition, negated, otherwise| Assertion { subject, condition, negated, otherwise };
    let level = Condition::Above(Level::new(10.5).unwrap());
    assert_eq!(
        http.assertions,
        [
            assertion(Subject::Json("$.depth".into()), level, true, Grade::Warn),
            assertion(Subject::Header("X-A".into()), Condition::Exists, true, Grade::Fail),
            assertion(Subject::Body, Condition::Matches("a+".into()), false, Grade::Fail),
        ]
    );
}

#[test]
fn each_pace_is_read() {
    let read = |settings: &str| {
        let text = format!("[[service]]\nname = \"x\"\ncheck = {{ {settings} }}\ninstance = [{{}}]\n");
        let check = parse("x", &text).unwrap().services[0].check.clone();
        (check.period, check.fast_interval, check.down_interval)
    };
    let ms = Duration::from_millis;
    assert_eq!(read("interval = '10s', fast_interval = '200ms', down_interval = '1min'"), {
        (ms(10_000), Some(ms(200)), Some(ms(60_000)))
    });
    assert_eq!(read("fast_interval_seconds = 2"), (ms(30_000), Some(ms(2000)), None));
}

#[test]
fn secrets_are_named_and_targets_allowed() {
    let secret = |prefix: &str, source| Secret { prefix: prefix.into(), source };
    let settings = "headers = { A = 'x', B = { file = 'token', prefix = 'Bearer ' }, C = { env = 'KEY' } }, \
                    basic_auth = { user = 'me', password = { file = 'pass' } }";
    let CheckKind::Http(http) = read_check(settings).0 else { panic!() };
    let bearer = secret("Bearer ", SecretSource::File("token".into()));
    let key = secret("", SecretSource::Env("KEY".into()));
    let password = secret("", SecretSource::File("pass".into()));
    let auth = Value::Basic(BasicAuth { user: "me".into(), password: password.clone() });
    let headers =
        [("A", Value::from("x")), ("B", Value::Secret(bearer)), ("C", Value::Secret(key)), ("Authorization", auth)];
    assert_eq!(http.headers, headers.map(|(name, value)| (name.to_owned(), value)));
    let (CheckKind::Redis(redis), _) = read_check("protocol = 'redis', password = { file = 'pass' }") else { panic!() };
    assert_eq!(redis.password, Some(password));
    // The same by the name of the file alone.
    assert_eq!(read_check("protocol = 'redis', password_file = 'pass'").0, CheckKind::Redis(redis));
    let by_file = read_check("basic_auth = { user = 'me', password_file = 'pass' }");
    assert_eq!(by_file, read_check("basic_auth = { user = 'me', password = { file = 'pass' } }"));
    let push = read_check("protocol = 'push', token_file = 'pass'");
    assert_eq!(push, read_check("protocol = 'push', token = { file = 'pass' }"));
    let own =
        parse("x", "[probe]\nsecrets_dir = \"/s\"\nallow_targets = [\"10.0.0.0/8\", \".internal\"]\n").unwrap().own;
    assert_eq!(own.secrets_dir, Some(PathBuf::from("/s")));
    assert_eq!(own.allowed, ["10.0.0.0/8", ".internal"].map(|text| quorate_probe::Allowed::parse(text).unwrap()));
}

/// The check of a service whose settings are `settings`, and the port of its instance.
fn read_check(settings: &str) -> (CheckKind, u16) {
    let text = format!("[[service]]\nname = \"x\"\ncheck = {{ {settings} }}\ninstance = [{{}}]\n");
    let found = parse("x", &text).unwrap_or_else(|errors| panic!("{errors}"));
    (found.services[0].check.kind.clone(), found.services[0].instances[0].port)
}

#[test]
fn each_setting_of_a_services_own_protocol_is_read() {
    let tls = Some(TlsOptions { ca_file: Some("ca".into()), ..TlsOptions::default() });
    let udp = UdpCheck {
        send: vec![0, 255],
        expect_answer: true,
        expect: Some(Expect::Contains(b"x".to_vec())),
        max_read_bytes: 9,
    };
    let read = read_check("protocol = 'udp', probe_data_hex = '00ff', expected_response = 'x', max_read_bytes = 9");
    assert_eq!(read, (CheckKind::Udp(udp), 8000));
    let (CheckKind::Udp(udp), _) = read_check("protocol = 'udp', expect_answer = false") else { panic!() };
    assert!(!udp.expect_answer);
    let redis = RedisCheck { password: None, tls: tls.clone() };
    assert_eq!(read_check("protocol = 'redis', tls = true, ca_file = 'ca'"), (CheckKind::Redis(redis), 6379));
    let postgres = PostgresCheck { user: "u".into(), database: "d".into(), tls: tls.clone() };
    let read = read_check("protocol = 'postgres', user = 'u', database = 'd', tls = true, ca_file = 'ca'");
    assert_eq!(read, (CheckKind::Postgres(postgres), 5432));
    let dns = DnsCheck {
        name: "n".into(),
        record_type: RecordType::Mx,
        transport: DnsTransport::Tcp,
        rcodes: vec![3, 9],
        expect: Some(Expect::Regex("a".into())),
    };
    let read = read_check(
        "protocol = 'dns', query_name = 'n', query_type = 'mx', transport = 'tcp', rcodes = ['nxdomain', 9], expected_answer_regex = 'a'",
    );
    assert_eq!(read, (CheckKind::Dns(dns), 53));
    let (CheckKind::Dns(dns), _) = read_check("protocol = 'dns', query_name = 'n', expected_answer = 'a'") else {
        panic!()
    };
    assert_eq!(dns.expect, Some(Expect::Contains(b"a".to_vec())));
    let metadata = vec![("x-a".to_owned(), Value::from("b"))];
    let grpc = GrpcCheck { service: "s".into(), host: Some("h".into()), metadata, tls };
    let read = read_check(
        "protocol = 'grpc', grpc_service = 's', host = 'h', metadata = { 'x-a' = 'b' }, tls = true, ca_file = 'ca', port = 1",
    );
    assert_eq!(read, (CheckKind::Grpc(grpc), 1));
    let (CheckKind::Tls(tls), _) = read_check("protocol = 'tls', starttls = 'imap'") else { panic!() };
    assert_eq!(tls.starttls, Some(StartTls::Imap));
    let icmp = IcmpCheck { payload_bytes: 99 };
    assert_eq!(read_check("protocol = 'icmp', payload_bytes = 99").0, CheckKind::Icmp(icmp));
}

#[test]
fn each_step_of_a_dialogue_is_read() {
    let turn = |send: &[u8], expect| DialogueStep::Turn { send: send.to_vec(), expect };
    let contains = |bytes: &[u8]| Some(Expect::Contains(bytes.to_vec()));
    let read = read_check(
        "protocol = 'tcp', ca_file = 'ca', max_read_bytes = 9, step = [{ expected_regex = '^220' }, { send = 'a', expected_response = 'b' }, \
         { probe_data_hex = '00 ff', expected_response_hex = '01' }, { starttls = true }, { probe_data = 'QUIT' }]",
    );
    let steps = vec![
        turn(b"", Some(Expect::Regex("^220".into()))),
        turn(b"a", contains(b"b")),
        turn(&[0, 255], contains(&[1])),
        DialogueStep::StartTls,
        turn(b"QUIT", None),
    ];
    let tls = Some(TlsOptions { ca_file: Some("ca".into()), ..TlsOptions::default() });
    let dialogue = DialogueCheck { steps, tls: tls.clone(), starttls: None, max_read_bytes: 9 };
    assert_eq!(read.0, CheckKind::Dialogue(dialogue));
    let read = read_check("protocol = 'tcp', starttls = 'smtp', ca_file = 'ca', send = 'NOOP', expected_regex = '250'");
    let steps = vec![turn(b"NOOP", Some(Expect::Regex("250".into())))];
    let dialogue = DialogueCheck { steps, tls, starttls: Some(StartTls::Smtp), max_read_bytes: 1024 };
    assert_eq!(read.0, CheckKind::Dialogue(dialogue));
    let read = read_check("protocol = 'tcp', tls = true");
    let dialogue =
        DialogueCheck { steps: vec![], tls: Some(TlsOptions::default()), starttls: None, max_read_bytes: 1024 };
    assert_eq!(read.0, CheckKind::Dialogue(dialogue));
    let (CheckKind::Tcp(plain), _) = read_check("protocol = 'tcp', send = 'a', expected_response_hex = '0D0A'") else {
        panic!("one step in plain text is what it always was")
    };
    assert_eq!((plain.send, plain.expect), (b"a".to_vec(), contains(b"\r\n")));
}

#[test]
fn each_setting_of_a_home_check_is_read() {
    let text = "[probe]\ncontainer_socket = '/run/docker.sock'\ndbus_socket = '/run/bus'\n[[service]]\nname = \"x\"\ninstance = [{}]\n[service.check]\n\
        protocol = 'exec'\ncommand = ['/bin/a', 'b']\ndirectory = '/tmp'\nenvironment = { A = '1' }\nmax_output_bytes = 9\nwarning = 2\n";
    let found = parse("x", text).unwrap();
    assert_eq!(found.own.container_socket, Some(PathBuf::from("/run/docker.sock")));
    assert_eq!(found.own.dbus_socket, Some(PathBuf::from("/run/bus")));
    let CheckKind::Exec(exec) = &found.services[0].check.kind else { panic!() };
    let program = &found.own.programs[&exec.command];
    assert_eq!((program.path.as_path(), program.arguments.as_slice()), (Path::new("/bin/a"), &["b".to_owned()][..]));
    assert_eq!((program.directory.as_deref(), program.environment["A"].as_str()), (Some(Path::new("/tmp")), "1"));
    let measure = exec.measure.as_ref().unwrap();
    assert_eq!(
        (exec.max_output_bytes, &measure.reading, measure.warning),
        (9, &Reading::Json("$".into()), Level::new(2.0))
    );
    let read = read_check(
        "protocol = 'unix', socket = '/run/a', probe_data = 'x', expected_response = 'y', max_read_bytes = 7",
    );
    let expect = Some(Expect::Contains(b"y".to_vec()));
    let unix = UnixCheck { path: "/run/a".into(), send: b"x".to_vec(), expect, max_read_bytes: 7 };
    assert_eq!(read.0, CheckKind::Unix(unix));
    let limits = UsageLimits {
        max_cpu_percent: Level::new(50.0),
        max_memory_percent: Level::new(60.0),
        max_restart_count: 2,
        restart_window: Duration::from_secs(60),
    };
    let read = read_check(
        "protocol = 'container', container = 'web', max_cpu_percent = 50, max_memory_percent = 60, max_restart_count = 2, restart_window = '1m'",
    );
    assert_eq!(read.0, CheckKind::Container(ContainerCheck { container: "web".into(), limits: limits.clone() }));
    let read = read_check(
        "protocol = 'systemd', unit = 'web', max_cpu_percent = 50, max_memory_percent = 60, max_restart_count = 2, restart_window = '1m'",
    );
    assert_eq!(read.0, CheckKind::Systemd(SystemdCheck { unit: "web.service".into(), limits }));
    let timer = SystemdCheck { unit: "web.timer".into(), limits: UsageLimits::default() };
    assert_eq!(read_check("protocol = 'systemd', unit = 'web.timer'").0, CheckKind::Systemd(timer));
    let token = Secret { prefix: String::new(), source: SecretSource::Env("T".into()) };
    let push = PushCheck { ttl: Duration::from_secs(5), token };
    assert_eq!(read_check("protocol = 'push', ttl = '5s', token = { env = 'T' }").0, CheckKind::Push(push));
}

#[test]
fn each_setting_of_a_metric_is_read() {
    let metric = |settings: &str| match read_check(&format!("protocol = 'metric', {settings}")).0 {
        CheckKind::Metric(metric) => metric,
        other => panic!("{other:?}"),
    };
    let level = |number| Level::new(number);
    let found = metric("prometheus = 'a', preset = 'cache_hit_rate'");
    let limits = |found: &MetricCheck| (found.measure.bad, found.measure.warning, found.measure.critical);
    assert_eq!(limits(&found), (Bad::Low, level(0.8), level(0.6)));
    assert_eq!((found.http.path.as_str(), found.measure.reading), ("/metrics", Reading::Prometheus("a".into())));
    let found = metric(
        "prometheus = 'a', per_prometheus = 'b', preset = 'queue_depth', warning = 1, critical = 2.5, path = '/x'",
    );
    assert_eq!(limits(&found), (Bad::High, level(1.0), level(2.5)));
    assert_eq!((found.http.path.as_str(), found.measure.reading), ("/x", Reading::Prometheus("a".into())));
    assert_eq!(found.measure.per, Some(Reading::Prometheus("b".into())));
    let found = metric("json = '$.a', per_json = '$.b', bad = 'low', warning = 5");
    assert_eq!((found.measure.bad, found.measure.per), (Bad::Low, Some(Reading::Json("$.b".into()))));
    assert_eq!(found.measure.reading, Reading::Json("$.a".into()));
}

/// The tables of the monitoring guide, warning and critical.
#[test]
fn each_preset_has_the_limits_of_the_guides_tables() {
    for (names, bad, warning, critical) in [
        (&["response_p95", "external_response"][..], Bad::High, 2.0, 5.0),
        (&["external_response_slow"], Bad::High, 3.0, 10.0),
        (&["error_rate", "external_error_rate"], Bad::High, 0.01, 0.05),
        (&["active_connections", "database_pool", "cache_memory", "api_quota"], Bad::High, 0.8, 0.95),
        (&["database_query"], Bad::High, 0.5, 2.0),
        (&["database_size"], Bad::High, 0.8, 0.9),
        (&["database_dead_tuples"], Bad::High, 0.1, 0.25),
        (&["cache_hit_rate"], Bad::Low, 0.8, 0.6),
        (&["cache_latency"], Bad::High, 0.01, 0.05),
        (&["cache_evictions"], Bad::High, 0.0, 0.01),
        (&["queue_depth"], Bad::High, 10.0, 50.0),
        (&["queue_failed"], Bad::High, 5.0, 20.0),
    ] {
        for name in names {
            let settings = format!("protocol = 'metric', prometheus = 'a', preset = '{name}'");
            let CheckKind::Metric(found) = read_check(&settings).0 else { panic!("{name} is no metric") };
            let limits = (found.measure.bad, found.measure.warning, found.measure.critical);
            assert_eq!(limits, (bad, Level::new(warning), Level::new(critical)), "{name}");
        }
    }
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
fn an_address_of_one_link_is_refused() {
    let read = |address: &str| {
        let text = format!("[[service]]\nname = \"web\"\n[[service.instance]]\naddress = \"{address}\"\n");
        parse("x", &text).map(|_| ()).map_err(|errors| errors.to_string())
    };
    for address in ["[fe80::1]:80", "[fe80::1]", "fe80::1", "[febf::1]:80", "[fe80::1%eth0]:80", "fe80::1%eth0:80"] {
        let errors = read(address).unwrap_err();
        let told =
            errors.starts_with("x:4:11: service[0].instance[0].address") && errors.contains("a routable address");
        assert!(told && errors.lines().count() == 1, "{address}: {errors}");
    }
    for address in ["[fec0::1]:80", "[fd00::1]:80", "[::1]", "169.254.0.1:80", "fe80:80"] {
        assert_eq!(read(address), Ok(()), "{address}");
    }
}

#[test]
fn a_file_without_an_end_is_refused() {
    let errors = super::load(Some(std::path::Path::new("/dev/zero"))).unwrap_err().to_string();
    assert!(errors.contains("is too large"), "{errors}");
}

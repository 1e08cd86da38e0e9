//! An agent answers gRPC's health checking protocol: asked by Debian's Python library, and by our own check.

use crate::access::make_certificate;
use quorate_tests::{
    Agent, AgentSetup, Finished, Host, Mesh, Process, Target, agent_binary, eventually, folder, free_tcp_port,
    instance_id, optional, run,
};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// `check ADDRESS SERVICE`, `watch ADDRESS SERVICE` (a line for each status), `list ADDRESS`, `reflect ADDRESS SYMBOL` (a line for the services,
/// and one for the symbol); perhaps with a file of authorities and a token.
const CLIENT: &str = r#"
import grpc, sys
method, address, service, ca, token = (sys.argv[1:] + [''] * 4)[:5]
raw = dict(request_serializer=lambda b: b, response_deserializer=lambda b: b)
if ca:
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(open(ca, 'rb').read()))
else:
    channel = grpc.insecure_channel(address)
metadata = [('authorization', 'Bearer ' + token)] if token else []
name = service.encode()
question = b'\x0a' + bytes([len(name)]) + name if name else b''
path = '/grpc.health.v1.Health/' + method.capitalize()
words = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN']
word = lambda answer: words[answer[1] if answer else 0]
try:
    if method == 'watch':
        for answer in channel.unary_stream(path, **raw)(question, metadata=metadata, wait_for_ready=True):
            print(word(answer), flush=True)
    elif method == 'reflect':
        path = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo'
        questions = [b'\x3a\x00', b'\x22' + bytes([len(name)]) + name]
        for answer in channel.stream_stream(path, **raw)(iter(questions), metadata=metadata, wait_for_ready=True, timeout=20):
            print(answer)
    else:
        answer = channel.unary_unary(path, **raw)(question, metadata=metadata, wait_for_ready=True, timeout=20)
        print(word(answer) if method == 'check' else answer.hex())
except grpc.RpcError as error:
    print(error.code().name, error.details())
"#;

/// The interpreter that Debian's libraries belong to, if it has gRPC.
fn python() -> Option<OsString> {
    let python = Path::new("/usr/bin/python3");
    if python.is_file() && run([python.as_os_str(), "-c".as_ref(), "import grpc".as_ref()]).code == Some(0) {
        return Some(python.into());
    }
    optional("python3 with the package python3-grpcio").map(Into::into)
}

fn words(python: &OsString, arguments: &[&str]) -> Vec<OsString> {
    let mut words = vec![python.clone(), "-c".into(), CLIENT.into()];
    words.extend(arguments.iter().map(OsString::from));
    words
}

fn call(python: &OsString, arguments: &[&str]) -> String {
    run(words(python, arguments)).success().trim().to_owned()
}

/// What our own check says of a service at an agent.
fn probe(folder: &Path, api: SocketAddr, service: &str) -> Finished {
    let file = folder.join("probe.toml");
    let text = format!(
        "[[service]]\nname = \"mesh\"\n[service.check]\nprotocol = \"grpc\"\ngrpc_service = \"{service}\"\n\
         [[service.instance]]\naddress = \"{api}\"\n"
    );
    std::fs::write(&file, text).expect("a file");
    let mut words: Vec<OsString> = vec![agent_binary().into(), "probe".into(), "run".into(), "mesh".into()];
    words.extend(["--config".into(), file.into()]);
    run(words)
}

#[test]
fn any_agent_is_asked_for_any_service_by_grpc() {
    let folder = folder();
    let host = Host::loopback();
    let mut target = Target::start("http", &host, folder.path());
    let agent = |name: &str| AgentSetup::new(name, host.clone());
    let mesh = Mesh::start(&[agent("host-a").serving("web", &target), agent("host-b"), agent("host-c")], folder);
    mesh.await_verdict(&instance_id("web", &target), "up", PATIENCE);
    let asked = mesh.agents[2].api;
    assert_eq!(probe(mesh.path(), asked, "web").code, Some(0));
    assert_eq!(probe(mesh.path(), asked, "").code, Some(0));
    let unknown = probe(mesh.path(), asked, "wbe");
    assert!(unknown.code == Some(1) && unknown.stdout.contains("grpc-status 5"), "{unknown:?}");

    let Some(python) = python() else { return };
    let address = asked.to_string();
    assert_eq!(call(&python, &["check", &address]), "SERVING");
    assert_eq!(call(&python, &["check", &address, "web"]), "SERVING");
    assert_eq!(
        call(&python, &["check", &address, "wbe"]),
        "NOT_FOUND there is no service \"wbe\"; quorate services lists them"
    );
    let web = "0a090a0377656212020801";
    assert!(call(&python, &["list", &address]).contains(web), "`web` is in the list, and serves");

    let told = call(&python, &["reflect", &address, "grpc.health.v1.Health"]);
    let told: Vec<&str> = told.lines().collect();
    assert!(told.len() == 2 && told[0].contains("grpc.health.v1.Health"), "{told:?}");
    assert!(told[1].contains("grpc/health/v1/health.proto") && told[1].contains("HealthListResponse"), "{told:?}");

    let (seen, unknown) = (mesh.path().join("watch"), mesh.path().join("unknown"));
    let watch = Process::start("a watch", &words(&python, &["watch", &address, "web"]), &seen);
    let nobody = Process::start("a watch of nothing", &words(&python, &["watch", &address, "wbe"]), &unknown);
    let said = |what: &str, process: &Process, expected: &[&str]| {
        eventually(what, PATIENCE, || {
            let said = process.log();
            if said.lines().eq(expected.iter().copied()) { Ok(()) } else { Err(said) }
        });
    };
    said("it serves", &watch, &["SERVING"]);
    said("there is none", &nobody, &["SERVICE_UNKNOWN"]);
    target.kill();
    said("it does not", &watch, &["SERVING", "NOT_SERVING"]);
    target.restart();
    said("it does again", &watch, &["SERVING", "NOT_SERVING", "SERVING"]);
    said("there still is none", &nobody, &["SERVICE_UNKNOWN"]);
}

#[test]
fn from_elsewhere_grpc_takes_tls_and_a_token() {
    let (Some(python), Some(openssl)) = (python(), optional("openssl")) else { return };
    let folder = folder();
    make_certificate(folder.path(), &openssl, "agent");
    let (key, certificate) = (folder.path().join("tls.key"), folder.path().join("tls.crt"));
    let tls = format!("127.0.0.1:{}", free_tcp_port());
    let lines = format!(
        "tls_listen = \"{tls}\"\ntls_cert_file = \"{}\"\ntls_key_file = \"{}\"",
        certificate.display(),
        key.display()
    );
    let target = Target::start("http", &Host::loopback(), folder.path());
    let setup = AgentSetup::new("alone", Host::loopback()).api(&lines).serving("web", &target);
    let mut agent = Agent::new(&setup, folder.path());
    let _token = agent.init();
    agent.start();
    agent.await_ready();
    let id = instance_id("web", &target);
    eventually("it is up", PATIENCE, || {
        let seen = agent.instance(&id)?;
        if seen.verdict == "up" { Ok(()) } else { Err(seen.verdict) }
    });
    let ca = certificate.display().to_string();
    let token = agent.api_token(&["--scope", "read"]);
    assert_eq!(call(&python, &["check", &tls, "", &ca]), "SERVING", "the agent itself is for everyone");
    assert_eq!(call(&python, &["check", &tls, "web", &ca, &token]), "SERVING");
    for (arguments, status) in [
        (["check", &tls, "web", &ca, ""], "UNAUTHENTICATED"),
        (["watch", &tls, "web", &ca, ""], "UNAUTHENTICATED"),
        (["list", &tls, "", &ca, ""], "UNAUTHENTICATED"),
        (["check", &tls, "", &ca, "x"], "UNAUTHENTICATED"),
    ] {
        let said = call(&python, &arguments);
        assert!(said.starts_with(status), "{arguments:?}: {said}");
    }
}

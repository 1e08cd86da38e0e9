//! gRPC health checks against a server of Debian's Python library.

use crate::server::{Authority, Running, assert_fail, assert_pass, check, find, free_port, listens, probe};
use quorate_core::check::{GrpcCheck, TlsOptions};
use quorate_core::{Cause, CheckKind, Phase, ProbeResult};
use std::process::Command;

/// The health service by hand: the name is field 1 of the question, the status field 1 of the answer.
const SERVER: &str = r#"
import grpc, sys
from concurrent import futures
port, secure, pem, ca = sys.argv[1:5]
STATUS = {b'': 1, b'web': 1, b'ill': 2}
def check(request, context):
    name = request[2:]
    if name == b'guarded':
        context.abort(grpc.StatusCode.UNAUTHENTICATED, 'who are you?')
    if name not in STATUS:
        context.abort(grpc.StatusCode.NOT_FOUND, 'unknown service')
    return bytes([8, STATUS[name]])
def server(handlers):
    made = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    made.add_generic_rpc_handlers(handlers)
    return made
health = grpc.method_handlers_generic_handler('grpc.health.v1.Health', {'Check': grpc.unary_unary_rpc_method_handler(check)})
plain = server((health,))
plain.add_insecure_port('127.0.0.1:' + port)
parts = open(pem, 'rb').read().split(b'-----BEGIN PRIVATE')
tls = server((health,))
tls.add_secure_port('127.0.0.1:' + secure, grpc.ssl_server_credentials([(b'-----BEGIN PRIVATE' + parts[1], parts[0])]))
bare = server(())
bare.add_insecure_port('127.0.0.1:' + ca)
for one in (bare, tls, plain):
    one.start()
plain.wait_for_termination()
"#;

struct Grpc {
    _running: Running,
    authority: Authority,
    plain: u16,
    tls: u16,
    bare: u16,
}

fn grpc() -> Option<Grpc> {
    // The interpreter that Debian's libraries belong to.
    let python = std::path::Path::new("/usr/bin/python3");
    let known = Command::new(python).args(["-c", "import grpc"]).output().is_ok_and(|output| output.status.success());
    if !known {
        find("python3 with the package python3-grpcio")?;
    }
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let pem = authority.sign("server", 100);
    let [plain, tls, bare] = std::array::from_fn(|_| free_port());
    let mut command = Command::new(python);
    command.args(["-c", SERVER, &plain.to_string(), &tls.to_string(), &pem, &bare.to_string()]);
    let running = Running::start(command, folder, || [plain, tls, bare].into_iter().all(listens));
    Some(Grpc { _running: running, authority, plain, tls, bare })
}

fn with(set: impl FnOnce(&mut GrpcCheck)) -> quorate_core::Check {
    let mut grpc = GrpcCheck::default();
    set(&mut grpc);
    check(CheckKind::Grpc(grpc))
}

#[tokio::test]
async fn the_health_service_is_asked() {
    let Some(grpc) = grpc() else { return };
    let service = |name: &str| with(|g| g.service = name.to_owned());
    assert_pass(&probe(grpc.plain, &with(|_| {})).await);
    assert_pass(&probe(grpc.plain, &service("web")).await);
    let detail = assert_fail(&probe(grpc.plain, &service("ill")).await, Phase::Assert, Cause::Content);
    assert!(detail.contains("NOT_SERVING"), "{detail}");
    let detail = assert_fail(&probe(grpc.plain, &service("other")).await, Phase::Assert, Cause::Content);
    assert!(detail.contains("grpc-status 5"), "{detail}");
    let guarded = probe(grpc.plain, &service("guarded")).await;
    assert!(matches!(guarded.result, ProbeResult::Protected(_)), "{guarded:?}");
    let detail = assert_fail(&probe(grpc.bare, &with(|_| {})).await, Phase::Assert, Cause::Content);
    assert!(detail.contains("grpc-status 12"), "{detail}");
}

#[tokio::test]
async fn over_tls() {
    let Some(grpc) = grpc() else { return };
    let trusting = TlsOptions { ca_file: Some(grpc.authority.ca_file()), ..TlsOptions::default() };
    let outcome = probe(grpc.tls, &with(|g| g.tls = Some(trusting))).await;
    assert_pass(&outcome);
    assert_eq!(outcome.tls.unwrap().alpn.as_deref(), Some("h2"));
    let outcome = probe(grpc.tls, &with(|g| g.tls = Some(TlsOptions::default()))).await;
    assert_fail(&outcome, Phase::Tls, Cause::Certificate);
    assert!(matches!(probe(grpc.tls, &with(|_| {})).await.result, ProbeResult::Fail(_)), "TLS is not optional");
}

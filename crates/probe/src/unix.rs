//! Checks over a Unix socket (stream): connect, perhaps send, perhaps expect; as over TCP.

use crate::expect;
use crate::failure::{Step, of_io, unprepared, within};
use crate::findings::Findings;
use crate::prober::Tools;
use crate::tcp::{Exchange, converse};
use quorate_core::check::UnixCheck;
use quorate_core::{Cause, Phase, ProbeFailure};
use std::io::ErrorKind;
use tokio::net::UnixStream;
use tokio::time::Instant;

/// One attempt.
pub(crate) async fn probe(tools: &Tools, check: &UnixCheck, deadline: Instant, findings: &mut Findings) -> Step<()> {
    let matcher = check.expect.as_ref().map(|expect| tools.patterns.matcher(expect));
    let matcher = matcher.transpose().map_err(unprepared)?;
    let begun = Instant::now();
    let connected = within(deadline, Phase::Connect, UnixStream::connect(&check.path)).await;
    findings.timings.connect = Some(begun.elapsed());
    let mut stream = connected?.map_err(|error| match error.kind() {
        // Whoever listens makes the socket: without it nobody does.
        ErrorKind::NotFound => {
            ProbeFailure::new(Phase::Connect, Cause::Refused, format!("there is no socket {}", check.path))
        }
        // Linux lets nobody wait in a full queue who does not wait for anything else (unix(7)): it is the one who listens that does not keep up.
        ErrorKind::WouldBlock => {
            ProbeFailure::new(Phase::Connect, Cause::Timeout, "Connection timeout: its queue of connections is full")
        }
        _ => of_io(Phase::Connect, &error),
    })?;
    let exchange = Exchange { send: &check.send, matcher, max_read_bytes: check.max_read_bytes };
    let said = converse(&mut stream, exchange, &mut Vec::new(), deadline, findings).await;
    expect::note("", check.expect.as_ref(), said, findings)
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_fail, assert_pass, probe, target};
    use quorate_core::check::UnixCheck;
    use quorate_core::{Cause, Check, CheckKind, Expect, Outcome, Phase};
    use std::path::Path;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{UnixListener, UnixStream};

    async fn ask(path: &Path, send: &str, expect: Option<&str>) -> Outcome {
        let unix = UnixCheck {
            path: path.display().to_string(),
            send: send.as_bytes().to_vec(),
            expect: expect.map(|text| Expect::Contains(text.as_bytes().to_vec())),
            max_read_bytes: 100,
        };
        let check = Check { kind: CheckKind::Unix(unix), timeout: Duration::from_secs(2), ..Check::default() };
        assert_eq!(check.validate(), []);
        probe(&target("127.0.0.1:1"), &check).await
    }

    #[tokio::test]
    async fn a_socket_is_asked_and_its_answer_judged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert_fail(&ask(&path, "", None).await, Phase::Connect, Cause::Refused);
        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 4];
                if stream.read(&mut asked).await.is_ok_and(|count| count == 4) && &asked == b"PING" {
                    let _ = stream.write_all(b"PONG").await;
                }
            }
        });
        assert_pass(&ask(&path, "", None).await);
        let outcome = ask(&path, "PING", Some("PONG")).await;
        assert_pass(&outcome);
        assert_eq!(outcome.judgements[0].what, "answer contains \"PONG\"");
        assert_fail(&ask(&path, "PING", Some("DONE")).await, Phase::Assert, Cause::Content);
        server.abort();
        let _ = server.await;
        assert_fail(&ask(&path, "", None).await, Phase::Connect, Cause::Refused);
        let folder = folder.path().join("no-socket");
        std::fs::write(&folder, "a file").unwrap();
        assert_fail(&ask(&folder, "", None).await, Phase::Connect, Cause::Refused);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn one_that_no_longer_takes_connections_has_failed() {
        use socket2::{Domain, SockAddr, Socket, Type};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(1).unwrap();
        let _waiting = [UnixStream::connect(&path).await.unwrap(), UnixStream::connect(&path).await.unwrap()];
        let detail = assert_fail(&ask(&path, "", None).await, Phase::Connect, Cause::Timeout);
        assert_eq!(detail, "Connection timeout: its queue of connections is full");
    }
}

//! Redis checks: `PING`, and what comes back (RESP2).

use crate::failure::{Step, malformed, within};
use crate::findings::Findings;
use crate::line;
use crate::prober::Tools;
use crate::target::Target;
use quorate_core::check::RedisCheck;
use quorate_core::{Cause, Grade, Phase, ProbeFailure};
use tokio::time::Instant;

/// Bytes of an answer at most. The longest that is known, of a server in protected mode, has more than a thousand.
const MAX_ANSWER_BYTES: usize = 4 * 1024;
/// Errors that say: who are you?
const GUARDED: [&str; 3] = ["NOAUTH", "DENIED", "NOPERM"];

/// One attempt.
pub(crate) async fn probe(
    tools: &Tools,
    target: &Target,
    check: &RedisCheck,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    // What is wrong on this host is found before the far end is troubled.
    let password = match &check.password {
        Some(password) => Some(within(deadline, Phase::Prepare, tools.own.reveal(password)).await??),
        None => None,
    };
    let mut stream = line::open(tools, target, check.tls.as_ref(), deadline, findings).await?;
    if let Some(password) = password {
        let command = format!("*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n", password.len());
        line::say(&mut stream, command.as_bytes(), deadline, findings).await?;
        let ended = |answer: &[u8]| is_over(answer, b"+OK\r\n");
        let answer = line::hear(&mut stream, MAX_ANSWER_BYTES, deadline, findings, ended).await?;
        let said = String::from_utf8_lossy(&answer);
        let said = said.trim_end();
        if said != "+OK" && !said.starts_with('-') {
            // Not quoted: an echo would hold the password, and a failure's words travel.
            return Err(ProbeFailure::new(Phase::Body, Cause::Protocol, "Invalid response: not Redis"));
        }
        let grade = if said == "+OK" { Grade::Pass } else { Grade::Fail };
        let detail = format!("Unexpected response content: {}", said.trim_start_matches('-'));
        findings.judge("the password is accepted", said, grade, (Cause::Content, &detail))?;
    }
    line::say(&mut stream, b"PING\r\n", deadline, findings).await?;
    let ended = |answer: &[u8]| is_over(answer, b"+PONG\r\n");
    let answer = line::hear(&mut stream, MAX_ANSWER_BYTES, deadline, findings, ended).await?;
    judge(&answer, findings)
}

/// Is the line there, or will it never be `wanted` or an error?
fn is_over(answer: &[u8], wanted: &[u8]) -> bool {
    answer.contains(&b'\n') || !(answer.starts_with(b"-") || wanted.starts_with(answer))
}

fn judge(answer: &[u8], findings: &mut Findings) -> Step<()> {
    let text = String::from_utf8_lossy(answer);
    let text = text.lines().next().unwrap_or_default();
    if text == "+PONG" {
        return findings.judge("answer is PONG", text, Grade::Pass, (Cause::Content, ""));
    }
    match text.strip_prefix('-') {
        Some(error) if error.split(' ').next().is_some_and(|word| GUARDED.contains(&word)) => {
            findings.protected = Some(format!("protected: {error}"));
            Ok(())
        }
        Some(error) => {
            let detail = format!("Unexpected response content: {error}");
            findings.judge("answer is PONG", text, Grade::Fail, (Cause::Content, &detail))
        }
        None => Err(malformed(Phase::Body, "not Redis", answer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, assert_fail, failing};
    use crate::{Limits, Own, Prober};
    use quorate_core::check::{Secret, SecretSource};
    use quorate_core::{Check, CheckKind, Outcome, ProbeResult};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What comes of a server that says this, and then perhaps closes.
    async fn against(said: &'static [u8], closes: bool) -> Outcome {
        let server = Server::saying(said, closes).await;
        failing(&server.target(), CheckKind::Redis(RedisCheck::default()), closes || !said.is_empty()).await
    }

    #[tokio::test]
    async fn garbage_is_malformed_and_neither_silence_nor_an_end() {
        for garbage in [b"hello".as_slice(), b"\x15\x03\x03\0\x02", b"+PANG", b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
            for closes in [false, true] {
                let detail = assert_fail(&against(garbage, closes).await, Phase::Body, Cause::Protocol);
                assert!(detail.starts_with("Invalid response: not Redis: \""), "{detail}");
            }
        }
        assert_fail(&against(b"+PO", true).await, Phase::Body, Cause::Reset);
        assert_fail(&against(b"", true).await, Phase::FirstByte, Cause::Reset);
        assert_fail(&against(b"", false).await, Phase::FirstByte, Cause::Timeout);
    }

    #[tokio::test]
    async fn a_server_in_protected_mode_is_protected_however_much_it_has_to_say_of_it() {
        let said = format!("-DENIED Redis is running in protected mode {}\r\n", "because ".repeat(130));
        let server = Server::saying(Box::leak(said.into_bytes().into_boxed_slice()), false).await;
        let check = Check { kind: CheckKind::Redis(RedisCheck::default()), ..Check::default() };
        let outcome = Prober::default().run(&server.target(), &check).await;
        let ProbeResult::Protected(why) = outcome.result else { panic!("{outcome:?}") };
        assert!(why.starts_with("protected: DENIED Redis") && why.len() <= ProbeFailure::MAX_DETAIL_BYTES, "{why}");
    }

    #[tokio::test]
    async fn garbage_in_answer_to_a_password_is_malformed_and_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("word"), "open\n").unwrap();
        let own = Own { secrets_dir: Some(folder.path().to_path_buf()), ..Own::default() };
        let password = Some(Secret { prefix: String::new(), source: SecretSource::File("word".into()) });
        let check = Check { kind: CheckKind::Redis(RedisCheck { password, tls: None }), ..Check::default() };
        let prober = Prober::new(Limits::default(), own);
        for said in [b"+PONG\r\n".as_slice(), b"*2\r\n$4\r\nAUTH\r\n$4\r\nopen\r\n"] {
            let server = Server::saying(said, false).await;
            let outcome = prober.run(&server.target(), &check).await;
            let detail = assert_fail(&outcome, Phase::Body, Cause::Protocol);
            assert!(!detail.contains("open"), "{detail}");
        }
    }

    #[tokio::test]
    async fn a_password_that_cannot_be_read_troubles_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let own = Own { secrets_dir: Some(folder.path().to_path_buf()), ..Own::default() };
        let password = Some(Secret { prefix: String::new(), source: SecretSource::File("word".into()) });
        let kind = CheckKind::Redis(RedisCheck { password, tls: None });
        let check = Check { kind, ..Check::default() };
        let server = Server::saying(b"+PONG\r\n", false).await;
        let outcome = Prober::new(Limits::default(), own).run(&server.target(), &check).await;
        assert_fail(&outcome, Phase::Prepare, Cause::Local);
        // It takes connections in their order: of those before this one it knows by now.
        let mut next = tokio::net::TcpStream::connect(server.addr).await.unwrap();
        next.write_all(b"PING\r\n").await.unwrap();
        next.read_exact(&mut [0; 7]).await.unwrap();
        assert_eq!(server.connections(), 1);
    }

    #[test]
    fn answers_are_told_apart() {
        let judged = |answer: &str| {
            let mut findings = Findings::default();
            let result = judge(answer.as_bytes(), &mut findings);
            (result.map_err(|failure| failure.cause), findings.protected.is_some())
        };
        assert_eq!(judged("+PONG\r\n"), (Ok(()), false));
        assert_eq!(judged("-NOAUTH Authentication required.\r\n"), (Ok(()), true));
        assert_eq!(judged("-DENIED Redis is running in protected mode\r\n"), (Ok(()), true));
        assert_eq!(judged("-LOADING Redis is loading the dataset in memory\r\n"), (Err(Cause::Content), false));
        assert_eq!(judged("-MASTERDOWN Link with MASTER is down\r\n"), (Err(Cause::Content), false));
        for other in ["HTTP/1.1 400 Bad Request\r\n", "", "\n", "+PONGO\n"] {
            assert_eq!(judged(other), (Err(Cause::Protocol), false), "{other:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_it_panic(answer in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = judge(&answer, &mut Findings::default());
        }
    }
}

//! Redis checks: `PING`, and what comes back (RESP2).

use crate::failure::Step;
use crate::findings::Findings;
use crate::line;
use crate::prober::Tools;
use crate::target::Target;
use quorate_core::check::RedisCheck;
use quorate_core::{Cause, Grade, Phase, ProbeFailure};
use tokio::time::Instant;

/// Bytes of an answer at most.
const MAX_ANSWER_BYTES: usize = 1024;
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
    let ended = |bytes: &[u8]| bytes.contains(&b'\n');
    let mut stream = line::open(tools, target, check.tls.as_ref(), deadline, findings).await?;
    if let Some(password) = &check.password {
        let password = tools.own.reveal(password).await?;
        let command = format!("*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n", password.len());
        line::say(&mut stream, command.as_bytes(), deadline, findings).await?;
        let answer = line::hear(&mut stream, MAX_ANSWER_BYTES, deadline, findings, ended).await?;
        let said = String::from_utf8_lossy(&answer);
        let said = said.trim_end();
        let grade = if said == "+OK" { Grade::Pass } else { Grade::Fail };
        let detail = format!("Unexpected response content: {}", said.trim_start_matches('-'));
        findings.judge("the password is accepted", said, grade, (Cause::Content, &detail))?;
    }
    line::say(&mut stream, b"PING\r\n", deadline, findings).await?;
    let answer = line::hear(&mut stream, MAX_ANSWER_BYTES, deadline, findings, ended).await?;
    judge(&answer, findings)
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
        None => Err(ProbeFailure::new(Phase::Body, Cause::Protocol, "Invalid response: not Redis")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

//! PostgreSQL checks: a start-up message, and the server's first answer (PostgreSQL's frontend/backend protocol, version 3.0).
//!
//! Nobody logs in: a server that asks for a password has shown that it accepts sessions.

use crate::connect;
use crate::failure::{Step, of_io, within};
use crate::findings::Findings;
use crate::line;
use crate::meter::Stream;
use crate::prober::Tools;
use crate::target::Target;
use quorate_core::check::PostgresCheck;
use quorate_core::{Cause, Grade, Phase, ProbeFailure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// Bytes of the first answer at most.
const MAX_ANSWER_BYTES: usize = 8 * 1024;
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const PROTOCOL_3_0: [u8; 4] = [0, 3, 0, 0];
const TERMINATE: [u8; 5] = [b'X', 0, 0, 0, 4];

/// One attempt.
pub(crate) async fn probe(
    tools: &Tools,
    target: &Target,
    check: &PostgresCheck,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    let mut stream = open(tools, target, check, deadline, findings).await?;
    line::say(&mut stream, &startup(check), deadline, findings).await?;
    let answer = line::hear(&mut stream, MAX_ANSWER_BYTES, deadline, findings, is_whole).await?;
    let judged = judge(&answer, findings);
    // A courtesy: a server that waits for a password would wait on.
    let _ = within(deadline, Phase::Send, stream.write_all(&TERMINATE)).await;
    judged
}

async fn open(
    tools: &Tools,
    target: &Target,
    check: &PostgresCheck,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<Box<dyn Stream>> {
    let authority = line::authority(target)?;
    let Some(options) = &check.tls else { return line::open(tools, target, None, deadline, findings).await };
    let prepared = tools.tls.prepare(&line::settings(options, &authority), deadline).await?;
    let mut tcp = connect::open(tools, target, &authority, connect::First::We, deadline, findings).await?;
    let failed = |error: std::io::Error| of_io(Phase::Tls, &error);
    let mut answer = [0];
    within(deadline, Phase::Tls, async {
        tcp.write_all(&SSL_REQUEST).await?;
        tcp.read_exact(&mut answer).await
    })
    .await?
    .map_err(failed)?;
    match answer {
        [b'S'] => prepared.handshake(tcp, deadline, findings).await,
        [b'N'] => Err(ProbeFailure::new(Phase::Tls, Cause::Protocol, "TLS error: the server offers no TLS")),
        _ => Err(ProbeFailure::new(Phase::Tls, Cause::Protocol, "Invalid response: not PostgreSQL")),
    }
}

fn startup(check: &PostgresCheck) -> Vec<u8> {
    let mut body = PROTOCOL_3_0.to_vec();
    for text in ["user", &check.user, "database", &check.database, "application_name", "quorate"] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [length.to_be_bytes().as_slice(), &body].concat()
}

/// The type and the body of the first message, once all of it is there.
fn message(answer: &[u8]) -> Option<(u8, &[u8])> {
    let (kind, rest) = answer.split_first()?;
    let (length, body) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?.checked_sub(4)?;
    Some((*kind, body.get(..length)?))
}

/// Is the first message there, or will it never be one?
fn is_whole(answer: &[u8]) -> bool {
    message(answer).is_some() || !matches!(answer.first(), None | Some(b'R' | b'E'))
}

fn judge(answer: &[u8], findings: &mut Findings) -> Step<()> {
    let what = "the server accepts sessions";
    match message(answer) {
        Some((b'R', _)) => findings.judge(what, "it asks who is there", Grade::Pass, (Cause::Content, "")),
        Some((b'E', body)) => {
            let (code, text) = (field(body, b'C'), field(body, b'M'));
            let said = format!("{code} {text}");
            // Class 28, invalid authorization: it is well, and lets nobody in.
            if code.starts_with("28") {
                findings.protected = Some(format!("protected: {said}"));
                return Ok(());
            }
            findings.judge(
                what,
                said.as_str(),
                Grade::Fail,
                (Cause::Content, &format!("Unexpected response content: {said}")),
            )
        }
        _ => Err(ProbeFailure::new(Phase::Body, Cause::Protocol, "Invalid response: not PostgreSQL")),
    }
}

/// A field of an error message.
fn field(body: &[u8], wanted: u8) -> String {
    let found = body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(&[wanted]));
    String::from_utf8_lossy(found.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str) -> Vec<u8> {
        let body = format!("SFATAL\0C{code}\0Mno\0\0");
        [b"E".as_slice(), &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body.as_bytes()].concat()
    }

    #[test]
    fn answers_are_told_apart() {
        let judged = |answer: &[u8]| {
            let mut findings = Findings::default();
            let result = judge(answer, &mut findings);
            (result.map_err(|failure| failure.cause), findings.protected.is_some())
        };
        assert_eq!(judged(b"R\0\0\0\x08\0\0\0\x0a"), (Ok(()), false));
        assert_eq!(judged(&error("28000")), (Ok(()), true));
        assert_eq!(judged(&error("57P03")), (Err(Cause::Content), false));
        assert_eq!(judged(&error("53300")), (Err(Cause::Content), false));
        for other in [b"HTTP/1.1 400".as_slice(), b"", b"R\0\0", b"E\0\0\0\x01"] {
            assert_eq!(judged(other), (Err(Cause::Protocol), false), "{other:?}");
        }
        assert!(is_whole(b"H") && !is_whole(b"R\0\0\0\x08") && is_whole(b"R\0\0\0\x08\0\0\0\0"));
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_it_panic(answer in proptest::collection::vec(proptest::num::u8::ANY, 0..64), kind in 0usize..3) {
            let answer = [["R", "E", ""][kind].as_bytes(), &answer].concat();
            let _ = (is_whole(&answer), judge(&answer, &mut Findings::default()));
        }
    }
}

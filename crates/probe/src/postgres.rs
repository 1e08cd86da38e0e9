//! PostgreSQL checks: a start-up message, and the server's first answer (PostgreSQL's frontend/backend protocol, version 3.0).
//!
//! Nobody logs in: a server that asks for a password has shown that it accepts sessions.

use crate::connect;
use crate::failure::{Step, malformed, of_io, within};
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
/// Lengths that a first message has, its own four bytes included; libpq takes no others for the beginning of one either.
const MIN_LENGTH: u32 = 8;
const MAX_AUTHENTICATION_LENGTH: u32 = 2000;
const MAX_ERROR_LENGTH: u32 = 30_000;
/// Kinds of authentication have small numbers: 0 to 12, and some above of relatives of PostgreSQL.
const MAX_AUTHENTICATION_KIND: u32 = 255;
/// Bytes of an answer to the request for TLS looked at, beyond its letter.
const MAX_REST_BYTES: usize = 64;
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
        [letter] => {
            // What else is there already says more than a letter.
            let (mut said, mut rest) = (vec![letter], [0; MAX_REST_BYTES]);
            let count = tcp.try_read(&mut rest).unwrap_or(0);
            said.extend_from_slice(rest.get(..count).unwrap_or_default());
            findings.excerpt.push(&said);
            Err(malformed(Phase::Tls, "neither yes nor no to TLS", &said))
        }
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
    let length = u32::from_be_bytes(*length);
    if !(MIN_LENGTH..=max_length(*kind)?).contains(&length) {
        return None;
    }
    Some((*kind, body.get(..usize::try_from(length).ok()?.checked_sub(4)?)?))
}

/// How long a first message of this type may be; `None` if none is of this type.
fn max_length(kind: u8) -> Option<u32> {
    match kind {
        b'R' => Some(MAX_AUTHENTICATION_LENGTH),
        b'E' => Some(MAX_ERROR_LENGTH),
        _ => None,
    }
}

/// Is the first message there, or will it never be one?
fn is_whole(answer: &[u8]) -> bool {
    message(answer).is_some() || !may_become(answer)
}

/// Can a first message begin so?
fn may_become(answer: &[u8]) -> bool {
    let Some((kind, rest)) = answer.split_first() else { return true };
    match (max_length(*kind), rest.split_first_chunk::<4>()) {
        (None, _) => false,
        (Some(max), Some((length, _))) => (MIN_LENGTH..=max).contains(&u32::from_be_bytes(*length)),
        // No length reaches into its upper half.
        (Some(_), None) => rest.iter().take(2).all(|byte| *byte == 0),
    }
}

/// Does an authentication message name its kind?
fn names_kind(body: &[u8]) -> bool {
    body.first_chunk::<4>().is_some_and(|kind| u32::from_be_bytes(*kind) <= MAX_AUTHENTICATION_KIND)
}

/// Is it an error message, with its end and its code (SQLSTATE)?
fn is_error(body: &[u8], code: &str) -> bool {
    body.ends_with(&[0]) && code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn judge(answer: &[u8], findings: &mut Findings) -> Step<()> {
    let what = "the server accepts sessions";
    match message(answer) {
        Some((b'R', body)) if names_kind(body) => {
            findings.judge(what, "it asks who is there", Grade::Pass, (Cause::Content, ""))
        }
        Some((b'E', body)) if is_error(body, &field(body, b'C')) => {
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
        _ => Err(malformed(Phase::Body, "not PostgreSQL", answer)),
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
    use crate::testing::{Server, assert_fail, failing};
    use quorate_core::check::TlsOptions;
    use quorate_core::{CheckKind, Outcome};

    /// What comes of a server that says this, and then perhaps closes.
    async fn against(said: &'static [u8], closes: bool, tls: bool) -> Outcome {
        let server = Server::saying(said, closes).await;
        let postgres = PostgresCheck { tls: tls.then(TlsOptions::default), ..PostgresCheck::default() };
        failing(&server.target(), CheckKind::Postgres(postgres), closes || !said.is_empty()).await
    }

    #[tokio::test]
    async fn garbage_is_malformed_and_neither_silence_nor_an_end() {
        let garbage = [
            b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(),
            b"Error: who are you?\n",
            b"RT",
            b"R\xff\xff\xff\xff",
            b"E\0\0\0\x01",
            b"R\0\0\0\x08\xde\xad\xbe\xef",
            b"E\0\0\0\x0czzzzzzzz",
            b"E\0\0\0\x0dC28no\0M\0\0",
        ];
        for said in garbage {
            for closes in [false, true] {
                let detail = assert_fail(&against(said, closes, false).await, Phase::Body, Cause::Protocol);
                assert!(detail.starts_with("Invalid response: not PostgreSQL: \""), "{detail}");
            }
        }
        assert_fail(&against(b"R\0\0\0\x08", true, false).await, Phase::Body, Cause::Reset);
        assert_fail(&against(b"", true, false).await, Phase::FirstByte, Cause::Reset);
        assert_fail(&against(b"", false, false).await, Phase::FirstByte, Cause::Timeout);
    }

    #[tokio::test]
    async fn garbage_instead_of_a_word_on_tls_is_malformed() {
        for closes in [false, true] {
            let detail = assert_fail(&against(b"HTTP/1.1 400", closes, true).await, Phase::Tls, Cause::Protocol);
            assert_eq!(detail, "Invalid response: neither yes nor no to TLS: \"HTTP/1.1 400\"");
            assert_fail(&against(b"Sorry, no handshake here\n", closes, true).await, Phase::Tls, Cause::Protocol);
        }
        assert_fail(&against(b"", true, true).await, Phase::Tls, Cause::Reset);
        assert_fail(&against(b"", false, true).await, Phase::Tls, Cause::Timeout);
    }

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
        for other in [b"HTTP/1.1 400".as_slice(), b"", b"R\0\0", b"E\0\0\0\x01", b"R\0\0\0\x04"] {
            assert_eq!(judged(other), (Err(Cause::Protocol), false), "{other:?}");
        }
        // Of a relative of PostgreSQL.
        assert_eq!(judged(b"R\0\0\0\x08\0\0\0\x0e"), (Ok(()), false));
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
